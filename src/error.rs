//! The error type: whose mistake it was decides the exit code.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What went wrong. The message names the file, line or key, what was found and what was expected.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The user can mend it: a config, an argument or a data file. Exit code 2.
    #[error("{0}")]
    Input(String),
    /// A column that is asked for by name is missing or cannot be used. Exit code 2.
    #[error("{message}")]
    Column {
        /// The name that was asked for.
        name: String,
        /// What is wrong with it.
        problem: ColumnProblem,
        /// The whole message.
        message: String,
    },
    /// A file or folder that the system does not let this process read or write. Exit code 2 for
    /// reading what is not there, is not readable or is a folder; else 1.
    #[error("{}", io_message(.path, *.access, .source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        access: Access,
        /// What the system answered.
        source: Arc<io::Error>,
    },
    /// The machine or the program failed: a lost device, a diverged training. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Out of device memory. Exit code 1.
    #[error("{0}")]
    Memory(String),
    /// The process was asked to stop for now. The message says how to continue.
    #[error("{message}")]
    Paused {
        /// How to continue.
        message: String,
        /// 130 after an interrupt, 75 otherwise (`EX_TEMPFAIL` of `sysexits.h`).
        code: u8,
    },
    /// Another error, with where it happened. Its exit code is that of the other.
    #[error("{message}")]
    Within {
        /// The whole message, that of the other error included.
        message: String,
        /// The other error.
        source: Box<Error>,
    },
}

/// What was tried with a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read it.
    Read,
    /// To write it.
    Write,
}

/// What is wrong with a column that is asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnProblem {
    /// The file has no column of this name.
    NoColumn,
    /// The records of a JSON file have no key of this name.
    NoKey,
    /// The column exists and cannot be read.
    Unreadable,
}

/// A result with Lumisift's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error the user can mend.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    /// A column of this name is missing or cannot be used.
    pub fn column(name: &str, problem: ColumnProblem, message: String) -> Self {
        Self::Column { name: name.into(), problem, message }
    }

    /// A failure of the machine or the program.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// A file or folder that cannot be read.
    pub fn reading(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), access: Access::Read, source: Arc::new(error) }
    }

    /// A file or folder that cannot be written.
    pub fn writing(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), access: Access::Write, source: Arc::new(error) }
    }

    /// 2 for the user's mistakes, 1 for failures.
    pub fn exit_code(&self) -> u8 {
        match self.innermost() {
            Self::Paused { code, .. } => *code,
            Self::Input(_) | Self::Column { .. } => 2,
            Self::Io { access: Access::Read, source, .. } if is_mistake(source) => 2,
            _ => 1,
        }
    }

    /// The same error with its message changed, to add where it happened.
    pub fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            paused @ Self::Paused { .. } => paused,
            Self::Within { message, source } => Self::Within { message: change(message), source },
            error => Self::Within { message: change(error.to_string()), source: Box::new(error) },
        }
    }

    /// Whether a device is out of memory.
    pub fn is_memory(&self) -> bool {
        matches!(self.innermost(), Self::Memory(_))
    }

    /// The error without the places that were added to it.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::Within { source, .. } => source.innermost(),
            error => error,
        }
    }
}

/// Whether the user can mend what the system answered.
fn is_mistake(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | PermissionDenied | IsADirectory)
}

fn io_message(path: &Path, access: Access, error: &io::Error) -> String {
    let path = path.display();
    match (access, error.kind()) {
        (Access::Write, _) => format!("{path}: cannot be written: {error}"),
        (_, io::ErrorKind::NotFound) => format!("{path}: no such file"),
        (_, io::ErrorKind::PermissionDenied) => {
            format!("{path}: not readable (permission denied)")
        }
        (_, io::ErrorKind::IsADirectory) => {
            format!("{path}: is a folder; name a file or a pattern like {path}/*.csv")
        }
        _ => format!("{path}: cannot be read: {error}"),
    }
}

/// ` (did you mean "x"?)` where one of `known` is near to `found`, else nothing.
pub fn suggestion<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known
        .into_iter()
        .map(|name| {
            (strsim::damerau_levenshtein(&found.to_lowercase(), &name.to_lowercase()), name)
        })
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((distance, name)) if distance <= 1 + name.len() / 3 => {
            format!(" (did you mean \"{name}\"?)")
        }
        _ => String::new(),
    }
}

/// Names in a row, cut short where there are many or they are long.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 24;
    const LONGEST: usize = 80;
    let names: Vec<&str> = names.into_iter().collect();
    let cut = |name: &&str| match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => (*name).to_owned(),
    };
    let shown: Vec<String> = names.iter().take(MOST).map(cut).collect();
    let more =
        if names.len() > MOST { format!(", … ({} in all)", names.len()) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// The first names in a row, and how many more there are.
pub fn first_few<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 5;
    let names: Vec<&str> = names.into_iter().collect();
    match names.len() {
        0..=MOST => names.join(", "),
        all => format!("{} and {} more", names[..MOST].join(", "), all - MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_added_keeps_exit_code_and_source() {
        use std::error::Error as _;
        let absent = Error::reading(Path::new("a.csv"), io::ErrorKind::NotFound.into());
        assert_eq!((absent.exit_code(), absent.to_string()), (2, "a.csv: no such file".into()));
        let full = Error::writing(Path::new("b"), io::ErrorKind::StorageFull.into())
            .map(|message| format!("x: {message}"))
            .map(|message| format!("y: {message}"));
        assert!(full.to_string().starts_with("y: x: b: cannot be written: "));
        assert_eq!(full.exit_code(), 1);
        assert!(matches!(full.innermost(), Error::Io { access: Access::Write, .. }));
        let source = full.source().and_then(|error| error.source()).unwrap();
        assert!(source.downcast_ref::<Arc<io::Error>>().is_some());
        let paused = Error::Paused { message: "later".into(), code: 75 };
        assert_eq!(paused.map(|_| String::new()).to_string(), "later");
    }

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        assert_eq!(suggestion("epoch", ["epochs", "batch_size"]), " (did you mean \"epochs\"?)");
        assert_eq!(suggestion("quux", ["epochs", "batch_size"]), "");
    }

    #[test]
    fn long_lists_of_names_end_in_their_number() {
        assert_eq!(first_few(["a", "b"]), "a, b");
        assert_eq!(first_few(["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
