//! What is broken in a file.

use std::io::{Read, Write};

/// A row of numbers that a seed and a case decide (SplitMix64).
pub struct Chance(u64);

impl Chance {
    /// The row of a case.
    pub fn new(seed: u64, case: u64) -> Self {
        let mut chance = Self(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ case.wrapping_mul(0xbf58_476d_1ce4_e5b9),
        );
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Numbers that lengths, counts and offsets are replaced by.
const EXTREMES: [u64; 16] = [
    0,
    1,
    7,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7f_ffff_ffff,
    1 << 40,
    1 << 56,
    1 << 60,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Words that numbers and names in text are replaced by.
const WORDS: [&str; 34] = [
    "",
    "0",
    "-1",
    "1",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e400",
    "3e38",
    "1e-320",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "99999999999999999999999999",
    "0.5",
    "null",
    "true",
    "\"x\"",
    "[]",
    "{}",
    "[[1]]",
    "[[-1]]",
    "\u{1f4a5}",
    "\"",
    "'",
    "65536",
    "1000000",
    "\u{0}",
    "run",
];

/// Damages a file as its kind deserves.
pub fn mutate(name: &str, whole: &[u8], chance: &mut Chance) -> Vec<u8> {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    // Half of what is packed is damaged before it is packed again.
    if chance.below(2) == 0 {
        match ending {
            "gz" => {
                let mut text = vec![];
                flate2::read::MultiGzDecoder::new(whole).read_to_end(&mut text).unwrap();
                let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
                packed.write_all(&mutate("x.csv", &text, chance)).unwrap();
                return packed.finish().unwrap();
            }
            "zst" => {
                return zstd::encode_all(
                    mutate("x.csv", &zstd::decode_all(whole).unwrap(), chance).as_slice(),
                    1,
                )
                .unwrap();
            }
            "npz" => return members(whole, chance),
            _ => {}
        }
    }
    let is_text = ["csv", "json", "toml", "txt"].contains(&ending);
    let mut bytes = whole.to_vec();
    for _ in 0..=chance.below(3) {
        if is_text && chance.below(4) > 0 {
            text(&mut bytes, chance)
        } else {
            binary(&mut bytes, chance)
        }
    }
    bytes
}

/// Damages one array of an archive, and packs all again.
fn members(whole: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(whole)).unwrap();
    let broken = chance.below(archive.len());
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for at in 0..archive.len() {
        let mut member = archive.by_index(at).unwrap();
        let mut bytes = vec![];
        member.read_to_end(&mut bytes).unwrap();
        let method = if chance.below(2) == 0 {
            zip::CompressionMethod::Stored
        } else {
            zip::CompressionMethod::Deflated
        };
        out.start_file(
            member.name().unwrap().to_string(),
            zip::write::SimpleFileOptions::default().compression_method(method),
        )
        .unwrap();
        out.write_all(&if at == broken { mutate("x.npy", &bytes, chance) } else { bytes }).unwrap();
    }
    out.finish().unwrap().into_inner()
}

fn range(length: usize, most: usize, chance: &mut Chance) -> std::ops::Range<usize> {
    let start = chance.below(length);
    start..(start + 1 + chance.below(most)).min(length)
}

fn binary(bytes: &mut Vec<u8>, chance: &mut Chance) {
    if bytes.is_empty() {
        return bytes.push(chance.below(256) as u8);
    }
    let length = bytes.len();
    // Headers and footers are small beside what they describe.
    let at = match chance.below(4) {
        0 => chance.below(length.min(512)),
        1 => length - 1 - chance.below(length.min(1024)),
        _ => chance.below(length),
    };
    match chance.below(12) {
        0..2 => (0..=chance.below(8)).for_each(|_| {
            let at = chance.below(length);
            bytes[at] ^= 1 << chance.below(8);
        }),
        2 => bytes[at] = chance.below(256) as u8,
        3..7 => {
            let number = *chance.pick(&EXTREMES);
            let number =
                if chance.below(4) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
            let size = *chance.pick(&[1, 2, 4, 8]);
            let end = (at + size).min(length);
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        7 => bytes.truncate(at),
        8 => drop(bytes.drain(range(length, 64, chance))),
        9 => {
            let copied = bytes[range(length, 256, chance)].to_vec();
            bytes.splice(at..at, copied);
        }
        10 => {
            let copied = bytes[range(length, 64, chance)].to_vec();
            let end = (at + copied.len()).min(length);
            bytes[at..end].copy_from_slice(&copied[..end - at]);
        }
        _ => {
            let value = *chance.pick(&[0, 0xff, 0x80, 0x7f]);
            let range = range(length, 32, chance);
            bytes[range].fill(value);
        }
    }
}

/// Places of the words and numbers of a text.
fn words(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut words = vec![];
    let mut start = None;
    for (at, byte) in bytes.iter().chain([&b' ']).enumerate() {
        let inside = byte.is_ascii_alphanumeric() || b".+-_".contains(byte);
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn text(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let lines: Vec<usize> = std::iter::once(0)
        .chain(bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1))
        .collect();
    let line = |chance: &mut Chance| {
        let at = chance.below(lines.len());
        lines[at]..lines.get(at + 1).copied().unwrap_or(bytes.len())
    };
    let words = words(bytes);
    match chance.below(10) {
        0..4 if !words.is_empty() => {
            let word = chance.pick(&words).clone();
            bytes.splice(word, chance.pick(&WORDS).bytes());
        }
        4 if words.len() > 1 => {
            let copied = bytes[chance.pick(&words).clone()].to_vec();
            let word = chance.pick(&words).clone();
            bytes.splice(word, copied);
        }
        5 => drop(bytes.drain(line(chance))),
        6 => {
            let copied = bytes[line(chance)].to_vec();
            let at = line(chance).start;
            bytes.splice(at..at, copied);
        }
        7 => {
            let sign = *chance.pick(b"\"',;:[]{}()=#\t\r\n\0");
            let at = chance.below(bytes.len() + 1);
            bytes.insert(at, sign);
        }
        8 => {
            // A sign that text is made of becomes another, everywhere.
            let (from, to) = (*chance.pick(b",;:[]{}\"\n."), *chance.pick(b",;:[]{}\"\n\t "));
            bytes.iter_mut().filter(|byte| **byte == from).for_each(|byte| *byte = to);
        }
        _ => {
            let (open, times) = (*chance.pick(b"[{(-\"!"), *chance.pick(&[3, 100, 5000]));
            let at = chance.below(bytes.len() + 1);
            bytes.splice(at..at, std::iter::repeat_n(open, times));
        }
    }
}
