//! Calls into the HDF5 library, with panics turned into errors.

use hdf5_reader::error::Result as Read;

/// Runs a call into the crate and converts a panic to an error.
pub fn guard<T>(call: impl FnOnce() -> Read<T>) -> Result<T, String> {
    match crate::guard::fenced(call) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the HDF5 reader failed on it: the file is broken".into()),
    }
}
