//! Group commit: the way of finished transactions to the backend.
//!
//! A transaction that is done gives up the writer's turn before its record is stored, so the next one can begin on top of it.
//! While one record is on its way, others gather; they go out together, as one record, when that one has arrived. Each commit
//! resolves when its own record is durable, and readers see nothing before that.
//!
//! When a record does not arrive, nothing that was built on it can stand: what has gathered behind it fails with
//! [`Error::Conflict`], and so does a transaction that is open; both can be run again.
//!
//! Whoever waits polls the write that is under way. A caller that goes away leaves it to the others, and what it was about is
//! stored or not as if the caller had stayed.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::record::LogWriter;

/// Finished transactions that are not yet durable.
#[derive(Default)]
pub(crate) struct CommitQueue {
    waiting: RefCell<Vec<Member>>,
    flight: RefCell<Option<Flight>>,
    /// Everybody who waits: one caller going away must not take the wake-up with it.
    sleepers: Arc<Sleepers>,
}

#[derive(Default)]
struct Sleepers(Mutex<Vec<Waker>>);

impl Wake for Sleepers {
    fn wake(self: Arc<Self>) {
        let sleepers = self.0.lock().map(|mut wakers| std::mem::take(&mut *wakers)).unwrap_or_default();
        sleepers.into_iter().for_each(Waker::wake);
    }
}

/// What a commit waits for.
pub(crate) type Ticket = Rc<Cell<Option<Result<()>>>>;

struct Member {
    log: LogWriter,
    catalog: Rc<Catalog>,
    ticket: Ticket,
}

/// A record on its way.
struct Flight {
    write: Pin<Box<dyn Future<Output = Result<()>>>>,
    /// The state that it makes the present one.
    catalog: Rc<Catalog>,
    sequence: u64,
    bytes: usize,
    /// The record itself, when somebody wants to know what is in it.
    record: Option<Vec<u8>>,
    tickets: Vec<Ticket>,
}

impl CommitQueue {
    /// Takes a finished transaction, whose layer is on top.
    pub fn push(&self, log: LogWriter, catalog: Rc<Catalog>) -> Ticket {
        let ticket = Ticket::default();
        self.waiting.borrow_mut().push(Member { log, catalog, ticket: ticket.clone() });
        ticket
    }

    /// The state that the next transaction begins with, when it is not yet durable.
    pub fn head(&self) -> Option<Rc<Catalog>> {
        let waiting = self.waiting.borrow();
        let flight = self.flight.borrow();
        waiting.last().map(|member| &member.catalog).or(flight.as_ref().map(|flight| &flight.catalog)).cloned()
    }

    /// How many layers of pages belong to finished transactions.
    pub fn layers(&self) -> usize {
        self.waiting.borrow().len() + self.flight.borrow().as_ref().map_or(0, |flight| flight.tickets.len())
    }

    fn is_empty(&self) -> bool {
        self.flight.borrow().is_none() && self.waiting.borrow().is_empty()
    }
}

/// Waits for one commit.
pub(crate) async fn wait(engine: &Engine, ticket: Ticket) -> Result<()> {
    if engine.commits.flight.borrow().is_none() {
        engine.backend.gather().await?;
    }
    poll_fn(|context| {
        loop {
            if let Some(result) = ticket.take() {
                return Poll::Ready(result);
            }
            if advance(engine, context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Waits until every finished transaction is durable or has failed.
pub(crate) async fn drain(engine: &Engine) {
    poll_fn(|context| {
        loop {
            if engine.commits.is_empty() {
                return Poll::Ready(());
            }
            if advance(engine, context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Starts a write or carries on with the one under way. Ready when one has ended.
fn advance(engine: &Engine, context: &mut Context<'_>) -> Poll<()> {
    let queue = &engine.commits;
    if queue.flight.borrow().is_none() {
        let members = queue.waiting.take();
        match launch(engine, members) {
            Some(flight) => *queue.flight.borrow_mut() = Some(flight),
            None => return Poll::Ready(()),
        }
    }
    let Some(mut flight) = queue.flight.take() else {
        return Poll::Ready(());
    };
    if let Ok(mut wakers) = queue.sleepers.0.lock()
        && !wakers.iter().any(|waker| waker.will_wake(context.waker()))
    {
        wakers.push(context.waker().clone());
    }
    let waker = Waker::from(queue.sleepers.clone());
    let polled = flight.write.as_mut().poll(&mut Context::from_waker(&waker));
    match polled {
        Poll::Pending => {
            *queue.flight.borrow_mut() = Some(flight);
            Poll::Pending
        }
        Poll::Ready(result) => {
            land(engine, flight, result);
            waker.wake();
            Poll::Ready(())
        }
    }
}

/// Puts the changes of all members into one record and begins to store it.
fn launch(engine: &Engine, members: Vec<Member>) -> Option<Flight> {
    let catalog = members.last()?.catalog.clone();
    let mut log = LogWriter::default();
    let mut tickets = Vec::with_capacity(members.len());
    for member in members {
        log.append(member.log);
        tickets.push(member.ticket);
    }
    let sequence = engine.core.borrow().sequence;
    let bytes = log.weight();
    let record = log.finish(sequence + 1);
    let copy = (!engine.feed.is_empty()).then(|| record.clone());
    let backend = engine.backend.clone();
    let write = Box::pin(async move { backend.append(sequence, record).await });
    Some(Flight { write, catalog, sequence, bytes, record: copy, tickets })
}

fn land(engine: &Engine, flight: Flight, result: Result<()>) {
    let mut core = engine.core.borrow_mut();
    match &result {
        Ok(()) => core.commit(flight.tickets.len(), flight.catalog, flight.sequence + 1, flight.bytes),
        Err(error) => {
            // Transactions above it saw what is not.
            if core.pager.layer_count() > flight.tickets.len() {
                core.begin_generation();
            }
            core.pager.drop_layers(0);
            // After a conflict there is something to take in; after a lost connection the log tells whether the
            // record was stored.
            core.stale = core.stale || *error != Error::Quota;
            for member in engine.commits.waiting.take() {
                member.ticket.set(Some(Err(Error::Conflict)));
            }
        }
    }
    drop(core);
    match flight.record {
        Some(record) if result.is_ok() => engine.feed.record(&record),
        // Somebody has subscribed while the record was on its way, and has perhaps not seen it.
        None if result.is_ok() => engine.feed.lose(),
        _ => {}
    }
    for ticket in flight.tickets {
        ticket.set(Some(result.clone()));
    }
}
