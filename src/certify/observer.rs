//! Callbacks during a certification.

use crate::data::Samples;
use std::path::{Path, PathBuf};

/// Called with each file that has been read; dropped after the last.
pub type OnRead<'a> = Box<dyn Fn(&Path) + Sync + 'a>;

/// Callbacks during a certification. All of them may be left out.
pub trait CertifyObserver {
    /// Files (or patterns of files) are about to be read.
    fn reads<'a>(&'a self, _files: &[&[PathBuf]]) -> OnRead<'a> {
        Box::new(|_| {})
    }

    /// Rows to judge have been read and scored; some of them may be unreadable.
    fn scored(&self, _samples: &Samples) {}

    /// A stage is done.
    fn stage(&self, _name: &str) {}
}

/// Ignores everything.
impl CertifyObserver for () {}
