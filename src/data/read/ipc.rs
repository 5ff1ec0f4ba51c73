//! Checks the lengths in an Arrow IPC file, because arrow-ipc allocates them unchecked.

use super::budget::budget;
use arrow_ipc::{Message, root_as_footer, root_as_message};
use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// Maximum compression ratio of a buffer; it also never unpacks to more than [`LARGEST`].
const MOST_PACKED: u64 = 1 << 15;
const LARGEST: u64 = 1 << 30;
/// Maximum number of rows that take no bytes because all are missing or equal.
const MOST_EMPTY_ROWS: u64 = 1 << 16;

/// Checks that a file (or stream) does not claim more than it can hold.
pub fn check(path: &Path, is_file: bool) -> Result<(), String> {
    let torn = |error: std::io::Error| format!("it ends too early: {error}");
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let length = file.get_ref().metadata().map_err(|error| error.to_string())?.len();
    let mut checked = Checked { length, budget: budget(path), bodies: 0, dictionaries: 0 };
    if !is_file {
        let mut at = 0;
        while let Some((_, next)) = checked.message(&mut file, at)? {
            at = next;
        }
        return Ok(());
    }
    let mut tail = [0; 10];
    file.seek(SeekFrom::Start(length.saturating_sub(10))).map_err(torn)?;
    file.read_exact(&mut tail).map_err(torn)?;
    let [a, b, c, d, ..] = tail;
    let footer = u64::try_from(i32::from_le_bytes([a, b, c, d])).unwrap_or(u64::MAX);
    let start = length
        .checked_sub(10)
        .and_then(|end| end.checked_sub(footer))
        .ok_or("its footer claims to be longer than the file")?;
    let mut bytes = vec![0; footer as usize];
    file.seek(SeekFrom::Start(start)).map_err(torn)?;
    file.read_exact(&mut bytes).map_err(torn)?;
    let footer = root_as_footer(&bytes).map_err(|error| error.to_string())?;
    let blocks = footer
        .recordBatches()
        .into_iter()
        .flatten()
        .chain(footer.dictionaries().into_iter().flatten());
    for block in blocks {
        let at = u64::try_from(block.offset()).map_err(|_| "a block begins before the file")?;
        let (body, end) = checked.message(&mut file, at)?.ok_or("a block without a message")?;
        // The reader uses the lengths of the block, which must equal those of its message.
        let claimed =
            u64::try_from(block.metaDataLength()).ok().zip(u64::try_from(block.bodyLength()).ok());
        if claimed != Some((body - at, end - body)) {
            return Err("a block is of another length than its message".into());
        }
    }
    Ok(())
}

struct Checked {
    length: u64,
    /// Maximum unpacked size of the buffers of one batch, and of all dictionaries together.
    budget: u64,
    /// Bytes of all bodies so far, and unpacked bytes of all dictionaries.
    bodies: u64,
    dictionaries: u64,
}

impl Checked {
    /// Checks the message at an offset; returns start and end of its body, or `None` at the end of
    /// the stream.
    fn message(
        &mut self,
        file: &mut BufReader<File>,
        at: u64,
    ) -> Result<Option<(u64, u64)>, String> {
        let torn = |error: std::io::Error| format!("it ends too early: {error}");
        let mut word = [0; 4];
        if at.saturating_add(4) > self.length {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(at)).map_err(torn)?;
        file.read_exact(&mut word).map_err(torn)?;
        let mut start = at + 4;
        if word == [0xff; 4] {
            file.read_exact(&mut word).map_err(torn)?;
            start += 4;
        }
        let metadata =
            u64::try_from(i32::from_le_bytes(word)).map_err(|_| "a message of negative length")?;
        if metadata == 0 {
            return Ok(None);
        }
        let body = start + metadata;
        if body > self.length {
            return Err("a message claims to be longer than the file".into());
        }
        let mut bytes = vec![0; metadata as usize];
        file.read_exact(&mut bytes).map_err(torn)?;
        let message = root_as_message(&bytes).map_err(|error| error.to_string())?;
        let length =
            u64::try_from(message.bodyLength()).map_err(|_| "a message of negative length")?;
        let end = body
            .checked_add(length)
            .filter(|end| *end <= self.length)
            .ok_or("a message claims to end behind the file")?;
        self.bodies = self.bodies.saturating_add(length);
        if self.bodies > self.length {
            return Err("its blocks overlap".into());
        }
        let unpacked = buffers(file, &message, body, length)?;
        if message.header_as_dictionary_batch().is_some() {
            self.dictionaries = self.dictionaries.saturating_add(unpacked);
        }
        if unpacked.max(self.dictionaries) > self.budget {
            return Err(format!(
                "it claims to unpack to {unpacked} bytes, more than a file of its size can hold"
            ));
        }
        Ok(Some((body, end)))
    }
}

