//! The planner: by which way a query finds its rows.
//!
//! A way is the documents' own tree (all of it, or ranges of keys), ranges of an index, a union for "or", an intersection for
//! "and". Each way is priced from the number of entries it passes, which the trees themselves tell ([`btree::fraction_below`]),
//! and the cheapest one is taken. A way also has an order; one that has the order the query asks for needs no sorting and
//! stops at the limit, which is part of its price.
//!
//! Prices are in units of passing one document in the scan of a tree; `docs/ARCHITECTURE.md` has the measurement they were
//! chosen by.

use std::ops::Bound;

use crate::btree;
use crate::catalog::CollectionState;
use crate::cursor::{Direction, KeyRange};
use crate::engine::Engine;
use crate::entries::StemRange;
use crate::error::{Error, Result};
use crate::filter::{Filter, Operator};
use crate::index::{ELEMENT, IndexKind, IndexState, WHOLE};
use crate::key::{kind_bytes, write_ordered};
use crate::page::PageId;
use crate::query::{Query, Using};
use crate::restrict::{Restriction, normalize};

/// Passing an entry of an index.
const PRICE_ENTRY: f64 = 0.3;
/// Finding a document by its key.
const PRICE_FETCH: f64 = 2.0;
/// Comparing two rows in a sort.
const PRICE_COMPARE: f64 = 0.05;
/// Beginning a range.
const PRICE_RANGE: f64 = 1.0;

/// Most ranges that several lists of values may multiply to.
const RANGES_MAX: usize = 1000;

/// A way to the rows.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Ranges of the documents' own tree, ascending.
    Primary(Vec<StemRange>),
    Index(IndexAccess),
    Union(Vec<Access>),
    Intersection(Vec<Access>),
}

/// Ranges of an index.
#[derive(Debug, Clone)]
pub(crate) struct IndexAccess {
    /// Of the index in the Collection.
    pub position: usize,
    /// Ascending, none touching another.
    pub ranges: Vec<StemRange>,
    /// What each field of the index is restricted to, as far as the ranges say it.
    restrictions: Vec<Option<Restriction>>,
    /// The conditions that the ranges say exactly, by their position in the conjunction.
    covered: Vec<usize>,
}

/// In which order a way gives its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// In that of the documents' tree.
    Key(Direction),
    /// In that of the first fields of the index, this many; rows that agree in them have to be ordered.
    Index(Direction, usize),
    /// In another than the query's, so all rows have to be sorted.
    Sort,
}

/// The chosen way.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub access: Access,
    pub order: Order,
    /// Whether the way's ranges say all that the filter says.
    pub exact: bool,
    /// Rows expected to pass the filter.
    pub rows: f64,
}

/// A priced way to a set of documents.
struct Candidate {
    access: Access,
    /// Documents it gives.
    rows: f64,
    /// What passing its entries costs, without the documents.
    price: f64,
    /// Conditions of the conjunction that need no second look.
    covered: Vec<usize>,
}

pub(crate) struct Planner<'a> {
    pub engine: &'a Engine,
    pub generation: u64,
    pub state: &'a CollectionState,
    pub query: &'a Query,
}

