//! A transaction that stays open between calls. Others of the same connection wait meanwhile.

use std::cell::RefCell;

use cu_storage::{Error as StorageError, Operation, Outcome};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::database::{answer, parsed};
use crate::error::{Error, Result};

/// An open transaction; `free` drops its changes.
#[wasm_bindgen]
pub struct Transaction {
    /// Away during a call, and once it has ended.
    open: RefCell<Option<cu_storage::Transaction>>,
}

impl Transaction {
    pub(crate) fn new(transaction: cu_storage::Transaction) -> Transaction {
        Transaction { open: RefCell::new(Some(transaction)) }
    }

    fn take(&self) -> Result<cu_storage::Transaction> {
        self.open.take().ok_or_else(|| Error::invalid("transaction", "has ended, or is busy"))
    }
}

#[wasm_bindgen]
impl Transaction {
    /// Runs operations as `Database.batch` does; one that fails undoes those of this call, unless each stands for itself.
    pub async fn batch(&self, operations: Vec<u8>, atomic: bool) -> Result<Vec<u8>> {
        let operations = parsed(operations)?;
        let mut transaction = self.take()?;
        let outcomes = run(&mut transaction, &operations, atomic).await;
        *self.open.borrow_mut() = Some(transaction);
        answer(outcomes?, &operations)
    }

    /// Makes the changes durable. Rejects with `conflict` when another connection has committed meanwhile; nothing is stored then.
    pub async fn commit(&self) -> Result<()> {
        Ok(self.take()?.commit().await?)
    }
}

async fn run(
    transaction: &mut cu_storage::Transaction,
    operations: &[Operation],
    atomic: bool,
) -> Result<Vec<Outcome>> {
    let before = transaction.savepoint()?;
    let mut outcomes = Vec::with_capacity(operations.len());
    for (position, operation) in operations.iter().enumerate() {
        match transaction.run(operation).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) if atomic => {
                transaction.rollback_to(before)?;
                return Err(StorageError::Batch { position, source: Box::new(error) }.into());
            }
            Err(error) => outcomes.push(Outcome::Failed(error)),
        }
    }
    transaction.release(before)?;
    Ok(outcomes)
}
