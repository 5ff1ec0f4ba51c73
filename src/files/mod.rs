//! Kinds of files, and identity of files behind paths.

pub mod atomic;
pub mod folder;
pub mod lock;
mod sync;
pub mod tables;

use crate::error::{Error, Result};
use std::{
    fs::{self, FileType},
    path::{Component, Path, PathBuf},
};

/// The kind of a file that is neither a regular file nor a folder.
#[cfg(unix)]
fn special(kind: FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    match () {
        () if kind.is_fifo() => Some("a pipe"),
        () if kind.is_socket() => Some("a socket"),
        () if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        () => None,
    }
}

#[cfg(not(unix))]
fn special(_: FileType) -> Option<&'static str> {
    None
}

/// Fails for pipes, devices and sockets, which cannot be read more than once. Folders pass: their
/// readers have their own errors.
pub fn regular(path: &Path) -> Result<()> {
    let kind = fs::metadata(path).map_err(|error| Error::reading(path, error))?.file_type();
    match special(kind) {
        None => Ok(()),
        Some(what) => Err(Error::input(format!(
            "{}: is {what}; expected a regular file: write it to a file first",
            path.display()
        ))),
    }
}

/// The identity of a file, independent of the spelling of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    path: PathBuf,
    /// Device and inode of a file that exists.
    node: Option<(u64, u64)>,
}

impl Identity {
    /// The identity of the file at a path, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: canonical(path), node: node(path) }
    }

    /// The absolute path without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both are the same file: by path, or by device and inode.
    pub fn is(&self, other: &Self) -> bool {
        self.path == other.path || (self.node.is_some() && self.node == other.node)
    }
}

#[cfg(unix)]
fn node(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    // Some file systems have no inode numbers.
    fs::metadata(path)
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
        .filter(|(_, inode)| *inode != 0)
}

#[cfg(not(unix))]
fn node(_: &Path) -> Option<(u64, u64)> {
    None
}

/// The absolute path without links and `..`; its end need not exist.
fn canonical(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let known =
        absolute.ancestors().find_map(|folder| Some((folder, fs::canonicalize(folder).ok()?)));
    let Some((folder, mut found)) = known else { return absolute };
    let rest = absolute.strip_prefix(folder).unwrap_or(Path::new(""));
    for part in rest.components() {
        match part {
            Component::ParentDir => drop(found.pop()),
            part => found.push(part),
        }
    }
    // The part after `..` may exist again.
    if rest.components().any(|part| part == Component::ParentDir) {
        canonical(&found)
    } else {
        found
    }
}

/// The reason why no file can be written at a path: it is a folder, a device, a broken link, or
/// inside a file.
pub fn no_file(path: &Path) -> Option<String> {
    match fs::metadata(path).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_dir() => Some("is a folder; expected the name of a file".into()),
        Ok(kind) => {
            special(kind).map(|what| format!("is {what}; expected the name of a regular file"))
        }
        Err(_) if path.file_name().is_none() => Some("is not the name of a file".into()),
        Err(_) => broken_link(path).or_else(|| nothing_within(path)),
    }
}

/// The reason why no folder can be at a path: it is a file, a broken link, or inside a file.
pub fn no_folder(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(metadata) => (!metadata.is_dir()).then(|| "is a file; expected a folder".into()),
        Err(_) => broken_link(path).or_else(|| nothing_within(path)),
    }
}

fn broken_link(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    fs::metadata(path).is_err().then(|| {
        format!(
            "is a link to {}, which does not exist; remove the link or choose another name",
            target.display()
        )
    })
}

/// The reason if the nearest existing part of a path is not a folder.
fn nothing_within(path: &Path) -> Option<String> {
    let above = path.ancestors().skip(1).find(|folder| fs::symlink_metadata(folder).is_ok())?;
    match broken_link(above) {
        Some(reason) => Some(format!("is in {}, which {reason}", above.display())),
        None if above.is_dir() => None,
        None => Some(format!("is in {}, which is a file; expected a folder", above.display())),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_known_by_every_name() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("folder/a"), "x").unwrap();
        fs::write(at("folder/b"), "x").unwrap();
        symlink("folder", at("link")).unwrap();
        symlink("folder/a", at("to-a")).unwrap();
        fs::hard_link(at("folder/a"), at("hard")).unwrap();
        let a = Identity::new(&at("folder/a"));
        for same in ["link/a", "to-a", "hard", "folder/../link/./a", "new/../folder/a"] {
            assert!(a.is(&Identity::new(&at(same))), "{same}");
        }
        assert!(!a.is(&Identity::new(&at("folder/b"))) && !a.is(&Identity::new(&at("folder/c"))));
        // A file that does not exist yet has an identity too.
        assert!(Identity::new(&at("link/new/c")).is(&Identity::new(&at("folder/new/c"))));
    }

    #[test]
    fn places_where_nothing_can_be_written_are_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("file"), "x").unwrap();
        symlink("nowhere", at("broken")).unwrap();
        let file = |name: &str| no_file(&at(name)).unwrap_or_default();
        assert!(file("file").is_empty() && file("new/folder/x").is_empty());
        assert!(
            file("").contains("is a folder") && file("broken").contains("is a link to nowhere")
        );
        assert!(
            file("file/x").contains("which is a file")
                && file("broken/x").contains("which is a link to nowhere")
        );
        assert!(no_file(Path::new("/dev/null")).unwrap().contains("is a device"));
        let folder = |name: &str| no_folder(&at(name)).unwrap_or_default();
        assert!(folder("").is_empty() && folder("new/folder").is_empty());
        assert!(
            folder("file").contains("is a file")
                && folder("file/x").contains("which is a file")
                && folder("broken").contains("is a link")
        );
    }

    #[test]
    fn devices_and_pipes_are_refused() {
        let error = regular(Path::new("/dev/zero")).unwrap_err();
        assert!(
            error.exit_code() == 2
                && error.to_string().contains("is a device; expected a regular file"),
            "{error}"
        );
        let place = tempfile::tempdir().unwrap();
        let pipe = place.path().join("pipe");
        if std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .is_ok_and(|status| status.success())
        {
            assert!(regular(&pipe).unwrap_err().to_string().contains("is a pipe"));
        }
    }
}
