//! Reads a dataset: its type, its shape and rows of its values.

use super::{
    guard::guard,
    numbers::{Cast, Number, Raw, fill},
    pickle::pickled_names,
};
use crate::error::listed;
use hdf5_reader::{
    CompoundField, Datatype, H5Type, Hdf5File, SliceInfo, SliceInfoElem, StringPadding, StringSize,
    VarLenKind, dtype_element_size,
    error::Result as Read,
    io::Cursor,
    messages::{HdfMessage, layout::DataLayout},
};
use rayon::prelude::*;
use std::{ops::Range, sync::Arc};

/// Approximate number of bytes that a thread decodes at a time.
const BATCH: u64 = 1 << 20;

/// A dataset of an open file.
pub struct Dataset {
    /// Its path: `/group/name`.
    pub path: String,
    /// Its shape; the first axis is the rows.
    pub shape: Vec<u64>,
    /// Such as `float32`, `int64`, `bool`, `string` or `compound(run, ls)`.
    pub type_name: String,
    /// The columns of a table; empty for other datasets.
    pub fields: Vec<Field>,
    inner: hdf5_reader::Dataset,
    file: Arc<Hdf5File>,
    /// Offset of its values in the file if they are contiguous.
    start: Option<u64>,
    /// Whether the rows are along the last of two axes, as in MATLAB's matrices.
    transposed: bool,
    /// Maximum number of bytes read at a time; see `File::open`.
    limit: u64,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The name of the type of its elements.
    pub type_name: String,
    /// Its shape within one row; empty for a single value.
    pub shape: Vec<u64>,
    /// The field of the table that contains it: itself, or a block of columns.
    pub block: String,
    /// The type of its elements.
    pub kind: Datatype,
    offset: usize,
    size: usize,
}

impl Dataset {
    /// Examines a dataset of a file of `length` bytes. The error describes a dataset that cannot be
    /// read.
    pub fn new(
        path: String,
        inner: hdf5_reader::Dataset,
        file: &Arc<Hdf5File>,
        length: u64,
    ) -> Result<Self, String> {
        let kind = inner.dtype();
        standard(&guard(|| inner.raw_datatype())?)?;
        let fields = match kind {
            Datatype::Compound { fields, .. } if inner.ndim() == 1 && !is_complex(fields) => {
                fields.iter().map(Field::new).collect()
            }
            _ => vec![],
        };
        // Deflate expands a byte to at most 1032; the rest is for small files of fill values.
        let limit = length.saturating_mul(1032).saturating_add(1 << 28);
        let values = inner
            .shape()
            .iter()
            .chain(inner_shape(kind))
            .try_fold(8_u64, |product, length| product.checked_mul(*length));
        if values.is_none_or(|bytes| bytes > limit) {
            return Err("an array that claims to hold far more than such a file can".into());
        }
        let elsewhere = |message: &HdfMessage| matches!(message, HdfMessage::ExternalFiles(_));
        if guard(|| Ok(file.get_or_parse_header(inner.address())?.messages.iter().any(elsewhere)))?
        {
            return Err("a dataset whose values are in another file".into());
        }
        let mut shape = inner.shape().to_vec();
        let is_matlab = guard(|| inner.attribute("MATLAB_class")).is_ok();
        if is_matlab && shape.len() > 2 {
            return Err("a MATLAB array of more than two axes".into());
        }
        let transposed = is_matlab && shape.len() == 2;
        shape[..].rotate_left(usize::from(transposed));
        let start = guard(|| start(file, &inner)).unwrap_or(None).filter(|_| !transposed);
        Ok(Self {
            path,
            shape,
            type_name: type_name(kind),
            fields,
            inner,
            file: file.clone(),
            start,
            transposed,
            limit,
        })
    }

