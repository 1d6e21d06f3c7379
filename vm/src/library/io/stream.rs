//! A file with its buffers: what C calls a stream.
//!
//! The host's file has one position, which is ahead of the script's by the bytes read but not taken, and behind it by the bytes
//! written but not given to the host. Only one of the two buffers holds something at a time: reading gives away what was
//! written first, writing goes back over what was read ahead.

use crate::host::files::{Buffering, File, FileError, StandardStream, Whence};

/// What is read or written at once.
const BLOCK_BYTES: usize = 8192;
/// The same while a long piece is being read.
const LARGE_BLOCK_BYTES: usize = 1 << 20;

pub(crate) struct Stream {
    file: Box<dyn File>,
    readable: bool,
    writable: bool,
    /// What was read; the first `taken` bytes have been used.
    input: Vec<u8>,
    taken: usize,
    /// The end was seen; it holds until [`Self::try_again`].
    at_end: bool,
    /// What was written and not yet given to the file.
    output: Vec<u8>,
    buffering: Buffering,
    /// Standard output: the host has the buffer.
    buffered_by_host: bool,
}

impl Stream {
    pub(crate) fn new(file: Box<dyn File>, readable: bool, writable: bool) -> Stream {
        Stream {
            file,
            readable,
            writable,
            input: Vec::new(),
            taken: 0,
            at_end: false,
            output: Vec::new(),
            buffering: Buffering::Full,
            buffered_by_host: false,
        }
    }

    /// A standard stream.
    pub(crate) fn standard(kind: StandardStream, file: Box<dyn File>) -> Stream {
        if kind == StandardStream::Input {
            return Stream::new(file, true, false);
        }
        let buffered_by_host = kind == StandardStream::Output;
        Stream { buffering: Buffering::No, buffered_by_host, ..Stream::new(file, false, true) }
    }

    /// Appends what [`Self::restore`] takes: how it is buffered, whether the end was seen, and what is in the buffers.
    pub(crate) fn append_image(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.buffering as u8);
        bytes.push(u8::from(self.at_end));
        bytes.extend_from_slice(&(self.unread().len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.unread());
        bytes.extend_from_slice(&self.output);
    }

    /// False if the bytes are not from [`Self::append_image`].
    pub(crate) fn restore(&mut self, bytes: &[u8]) -> bool {
        let [buffering, at_end, l0, l1, l2, l3, buffers @ ..] = bytes else { return false };
        let kinds = [Buffering::No, Buffering::Line, Buffering::Full];
        let Some(buffering) = kinds.get(usize::from(*buffering)) else { return false };
        let Some((input, output)) = buffers.split_at_checked(u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize) else {
            return false;
        };
        if (!input.is_empty() && !self.readable) || (!output.is_empty() && !self.writable) || *at_end > 1 {
            return false;
        }
        self.buffering = *buffering;
        self.at_end = *at_end == 1;
        self.input = input.to_vec();
        self.output = output.to_vec();
        true
    }

    // Reading

    /// The bytes that can be had without asking the host.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    /// Forgets that the end was seen, as a terminal or a growing file may have more.
    pub(crate) fn try_again(&mut self) {
        self.at_end = false;
    }

    /// Reads another block behind [`Self::unread`], some `want` bytes if that is more; false at the end of the file.
    pub(crate) fn fill(&mut self, want: usize) -> Result<bool, FileError> {
        if !self.readable {
            return Err(FileError::bad_descriptor());
        }
        if self.at_end {
            return Ok(false);
        }
        self.give_output()?;
        self.input.drain(..self.taken);
        self.taken = 0;
        let block = match self.buffering {
            Buffering::No => want.clamp(1, LARGE_BLOCK_BYTES),
            _ => want.max(self.input.len()).clamp(BLOCK_BYTES, LARGE_BLOCK_BYTES),
        };
        let held = self.input.len();
        self.input.resize(held + block, 0);
        let read = self.file.read(&mut self.input[held..]);
        self.input.truncate(held + read.as_ref().map_or(0, |count| (*count).min(block)));
        self.at_end = read? == 0;
        Ok(!self.at_end)
    }

