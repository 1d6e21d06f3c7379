//! The writer's turn: an asynchronous lock for one thread. Whoever waits is woken when the gate opens and tries again;
//! dropping a waiting future leaves nothing behind but a spare wake-up.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

#[derive(Default)]
pub(crate) struct Gate {
    closed: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// Keeps the gate closed for others until dropped.
pub(crate) struct Turn {
    gate: Rc<Gate>,
}

impl Gate {
    pub async fn enter(gate: &Rc<Gate>) -> Turn {
        poll_fn(|context| {
            if gate.closed.replace(true) {
                gate.waiting.borrow_mut().push(context.waker().clone());
                Poll::Pending
            } else {
                Poll::Ready(Turn { gate: gate.clone() })
            }
        })
        .await
    }

    /// The turn, if nobody has it.
    pub fn try_enter(gate: &Rc<Gate>) -> Option<Turn> {
        (!gate.closed.replace(true)).then(|| Turn { gate: gate.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.gate.closed.set(false);
        for waker in self.gate.waiting.take() {
            waker.wake();
        }
    }
}
