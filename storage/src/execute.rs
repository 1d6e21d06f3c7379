//! Running a planned query: rows come from a way, pass the filter, and end in a sink.

use std::collections::BinaryHeap;

use crate::aggregate::Groups;
use crate::btree::{self, Value};
use crate::catalog::CollectionState;
use crate::cursor::{Direction, Entry};
use crate::document::Document;
use crate::engine::Engine;
use crate::entries::{StemRange, above};
use crate::entry_reader::{EntryReader, Pending, Source, in_direction};
use crate::error::{Error, Fault, Result};
use crate::explain::describe;
use crate::key::{encode_key, ordered_length};
use crate::page::PageId;
use crate::place::{Placed, into_rows, place_of, place_of_position, projected, sorted_groups};
use crate::plan::{Access, Choice, IndexAccess, Order};
use crate::query::{Plan, Query, QueryResult, Row};

/// Documents fetched in one step. Their missing pages are read together.
const FETCHES_PER_STEP: usize = 64;

/// A query under way.
pub(crate) struct Execution<'a> {
    query: &'a Query,
    after: Option<Vec<u8>>,
    sink: Sink<'a>,
    entries_examined: u64,
    rows_examined: u64,
    rows_matched: u64,
    index_only: bool,
    /// Whether every document of the way passes the filter, where no entry was cut.
    is_exact: bool,
    /// Whether an entry was cut, so that a document may not be what the way promises.
    has_cut: bool,
}

enum Sink<'a> {
    /// Rows in the order they come.
    Ordered {
        skip: u64,
        rows: Vec<Placed>,
    },
    /// The first rows of all, the last one on top.
    Top {
        count: usize,
        heap: BinaryHeap<Placed>,
    },
    Groups(Groups<'a>),
}

