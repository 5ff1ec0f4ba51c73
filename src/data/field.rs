//! The columns of a file and what they hold.

use crate::error::listed;
use serde::Serialize;

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// Its name in the header.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
    /// Its type in the words of its format.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Numbers.
    Number,
    /// True or false.
    Flag,
    /// Text.
    Text,
    /// A list of numbers, or a list of such lists.
    List,
    /// Nothing in any row.
    Blank,
    /// Anything else; not read.
    Other,
}

/// Column names in a row.
pub fn show_names(fields: &[Field]) -> String {
    listed(fields.iter().map(|field| field.name.as_str()))
}
