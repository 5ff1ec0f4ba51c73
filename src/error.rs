//! The one error type: whose mistake it was decides the exit code.

use std::{fmt, io, path::Path};

/// What went wrong, in one message that names the file, line or key, what was found and what was
/// expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The user can mend it: a config, an argument or a data file. Exit code 2.
    Input(String),
    /// A column that is asked for by name and that a file does not have, or not as it should be.
    /// Exit code 2.
    Column {
        /// The name that was asked for.
        name: String,
        /// What is wrong with it.
        problem: ColumnProblem,
        /// The whole message.
        message: String,
    },
    /// The machine or the program failed: a lost device, a diverged training. Exit code 1.
    Failed(String),
    /// A file cannot be written: a full disk, a folder that is gone. Exit code 1.
    Writing(String),
    /// A device has too little memory for what it was to do. Exit code 1.
    Memory(String),
    /// Nothing went wrong: it was asked to stop for now. The message says how to go on.
    Paused {
        /// What to tell.
        message: String,
        /// 130 after an interrupt, 75 otherwise (as `sysexits.h` has it: try again later).
        code: u8,
    },
}

/// What is wrong with a column that is asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnProblem {
    /// The file has no column of this name.
    NoColumn,
    /// The records of a JSON file have no key of this name.
    NoKey,
    /// The column is there and cannot be read.
    Unreadable,
}

/// A result with Lumisift's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error the user can mend.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    /// A column of this name that the user asked for and that a file does not have, or not as it
    /// should be.
    pub fn column(name: &str, problem: ColumnProblem, message: String) -> Self {
        Self::Column { name: name.into(), problem, message }
    }

    /// A failure of the machine or the program.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// A file that the user named and that cannot be read.
    pub fn reading(path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::NotFound => Self::input(format!("{path}: no such file")),
            io::ErrorKind::PermissionDenied => {
                Self::input(format!("{path}: not readable (permission denied)"))
            }
            io::ErrorKind::IsADirectory => Self::input(format!(
                "{path}: is a folder; name a file or a pattern like {path}/*.csv"
            )),
            _ => Self::failed(format!("{path}: cannot be read: {error}")),
        }
    }

    /// A file that cannot be written.
    pub fn writing(path: &Path, error: &io::Error) -> Self {
        Self::Writing(format!("{}: cannot be written: {error}", path.display()))
    }

    /// 2 for the user's mistakes, 1 for failures.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) | Self::Column { .. } => 2,
            Self::Failed(_) | Self::Writing(_) | Self::Memory(_) => 1,
            Self::Paused { code, .. } => *code,
        }
    }

    /// The same error with its message changed, to add where it happened.
    pub fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Input(message) => Self::Input(change(message)),
            Self::Column { name, problem, message } => {
                Self::Column { name, problem, message: change(message) }
            }
            Self::Failed(message) => Self::Failed(change(message)),
            Self::Writing(message) => Self::Writing(change(message)),
            Self::Memory(message) => Self::Memory(change(message)),
            paused @ Self::Paused { .. } => paused,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message)
            | Self::Failed(message)
            | Self::Writing(message)
            | Self::Memory(message)
            | Self::Column { message, .. }
            | Self::Paused { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

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
