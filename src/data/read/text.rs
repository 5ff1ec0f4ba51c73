//! Text files, compressed or not, a block at a time: memory stays bounded however long the file is.

use crate::{
    error::{Error, Result},
    files,
};
use flate2::read::MultiGzDecoder;
use memchr::{memchr, memchr_iter, memrchr};
use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    ops::Range,
    path::Path,
};

/// A text file: as it is, or unpacked from gzip or zstd on the way.
pub struct Source {
    reader: Box<dyn Read + Send>,
    /// What was read and not yet handed out.
    ahead: Vec<u8>,
    ended: bool,
    /// What is read whole is never longer.
    longest: usize,
    /// How much of `ahead` has its line ends as they should be.
    tidy: usize,
    /// Lines of the blocks that were handed out.
    lines: usize,
}

/// Whole rows of a text.
pub struct Block {
    /// The rows.
    pub text: Vec<u8>,
    /// Number of lines before them.
    pub before: usize,
    /// Where their quoted fields lie.
    quoted: Vec<Range<usize>>,
}

/// What some editors write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Rows are read in blocks of about this size.
const BLOCK: usize = 8 << 20;
/// A row is never longer.
const LONGEST_ROW: usize = 64 << 20;
/// A file that is read whole is never longer.
const LONGEST_TEXT: usize = 1 << 28;

