//! Images: a whole VM as bytes, and back.
//!
//! An image is the description of a VM ([`cu_vm::image`]) in a compact form of its own: the same VM gives the same bytes on every
//! platform, and a VM loaded from them gives them again.
//!
//! # Versions
//!
//! The format version stands in the envelope. Version 1 is what `image/wire.rs` says. Whatever changes the meaning of a byte makes a new
//! version: a field more, another opcode or operand, another state of a native function that frames may stand in, another name of one.
//! A program that writes version n reads all versions from 1 to n: each old version keeps its wire structs and is
//! turned into the current description, frames included, when it is read. The images of released versions in
//! `fixtures/images` have to load, and to go on as they did, for ever; they are never written again.

mod read;
mod value;
mod wire;
mod write;

use cu_vm::image::{HostParts, Image, ImageError, UserdataCodec};
use cu_vm::{Handle, Options, Vm};

use crate::envelope::{self, FORMAT_VERSION};
use crate::error::{CorruptKind, Error, Result};
use crate::limits::Limits;
use write::TableWriter;

/// What an image starts with.
const MAGIC: [u8; 4] = *b"\x1bCuI";

/// Saves a VM as it stands: before a run, between two steps, or after it. The VM stays as it is. `attachment` is the host's own; it gets
/// it back with the image.
///
/// # Errors
///
/// [`Error::NotPersistable`] with the path to what cannot be saved; [`Error::Limit`].
pub fn save_image(vm: &Vm, userdata: &dyn UserdataCodec, attachment: &[u8], limits: &Limits) -> Result<Vec<u8>> {
    // About what numbers and references of a heap take, so that the buffer is copied seldom.
    let tables = TableWriter::new(vm.heap_bytes().used / 8, limits);
    let payload = vm.describe_beside(userdata, tables, |described| {
        let (image, tables) = described?;
        write::payload(&image, &tables, attachment, limits)
    })?;
    envelope::seal(MAGIC, FORMAT_VERSION, &payload, limits, envelope::UNCOMPRESSED_MAX)
}

/// An image whose envelope was checked.
pub struct ImageFile {
    payload: Vec<u8>,
    limits: Limits,
}

impl ImageFile {
    /// Checks the envelope.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Version`], [`Error::Limit`].
    pub fn open(bytes: &[u8], limits: &Limits) -> Result<ImageFile> {
        Ok(ImageFile { payload: envelope::open(MAGIC, FORMAT_VERSION, bytes, limits)?.1, limits: limits.clone() })
    }

    /// What is in it, to look at, and the host's attachment. Whether it makes a VM shows when one is made.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Limit`].
    pub fn content(&self) -> Result<(Image<'_>, &[u8])> {
        read::content(&self.payload, &self.limits)
    }

    /// Makes the VM. Its heap limit is the saved one, but not more than that of `options`; the rest of `options` is the new host's. The
    /// values that the old host kept alive come as handles, in their order, with its attachment.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Verify`], [`Error::UnknownPermanent`] for a native function that is not there,
    /// [`Error::UnknownUserdata`], [`Error::Limit`] if it does not fit into the heap.
    pub fn load(&self, options: Options, host: &HostParts<'_>) -> Result<Loaded> {
        let (image, attachment) = self.content()?;
        let (vm, handles) = Vm::rebuild(options, &image, host)?;
        Ok(Loaded { vm, handles, attachment: attachment.to_vec() })
    }
}

/// A VM from an image.
pub struct Loaded {
    /// The VM, which goes on where the saved one stood.
    pub vm: Vm,
    /// What the host of the saved one kept alive.
    pub handles: Vec<Handle>,
    /// What the host gave to be saved with it.
    pub attachment: Vec<u8>,
}

/// Loads an image: [`ImageFile::open`] and [`ImageFile::load`].
///
/// # Errors
///
/// What these give.
pub fn load_image(bytes: &[u8], options: Options, host: &HostParts<'_>, limits: &Limits) -> Result<Loaded> {
    ImageFile::open(bytes, limits)?.load(options, host)
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Unsaveable { path, what } => Error::NotPersistable { path, what },
            ImageError::UnknownNative { name } => Error::UnknownPermanent { name, path: String::new() },
            ImageError::UnknownUserdata { kind } => Error::UnknownUserdata { kind },
            ImageError::HeapLimit => Error::Limit { what: "heap" },
            ImageError::Verify { function, source } => Error::Verify { function, source },
            damaged => Error::Corrupt { kind: CorruptKind::Inconsistent, offset: 0, path: damaged.to_string() },
        }
    }
}