impl Planner<'_> {
    pub async fn choose(&self) -> Result<Choice> {
        let filter = normalize(&self.query.filter, false);
        let terms = &Conjunction::of(&filter);
        let total = self.state.count as f64;
        let mut candidates = self.candidates(terms).await?;
        let rows = (total * self.selectivity(terms.terms, &candidates)).min(total);
        if let Some(intersection) = self.intersection(&candidates, total) {
            candidates.push(intersection);
        }
        let own_order = key_order(terms, self.query);
        let is_exact = |candidate: &Candidate| candidate.covered.len() == terms.terms.len();
        let mut best: Option<(usize, Order, f64)> = None;
        for (position, candidate) in candidates.iter().enumerate() {
            for (order, price) in
                self.priced(candidate, terms, own_order, rows, is_exact(candidate)).into_iter().flatten()
            {
                if best.is_none_or(|(.., best)| price < best) {
                    best = Some((position, order, price));
                }
            }
        }
        let Some((position, order, _)) = best else {
            return Err(Error::invalid("using", "the query cannot be answered this way"));
        };
        let exact = is_exact(&candidates[position]);
        Ok(Choice { access: candidates.swap_remove(position).access, order, exact, rows })
    }

    /// Whether the query's hint allows an index.
    fn allows(&self, index: &IndexState) -> bool {
        index.built
            && match &self.query.using {
                Using::Cheapest | Using::AnyIndex | Using::Intersection => true,
                Using::Scan => false,
                Using::Index(name) => *name == index.definition.name,
            }
    }

    /// All ways to the documents that pass a conjunction, or more.
    async fn candidates(&self, terms: &Conjunction<'_>) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        let with_primary = matches!(self.query.using, Using::Cheapest | Using::Scan);
        if with_primary {
            candidates.push(self.primary(terms).await?);
        }
        for (position, index) in self.state.indexes.iter().enumerate().filter(|(_, index)| self.allows(index)) {
            if let Some(candidate) = self.index(terms, position, index).await? {
                candidates.push(candidate);
            }
        }
        for (position, term) in terms.terms.iter().enumerate() {
            let Filter::Or(branches) = term else { continue };
            if let Some(candidate) = Box::pin(self.union(branches, position)).await? {
                candidates.push(candidate);
            }
        }
        Ok(candidates)
    }

    /// The documents' own tree, between the keys that conditions on `$key` leave.
    async fn primary(&self, terms: &Conjunction<'_>) -> Result<Candidate> {
        let (ranges, covered) = match terms.on("$key") {
            Some((restriction, covered)) => (kept(restriction.ranges()), covered.to_vec()),
            None => (vec![StemRange::ALL], Vec::new()),
        };
        let total = self.state.count as f64;
        let rows = if covered.is_empty() { total } else { self.entries(self.state.root, total, &ranges).await? };
        let price = rows + PRICE_RANGE * ranges.len() as f64;
        Ok(Candidate { access: Access::Primary(ranges), rows, price, covered })
    }

    async fn index(&self, terms: &Conjunction<'_>, position: usize, index: &IndexState) -> Result<Option<Candidate>> {
        let access = if index.definition.multi {
            multi_access(terms, position, index)
        } else {
            plain_access(terms, position, index)
        };
        let Some(access) = access else {
            return Ok(None);
        };
        let rows = self.entries(index.root, index.entries as f64, &access.ranges).await?;
        let price = PRICE_ENTRY * rows + PRICE_RANGE * access.ranges.len() as f64;
        let covered = access.covered.clone();
        Ok(Some(Candidate { access: Access::Index(access), rows, price, covered }))
    }

    /// A way to each branch of an "or".
    async fn union(&self, branches: &[Filter], position: usize) -> Result<Option<Candidate>> {
        let mut union = Candidate { access: Access::Union(Vec::new()), rows: 0.0, price: 0.0, covered: Vec::new() };
        let mut accesses = Vec::with_capacity(branches.len());
        let mut is_exact = true;
        for branch in branches {
            let terms = Conjunction::of(branch);
            let candidates = self.candidates(&terms).await?;
            let narrow =
                candidates.into_iter().filter(|candidate| !candidate.covered.is_empty() || is_narrow(candidate));
            let Some(best) = narrow.min_by(|left, right| set_price(left).total_cmp(&set_price(right))) else {
                return Ok(None);
            };
            is_exact = is_exact && best.covered.len() == terms.terms.len();
            union.rows += best.rows;
            union.price += best.price;
            accesses.push(best.access);
        }
        union.access = Access::Union(accesses);
        if is_exact {
            union.covered.push(position);
        }
        Ok(Some(union))
    }

    /// The two or three best ways together, when that promises to be cheaper, or when the query asks for it.
    fn intersection(&self, candidates: &[Candidate], total: f64) -> Option<Candidate> {
        let mut parts: Vec<&Candidate> = candidates
            .iter()
            .filter(|candidate| !matches!(candidate.access, Access::Primary(_)) && is_narrow(candidate))
            .collect();
        cu_sort::sort_by(&mut parts, |left, right| left.rows.total_cmp(&right.rows));
        let mut together: Vec<&Candidate> = Vec::new();
        let (mut rows, mut price) = (total, 0.0);
        for part in parts {
            let new = part.covered.iter().any(|term| !together.iter().any(|other| other.covered.contains(term)));
            let fewer = rows * part.rows / total.max(1.0);
            let gain = (rows - fewer) * PRICE_FETCH;
            if together.is_empty() || (new && (gain > part.price || self.query.using == Using::Intersection)) {
                rows = fewer;
                price += part.price;
                together.push(part);
            }
        }
        if together.len() < 2 {
            return None;
        }
        if self.query.using == Using::Intersection {
            price = 0.0;
        }
        let mut covered: Vec<usize> = together.iter().flat_map(|part| part.covered.iter().copied()).collect();
        cu_sort::sort(&mut covered);
        covered.dedup();
        let access = Access::Intersection(together.iter().map(|part| part.access.clone()).collect());
        Some(Candidate { access, rows, price, covered })
    }

    /// How many entries of a tree are in the ranges.
    async fn entries(&self, root: PageId, total: f64, ranges: &[StemRange]) -> Result<f64> {
        let page_size = self.engine.core.borrow().pager.page_size();
        // Many ranges are much alike, so a few tell about all.
        let looked_at = ranges.len().min(8);
        let mut sum = 0.0;
        for range in &ranges[..looked_at] {
            sum += total * self.fraction(root, &range.keys(page_size)).await?;
        }
        Ok((sum * ranges.len() as f64 / looked_at.max(1) as f64).min(total))
    }

    async fn fraction(&self, root: PageId, range: &KeyRange) -> Result<f64> {
        self.engine
            .run_over(self.generation, |pager| {
                let below = |pager: &mut _, bound: &Bound<Vec<u8>>, open| match bound {
                    Bound::Included(key) | Bound::Excluded(key) => btree::fraction_below(pager, root, key),
                    Bound::Unbounded => Ok(open),
                };
                let low = below(pager, &range.from, 0.0)?;
                let high = below(pager, &range.to, 1.0)?;
                Ok((high - low).max(0.0))
            })
            .await
    }

    /// About which part of the documents passes all conditions, from what the ways have found out and guesses.
    fn selectivity(&self, terms: &[Filter], candidates: &[Candidate]) -> f64 {
        let total = (self.state.count as f64).max(1.0);
        let mut part = 1.0;
        for (position, term) in terms.iter().enumerate() {
            let known = candidates
                .iter()
                .filter(|candidate| candidate.covered == [position])
                .map(|candidate| candidate.rows / total)
                .reduce(f64::min);
            part *= known.unwrap_or_else(|| guess(term));
        }
        part
    }

    /// The prices of a candidate's ways to the query's rows: in its own order where that is of use, and sorted.
    fn priced(
        &self,
        candidate: &Candidate,
        terms: &Conjunction<'_>,
        own_order: Option<Direction>,
        rows: f64,
        exact: bool,
    ) -> [Option<(Order, f64)>; 2] {
        let query = self.query;
        let wanted = match query.limit {
            Some(limit) if query.aggregates.is_empty() && query.group_by.is_empty() => {
                limit.saturating_add(query.offset) as f64
            }
            _ => f64::INFINITY,
        };
        // The part of the way that has to be gone until enough rows are found.
        let part = if rows > wanted { wanted / rows } else { 1.0 };
        let count = candidate.rows;
        let sorting = count * (count + 2.0).log2() * PRICE_COMPARE;
        let fetching = if query.is_plain_count() && exact { 0.0 } else { count * PRICE_FETCH };
        let in_order = match (&candidate.access, order_of(self.state, &candidate.access, terms, own_order, query)) {
            (Access::Primary(ranges), _)
                if exact && query.is_plain_count() && ranges.as_slice() == [StemRange::ALL] =>
            {
                Some((Order::Key(Direction::Forward), 0.0))
            }
            (Access::Primary(_), Order::Sort) => Some((Order::Sort, candidate.price + sorting)),
            (Access::Primary(_), order) => Some((order, candidate.price * part)),
            (Access::Index(_), order @ Order::Index(..)) => {
                // Rows that are left out at the start are not read where no document decides which.
                let skipped = if exact && query.after.is_none() { query.offset as f64 / rows.max(1.0) } else { 0.0 };
                Some((order, candidate.price * part + fetching * (part - skipped).max(0.0)))
            }
            _ => None,
        };
        if matches!(candidate.access, Access::Primary(_)) {
            return [in_order, None];
        }
        // Keys are gathered and ordered first, then the documents are read in that order.
        let order = own_order.map_or(Order::Sort, Order::Key);
        let reading = if own_order.is_some() { fetching * part } else { fetching + sorting };
        [in_order, Some((order, candidate.price + sorting + reading))]
    }
}

