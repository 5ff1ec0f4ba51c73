//! NumPy arrays: one in a .npy file, several in a .npz archive. The crate npyz parses headers;
//! numbers are converted here.

use super::array_file::{ArrayFile, ArrayInfo};
use crate::{
    data::{field::FieldKind, table::Column},
    error::{self, Error},
};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, TypeStr};
use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The arrays of a .npy or .npz file.
pub struct Npy {
    path: PathBuf,
    /// The archive of the arrays; its members are read from their start.
    archive: Option<Mutex<Archive>>,
    infos: Vec<ArrayInfo>,
    members: Vec<Member>,
}

type Archive = zip::ZipArchive<BufReader<File>>;

struct Member {
    /// The name in the archive.
    name: String,
    dtype: TypeStr,
    fortran: bool,
    /// Offset of the numbers.
    start: u64,
}

/// Maximum number of arrays of an archive.
const MOST_MEMBERS: usize = 10_000;
/// Maximum length of a header; NumPy has the same limit.
const LONGEST_HEADER: usize = 10_000;
/// Maximum nesting of brackets in a header. Types and shapes need less; deeper ones are slow to
/// parse.
const DEEPEST: i32 = 4;
/// Number of bytes read at a time.
const CHUNK: usize = 1 << 20;

impl Npy {
    /// Opens a .npy file; its array is named `x`.
    pub fn open(path: &Path) -> Result<Self, String> {
        let mut npy =
            Self { path: path.to_path_buf(), archive: None, infos: vec![], members: vec![] };
        let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
        let length = file.get_ref().metadata().map_err(|error| error.to_string())?.len();
        let header = header(&mut file)?;
        let start = file.stream_position().map_err(|error| error.to_string())?;
        npy.add("x", &header, start)?;
        npy.check_size(0, length.saturating_sub(start))?;
        Ok(npy)
    }

    /// Fails if the header claims more than the file has.
    fn check_size(&self, at: usize, bytes: u64) -> Result<(), String> {
        let (info, member) = (&self.infos[at], &self.members[at]);
        let needed =
            info.values().and_then(|values| (values as u64).checked_mul(member.size() as u64));
        if info.kind != FieldKind::Other && needed.is_none_or(|needed| needed > bytes) {
            let (shape, type_name) = (info.show_shape(), &info.type_name);
            return Err(format!(
                "\"{}\": the header says {shape} of {type_name}, but only {bytes} bytes follow",
                info.name
            ));
        }
        Ok(())
    }

    /// Opens an .npz archive. Members that are not plain arrays are ignored.
    pub fn open_archive(path: &Path) -> Result<Self, String> {
        let mut npy =
            Self { path: path.to_path_buf(), archive: None, infos: vec![], members: vec![] };
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mut archive = Archive::new(BufReader::new(file))
            .map_err(|error| format!("not a whole archive: {error}"))?;
        let names: Vec<String> = archive
            .file_names()
            .filter_map(Result::ok)
            .map(String::from)
            .filter(|name| name.ends_with(".npy"))
            .collect();
        if names.len() > MOST_MEMBERS {
            return Err(format!("holds {} arrays; at most {MOST_MEMBERS} are read", names.len()));
        }
        if let Some(name) =
            File::open(path).ok().and_then(|file| repeated(file, archive.central_directory_start()))
        {
            return Err(format!(
                "holds two arrays of the name {name}, of which readers see one; expected each name once"
            ));
        }
        for name in names {
            let mut member = archive.by_name(&name).map_err(|error| format!("{name}: {error}"))?;
            let header = header(&mut member).map_err(|error| format!("{name}: {error}"))?;
            // Deflate expands a byte to at most 1032.
            let most = member
                .size()
                .min(member.compressed_size().saturating_mul(1032).saturating_add(1024));
            npy.add(&name, &header, 0)?;
            npy.check_size(npy.infos.len() - 1, most)?;
        }
        npy.archive = Some(Mutex::new(archive));
        Ok(npy)
    }