    /// The next byte, which stays; none at the end of the file.
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, FileError> {
        if self.unread().is_empty() && !self.fill(1)? {
            return Ok(None);
        }
        Ok(self.unread().first().copied())
    }

    /// Passes over `count` unread bytes.
    pub(crate) fn skip(&mut self, count: usize) {
        self.taken += count;
        if self.taken >= self.input.len() {
            self.forget_input();
        }
    }

    /// Takes `count` unread bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        if self.taken == 0 && count == self.input.len() && count > BLOCK_BYTES {
            return std::mem::take(&mut self.input);
        }
        let bytes = self.unread()[..count].to_vec();
        self.skip(count);
        bytes
    }

    fn forget_input(&mut self) {
        self.taken = 0;
        if self.input.capacity() > 4 * BLOCK_BYTES {
            self.input = Vec::new();
        } else {
            self.input.clear();
        }
    }

    /// Makes the file's position the script's, if the file has one; what was read ahead is read again.
    fn go_back(&mut self) {
        let ahead = self.unread().len() as i64;
        if ahead > 0 && self.file.seek(Whence::Current, -ahead).is_ok() {
            self.forget_input();
        }
        self.at_end = false;
    }

    // Writing

    /// Nothing can be written even to a file that is only read, as in C.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.writable {
            return Err(FileError::bad_descriptor());
        }
        if self.readable {
            self.go_back();
        }
        if self.buffering == Buffering::No {
            return self.file.write(bytes);
        }
        if self.output.len() + bytes.len() > BLOCK_BYTES {
            self.give_output()?;
            if bytes.len() >= BLOCK_BYTES {
                return self.file.write(bytes);
            }
        }
        self.output.extend_from_slice(bytes);
        if self.buffering == Buffering::Line
            && let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n')
        {
            let rest = self.output.split_off(self.output.len() - (bytes.len() - end - 1));
            let given = self.give_output();
            self.output = rest;
            return given;
        }
        Ok(())
    }

    /// Gives the file what was written. After a failure it is not tried again.
    fn give_output(&mut self) -> Result<(), FileError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let given = self.file.write(&self.output);
        self.output.clear();
        given
    }

    /// Gives the system what was written; after reading, moves the file's position to the script's.
    pub(crate) fn flush(&mut self) -> Result<(), FileError> {
        self.give_output()?;
        if !self.unread().is_empty() {
            self.go_back();
        }
        if self.writable { self.file.flush() } else { Ok(()) }
    }

    /// Gives the system what was written, and leaves what was read as it is.
    pub(crate) fn flush_written(&mut self) -> Result<(), FileError> {
        self.give_output()?;
        if self.writable { self.file.flush() } else { Ok(()) }
    }

    // Both

    /// Moves to a position and answers it, counted from the start.
    pub(crate) fn seek(&mut self, whence: Whence, offset: i64) -> Result<u64, FileError> {
        self.give_output()?;
        let ahead = if whence == Whence::Current { self.unread().len() as i64 } else { 0 };
        let offset = offset.checked_sub(ahead).ok_or_else(FileError::invalid_argument)?;
        let position = self.file.seek(whence, offset)?;
        self.forget_input();
        self.at_end = false;
        Ok(position)
    }

    pub(crate) fn set_buffering(&mut self, buffering: Buffering) -> Result<(), FileError> {
        self.give_output()?;
        if self.buffered_by_host {
            self.file.set_buffering(buffering);
        } else {
            self.buffering = buffering;
        }
        Ok(())
    }

    /// Gives away what was written and ends the use of the file.
    pub(crate) fn close(mut self) -> Result<Option<crate::host::files::ProcessEnd>, FileError> {
        let given = self.give_output();
        let closed = self.file.close();
        given.and(closed)
    }
}