/// What a gathered set of documents costs.
fn set_price(candidate: &Candidate) -> f64 {
    candidate.price + candidate.rows * PRICE_FETCH
}

/// Whether a way leaves documents out.
fn is_narrow(candidate: &Candidate) -> bool {
    match &candidate.access {
        Access::Primary(ranges) => ranges.as_slice() != [StemRange::ALL],
        Access::Index(access) => access.ranges.as_slice() != [StemRange::ALL],
        _ => true,
    }
}

/// Conditions that must all hold, and what they say about each field.
struct Conjunction<'a> {
    terms: &'a [Filter],
    /// By field: what its conditions say together, and which they are.
    restrictions: Vec<(&'a str, Restriction, Vec<usize>)>,
}

impl<'a> Conjunction<'a> {
    fn of(filter: &'a Filter) -> Conjunction<'a> {
        let terms = match filter {
            Filter::And(terms) => terms.as_slice(),
            term => std::slice::from_ref(term),
        };
        let mut restrictions: Vec<(&str, Restriction, Vec<usize>)> = Vec::new();
        for (position, term) in terms.iter().enumerate() {
            let Filter::Field { field, operator, value } = term else { continue };
            let Some(restriction) = Restriction::of(*operator, value) else { continue };
            match restrictions.iter_mut().find(|(name, ..)| name == field) {
                Some((_, all, covered)) => {
                    *all = all.and(&restriction);
                    covered.push(position);
                }
                None => restrictions.push((field, restriction, vec![position])),
            }
        }
        Conjunction { terms, restrictions }
    }

    fn on(&self, name: &str) -> Option<(&Restriction, &[usize])> {
        let found = self.restrictions.iter().find(|(field, ..)| *field == name)?;
        Some((&found.1, &found.2))
    }

    /// Whether conditions leave one value of a field.
    fn fixes(&self, name: &str) -> bool {
        self.on(name).is_some_and(|(restriction, _)| restriction.single().is_some())
    }
}

fn kept(ranges: Vec<StemRange>) -> Vec<StemRange> {
    ranges.into_iter().filter(|range| !range.is_empty()).collect()
}

/// Ranges of an index over whole fields.
fn plain_access(terms: &Conjunction<'_>, position: usize, index: &IndexState) -> Option<IndexAccess> {
    let definition = &index.definition;
    let mut prefixes = vec![Vec::new()];
    let mut ranges = None;
    let mut restrictions: Vec<Option<Restriction>> = vec![None; definition.fields.len()];
    let mut covered = Vec::new();
    let mut excludes_nil = false;
    for (number, field) in definition.fields.iter().enumerate() {
        let Some((restriction, terms)) = terms.on(field) else { break };
        match restriction {
            Restriction::Points(points) if prefixes.len() * points.len() <= RANGES_MAX => {
                prefixes = prefixes
                    .iter()
                    .flat_map(|prefix| points.iter().map(move |point| [prefix.as_slice(), point].concat()))
                    .collect();
            }
            Restriction::Points(_) => break,
            Restriction::Range(range) => {
                ranges = Some(prefixes.iter().map(|prefix| range.behind(prefix)).collect());
            }
        }
        excludes_nil = excludes_nil || !restriction.allows_nil();
        covered.extend_from_slice(terms);
        restrictions[number] = Some(restriction.clone());
        if ranges.is_some() {
            break;
        }
    }
    if definition.sparse && !excludes_nil {
        return None;
    }
    let ranges = match (definition.kind, ranges) {
        (IndexKind::Btree, Some(ranges)) => ranges,
        (IndexKind::Btree, None) if restrictions[0].is_none() => vec![StemRange::ALL],
        (IndexKind::Btree, None) => prefixes.into_iter().map(StemRange::equal).collect(),
        (IndexKind::Hash, None) if restrictions.iter().all(Option::is_some) => {
            covered.clear();
            hashed(index, None, prefixes)?
        }
        (IndexKind::Hash, _) => return None,
    };
    Some(IndexAccess { position, ranges: kept(ranges), restrictions, covered })
}

/// Ranges of an index over the elements of arrays, by one condition.
fn multi_access(terms: &Conjunction<'_>, position: usize, index: &IndexState) -> Option<IndexAccess> {
    let definition = &index.definition;
    let name = &definition.fields[0];
    let access =
        |ranges, covered| Some(IndexAccess { position, ranges: kept(ranges), restrictions: vec![None], covered });
    for (term, filter) in terms.terms.iter().enumerate() {
        let Filter::Field { field, operator: Operator::Contains, value } = filter else { continue };
        let Some(Restriction::Points(points)) = Restriction::of(Operator::Equal, value).filter(|_| field == name)
        else {
            continue;
        };
        let mut ranges = match definition.kind {
            IndexKind::Hash => hashed(index, Some(ELEMENT), points)?,
            IndexKind::Btree => {
                Restriction::Points(points).ranges().iter().map(|range| range.behind(&[ELEMENT])).collect()
            }
        };
        // A string may have the value inside; every string is looked at.
        let is_text = matches!(value, crate::Document::String(_));
        if is_text {
            let (first, after) = kind_bytes(value);
            ranges.push(match definition.kind {
                IndexKind::Hash => StemRange { low: vec![WHOLE], high: Some(vec![WHOLE + 1]) },
                IndexKind::Btree => StemRange { low: vec![WHOLE, first], high: Some(vec![WHOLE, after]) },
            });
        }
        let exact = !is_text && definition.kind == IndexKind::Btree;
        return access(ranges, if exact { vec![term] } else { Vec::new() });
    }
    // Arrays are not there as a whole, so the conditions must leave them out.
    let (restriction, covered) = terms.on(name)?;
    let covered = covered.to_vec();
    let is_array = |range: &StemRange| {
        let (first, after) = kind_bytes(&crate::Document::Array(Vec::new()));
        let arrays = StemRange { low: vec![first], high: Some(vec![after]) };
        !range.and(&arrays).is_empty()
    };
    let ranges = restriction.ranges();
    if ranges.iter().any(is_array) || (definition.sparse && restriction.allows_nil()) {
        return None;
    }
    match (definition.kind, restriction) {
        (IndexKind::Btree, _) => access(ranges.iter().map(|range| range.behind(&[WHOLE])).collect(), covered),
        (IndexKind::Hash, Restriction::Points(points)) => {
            access(hashed(index, Some(WHOLE), points.clone())?, Vec::new())
        }
        (IndexKind::Hash, Restriction::Range(_)) => None,
    }
}

/// The ranges of hashes, ascending, each once.
fn hashed(index: &IndexState, lead: Option<u8>, values: Vec<Vec<u8>>) -> Option<Vec<StemRange>> {
    let stem = |value: Vec<u8>| {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(&value);
            Ok(())
        };
        index.definition.stem(lead, write).ok()
    };
    let mut stems = values.into_iter().map(stem).collect::<Option<Vec<Vec<u8>>>>()?;
    cu_sort::sort(&mut stems);
    stems.dedup();
    // What follows eight bytes of hash is a document's key or 0x01, so no byte there is above these.
    Some(stems.into_iter().map(StemRange::equal).collect())
}