    fn fault(&self, what: impl std::fmt::Display) -> String {
        // The message of the crate begins with its own name of the dataset.
        let (name, what) = (self.inner.name(), what.to_string());
        format!(
            "{}: {}",
            self.path,
            what.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&what)
        )
    }

    /// Checks a range of rows and splits it into batches at chunk boundaries.
    fn batches(&self, rows: &Range<u64>, row_bytes: u64) -> Result<Vec<Range<u64>>, String> {
        let Some(&count) = self.shape.first() else {
            return Err(self.fault("a single value has no rows"));
        };
        if rows.start > rows.end || rows.end > count {
            return Err(self.fault(format!("rows {}..{} of {count}", rows.start, rows.end)));
        }
        if (rows.end - rows.start)
            .checked_mul(row_bytes.max(1))
            .is_none_or(|bytes| bytes > self.limit)
        {
            return Err(self.fault("claims to hold far more than such a file can"));
        }
        let chunk = self
            .inner
            .chunks()
            .and_then(|chunk| chunk.first().copied())
            .map_or(1, u64::from)
            .max(1);
        let step = (BATCH / row_bytes.max(1) / chunk).max(1) * chunk;
        let mut batches = vec![];
        let mut start = rows.start;
        while start < rows.end {
            let end = (start - start % step).saturating_add(step).min(rows.end);
            batches.push(start..end);
            start = end;
        }
        Ok(batches)
    }

    /// Number of elements per row, from the shapes of the dataset and of its type.
    fn width(&self, kind: &Datatype) -> Option<u64> {
        let outer = self.shape.get(1..).unwrap_or(&[]);
        outer
            .iter()
            .chain(inner_shape(kind))
            .try_fold(1_u64, |width, size| width.checked_mul(*size))
    }

    /// The columns in a field: pandas stores those of one type together and their names in an
    /// attribute.
    pub fn columns_of(&self, field: &Field) -> Vec<Field> {
        let (Datatype::Array { base, .. }, &[count]) = (&field.kind, field.shape.as_slice()) else {
            return vec![field.clone()];
        };
        let kind = guard(|| self.inner.attribute(&format!("{}_kind", field.name))?.read_string());
        let names = kind.map(|kind| pickled_names(&kind)).unwrap_or_default();
        let size = dtype_element_size(base).unwrap_or(0);
        if !field.name.starts_with("values_block_")
            || names.len() as u64 != count
            || field.size != size * names.len()
        {
            return vec![field.clone()];
        }
        let column = |(i, name)| Field {
            name,
            type_name: field.type_name.clone(),
            shape: vec![],
            block: field.block.clone(),
            kind: (**base).clone(),
            offset: field.offset + i * size,
            size,
        };
        names.into_iter().enumerate().map(column).collect()
    }

    /// Reads rows of the first axis, each flattened in row-major order, with conversions as in
    /// NumPy's `astype`.
    pub fn read<T: Number>(
        &self,
        field: Option<&Field>,
        rows: Range<u64>,
        into: &mut [T],
    ) -> Result<(), String> {
        let kind = field.map_or(self.inner.dtype(), |field| &field.kind);
        if fill::<T>(&[], kind, &mut []).is_none() {
            return Err(self.fault(format!(
                "holds {}, which cannot be read as {}",
                type_name(kind),
                T::NAME
            )));
        }
        let width =
            self.width(kind).ok_or_else(|| self.fault("has a shape that makes no sense"))?;
        let stored =
            guard(|| self.inner.raw_element_size()).map_err(|error| self.fault(error))? as u64;
        let per_row = if field.is_some() {
            stored
        } else {
            (width / inner_count(kind).max(1)).saturating_mul(stored)
        };
        let batches =
            self.batches(&rows, per_row.max(width.saturating_mul(size_of::<T>() as u64)))?;
        let width = width as usize;
        if into.len() != (rows.end - rows.start) as usize * width {
            return Err(self.fault("has rows of another length"));
        }
        let mut rest = into;
        let mut work = vec![];
        for batch in batches {
            let (head, tail) = rest.split_at_mut((batch.end - batch.start) as usize * width);
            rest = tail;
            work.push((batch, head));
        }
        work.into_par_iter().try_for_each(|(batch, target)| {
            let bytes;
            let bytes: &[u8] = if field.is_some() || !inner_shape(kind).is_empty() {
                let (offset, size) =
                    field.map_or((0, stored as usize), |field| (field.offset, field.size));
                let mut parts = vec![];
                for element in self.rows::<Raw>(batch)? {
                    parts.extend_from_slice(self.bytes(&element, offset, size)?);
                }
                &{ parts }
            } else if let Some(start) = self.start {
                bytes = guard(|| {
                    self.file.storage().read_range(
                        start.saturating_add(batch.start * per_row),
                        target.len() * stored as usize,
                    )
                });
                bytes.as_ref().map_err(|error| self.fault(error))?
            } else {
                let values = self.rows::<Cast<T>>(batch)?;
                if values.len() == target.len() && self.transposed {
                    let rows = target.len() / width.max(1);
                    values
                        .iter()
                        .enumerate()
                        .for_each(|(at, value)| target[at % rows * width + at / rows] = value.0);
                    return Ok(());
                }
                if values.len() == target.len() {
                    target.iter_mut().zip(values).for_each(|(target, value)| *target = value.0);
                    return Ok(());
                }
                &[]
            };
            fill(bytes, kind, target)
                .ok_or_else(|| self.fault("has a number of values that differs from its shape"))
        })
    }

    /// The number in a dataset without axes; `None` if it is empty.
    pub fn only_value(&self) -> Result<Option<f64>, String> {
        let values =
            guard(|| self.inner.read_array::<Cast<f64>>()).map_err(|error| self.fault(error))?;
        Ok(values.first().map(|value| value.0))
    }

    /// Decodes some rows.
    pub fn rows<T: H5Type>(&self, rows: Range<u64>) -> Result<Vec<T>, String> {
        let slice = |end: u64, start: u64| SliceInfoElem::Slice { start, end, step: 1 };
        let mut selections: Vec<_> = self.shape.iter().map(|size| slice(*size, 0)).collect();
        selections[0] = slice(rows.end, rows.start);
        selections[..].rotate_left(usize::from(self.transposed));
        let array = guard(|| self.inner.read_slice::<T>(&SliceInfo { selections }))
            .map_err(|error| self.fault(error))?;
        Ok(array.into_raw_vec_and_offset().0)
    }

    /// The bytes of a field of one row.
    pub fn part<'a>(&self, row: &'a Raw, field: &Field) -> Result<&'a [u8], String> {
        self.bytes(row, field.offset, field.size)
    }

    fn bytes<'a>(&self, element: &'a Raw, offset: usize, size: usize) -> Result<&'a [u8], String> {
        element
            .0
            .get(offset..)
            .and_then(|rest| rest.get(..size))
            .ok_or_else(|| self.fault("has fields that reach beyond its rows"))
    }

    /// Whether a column is a pandas category: positions in a list of words.
    pub fn is_category(&self, field: &Field) -> bool {
        guard(|| self.inner.attribute(&format!("{}_meta", field.block))?.read_string())
            .is_ok_and(|meta| meta == "category")
    }

    /// Rows of strings of fixed or variable length; invalid UTF-8 is replaced.
    pub fn text_of(&self, field: Option<&Field>, rows: Range<u64>) -> Result<Vec<String>, String> {
        let (offset, kind) =
            field.map_or((0, self.inner.dtype()), |field| (field.offset, &field.kind));
        let (count, element) = match kind {
            Datatype::Array { base, .. } => (inner_count(kind) as usize, &**base),
            _ => (1, kind),
        };
        let (size, padding) = match element {
            Datatype::String { size: StringSize::Fixed(size), padding, .. } => {
                (*size as usize, Some(*padding))
            }
            Datatype::String { size: StringSize::Variable, .. }
            | Datatype::VarLen { kind: VarLenKind::String, .. } => {
                (self.inner.vlen_reference_size(), None)
            }
            _ => {
                return Err(
                    self.fault(format!("holds {}, which cannot be read as text", type_name(kind)))
                );
            }
        };
        let stored =
            guard(|| self.inner.raw_element_size()).map_err(|error| self.fault(error))? as u64;
        let width =
            self.width(kind).ok_or_else(|| self.fault("has a shape that makes no sense"))?;
        let mut texts = vec![];
        for batch in self.batches(&rows, width.saturating_mul(stored.max(24)))? {
            for element in self.rows::<Raw>(batch)? {
                for bytes in self
                    .bytes(&element, offset, size.saturating_mul(count))?
                    .chunks_exact(size.max(1))
                {
                    let bytes = match padding {
                        Some(padding) => unpadded(bytes, padding),
                        None => &guard(|| self.inner.resolve_vlen_reference_bytes(bytes, 1))
                            .map_err(|error| self.fault(error))?,
                    };
                    texts.push(String::from_utf8_lossy(bytes).into_owned());
                }
            }
        }
        Ok(texts)
    }
}

