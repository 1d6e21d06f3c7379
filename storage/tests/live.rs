//! Live queries: after every commit, of this connection or another, what was reported so far adds up to what the query gives when
//! it is run anew.

mod support;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use cu_storage::{
    Aggregate, BatchOptions, Database, Direction, Document, Encoded, Error, Filter, Live, LiveChange, MemoryBackend,
    Operation, Operator, Options, Query, WriteFault, block_on,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::people::{Change, change, field_value};
use support::tiny;

/// Who watches, and what it knows from reports alone.
struct Watcher {
    live: Live,
    query: Query,
    rows: BTreeMap<Vec<u8>, Encoded>,
    order: Vec<Document>,
}

impl Watcher {
    fn new(database: &Database, query: &Query) -> Watcher {
        let live = database.subscribe(query.clone()).unwrap();
        Watcher { live, query: query.clone(), rows: BTreeMap::new(), order: Vec::new() }
    }

    fn take(&mut self, change: LiveChange) {
        for row in change.added {
            assert_eq!(self.rows.insert(row.key.encode().unwrap(), row.value), None, "added twice");
        }
        for row in change.changed {
            let old = self.rows.insert(row.key.encode().unwrap(), row.value.clone());
            assert!(old.is_some_and(|old| old != row.value), "changed from nothing, or to the same");
        }
        for key in change.removed {
            assert!(self.rows.remove(&key.encode().unwrap()).is_some(), "removed twice");
        }
        if let Some(order) = change.order {
            self.order = order;
        }
    }

