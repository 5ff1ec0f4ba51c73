//! Declaration of sections and keys: [`section!`], [`choice!`] and types of keys shared by several
//! sections.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, fmt, ops::Deref};

/// Declares a section: its keys with docs (for `lumisift schema` and editors), ranges and
/// defaults. `=> ["a", "b"]` after a default names the kinds that have the key.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident : $type:ty = $default:expr $(=> [$($kind:literal),+])?,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        #[allow(missing_docs, reason = "a key whose type says what it is has no docs of its own")]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        impl Default for $name {
            fn default() -> Self { Self { $($field: $default,)* } }
        }
        impl $crate::config::keys::Section for $name {
            const KINDS: &'static [(&'static str, &'static [&'static str])] =
                &[$($((stringify!($field), &[$($kind),+]),)?)*];
        }
    };
}

/// Declares the values of a key that takes one of several words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema
        )]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)* }
        impl $name {
            /// The word that stands for it in the TOML file.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(super) use {choice, section};

/// A section of the file.
pub trait Section: Default + Serialize {
    /// Keys that only some kinds have, with these kinds.
    const KINDS: &'static [(&'static str, &'static [&'static str])];
}

/// A key with its written value and its meaning. Reading, writing and the schema use the written
/// value; it dereferences to the meaning, which the section's check sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Key<W, M> {
    pub(super) written: W,
    pub(super) meaning: M,
}

impl<W, M> Key<W, M> {
    /// A key with its meaning.
    pub(crate) fn of(written: W, meaning: M) -> Self {
        Self { written, meaning }
    }

    /// The written value as in `experiment.toml`: paths are absolute.
    pub fn written(&self) -> &W {
        &self.written
    }
}

impl<W: Default + PartialEq, M> Key<W, M> {
    /// Whether the key is absent or empty.
    pub fn is_unset(&self) -> bool {
        self.written == W::default()
    }
}

impl<W, M: Default> From<W> for Key<W, M> {
    fn from(written: W) -> Self {
        Self { written, meaning: M::default() }
    }
}

impl<W, M> Deref for Key<W, M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.meaning
    }
}

impl<W, M: fmt::Display> fmt::Display for Key<W, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.meaning.fmt(f)
    }
}

impl<W: Serialize, M> Serialize for Key<W, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl<'de, W: Deserialize<'de>, M: Default> Deserialize<'de> for Key<W, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        W::deserialize(deserializer).map(Self::from)
    }
}

impl<W: JsonSchema, M> JsonSchema for Key<W, M> {
    fn inline_schema() -> bool {
        W::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        W::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        W::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        W::json_schema(generator)
    }
}

/// A value, or a list of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several, in order.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// The values as a list.
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value.clone()],
            Self::Many(values) => values.clone(),
        }
    }
}

/// A number or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}
