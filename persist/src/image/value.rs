//! Values in an image: most of its bytes, so they are written and read by hand. The encoding is what postcard makes of
//! [`crate::wire::Value`]: the variant's number in one byte, then a varint, a zigzag varint or eight bytes.

use cu_vm::image::Datum;

use crate::error::{CorruptKind, Result};
use crate::reader::Reader;
use crate::wire::Writer;

#[inline]
pub(super) fn put(out: &mut Writer, datum: Datum) {
    let (tag, number) = match datum {
        Datum::Nil => return out.push(0),
        Datum::Boolean(boolean) => return out.push(1 + u8::from(boolean)),
        Datum::Float(float) => {
            let mut bytes = [4; 9];
            bytes[1..].copy_from_slice(&float.to_le_bytes());
            return out.append(&bytes);
        }
        Datum::Integer(integer) => (3, ((integer << 1) ^ (integer >> 63)) as u64),
        Datum::String(number) => (5, number.into()),
        Datum::Table(number) => (6, number.into()),
        Datum::Closure(number) => (7, number.into()),
        Datum::Native(number) => (8, number.into()),
        Datum::Userdata(number) => (10, number.into()),
        Datum::Coroutine(number) => (11, number.into()),
        Datum::LightUserdata(number) => (12, number),
    };
    // Most numbers are short, and each appending has to look whether there is room.
    let [low, middle, high, ..] = [number, number >> 7, number >> 14].map(|bits| bits as u8);
    match number {
        0..0x80 => out.append(&[tag, low]),
        0x80..0x4000 => out.append(&[tag, low | 0x80, middle]),
        0x4000..0x20_0000 => out.append(&[tag, low | 0x80, middle | 0x80, high]),
        _ => {
            out.push(tag);
            out.varint(number);
        }
    }
}

pub(super) fn take(reader: &mut Reader<'_>) -> Result<Datum> {
    let tag = reader.byte()?;
    if let 5..=11 = tag {
        let number = u32::try_from(reader.varint()?).map_err(|_| reader.corrupt(CorruptKind::Malformed))?;
        return Ok(match tag {
            5 => Datum::String(number),
            6 => Datum::Table(number),
            7 => Datum::Closure(number),
            8 => Datum::Native(number),
            10 => Datum::Userdata(number),
            11 => Datum::Coroutine(number),
            _ => return Err(reader.corrupt(CorruptKind::Kind)),
        });
    }
    Ok(match tag {
        0 => Datum::Nil,
        1 => Datum::Boolean(false),
        2 => Datum::Boolean(true),
        3 => {
            let number = reader.varint()?;
            Datum::Integer((number >> 1) as i64 ^ -((number & 1) as i64))
        }
        4 => match f64::from_le_bytes(reader.bytes::<8>()?) {
            float if float.is_nan() => Datum::Float(f64::NAN),
            float => Datum::Float(float),
        },
        12 => Datum::LightUserdata(reader.varint()?),
        _ => return Err(reader.corrupt(CorruptKind::Malformed)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Value;

    #[test]
    fn as_postcard_writes_them() {
        let mut pairs = vec![(Datum::Nil, Value::Nil), (Datum::Boolean(false), Value::False)];
        pairs.push((Datum::Boolean(true), Value::True));
        for shift in 0..64 {
            for number in [1u64 << shift, (1 << shift) - 1, !0 << shift] {
                pairs.push((Datum::Integer(number as i64), Value::Integer(number as i64)));
                pairs.push((Datum::LightUserdata(number), Value::LightUserdata(number)));
                let float = f64::from_bits(number);
                if !float.is_nan() {
                    pairs.push((Datum::Float(float), Value::Float(float)));
                }
                let number = number as u32;
                pairs.extend([
                    (Datum::String(number), Value::String(number)),
                    (Datum::Table(number), Value::Table(number)),
                    (Datum::Closure(number), Value::Closure(number)),
                    (Datum::Native(number), Value::Native(number)),
                    (Datum::Userdata(number), Value::Userdata(number)),
                    (Datum::Coroutine(number), Value::Coroutine(number)),
                ]);
            }
        }
        for (datum, value) in pairs {
            let (mut by_hand, mut by_postcard) = (Writer::default(), Writer::default());
            put(&mut by_hand, datum);
            by_postcard.put(&value);
            assert_eq!(by_hand.as_bytes(), by_postcard.as_bytes(), "{datum:?}");
            let mut reader = Reader::at(by_hand.as_bytes(), 0);
            assert_eq!(take(&mut reader).unwrap(), datum);
            reader.finish().unwrap();
            for end in 0..by_hand.as_bytes().len() {
                assert!(take(&mut Reader::at(&by_hand.as_bytes()[..end], 0)).is_err());
            }
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for bytes in [
            &[13][..],
            &[9, 0],
            &[0xff],
            &[5, 0xff, 0xff, 0xff, 0xff, 0x1f],
            &[3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        ] {
            assert!(take(&mut Reader::at(bytes, 0)).is_err(), "{bytes:?}");
        }
    }
}
