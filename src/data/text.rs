//! Text files, compressed or not, a block at a time: memory stays bounded however long the file is.

use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use memchr::{memchr_iter, memrchr};
use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    path::Path,
};

/// A text file: as it is, or unpacked from gzip or zstd on the way.
pub struct Source {
    reader: Box<dyn Read + Send>,
    /// What was read and not yet handed out.
    ahead: Vec<u8>,
    ended: bool,
}

/// Rows are read in blocks of about this size.
const BLOCK: usize = 8 << 20;
/// A row is never longer.
const LONGEST_ROW: usize = 64 << 20;
/// A file that is read whole is never longer.
const LONGEST_TEXT: usize = 1 << 28;

impl Source {
    /// Opens a file, unpacking what its first bytes say is packed.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || File::open(path).map_err(|error| Error::reading(path, &error));
        let mut start = [0; 4];
        let length = read_full(&mut open()?, &mut start).map_err(|error| Error::reading(path, &error))?;
        let file = open()?;
        let reader: Box<dyn Read + Send> = match &start[..length] {
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file))),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(file).map_err(|error| Error::reading(path, &error))?),
            _ => Box::new(file),
        };
        Ok(Self { reader, ahead: vec![], ended: false })
    }

    /// The first bytes, which stay to be read.
    pub fn peek(&mut self, path: &Path, most: usize) -> Result<Vec<u8>> {
        self.fill(path, most)?;
        Ok(self.ahead[..most.min(self.ahead.len())].to_vec())
    }

    /// All the rest.
    pub fn rest(&mut self, path: &Path) -> Result<Vec<u8>> {
        self.fill(path, LONGEST_TEXT)?;
        if !self.ended {
            return Err(Error::input(format!("{}: is longer than {LONGEST_TEXT} bytes of text", path.display())));
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    /// The next whole rows, none cut in two; `None` at the end. Line ends inside quotes do not end a row.
    pub fn block(&mut self, path: &Path) -> Result<Option<Vec<u8>>> {
        let mut wanted = BLOCK;
        loop {
            self.fill(path, wanted)?;
            if self.ended {
                let rest = std::mem::take(&mut self.ahead);
                return Ok(Some(rest).filter(|rest| !rest.is_empty()));
            }
            if let Some(end) = last_row_end(&self.ahead) {
                let rest = self.ahead.split_off(end);
                return Ok(Some(std::mem::replace(&mut self.ahead, rest)));
            }
            if wanted >= LONGEST_ROW {
                let mb = LONGEST_ROW >> 20;
                return Err(Error::input(format!("{}: a row is longer than {mb} MB; is a quote opened and never closed?", path.display())));
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
        let count = (&mut self.reader).take(missing).read_to_end(&mut self.ahead).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::Other => {
                Error::input(format!("{}: cannot be unpacked: {error}", path.display()))
            }
            _ => Error::reading(path, &error),
        })?;
        self.ended = (count as u64) < missing;
        Ok(())
    }
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

/// Just behind the last line end that is outside quotes.
fn last_row_end(text: &[u8]) -> Option<usize> {
    let mut open = memchr_iter(b'"', text).count() % 2 == 1;
    let mut end = text.len();
    loop {
        let at = memrchr(b'\n', &text[..end])?;
        open ^= memchr_iter(b'"', &text[at..end]).count() % 2 == 1;
        if !open {
            return Some(at + 1);
        }
        end = at;
    }
}

/// Cuts a block of whole rows into about `parts` pieces of whole rows, each with the number of lines before it.
pub fn pieces(block: &[u8], parts: usize) -> Vec<(usize, &[u8])> {
    let step = block.len() / parts.max(1) + 1;
    let (mut pieces, mut start, mut lines) = (vec![], 0, 0);
    while start < block.len() {
        let reach = (start + step).min(block.len());
        let end = if reach == block.len() { reach } else { start + row_end_after(&block[start..], reach - start) };
        pieces.push((lines, &block[start..end]));
        lines += memchr_iter(b'\n', &block[start..end]).count();
        start = end;
    }
    pieces
}

/// Just behind the first line end at or after `from` that is outside quotes; the length where there is none.
fn row_end_after(text: &[u8], from: usize) -> usize {
    let mut open = memchr_iter(b'"', &text[..from]).count() % 2 == 1;
    let mut at = from;
    while let Some(next) = memchr::memchr2(b'\n', b'"', &text[at..]) {
        at += next + 1;
        if text[at - 1] == b'"' {
            open = !open;
        } else if !open {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_ends_inside_quotes_do_not_end_a_row() {
        assert_eq!(last_row_end(b"a\nb,\"x\ny"), Some(2));
        assert_eq!(last_row_end(b"a,\"x\ny\"\nb"), Some(8));
        assert_eq!(last_row_end(b"abc"), None);
    }

    proptest! {
        #[test]
        fn pieces_are_the_block(text in "([ab,]{0,6}(\"[a\n]{0,3}\")?\n){1,20}", parts in 1_usize..6) {
            let pieces = pieces(text.as_bytes(), parts);
            prop_assert_eq!(pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect::<Vec<_>>(), text.as_bytes());
            for (lines, piece) in pieces {
                let before = piece.as_ptr() as usize - text.as_ptr() as usize;
                prop_assert_eq!(lines, text[..before].matches('\n').count());
                prop_assert!(memchr_iter(b'"', piece).count().is_multiple_of(2) && piece.ends_with(b"\n"));
            }
        }
    }
}
