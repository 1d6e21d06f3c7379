//! What a caller can do about work that takes long: watch it, give it up, limit its time.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use crate::error::{Error, Result};

/// How far work has come, in units of the work: operations of a batch, documents of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, as far as that is known.
    pub total: u64,
}

/// Gives up the work that holds a clone of it. What was not yet durable is undone.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Rc<Cell<bool>>);

impl Cancel {
    /// Makes the work end with [`Error::Cancelled`] at the next unit.
    pub fn cancel(&self) {
        self.0.set(true);
    }
}

/// A clock in milliseconds from any start. Time comes from the host.
pub type Clock = Rc<dyn Fn() -> u64>;

/// What the caller does between two parts of the work.
pub type Pause = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// The caller's hold on work that takes long. The default neither watches nor ends it.
#[derive(Clone, Default)]
pub struct Control {
    on_progress: Option<Rc<dyn Fn(Progress)>>,
    cancel: Option<Cancel>,
    deadline: Option<(Clock, u64)>,
    pause: Option<Pause>,
}

impl Control {
    /// The same, telling `on_progress` how far the work has come.
    pub fn on_progress(self, on_progress: impl Fn(Progress) + 'static) -> Control {
        Control { on_progress: Some(Rc::new(on_progress)), ..self }
    }

    /// The same, ending when `cancel` says so.
    pub fn cancel(self, cancel: &Cancel) -> Control {
        Control { cancel: Some(cancel.clone()), ..self }
    }

    /// The same, ending with [`Error::TimedOut`] when this many milliseconds have passed from now on.
    pub fn time_limit(self, clock: Clock, milliseconds: u64) -> Control {
        let end = clock().saturating_add(milliseconds);
        Control { deadline: Some((clock, end)), ..self }
    }

    /// The same, waiting for `pause` now and then where work does not wait by itself, so that others have their turn.
    pub fn pause(self, pause: Pause) -> Control {
        Control { pause: Some(pause), ..self }
    }

    /// Gives others their turn, if the caller wants that, and tells whether the work may go on.
    pub(crate) async fn rest(&self) -> Result<()> {
        if let Some(pause) = &self.pause {
            pause().await;
        }
        self.check()
    }

    /// Whether the work may go on.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancel.as_ref().is_some_and(|cancel| cancel.0.get()) {
            return Err(Error::Cancelled);
        }
        match &self.deadline {
            Some((clock, end)) if clock() > *end => Err(Error::TimedOut),
            _ => Ok(()),
        }
    }

    /// Tells how far the work has come and whether it may go on.
    pub(crate) fn report(&self, done: u64, total: u64) -> Result<()> {
        if let Some(on_progress) = &self.on_progress {
            on_progress(Progress { done, total });
        }
        self.check()
    }
}
