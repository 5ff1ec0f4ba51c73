//! A last fence around libraries that decode files: a panic of theirs on a damaged file becomes an error.

use crate::error::{Error, Result};
use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::Once,
};

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read`; a panic in it says that the file is damaged, and is not printed.
pub fn decode<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !DECODING.get() {
                usual(info);
            }
        }));
    });
    let before = DECODING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    DECODING.set(before);
    result.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(Error::input(format!("{}: is damaged: {text}", path.display())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let error = decode::<()>(Path::new("a.h5"), || panic!("no such block")).unwrap_err();
        assert_eq!(error, Error::input("a.h5: is damaged: no such block"));
        assert_eq!(decode(Path::new("a.h5"), || Ok(1)), Ok(1));
    }
}
