//! Reads entries of Arrow arrays of any type: numbers, times, texts and lists of numbers.

use crate::data::{field::FieldKind, shape::Shape};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RunArray, UInt64Array,
    cast::AsArray,
    types::{
        Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Float16Type,
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, RunEndIndexType,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use arrow_select::take::take;
use std::ops::Range;

/// The kind of contents of a type.
pub fn kind(data_type: &DataType) -> FieldKind {
    match data_type {
        DataType::Boolean => FieldKind::Flag,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => FieldKind::Text,
        DataType::Dictionary(_, value) => plain(value),
        DataType::RunEndEncoded(_, value) => plain(value.data_type()),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _) => match (inner.data_type(), kind(inner.data_type())) {
            (DataType::Dictionary(..) | DataType::RunEndEncoded(..), _) => FieldKind::Other,
            (_, FieldKind::Number | FieldKind::Flag | FieldKind::List) => FieldKind::List,
            _ => FieldKind::Other,
        },
        DataType::Decimal256(..) => FieldKind::Other,
        other if other.is_numeric() => FieldKind::Number,
        _ => FieldKind::Other,
    }
}

/// The kind of contents of a type without dictionary or run-end encoding.
fn plain(data_type: &DataType) -> FieldKind {
    match (data_type, kind(data_type)) {
        (DataType::Dictionary(..) | DataType::RunEndEncoded(..), _) | (_, FieldKind::List) => {
            FieldKind::Other
        }
        (_, kind) => kind,
    }
}

/// Whether a type holds times, which are read as seconds since 1970.
pub fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

/// Expands dictionaries and run-end encoded arrays. Dictionaries of texts are kept, because the
/// texts may be long.
pub fn flat(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, value) if kind(value) != FieldKind::Text => {
            let dictionary = array.as_any_dictionary();
            take(dictionary.values(), dictionary.keys(), None)
        }
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => run_ends::<Int16Type>(array),
            DataType::Int32 => run_ends::<Int32Type>(array),
            _ => run_ends::<Int64Type>(array),
        },
        _ => Ok(array.clone()),
    }
}

fn run_ends<R: RunEndIndexType>(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let runs: &RunArray<R> = array
        .as_run_opt()
        .ok_or_else(|| ArrowError::CastError("no runs of equal entries".into()))?;
    let indices: UInt64Array = (0..runs.len()).map(|i| runs.get_physical_index(i) as u64).collect();
    take(runs.values(), &indices, None)
}

/// Appends the numbers of a list, or of a list of equally long lists: `y` rows of `x`.
pub fn append_list(
    list: &dyn Array,
    i: usize,
    values: &mut Vec<f32>,
) -> std::result::Result<Option<Shape>, String> {
    let Some((inner, range)) = list_at(list, i) else {
        return Err("the histogram is missing".into());
    };
    if kind(inner.data_type()) != FieldKind::List {
        append_f32(inner, range, values);
        return Ok(None);
    }
    let mut shape = Shape { y: range.len(), x: 0 };
    for (y, row) in range.enumerate() {
        let Some((numbers, range)) = list_at(inner, row) else {
            return Err(format!("row {y} of the map is missing"));
        };
        if kind(numbers.data_type()) == FieldKind::List {
            return Err("lists are nested deeper than a map".into());
        }
        if y > 0 && range.len() != shape.x {
            return Err(format!(
                "row {y} of the map has {} bins where row 0 has {}",
                range.len(),
                shape.x
            ));
        }
        shape.x = range.len();
        append_f32(numbers, range, values);
    }
    Ok(Some(shape))
}

