//! The result cache: rows of queries by the version of their Collection. A commit that touches the Collection makes what is
//! kept about it useless, so nothing has to be told about changes.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::catalog::CollectionState;
use crate::query::{Query, QueryResult};

/// Results, the latest used last.
#[derive(Default)]
pub(crate) struct ResultCache {
    bytes_max: usize,
    bytes: usize,
    entries: VecDeque<Cached>,
}

struct Cached {
    /// Of the query: most others differ in it.
    fingerprint: u64,
    query: Query,
    generation: u64,
    collection: (u32, u64),
    result: Rc<QueryResult>,
    bytes: usize,
}

/// Entries and documents that were looked at, fewer of which are as well looked at again: keeping a result takes time, too.
const EXAMINED_MIN: u64 = 64;
/// What one result costs beside its rows, about.
const BYTES_PER_RESULT: usize = 512;
const BYTES_PER_ROW: usize = 80;

impl ResultCache {
    pub fn new(bytes_max: usize) -> ResultCache {
        ResultCache { bytes_max, ..ResultCache::default() }
    }

    /// The rows of a query over this state of a Collection.
    pub fn get(&mut self, query: &Query, generation: u64, state: &CollectionState) -> Option<Rc<QueryResult>> {
        if query.explain || self.entries.is_empty() {
            return None;
        }
        let fingerprint = query.fingerprint();
        let is_same = |cached: &Cached| {
            cached.fingerprint == fingerprint
                && cached.collection.0 == state.id
                && cached.generation == generation
                && cached.query == *query
        };
        let position = self.entries.iter().position(is_same)?;
        let cached = self.entries.remove(position)?;
        if cached.collection.1 != state.version {
            self.bytes -= cached.bytes;
            return None;
        }
        let result = cached.result.clone();
        self.entries.push_back(cached);
        Some(result)
    }

    pub fn put(&mut self, query: &Query, generation: u64, state: &CollectionState, result: &Rc<QueryResult>) {
        if query.explain || result.plan.rows_examined + result.plan.entries_examined < EXAMINED_MIN {
            return;
        }
        let rows = result.rows.iter().map(|row| row.value.as_bytes().len() + BYTES_PER_ROW);
        let bytes = BYTES_PER_RESULT + rows.sum::<usize>();
        // One result may not drive out all others.
        if bytes > self.bytes_max / 4 {
            return;
        }
        self.bytes += bytes;
        self.entries.push_back(Cached {
            fingerprint: query.fingerprint(),
            query: query.clone(),
            generation,
            collection: (state.id, state.version),
            result: result.clone(),
            bytes,
        });
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes;
        }
    }
}
