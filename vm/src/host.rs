//! What the VM asks of its host: output, time, files, and nothing else. The VM itself performs no I/O.

pub(crate) mod files;
pub(crate) mod memory_files;

use files::Files;

use crate::context::Context;
use crate::heap::value::Value;

/// What a call of a host function came to.
#[derive(Debug, Clone)]
pub enum Answer<'gc> {
    Return(Vec<Value<'gc>>),
    /// An error, which Lua code can catch.
    Throw(Value<'gc>),
    /// The answer comes later: the run stops with [`Step::Waiting`](crate::Step::Waiting).
    Wait,
    /// There is no such function.
    Unknown,
}

/// What the host's time zone is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZone {
    /// How far local time is ahead of UTC.
    pub seconds_east: i32,
    pub is_daylight_saving: bool,
    /// As people abbreviate it.
    pub name: String,
}

impl TimeZone {
    pub fn utc() -> TimeZone {
        TimeZone { seconds_east: 0, is_daylight_saving: false, name: "UTC".to_owned() }
    }
}

/// The host's side of the standard library.
pub trait Host {
    /// Takes what Lua code prints.
    fn write(&mut self, bytes: &[u8]);

    /// Takes a warning (`warn`, an error in a finalizer), without line end.
    fn warn(&mut self, _message: &[u8]) {}

    /// Seconds since 1970-01-01 00:00 UTC; `None` if scripts must not know.
    fn time(&mut self) -> Option<i64> {
        None
    }

    /// The time zone at a moment, any number of seconds from 1970; UTC unless the host knows better.
    fn time_zone(&mut self, _seconds: i64) -> TimeZone {
        TimeZone::utc()
    }

    /// Seconds of processor time used, or of time since the start; `None` if scripts must not know.
    fn clock(&mut self) -> Option<f64> {
        None
    }

    /// The file system; without one, the functions that need it are absent. Asked once when a VM is made, then at each use.
    fn files(&mut self) -> Option<&mut dyn Files> {
        None
    }

    /// Whether scripts may end the program (`os.exit`).
    fn can_exit(&mut self) -> bool {
        self.files().is_some()
    }

    /// Calls a function of the host ([`Context::host_function`]). Work that grows with the arguments is paid for by
    /// [`pay_for_bytes`](crate::pay_for_bytes).
    fn call<'gc>(&mut self, _context: Context<'gc>, _name: &[u8], _args: &[Value<'gc>]) -> Answer<'gc> {
        Answer::Unknown
    }

    /// An environment variable (`os.getenv`).
    fn environment(&mut self, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// A variable that says where modules are searched for (`LUA_PATH`, `LUA_CPATH`), asked for when a VM is made. A host that was
    /// told to leave the environment alone (`lua -E`) answers `None`.
    fn path_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.environment(name)
    }
}

/// A host that collects output in memory and tells no time.
#[derive(Debug, Default)]
pub struct SilentHost;

impl Host for SilentHost {
    fn write(&mut self, _bytes: &[u8]) {}
}
