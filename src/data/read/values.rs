//! Parses numbers and lists of numbers.

use super::{
    dialect::{decode, is_number_of_people},
    row::FILL_ADVICE,
};
use crate::data::{shape::Shape, table::is_missing};

/// The value of an entry of a column of numbers that is not a number: NaN if it is missing and
/// missing ones are accepted, else an error.
pub fn number_of_word(token: &[u8], keeps_missing: bool) -> std::result::Result<f32, String> {
    match token {
        b"True" | b"true" | b"TRUE" => Ok(1.0),
        b"False" | b"false" | b"FALSE" => Ok(0.0),
        _ if is_missing(&decode(token)) => match token {
            _ if keeps_missing => Ok(f32::NAN),
            [] => Err(format!("is blank; expected a number, or {FILL_ADVICE}")),
            _ => Err(format!("is \"{}\"; expected a number, or {FILL_ADVICE}", show(token))),
        },
        _ if is_number_of_people(token) => Err(format!(
            "is \"{}\"; expected a number with a decimal point and nothing between thousands",
            show(token)
        )),
        _ => Err(format!("is \"{}\", not a number", show(token))),
    }
}

/// Appends the numbers of `[1, 2.5, 3e4]` to `values`. For a map `[[1, 2], [3, 4]]`, y rows of x,
/// returns the shape.
pub fn parse_list(
    text: &[u8],
    values: &mut Vec<f32>,
) -> std::result::Result<Option<Shape>, String> {
    let inside =
        text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).ok_or_else(|| {
            if text.starts_with(b"[") {
                "the histogram has no closing bracket".to_owned()
            } else {
                format!("the histogram is \"{}\", not a list [ … ]", show(text))
            }
        })?;
    if !inside.trim_ascii_start().starts_with(b"[") {
        return parse_numbers(inside, values).map(|()| None);
    }
    let (mut shape, start) = (Shape { y: 0, x: 0 }, values.len());
    for row in inside.split(|&byte| byte == b'[').skip(1) {
        let before = values.len();
        let row = row.trim_ascii_end();
        let row = row.strip_suffix(b",").unwrap_or(row).trim_ascii_end();
        parse_numbers(
            row.strip_suffix(b"]")
                .ok_or_else(|| format!("row {} of the map has no closing bracket", shape.y))?,
            values,
        )?;
        let x = values.len() - before;
        if before > start && x != shape.x {
            return Err(format!(
                "row {} of the map has {x} bins where row 0 has {}",
                shape.y, shape.x
            ));
        }
        shape = Shape { y: shape.y + 1, x };
    }
    Ok(Some(shape))
}

fn parse_numbers(inside: &[u8], values: &mut Vec<f32>) -> std::result::Result<(), String> {
    if inside.trim_ascii().is_empty() {
        return Err("the histogram has no bins".into());
    }
    for (bin, token) in inside.split(|&byte| byte == b',').enumerate() {
        let token = token.trim_ascii();
        match number_of(token) {
            Some(value) => values.push(value),
            None if token.is_empty() => return Err(format!("bin {bin} is blank")),
            None => return Err(format!("bin {bin} is \"{}\", not a number", show(token))),
        }
    }
    Ok(())
}

/// Parses a number in single precision: integers are rounded once, others via double precision, as
/// in NumPy.
pub fn number_of(token: &[u8]) -> Option<f32> {
    if let Some(count) = small_count(token) {
        return Some(count as f32);
    }
    let text = std::str::from_utf8(token).ok()?;
    text.parse::<i64>()
        .map(|value| value as f32)
        .ok()
        .or_else(|| text.parse::<f64>().map(|value| value as f32).ok())
}

/// A count of up to nine digits, which covers nearly every bin.
fn small_count(token: &[u8]) -> Option<u32> {
    if token.is_empty() || token.len() > 9 {
        return None;
    }
    token.iter().try_fold(0_u32, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'))
    })
}

/// Parses 17, or 17.0 as pandas writes it after a join.
pub fn whole_number(field: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(field).ok()?;
    text.parse().ok().or_else(|| text.strip_suffix(".0")?.parse().ok())
}

pub fn show(field: &[u8]) -> String {
    let text = decode(field);
    match text.char_indices().nth(24) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_a_list_of_lists() {
        let parse = |text: &str| {
            let mut values = vec![];
            parse_list(text.as_bytes(), &mut values).map(|shape| (shape, values))
        };
        assert_eq!(
            parse("[[1, 2, 3],\n [4, 5, 6]]"),
            Ok((Some(Shape { y: 2, x: 3 }), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        );
        assert!(
            parse("[[1, 2], [3]]")
                .unwrap_err()
                .contains("row 1 of the map has 1 bins where row 0 has 2")
        );
        assert!(parse("[[1, 2], [3, 4]").is_err());
        assert!(parse("[[]]").is_err());
    }
}
