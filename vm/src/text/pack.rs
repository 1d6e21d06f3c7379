//! Binary formats of `string.pack`, `string.packsize` and `string.unpack` (Lua manual §6.4.2).
//!
//! [`Items`] reads a format string one item at a time and works out each item's padding; the functions below it move
//! one value each. Sizes are those of a 64-bit machine on every platform (`size_t` 8, `long` 8, `int` 4), the
//! native byte order is little endian, the native alignment 8. A format ends at a zero byte, as in C Lua.
//!
//! An item may ask for gigabytes ("c2000000000"): compare [`Item::space`] with what is allowed before writing.

/// Why a format or a value cannot be packed or unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    InvalidOption(u8),
    IntegralSize(usize),
    MissingCharsSize,
    InvalidAlignmentOption,
    AlignmentNotPowerOfTwo,
    VariableLength,
    ResultTooLarge,
    IntegerOverflow,
    UnsignedOverflow,
    StringTooLong,
    LengthDoesNotFit,
    ContainsZeros,
    DataTooShort,
    UnfinishedString,
    IntegerDoesNotFit(usize),
}

/// Which argument a [`PackError`] blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// None: the message stands without "bad argument".
    Nobody,
    /// The format, argument 1.
    Format,
    /// The packed data, argument 2 of `string.unpack`.
    Data,
    /// The value being packed.
    Value,
}

impl PackError {
    /// The text of the Lua error, without the "bad argument" frame.
    pub fn message(&self) -> Vec<u8> {
        let text = match *self {
            Self::InvalidOption(option) => {
                return [b"invalid format option '", &[option][..], b"'"].concat();
            }
            Self::IntegralSize(size) => {
                return format!("integral size ({size}) out of limits [1,{INTEGER_SIZE_MAX}]").into_bytes();
            }
            Self::IntegerDoesNotFit(size) => {
                return format!("{size}-byte integer does not fit into Lua Integer").into_bytes();
            }
            Self::MissingCharsSize => "missing size for format option 'c'",
            Self::InvalidAlignmentOption => "invalid next option for option 'X'",
            Self::AlignmentNotPowerOfTwo => "format asks for alignment not power of 2",
            Self::VariableLength => "variable-length format",
            Self::ResultTooLarge => "format result too large",
            Self::IntegerOverflow => "integer overflow",
            Self::UnsignedOverflow => "unsigned overflow",
            Self::StringTooLong => "string longer than given size",
            Self::LengthDoesNotFit => "string length does not fit in given size",
            Self::ContainsZeros => "string contains zeros",
            Self::DataTooShort => "data string too short",
            Self::UnfinishedString => "unfinished string for format 'z'",
        };
        text.as_bytes().to_vec()
    }

    /// Which argument is to blame.
    pub fn blame(&self) -> Blame {
        match self {
            Self::InvalidOption(_) | Self::IntegralSize(_) | Self::MissingCharsSize | Self::IntegerDoesNotFit(_) => {
                Blame::Nobody
            }
            Self::InvalidAlignmentOption
            | Self::AlignmentNotPowerOfTwo
            | Self::VariableLength
            | Self::ResultTooLarge => Blame::Format,
            Self::DataTooShort | Self::UnfinishedString => Blame::Data,
            Self::IntegerOverflow
            | Self::UnsignedOverflow
            | Self::StringTooLong
            | Self::LengthDoesNotFit
            | Self::ContainsZeros => Blame::Value,
        }
    }
}

/// What an item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Signed,
    Unsigned,
    /// A float of four bytes.
    Single,
    /// A float of eight bytes.
    Double,
    /// A string of exactly the item's size.
    Chars,
    /// A string behind its length, which takes the item's size.
    Counted,
    /// A string ended by a zero byte.
    ZeroEnded,
    /// "x": one byte of padding; takes no value.
    Padding,
    /// "X", " " and the settings: at most alignment; takes no value.
    Nothing,
}

impl Kind {
    /// Whether a value belongs to the item.
    pub fn takes_value(self) -> bool {
        !matches!(self, Self::Padding | Self::Nothing)
    }
}

/// One item of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: Kind,
    /// Size in bytes; for [`Kind::Counted`] that of the length; 0 for [`Kind::ZeroEnded`].
    pub size: usize,
    /// Bytes of padding that align the item.
    pub padding: usize,
    pub little_endian: bool,
}

impl Item {
    /// Bytes the item takes, apart from the text of strings with no fixed size.
    pub fn space(&self) -> usize {
        self.padding + self.size
    }
}

/// A reader of format items. Its state is plain data: [`Items::state`] and [`Items::resume`] let it be stored.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    format: &'a [u8],
    state: ItemsState,
}

/// Where an [`Items`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemsState {
    pub position: usize,
    pub little_endian: bool,
    pub alignment_max: usize,
}

impl<'a> Items<'a> {
    pub fn new(format: &'a [u8]) -> Self {
        Self::resume(format, ItemsState { position: 0, little_endian: true, alignment_max: 1 })
    }

    /// Goes on where `state` was taken from a reader of the same format.
    pub fn resume(format: &'a [u8], state: ItemsState) -> Self {
        Self { format, state }
    }

