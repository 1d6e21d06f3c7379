//! The Lua fixtures and how to run them: what every test of Lua behaviour stands on.
//!
//! A fixture is a program `fixtures/lua/<area>/<name>.lua` with what the reference interpreter wrote for it: `<name>.out`, and
//! `<name>.err` if it ended in an error (the message, without traceback). [`Conditions`] say how it is run here;
//! [`check_all`] runs many in parallel and reports every failure.
//!
//! [`Differential`] compares generated programs with the reference interpreter itself. The programs come from the grammar in
//! `fixtures/grammar`; a program that behaves differently is made smaller before it is shown.

#![forbid(unsafe_code)]

mod differential;
mod fixture;
mod grammar;
mod hostile;
mod known;
mod mutation;
mod outcome;
mod probe;
pub mod random;
mod reference;
mod shrink;
mod token;

pub use differential::{Difference, Differential, Program, Progress, Report};
pub use fixture::{Fixture, check_all, fixtures, repository};
pub use hostile::{End, HostileCase, hostile_cases, run_within};
pub use outcome::{Conditions, HEAP_LIMIT, Outcome, Replace, run};
pub use probe::{Measured, Probe, probes};
pub use reference::{Behaviour, Mode};