impl Source {
    /// Opens a file, unpacking what its first bytes say is packed.
    pub fn open(path: &Path) -> Result<Self> {
        files::regular(path)?;
        let open = || File::open(path).map_err(|error| Error::reading(path, error));
        let mut start = [0; 4];
        let length =
            read_full(&mut open()?, &mut start).map_err(|error| Error::reading(path, error))?;
        let file = open()?;
        let reader: Box<dyn Read + Send> = match &start[..length] {
            [0x1f, 0x8b, ..] => {
                Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file)))
            }
            [0x28, 0xb5, 0x2f, 0xfd] => {
                Box::new(zstd::Decoder::new(file).map_err(|error| Error::reading(path, error))?)
            }
            _ => Box::new(file),
        };
        // What text becomes when it is parsed takes many times its length, so that little that is
        // packed must not become much.
        let is_packed = matches!(&start[..length], [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]);
        let bytes = std::fs::metadata(path)
            .map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX));
        let longest = if is_packed {
            bytes.saturating_mul(100).saturating_add(16 << 20).min(LONGEST_TEXT)
        } else {
            LONGEST_TEXT
        };
        Ok(Self { reader, ahead: vec![], ended: false, longest, tidy: 0, lines: 0 })
    }

    /// The first bytes, which stay to be read.
    pub fn peek(&mut self, path: &Path, most: usize) -> Result<Vec<u8>> {
        self.fill(path, most)?;
        Ok(self.ahead[..most.min(self.ahead.len())].to_vec())
    }

    /// Passes over a byte order mark.
    pub fn skip_mark(&mut self, path: &Path) -> Result<()> {
        let start = self.peek(path, BYTE_ORDER_MARK.len())?;
        self.ahead.drain(..start.len() - without_mark(&start).len());
        Ok(())
    }

    /// Whether everything was handed out.
    pub fn is_at_end(&self) -> bool {
        self.ended && self.ahead.is_empty()
    }

    /// All the rest.
    pub fn rest(&mut self, path: &Path) -> Result<Vec<u8>> {
        self.fill(path, self.longest)?;
        if !self.ended {
            return Err(Error::input(format!(
                "{}: is longer than {} bytes of text",
                path.display(),
                self.longest
            )));
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    /// The next whole rows, none cut in two; `None` at the end. Line ends inside quotes do not end
    /// a row, and a lone carriage return ends one. A quote that is opened and not closed in its
    /// field is an error that names its line.
    pub fn block(&mut self, path: &Path, delimiter: u8) -> Result<Option<Block>> {
        let mut wanted = BLOCK;
        loop {
            self.fill(path, wanted)?;
            end_lines(&mut self.ahead[self.tidy.saturating_sub(1)..], self.ended);
            self.tidy = self.ahead.len();
            let quoted = Quoted::find(&self.ahead, delimiter);
            let at_end = self.ended || wanted >= LONGEST_ROW;
            if let Some(open) = quoted.broken.or(quoted.open.filter(|_| at_end)) {
                let line = self.lines + 1 + memchr_iter(b'\n', &self.ahead[..open]).count();
                return Err(Error::input(format!(
                    "{}:{line}: a quote is opened and not closed in its field",
                    path.display()
                )));
            }
            let end =
                if self.ended { Some(self.ahead.len()) } else { quoted.last_row_end(&self.ahead) };
            if let Some(end) = end {
                let rest = self.ahead.split_off(end);
                let text = std::mem::replace(&mut self.ahead, rest);
                self.tidy = self.ahead.len();
                let before = self.lines;
                self.lines += memchr_iter(b'\n', &text).count();
                return Ok(Some(Block { text, before, quoted: quoted.fields })
                    .filter(|block| !block.text.is_empty()));
            }
            if wanted >= LONGEST_ROW {
                return Err(Error::input(format!(
                    "{}: a row is longer than {} MB",
                    path.display(),
                    LONGEST_ROW >> 20
                )));
            }
            wanted *= 2;
        }
    }

    /// Reads until `wanted` bytes are ahead, or the file ends.
    fn fill(&mut self, path: &Path, wanted: usize) -> Result<()> {
        if self.ended || self.ahead.len() >= wanted {
            return Ok(());
        }
        let missing = (wanted - self.ahead.len()) as u64;
        let count =
            (&mut self.reader).take(missing).read_to_end(&mut self.ahead).map_err(|error| {
                match error.kind() {
                    ErrorKind::InvalidInput
                    | ErrorKind::InvalidData
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::Other => {
                        Error::input(format!("{}: cannot be unpacked: {error}", path.display()))
                    }
                    _ => Error::reading(path, error),
                }
            })?;
        self.ended = (count as u64) < missing;
        Ok(())
    }
}

/// Text without the byte order mark that it may begin with.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Makes a lone carriage return a line end; one at the very end may be half of a line end that is
/// not read yet.
fn end_lines(text: &mut [u8], ended: bool) {
    let mut at = 0;
    while let Some(next) = memchr(b'\r', &text[at..]) {
        at += next + 1;
        if text.get(at).map_or(ended, |next| *next != b'\n') {
            text[at - 1] = b'\n';
        }
    }
}

/// Where the quoted fields of a text lie that begins with a row.
struct Quoted {
    fields: Vec<Range<usize>>,
    /// Where a quote opens that is not closed before the end.
    open: Option<usize>,
    /// Where a quote opens that is closed on another line, within a field: the quote that closes it
    /// was meant to open another.
    broken: Option<usize>,
}

impl Quoted {
    /// A quote opens a field where the field begins; two in a row inside are one that is meant.
    fn find(text: &[u8], delimiter: u8) -> Self {
        let mut quoted = Self { fields: vec![], open: None, broken: None };
        let mut at = 0;
        while let Some(next) = memchr(b'"', &text[at..]) {
            let open = at + next;
            if open > 0 && !ends_field(text[open - 1], delimiter) {
                at = open + 1;
                continue;
            }
            let mut end = open + 1;
            loop {
                let Some(next) = memchr(b'"', &text[end..]) else {
                    quoted.open = Some(open);
                    return quoted;
                };
                end += next + 1;
                if text.get(end) != Some(&b'"') {
                    break;
                }
                end += 1;
            }
            let closed = text.get(end).is_none_or(|next| ends_field(*next, delimiter));
            if !closed && memchr(b'\n', &text[open..end]).is_some() {
                quoted.broken = Some(open);
                return quoted;
            }
            quoted.fields.push(open..end);
            at = end;
        }
        quoted
    }

    /// Just behind the last line end that is outside quotes.
    fn last_row_end(&self, text: &[u8]) -> Option<usize> {
        let starts = self.fields.iter().map(|field| field.end).rev().chain([0]);
        let ends = [self.open.unwrap_or(text.len())]
            .into_iter()
            .chain(self.fields.iter().map(|field| field.start).rev());
        starts
            .zip(ends)
            .find_map(|(start, end)| Some(start + memrchr(b'\n', &text[start..end])? + 1))
    }
}

fn ends_field(byte: u8, delimiter: u8) -> bool {
    byte == delimiter || byte == b'\n' || byte == b'\r'
}

/// The line of a whole text, from 1, on which a quote opens that is not closed in its field.
pub fn unclosed(text: &[u8], delimiter: u8) -> Option<usize> {
    let quoted = Quoted::find(text, delimiter);
    let open = quoted.broken.or(quoted.open)?;
    Some(1 + memchr_iter(b'\n', &text[..open]).count())
}

impl Block {
    /// The rows behind the first `bytes`, which are whole lines.
    pub fn behind(&self, bytes: usize) -> Self {
        let quoted = self
            .quoted
            .iter()
            .filter(|field| field.start >= bytes)
            .map(|field| field.start - bytes..field.end - bytes);
        let before = self.before + memchr_iter(b'\n', &self.text[..bytes]).count();
        Self { text: self.text[bytes..].to_vec(), before, quoted: quoted.collect() }
    }

    /// Cuts the rows into about `parts` pieces of whole rows, each with the number of lines before
    /// it.
    pub fn pieces(&self, parts: usize) -> Vec<(usize, &[u8])> {
        let text = self.text.as_slice();
        let step = text.len() / parts.max(1) + 1;
        let (mut pieces, mut start, mut lines) = (vec![], 0, self.before);
        while start < text.len() {
            let end = self.row_end(start + step);
            pieces.push((lines, &text[start..end]));
            lines += memchr_iter(b'\n', &text[start..end]).count();
            start = end;
        }
        pieces
    }

    /// Just behind the first line end at or after `from` that is outside quotes; the length where
    /// there is none.
    fn row_end(&self, mut from: usize) -> usize {
        let text = self.text.as_slice();
        let mut next = self.quoted.partition_point(|field| field.end <= from);
        while from < text.len() {
            let quoted = self.quoted.get(next).cloned().unwrap_or(text.len()..text.len());
            if let Some(end) = memchr(b'\n', &text[from..quoted.start.max(from)]) {
                return from + end + 1;
            }
            (from, next) = (quoted.end, next + 1);
        }
        text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn last_row_end(text: &[u8]) -> Option<usize> {
        Quoted::find(text, b',').last_row_end(text)
    }

    #[test]
    fn line_ends_inside_quotes_do_not_end_a_row() {
        assert_eq!(last_row_end(b"a\nb,\"x\ny"), Some(2));
        assert_eq!(last_row_end(b"a,\"x\ny\"\nb"), Some(8));
        assert_eq!(last_row_end(b"a,\"x\"\"\ny\"\nb"), Some(10));
        assert_eq!(last_row_end(b"5\" pipe\nb"), Some(8));
        assert_eq!(last_row_end(b"abc"), None);
    }

    #[test]
    fn a_quote_that_is_not_closed_in_its_field_has_a_line() {
        assert_eq!(unclosed(b"a,b\n1,\"x\n2,y\n", b','), Some(2));
        // What closes it opens the next field that is quoted.
        assert_eq!(unclosed(b"a,b\n1,\"x\n2,y\n3,\"z\"\n", b','), Some(2));
        assert_eq!(unclosed(b"a,b\n1,\"x\ny\"\n2,\"say \"\"a\"\"\"\n3,5\"\n", b','), None);
    }

    #[test]
    fn a_lone_carriage_return_ends_a_line() {
        let ended = |text: &str, ended| {
            let mut text = text.as_bytes().to_vec();
            end_lines(&mut text, ended);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(ended("a\rb\r\nc\r\rd\r", true), "a\nb\r\nc\n\nd\n");
        assert_eq!(ended("a\rb\r", false), "a\nb\r");
    }

    #[test]
    fn little_that_is_packed_does_not_become_much() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut packed = flate2::write::GzEncoder::new(
            File::create(file.path()).unwrap(),
            flate2::Compression::best(),
        );
        (0..64).for_each(|_| std::io::Write::write_all(&mut packed, &[b' '; 1 << 20]).unwrap());
        packed.finish().unwrap();
        let error = Source::open(file.path()).unwrap().rest(file.path()).unwrap_err().to_string();
        assert!(error.contains("is longer than"), "{error}");
    }

    proptest! {
        #[test]
        fn pieces_are_the_block(text in "([ab,]{0,6}(,\"[a\n]{0,3}\")?\n){1,20}", parts in 1_usize..6) {
            let quoted = Quoted::find(text.as_bytes(), b',').fields;
            let block = Block { text: text.clone().into_bytes(), before: 0, quoted };
            let pieces = block.pieces(parts);
            prop_assert_eq!(pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect::<Vec<_>>(), text.as_bytes());
            let mut start = 0;
            for (lines, piece) in pieces {
                prop_assert_eq!(lines, text[..start].matches('\n').count());
                prop_assert!(memchr_iter(b'"', piece).count().is_multiple_of(2) && piece.ends_with(b"\n"));
                start += piece.len();
            }
        }
    }
}
