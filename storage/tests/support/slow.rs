//! A backend that answers late, and a driver for tasks that wait for it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use cu_storage::{Backend, BackendFuture, Checkpoint, Database, MemoryBackend, Options, PageId, Stored};

pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Opens a database over it.
pub fn open(store: &MemoryBackend, polls: &Rc<Cell<u32>>, options: &Options) -> Database {
    let slow = Slow { store: store.clone(), polls: polls.clone() };
    let options = options.clone();
    let slot = Rc::new(Cell::new(None));
    let result = slot.clone();
    let task = async move { result.set(Some(Database::open(slow, options).await.unwrap())) };
    drive(vec![Box::pin(task)], None);
    slot.take().unwrap()
}

/// A backend whose answers take a while, as a browser's do.
pub struct Slow {
    pub store: MemoryBackend,
    pub polls: Rc<Cell<u32>>,
}

impl Slow {
    fn delayed<'a, T: 'a>(&self, answer: BackendFuture<'a, T>) -> BackendFuture<'a, T> {
        // A different wait each time, so that tasks overtake each other.
        let seed = self.polls.get().wrapping_mul(1_103_515_245).wrapping_add(12_345);
        self.polls.set(seed);
        let mut before = seed >> 16 & 3;
        let mut after = seed >> 18 & 3;
        Box::pin(async move {
            std::future::poll_fn(move |context| wait(&mut before, context)).await;
            let answer = answer.await;
            std::future::poll_fn(move |context| wait(&mut after, context)).await;
            answer
        })
    }
}

fn wait(left: &mut u32, context: &mut Context<'_>) -> Poll<()> {
    if *left == 0 {
        return Poll::Ready(());
    }
    *left -= 1;
    context.waker().wake_by_ref();
    Poll::Pending
}

impl Backend for Slow {
    fn load(&self, after: u64) -> BackendFuture<'_, Stored> {
        self.delayed(self.store.load(after))
    }
    fn read_pages(&self, checkpoint: u64, pages: Vec<PageId>) -> BackendFuture<'_, Vec<Option<Vec<u8>>>> {
        self.delayed(self.store.read_pages(checkpoint, pages))
    }
    fn append(&self, expected: u64, record: Vec<u8>) -> BackendFuture<'_, ()> {
        self.delayed(self.store.append(expected, record))
    }
    fn checkpoint(&self, checkpoint: Checkpoint) -> BackendFuture<'_, ()> {
        self.delayed(self.store.checkpoint(checkpoint))
    }
    fn close(&self) -> BackendFuture<'_, ()> {
        self.delayed(self.store.close())
    }
}

/// Polls tasks in turn until all are done; `stop_after` drops the last one unfinished.
pub fn drive(tasks: Vec<Task>, stop_after: Option<u32>) {
    let mut tasks: Vec<_> = tasks.into_iter().map(Some).collect();
    let mut context = Context::from_waker(Waker::noop());
    let mut rounds = 0;
    while tasks.iter().any(Option::is_some) {
        rounds += 1;
        assert!(rounds < 1_000_000, "tasks are stuck");
        if Some(rounds) == stop_after {
            *tasks.last_mut().unwrap() = None;
        }
        for task in &mut tasks {
            if let Some(running) = task
                && running.as_mut().poll(&mut context).is_ready()
            {
                *task = None;
            }
        }
    }
}
