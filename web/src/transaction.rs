//! A transaction that stays open between calls. Others of the same connection wait meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use cu_storage::{
    Document, Error as StorageError, IndexDefinition, Operation, Outcome, QueryResult, Savepoint, encode_answer,
    encode_query_result, parse_query,
};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::database::{answer, at_once, parsed};
use crate::error::{Error, Result};

/// An open transaction; `free` drops its changes.
#[wasm_bindgen]
pub struct Transaction {
    /// Away during a call, and once it has ended.
    open: Rc<RefCell<Option<Open>>>,
}

/// A transaction, and the beginnings of those inside it.
struct Open {
    transaction: cu_storage::Transaction,
    inner: Vec<Savepoint>,
}

impl Transaction {
    pub(crate) fn new(transaction: cu_storage::Transaction) -> Transaction {
        Transaction { open: Rc::new(RefCell::new(Some(Open { transaction, inner: Vec::new() }))) }
    }

    fn take(&self) -> Result<Open> {
        self.open.take().ok_or_else(ended)
    }

    /// Does what `work` does with it, at once if that need not wait.
    fn with(&self, work: impl AsyncFnOnce(&mut Open) -> Result<Vec<u8>> + 'static) -> Result<JsValue> {
        let mut open = self.take()?;
        let place = self.open.clone();
        at_once(async move {
            let result = work(&mut open).await;
            *place.borrow_mut() = Some(open);
            result
        })
    }
}

fn ended() -> Error {
    Error::invalid("transaction", "has ended, or is busy")
}

#[wasm_bindgen]
impl Transaction {
    /// Runs operations as `Database.batch` does; one that fails undoes those of this call, unless each stands for itself.
    #[wasm_bindgen(unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn batch(&self, operations: Vec<u8>, atomic: bool) -> Result<JsValue> {
        let operations = parsed(operations)?;
        self.with(async move |open| answer(run(&mut open.transaction, &operations, atomic).await?, &operations))
    }

    /// As `Database.get`.
    #[wasm_bindgen(unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn get(&self, table: String, key: &[u8]) -> Result<JsValue> {
        let key = Document::decode(key)?;
        self.with(async move |open| Ok(open.transaction.get(&table, &key).await?.unwrap_or_default().encode()?))
    }

    /// As `Database.query`.
    #[wasm_bindgen(unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn query(&self, query: &[u8]) -> Result<JsValue> {
        let query = parse_query(query)?;
        self.with(async move |open| {
            let result = open.transaction.query(&query).await?;
            if query.explain {
                let explained = QueryResult { plan: result.plan, ..QueryResult::default() };
                return Ok(encode_query_result(&explained, true)?);
            }
            Ok(encode_answer(&result)?)
        })
    }

    /// As `Database.createIndex`.
    #[wasm_bindgen(js_name = createIndex, unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn create_index(&self, table: String, definition: &[u8]) -> Result<JsValue> {
        let definition = IndexDefinition::from_document(&Document::decode(definition)?)?;
        self.with(async move |open| {
            open.transaction.create_index(&table, &definition).await?;
            Ok(Vec::new())
        })
    }

    /// As `Database.dropIndex`; an array with its answer.
    #[wasm_bindgen(js_name = dropIndex, unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn drop_index(&self, table: String, name: String) -> Result<JsValue> {
        self.with(async move |open| Ok(vec![open.transaction.drop_index(&table, &name).await?.into()]))
    }

    /// As `Database.setSchema`.
    #[wasm_bindgen(js_name = setSchema, unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn set_schema(&self, table: String, schema: &[u8]) -> Result<JsValue> {
        let schema = Document::decode(schema)?;
        self.with(async move |open| {
            open.transaction.set_schema(&table, &schema).await?;
            Ok(Vec::new())
        })
    }

    /// Gives the data a version. Rejects with `newerVersion` when it has a higher one; otherwise an array with the one that it had.
    #[wasm_bindgen(js_name = setVersion, unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn set_version(&self, version: u32) -> Result<JsValue> {
        self.with(async move |open| {
            let found = open.transaction.older_version(version.into()).await?;
            open.transaction.set_data_version(version.into()).await?;
            Ok((found as u32).to_le_bytes().to_vec())
        })
    }

    /// Begins one inside it.
    pub fn enter(&self) -> Result<()> {
        let mut place = self.open.borrow_mut();
        let open = place.as_mut().ok_or_else(ended)?;
        let savepoint = open.transaction.savepoint()?;
        open.inner.push(savepoint);
        Ok(())
    }

    /// Ends the innermost inside it; its changes stay or go.
    pub fn leave(&self, keeps: bool) -> Result<()> {
        let mut place = self.open.borrow_mut();
        let open = place.as_mut().ok_or_else(ended)?;
        let savepoint = open.inner.pop().ok_or_else(ended)?;
        match keeps {
            true => open.transaction.release(savepoint)?,
            false => open.transaction.rollback_to(savepoint)?,
        }
        Ok(())
    }

    /// Makes the changes durable. Rejects with `conflict` when another connection has committed meanwhile; nothing is stored then.
    pub async fn commit(&self) -> Result<()> {
        Ok(self.take()?.transaction.commit().await?)
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
