//! Writes HDF5 files of one-dimensional float32 datasets in the root group, chunk by chunk: what
//! made data need of the format.
//!
//! The oldest layout, which every library reads (HDF5 file format specification 1.0): superblock 0,
//! object headers 1, a symbol table, chunks found by a B-tree of version 1, their bytes shuffled
//! and deflated. Chunks come first and what says where they are last, so that memory holds a chunk
//! of each dataset and 16 bytes for each chunk written.

use flate2::{Compression, write::ZlibEncoder};
use rayon::prelude::*;
use std::io::{self, Seek, SeekFrom, Write};

/// Rows of a chunk.
pub const CHUNK: usize = 16_384;
const UNDEFINED: u64 = u64::MAX;
const SUPERBLOCK: u64 = 96;
/// A node of the B-tree of chunks has up to twice as many children: the library's constant for this
/// superblock.
const HALF_NODE: usize = 32;
/// The same for the tree of the group, which has but one child here.
const HALF_GROUP_NODE: usize = 16;
const LEVEL: u32 = 1;
const SHUFFLE: u16 = 2;
const DEFLATE: u16 = 1;

/// A file being written.
pub struct Writer<W> {
    file: W,
    /// Where the next object will be.
    end: u64,
    rows: usize,
    datasets: Vec<Dataset>,
}

struct Dataset {
    name: String,
    /// Address and stored bytes of each chunk.
    chunks: Vec<(u64, u32)>,
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file with datasets of these names, which differ from each other.
    pub fn new(mut file: W, names: impl IntoIterator<Item = String>) -> io::Result<Self> {
        file.write_all(&[0; SUPERBLOCK as usize])?;
        let datasets = names.into_iter().map(|name| Dataset { name, chunks: vec![] }).collect();
        Ok(Self { file, end: SUPERBLOCK, rows: 0, datasets })
    }

    /// Appends rows: a column for each dataset, as long as each other. Only the last may have fewer
    /// than [`CHUNK`] rows.
    pub fn append(&mut self, columns: &[Vec<f32>]) -> io::Result<()> {
        let rows = columns.first().map_or(0, Vec::len);
        let fits = columns.len() == self.datasets.len()
            && columns.iter().all(|column| column.len() == rows);
        if !fits || rows > CHUNK || !self.rows.is_multiple_of(CHUNK) {
            return Err(io::Error::other("the columns are not a chunk of each dataset"));
        }
        let chunks =
            columns.par_iter().map(|column| packed(column)).collect::<io::Result<Vec<_>>>()?;
        for (at, chunk) in chunks.iter().enumerate() {
            let address = self.put(chunk)?;
            self.datasets[at].chunks.push((address, chunk.len() as u32));
        }
        self.rows += rows;
        Ok(())
    }

    /// Writes what says where everything is, and hands the file back.
    pub fn finish(mut self) -> io::Result<W> {
        let mut datasets = std::mem::take(&mut self.datasets);
        // Symbols are found by bisection.
        datasets.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut heap, mut symbols, mut last_name) = (vec![0_u8; 8], vec![], 0_u64);
        for dataset in &datasets {
            let tree = self.chunk_tree(&dataset.chunks)?;
            let header = self.put(&object_header(&self.messages(tree)))?;
            last_name = heap.len() as u64;
            heap.extend_from_slice(dataset.name.as_bytes());
            heap.resize((heap.len() + 1).next_multiple_of(8), 0);
            words(&mut symbols, &[last_name, header, 0, 0, 0]);
        }
        let half_leaf = datasets.len().div_ceil(2).max(4);
        let mut leaf = b"SNOD\x01\0".to_vec();
        leaf.extend((datasets.len() as u16).to_le_bytes());
        leaf.extend(symbols);
        leaf.resize(8 + 2 * half_leaf * 40, 0);
        let leaf = self.put(&leaf)?;

        let mut tree = node(0, 0, 1, [UNDEFINED; 2]);
        words(&mut tree, &[0, leaf, last_name]);
        tree.resize(24 + (2 * HALF_GROUP_NODE + 1) * 8 + 2 * HALF_GROUP_NODE * 8, 0);
        let tree = self.put(&tree)?;

