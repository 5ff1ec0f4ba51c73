//! Checks the lengths in a Parquet file, because the parquet crate allocates them unchecked.
//!
//! Footer and page headers are messages of Thrift's compact protocol. They are parsed here without
//! storing anything.

use parquet::{
    basic::Type,
    column::page::{Page, PageReader},
    file::{metadata::ColumnChunkMetaData, serialized_reader::SerializedPageReader},
};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    sync::Arc,
};

/// Maximum nesting of columns; the crate and later code recurse for each level.
const DEEPEST_SCHEMA: usize = 64;
/// Maximum nesting of messages.
const DEEPEST: usize = 16;
/// Maximum length of a page header, including statistics.
const LONGEST_HEADER: usize = 16 << 20;

type Checked<T> = Result<T, String>;

/// Checks the footer of a file of `length` bytes.
pub fn check_footer(file: &mut File, length: u64) -> Checked<()> {
    let torn = |error: std::io::Error| error.to_string();
    let mut tail = [0; 8];
    let start = length.checked_sub(8).ok_or("it is too short")?;
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut tail)).map_err(torn)?;
    let [a, b, c, d, magic @ ..] = tail;
    if &magic != b"PAR1" {
        return Err(if &magic == b"PARE" {
            "it is encrypted, which is not read".into()
        } else {
            "it does not end like a Parquet file".into()
        });
    }
    let footer = u32::from_le_bytes([a, b, c, d]);
    let start =
        start.checked_sub(footer.into()).ok_or("its footer claims to be longer than the file")?;
    let mut bytes = vec![0; footer as usize];
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes)).map_err(torn)?;
    // Number of columns still to come on each level of the schema.
    let mut open: Vec<i64> = vec![];
    let mut deepest = 0;
    let mut elements = 0;
    let mut message = Thrift { bytes: &bytes, at: 0 };
    message
        .read(&mut |path, value| match (path, value) {
            (&[2], None) => {
                elements += 1;
                while open.last() == Some(&0) {
                    open.pop();
                }
                if let Some(left) = open.last_mut() {
                    *left -= 1;
                }
            }
            (&[2, 5], Some(children)) if children > 0 => {
                open.push(children);
                deepest = deepest.max(open.len());
            }
            _ => {}
        })
        .ok_or("its footer is damaged")?;
    if deepest > DEEPEST_SCHEMA {
        return Err(format!("its columns are nested deeper than {DEEPEST_SCHEMA} levels"));
    }
    if elements > bytes.len() / 4 {
        return Err("its footer claims more columns than it names".into());
    }
    Ok(())
}

/// Checks the pages of a column chunk; returns the unpacked length of its longest page.
pub fn check_chunk(file: &File, column: &ColumnChunkMetaData) -> Checked<u64> {
    let mut reader = file.try_clone().map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let (mut at, bytes) = column.byte_range();
    let end = at
        .checked_add(bytes)
        .filter(|end| *end <= length)
        .ok_or("a column claims to end behind the file")?;
    let most_values = u64::try_from(column.num_values())
        .map_err(|_| "a column of a negative number of values")?;
    let (mut longest, mut values, mut has_deltas) = (0, 0_u64, false);
    while at < end {
        let (header, header_length) = header(&mut reader, at, end)?;
        at += header_length;
        let size = |size: Option<i64>| {
            size.and_then(|size| u64::try_from(size).ok()).ok_or("a page without a size")
        };
        let (packed, unpacked) = (size(header.packed)?, size(header.unpacked)?);
        at = at
            .checked_add(packed)
            .filter(|at| *at <= end)
            .ok_or("a page claims to end behind its column")?;
        longest = longest.max(unpacked);
        if header
            .words
            .is_some_and(|words| u64::try_from(words).is_ok_and(|words| words > unpacked))
        {
            return Err("a dictionary claims more entries than it has bytes".into());
        }
        values += u64::try_from(header.values.unwrap_or(0)).unwrap_or(0);
        if values > most_values {
            return Err("the pages of a column claim more values than the column".into());
        }
        has_deltas |= header.encoding.is_some_and(|encoding| DELTAS.contains(&encoding));
    }
    if has_deltas && matches!(column.column_type(), Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY) {
        check_deltas(file, column)?;
    }
    Ok(longest)
}

/// DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY; their data begin with the number of lengths.
const DELTAS: [i64; 2] = [6, 7];

