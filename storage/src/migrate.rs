//! Migrations: the version of what is stored, and numbered steps from one to the next.
//!
//! The version is a document in a Collection of its own, so it changes in the transaction of the steps: a step that fails leaves
//! the old version with the old data. A program that has said which version it knows cannot write to newer data, neither to what
//! it finds nor to what another connection makes of the database meanwhile; it can read.

use crate::changes::CHANGES;
use crate::control::Control;
use crate::database::Database;
use crate::document::{Document, Encoded};
use crate::engine::View;
use crate::error::{Error, Result};
use crate::key::encode_key;
use crate::record::Change;
use crate::transaction::Transaction;

/// The Collection that holds the version.
const VERSION: &str = "$version";

/// Whether a Collection is the database's own, so that users neither see it nor write to it.
pub(crate) fn is_own(name: &str) -> bool {
    name == CHANGES || name == VERSION
}

fn version_key() -> Result<Vec<u8>> {
    encode_key(&Document::Integer(0))
}

fn read_version(document: Option<Vec<u8>>) -> Result<u64> {
    match document.map(|document| Document::decode(&document)).transpose()? {
        None => Ok(0),
        Some(Document::Integer(version)) => Ok(version.cast_unsigned()),
        Some(_) => Err(Error::CorruptRecord("version of the data")),
    }
}

impl Database {
    /// The version of the data; 0 before the first migration.
    pub async fn data_version(&self) -> Result<u64> {
        let read = async |view: &View| match view.catalog.find(VERSION) {
            Some(state) => read_version(self.engine().get(view.generation, state.root, &version_key()?).await?),
            None => Ok(0),
        };
        self.engine().read(read).await
    }

    /// Says up to which version the program knows data, and gives the version that the data has.
    ///
    /// Fails with [`Error::NewerData`] when the data is newer; then, and when another connection brings it to a newer version later, this handle and
    /// its clones can only read.
    pub async fn know_version(&self, version: u64) -> Result<u64> {
        self.engine().version.set(Some(version));
        self.refresh().await?;
        not_newer(self.data_version().await?, version)
    }

    /// Brings the data to a version, by the steps to each version between, in one transaction. Says from which version it came.
    /// Progress counts steps. Run again when another connection was faster, which may have left less to do.
    ///
    /// Fails with [`Error::NewerData`] when the data is newer. From then on this handle and its clones can only read, as they can
    /// when another connection brings the data to a newer version later.
    pub async fn migrate(
        &self,
        version: u64,
        control: &Control,
        step: impl AsyncFn(&mut Transaction, u64) -> Result<()>,
    ) -> Result<u64> {
        let found = self.know_version(version).await?;
        if found == version {
            return Ok(found);
        }
        self.transaction_with(control, async |transaction| {
            let found = transaction.older_version(version).await?;
            for number in found + 1..=version {
                step(transaction, number).await?;
                control.report(number - found, version - found)?;
            }
            transaction.set_data_version(version).await?;
            Ok(found)
        })
        .await
    }
}

fn not_newer(found: u64, supported: u64) -> Result<u64> {
    if found > supported { Err(Error::NewerData { found, supported }) } else { Ok(found) }
}

impl Transaction {
    /// The version of the data, which must not be newer than this one ([`Error::NewerData`]).
    pub async fn older_version(&self, version: u64) -> Result<u64> {
        not_newer(self.data_version().await?, version)
    }

    async fn data_version(&self) -> Result<u64> {
        match self.catalog().find(VERSION) {
            Some(state) => read_version(self.read_tree(state.root, &version_key()?).await?),
            None => Ok(0),
        }
    }

    /// Gives the data a version, in the transaction of the steps that bring it there.
    pub async fn set_data_version(&mut self, version: u64) -> Result<()> {
        self.check_whole()?;
        if self.catalog().find(VERSION).is_none() {
            let change = Change::CreateCollection { collection: self.catalog().next_id(), name: VERSION };
            self.carry_out(&change).await?;
        }
        let collection = self.catalog().find(VERSION).ok_or(Error::CorruptRecord("version of the data"))?.id;
        let value = Encoded::try_from(&Document::Integer(version.cast_signed()))?;
        let change = Change::Put { collection, key: &version_key()?, value: value.as_bytes() };
        self.carry_out(&change).await.map(drop)
    }

    /// Refuses to write to data that is newer than the program, once for a transaction.
    pub(crate) async fn check_version(&mut self) -> Result<()> {
        if let Some(supported) = self.known_version()
            && !self.version_checked
        {
            let found = self.data_version().await?;
            if found > supported {
                return Err(Error::NewerData { found, supported });
            }
        }
        self.version_checked = true;
        Ok(())
    }
}
