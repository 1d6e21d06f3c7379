//! A file system in memory, for a page and for tests.
//!
//! A tree of names with `/` between them; every path starts at the root, whether it begins with `/` or not, and `.` and `..`
//! are resolved. A file is made only in a directory that exists. Contents belong to whoever has the file open, too: as in a
//! real system, a removed file lives until it is closed. There are no processes. Standard input is given beforehand, what is
//! written to the other two streams is kept.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::files::{File, FileError, Files, OpenMode, ProcessEnd, StandardStream, Whence};

/// Bytes that are written by one side and read by the other.
pub type SharedBytes = Rc<RefCell<Vec<u8>>>;

/// A file system in memory. Clones share everything.
#[derive(Debug, Clone)]
pub struct MemoryFiles {
    tree: Rc<RefCell<Tree>>,
    input: SharedBytes,
    /// How far standard input was read.
    input_position: Rc<Cell<usize>>,
    output: SharedBytes,
    errors: SharedBytes,
}

#[derive(Debug)]
struct Tree {
    /// By path, without a `/` at its start; the root is not in it.
    nodes: BTreeMap<Vec<u8>, Node>,
    temporary_names: u64,
    /// What the contents of all files may take, and take, in bytes.
    space: Rc<Space>,
}

#[derive(Debug, Clone)]
enum Node {
    Directory,
    File(Rc<Contents>),
}

#[derive(Debug)]
struct Space {
    limit: usize,
    used: Cell<usize>,
}

#[derive(Debug)]
struct Contents {
    bytes: RefCell<Vec<u8>>,
    space: Rc<Space>,
}

/// Where temporary files are made.
const TEMPORARY_DIRECTORY: &[u8] = b"tmp";
/// What a name takes beside its bytes, so that empty files are not free.
const NODE_BYTES: usize = 64;

/// What all files may take, if nothing else is said: 64 MiB.
const DEFAULT_LIMIT: usize = 64 << 20;

fn not_found() -> FileError {
    FileError::new(2, "No such file or directory")
}

fn not_a_directory() -> FileError {
    FileError::new(20, "Not a directory")
}

fn is_a_directory() -> FileError {
    FileError::new(21, "Is a directory")
}

fn no_space() -> FileError {
    FileError::new(28, "No space left on device")
}

fn illegal_seek() -> FileError {
    FileError::new(29, "Illegal seek")
}

fn not_empty() -> FileError {
    FileError::new(39, "Directory not empty")
}

impl Default for MemoryFiles {
    fn default() -> Self {
        MemoryFiles::with_limit(DEFAULT_LIMIT)
    }
}

impl MemoryFiles {
    /// An empty file system with a directory for temporary files and no standard input.
    pub fn new() -> MemoryFiles {
        MemoryFiles::default()
    }

    /// As [`Self::new`]; all names and contents together may take `limit` bytes.
    pub fn with_limit(limit: usize) -> MemoryFiles {
        let space = Rc::new(Space { limit, used: Cell::new(0) });
        let nodes = BTreeMap::from([(TEMPORARY_DIRECTORY.to_vec(), Node::Directory)]);
        MemoryFiles {
            tree: Rc::new(RefCell::new(Tree { nodes, temporary_names: 0, space })),
            input: SharedBytes::default(),
            input_position: Rc::default(),
            output: SharedBytes::default(),
            errors: SharedBytes::default(),
        }
    }

    /// Sends standard output where the host's [`crate::Host::write`] goes.
    pub fn with_output(self, output: SharedBytes) -> MemoryFiles {
        MemoryFiles { output, ..self }
    }

    /// Gives standard input more to read.
    pub fn push_input(&self, bytes: &[u8]) {
        self.input.borrow_mut().extend_from_slice(bytes);
    }

    /// What was written to the standard output stream.
    pub fn output(&self) -> SharedBytes {
        self.output.clone()
    }

    /// What was written to the standard error stream.
    pub fn errors(&self) -> SharedBytes {
        self.errors.clone()
    }

    /// Puts a file there, and the directories it lies in.
    ///
    /// # Errors
    ///
    /// The path is a directory's or leads through a file; there is no space.
    pub fn insert(&self, path: &[u8], contents: &[u8]) -> Result<(), FileError> {
        let mut tree = self.tree.borrow_mut();
        let name = normalized(path);
        for (end, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            tree.make_directory(&name[..end])?;
        }
        let file = tree.open(&name, true)?;
        file.set_length(0);
        file.write_at(0, contents)
    }

    /// The contents of a file.
    pub fn get(&self, path: &[u8]) -> Option<Vec<u8>> {
        match self.tree.borrow().nodes.get(&normalized(path)) {
            Some(Node::File(contents)) => Some(contents.bytes.borrow().clone()),
            _ => None,
        }
    }

