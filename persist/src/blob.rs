//! Function blobs: the public calls, and a blob's payload after it was checked from end to end.
//!
//! [`Blob::read`] needs no VM: bounds, counts, references and kinds are checked and all code is verified. Only
//! permanents, whose names each VM knows for itself, are left for [`Blob::build`].

mod scan;

use cu_vm::bytecode::verify::Verified;
use cu_vm::image::{NoUserdata, UserdataCodec};
use cu_vm::{Handle, Value, Vm};

use crate::envelope::{self, BLOB_VERSION_MAX, COROUTINES_VERSION, HAS_COROUTINES, USERDATA_VERSION};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::path::described;
use crate::reader::Reader;
use crate::save::{Save, save_values};
use crate::wire::Counts;
use scan::{Layout, Scan, read_counts};

pub(crate) use scan::{coroutine_counts, take_userdata};

/// What a blob starts with.
pub(crate) const MAGIC: [u8; 4] = *b"\x1bCuF";

/// Saves one function with everything it reaches. Paths in errors begin with `function`; use [`save_functions`] to give it a name.
///
/// # Errors
///
/// [`Error::NotAFunction`], [`Error::NotPersistable`], [`Error::Limit`].
pub fn save_function(vm: &Vm, function: &Handle, save: &Save) -> Result<Vec<u8>> {
    save_functions(vm, &[("function", function)], save)
}

/// Saves several functions together; what they share, they share after loading too. Each comes with a name that
/// paths in errors begin with.
///
/// # Errors
///
/// As for [`save_function`].
pub fn save_functions(vm: &Vm, functions: &[(&str, &Handle)], save: &Save) -> Result<Vec<u8>> {
    vm.enter(|context| {
        let values: Vec<(&str, Value<'_>)> =
            functions.iter().map(|(name, handle)| (*name, context.fetch(handle))).collect();
        values.iter().try_for_each(|(_, value)| check_function(*value))?;
        save_values(context, &values, save)
    })
}

/// Loads a blob with one function.
///
/// # Errors
///
/// [`Error::Corrupt`], [`Error::Version`], [`Error::Verify`], [`Error::UnknownPermanent`], [`Error::Limit`] if it does not fit into
/// the heap; [`Error::NotAFunction`] if the blob holds anything else than one function.
pub fn load_function(vm: &mut Vm, bytes: &[u8], limits: &Limits) -> Result<Handle> {
    let mut functions = load_functions(vm, bytes, limits)?;
    match (functions.pop(), functions.is_empty()) {
        (Some(function), true) => Ok(function),
        (last, _) => {
            functions.extend(last);
            let found = format!("{} functions", functions.len());
            vm.enter(|context| functions.into_iter().for_each(|function| context.release(function)));
            Err(Error::NotAFunction { found })
        }
    }
}

/// Loads a blob's functions, in the order they were saved in.
///
/// # Errors
///
/// As for [`load_function`].
pub fn load_functions(vm: &mut Vm, bytes: &[u8], limits: &Limits) -> Result<Vec<Handle>> {
    load_functions_with(vm, bytes, limits, &NoUserdata)
}

/// Likewise for a host whose values in userdata are in blobs; see [`Save::userdata`].
///
/// # Errors
///
/// Besides, [`Error::UnknownUserdata`] for what the codec does not know, before anything is made.
pub fn load_functions_with(
    vm: &mut Vm,
    bytes: &[u8],
    limits: &Limits,
    userdata: &dyn UserdataCodec,
) -> Result<Vec<Handle>> {
    let blob = Blob::read(bytes, limits)?;
    let fits = |vm: &Vm| {
        let heap = vm.heap_bytes();
        blob.heap_bytes() <= heap.limit.saturating_sub(heap.used)
    };
    if !fits(vm) {
        vm.collect();
        if !fits(vm) {
            return Err(Error::Limit { what: "heap" });
        }
    }
    vm.enter(|context| {
        let values = blob.build_with(context, userdata)?;
        values.iter().try_for_each(|value| check_function(*value))?;
        Ok(values.into_iter().map(|value| context.stash(value)).collect())
    })
}

pub(crate) fn check_function(value: Value<'_>) -> Result<()> {
    match value {
        Value::Closure(_) | Value::Native(_) => Ok(()),
        _ => Err(Error::NotAFunction { found: described(value) }),
    }
}

/// A blob that was checked completely and belongs to no VM yet.
pub struct Blob {
    pub(crate) payload: Vec<u8>,
    pub(crate) counts: Counts,
    pub(crate) layout: Layout,
    pub(crate) functions: Vec<Option<Verified>>,
}

impl Blob {
    /// Checks a blob from end to end.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Version`], [`Error::Verify`], [`Error::Limit`].
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Blob> {
        let (version, payload) = envelope::open(MAGIC, BLOB_VERSION_MAX, bytes, limits)?;
        let mut reader = Reader::at(&payload, 0);
        let counts = read_counts(&mut reader, limits)?;
        let mut scan = Scan::new(&payload, counts, limits);
        if HAS_COROUTINES && version >= COROUTINES_VERSION {
            let coroutines = reader.take()?;
            reader.check_count(coroutines, 16)?;
            scan.layout.coroutine_count = coroutines;
        }
        if HAS_COROUTINES && version >= USERDATA_VERSION {
            let userdata = reader.take()?;
            reader.check_count(userdata, 4)?;
            scan.layout.userdata_count = userdata;
        }
        let (layout, functions) = scan.run(&mut reader)?;
        Ok(Blob { payload, counts, layout, functions })
    }

    /// An upper estimate of the heap that building takes, in nominal bytes.
    pub fn heap_bytes(&self) -> usize {
        self.layout.heap_bytes
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.counts.roots as usize
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.counts.roots == 0
    }
}