    fn add(&mut self, name: &str, header: &NpyHeader, start: u64) -> Result<(), String> {
        let shape = header
            .shape()
            .iter()
            .map(|&length| usize::try_from(length))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| "is too long".to_owned())?;
        let (dtype, kind, type_name) = match header.dtype() {
            DType::Plain(dtype) => {
                let kind = match dtype.type_char() {
                    TypeChar::Bool => FieldKind::Flag,
                    TypeChar::Int | TypeChar::Uint | TypeChar::Float => FieldKind::Number,
                    TypeChar::ByteStr | TypeChar::UnicodeStr => FieldKind::Text,
                    _ => FieldKind::Other,
                };
                (Some(dtype.clone()), kind, dtype.to_string())
            }
            other => (None, FieldKind::Other, other.descr()),
        };
        let kind = if dtype.as_ref().is_some_and(readable) { kind } else { FieldKind::Other };
        // An array that cannot be read is listed nevertheless.
        let dtype = dtype.or_else(|| "|u1".parse().ok()).ok_or("has no type")?;
        self.infos.push(ArrayInfo {
            name: name.trim_end_matches(".npy").to_owned(),
            shape,
            kind,
            type_name,
        });
        self.members.push(Member {
            name: name.to_owned(),
            dtype,
            fortran: header.order() == Order::Fortran,
            start,
        });
        Ok(())
    }

    /// Reads the bytes of elements `range` of an array in storage order.
    fn elements(
        &self,
        at: usize,
        range: Range<usize>,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<(), String> {
        let member = &self.members[at];
        let size = member.size();
        let skip = range.start as u64 * size as u64;
        let torn =
            |error: std::io::Error| format!("\"{}\" is not whole: {error}", self.infos[at].name);
        if let Some(archive) = &self.archive {
            let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
            let mut file = archive.by_name(&member.name).map_err(|error| error.to_string())?;
            header(&mut file)?;
            std::io::copy(&mut (&mut file).take(skip), &mut std::io::sink()).map_err(torn)?;
            feed(&mut file, range.len(), size, each).map_err(torn)
        } else {
            let mut file = File::open(&self.path).map_err(torn)?;
            file.seek(SeekFrom::Start(member.start + skip)).map_err(torn)?;
            feed(&mut file, range.len(), size, each).map_err(torn)
        }
    }
}

impl Member {
    fn size(&self) -> usize {
        self.dtype.num_bytes().unwrap_or(1).max(1)
    }
}

/// Reads a header; the reader is then after it.
fn header(reader: &mut impl Read) -> Result<NpyHeader, String> {
    let torn = |error: std::io::Error| {
        format!(
            "not a whole NumPy header: {}",
            error.to_string().lines().next().unwrap_or_default()
        )
    };
    let mut bytes = vec![0; 8];
    reader.read_exact(&mut bytes).map_err(torn)?;
    let sized = if bytes[6] == 1 { 2 } else { 4 };
    let mut size = [0; 4];
    reader.read_exact(&mut size[..sized]).map_err(torn)?;
    let length = u32::from_le_bytes(size) as usize;
    if length > LONGEST_HEADER {
        return Err(format!(
            "the NumPy header claims {length} bytes; at most {LONGEST_HEADER} are read"
        ));
    }
    bytes.extend_from_slice(&size[..sized]);
    let start = bytes.len();
    bytes.resize(start + length, 0);
    reader.read_exact(&mut bytes[start..]).map_err(torn)?;
    let depth = |depth: &mut i32, byte: &u8| {
        *depth += i32::from(b"([{".contains(byte)) - i32::from(b")]}".contains(byte));
        Some(*depth)
    };
    if bytes[start..].iter().scan(0, depth).any(|depth| depth > DEEPEST) {
        return Err("the NumPy header has an unsupported type".into());
    }
    NpyHeader::from_reader(bytes.as_slice()).map_err(torn)
}

/// Passes on the bytes of `count` elements, whole elements at a time.
fn feed(
    reader: &mut impl Read,
    elements: usize,
    size: usize,
    each: &mut dyn FnMut(&[u8]),
) -> std::io::Result<()> {
    let most = (CHUNK / size).max(1);
    let mut buffer = vec![0; most.min(elements) * size];
    let mut left = elements;
    while left > 0 {
        let count = most.min(left);
        let bytes = &mut buffer[..count * size];
        reader.read_exact(bytes)?;
        each(bytes);
        left -= count;
    }
    Ok(())
}

