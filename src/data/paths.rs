//! The files of an experiment: patterns, folders and fingerprints.

use super::read::partition::partition;
use crate::error::{Error, Result};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Expands globs to the files they match and folders to the files in them, in the order of their
/// names. Other paths are kept.
pub fn expand(patterns: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for pattern in patterns {
        let text = pattern.to_string_lossy();
        if pattern.is_dir() {
            paths.extend(files_in(pattern)?);
            continue;
        }
        if pattern.exists() || !text.contains(['*', '?', '[']) {
            paths.push(pattern.clone());
            continue;
        }
        // As in a shell, only patterns that begin with a dot match hidden files.
        let visible =
            glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let matches = glob::glob_with(&text, visible)
            .map_err(|error| Error::input(format!("{text}: not a valid pattern: {error}")))?;
        let before = paths.len();
        for path in matches {
            let path = path.map_err(|error| {
                let path = error.path().to_path_buf();
                Error::reading(&path, error.into())
            })?;
            if !path.is_dir() {
                paths.push(path);
            }
        }
        if paths.len() == before {
            return Err(Error::input(format!("{text}: no file matches")));
        }
    }
    Ok(paths)
}

/// The files of a folder and of the partitions in it (folders such as `run=297050`), without hidden
/// files and other folders.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut paths, mut folders) = (vec![], vec![]);
    look_into(folder, &mut paths, &mut folders)?;
    if paths.is_empty()
        && let Some(inner) = folders.first()
    {
        let inner = inner.display();
        return Err(Error::input(format!(
            "{}: holds no files, only folders; name them, as in \"{inner}\" or \"{inner}/*.parquet\"",
            folder.display()
        )));
    }
    if paths.is_empty() {
        Err(Error::input(format!("{}: holds no files", folder.display())))
    } else {
        Ok(paths)
    }
}

/// Adds the files of a folder and its partitions, and the other folders in it.
fn look_into(folder: &Path, paths: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = vec![];
    for entry in std::fs::read_dir(folder).map_err(|error| Error::reading(folder, error))? {
        entries.push(entry.map_err(|error| Error::reading(folder, error))?.path());
    }
    entries.sort();
    for path in entries.into_iter().filter(|path| !file_name(path).starts_with(['.', '_'])) {
        if path.is_file() {
            paths.push(path);
        } else if path.is_dir() && partition(&file_name(&path)).is_some() && !path.is_symlink() {
            look_into(&path, paths, folders)?;
        } else if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(())
}

/// The last part of a path, or the whole path if there is none.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Size and SHA-256 of a file.
pub fn fingerprint(path: &Path) -> Result<(u64, String)> {
    use sha2::{Digest, Sha256};
    crate::files::regular(path)?;
    let mut file = std::fs::File::open(path).map_err(|error| Error::reading(path, error))?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
    loop {
        let count = file.read(&mut buffer).map_err(|error| Error::reading(path, error))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