impl Field {
    fn new(field: &hdf5_reader::CompoundField) -> Field {
        let kind = field.datatype.clone();
        Field {
            name: field.name.clone(),
            type_name: type_name(&kind),
            shape: inner_shape(&kind).to_vec(),
            block: field.name.clone(),
            offset: field.byte_offset as usize,
            // Unknown for text of variable length, which is read separately.
            size: dtype_element_size(&kind).unwrap_or(0),
            kind,
        }
    }
}

/// Offset of the values of a contiguous dataset; through the crate they would be copied twice more.
fn start(file: &Hdf5File, dataset: &hdf5_reader::Dataset) -> Read<Option<u64>> {
    let (header, bytes) =
        (file.get_or_parse_header(dataset.address())?, dataset.raw_byte_len()? as u64);
    Ok(header
        .messages
        .iter()
        .find_map(|message| match message {
            HdfMessage::DataLayout(message) => match message.layout {
                DataLayout::Contiguous { address, size } if size == bytes => Some(address),
                _ => None,
            },
            _ => None,
        })
        .filter(|address| !Cursor::is_undefined_offset(*address, file.superblock().offset_size)))
}

/// Checks that a number type is a standard one, because the crate does not: 16 bits may be
/// bfloat16, 32 bits may hold 24.
fn standard(message: &[u8]) -> Result<(), &'static str> {
    let at = |from: usize, size: usize| {
        message
            .get(from..from + size)
            .map(|bytes| bytes.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    let (Some(class), Some(size)) = (message.first().map(|byte| byte & 15), at(4, 4)) else {
        return Err("has no type");
    };
    if class > 1 {
        return Ok(());
    }
    let plain = at(8, 2) == Some(0) && at(10, 2).map(u64::from) == Some(u64::from(size) * 8);
    // Positions and sizes of exponent and mantissa.
    let layout = match (class, size) {
        (0, _) => None,
        (_, 2) => Some(0x0a00_050a),
        (_, 4) => Some(0x1700_0817),
        (_, 8) => Some(0x3400_0b34),
        _ => return Err("holds floating-point numbers of an unusual size"),
    };
    let read = at(12, 4).map(u32::to_le_bytes).map(|[exponent, bits, mantissa, size]| {
        u32::from_be_bytes([size, mantissa, bits, exponent])
    });
    match layout {
        _ if !plain => Err("holds numbers of an unusual layout"),
        Some(layout) if read != Some(layout) => {
            Err("holds floating-point numbers of an unusual layout")
        }
        _ => Ok(()),
    }
}

/// Whether a compound is a complex number written by h5py.
fn is_complex(fields: &[CompoundField]) -> bool {
    matches!(fields, [r, i] if r.name == "r" && i.name == "i" && matches!((&r.datatype, &i.datatype), (Datatype::FloatingPoint { .. }, Datatype::FloatingPoint { .. })))
}

/// The name of an element's type.
fn type_name(kind: &Datatype) -> String {
    match kind {
        Datatype::FixedPoint { size, signed, .. } => {
            format!("{}int{}", if *signed { "" } else { "u" }, u32::from(*size) * 8)
        }
        Datatype::FloatingPoint { size, .. } => format!("float{}", u32::from(*size) * 8),
        // PyTables' bool; an integer in h5py too.
        Datatype::Bitfield { size, .. } => format!("uint{}", u32::from(*size) * 8),
        Datatype::Enum { members, .. }
            if members.len() == 2
                && members
                    .iter()
                    .all(|member| ["FALSE", "TRUE"].contains(&member.name.as_str())) =>
        {
            "bool".into()
        }
        Datatype::Enum { members, .. } => {
            format!("enum({})", listed(members.iter().map(|member| member.name.as_str())))
        }
        Datatype::Array { base, .. } => type_name(base),
        Datatype::String { .. } | Datatype::VarLen { kind: VarLenKind::String, .. } => {
            "string".into()
        }
        Datatype::Compound { fields, .. } if is_complex(fields) => "complex".into(),
        Datatype::Compound { fields, .. } => format!(
            "compound({})",
            fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ")
        ),
        Datatype::VarLen { base, .. } => format!("sequence({})", type_name(base)),
        Datatype::Opaque { .. } => "opaque".into(),
        Datatype::Reference { .. } => "reference".into(),
    }
}

/// The shape of one element, for types that are arrays.
fn inner_shape(kind: &Datatype) -> &[u64] {
    if let Datatype::Array { dims, .. } = kind { dims } else { &[] }
}

fn inner_count(kind: &Datatype) -> u64 {
    inner_shape(kind).iter().fold(1, |count, size| count.saturating_mul(*size))
}

fn unpadded(bytes: &[u8], padding: StringPadding) -> &[u8] {
    match padding {
        StringPadding::NullTerminate => bytes.split(|byte| *byte == 0).next().unwrap_or_default(),
        StringPadding::NullPad => {
            &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
        }
        StringPadding::SpacePad => {
            &bytes[..bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_are_taken() {
        let float = [0x11, 0x20, 0x1f, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
        assert_eq!(standard(&float), Ok(()));
        let bfloat = [0x11, 0x20, 0x0f, 0, 2, 0, 0, 0, 0, 0, 16, 0, 7, 8, 0, 7, 127, 0, 0, 0];
        assert!(standard(&bfloat).unwrap_err().contains("layout"));
        let twelve_bits = [0x10, 0x08, 0, 0, 2, 0, 0, 0, 0, 0, 12, 0];
        assert!(standard(&twelve_bits).is_err());
        assert!(standard(&float[..6]).is_err());
    }

    #[test]
    fn text_loses_its_padding() {
        assert_eq!(unpadded(b"ab\0c\0", StringPadding::NullTerminate), b"ab");
        assert_eq!(unpadded(b"ab\0\0", StringPadding::NullPad), b"ab");
        assert_eq!(unpadded(b"ab  ", StringPadding::SpacePad), b"ab");
        assert_eq!(unpadded(b"", StringPadding::NullPad), b"");
    }
}