/// Checks the unpacked sizes of the buffers of a message and its number of rows; returns the
/// unpacked bytes of all buffers.
fn buffers(
    file: &mut BufReader<File>,
    message: &Message<'_>,
    body: u64,
    length: u64,
) -> Result<u64, String> {
    let batch = message
        .header_as_record_batch()
        .or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
    let Some(batch) = batch else { return Ok(0) };
    let is_packed = batch.compression().is_some();
    let mut together = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let place = u64::try_from(buffer.offset()).ok().zip(u64::try_from(buffer.length()).ok());
        let Some((offset, packed)) = place.filter(|(offset, packed)| {
            offset.checked_add(*packed).is_some_and(|end| end <= length)
        }) else {
            return Err("a buffer claims to end behind its message".into());
        };
        let mut unpacked = packed;
        if is_packed && packed >= 8 {
            let mut claimed = [0; 8];
            file.seek(SeekFrom::Start(body + offset))
                .and_then(|_| file.read_exact(&mut claimed))
                .map_err(|error| error.to_string())?;
            // −1 means that the buffer is not packed.
            let claimed = i64::from_le_bytes(claimed);
            let most = packed.saturating_mul(MOST_PACKED).min(LARGEST);
            unpacked = match u64::try_from(claimed) {
                Ok(claimed) if claimed <= most => claimed,
                Err(_) if claimed == -1 => packed,
                _ => {
                    return Err(format!(
                        "a buffer of {packed} bytes claims to unpack to {claimed}"
                    ));
                }
            };
        }
        together = together.saturating_add(unpacked);
    }
    // A row of flags takes a bit.
    let most_rows = together.saturating_mul(8).saturating_add(MOST_EMPTY_ROWS);
    let lengths =
        batch.nodes().into_iter().flatten().map(|node| node.length()).chain([batch.length()]);
    if let Some(rows) =
        lengths.into_iter().find(|rows| u64::try_from(*rows).is_ok_and(|rows| rows > most_rows))
    {
        return Err(format!("it claims {rows} rows in {together} bytes"));
    }
    Ok(together)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int32Array, NullArray, RecordBatch};
    use std::{io::Write, sync::Arc};

    #[test]
    fn a_block_that_begins_elsewhere_than_its_message_is_refused() {
        let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..5000));
        let batch = RecordBatch::try_from_iter([("ls", column)]).unwrap();
        let options = arrow_ipc::writer::IpcWriteOptions::default()
            .try_with_compression(Some(arrow_ipc::CompressionType::ZSTD))
            .unwrap();
        let mut bytes = vec![];
        let mut writer = arrow_ipc::writer::FileWriter::try_new_with_options(
            &mut bytes,
            &batch.schema(),
            options,
        )
        .unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        let place = tempfile::NamedTempFile::new().unwrap();
        let mut refused = 0;
        // The footer is at the end.
        for at in bytes.len() - 300..bytes.len() - 10 {
            let mut broken = bytes.clone();
            broken[at] ^= 8;
            std::fs::write(place.path(), &broken).unwrap();
            refused += usize::from(
                check(place.path(), true)
                    .is_err_and(|error| error.contains("another length than its message")),
            );
        }
        assert!(refused >= 2, "{refused}");
        std::fs::write(place.path(), &bytes).unwrap();
        assert_eq!(check(place.path(), true), Ok(()));
    }

    #[test]
    fn rows_that_take_no_bytes_are_bounded() {
        let columns: [(&str, ArrayRef); 2] = [
            ("ls", Arc::new(Int32Array::from_iter_values(0..100))),
            ("nothing", Arc::new(NullArray::new(100))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = vec![];
        let mut writer =
            arrow_ipc::writer::FileWriter::try_new(&mut bytes, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        let check = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            check(file.path(), true)
        };
        assert_eq!(check(&bytes), Ok(()));
        // Adds 2⁵⁶ to the rows of the batch and of each column; another number that happens to be
        // equal may be unchanged.
        let places = (0..bytes.len() - 8).filter(|at| bytes[*at..at + 8] == 100_i64.to_le_bytes());
        let refused = places.filter(|at| {
            let mut broken = bytes.clone();
            broken[at + 7] = 1;
            check(&broken).is_err_and(|error| error.contains("rows in"))
        });
        assert!(refused.count() >= 3);
    }
}