    fn check(&mut self, database: &Database) {
        let change = block_on(self.live.update()).unwrap();
        self.take(change);
        let fresh = block_on(database.query(&self.query)).unwrap().rows;
        let wanted: BTreeMap<Vec<u8>, Encoded> =
            fresh.iter().map(|row| (row.key.encode().unwrap(), row.value.clone())).collect();
        assert_eq!(self.rows, wanted, "{:?}", self.query);
        if !self.order.is_empty() {
            let keys = |rows: &[Document]| rows.iter().map(|key| key.encode().unwrap()).collect::<Vec<_>>();
            let wanted: Vec<Document> = fresh.into_iter().map(|row| row.key).collect();
            assert_eq!(keys(&self.order), keys(&wanted), "{:?}", self.query);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Change>),
    /// By another connection, several commits, and whether a checkpoint follows.
    Foreign(Vec<Vec<Change>>, bool),
    Fault(Vec<Change>, bool),
    Drop,
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    let changes = || proptest::collection::vec(change(), 0..8);
    prop_oneof![
        6 => changes().prop_map(Step::Batch),
        4 => (proptest::collection::vec(changes(), 1..4), any::<bool>()).prop_map(|(all, end)| Step::Foreign(all, end)),
        1 => (changes(), any::<bool>()).prop_map(|(changes, lost)| Step::Fault(changes, lost)),
        1 => Just(Step::Drop),
        1 => Just(Step::Checkpoint),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    use Operator::*;
    let operator = prop_oneof![
        Just(Equal),
        Just(NotEqual),
        Just(Less),
        Just(GreaterOrEqual),
        Just(Contains),
        Just(StartsWith),
        Just(Exists)
    ];
    let field = prop_oneof![Just("a"), Just("b"), Just("address.city"), Just("tags"), Just("$key")];
    let condition = (field, operator, field_value())
        .prop_map(|(field, operator, value)| Filter::field(field, operator, value.unwrap_or_default()))
        .prop_filter("values that fit", |filter| {
            let Filter::Field { operator, value, .. } = filter else { return true };
            match operator {
                Exists => matches!(value, Document::Boolean(_) | Document::Nil),
                StartsWith => matches!(value, Document::String(_)),
                _ => true,
            }
        })
        .boxed();
    let either = (condition.clone(), condition.clone()).prop_map(|(left, right)| Filter::Or(vec![left, right]));
    prop_oneof![1 => Just(Filter::default()), 4 => condition.clone(), 2 => either,
        1 => condition.prop_map(|filter| Filter::Not(Box::new(filter)))]
}

fn query() -> impl Strategy<Value = Query> {
    (filter(), 0u8..8).prop_map(|(filter, shape)| {
        let query = Query::new("people", filter);
        match shape {
            0 => query.order_by("a", Direction::Backward),
            1 => Query { limit: Some(3), ..query.order_by("b", Direction::Forward) },
            2 => Query { offset: 2, limit: Some(5), ..query },
            3 => Query { fields: Some(vec!["a".to_owned()]), ..query },
            4 => Query { group_by: vec!["a".to_owned()], aggregates: vec![Aggregate::count("n")], ..query },
            _ => query,
        }
    })
}

fn send(database: &Database, changes: &[Change]) -> cu_storage::Result<()> {
    let operations: Vec<Operation> = changes.iter().map(|change| change.operation("people")).collect();
    let options = BatchOptions { atomic: false, ..BatchOptions::default() };
    block_on(database.batch(&operations, &options)).map(drop)
}

fn run(steps: &[Step], queries: &[Query]) {
    let store = MemoryBackend::new();
    let open = || block_on(Database::open(store.clone(), tiny(512))).unwrap();
    let (database, other) = (open(), open());
    let mut watchers: Vec<Watcher> = queries.iter().map(|query| Watcher::new(&database, query)).collect();
    for (position, step) in steps.iter().enumerate() {
        match step {
            Step::Batch(changes) => send(&database, changes).unwrap(),
            Step::Foreign(commits, checkpoint) => {
                commits.iter().for_each(|changes| send(&other, changes).unwrap());
                if *checkpoint {
                    block_on(other.checkpoint()).unwrap();
                }
                block_on(database.refresh()).unwrap();
            }
            Step::Fault(changes, lost) => {
                let fault = if *lost { WriteFault::LoseAnswer } else { WriteFault::Fail(Error::Quota) };
                store.fail_write(store.writes(), fault);
                let _ = send(&database, changes);
                store.fail_write(u64::MAX, WriteFault::LoseAnswer);
            }
            Step::Drop => drop(block_on(database.drop_collection("people")).unwrap()),
            Step::Checkpoint => block_on(database.checkpoint()).unwrap(),
        }
        // Some look after each commit, some only now and then.
        for (number, watcher) in watchers.iter_mut().enumerate() {
            if position % (number + 1) == 0 || position + 1 == steps.len() {
                watcher.check(&database);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(8),
        cases: 400,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn reports_add_up_to_what_the_query_gives(
        steps in proptest::collection::vec(step(), 1..25),
        queries in proptest::collection::vec(query(), 1..5),
    ) {
        run(&steps, &queries);
    }
}

fn person(age: i64) -> Document {
    Document::map([("age", age.into())])
}

#[test]
fn a_filter_is_kept_up_without_reading_a_page() {
    let store = MemoryBackend::new();
    let options = Options { cache_bytes_max: 0, result_cache_bytes: 0, ..tiny(512) };
    let database = block_on(Database::open(store.clone(), options)).unwrap();
    for key in 0..200 {
        block_on(database.set("people", &key.into(), &person(key))).unwrap();
    }
    let query = Query::new("people", Filter::field("age", Operator::Less, 100));
    let mut live = database.subscribe(query).unwrap();
    assert_eq!(block_on(live.update()).unwrap().added.len(), 100);
    block_on(database.set("people", &7.into(), &person(8))).unwrap();
    block_on(database.set("people", &8.into(), &person(800))).unwrap();
    block_on(database.set("people", &150.into(), &person(1))).unwrap();
    block_on(database.set("people", &160.into(), &person(161))).unwrap();
    block_on(database.set("others", &1.into(), &person(1))).unwrap();
    let reads = store.page_reads();
    let change = block_on(live.update()).unwrap();
    assert_eq!(store.page_reads(), reads);
    let keys = |rows: &[cu_storage::Row]| rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&change.added), [Document::Integer(150)]);
    assert_eq!(keys(&change.changed), [Document::Integer(7)]);
    assert_eq!(change.removed, [Document::Integer(8)]);
    assert_eq!(block_on(live.update()).unwrap(), LiveChange::default());
}

/// The first report of a sorted query had no order when there were no rows.
#[test]
fn a_sorted_query_tells_its_order_from_the_first_report_on() {
    let database = block_on(Database::open(MemoryBackend::new(), tiny(512))).unwrap();
    let query = Query::new("people", Filter::default()).order_by("age", Direction::Backward);
    let mut live = database.subscribe(query).unwrap();
    let first = block_on(live.next()).unwrap().unwrap();
    assert_eq!(first, LiveChange { order: Some(Vec::new()), ..LiveChange::default() });
    block_on(database.set("people", &1.into(), &person(1))).unwrap();
    assert_eq!(block_on(live.update()).unwrap().order, Some(vec![Document::Integer(1)]));
    block_on(database.set("others", &1.into(), &person(1))).unwrap();
    assert_eq!(block_on(live.update()).unwrap(), LiveChange::default());
    block_on(database.delete("people", &1.into())).unwrap();
    assert_eq!(block_on(live.update()).unwrap().order, Some(Vec::new()));
}

#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_is_woken_by_what_concerns_it_and_by_the_end() {
    let database = block_on(Database::open(MemoryBackend::new(), tiny(512))).unwrap();
    let mut live = database.subscribe(Query::new("people", Filter::default())).unwrap();
    let end = live.end();
    assert_eq!(block_on(live.next()).unwrap(), Some(LiveChange::default()));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    {
        let mut next = pin!(live.next());
        assert!(next.as_mut().poll(&mut context).is_pending());
        block_on(database.set("others", &1.into(), &1.into())).unwrap();
        assert!(next.as_mut().poll(&mut context).is_pending());
        block_on(database.set("people", &1.into(), &1.into())).unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
        let Poll::Ready(Ok(Some(change))) = next.as_mut().poll(&mut context) else { panic!("a change") };
        assert_eq!(change.added.len(), 1);
    }
    let mut next = pin!(live.next());
    assert!(next.as_mut().poll(&mut context).is_pending());
    end.end();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 3);
    assert!(matches!(next.as_mut().poll(&mut context), Poll::Ready(Ok(None))));
}