/// A name that two members of an archive share, from its list of members.
fn repeated(mut file: File, list: u64) -> Option<String> {
    /// Maximum length of the list.
    const LONGEST: u64 = 1 << 26;
    let mut bytes = vec![];
    file.seek(SeekFrom::Start(list)).ok()?;
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    let (mut rest, mut seen) = (bytes.as_slice(), HashSet::new());
    while rest.starts_with(b"PK\x01\x02") {
        let length = |at: usize| {
            Some(usize::from(u16::from_le_bytes(rest.get(at..at + 2)?.try_into().ok()?)))
        };
        let (name, more) = (length(28)?, length(30)? + length(32)?);
        let name = rest.get(46..46 + name)?;
        if !seen.insert(name) {
            return Some(String::from_utf8_lossy(name).into_owned());
        }
        rest = rest.get(46 + name.len() + more..)?;
    }
    None
}

impl ArrayFile for Npy {
    fn list(&self) -> &[ArrayInfo] {
        &self.infos
    }

    fn seekable(&self) -> bool {
        self.archive.is_none()
    }

    fn singles(&self, at: usize, rows: Range<usize>, into: &mut [f32]) -> Result<(), String> {
        let (info, member) = (&self.infos[at], &self.members[at]);
        let inner = info.inner();
        if !member.fortran || inner == 1 {
            let mut filled = 0;
            return self.elements(at, rows.start * inner..rows.end * inner, &mut |bytes| {
                let count = bytes.len() / member.size();
                singles(&member.dtype, bytes, &mut into[filled..filled + count]);
                filled += count;
            });
        }
        // Fortran order: element k of the inner axes, first axis fastest, goes to its position in
        // C order.
        let all = info.shape[0];
        let target = |k: usize| {
            let (mut rest, mut stride, mut position) = (k, inner, 0);
            for &length in &info.shape[1..] {
                stride /= length;
                position += rest % length * stride;
                rest /= length;
            }
            position
        };
        let mut values = vec![];
        let mut scatter = |elements: Range<usize>| {
            let mut at_element = elements.start;
            let mut known = (usize::MAX, 0);
            self.elements(at, elements, &mut |bytes| {
                values.resize(bytes.len() / member.size(), 0.0);
                singles(&member.dtype, bytes, &mut values);
                for value in &values {
                    let (k, row) = (at_element / all, at_element % all);
                    if known.0 != k {
                        known = (k, target(k));
                    }
                    if rows.contains(&row) {
                        into[(row - rows.start) * inner + known.1] = *value;
                    }
                    at_element += 1;
                }
            })
        };
        if self.archive.is_some() {
            return scatter(0..all * inner);
        }
        (0..inner).try_for_each(|k| scatter(k * all + rows.start..k * all + rows.end))
    }

    fn doubles(&self, at: usize) -> Result<Vec<f64>, String> {
        let mut values = vec![];
        let dtype = &self.members[at].dtype;
        let size = self.members[at].size();
        let count = self.infos[at].shape.first().copied().unwrap_or(1);
        self.elements(at, 0..count, &mut |bytes| {
            let start = values.len();
            values.resize(start + bytes.len() / size, 0.0);
            doubles(dtype, bytes, &mut values[start..]);
        })?;
        Ok(values)
    }

    fn texts(&self, at: usize) -> Result<Vec<String>, String> {
        let member = &self.members[at];
        let mut texts = vec![];
        self.elements(at, 0..self.infos[at].shape[0], &mut |bytes| {
            texts.extend(bytes.chunks_exact(member.size()).map(
                |text| match member.dtype.type_char() {
                    TypeChar::UnicodeStr => {
                        let big = member.dtype.endianness() == Endianness::Big;
                        let code = |bytes: &[u8]| match bytes.try_into() {
                            Ok(bytes) if big => u32::from_be_bytes(bytes),
                            Ok(bytes) => u32::from_le_bytes(bytes),
                            Err(_) => 0,
                        };
                        text.chunks_exact(4)
                            .map(code)
                            .take_while(|code| *code != 0)
                            .filter_map(char::from_u32)
                            .collect()
                    }
                    _ => String::from_utf8_lossy(text).trim_end_matches('\0').to_owned(),
                },
            ));
        })?;
        Ok(texts)
    }
}

/// Whether elements of this type are supported.
fn readable(dtype: &TypeStr) -> bool {
    match dtype.type_char() {
        TypeChar::Bool => dtype.size_field() == 1,
        TypeChar::Int | TypeChar::Uint => matches!(dtype.size_field(), 1 | 2 | 4 | 8),
        TypeChar::Float => matches!(dtype.size_field(), 2 | 4 | 8),
        TypeChar::ByteStr | TypeChar::UnicodeStr => {
            dtype.num_bytes().is_some_and(|bytes| (1..1 << 16).contains(&bytes))
        }
        _ => false,
    }
}

