//! Compression filters of HDF5 files that are missing in the reader crate: LZF (h5py), Blosc 1
//! (PyTables, hdf5plugin) and Zstandard.
//!
//! Every length comes from the file, so each is checked before it is used, and nothing is allocated
//! that the input could not fill.

use flate2::{Decompress, FlushDecompress, Status};
use std::io::Read;

/// Maximum size of a decoded chunk.
const LARGEST: usize = 256 << 20;

/// Decodes LZF. `size` is the size of the decoded chunk according to the file.
pub fn lzf(input: &[u8], size: usize) -> Result<Vec<u8>, &'static str> {
    const CUT: &str = "LZF data ends too early";
    // Three bytes decode to at most 264, so a larger size is false.
    if size > LARGEST || size > input.len().saturating_mul(88) {
        return Err("LZF data claims a size that it cannot have");
    }
    let mut output = Vec::with_capacity(size);
    let byte = |at: usize| input.get(at).map(|byte| usize::from(*byte)).ok_or(CUT);
    let mut at = 0;
    while at < input.len() {
        let control = byte(at)?;
        at += 1;
        if control < 32 {
            let end = at + control + 1;
            output.extend_from_slice(input.get(at..end).ok_or(CUT)?);
            at = end;
        } else {
            let mut length = (control >> 5) + 2;
            if length == 9 {
                length += byte(at)?;
                at += 1;
            }
            let distance = ((control & 31) << 8) + byte(at)? + 1;
            at += 1;
            repeat(&mut output, distance, length).ok_or("LZF data points before its start")?;
        }
        if output.len() > size {
            return Err("LZF data is longer than it claims");
        }
    }
    if output.len() == size { Ok(output) } else { Err(CUT) }
}

/// Appends `length` bytes from `distance` before the end; source and destination may overlap.
fn repeat(output: &mut Vec<u8>, distance: usize, length: usize) -> Option<()> {
    let from = output.len().checked_sub(distance)?;
    let mut left = length;
    while left > 0 {
        // If they overlap, the available bytes double with each iteration.
        let take = left.min(output.len() - from);
        output.extend_from_within(from..from + take);
        left -= take;
    }
    Some(())
}

/// Decodes Zstandard.
pub fn zstd(input: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut output = vec![];
    zstd::Decoder::new(input)?.take(LARGEST as u64).read_to_end(&mut output)?;
    Ok(output)
}

/// Decodes one Blosc 1 frame.
pub fn blosc(input: &[u8]) -> Result<Vec<u8>, &'static str> {
    const CUT: &str = "Blosc data ends too early";
    let number = |at: usize| {
        Some(u32::from_le_bytes(input.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize)
    };
    let (flags, typesize) = (*input.get(2).ok_or(CUT)?, usize::from(*input.get(3).ok_or(CUT)?));
    let (size, block, length) =
        (number(4).ok_or(CUT)?, number(8).ok_or(CUT)?, number(12).ok_or(CUT)?);
    if input[0] > 2 {
        return Err("Blosc data of a later version than 1");
    }
    if size > LARGEST || length > input.len() {
        return Err("Blosc data claims a size that it cannot have");
    }
    if size == 0 {
        return Ok(vec![]);
    }
    if flags & 2 != 0 {
        return input.get(16..16 + size).map(<[u8]>::to_vec).ok_or(CUT);
    }
    if block == 0 || typesize == 0 || size.div_ceil(block) > input.len() / 4 {
        return Err("Blosc data with an invalid header");
    }
    let mut codec = Codec::new(flags >> 5)?;
    let mut output = vec![0; size];
    let mut scratch = vec![0; block.min(size)];
    for (i, target) in output.chunks_mut(block).enumerate() {
        let start = number(16 + 4 * i).ok_or(CUT)?;
        let mut rest = input.get(start..length).ok_or(CUT)?;
        // Whole blocks are split into one stream for each byte of the element, unless the flag says
        // otherwise.
        let split =
            flags & 16 == 0 && typesize <= 16 && target.len() == block && block / typesize >= 128;
        let streams = if split { typesize } else { 1 };
        if target.len() % streams != 0 {
            return Err("Blosc data with a block that does not divide");
        }
        let shuffled = flags & 5 != 0;
        let decoded = if shuffled { &mut scratch[..target.len()] } else { &mut *target };
        for part in decoded.chunks_mut(decoded.len() / streams) {
            let (head, tail) = rest.split_first_chunk::<4>().ok_or(CUT)?;
            let (stream, tail) =
                tail.split_at_checked(u32::from_le_bytes(*head) as usize).ok_or(CUT)?;
            rest = tail;
            // A stream that would not shrink is stored.
            if stream.len() == part.len() {
                part.copy_from_slice(stream);
            } else {
                codec.decode(stream, part).ok_or("Blosc data that its codec cannot decode")?;
            }
        }
        if flags & 1 != 0 {
            unshuffle(&scratch[..target.len()], target, typesize);
        } else if shuffled {
            unshuffle_bits(&scratch[..target.len()], target, typesize);
        }
    }
    Ok(output)
}

