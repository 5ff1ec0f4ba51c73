//! Reads text files, compressed or not, a block at a time. Memory is bounded for any file length.

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

/// A text file: plain, or unpacked from gzip or zstd while reading.
pub struct Source {
    reader: Box<dyn Read + Send>,
    /// Bytes read and not yet returned.
    ahead: Vec<u8>,
    ended: bool,
    /// Maximum length when the file is read as a whole.
    longest: usize,
    /// Length of the part of `ahead` with normalised line ends.
    tidy: usize,
    /// Number of lines of the blocks returned so far.
    lines: usize,
}

/// Complete rows of a text.
pub struct Block {
    /// The rows.
    pub text: Vec<u8>,
    /// Number of lines before them.
    pub before: usize,
    /// Ranges of the quoted fields.
    quoted: Vec<Range<usize>>,
}

/// The mark that some editors write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Approximate size of a block.
const BLOCK: usize = 8 << 20;
/// Maximum length of a row.
const LONGEST_ROW: usize = 64 << 20;
/// Maximum length of a file that is read as a whole.
const LONGEST_TEXT: usize = 1 << 28;

impl Source {
    /// Opens a file; unpacks it if its first bytes are those of gzip or zstd.
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
        // Parsed text takes many times its length, so the expansion of packed files is limited.
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

    /// The first bytes, without consuming them.
    pub fn peek(&mut self, path: &Path, most: usize) -> Result<Vec<u8>> {
        self.fill(path, most)?;
        Ok(self.ahead[..most.min(self.ahead.len())].to_vec())
    }

    /// Skips a byte order mark.
    pub fn skip_mark(&mut self, path: &Path) -> Result<()> {
        let start = self.peek(path, BYTE_ORDER_MARK.len())?;
        self.ahead.drain(..start.len() - without_mark(&start).len());
        Ok(())
    }

    /// Whether everything was returned.
    pub fn is_at_end(&self) -> bool {
        self.ended && self.ahead.is_empty()
    }

    /// The rest of the text.
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

    /// The next complete rows; `None` at the end. A lone carriage return ends a row, line ends
    /// inside quotes do not. A quote that is not closed in its field is an error with its line.
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

/// Text without an initial byte order mark.
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

/// Replaces lone carriage returns by line ends. One at the very end may be half of a line end that
/// is not read yet.
fn end_lines(text: &mut [u8], ended: bool) {
    let mut at = 0;
    while let Some(next) = memchr(b'\r', &text[at..]) {
        at += next + 1;
        if text.get(at).map_or(ended, |next| *next != b'\n') {
            text[at - 1] = b'\n';
        }
    }
}

/// The quoted fields of a text that begins with a row.
struct Quoted {
    fields: Vec<Range<usize>>,
    /// Position of a quote that is not closed before the end.
    open: Option<usize>,
    /// Position of a quote that is closed on another line, within a field: the closing quote was
    /// meant to open another field.
    broken: Option<usize>,
}

impl Quoted {
    /// A quote at the beginning of a field opens it; two consecutive quotes inside are one literal
    /// quote.
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

    /// The position after the last line end outside quotes.
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

/// The line of a complete text, from 1, with a quote that is not closed in its field.
pub fn unclosed(text: &[u8], delimiter: u8) -> Option<usize> {
    let quoted = Quoted::find(text, delimiter);
    let open = quoted.broken.or(quoted.open)?;
    Some(1 + memchr_iter(b'\n', &text[..open]).count())
}

impl Block {
    /// The rows after the first `bytes`, which are complete lines.
    pub fn behind(&self, bytes: usize) -> Self {
        let quoted = self
            .quoted
            .iter()
            .filter(|field| field.start >= bytes)
            .map(|field| field.start - bytes..field.end - bytes);
        let before = self.before + memchr_iter(b'\n', &self.text[..bytes]).count();
        Self { text: self.text[bytes..].to_vec(), before, quoted: quoted.collect() }
    }

    /// Splits the rows into about `parts` pieces of complete rows, each with the number of lines
    /// before it.
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

    /// The position after the first line end outside quotes at or after `from`; the length if there
    /// is none.
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
        // The closing quote was meant to open the next quoted field.
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
