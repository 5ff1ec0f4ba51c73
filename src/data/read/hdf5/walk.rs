//! The search for datasets: follows every link of every group.

use super::{dataset::Dataset, guard::guard, pickle::pickled_names};
use hdf5_reader::{
    Hdf5File,
    btree_v1::collect_btree_v1_leaves_storage,
    btree_v2::{BTreeV2Header, BTreeV2Record, collect_btree_v2_records_storage},
    error::Result as Read,
    fractal_heap::{FractalHeap, FractalHeapDirectBlockCache},
    group::Group,
    io::Cursor,
    local_heap::LocalHeap,
    messages::{
        HdfMessage,
        link::{self, LinkTarget},
        link_info::LinkInfoMessage,
        symbol_table_msg::SymbolTableMessage,
    },
    symbol_table::SymbolTableNode,
};
use std::{collections::HashSet, sync::Arc};

/// Maximum depth of nested groups.
const DEPTH: usize = 64;
/// Maximum number of datasets and groups in a file.
const OBJECTS: usize = 1 << 20;

/// The contents of a file.
pub struct Walk {
    file: Arc<Hdf5File>,
    length: u64,
    seen: HashSet<u64>,
    /// The datasets.
    pub found: Vec<Dataset>,
    /// Paths and descriptions of objects that cannot be read.
    pub unread: Vec<(String, String)>,
    /// The columns of frames that pandas wrote as tables, in the order of the frame, by the path of
    /// the group.
    pub orders: Vec<(String, Vec<String>)>,
    /// Notes on what was not searched, and why.
    pub notes: Vec<String>,
}

impl Walk {
    /// Searches a file of `length` bytes.
    pub fn through(file: Hdf5File, length: u64) -> Result<Self, String> {
        let root = guard(|| file.root_group())?;
        let seen = HashSet::from([root.address()]);
        let mut walk = Self {
            file: Arc::new(file),
            length,
            seen,
            found: vec![],
            unread: vec![],
            orders: vec![],
            notes: vec![],
        };
        walk.group(&root, "", 0);
        walk.found.sort_by(|a, b| a.path.cmp(&b.path));
        walk.unread.sort();
        Ok(walk)
    }

    fn group(&mut self, group: &Group, at: &str, depth: usize) {
        let is_frame = if let Ok(axes) = guard(|| group.attribute("non_index_axes")?.read_string())
        {
            self.orders.push((at.to_owned(), pickled_names(&axes)));
            true
        } else {
            false
        };
        let mut links = match guard(|| links(&self.file, group)) {
            Ok(links) => links,
            Err(error) => return self.notes.push(format!("{at}/ cannot be listed: {error}")),
        };
        links.sort_by(|a, b| a.0.cmp(&b.0));
        links.dedup_by(|a, b| a.0 == b.0);
        let mut groups = vec![];
        for (name, target) in links {
            let path = format!("{at}/{name}");
            if self.found.len() + self.unread.len() > OBJECTS {
                return self.notes.push(format!("{at}/ is not searched: too many datasets"));
            }
            if let LinkTarget::External { filename, path: inside } = target {
                self.unread.push((
                    path,
                    format!("an external link to {filename}:{inside}, which is not followed"),
                ));
                continue;
            }
            match self.dataset(group, &name, &path) {
                Ok(Some(dataset)) => self.found.push(dataset),
                Ok(None) => match guard(|| group.group(&name)) {
                    Ok(inner) => groups.push((name, path, inner)),
                    Err(_) => {
                        // A hard link to neither is to a named type, which has no values.
                        if let LinkTarget::Soft { path: to } = target {
                            self.unread
                                .push((path, format!("a soft link to {to}, which does not exist")));
                        }
                    }
                },
                Err(what) => self.unread.push((path, what)),
            }
        }
        for (name, path, inner) in groups {
            // Groups of these names contain indices of tables (PyTables) or words of categories
            // (pandas).
            if name.starts_with("_i_") || is_frame && name == "meta" {
                continue;
            }
            if !self.seen.insert(inner.address()) {
                self.notes.push(format!("{path} is another name of a group listed already"));
            } else if depth == DEPTH || self.seen.len() > OBJECTS {
                self.notes.push(format!("{path} is not searched: too deep, or too many objects"));
            } else {
                self.group(&inner, &path, depth + 1);
            }
        }
    }