        let mut header = b"HEAP\0\0\0\0".to_vec();
        // 1: no free space in it.
        words(&mut header, &[heap.len() as u64, 1, self.end + 32]);
        let heap_header = self.put(&[header, heap].concat())?;

        let mut symbol_table = vec![];
        words(&mut symbol_table, &[tree, heap_header]);
        let root = self.put(&object_header(&[(0x11, symbol_table)]))?;

        let mut superblock = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0".to_vec();
        superblock.extend((half_leaf as u16).to_le_bytes());
        superblock.extend((HALF_GROUP_NODE as u16).to_le_bytes());
        superblock.extend([0; 4]);
        // Base, free space, end, driver; then the root's entry, whose tree and heap are cached (1).
        words(&mut superblock, &[0, UNDEFINED, self.end, UNDEFINED, 0, root, 1, tree, heap_header]);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&superblock)?;
        self.file.flush()?;
        Ok(self.file)
    }

    /// Appends an object and returns its address.
    fn put(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let address = self.end;
        let padding = bytes.len().next_multiple_of(8) - bytes.len();
        self.file.write_all(bytes)?;
        self.file.write_all(&[0; 8][..padding])?;
        self.end += (bytes.len() + padding) as u64;
        Ok(address)
    }

    /// What an object header says of a dataset, by the kinds of messages.
    fn messages(&self, tree: u64) -> [(u16, Vec<u8>); 5] {
        let mut space = vec![1, 1, 0, 0, 0, 0, 0, 0];
        words(&mut space, &[self.rows as u64]);
        // IEEE, little-endian: sign at 31, exponent of 8 bits at 23 with bias 127, mantissa of 23
        // bits at 0.
        let float = vec![0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
        let fill = vec![2, 3, 2, 1, 0, 0, 0, 0];
        let mut layout = vec![3, 2, 2];
        words(&mut layout, &[tree]);
        layout.extend((CHUNK as u32).to_le_bytes());
        layout.extend(4_u32.to_le_bytes());
        let mut filters = vec![1, 2, 0, 0, 0, 0, 0, 0];
        for (filter, parameter) in [(SHUFFLE, 4), (DEFLATE, LEVEL)] {
            // Without a name, not to be skipped, with one parameter, padded.
            filters.extend([filter, 0, 0, 1].into_iter().flat_map(u16::to_le_bytes));
            filters.extend([parameter, 0].into_iter().flat_map(u32::to_le_bytes));
        }
        [(1, space), (3, float), (5, fill), (8, layout), (11, filters)]
    }

    /// The B-tree of a dataset's chunks, from its leaves up; returns its root.
    fn chunk_tree(&mut self, chunks: &[(u64, u32)]) -> io::Result<u64> {
        let size = 24 + (2 * HALF_NODE + 1) * 24 + 2 * HALF_NODE * 8;
        let mut children: Vec<u64> = chunks.iter().map(|(address, _)| *address).collect();
        // How many chunks a child covers.
        let (mut level, mut span) = (0, 1);
        while level == 0 || children.len() > 1 {
            let nodes = children.len().div_ceil(2 * HALF_NODE);
            let mut parents = vec![];
            for (at, children) in children.chunks(2 * HALF_NODE).enumerate() {
                let left = if at > 0 { self.end - size as u64 } else { UNDEFINED };
                let right = if at + 1 < nodes { self.end + size as u64 } else { UNDEFINED };
                let mut bytes = node(1, level, children.len(), [left, right]);
                let mut first = at * 2 * HALF_NODE * span;
                for child in children {
                    key(&mut bytes, chunks, first);
                    words(&mut bytes, &[*child]);
                    first = (first + span).min(chunks.len());
                }
                key(&mut bytes, chunks, first);
                bytes.resize(size, 0);
                parents.push(self.put(&bytes)?);
            }
            children = parents;
            (level, span) = (level + 1, span * 2 * HALF_NODE);
        }
        Ok(children.first().copied().unwrap_or(UNDEFINED))
    }
}

/// The start of a node of a B-tree of this kind (0 group, 1 chunks), with its neighbours.
fn node(kind: u8, level: u8, children: usize, neighbours: [u64; 2]) -> Vec<u8> {
    let mut bytes = b"TREE".to_vec();
    bytes.extend([kind, level]);
    bytes.extend((children as u16).to_le_bytes());
    words(&mut bytes, &neighbours);
    bytes
}