    /// The next item, given the number of bytes that lie before it. `None` at the end of the format.
    pub fn next_item(&mut self, offset: usize) -> Result<Option<Item>, PackError> {
        let Some(letter) = self.letter() else {
            return Ok(None);
        };
        let (kind, size) = self.option(letter)?;
        let mut alignment = size;
        if letter == b'X' {
            let Some(model) = self.letter() else {
                return Err(PackError::InvalidAlignmentOption);
            };
            let (kind, size) = self.option(model)?;
            if kind == Kind::Chars || size == 0 {
                return Err(PackError::InvalidAlignmentOption);
            }
            alignment = size;
        }
        let mut padding = 0;
        if alignment > 1 && kind != Kind::Chars {
            alignment = alignment.min(self.state.alignment_max);
            if !alignment.is_power_of_two() {
                return Err(PackError::AlignmentNotPowerOfTwo);
            }
            padding = offset.wrapping_neg() & (alignment - 1);
        }
        Ok(Some(Item { kind, size, padding, little_endian: self.state.little_endian }))
    }

    fn letter(&mut self) -> Option<u8> {
        let letter = self.format.get(self.state.position).copied().filter(|&byte| byte != 0)?;
        self.state.position += 1;
        Some(letter)
    }

    /// Kind and size of the option named by `letter`, whose digits follow; applies settings.
    fn option(&mut self, letter: u8) -> Result<(Kind, usize), PackError> {
        Ok(match letter {
            b'b' => (Kind::Signed, 1),
            b'B' => (Kind::Unsigned, 1),
            b'h' => (Kind::Signed, 2),
            b'H' => (Kind::Unsigned, 2),
            b'l' | b'j' => (Kind::Signed, 8),
            b'L' | b'J' | b'T' => (Kind::Unsigned, 8),
            b'i' => (Kind::Signed, self.integer_size(4)?),
            b'I' => (Kind::Unsigned, self.integer_size(4)?),
            b'f' => (Kind::Single, 4),
            b'd' | b'n' => (Kind::Double, 8),
            b's' => (Kind::Counted, self.integer_size(8)?),
            b'c' => (Kind::Chars, self.number().ok_or(PackError::MissingCharsSize)?),
            b'z' => (Kind::ZeroEnded, 0),
            b'x' => (Kind::Padding, 1),
            b'X' | b' ' => (Kind::Nothing, 0),
            b'<' | b'=' => {
                self.state.little_endian = true;
                (Kind::Nothing, 0)
            }
            b'>' => {
                self.state.little_endian = false;
                (Kind::Nothing, 0)
            }
            b'!' => {
                self.state.alignment_max = self.integer_size(ALIGNMENT_NATIVE)?;
                (Kind::Nothing, 0)
            }
            _ => return Err(PackError::InvalidOption(letter)),
        })
    }

    /// The digits that follow, as far as the number surely fits a C `int`.
    fn number(&mut self) -> Option<usize> {
        let mut value = None;
        while let Some(digit @ b'0'..=b'9') = self.format.get(self.state.position).copied()
            && value.unwrap_or(0) <= (RESULT_MAX - 9) / 10
        {
            value = Some(value.unwrap_or(0) * 10 + usize::from(digit - b'0'));
            self.state.position += 1;
        }
        value
    }

    fn integer_size(&mut self, default: usize) -> Result<usize, PackError> {
        let size = self.number().unwrap_or(default);
        if (1..=INTEGER_SIZE_MAX).contains(&size) { Ok(size) } else { Err(PackError::IntegralSize(size)) }
    }
}

/// The size `string.packsize` gives for `format`.
pub fn packed_size(format: &[u8]) -> Result<usize, PackError> {
    let mut items = Items::new(format);
    let mut total = 0;
    while let Some(item) = items.next_item(total)? {
        if matches!(item.kind, Kind::Counted | Kind::ZeroEnded) {
            return Err(PackError::VariableLength);
        }
        if item.space() > RESULT_MAX - total {
            return Err(PackError::ResultTooLarge);
        }
        total += item.space();
    }
    Ok(total)
}

/// Appends the padding before `item` and, for [`Kind::Padding`], the item itself.
pub fn write_padding(item: &Item, out: &mut Vec<u8>) {
    let own = usize::from(item.kind == Kind::Padding);
    out.resize(out.len() + item.padding + own, 0);
}

/// Appends an integer for [`Kind::Signed`] or [`Kind::Unsigned`].
pub fn write_integer(item: &Item, value: i64, out: &mut Vec<u8>) -> Result<(), PackError> {
    if item.size < 8 {
        let bits = 8 * item.size as u32;
        if item.kind == Kind::Signed {
            let limit = 1i64 << (bits - 1);
            if !(-limit..limit).contains(&value) {
                return Err(PackError::IntegerOverflow);
            }
        } else if value as u64 >> bits != 0 {
            return Err(PackError::UnsignedOverflow);
        }
    }
    let extension = if item.kind == Kind::Signed && value < 0 { 0xff } else { 0 };
    write_bytes(item, value as u64, extension, out);
    Ok(())
}