/// The fields that still order rows: those before one on `$key`, without those that conditions hold fixed.
fn open_sorts<'a>(terms: &Conjunction<'_>, query: &'a Query) -> Vec<(&'a str, Direction)> {
    let mut open = Vec::new();
    for sort in &query.sort {
        if !terms.fixes(&sort.field) {
            open.push((sort.field.as_str(), sort.direction));
        }
        if sort.field == "$key" {
            break;
        }
    }
    open
}

/// The direction in which keys are the query's order, if they are.
fn key_order(terms: &Conjunction<'_>, query: &Query) -> Option<Direction> {
    if query.is_aggregate() {
        return Some(Direction::Forward);
    }
    match open_sorts(terms, query).as_slice() {
        [] => Some(Direction::Forward),
        [("$key", direction), ..] => Some(*direction),
        _ => None,
    }
}

/// The order in which a way that is not gathered gives its rows.
fn order_of(
    state: &CollectionState,
    access: &Access,
    terms: &Conjunction<'_>,
    own_order: Option<Direction>,
    query: &Query,
) -> Order {
    match access {
        Access::Primary(_) => own_order.map_or(Order::Sort, Order::Key),
        Access::Index(access) => index_order(&state.indexes[access.position], access, terms, query),
        _ => Order::Sort,
    }
}