    /// The paths of all files, sorted.
    pub fn paths(&self) -> Vec<Vec<u8>> {
        let is_file = |(path, node): (&Vec<u8>, &Node)| matches!(node, Node::File(_)).then(|| path.clone());
        self.tree.borrow().nodes.iter().filter_map(is_file).collect()
    }
}

/// A path without empty parts, `.` and `..`.
fn normalized(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// The name of a path that a script gives; an empty one is nobody's, as in POSIX.
fn resolved(path: &[u8]) -> Result<Vec<u8>, FileError> {
    if path.is_empty() { Err(not_found()) } else { Ok(normalized(path)) }
}

fn parent(name: &[u8]) -> &[u8] {
    name.iter().rposition(|byte| *byte == b'/').map_or(&[], |end| &name[..end])
}

impl Tree {
    fn make_directory(&mut self, name: &[u8]) -> Result<(), FileError> {
        match self.nodes.get(name) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(not_a_directory()),
            None => {
                self.space.take(NODE_BYTES + name.len())?;
                self.nodes.insert(name.to_vec(), Node::Directory);
                Ok(())
            }
        }
    }

    fn check_parent(&self, name: &[u8]) -> Result<(), FileError> {
        match self.nodes.get(parent(name)) {
            _ if parent(name).is_empty() => Ok(()),
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(not_a_directory()),
            None => Err(not_found()),
        }
    }

    fn open(&mut self, name: &[u8], creates: bool) -> Result<Rc<Contents>, FileError> {
        self.check_parent(name)?;
        match self.nodes.get(name) {
            Some(Node::File(contents)) => Ok(contents.clone()),
            Some(Node::Directory) => Err(is_a_directory()),
            None if name.is_empty() => Err(is_a_directory()),
            None if creates => {
                self.space.take(NODE_BYTES + name.len())?;
                let contents = Rc::new(Contents { bytes: RefCell::default(), space: self.space.clone() });
                self.nodes.insert(name.to_vec(), Node::File(contents.clone()));
                Ok(contents)
            }
            None => Err(not_found()),
        }
    }

    fn is_empty_directory(&self, name: &[u8]) -> bool {
        let inside = [name, b"/"].concat();
        self.nodes.range(inside.clone()..).next().is_none_or(|(path, _)| !path.starts_with(&inside))
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), FileError> {
        self.check_parent(name)?;
        match self.nodes.get(name) {
            None if name.is_empty() => return Err(not_empty()),
            None => return Err(not_found()),
            Some(Node::Directory) if !self.is_empty_directory(name) => return Err(not_empty()),
            Some(_) => {}
        }
        self.nodes.remove(name);
        self.space.release(NODE_BYTES + name.len());
        Ok(())
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), FileError> {
        self.check_parent(from)?;
        self.check_parent(to)?;
        let inside = [from, b"/"].concat();
        if from.is_empty() || to.is_empty() || to.starts_with(&inside) {
            return Err(FileError::invalid_argument());
        }
        match (self.nodes.get(from), self.nodes.get(to)) {
            (None, _) => return Err(not_found()),
            _ if from == to => return Ok(()),
            (Some(Node::File(_)), Some(Node::Directory)) => return Err(is_a_directory()),
            (Some(Node::Directory), Some(Node::File(_))) => return Err(not_a_directory()),
            (Some(Node::Directory), Some(Node::Directory)) if !self.is_empty_directory(to) => return Err(not_empty()),
            _ => {}
        }
        if self.nodes.remove(to).is_some() {
            self.space.release(NODE_BYTES + to.len());
        }
        let moves = |path: &Vec<u8>| path == from || path.starts_with(&inside);
        let moved: Vec<Vec<u8>> = self.nodes.keys().filter(|path| moves(path)).cloned().collect();
        for path in moved {
            if let Some(node) = self.nodes.remove(&path) {
                self.space.release(path.len());
                let path = [to, &path[from.len()..]].concat();
                // A longer name may pass the limit, by some bytes.
                self.space.used.set(self.space.used.get() + path.len());
                self.nodes.insert(path, node);
            }
        }
        Ok(())
    }
}

impl Space {
    fn take(&self, bytes: usize) -> Result<(), FileError> {
        if bytes > self.limit.saturating_sub(self.used.get()) {
            return Err(no_space());
        }
        self.used.set(self.used.get() + bytes);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }
}

impl Contents {
    /// Makes the contents shorter.
    fn set_length(&self, length: usize) {
        let mut bytes = self.bytes.borrow_mut();
        if length < bytes.len() {
            self.space.release(bytes.len() - length);
            bytes.truncate(length);
            bytes.shrink_to_fit();
        }
    }