/// Converts elements of any numeric type, each rounded once.
macro_rules! convert {
    ($dtype:expr, $bytes:expr, $into:expr, $target:ty, $half:ident) => {{
        let big = $dtype.endianness() == Endianness::Big;
        macro_rules! each {
            ($type:ty) => {
                for (into, bytes) in $into.iter_mut().zip($bytes.chunks_exact(size_of::<$type>())) {
                    let bytes = bytes.try_into().unwrap_or_default();
                    *into = (if big {
                        <$type>::from_be_bytes(bytes)
                    } else {
                        <$type>::from_le_bytes(bytes)
                    }) as $target;
                }
            };
        }
        match ($dtype.type_char(), $dtype.size_field()) {
            (TypeChar::Int, 1) => each!(i8),
            (TypeChar::Int, 2) => each!(i16),
            (TypeChar::Int, 4) => each!(i32),
            (TypeChar::Int, _) => each!(i64),
            (TypeChar::Uint | TypeChar::Bool, 1) => each!(u8),
            (TypeChar::Uint, 2) => each!(u16),
            (TypeChar::Uint, 4) => each!(u32),
            (TypeChar::Uint, _) => each!(u64),
            (TypeChar::Float, 2) => {
                for (into, bytes) in $into.iter_mut().zip($bytes.chunks_exact(2)) {
                    let bytes = bytes.try_into().unwrap_or_default();
                    *into = (if big {
                        half::f16::from_be_bytes(bytes)
                    } else {
                        half::f16::from_le_bytes(bytes)
                    })
                    .$half();
                }
            }
            (TypeChar::Float, 4) => each!(f32),
            (TypeChar::Float, _) => each!(f64),
            _ => {}
        }
    }};
}

fn singles(dtype: &TypeStr, bytes: &[u8], into: &mut [f32]) {
    convert!(dtype, bytes, into, f32, to_f32);
}

fn doubles(dtype: &TypeStr, bytes: &[u8], into: &mut [f64]) {
    convert!(dtype, bytes, into, f64, to_f64);
}

/// Reads the single column of a .npy file.
pub fn read_column(path: &Path) -> error::Result<Column> {
    crate::files::regular(path)?;
    crate::guard::decode(path, || {
        let wrong = |reason: String| Error::input(format!("{}: {reason}", path.display()));
        let file = Npy::open(path).map_err(wrong)?;
        let info = &file.list()[0];
        match (info.shape.len(), info.kind) {
            (1, FieldKind::Number | FieldKind::Flag) => {
                Ok(Column::Numbers(file.doubles(0).map_err(wrong)?))
            }
            (1, FieldKind::Text) => Ok(Column::Texts(file.texts(0).map_err(wrong)?)),
            _ => Err(wrong(format!(
                "holds {} of {}; expected one number per row",
                info.show_shape(),
                info.type_name
            ))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    #[test]
    fn two_arrays_of_one_name_are_refused() {
        let mut writer = zip::ZipWriter::new(Cursor::new(vec![]));
        for name in ["a.npy", "b.npy"] {
            writer
                .start_file(
                    name,
                    zip::write::SimpleFileOptions::default()
                        .compression_method(zip::CompressionMethod::Stored),
                )
                .unwrap();
            let mut header = b"\x93NUMPY\x01\x00\x46\x00".to_vec();
            header.extend(
                format!("{:<69}\n", "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }")
                    .bytes(),
            );
            writer.write_all(&[header, 1_f64.to_le_bytes().to_vec()].concat()).unwrap();
        }
        let bytes = writer.finish().unwrap().into_inner();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(Npy::open_archive(file.path()).map(|npy| npy.infos.len()), Ok(2));
        let place = |from: usize| {
            bytes[from..].windows(5).position(|part| part == b"b.npy").unwrap() + from
        };
        let mut twice = bytes.clone();
        let (local, listed) = (place(0), place(place(0) + 5));
        (twice[local], twice[listed]) = (b'a', b'a');
        std::fs::write(file.path(), twice).unwrap();
        let message = Npy::open_archive(file.path()).err().unwrap();
        assert!(message.contains("two arrays of the name a.npy"), "{message}");
    }
}
