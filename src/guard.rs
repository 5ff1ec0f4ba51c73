//! A last fence around libraries: a panic of theirs, on a damaged file or a device that fails,
//! becomes an error.

use crate::error::{Error, Result};
use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::Once,
};

thread_local! {
    static FENCED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read`; a panic in it says that the file is damaged, and is not printed.
pub fn decode<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    fenced(read).unwrap_or_else(|cause| {
        Err(Error::input(format!("{}: is damaged: {cause}", path.display())))
    })
}

/// What `run` gives; what it says where it panics, which is not printed.
pub fn fenced<T>(run: impl FnOnce() -> T) -> std::result::Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !FENCED.get() {
                usual(info);
            }
        }));
    });
    let before = FENCED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    FENCED.set(before);
    result.map_err(|cause| {
        let text = cause
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| cause.downcast_ref::<&str>().copied());
        text.unwrap_or_default().to_owned()
    })
}

/// Whether so many bytes can be allocated now. What could not be would end the program.
pub fn can_allocate(bytes: u64) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| {
        std::hint::black_box(&mut Vec::<u8>::new()).try_reserve_exact(bytes).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_than_there_is_cannot_be_allocated() {
        assert!(can_allocate(1000) && !can_allocate(1 << 50) && !can_allocate(u64::MAX));
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let error = decode::<()>(Path::new("a.h5"), || panic!("no such block")).unwrap_err();
        assert_eq!(error, Error::input("a.h5: is damaged: no such block"));
        assert_eq!(decode(Path::new("a.h5"), || Ok(1)), Ok(1));
    }
}