fn index_order(index: &IndexState, access: &IndexAccess, terms: &Conjunction<'_>, query: &Query) -> Order {
    let definition = &index.definition;
    if definition.kind == IndexKind::Hash || definition.multi || query.is_aggregate() {
        return Order::Sort;
    }
    let mut sorts = open_sorts(terms, query);
    // Rows that agree in everything before it come in the order of keys anyway.
    if let Some(("$key", Direction::Forward)) = sorts.last() {
        sorts.pop();
    }
    let Some(&(_, direction)) = sorts.first() else {
        // All rows of one value are in the order of keys.
        let whole = access.restrictions.iter().all(|field| field.as_ref().is_some_and(|one| one.single().is_some()));
        return if whole { Order::Index(Direction::Forward, definition.fields.len()) } else { Order::Sort };
    };
    let mut wanted = sorts.iter().peekable();
    let mut used = 0;
    for (number, field) in definition.fields.iter().enumerate() {
        match wanted.peek() {
            None => break,
            Some((name, towards)) if *name == field => {
                if *towards != direction {
                    return Order::Sort;
                }
                wanted.next();
            }
            Some(_) if access.restrictions[number].as_ref().is_some_and(|one| one.single().is_some()) => {}
            Some(_) => return Order::Sort,
        }
        used = number + 1;
    }
    if wanted.peek().is_none() { Order::Index(direction, used) } else { Order::Sort }
}

