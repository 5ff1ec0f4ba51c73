//! Numbers as the page reads them: rows of numbers are packed, deflated if they are long, then base64.

use crate::error::{Error, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::DeflateEncoder};
use serde_json::{Value, json};
use std::io::Write;

/// A number that can be packed.
pub trait Packable {
    /// Its type in the page.
    const NAME: &'static str;
    /// Its bytes, the lowest first.
    fn bytes(self) -> impl AsRef<[u8]>;
}

macro_rules! packable {
    ($($type:ty = $name:literal),*) => {
        $(impl Packable for $type {
            const NAME: &'static str = $name;
            fn bytes(self) -> impl AsRef<[u8]> { self.to_le_bytes() }
        })*
    };
}

packable!(u8 = "u8", u16 = "u16", u32 = "u32", f32 = "f32");

/// Bytes of which deflating saves less than unpacking takes time: a page can have thousands of such
/// arrays, several a run.
const SMALL: usize = 512;

/// Packs numbers.
pub fn packed<T: Packable>(numbers: impl Iterator<Item = T>) -> Result<Value> {
    let failed = |error: std::io::Error| Error::failed(format!("report.html: {error}"));
    let mut bytes = vec![];
    numbers.for_each(|number| bytes.extend_from_slice(number.bytes().as_ref()));
    if bytes.len() < SMALL {
        return Ok(json!({"t": T::NAME, "plain": BASE64_STANDARD.encode(bytes)}));
    }
    let mut encoder = DeflateEncoder::new(vec![], Compression::default());
    encoder.write_all(&bytes).map_err(failed)?;
    Ok(json!({"t": T::NAME, "d": BASE64_STANDARD.encode(encoder.finish().map_err(failed)?)}))
}
