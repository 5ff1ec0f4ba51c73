//! Turns panics in dependencies, on a damaged file or a failing device, into errors.

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

/// Runs `read`; a panic in it becomes an error that the file is damaged.
pub fn decode<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    fenced(read).unwrap_or_else(|cause| {
        Err(Error::input(format!("{}: is damaged: {cause}", path.display())))
    })
}

/// Changes the panic hook of the process such that it does not print panics that [`fenced`] turns
/// into errors. The program calls this once; the library does not change the hook.
pub fn hide_fenced_panics() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !FENCED.get() {
                usual(info);
            }
        }));
    });
}

/// The result of `run`, or the message of a panic in it.
pub fn fenced<T>(run: impl FnOnce() -> T) -> std::result::Result<T, String> {
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

/// Whether this number of bytes can be allocated now. A failed allocation would abort the program.
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
        assert_eq!(error.to_string(), "a.h5: is damaged: no such block");
        assert_eq!(error.exit_code(), 2);
        assert_eq!(decode(Path::new("a.h5"), || Ok(1)).unwrap(), 1);
    }
}