/// The range of values of entry `i` of a list array; `None` if it is null.
fn list_at(list: &dyn Array, i: usize) -> Option<(&dyn Array, Range<usize>)> {
    if list.is_null(i) {
        return None;
    }
    if let Some(list) = list.as_list_opt::<i32>() {
        let offsets = list.value_offsets();
        return Some((list.values().as_ref(), offsets[i] as usize..offsets[i + 1] as usize));
    }
    if let Some(list) = list.as_list_opt::<i64>() {
        let offsets = list.value_offsets();
        return Some((list.values().as_ref(), offsets[i] as usize..offsets[i + 1] as usize));
    }
    if let Some(list) = list.as_list_view_opt::<i32>() {
        let start = list.value_offset(i) as usize;
        return Some((list.values().as_ref(), start..start + list.value_size(i) as usize));
    }
    if let Some(list) = list.as_list_view_opt::<i64>() {
        let start = list.value_offset(i) as usize;
        return Some((list.values().as_ref(), start..start + list.value_size(i) as usize));
    }
    let list = list.as_fixed_size_list_opt()?;
    let start = list.value_offset_at(i);
    Some((list.values().as_ref(), start..start + list.value_length() as usize))
}

/// Calls `$each` with the array downcast to its numeric type.
macro_rules! for_numeric {
    ($array:expr, $each:ident, $($argument:expr),*) => {
        match $array.data_type() {
            DataType::Int8 => $each::<Int8Type>($array.as_primitive(), $($argument),*),
            DataType::Int16 => $each::<Int16Type>($array.as_primitive(), $($argument),*),
            DataType::Int32 => $each::<Int32Type>($array.as_primitive(), $($argument),*),
            DataType::Int64 => $each::<Int64Type>($array.as_primitive(), $($argument),*),
            DataType::UInt8 => $each::<UInt8Type>($array.as_primitive(), $($argument),*),
            DataType::UInt16 => $each::<UInt16Type>($array.as_primitive(), $($argument),*),
            DataType::UInt32 => $each::<UInt32Type>($array.as_primitive(), $($argument),*),
            DataType::UInt64 => $each::<UInt64Type>($array.as_primitive(), $($argument),*),
            DataType::Float16 => $each::<Float16Type>($array.as_primitive(), $($argument),*),
            DataType::Float32 => $each::<Float32Type>($array.as_primitive(), $($argument),*),
            DataType::Float64 => $each::<Float64Type>($array.as_primitive(), $($argument),*),
            _ => {}
        }
    };
}

/// Conversion of a number to single and to double precision, each rounded once.
trait Number: Copy {
    fn single(self) -> f32;
    fn double(self) -> f64;
}

macro_rules! number {
    ($($type:ty),*) => { $(impl Number for $type {
        fn single(self) -> f32 { self as f32 }
        fn double(self) -> f64 { self as f64 }
    })* };
}
number!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

impl Number for half::f16 {
    fn single(self) -> f32 {
        self.to_f32()
    }
    fn double(self) -> f64 {
        self.to_f64()
    }
}

/// Appends numbers in single precision; null is NaN.
pub fn append_f32(array: &dyn Array, range: Range<usize>, values: &mut Vec<f32>) {
    fn each<T: ArrowPrimitiveType<Native: Number>>(
        array: &PrimitiveArray<T>,
        range: Range<usize>,
        values: &mut Vec<f32>,
    ) {
        let start = values.len();
        values.extend(array.values()[range.clone()].iter().map(|value| value.single()));
        if array.null_count() > 0 {
            range
                .enumerate()
                .filter(|(_, i)| array.is_null(*i))
                .for_each(|(at, _)| values[start + at] = f32::NAN);
        }
    }
    if let Some(flags) = array.as_boolean_opt() {
        values.extend(range.map(|i| {
            if flags.is_null(i) { f32::NAN } else { f32::from(u8::from(flags.value(i))) }
        }));
        return;
    }
    if matches!(
        array.data_type(),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..)
    ) {
        values.extend(
            doubles(array.slice(range.start, range.len()).as_ref())
                .into_iter()
                .map(|value| value as f32),
        );
        return;
    }
    for_numeric!(array, each, range, values);
}