/// The codec inside a Blosc frame.
enum Codec {
    Blosclz(Vec<u8>),
    Lz4,
    Zlib(Box<Decompress>),
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl Codec {
    fn new(id: u8) -> Result<Codec, &'static str> {
        Ok(match id {
            0 => Codec::Blosclz(vec![]),
            1 => Codec::Lz4,
            2 => return Err("Blosc data compressed with Snappy, which is not supported"),
            3 => Codec::Zlib(Box::new(Decompress::new(true))),
            4 => {
                Codec::Zstd(zstd::bulk::Decompressor::new().map_err(|_| "no memory for Zstandard")?)
            }
            _ => return Err("Blosc data with an unknown codec"),
        })
    }

    /// Decodes into `output`; `None` on failure.
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Option<()> {
        let written = match self {
            Codec::Blosclz(text) => {
                text.clear();
                blosclz(input, output.len(), text)?;
                output.get_mut(..text.len())?.copy_from_slice(text);
                text.len()
            }
            Codec::Lz4 => lz4_flex::block::decompress_into(input, output).ok()?,
            Codec::Zlib(zlib) => {
                zlib.reset(true);
                let status = zlib.decompress(input, output, FlushDecompress::Finish).ok()?;
                if status != Status::StreamEnd {
                    return None;
                }
                zlib.total_out() as usize
            }
            Codec::Zstd(zstd) => zstd.decompress_to_buffer(input, output).ok()?,
        };
        (written == output.len()).then_some(())
    }
}

/// Decodes BloscLZ, a variant of LZF with long matches and distances.
fn blosclz(input: &[u8], size: usize, output: &mut Vec<u8>) -> Option<()> {
    let mut at = 0;
    let mut next = || {
        at += 1;
        input.get(at - 1).map(|byte| usize::from(*byte))
    };
    // The top three bits of the first byte are a version.
    let mut control = Some(next()? & 31);
    while let Some(code) = control {
        if code < 32 {
            for _ in 0..=code {
                output.push(next()? as u8);
            }
        } else {
            let mut length = (code >> 5) + 2;
            if length == 9 {
                loop {
                    let more = next()?;
                    length += more;
                    if more != 255 {
                        break;
                    }
                }
            }
            let mut distance = ((code & 31) << 8) + next()? + 1;
            if distance == 1 << 13 {
                distance += (next()? << 8) + next()?;
            }
            if output.len() + length > size {
                return None;
            }
            repeat(output, distance, length)?;
        }
        control = next();
    }
    (output.len() == size).then_some(())
}

/// Reverts the byte shuffle; a remainder at the end was not shuffled.
fn unshuffle(from: &[u8], to: &mut [u8], typesize: usize) {
    fn fixed<const N: usize>(from: &[u8], to: &mut [u8]) {
        let count = to.len() / N;
        let planes: [&[u8]; N] = std::array::from_fn(|byte| &from[byte * count..][..count]);
        for (i, element) in to.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            *element = std::array::from_fn(|byte| planes[byte][i]);
        }
    }
    match typesize {
        2 => fixed::<2>(from, to),
        4 => fixed::<4>(from, to),
        8 => fixed::<8>(from, to),
        _ => {
            let count = to.len() / typesize;
            for (i, element) in to.chunks_exact_mut(typesize).enumerate() {
                for (byte, value) in element.iter_mut().enumerate() {
                    *value = from[byte * count + i];
                }
            }
        }
    }
    let whole = to.len() - to.len() % typesize;
    to[whole..].copy_from_slice(&from[whole..]);
}