/// A key of the B-tree of chunks: stored bytes, no filter left out, first row, first byte of the
/// element.
fn key(bytes: &mut Vec<u8>, chunks: &[(u64, u32)], chunk: usize) {
    let stored = chunks.get(chunk).map_or(0, |(_, stored)| *stored);
    words(bytes, &[stored.into(), (chunk * CHUNK) as u64, 0]);
}

fn object_header(messages: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![];
    for (kind, message) in messages {
        let size = message.len().next_multiple_of(8);
        body.extend([*kind, size as u16].into_iter().flat_map(u16::to_le_bytes));
        body.extend([0; 4]);
        body.extend_from_slice(message);
        body.resize(body.len() + size - message.len(), 0);
    }
    let mut header = vec![1, 0];
    header.extend((messages.len() as u16).to_le_bytes());
    header.extend([1, body.len() as u32, 0].into_iter().flat_map(u32::to_le_bytes));
    header.extend(body);
    header
}

/// A chunk as it is stored: filled up with 0, the first bytes of all values, then the second bytes
/// and so on, deflated.
fn packed(column: &[f32]) -> io::Result<Vec<u8>> {
    let mut shuffled = vec![0; 4 * CHUNK];
    for (row, value) in column.iter().enumerate() {
        for (part, byte) in value.to_le_bytes().into_iter().enumerate() {
            shuffled[part * CHUNK + row] = byte;
        }
    }
    let mut encoder = ZlibEncoder::new(vec![], Compression::new(LEVEL));
    encoder.write_all(&shuffled)?;
    encoder.finish()
}

fn words(bytes: &mut Vec<u8>, words: &[u64]) {
    words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::read::{Detail, ReadOptions, read_file};
    use std::io::Cursor;

    fn written(names: usize, rows: usize) -> Vec<u8> {
        let mut writer = Writer::new(Cursor::new(vec![]), (0..names).map(name)).unwrap();
        for start in (0..rows).step_by(CHUNK) {
            let rows = start..rows.min(start + CHUNK);
            writer
                .append(
                    &(0..names)
                        .map(|at| rows.clone().map(|row| value(at, row)).collect())
                        .collect::<Vec<_>>(),
                )
                .unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// Names that are not in their order.
    fn name(at: usize) -> String {
        format!("c{}", at * 7 % 101)
    }

    fn value(at: usize, row: usize) -> f32 {
        (row as f32 - 0.5) * (at as f32 + 0.25)
    }

    #[test]
    fn values_come_back_from_several_levels_of_the_tree() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // 70 chunks fill a node of 64.
        for (names, rows) in [(1, 10), (3, CHUNK), (100, CHUNK + 1), (2, 69 * CHUNK + 5)] {
            std::fs::write(file.path(), written(names, rows)).unwrap();
            let table = read_file(
                file.path(),
                &ReadOptions { detail: Detail::Values, ..ReadOptions::default() },
            )
            .unwrap();
            let features = table.features.clone().unwrap();
            assert_eq!((table.rows.len(), features.len()), (rows, names));
            for (i, feature) in features.iter().enumerate() {
                let at = (0..names).find(|at| name(*at) == **feature).unwrap();
                assert!(
                    (0..rows).all(|row| table.row(row)[i] == value(at, row)),
                    "{names} {rows} {feature}"
                );
            }
        }
    }

    #[test]
    fn a_file_ends_where_it_says() {
        let bytes = written(5, 20_000);
        assert_eq!(bytes[40..48], (bytes.len() as u64).to_le_bytes());
    }

    #[test]
    fn columns_that_are_no_chunk_are_refused() {
        let mut writer =
            Writer::new(Cursor::new(vec![]), ["a".to_owned(), "b".to_owned()]).unwrap();
        assert!(writer.append(&[vec![1.0]]).is_err());
        assert!(writer.append(&[vec![1.0], vec![]]).is_err());
        assert!(writer.append(&[vec![0.0; CHUNK + 1], vec![0.0; CHUNK + 1]]).is_err());
        assert!(writer.append(&[vec![1.0], vec![2.0]]).is_ok());
        assert!(writer.append(&[vec![1.0], vec![2.0]]).is_err(), "a short chunk is the last");
    }
}
