//! `fsync` on file systems that may not have it.

use std::{fs::File, path::Path};

/// Makes sure that the names in a folder are on disk, as far as its file system can and the folder
/// may be opened: one may be written but not read.
pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    match File::open(folder) {
        Ok(folder) => synced(folder.sync_all()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// The outcome of an `fsync`, which is well where the file system has none: CIFS, FUSE, AFS and EOS
/// mounts answer EINVAL, ENOTSUP or ENOSYS, above all for folders. What is full or broken stays an
/// error.
pub fn synced(outcome: std::io::Result<()>) -> std::io::Result<()> {
    match outcome {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}
