//! A look at the lengths that an Arrow IPC file claims, before arrow-ipc believes them: it allocates what they say.

use arrow_ipc::{Message, root_as_footer, root_as_message};
use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// A compressed buffer never unpacks to more than so many times its length, nor to more than [`LARGEST`].
const MOST_PACKED: u64 = 1 << 15;
const LARGEST: u64 = 1 << 30;

/// Says what is wrong where a file (or stream) claims more than it can hold.
pub fn check(path: &Path, is_file: bool) -> Result<(), String> {
    let torn = |error: std::io::Error| format!("it ends too early: {error}");
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let length = file.get_ref().metadata().map_err(|error| error.to_string())?.len();
    let checked = Checked { length };
    if !is_file {
        let mut at = 0;
        while let Some(next) = checked.message(&mut file, at)? {
            at = next;
        }
        return Ok(());
    }
    let mut tail = [0; 10];
    file.seek(SeekFrom::Start(length.saturating_sub(10))).map_err(torn)?;
    file.read_exact(&mut tail).map_err(torn)?;
    let [a, b, c, d, ..] = tail;
    let footer = u64::try_from(i32::from_le_bytes([a, b, c, d])).unwrap_or(u64::MAX);
    let start = length.checked_sub(10).and_then(|end| end.checked_sub(footer)).ok_or("its footer claims to be longer than the file")?;
    let mut bytes = vec![0; footer as usize];
    file.seek(SeekFrom::Start(start)).map_err(torn)?;
    file.read_exact(&mut bytes).map_err(torn)?;
    let footer = root_as_footer(&bytes).map_err(|error| error.to_string())?;
    let blocks = footer.recordBatches().into_iter().flatten().chain(footer.dictionaries().into_iter().flatten());
    for block in blocks {
        let at = u64::try_from(block.offset()).map_err(|_| "a block begins before the file")?;
        let claimed = u64::try_from(block.bodyLength()).ok().zip(u64::try_from(block.metaDataLength()).ok());
        let end = claimed.and_then(|(body, metadata)| at.checked_add(body)?.checked_add(metadata));
        if end.is_none_or(|end| end > length) {
            return Err("a block claims to end behind the file".into());
        }
        checked.message(&mut file, at)?;
    }
    Ok(())
}

struct Checked {
    length: u64,
}

impl Checked {
    /// Checks the message at a place; returns where the next one begins, or nothing at the end.
    fn message(&self, file: &mut BufReader<File>, at: u64) -> Result<Option<u64>, String> {
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
        let metadata = u64::try_from(i32::from_le_bytes(word)).map_err(|_| "a message of negative length")?;
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
        let length = u64::try_from(message.bodyLength()).map_err(|_| "a message of negative length")?;
        let end = body.checked_add(length).filter(|end| *end <= self.length).ok_or("a message claims to end behind the file")?;
        self.buffers(file, &message, body, length)?;
        Ok(Some(end))
    }

    /// Checks what the compressed buffers of a message claim to unpack to.
    fn buffers(&self, file: &mut BufReader<File>, message: &Message<'_>, body: u64, length: u64) -> Result<(), String> {
        let batch = message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
        let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Ok(()) };
        for buffer in batch.buffers().into_iter().flatten() {
            let place = u64::try_from(buffer.offset()).ok().zip(u64::try_from(buffer.length()).ok());
            let Some((offset, packed)) = place.filter(|(offset, packed)| offset.checked_add(*packed).is_some_and(|end| end <= length)) else {
                return Err("a buffer claims to end behind its message".into());
            };
            if packed < 8 {
                continue;
            }
            let mut claimed = [0; 8];
            file.seek(SeekFrom::Start(body + offset)).and_then(|_| file.read_exact(&mut claimed)).map_err(|error| error.to_string())?;
            // −1 says that the buffer is not packed after all.
            let claimed = i64::from_le_bytes(claimed);
            let most = packed.saturating_mul(MOST_PACKED).min(LARGEST);
            if claimed != -1 && u64::try_from(claimed).is_ok_and(|claimed| claimed > most) || claimed < -1 {
                return Err(format!("a buffer of {packed} bytes claims to unpack to {claimed}"));
            }
        }
        Ok(())
    }
}