/// The contents of a page header.
#[derive(Default)]
struct Header {
    unpacked: Option<i64>,
    packed: Option<i64>,
    /// Number of values of a data page.
    values: Option<i64>,
    encoding: Option<i64>,
    /// Number of entries of a dictionary page.
    words: Option<i64>,
}

/// Reads a page header; also returns its length.
fn header(file: &mut File, at: u64, end: u64) -> Checked<(Header, u64)> {
    let mut bytes = vec![];
    let mut wanted = 1 << 12;
    file.seek(SeekFrom::Start(at)).map_err(|error| error.to_string())?;
    loop {
        let missing = (wanted - bytes.len()) as u64;
        let read = file
            .take(missing.min(end - at - bytes.len() as u64))
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        let mut header = Header::default();
        let mut message = Thrift { bytes: &bytes, at: 0 };
        let walked = message.read(&mut |path, value| match path {
            [2] => header.unpacked = value,
            [3] => header.packed = value,
            [5, 1] | [8, 1] => header.values = value,
            [5, 2] | [8, 4] => header.encoding = value,
            [7, 1] => header.words = value,
            _ => {}
        });
        if walked.is_some() {
            return Ok((header, message.at as u64));
        }
        if read == 0 || wanted >= LONGEST_HEADER {
            return Err("a page header is damaged".into());
        }
        wanted *= 8;
    }
}

/// Checks the numbers of lengths in pages of texts.
fn check_deltas(file: &File, column: &ColumnChunkMetaData) -> Checked<()> {
    let file = Arc::new(file.try_clone().map_err(|error| error.to_string())?);
    let description = column.column_descr();
    let levels =
        usize::from(description.max_rep_level() > 0) + usize::from(description.max_def_level() > 0);
    let mut pages =
        SerializedPageReader::new(file, column, 0, None).map_err(|error| error.to_string())?;
    while let Some(page) = pages.get_next_page().map_err(|error| error.to_string())? {
        let encoding = page.encoding() as i64;
        let start = match &page {
            // Each kind of level is preceded by its length.
            Page::DataPage { buf, .. } => (0..levels).try_fold(0_usize, |at, _| {
                let length =
                    buf.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)?;
                at.checked_add(4)?.checked_add(length as usize)
            }),
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                def_levels_byte_len.checked_add(*rep_levels_byte_len).map(|at| at as usize)
            }
            Page::DictionaryPage { .. } => continue,
        };
        let data = start.and_then(|start| page.buffer().get(start..));
        // The prefix and the rest of each text have separate lengths.
        let lists = match DELTAS.iter().position(|delta| *delta == encoding) {
            Some(lists) => lists + 1,
            None => continue,
        };
        let mut data = Thrift { bytes: data.ok_or("levels are longer than their page")?, at: 0 };
        for _ in 0..lists {
            data.pass_deltas(page.num_values().into())
                .ok_or("a page claims more texts than it has values")?;
        }
    }
    Ok(())
}

/// A message and the position in it.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Called for every element that is a message (value: `None`) and for every integer, with the path
/// of field numbers.
type Visit<'v> = &'v mut dyn FnMut(&[i16], Option<i64>);

