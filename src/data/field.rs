//! The columns of a file and their contents.

use crate::error::listed;
use serde::Serialize;

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// Its name in the header.
    pub name: String,
    /// Its kind of contents.
    pub kind: FieldKind,
    /// Its type in the terms of the file format.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// The kind of contents of a column.
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
    /// Blank in every row.
    Blank,
    /// Anything else; not read.
    Other,
}

/// The column names, joined.
pub fn show_names(fields: &[Field]) -> String {
    listed(fields.iter().map(|field| field.name.as_str()))
}