    /// The dataset of a name; `None` if it is not a dataset. The error describes an unreadable one.
    fn dataset(&self, group: &Group, name: &str, path: &str) -> Result<Option<Dataset>, String> {
        match guard(|| group.dataset(name)) {
            Ok(inner) => Dataset::new(path.to_owned(), inner, &self.file, self.length).map(Some),
            Err(error) if error.contains("dataset not found") => Ok(None),
            // Layout class 3 is virtual.
            Err(error) if error.contains("layout class 3") => {
                Err("a virtual dataset, whose values are elsewhere".into())
            }
            Err(error) => Err(format!("damaged or of an unknown kind ({error})")),
        }
    }

    /// A dataset by its path that no group lists: the words of pandas' categories.
    pub fn hidden(&self, path: &str) -> Option<Dataset> {
        let inner = guard(|| self.file.dataset(path)).ok()?;
        Dataset::new(path.to_owned(), inner, &self.file, self.length).ok()
    }
}

/// The links of a group. The crate lists only those that resolve in the same file.
fn links(file: &Hdf5File, group: &Group) -> Read<Vec<(String, LinkTarget)>> {
    let header = file.get_or_parse_header(group.address())?;
    let mut links = vec![];
    for message in &header.messages {
        match message {
            HdfMessage::Link(link) => links.push((link.name.clone(), link.target.clone())),
            HdfMessage::LinkInfo(info)
                if !Cursor::is_undefined_offset(
                    info.fractal_heap_address,
                    file.superblock().offset_size,
                ) =>
            {
                dense_links(file, info, &mut links)?;
            }
            HdfMessage::SymbolTable(table) => old_links(file, table, &mut links)?,
            _ => {}
        }
    }
    Ok(links)
}

/// Links in a heap, used by groups with many links.
fn dense_links(
    file: &Hdf5File,
    info: &LinkInfoMessage,
    into: &mut Vec<(String, LinkTarget)>,
) -> Read<()> {
    let (storage, offsets, lengths) =
        (file.storage(), file.superblock().offset_size, file.superblock().length_size);
    let heap = FractalHeap::parse_at_storage(storage, info.fractal_heap_address, offsets, lengths)?;
    let index =
        BTreeV2Header::parse_at_storage(storage, info.btree_name_index_address, offsets, lengths)?;
    let mut blocks = FractalHeapDirectBlockCache::default();
    for record in
        collect_btree_v2_records_storage(storage, &index, offsets, lengths, None, &[], None)?
    {
        let (BTreeV2Record::LinkNameHash { heap_id, .. }
        | BTreeV2Record::CreationOrder { heap_id, .. }) = record
        else {
            continue;
        };
        let bytes =
            heap.get_object_storage_cached(&heap_id, storage, offsets, lengths, &mut blocks)?;
        let link = link::parse(&mut Cursor::new(&bytes), offsets, lengths, bytes.len())?;
        into.push((link.name, link.target));
    }
    Ok(())
}

/// Links in a symbol table, used by old files.
fn old_links(
    file: &Hdf5File,
    table: &SymbolTableMessage,
    into: &mut Vec<(String, LinkTarget)>,
) -> Read<()> {
    let (storage, offsets, lengths) =
        (file.storage(), file.superblock().offset_size, file.superblock().length_size);
    let heap = LocalHeap::parse_at_storage(storage, table.heap_address, offsets, lengths)?;
    for (_, address) in collect_btree_v1_leaves_storage(
        storage,
        table.btree_address,
        offsets,
        lengths,
        None,
        &[],
        None,
    )? {
        let prefix = storage.read_range(address, 8)?;
        let symbols = usize::from(u16::from_le_bytes([prefix[6], prefix[7]]));
        let bytes = storage.read_range(address, 8 + symbols * (2 * usize::from(offsets) + 24))?;
        for entry in
            SymbolTableNode::parse(&mut Cursor::new(bytes.as_ref()), offsets, lengths)?.entries
        {
            let name = heap.get_string_storage(entry.link_name_offset, storage)?;
            let [a, b, c, d, ..] = entry.scratch;
            // Kind 2 is a soft link, whose path is in the heap.
            let target = match entry.cache_type {
                2 => LinkTarget::Soft {
                    path: heap
                        .get_string_storage(u32::from_le_bytes([a, b, c, d]).into(), storage)?,
                },
                _ => LinkTarget::Hard { address: entry.object_header_address },
            };
            into.push((name, target));
        }
    }
    Ok(())
}
