//! Conversion of stored numbers.

use hdf5_reader::{
    ByteOrder, Datatype, H5Type, dtype_element_size,
    error::{Error, Result as Read},
};
use std::sync::Arc;

/// The target type of stored numbers.
pub trait Number: Copy + Default + Send + Sync + 'static {
    const NAME: &'static str;
    fn signed(value: i64) -> Self;
    fn unsigned(value: u64) -> Self;
    fn single(value: f32) -> Self;
    fn double(value: f64) -> Self;
}

macro_rules! number {
    ($type:ty, $name:literal) => {
        impl Number for $type {
            const NAME: &'static str = $name;
            fn signed(value: i64) -> Self {
                value as $type
            }
            fn unsigned(value: u64) -> Self {
                value as $type
            }
            fn single(value: f32) -> Self {
                value as $type
            }
            fn double(value: f64) -> Self {
                value as $type
            }
        }
    };
}

number!(f32, "float32");
number!(f64, "float64");

/// Converts stored numbers. Returns `None` if their number differs from the length of `into`, or
/// `T` does not support the type.
pub fn fill<T: Number>(raw: &[u8], kind: &Datatype, into: &mut [T]) -> Option<()> {
    fn each<const N: usize, T>(
        raw: &[u8],
        order: ByteOrder,
        into: &mut [T],
        convert: impl Fn([u8; N]) -> T,
    ) -> Option<()> {
        let (elements, rest) = raw.as_chunks::<N>();
        if elements.len() != into.len() || !rest.is_empty() {
            return None;
        }
        let pairs = into.iter_mut().zip(elements);
        match order {
            ByteOrder::LittleEndian => pairs.for_each(|(into, bytes)| *into = convert(*bytes)),
            ByteOrder::BigEndian => pairs.for_each(|(into, bytes)| {
                let mut bytes = *bytes;
                bytes.reverse();
                *into = convert(bytes);
            }),
        }
        Some(())
    }
    match kind {
        Datatype::Enum { base, .. } | Datatype::Array { base, .. } => fill(raw, base, into),
        Datatype::Bitfield { size: 1, .. } => fill(
            raw,
            &Datatype::FixedPoint { size: 1, signed: false, byte_order: ByteOrder::LittleEndian },
            into,
        ),
        Datatype::FixedPoint { size, signed, byte_order } => match (size, signed) {
            (1, true) => {
                each(raw, *byte_order, into, |bytes| T::signed(i8::from_le_bytes(bytes).into()))
            }
            (2, true) => {
                each(raw, *byte_order, into, |bytes| T::signed(i16::from_le_bytes(bytes).into()))
            }
            (4, true) => {
                each(raw, *byte_order, into, |bytes| T::signed(i32::from_le_bytes(bytes).into()))
            }
            (8, true) => each(raw, *byte_order, into, |bytes| T::signed(i64::from_le_bytes(bytes))),
            (1, false) => {
                each(raw, *byte_order, into, |bytes| T::unsigned(u8::from_le_bytes(bytes).into()))
            }
            (2, false) => {
                each(raw, *byte_order, into, |bytes| T::unsigned(u16::from_le_bytes(bytes).into()))
            }
            (4, false) => {
                each(raw, *byte_order, into, |bytes| T::unsigned(u32::from_le_bytes(bytes).into()))
            }
            (8, false) => {
                each(raw, *byte_order, into, |bytes| T::unsigned(u64::from_le_bytes(bytes)))
            }
            _ => None,
        },
        Datatype::FloatingPoint { size, byte_order } => match size {
            2 => each(raw, *byte_order, into, |bytes| {
                T::single(half::f16::from_le_bytes(bytes).to_f32())
            }),
            4 => each(raw, *byte_order, into, |bytes| T::single(f32::from_le_bytes(bytes))),
            8 => each(raw, *byte_order, into, |bytes| T::double(f64::from_le_bytes(bytes))),
            _ => None,
        },
        _ => None,
    }
}

/// A wrapper through which the crate decodes whole batches of numbers.
#[derive(Clone)]
pub struct Cast<T>(pub T);

impl<T: Number> H5Type for Cast<T> {
    fn hdf5_type() -> Datatype {
        f64::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], kind: &Datatype) -> Read<Self> {
        let mut value = [T::default()];
        fill(bytes, kind, &mut value)
            .map(|()| Cast(value[0]))
            .ok_or_else(|| Error::InvalidData("not a number".into()))
    }

    fn element_size(kind: &Datatype) -> usize {
        dtype_element_size(kind).unwrap_or(1)
    }

    fn decode_vec(raw: &[u8], kind: &Datatype, count: usize) -> Option<Read<Vec<Self>>> {
        let mut values = vec![];
        if values.try_reserve_exact(count).is_err() {
            return Some(Err(Error::InvalidData(
                "does not fit into memory; read fewer rows at a time".into(),
            )));
        }
        values.resize(count, T::default());
        fill(raw, kind, &mut values).map(|()| Ok(values.into_iter().map(Cast).collect()))
    }
}

/// The bytes of one element.
#[derive(Clone)]
pub struct Raw(pub Arc<[u8]>);

impl H5Type for Raw {
    fn hdf5_type() -> Datatype {
        u8::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], _: &Datatype) -> Read<Self> {
        Ok(Raw(bytes.into()))
    }

    fn element_size(kind: &Datatype) -> usize {
        dtype_element_size(kind).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Number>(raw: &[u8], kind: &Datatype, count: usize) -> Option<Vec<T>> {
        let mut values = vec![T::default(); count];
        fill(raw, kind, &mut values).map(|()| values)
    }

    #[test]
    fn numbers_are_converted_once_and_in_their_byte_order() {
        let whole = |size, signed, byte_order| Datatype::FixedPoint { size, signed, byte_order };
        // Via double precision, this would become 2⁶⁰ + 2³⁷.
        let value = (1_i64 << 60) + (1 << 36) + 1;
        assert_eq!(
            read::<f32>(&value.to_be_bytes(), &whole(8, true, ByteOrder::BigEndian), 1),
            Some(vec![value as f32])
        );
        assert_eq!(
            read::<f64>(&[0xff, 0xfe], &whole(2, true, ByteOrder::BigEndian), 1),
            Some(vec![-2.0])
        );
        assert_eq!(
            read::<f64>(&[0xff, 0xff], &whole(2, false, ByteOrder::LittleEndian), 1),
            Some(vec![65535.0])
        );
        let half = Datatype::FloatingPoint { size: 2, byte_order: ByteOrder::LittleEndian };
        assert_eq!(
            read::<f32>(&[0x00, 0x3c, 0x00, 0xfc], &half, 2),
            Some(vec![1.0, f32::NEG_INFINITY])
        );
        assert_eq!(read::<f32>(&[0x00, 0x3c], &half, 2), None);
    }
}
