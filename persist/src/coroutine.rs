//! The parts of a coroutine that are numbers, as function blobs and `_home` write them.

use cu_vm::Status;
use cu_vm::image::{CoroutineParts, FrameImage, HookImage};

use crate::error::{CorruptKind, Result};
use crate::reader::Reader;
use crate::wire::Writer;

/// The fixed part of a coroutine.
pub(crate) struct Head {
    pub status: Status,
    pub stack_length: u32,
    pub transfer: u32,
    pub native_calls_below: u32,
    pub hook: HookImage,
}

impl Head {
    pub(crate) fn of(parts: &CoroutineParts<'_>) -> Head {
        Head {
            status: parts.status,
            stack_length: parts.stack_length,
            transfer: parts.transfer,
            native_calls_below: parts.native_calls_below,
            hook: parts.hook,
        }
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Head> {
        let status = match reader.byte()? {
            0 => Status::Suspended,
            1 => Status::Dead,
            2 => Status::Failed,
            _ => return Err(reader.corrupt(CorruptKind::Malformed)),
        };
        let stack_length = reader.small()?;
        let transfer = reader.small()?;
        let native_calls_below = reader.small()?;
        let mask = reader.byte()?;
        let [count, count_left] = [reader.small::<u32>()? as i32, reader.small::<u32>()? as i32];
        let hook = HookImage { mask, count, count_left, traced_pc: reader.small()?, suspensions: reader.small()? };
        Ok(Head { status, stack_length, transfer, native_calls_below, hook })
    }

    pub(crate) fn put(&self, out: &mut Writer) {
        out.push(match self.status {
            Status::Suspended => 0,
            Status::Failed => 2,
            _ => 1,
        });
        for number in [self.stack_length, self.transfer, self.native_calls_below] {
            out.varint(number.into());
        }
        let HookImage { mask, count, count_left, traced_pc, suspensions } = self.hook;
        out.push(mask);
        for number in [count as u32, count_left as u32, traced_pc, suspensions] {
            out.varint(number.into());
        }
    }
}

pub(crate) fn put_frame(out: &mut Writer, frame: &FrameImage) {
    let FrameImage { is_native: _, callee: _, pc, function, base, top, want, state, extra, results, flags } = *frame;
    for number in [pc, function, base, top, want as u32, state, extra, results, flags] {
        out.varint(number.into());
    }
}

/// A frame without its function.
pub(crate) fn take_frame(reader: &mut Reader<'_>) -> Result<FrameImage> {
    Ok(FrameImage {
        is_native: false,
        callee: 0,
        pc: reader.small()?,
        function: reader.small()?,
        base: reader.small()?,
        top: reader.small()?,
        want: reader.small::<u32>()? as i32,
        state: reader.small()?,
        extra: reader.small()?,
        results: reader.small()?,
        flags: reader.small()?,
    })
}