/// Reverts the bit shuffle. Blosc does not shuffle blocks whose number of elements is not a
/// multiple of eight.
fn unshuffle_bits(from: &[u8], to: &mut [u8], typesize: usize) {
    let count = to.len() / typesize;
    if !count.is_multiple_of(8) {
        return to.copy_from_slice(from);
    }
    let row = count / 8;
    for byte in 0..typesize {
        let planes: [&[u8]; 8] = std::array::from_fn(|bit| &from[(byte * 8 + bit) * row..][..row]);
        for (group, elements) in to.chunks_exact_mut(8 * typesize).enumerate() {
            let bits =
                transpose(u64::from_le_bytes(planes.map(|plane| plane[group]))).to_le_bytes();
            for (element, bits) in elements.chunks_exact_mut(typesize).zip(bits) {
                element[byte] = bits;
            }
        }
    }
    let whole = count * typesize;
    to[whole..].copy_from_slice(&from[whole..]);
}

/// Transposes a matrix of eight by eight bits.
fn transpose(mut x: u64) -> u64 {
    for (shift, mask) in
        [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)]
    {
        let t = (x ^ (x >> shift)) & mask;
        x ^= t ^ (t << shift);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lzf_reads_literals_and_overlapping_repeats() {
        // "ab", then six bytes from two before; then a long repeat of nine from one before.
        assert_eq!(lzf(b"\x01ab\x80\x01", 8).unwrap(), b"abababab");
        assert_eq!(lzf(b"\x00x\xe0\x00\x00", 10).unwrap(), b"xxxxxxxxxx");
        for (input, size) in [
            (&b"\x01a"[..], 2),
            (b"\x20\x00", 3),
            (b"\x00x\xe0", 10),
            (b"\x00x", 2),
            (b"\x01ab", 1),
            (b"\x00x", usize::MAX),
        ] {
            assert!(lzf(input, size).is_err());
        }
    }

    fn frame(flags: u8, typesize: u8, size: u32, stream: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 1, flags, typesize];
        for number in [size, size, 24 + stream.len() as u32, 20, stream.len() as u32] {
            frame.extend(number.to_le_bytes());
        }
        frame.extend(stream);
        frame
    }

    #[test]
    fn blosc_reads_stored_and_compressed_frames() {
        assert_eq!(blosc(b"\x02\x01\x02\x01\x03\0\0\0\x03\0\0\0\x13\0\0\0abc").unwrap(), b"abc");
        // BloscLZ: a literal, then eleven from one before.
        assert_eq!(blosc(&frame(0x10, 1, 12, b"\x00x\xe0\x02\x00")).unwrap(), [b'x'; 12]);
        // LZ4: the same.
        assert_eq!(blosc(&frame(0x30, 1, 12, b"\x12x\x01\x00\x50xxxxx")).unwrap(), [b'x'; 12]);
        // Stored, shuffled.
        assert_eq!(blosc(&frame(0x11, 2, 6, b"aceb\x64f")).unwrap(), b"abcdef");
    }

    #[test]
    fn blosc_refuses_what_is_broken() {
        let whole = frame(0x10, 1, 12, b"\x00x\xe0\x02\x00");
        for end in 0..whole.len() {
            assert!(blosc(&whole[..end]).is_err());
        }
        assert!(blosc(&frame(0x50, 1, 12, b"\x00")).unwrap_err().contains("Snappy"));
        assert!(blosc(&frame(0x10, 1, u32::MAX, b"\x00x")).is_err());
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut broken = whole.clone();
                broken[at] ^= 1 << bit;
                let _ = blosc(&broken);
            }
        }
    }

    #[test]
    fn bits_come_back_in_place() {
        // Eight elements of one byte; plane 0 holds the lowest bit of each.
        let mut to = [0; 8];
        unshuffle_bits(&[0b1000_0001, 0, 0, 0, 0, 0, 0, 0b0000_0010], &mut to, 1);
        assert_eq!(to, [1, 128, 0, 0, 0, 0, 0, 1]);
    }
}