/// Appends a float for [`Kind::Single`] or [`Kind::Double`]. NaN is written canonically.
pub fn write_float(item: &Item, value: f64, out: &mut Vec<u8>) {
    let bits = match item.kind {
        Kind::Single if value.is_nan() => 0x7fc0_0000,
        Kind::Single => u64::from((value as f32).to_bits()),
        _ if value.is_nan() => 0x7ff8_0000_0000_0000,
        _ => value.to_bits(),
    };
    write_bytes(item, bits, 0, out);
}

/// Appends a string for [`Kind::Chars`], [`Kind::Counted`] or [`Kind::ZeroEnded`].
pub fn write_string(item: &Item, value: &[u8], out: &mut Vec<u8>) -> Result<(), PackError> {
    match item.kind {
        Kind::Chars => {
            let missing = item.size.checked_sub(value.len()).ok_or(PackError::StringTooLong)?;
            out.extend_from_slice(value);
            out.resize(out.len() + missing, 0);
        }
        Kind::ZeroEnded => {
            if value.contains(&0) {
                return Err(PackError::ContainsZeros);
            }
            out.extend_from_slice(value);
            out.push(0);
        }
        _ => {
            if item.size < 8 && value.len() as u64 >> (8 * item.size) != 0 {
                return Err(PackError::LengthDoesNotFit);
            }
            write_bytes(item, value.len() as u64, 0, out);
            out.extend_from_slice(value);
        }
    }
    Ok(())
}

fn write_bytes(item: &Item, value: u64, extension: u8, out: &mut Vec<u8>) {
    let start = out.len();
    let bytes = value.to_le_bytes();
    out.extend_from_slice(&bytes[..item.size.min(8)]);
    out.resize(start + item.size, extension);
    if !item.little_endian {
        out[start..].reverse();
    }
}

/// Where the value of `item` lies in `data`, for an item that starts (with its padding) at `position`, which is at most
/// `data.len()`: the item's fixed part, to be given to the functions below.
pub fn read_fixed<'d>(item: &Item, data: &'d [u8], position: usize) -> Result<&'d [u8], PackError> {
    let rest = data.get(position..).ok_or(PackError::DataTooShort)?;
    rest.get(item.padding..item.space()).ok_or(PackError::DataTooShort)
}

/// The integer in the fixed part of a [`Kind::Signed`], [`Kind::Unsigned`] or [`Kind::Counted`] item.
pub fn read_integer(item: &Item, fixed: &[u8]) -> Result<i64, PackError> {
    let byte = |place: usize| {
        let index = if item.little_endian { place } else { fixed.len() - 1 - place };
        fixed[index]
    };
    let low = fixed.len().min(8);
    let mut value = (0..low).rev().fold(0u64, |value, place| value << 8 | u64::from(byte(place)));
    let signed = item.kind == Kind::Signed;
    if signed && low < 8 {
        let unused = 64 - 8 * low as u32;
        value = ((value << unused) as i64 >> unused) as u64;
    }
    let extension = if signed && (value as i64) < 0 { 0xff } else { 0 };
    if (low..fixed.len()).any(|place| byte(place) != extension) {
        return Err(PackError::IntegerDoesNotFit(fixed.len()));
    }
    Ok(value as i64)
}

/// The float in the fixed part of a [`Kind::Single`] or [`Kind::Double`] item. NaN comes back canonical.
pub fn read_float(item: &Item, fixed: &[u8]) -> f64 {
    let mut bytes = [0; 8];
    for (place, target) in bytes.iter_mut().enumerate().take(fixed.len()) {
        *target = fixed[if item.little_endian { place } else { fixed.len() - 1 - place }];
    }
    let bits = u64::from_le_bytes(bytes);
    let value = if item.kind == Kind::Single { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) };
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value }
}

/// The string of a [`Kind::Chars`], [`Kind::Counted`] or [`Kind::ZeroEnded`] item that starts at `position`, and where
/// the next item starts.
pub fn read_string<'d>(item: &Item, data: &'d [u8], position: usize) -> Result<(&'d [u8], usize), PackError> {
    let fixed = read_fixed(item, data, position)?;
    let after_fixed = position + item.space();
    let rest = &data[after_fixed..];
    match item.kind {
        Kind::Chars => Ok((fixed, after_fixed)),
        Kind::ZeroEnded => {
            let length = super::search::find_byte(rest, 0).ok_or(PackError::UnfinishedString)?;
            Ok((&rest[..length], after_fixed + length + 1))
        }
        _ => {
            let length = usize::try_from(read_integer(item, fixed)? as u64).unwrap_or(usize::MAX);
            let text = rest.get(..length).ok_or(PackError::DataTooShort)?;
            Ok((text, after_fixed + length))
        }
    }
}

/// C Lua counts packed bytes in an `int`.
const RESULT_MAX: usize = 0x7fff_ffff;
const INTEGER_SIZE_MAX: usize = 16;
const ALIGNMENT_NATIVE: usize = 8;

#[cfg(test)]
#[path = "tests/pack.rs"]
mod tests;