impl<'a> Execution<'a> {
    pub fn new(query: &'a Query) -> Result<Execution<'a>> {
        let after = query.after.as_ref().map(|after| place_of_position(query, after)).transpose()?;
        let sink = if query.is_aggregate() {
            Sink::Groups(Groups::new(query))
        } else {
            Sink::Ordered { skip: query.offset, rows: Vec::new() }
        };
        Ok(Execution {
            query,
            after,
            sink,
            entries_examined: 0,
            rows_examined: 0,
            rows_matched: 0,
            index_only: false,
            is_exact: false,
            has_cut: false,
        })
    }

    /// Passes all rows of a way. Returns what was chosen, without figures.
    pub async fn run(
        &mut self,
        engine: &Engine,
        generation: u64,
        state: &CollectionState,
        choice: &Choice,
    ) -> Result<Plan> {
        let source = Source { engine, generation, state };
        if choice.order == Order::Sort && !self.query.is_aggregate() {
            let wanted = self.query.limit.map_or(u64::MAX, |limit| limit.saturating_add(self.query.offset));
            self.sink = Sink::Top { count: usize::try_from(wanted).unwrap_or(usize::MAX), heap: BinaryHeap::new() };
        }
        self.is_exact = choice.exact;
        self.index_only = choice.exact && self.query.is_plain_count();
        if !self.wants_more() {
            return Ok(describe(state, choice, self.query));
        }
        match (&choice.access, choice.order) {
            (Access::Primary(ranges), order) => self.primary(source, ranges, order).await?,
            (Access::Index(access), Order::Index(direction, fields)) => {
                self.in_index_order(source, access, direction, fields).await?;
            }
            (Access::Index(access), _) if self.index_only => self.count_entries(source, access).await?,
            (access, order) => {
                let mut keys = self.keys_of(source, access).await?;
                if order == Order::Key(Direction::Backward) {
                    keys.reverse();
                }
                self.index_only = self.index_only && !self.has_cut;
                if self.index_only {
                    self.count(keys.len() as u64);
                } else {
                    let is_certain = self.is_exact && !self.has_cut;
                    self.fetch(source, &keys, is_certain).await?;
                }
            }
        }
        Ok(describe(state, choice, self.query))
    }

    /// Documents in the order of their tree.
    async fn primary(&mut self, source: Source<'_>, ranges: &[StemRange], order: Order) -> Result<()> {
        if self.index_only && ranges == [StemRange::ALL] {
            self.count(source.state.count);
            return Ok(());
        }
        self.index_only = false;
        let direction = if let Order::Key(direction) = order { direction } else { Direction::Forward };
        let page_size = source.engine.core.borrow().pager.page_size();
        // Only what is behind the position, where the order is that of keys.
        let position = match (&self.query.after, order) {
            (Some(Document::Array(parts)), Order::Key(_)) => {
                let key = parts.last().map(encode_key).transpose()?.unwrap_or_default();
                match direction {
                    Direction::Forward => StemRange { low: above(&key), high: None },
                    Direction::Backward => StemRange { low: Vec::new(), high: Some(key) },
                }
            }
            _ => StemRange::ALL,
        };
        for range in in_direction(ranges, direction) {
            let range = range.and(&position);
            if range.is_empty() {
                continue;
            }
            let mut more = true;
            let visit = |entry: &Entry| {
                more = !range.contains(entry.key()) || self.visit(entry.key(), &entry.value, false)?;
                Ok(more)
            };
            let keys = range.keys(page_size);
            source.engine.scan(source.generation, source.state.root, keys, direction, visit).await?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Documents in the order of an index. Entries that agree in its first `fields` fields make a group, which is put in
    /// order before it goes on.
    async fn in_index_order(
        &mut self,
        source: Source<'_>,
        access: &IndexAccess,
        direction: Direction,
        fields: usize,
    ) -> Result<()> {
        self.index_only = false;
        let definition = &source.state.indexes[access.position].definition;
        // The entries of one whole stem are in the order of keys already.
        let is_whole = fields == definition.fields.len() && direction == Direction::Forward;
        let ranges = self.behind_position(access, &definition.fields, direction);
        let mut reader = EntryReader::new(source, access.position, &ranges, direction);
        if is_whole && ranges == [StemRange::ALL] {
            self.skip_leaves(&mut reader).await?;
        }
        let mut group: Vec<u8> = Vec::new();
        let mut pending = Pending::default();
        loop {
            // Where each entry is a row, no more are read than are wanted.
            let most = if self.rows_to_skip().is_some() && is_whole { self.rows_missing() } else { usize::MAX };
            let entries = reader.next(most).await?;
            if entries.is_empty() {
                return self.flush(source, pending, is_whole).await.map(drop);
            }
            self.entries_examined += entries.len() as u64;
            for entry in entries {
                let prefix = prefix_of(&entry.run, fields);
                if prefix != group {
                    // Groups that are in order each can go on together.
                    let is_plain = is_whole && pending.is_plain() && !entry.is_cut && !entry.is_listed;
                    if !is_plain && !self.flush(source, std::mem::take(&mut pending), is_whole).await? {
                        return Ok(());
                    }
                    group.clear();
                    group.extend_from_slice(prefix);
                }
                pending.has_cut = pending.has_cut || entry.is_cut;
                pending.has_listed = pending.has_listed || entry.is_listed;
                entry.documents.append_to(&mut pending.keys);
            }
            if is_whole && pending.is_plain() && !self.flush(source, std::mem::take(&mut pending), is_whole).await? {
                return Ok(());
            }
        }
    }

    /// Passes whole leaves of rows that the query leaves out at its start.
    async fn skip_leaves(&mut self, reader: &mut EntryReader<'_>) -> Result<()> {
        while let Some(left) = self.rows_to_skip().filter(|left| *left > 0) {
            let passed = reader.pass_bare(left).await?;
            if passed == 0 {
                break;
            }
            self.entries_examined += passed;
            self.skip(passed);
        }
        Ok(())
    }

    /// How many rows can be left out without looking at them; `None` when documents decide which.
    fn rows_to_skip(&self) -> Option<u64> {
        match &self.sink {
            Sink::Ordered { skip, .. } if self.is_exact && self.after.is_none() => Some(*skip),
            _ => None,
        }
    }

    fn skip(&mut self, count: u64) {
        self.rows_matched += count;
        if let Sink::Ordered { skip, .. } = &mut self.sink {
            *skip -= count;
        }
    }

    /// Hands groups of documents on, in order. Says whether more rows are wanted.
    async fn flush(&mut self, source: Source<'_>, pending: Pending, is_whole: bool) -> Result<bool> {
        let Pending { mut keys, has_cut, has_listed } = pending;
        if has_cut {
            // Only the documents tell the order.
            let mut rows = Vec::with_capacity(keys.len());
            for chunk in keys.chunks(FETCHES_PER_STEP) {
                for (key, value) in chunk.iter().zip(fetch(source, chunk).await?) {
                    let place = place_of(self.query, key, &value)?;
                    rows.push(Placed { place, key: key.clone(), value: value.to_vec() });
                }
            }
            cu_sort::sort(&mut rows);
            for row in rows {
                if !self.visit(&row.key, &row.value, false)? {
                    return Ok(false);
                }
            }
            return Ok(self.wants_more());
        }
        if !is_whole || has_listed {
            cu_sort::sort(&mut keys);
        }
        let skipped = self.rows_to_skip().map_or(0, |left| left.min(keys.len() as u64));
        self.skip(skipped);
        self.fetch(source, &keys[skipped as usize..], self.is_exact).await
    }

    /// Reads documents and passes them, which pass the filter for certain or have to be asked. Says whether more rows are wanted.
    async fn fetch(&mut self, source: Source<'_>, keys: &[Vec<u8>], is_certain: bool) -> Result<bool> {
        let mut rest = keys;
        while !rest.is_empty() {
            // As many as are wanted at least; the filter tells whether it was enough.
            let count = rest.len().min(FETCHES_PER_STEP).min(self.rows_missing().max(1));
            let (chunk, after) = rest.split_at(count);
            for (key, value) in chunk.iter().zip(fetch(source, chunk).await?) {
                if !self.visit(key, &value, is_certain)? {
                    return Ok(false);
                }
            }
            rest = after;
        }
        Ok(self.wants_more())
    }

    /// Counts without looking at documents, except where an entry was cut.
    async fn count_entries(&mut self, source: Source<'_>, access: &IndexAccess) -> Result<()> {
        let mut reader = EntryReader::new(source, access.position, &access.ranges, Direction::Forward);
        let mut unsure: Vec<Vec<u8>> = Vec::new();
        loop {
            let entries = reader.next(usize::MAX).await?;
            if entries.is_empty() {
                break;
            }
            self.entries_examined += entries.len() as u64;
            for entry in entries {
                if entry.is_cut {
                    entry.documents.append_to(&mut unsure);
                } else {
                    self.count(entry.documents.as_slice().len() as u64);
                }
            }
        }
        self.index_only = unsure.is_empty();
        self.fetch(source, &unsure, false).await?;
        Ok(())
    }

    /// The keys of all documents that a way gives, ascending, each once.
    async fn keys_of(&mut self, source: Source<'_>, access: &Access) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        match access {
            Access::Primary(ranges) => {
                let page_size = source.engine.core.borrow().pager.page_size();
                for range in ranges {
                    let visit = |entry: &Entry| {
                        if range.contains(entry.key()) {
                            keys.push(entry.key().to_vec());
                        }
                        Ok(true)
                    };
                    let bounds = range.keys(page_size);
                    source.engine.scan(source.generation, source.state.root, bounds, Direction::Forward, visit).await?;
                }
            }
            Access::Index(access) => {
                let mut reader = EntryReader::new(source, access.position, &access.ranges, Direction::Forward);
                loop {
                    let entries = reader.next(usize::MAX).await?;
                    if entries.is_empty() {
                        break;
                    }
                    self.entries_examined += entries.len() as u64;
                    self.has_cut = self.has_cut || entries.iter().any(|entry| entry.is_cut);
                    entries.into_iter().for_each(|entry| entry.documents.append_to(&mut keys));
                }
            }
            Access::Union(parts) => {
                for part in parts {
                    keys.append(&mut Box::pin(self.keys_of(source, part)).await?);
                }
            }
            Access::Intersection(parts) => {
                for (position, part) in parts.iter().enumerate() {
                    let these = Box::pin(self.keys_of(source, part)).await?;
                    if position == 0 {
                        keys = these;
                    } else {
                        keys.retain(|key| these.binary_search(key).is_ok());
                    }
                }
            }
        }
        cu_sort::sort(&mut keys);
        keys.dedup();
        Ok(keys)
    }

    /// The ranges without what is before the query's position.
    fn behind_position(&self, access: &IndexAccess, fields: &[String], direction: Direction) -> Vec<StemRange> {
        let Some(Document::Array(parts)) = &self.query.after else {
            return access.ranges.clone();
        };
        let prefix = access.prefix_at(fields, self.query, parts);
        let position = match direction {
            Direction::Forward => StemRange { low: prefix, high: None },
            Direction::Backward => StemRange { low: Vec::new(), high: Some(above(&prefix)) },
        };
        access.ranges.iter().map(|range| range.and(&position)).filter(|range| !range.is_empty()).collect()
    }

    fn count(&mut self, count: u64) {
        self.rows_matched += count;
        if let Sink::Groups(groups) = &mut self.sink {
            groups.add_count(count);
        }
    }

    fn wants_more(&self) -> bool {
        self.rows_missing() > 0
    }

    /// Rows that are still wanted.
    fn rows_missing(&self) -> usize {
        match &self.sink {
            Sink::Groups(_) => usize::MAX,
            Sink::Top { count: 0, .. } => 0,
            Sink::Top { .. } => usize::MAX,
            Sink::Ordered { skip, rows } => {
                let limit = self.query.limit.map_or(u64::MAX, |limit| limit.saturating_add(*skip));
                usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(rows.len())
            }
        }
    }

    /// Passes a document through the filter, unless it is certain to pass, into the sink. Says whether more rows are wanted.
    fn visit(&mut self, key: &[u8], value: &[u8], is_certain: bool) -> Result<bool> {
        self.rows_examined += 1;
        if !is_certain && !self.query.filter.matches(key, value)? {
            return Ok(true);
        }
        if let Sink::Groups(groups) = &mut self.sink {
            self.rows_matched += 1;
            groups.add(key, value)?;
            return Ok(true);
        }
        let needs_place = self.after.is_some() || matches!(self.sink, Sink::Top { .. });
        let place = if needs_place { place_of(self.query, key, value)? } else { Vec::new() };
        if self.after.as_ref().is_some_and(|after| place <= *after) {
            return Ok(true);
        }
        self.rows_matched += 1;
        match &mut self.sink {
            Sink::Ordered { skip, .. } if *skip > 0 => *skip -= 1,
            Sink::Ordered { rows, .. } => {
                rows.push(Placed { place: Vec::new(), key: key.to_vec(), value: value.to_vec() });
            }
            Sink::Top { count, heap } => {
                let is_full = heap.len() == *count;
                if !is_full || heap.peek().is_some_and(|last| place < last.place) {
                    heap.push(Placed { place, key: key.to_vec(), value: value.to_vec() });
                    if is_full {
                        heap.pop();
                    }
                }
            }
            Sink::Groups(_) => {}
        }
        Ok(self.wants_more())
    }

    /// The result, with the figures in its plan.
    pub fn finish(self, plan: Plan) -> Result<QueryResult> {
        let query = self.query;
        let limit = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let mut cursor = None;
        let rows = match self.sink {
            Sink::Groups(groups) => {
                let groups = groups.into_rows()?;
                let rows = sorted_groups(query, groups)?.into_iter().skip(offset).take(limit);
                rows.map(|row| Ok(Row { value: projected(query, row.value)?, ..row })).collect::<Result<Vec<Row>>>()?
            }
            Sink::Ordered { rows, .. } => into_rows(query, rows, limit, &mut cursor)?,
            Sink::Top { heap, .. } => {
                let rows = heap.into_sorted_vec().into_iter().skip(offset).collect();
                into_rows(query, rows, limit, &mut cursor)?
            }
        };
        let plan = Plan {
            index_only: self.index_only,
            entries_examined: self.entries_examined,
            rows_examined: self.rows_examined,
            rows_matched: self.rows_matched,
            rows_returned: rows.len() as u64,
            ..plan
        };
        Ok(QueryResult { rows, cursor, plan })
    }
}

/// The documents under these keys. Pages that are missing are asked for together.
async fn fetch(source: Source<'_>, keys: &[Vec<u8>]) -> Result<Vec<Value>> {
    let root = source.state.root;
    source
        .engine
        .run_over(source.generation, |pager| {
            let mut values = Vec::with_capacity(keys.len());
            let mut missing: Vec<PageId> = Vec::new();
            for key in keys {
                match btree::get(pager, root, key) {
                    Ok(Some(value)) => values.push(value),
                    Ok(None) => {
                        return Err(Error::CorruptRecord("an index names a document that is not there").into());
                    }
                    Err(Fault::Miss(ids)) => missing.extend(ids),
                    Err(failed) => return Err(failed),
                }
            }
            if missing.is_empty() {
                return Ok(values);
            }
            cu_sort::sort(&mut missing);
            missing.dedup();
            Err(Fault::Miss(missing))
        })
        .await
}

/// The first fields of a run, or all of it when it was cut inside them.
fn prefix_of(run: &[u8], fields: usize) -> &[u8] {
    let mut length = 0;
    for _ in 0..fields {
        match ordered_length(&run[length..]) {
            Some(more) => length += more,
            None => return run,
        }
    }
    &run[..length]
}
