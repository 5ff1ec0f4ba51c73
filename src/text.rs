//! Formats counts with nouns.

/// `1 run`, `2 runs`.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