/// Numbers or flags in double precision, times in seconds since 1970; null and other types are NaN.
pub fn doubles(array: &dyn Array) -> Vec<f64> {
    fn each<T: ArrowPrimitiveType<Native: Number>>(
        array: &PrimitiveArray<T>,
        values: &mut Vec<f64>,
    ) {
        *values = (0..array.len())
            .map(|i| if array.is_null(i) { f64::NAN } else { array.value(i).double() })
            .collect();
    }
    if let Some(flags) = array.as_boolean_opt() {
        return flags
            .iter()
            .map(|flag| flag.map_or(f64::NAN, |flag| f64::from(u8::from(flag))))
            .collect();
    }
    let mut values = vec![];
    match array.data_type() {
        DataType::Decimal32(_, scale) => {
            values = decimals(array.as_primitive::<Decimal32Type>(), *scale)
        }
        DataType::Decimal64(_, scale) => {
            values = decimals(array.as_primitive::<Decimal64Type>(), *scale)
        }
        DataType::Decimal128(_, scale) => {
            values = decimals(array.as_primitive::<Decimal128Type>(), *scale)
        }
        DataType::Date32 => {
            values = ticks(array.as_primitive::<Date32Type>(), 1.0)
                .into_iter()
                .map(|days| days * 86_400.0)
                .collect()
        }
        DataType::Date64 => values = ticks(array.as_primitive::<Date64Type>(), 1e3),
        DataType::Timestamp(TimeUnit::Second, _) => {
            values = ticks(array.as_primitive::<TimestampSecondType>(), 1.0)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            values = ticks(array.as_primitive::<TimestampMillisecondType>(), 1e3)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            values = ticks(array.as_primitive::<TimestampMicrosecondType>(), 1e6)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            values = ticks(array.as_primitive::<TimestampNanosecondType>(), 1e9)
        }
        _ => for_numeric!(array, each, &mut values),
    }
    values.resize(array.len(), f64::NAN);
    values
}

/// Times in seconds; `units` is the number of ticks per second.
fn ticks<T: ArrowPrimitiveType<Native: Number>>(array: &PrimitiveArray<T>, each: f64) -> Vec<f64> {
    array.iter().map(|ticks| ticks.map_or(f64::NAN, |ticks| ticks.double() / each)).collect()
}

