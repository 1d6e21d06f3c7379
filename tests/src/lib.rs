//! The Lua fixtures and how to run them: what every test of Lua behaviour stands on.
//!
//! A fixture is a program `fixtures/lua/<area>/<name>.lua` with what the reference interpreter wrote for it: `<name>.out`, and
//! `<name>.err` if it ended in an error (the message, without traceback). [`Conditions`] say how it is run here;
//! [`check_all`] runs many in parallel and reports every failure.

#![forbid(unsafe_code)]

mod fixture;
mod outcome;

pub use fixture::{Fixture, check_all, fixtures, repository};
pub use outcome::{Conditions, HEAP_LIMIT, Outcome, run};
