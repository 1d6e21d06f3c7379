//! In place of `tables` where a module has no external tables.

use std::rc::Rc;

use cu_vm::image::{NoUserdata, UserdataCodec};
use cu_vm::{NativeDefinition, Vm};

use crate::error::Result;

/// None.
pub struct Tables;

impl Tables {
    pub fn new() -> Tables {
        Tables
    }

    pub fn open(&self, _: &Vm, _: &[u8]) -> Result<()> {
        Ok(())
    }

    pub fn codec(&self) -> Rc<dyn UserdataCodec> {
        Rc::new(NoUserdata)
    }

    pub fn natives() -> Vec<NativeDefinition> {
        Vec::new()
    }

    pub fn waits(&self) -> bool {
        false
    }

    pub fn end_run(&self) {}
}