impl IndexAccess {
    /// What stems begin with at a position of the query's order: the encodings of the values that rows have there, as far as
    /// the index's fields are fixed or sorted by.
    pub fn prefix_at(&self, fields: &[String], query: &Query, values: &[crate::Document]) -> Vec<u8> {
        let mut prefix = Vec::new();
        for (field, restriction) in fields.iter().zip(&self.restrictions) {
            if let Some(point) = restriction.as_ref().and_then(Restriction::single) {
                prefix.extend_from_slice(point);
                continue;
            }
            let sorted_by = query.sort.iter().zip(values).find(|(sort, _)| sort.field == *field);
            let Some((_, value)) = sorted_by else { break };
            let length = prefix.len();
            if write_ordered(value, &mut prefix).is_err() {
                prefix.truncate(length);
                break;
            }
        }
        prefix
    }
}

/// How many documents pass a condition about which nothing is known.
fn guess(term: &Filter) -> f64 {
    match term {
        Filter::Field { operator, value, .. } => match operator {
            Operator::Equal | Operator::StartsWith | Operator::EndsWith | Operator::Contains => 0.1,
            Operator::In => match value {
                crate::Document::Array(values) => (0.1 * values.len() as f64).min(0.5),
                _ => 0.1,
            },
            Operator::Between => 0.2,
            Operator::NotEqual | Operator::NotIn | Operator::Exists => 0.9,
            _ => 0.33,
        },
        Filter::And(terms) => terms.iter().map(guess).product(),
        Filter::Or(terms) => terms.iter().map(guess).sum::<f64>().min(1.0),
        Filter::Not(term) => 1.0 - guess(term),
    }
}
