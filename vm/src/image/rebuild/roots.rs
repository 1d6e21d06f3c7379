//! What stands above the objects: roots, the running coroutine, the counters of the heap.

use super::super::{Datum, ImageError};
use super::{Builder, damaged, or_damaged};
use crate::context::{Handle, Registered, SharedFiles, has_finalizer};
use crate::heap::accounting::FINALIZER_BYTES;
use crate::heap::coroutine::{Coroutine, Status};
use crate::heap::value::Value;
use crate::library::FileHandle;

impl<'gc> Builder<'gc, '_> {
    pub(super) fn set_roots(&self) -> Result<(), ImageError> {
        let roots = &self.image.roots;
        let table = |number: u32| self.tables.get(number as usize).copied();
        let coroutine = |number: u32| self.coroutines.get(number as usize).copied();
        // A file, or what uses it would not find one.
        let file = |number: u32| {
            let userdata = self.userdata.get(number as usize).copied();
            userdata.filter(|userdata| userdata.downcast::<FileHandle>().is_some())
        };
        let registered = || {
            let files = match roots.files {
                None => None,
                Some([metatable, input, output]) => {
                    Some(SharedFiles { metatable: table(metatable)?, input: file(input)?, output: file(output)? })
                }
            };
            Some(Registered {
                globals: table(roots.globals)?,
                loaded: table(roots.loaded)?,
                permanents: table(roots.permanents)?,
                permanent_names: table(roots.permanent_names)?,
                registry: self.metatable(roots.registry)?,
                files,
                report: self.metatable(roots.report)?,
                main: coroutine(roots.main)?,
                current: coroutine(roots.current)?,
            })
        };
        let registered = or_damaged(registered(), "root", 0, "object")?;
        let uses_files = self.image.natives.iter().any(|native| native.name.starts_with("io."));
        if uses_files && registered.files.is_none() {
            return damaged("root", 0, "files");
        }
        for (place, number) in self.context.root().type_metatables.iter().zip(roots.type_metatables) {
            place.set(or_damaged(self.metatable(number), "root", 0, "metatable of a type")?);
        }
        self.context.root().registered.set(Some(registered));
        Ok(())
    }

    /// What runs, and who waits for it, up to the main coroutine.
    pub(super) fn check_current(&self) -> Result<(), ImageError> {
        let Registered { main, current, .. } = self.context.registered();
        // SAFETY: nothing changes a state meanwhile.
        let state = |coroutine: Coroutine<'gc>| unsafe { &*coroutine.state_ptr() };
        let mut coroutine = current;
        let mut left = self.coroutines.len();
        while let Some(resumer) = state(coroutine).resumer {
            left = or_damaged(left.checked_sub(1), "coroutine", 0, "circle of coroutines")?;
            if state(resumer).status != Status::Normal {
                return damaged("coroutine", 0, "waiting coroutine");
            }
            coroutine = resumer;
        }
        let runs = state(current).status == Status::Running && !state(current).frames.is_empty();
        if !coroutine.ptr_eq(main) || (self.image.run.running && !runs) {
            return damaged("coroutine", 0, "running coroutine");
        }
        Ok(())
    }

    /// Lists of the heap and its counters.
    pub(super) fn set_heap(&self) -> Result<Vec<Handle>, ImageError> {
        let roots = &self.image.roots;
        let list = |data: &[Datum], kind| -> Result<Vec<Value<'gc>>, ImageError> {
            data.iter()
                .enumerate()
                .map(|(number, datum)| or_damaged(self.value(*datum), kind, number, "value"))
                .collect()
        };
        let finalizable = list(&roots.finalizable, "object with a finalizer")?;
        for (number, object) in finalizable.iter().enumerate() {
            let is_new = has_finalizer(*object).is_some_and(|has_finalizer| !has_finalizer.replace(true));
            or_damaged(is_new.then_some(()), "object with a finalizer", number, "value")?;
        }
        let doomed = list(&roots.doomed, "object to be finalized")?;
        self.context.accounting().charge((finalizable.len() + doomed.len()) * FINALIZER_BYTES);
        let handles = list(&roots.handles, "host value")?;
        let mut is_free = vec![false; handles.len()];
        for free in &roots.free_handles {
            let place = is_free.get_mut(*free as usize).filter(|is_free| !**is_free);
            *or_damaged(place, "host value", *free as usize, "free")? = true;
        }
        let root = self.context.root();
        let used =
            (0..handles.len() as u32).filter(|number| !is_free[*number as usize]).map(Handle::of_image).collect();
        // SAFETY: the only references to the lists.
        unsafe {
            *root.finalizable.get() = finalizable;
            *root.doomed.get() = doomed;
            *root.handles.get() = handles;
        }
        root.free_handles.replace(roots.free_handles.clone());
        let heap = &self.image.heap;
        root.next_serial.set(heap.next_serial);
        root.finalizing.set(heap.finalizing);
        root.warnings_on.set(heap.warnings_on);
        root.random.set(heap.random);
        if root.accounting.restore(heap) { Ok(used) } else { damaged("heap", 0, "counters") }
    }
}
