//! Functions by collection and name: live in a VM, saved to bytes and loaded from them.

use std::collections::BTreeMap;

use cu_vm::{Handle, RunError, Vm};

use crate::blob::{check_function, load_function, save_functions};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::save::Save;

/// Named functions that are alive in one VM. All calls take that VM.
#[derive(Debug, Default)]
pub struct Functions {
    live: BTreeMap<(String, String), Handle>,
}

/// Compiles the definition of a function: an expression that gives one, or a chunk that returns one. Running the handle gives the
/// function; [`Functions::adopt_result`] takes it from there. Lines are those of `source`.
///
/// # Errors
///
/// [`RunError::Syntax`], of the expression if it looks like one, otherwise of the chunk.
pub fn compile_function(vm: &Vm, source: &[u8], chunk_name: &str) -> std::result::Result<Handle, RunError> {
    let expression = [b"return ", source].concat();
    vm.load(&expression, chunk_name).or_else(|expression_error| {
        vm.load(source, chunk_name).map_err(
            |chunk_error| {
                if is_function_expression(source) { expression_error } else { chunk_error }
            },
        )
    })
}

/// Whether the text begins with `function (`.
fn is_function_expression(source: &[u8]) -> bool {
    let after_keyword = source.trim_ascii_start().strip_prefix(b"function");
    after_keyword.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"("))
}

impl Functions {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the function behind a handle a name. What had the name before is forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::NotAFunction`]; the handle is released.
    pub fn adopt(&mut self, vm: &Vm, collection: &str, name: &str, function: Handle) -> Result<()> {
        let checked = vm.enter(|context| {
            let checked = check_function(context.fetch(&function));
            match &checked {
                Ok(()) => Ok(function),
                Err(_) => {
                    context.release(function);
                    Err(checked)
                }
            }
        });
        match checked {
            Ok(function) => {
                let previous = self.live.insert((collection.to_owned(), name.to_owned()), function);
                if let Some(previous) = previous {
                    vm.enter(|context| context.release(previous));
                }
                Ok(())
            }
            Err(error) => error,
        }
    }

    /// Gives the first result of the run that finished a name.
    ///
    /// # Errors
    ///
    /// [`Error::NotAFunction`].
    pub fn adopt_result(&mut self, vm: &Vm, collection: &str, name: &str) -> Result<()> {
        let function =
            vm.take_results(|context, results| context.stash(results.first().copied().unwrap_or(cu_vm::Value::Nil)));
        self.adopt(vm, collection, name, function)
    }

    /// The function with this name.
    pub fn get(&self, collection: &str, name: &str) -> Option<&Handle> {
        self.live.get(&(collection.to_owned(), name.to_owned()))
    }

    /// Saves a function with everything it reaches, as it is now.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFunction`]; what [`save_functions`] gives.
    pub fn save(&self, vm: &Vm, collection: &str, name: &str, save: &Save) -> Result<Vec<u8>> {
        let function = self
            .get(collection, name)
            .ok_or_else(|| Error::UnknownFunction { collection: collection.to_owned(), name: name.to_owned() })?;
        save_functions(vm, &[(&format!("function '{name}'"), function)], save)
    }

    /// Loads a function under a name. What had the name before is forgotten.
    ///
    /// # Errors
    ///
    /// What [`load_function`] gives; the registry is unchanged then.
    pub fn load(&mut self, vm: &mut Vm, collection: &str, name: &str, bytes: &[u8], limits: &Limits) -> Result<()> {
        let function = load_function(vm, bytes, limits)?;
        self.adopt(vm, collection, name, function)
    }

    /// Lets go of a function; false if there is none with this name.
    pub fn forget(&mut self, vm: &Vm, collection: &str, name: &str) -> bool {
        match self.live.remove(&(collection.to_owned(), name.to_owned())) {
            Some(function) => {
                vm.enter(|context| context.release(function));
                true
            }
            None => false,
        }
    }

    /// Collections and names of all functions, in order.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.live.keys().map(|(collection, name)| (collection.as_str(), name.as_str()))
    }
}
