//! Ctrl-C, as `lua` takes it: the first one during a run is an error in the Lua code, a second one ends the process, and so does one
//! when no Lua code runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// Whether the signal has come, or is not waited for. Clones share it.
#[derive(Clone)]
pub struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// Takes over the signal, if the system lets us.
    pub fn install() -> Interrupts {
        let came = Arc::new(AtomicBool::new(true));
        // In this order: what the system does by default (the process ends) if the flag is set, otherwise the flag is.
        let installed = flag::register_conditional_default(SIGINT, came.clone());
        // Without a handler the signal always ends the process, which is no reason not to start.
        let _ = installed.and_then(|_| flag::register(SIGINT, came.clone()));
        Interrupts(came)
    }

    /// Waits for the signal from now on.
    pub fn begin(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Waits no longer.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the signal has come since [`Self::begin`].
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
