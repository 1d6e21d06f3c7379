//! The parts of an image's payload as explicit structs, encoded by postcard; format version 1.
//!
//! ```text
//!   Counts
//!   strings       each: length, bytes; by number, short ones that nothing refers to last
//!   their serial numbers, each: StringSerial
//!   texts         likewise: names in debug information, of chunks, native functions, kinds of userdata
//!   functions     each as in binary chunks (`cu_vm::bytecode::wire`) without constants, with the words of its caches,
//!                 then the number of its constants and the constants; inner functions before the one that holds them
//!   tables        each: TableHead; serial number, metatable, border if its flags say so; items, keys and values in turn
//!   upvalues      each: UpvalueHead, value
//!   closures      each: serial number, function number, one upvalue number for each upvalue of the function
//!   natives       each: NativeHead, values
//!   userdata      each: UserdataHead, length and bytes of the host's value, user values
//!   coroutines    each: CoroutineHead, slots, error, function of the hook, Frame…, Open…, positions of variables to be closed
//!   Roots, then its lists: handles, free handles, objects with finalizers, objects to be finalized
//!   Heap, Run
//!   attachment    length, bytes
//! ```
//!
//! Values are those of blobs (`crate::wire::Value`). References go by number, in any direction.

use serde::{Deserialize, Serialize};

use crate::wire::Writer;

/// How many of each follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub strings: u32,
    pub idle_strings: u32,
    pub string_serials: u32,
    pub texts: u32,
    pub functions: u32,
    pub tables: u32,
    pub upvalues: u32,
    pub closures: u32,
    pub natives: u32,
    pub userdata: u32,
    pub coroutines: u32,
}

pub(super) const TABLE_WEAK_KEYS: u8 = 1;
pub(super) const TABLE_WEAK_VALUES: u8 = 2;
pub(super) const TABLE_SERIAL: u8 = 4;
pub(super) const TABLE_METATABLE: u8 = 8;
pub(super) const TABLE_BORDER: u8 = 16;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct TableHead {
    pub flags: u8,
    pub items: u32,
    /// Room for items beyond those.
    pub items_room: u32,
    pub entries: u32,
    pub entries_room: u32,
}

impl TableHead {
    /// By hand, as postcard does it: there are as many as tables.
    #[inline]
    pub fn put(self, out: &mut Writer) {
        let numbers = [self.items, self.items_room, self.entries, self.entries_room];
        if numbers.iter().all(|number| *number < 0x80) {
            let [items, items_room, entries, entries_room] = numbers.map(|number| number as u8);
            return out.append(&[self.flags, items, items_room, entries, entries_room]);
        }
        out.push(self.flags);
        numbers.iter().for_each(|number| out.varint(u64::from(*number)));
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct UpvalueHead {
    pub serial: u32,
    /// Whether its value follows.
    pub is_closed: bool,
}

/// The serial number of a string.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct StringSerial {
    /// Idle strings follow the others.
    pub string: u32,
    /// 0: the hash of a long string is known.
    pub serial: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct NativeHead {
    pub serial: u32,
    /// Text number.
    pub name: u32,
    pub values: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct UserdataHead {
    pub serial: u32,
    pub metatable: Option<u32>,
    /// Text number.
    pub kind: u32,
    pub values: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct CoroutineHead {
    pub serial: u32,
    pub status: Status,
    pub resumer: Option<u32>,
    pub stack_length: u32,
    pub slots: u32,
    pub transfer: u32,
    pub native_calls_below: u32,
    pub hook: Hook,
    pub frames: u32,
    pub frames_capacity: u32,
    pub open: u32,
    pub to_close: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Hook {
    pub mask: u8,
    pub count: i32,
    pub count_left: i32,
    pub traced_pc: u32,
    pub suspensions: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Status {
    Suspended,
    Running,
    Normal,
    Dead,
    Failed,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Frame {
    pub is_native: bool,
    pub callee: u32,
    pub pc: u32,
    pub function: u32,
    pub base: u32,
    pub top: u32,
    pub want: i32,
    pub state: u32,
    pub extra: u32,
    pub results: u32,
    pub flags: u32,
}

/// An open upvalue: its number and position.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Open {
    pub upvalue: u32,
    pub position: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Roots {
    pub globals: u32,
    pub loaded: u32,
    pub permanents: u32,
    pub permanent_names: u32,
    pub type_metatables: [Option<u32>; 7],
    pub registry: Option<u32>,
    pub files: Option<[u32; 3]>,
    pub report: Option<u32>,
    pub main: u32,
    pub current: u32,
    pub handles: u32,
    pub free_handles: u32,
    pub finalizable: u32,
    pub doomed: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Heap {
    pub used: u64,
    pub peak: u64,
    pub limit: u64,
    pub trigger: u64,
    pub pause: u8,
    pub step_multiplier: u8,
    pub stepped: u64,
    pub generational: bool,
    pub collecting: bool,
    pub next_serial: u32,
    pub finalizing: bool,
    pub warnings_on: bool,
    pub random: [u64; 4],
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub running: bool,
    pub memory_retry: bool,
    pub interruption: Option<String>,
    pub fuel_used: u64,
    pub results: u32,
    pub cycles: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_tables_are_as_postcard_writes_them() {
        for number in [0, 1, 0x7f, 0x80, 0x4000, u32::MAX] {
            for place in 0..4 {
                let number = |at| if at == place { number } else { at };
                let (items, items_room, entries, entries_room) = (number(0), number(1), number(2), number(3));
                let head = TableHead { flags: 0xff, items, items_room, entries, entries_room };
                let (mut by_hand, mut by_postcard) = (Writer::default(), Writer::default());
                head.put(&mut by_hand);
                by_postcard.put(&head);
                assert_eq!(by_hand.as_bytes(), by_postcard.as_bytes(), "{head:?}");
            }
        }
    }
}