impl Thrift<'_> {
    /// Reads one message. Returns `None` if it is incomplete.
    fn read(&mut self, visit: Visit) -> Option<()> {
        self.message(&mut vec![], visit)
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        self.at = (end <= self.bytes.len()).then_some(end)?;
        Some(())
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.unsigned()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn message(&mut self, path: &mut Vec<i16>, visit: Visit) -> Option<()> {
        let mut id = 0_i16;
        loop {
            let byte = self.byte()?;
            if byte & 15 == 0 {
                return Some(());
            }
            id = match byte >> 4 {
                0 => i16::try_from(self.signed()?).ok()?,
                more => id.checked_add(more.into())?,
            };
            path.push(id);
            self.value(byte & 15, path, visit)?;
            path.pop();
        }
    }

    fn value(&mut self, kind: u8, path: &mut Vec<i16>, visit: Visit) -> Option<()> {
        match kind {
            // Booleans are encoded in the type.
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => {
                let number = self.signed()?;
                visit(path, Some(number));
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.unsigned()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
                self.elements(count, &[head & 15], path, visit)
            }
            11 => {
                let count = self.unsigned()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                self.elements(count, &[kinds >> 4, kinds & 15], path, visit)
            }
            12 if path.len() < DEEPEST => self.message(path, visit),
            13 => self.skip(16),
            _ => None,
        }
    }

    fn elements(
        &mut self,
        count: u64,
        kinds: &[u8],
        path: &mut Vec<i16>,
        visit: Visit,
    ) -> Option<()> {
        if count > (self.bytes.len() - self.at) as u64 || path.len() >= DEEPEST {
            return None;
        }
        for _ in 0..count {
            for &kind in kinds {
                match kind {
                    1 | 2 => self.skip(1)?,
                    12 => {
                        visit(path, None);
                        self.message(path, visit)?;
                    }
                    // A nested list is one level deeper.
                    9..=11 => {
                        path.push(0);
                        self.value(kind, path, visit)?;
                        path.pop();
                    }
                    kind => self.value(kind, path, visit)?,
                }
            }
        }
        Some(())
    }

    /// Skips delta-encoded numbers, at most `most` of them.
    fn pass_deltas(&mut self, most: u64) -> Option<()> {
        let (block, parts, count) = (self.unsigned()?, self.unsigned()?, self.unsigned()?);
        self.signed()?;
        let part = block
            .checked_div(parts)
            .filter(|part| *part > 0 && part % 8 == 0 && block <= 1 << 20)?;
        let mut left = (count <= most).then_some(count)?.saturating_sub(1);
        while left > 0 {
            self.signed()?;
            let widths =
                self.bytes.get(self.at..self.at.checked_add(usize::try_from(parts).ok()?)?)?;
            self.at += widths.len();
            for &width in widths {
                if left > 0 {
                    // The last miniblock may end with the numbers.
                    let there = (self.bytes.len() - self.at) as u64;
                    self.skip((part / 8 * u64::from(width)).min(there))?;
                    left = left.saturating_sub(part);
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::{
        arrow::ArrowWriter, basic::Encoding, file::properties::WriterProperties,
        schema::types::ColumnPath,
    };

    fn file(encoding: Encoding) -> Vec<u8> {
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..5000).map(|i| format!("lumisection {i}"))));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5000));
        let batch = RecordBatch::try_from_iter([("text", texts), ("number", numbers)]).unwrap();
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(4096)
            .set_write_batch_size(256);
        let properties = properties.set_column_encoding(ColumnPath::from("text"), encoding).build();
        let mut bytes = vec![];
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn check(bytes: &[u8]) -> Checked<()> {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), bytes).unwrap();
        let metadata = crate::data::read::columnar::metadata(place.path())
            .map_err(|error| error.to_string())?;
        let file = File::open(place.path()).unwrap();
        metadata
            .metadata()
            .row_group(0)
            .columns()
            .iter()
            .try_for_each(|column| check_chunk(&file, column).map(drop))
    }

    #[test]
    fn whole_files_pass() {
        for encoding in
            [Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY]
        {
            assert_eq!(check(&file(encoding)), Ok(()), "{encoding:?}");
        }
    }

    #[test]
    fn a_number_of_texts_that_cannot_be_is_refused() {
        let mut bytes = file(Encoding::DELTA_LENGTH_BYTE_ARRAY);
        // A block of 128 in 4 parts, then the number of lengths in two bytes.
        let at = bytes.windows(3).position(|bytes| bytes == [0x80, 0x01, 0x04]).unwrap() + 3;
        bytes[at + 1] = 0x7f;
        assert!(check(&bytes).unwrap_err().contains("more texts than it has values"));
    }

    #[test]
    fn lists_and_lengths_beyond_the_end_are_refused() {
        let read = |bytes: &[u8]| Thrift { bytes, at: 0 }.read(&mut |_, _| {});
        // Field 1: a text of 5 bytes; a list of 2³¹ messages; messages in messages.
        assert_eq!(read(b"\x18\x05hello\x00"), Some(()));
        assert_eq!(read(b"\x18\x06hello"), None);
        assert_eq!(read(b"\x19\xfc\x80\x80\x80\x80\x08\x00"), None);
        assert_eq!(read(&[0x1c; 100_000]), None);
        assert_eq!(read(&[0x19; 100_000]), None);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_read_or_refused() {
        let whole = file(Encoding::DELTA_BYTE_ARRAY);
        let step = whole.len() / 300;
        for at in (0..whole.len()).step_by(step) {
            let _ = check(&whole[..at]);
            let mut broken = whole.clone();
            broken[at] ^= 0x80;
            let _ = check(&broken);
        }
    }
}