/// Decimal numbers, each rounded once.
fn decimals<T: ArrowPrimitiveType<Native: Into<i128>>>(
    array: &PrimitiveArray<T>,
    scale: i8,
) -> Vec<f64> {
    let number = |number: i128| {
        // Both are exact up to here, so their quotient is rounded once.
        if number.unsigned_abs() < 1 << 53 && (0..=22).contains(&scale) {
            return number as f64 / 10_f64.powi(scale.into());
        }
        format!("{number}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)
    };
    array.iter().map(|entry| entry.map_or(f64::NAN, |entry| number(entry.into()))).collect()
}

/// The entries of a column as text, times as seconds since 1970; null is blank. `None` for other
/// types, or more than `most` bytes of text.
pub fn entries(array: &ArrayRef, most: u64) -> Option<Vec<String>> {
    match kind(array.data_type()) {
        FieldKind::Text => Some(
            texts(array.as_ref(), most).ok()?.into_iter().map(Option::unwrap_or_default).collect(),
        ),
        FieldKind::List | FieldKind::Other if !is_time(array.data_type()) => None,
        _ => {
            let text =
                |number: f64| if number.is_nan() { String::new() } else { number.to_string() };
            Some(doubles(flat(array).ok()?.as_ref()).into_iter().map(text).collect())
        }
    }
}

/// Texts, at most `most` bytes in total; null and other types are `None`. Each entry of a
/// dictionary counts.
pub fn texts(array: &dyn Array, most: u64) -> Result<Vec<Option<String>>, String> {
    let mut left = most;
    let mut owned = |text: Option<&str>| {
        left = left
            .checked_sub(text.map_or(0, str::len) as u64 + 24)
            .ok_or("unpacks to far more text than a file of its size can hold")?;
        Ok(text.map(str::to_owned))
    };
    if let Some(texts) = array.as_string_opt::<i32>() {
        return texts.iter().map(owned).collect();
    }
    if let Some(texts) = array.as_string_opt::<i64>() {
        return texts.iter().map(owned).collect();
    }
    if let Some(texts) = array.as_string_view_opt() {
        return texts.iter().map(owned).collect();
    }
    let Some(dictionary) =
        array.as_any_dictionary_opt().filter(|dictionary| !dictionary.values().is_empty())
    else {
        return Ok(vec![None; array.len()]);
    };
    let words = texts(dictionary.values().as_ref(), most)?;
    let keys = dictionary.normalized_keys();
    let word = |i: usize| if array.is_null(i) { None } else { words.get(keys[i])?.as_deref() };
    (0..array.len()).map(|i| owned(word(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        Decimal128Array, DictionaryArray, Float32Array, Int32Array, ListViewArray, StringArray,
    };
    use arrow_schema::Field;
    use std::sync::Arc;

    #[test]
    fn decimals_are_rounded_once() {
        let array = |values: Vec<Option<i128>>, scale| {
            Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap()
        };
        let values = doubles(&array(vec![Some(29_705_000), Some(-1), None], 2));
        assert!(values[..2] == [297_050.0, -0.01] && values[2].is_nan());
        assert_eq!(
            doubles(&array(vec![Some(12_345_678_901_234_567_890_123), Some(3)], 20)),
            [123.456_789_012_345_68, 3e-20]
        );
        let mut singles = vec![];
        append_f32(&array(vec![Some(1), Some(25)], 1), 1..2, &mut singles);
        assert_eq!(singles, [2.5]);
    }

    #[test]
    fn dictionaries_and_runs_are_what_they_point_to() {
        let dictionary = DictionaryArray::new(
            Int32Array::from(vec![Some(1), None, Some(0)]),
            Arc::new(Float32Array::from(vec![0.5, 7.0])),
        );
        let dictionary: ArrayRef = Arc::new(dictionary);
        assert_eq!(kind(dictionary.data_type()), FieldKind::Number);
        let values = doubles(flat(&dictionary).unwrap().as_ref());
        assert!(values[0] == 7.0 && values[1].is_nan() && values[2] == 0.5);
        let runs: ArrayRef = Arc::new(
            RunArray::<Int32Type>::try_new(
                &Int32Array::from(vec![2, 3]),
                &Float32Array::from(vec![1.0, 2.0]),
            )
            .unwrap(),
        );
        assert_eq!(doubles(flat(&runs).unwrap().as_ref()), [1.0, 1.0, 2.0]);
        let empty: DictionaryArray<Int32Type> = DictionaryArray::new(
            Int32Array::from(vec![None]),
            Arc::new(StringArray::from(Vec::<&str>::new())),
        );
        assert_eq!(texts(&empty, 100), Ok(vec![None]));
    }

    #[test]
    fn lists_may_lie_anywhere() {
        let field = Arc::new(Field::new_list_field(DataType::Int32, true));
        let list = ListViewArray::new(
            field,
            vec![2, 0].into(),
            vec![1, 2].into(),
            Arc::new(Int32Array::from(vec![5, 6, 7])),
            None,
        );
        let mut values = vec![];
        assert_eq!(kind(list.data_type()), FieldKind::List);
        assert!((0..2).all(|i| append_list(&list, i, &mut values) == Ok(None)));
        assert_eq!(values, [7.0, 5.0, 6.0]);
    }

    #[test]
    fn text_that_a_dictionary_repeats_is_bounded() {
        let long = "x".repeat(1000);
        let dictionary: DictionaryArray<Int32Type> =
            std::iter::repeat_n(long.as_str(), 100).collect();
        assert!(texts(&dictionary, 200_000).is_ok());
        assert!(texts(&dictionary, 50_000).unwrap_err().contains("unpacks to far more text"));
    }
}
