//! Callbacks during a certification.

use crate::data::Samples;
use std::path::{Path, PathBuf};

/// Called after each file has been read; dropped after the last.
pub type OnRead<'a> = Box<dyn Fn(&Path) + Sync + 'a>;

/// Callbacks during a certification. All are optional.
pub trait CertifyObserver {
    /// Called before files (or patterns of files) are read.
    fn reads<'a>(&'a self, _files: &[&[PathBuf]]) -> OnRead<'a> {
        Box::new(|_| {})
    }

    /// Called when rows to judge have been read and scored; some may be unreadable.
    fn scored(&self, _samples: &Samples) {}

    /// Called at the end of a stage.
    fn stage(&self, _name: &str) {}
}

/// Ignores everything.
impl CertifyObserver for () {}
