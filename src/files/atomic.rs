//! Atomic writes of files.

use super::lock;
use crate::{
    error::{Error, Result},
    files::sync::{sync_folder, synced},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::LazyLock,
};

/// Whether a file name is that of an unfinished write.
pub fn is_part(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".part")
}

/// Writes a JSON file atomically.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
    text.push('\n');
    write_atomically(path, text.as_bytes())
}

/// Reads a JSON file written by a training.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    super::regular(path)?;
    let text = fs::read_to_string(path).map_err(|error| Error::reading(path, error))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::input(format!("{}: not what `lumisift train` writes: {error}", path.display()))
    })
}

/// Writes a temporary file next to the target, flushes it to disk, then renames it: readers see the
/// old or the new file, never a part.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.is_empty() || path.is_dir() {
        return Err(Error::input(format!("{}: is not a file name to write to", path.display())));
    }
    // Checked first, because the folder may have been removed with the lock.
    lock::check(path)?;
    if let Some(folder) =
        path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    {
        return Err(Error::input(format!(
            "{}: its folder {} does not exist",
            path.display(),
            folder.display()
        )));
    }
    let beside = path.with_file_name(format!(".{name}.{}.part", *WRITER));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        synced(file.sync_all())
    };
    let failed = |error: std::io::Error| cannot_write(path, error);
    write()
        .map_err(failed)
        // Checked again, because the lock may have been lost during the write.
        .and_then(|()| lock::check(path))
        .and_then(|()| fs::rename(&beside, path).map_err(failed))
        .inspect_err(|_| drop(fs::remove_file(&beside)))?;
    // The new name must be on disk too.
    sync_folder(
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
    )
    .map_err(failed)
}

/// The error for a file of an experiment that cannot be written: another process took over its
/// folder, or else the error of the system.
pub fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    lock::check(path).err().unwrap_or_else(|| Error::writing(path, error))
}

/// Distinguishes the unfinished files of this process from those of others, also on other machines.
static WRITER: LazyLock<String> = LazyLock::new(lock::token);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn file_systems_without_fsync_are_no_failure() {
        let outcome = |number| synced(Err(std::io::Error::from_raw_os_error(number)));
        // EINVAL, ENOTSUP and ENOSYS; EIO, ENOSPC and EDQUOT.
        assert!([22, 95, 38].into_iter().all(|number| outcome(number).is_ok()));
        assert!([5, 28, 122].into_iter().all(|number| outcome(number).is_err()));
        assert!(sync_folder(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn nothing_is_left_beside_a_file_that_could_not_be_written() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(
            write_atomically(&place.path().join("no/such/file"), b"x").unwrap_err().exit_code(),
            2
        );
        assert_eq!(write_atomically(place.path(), b"x").unwrap_err().exit_code(), 2);
        write_atomically(&place.path().join("file"), b"x").unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