    /// Writes at a position, with zeros before it if it is behind the end.
    fn write_at(&self, position: usize, written: &[u8]) -> Result<(), FileError> {
        let mut bytes = self.bytes.borrow_mut();
        let end = position.checked_add(written.len()).ok_or_else(no_space)?;
        if end > bytes.len() {
            self.space.take(end - bytes.len())?;
            bytes.resize(end, 0);
        }
        bytes[position..end].copy_from_slice(written);
        Ok(())
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.space.release(self.bytes.get_mut().len());
    }
}

/// An open file.
struct MemoryFile {
    contents: Rc<Contents>,
    mode: OpenMode,
    position: usize,
}

impl File for MemoryFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        if !self.mode.reads() {
            return Err(FileError::bad_descriptor());
        }
        let bytes = self.contents.bytes.borrow();
        let count = copy_from(&bytes, self.position, buffer);
        self.position += count;
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if !self.mode.writes() {
            return Err(FileError::bad_descriptor());
        }
        if self.mode.appends() {
            self.position = self.contents.bytes.borrow().len();
        }
        self.contents.write_at(self.position, bytes)?;
        self.position += bytes.len();
        Ok(())
    }

    fn seek(&mut self, whence: Whence, offset: i64) -> Result<u64, FileError> {
        let from = match whence {
            Whence::Start => 0,
            Whence::Current => self.position,
            Whence::End => self.contents.bytes.borrow().len(),
        };
        let position = (from as i64).checked_add(offset).and_then(|position| usize::try_from(position).ok());
        self.position = position.ok_or_else(FileError::invalid_argument)?;
        Ok(self.position as u64)
    }

    fn flush(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<Option<ProcessEnd>, FileError> {
        Ok(None)
    }
}

/// Copies what lies at `position`; how much it was.
fn copy_from(bytes: &[u8], position: usize, buffer: &mut [u8]) -> usize {
    let rest = bytes.get(position..).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    count
}

/// A standard stream.
struct MemoryStream {
    bytes: SharedBytes,
    /// Of the input: how far it was read.
    position: Option<Rc<Cell<usize>>>,
}

impl File for MemoryStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        let position = self.position.as_ref().ok_or_else(FileError::bad_descriptor)?;
        let count = copy_from(&self.bytes.borrow(), position.get(), buffer);
        position.set(position.get() + count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if self.position.is_some() {
            return Err(FileError::bad_descriptor());
        }
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    fn seek(&mut self, _whence: Whence, _offset: i64) -> Result<u64, FileError> {
        Err(illegal_seek())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<Option<ProcessEnd>, FileError> {
        Ok(None)
    }
}

impl Files for MemoryFiles {
    fn open(&mut self, path: &[u8], mode: OpenMode) -> Result<Box<dyn File>, FileError> {
        let contents = self.tree.borrow_mut().open(&resolved(path)?, mode.creates())?;
        if mode.truncates() {
            contents.set_length(0);
        }
        // In C, too, a file open for appending only starts at its end.
        let position = if mode == OpenMode::Append { contents.bytes.borrow().len() } else { 0 };
        Ok(Box::new(MemoryFile { contents, mode, position }))
    }

    fn standard(&mut self, stream: StandardStream) -> Box<dyn File> {
        let (bytes, position) = match stream {
            StandardStream::Input => (&self.input, Some(self.input_position.clone())),
            StandardStream::Output => (&self.output, None),
            StandardStream::Error => (&self.errors, None),
        };
        Box::new(MemoryStream { bytes: bytes.clone(), position })
    }

    fn open_temporary(&mut self) -> Result<Box<dyn File>, FileError> {
        let space = self.tree.borrow().space.clone();
        let contents = Rc::new(Contents { bytes: RefCell::default(), space });
        Ok(Box::new(MemoryFile { contents, mode: OpenMode::WriteUpdate, position: 0 }))
    }

    fn temporary_name(&mut self) -> Result<Vec<u8>, FileError> {
        let mut tree = self.tree.borrow_mut();
        loop {
            tree.temporary_names += 1;
            let name = [TEMPORARY_DIRECTORY, format!("/lua_{:06}", tree.temporary_names).as_bytes()].concat();
            if !tree.nodes.contains_key(&name) {
                tree.open(&name, true)?;
                return Ok([b"/", &name[..]].concat());
            }
        }
    }

    fn remove(&mut self, path: &[u8]) -> Result<(), FileError> {
        self.tree.borrow_mut().remove(&resolved(path)?)
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), FileError> {
        self.tree.borrow_mut().rename(&resolved(from)?, &resolved(to)?)
    }
}
