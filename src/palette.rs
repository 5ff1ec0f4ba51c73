//! The colours of pages and pictures, one per meaning. Pages have a light and a dark scheme;
//! pictures use the light one. Hues are those of Okabe and Ito, which are distinguishable with any
//! kind of colour vision.

use std::fmt::Write as _;

/// Red, green, blue.
pub type Colour = [u8; 3];

const fn rgb(hex: u32) -> Colour {
    [(hex >> 16) as u8, (hex >> 8) as u8, hex as u8]
}

/// Declares constants with the light colours, and all colours with their names in style sheets.
/// Some are used only by style sheets.
macro_rules! palette {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $light:literal, $dark:literal;)*) => {
        $($(#[$doc])* #[allow(dead_code)] pub const $constant: Colour = rgb($light);)*
        const ALL: &[(&str, u32, u32)] = &[$(($name, $light, $dark)),*];
    };
}

palette! {
    /// Text, frames and thresholds.
    INK = "ink", 0x1d2229, 0xe6e8eb;
    /// Less important elements.
    SOFT = "soft", 0x5b6470, 0xa3abb5;
    /// Background of code.
    FAINT = "faint", 0xe9ebee, 0x2a2f36;
    /// Grid lines and frames.
    LINE = "line", 0xdfe2e6, 0x343a42;
    /// Background of charts.
    PAPER = "paper", 0xffffff, 0x1b1f24;
    /// Background of pages.
    BACK = "back", 0xf7f7f5, 0x14171b;
    /// Links.
    LINK = "link", 0x00568a, 0x7cc4f2;
    /// Rows that are good, by verdict or label, and the line of scores.
    GOOD = "good", 0x0072b2, 0x56b4e9;
    /// Rows that are grey.
    GREY = "grey", 0x767d85, 0x8f979f;
    /// Rows that are bad, by verdict of `certify` or label.
    BAD = "bad", 0xa6528a, 0xdd9fc4;
    /// Rows above the threshold.
    FLAGGED = "flagged", 0xc84a00, 0xff8a3d;
    /// The threshold.
    THRESHOLD = "threshold", 0x1d2229, 0xe6e8eb;
    /// Rows that are not evaluated.
    ABSENT = "absent", 0x9aa1a9, 0x6b737d;
    /// Training rows.
    TRAIN = "train", 0x0072b2, 0x56b4e9;
    /// Validation rows.
    VALID = "valid", 0xd55e00, 0xff9a4d;
    /// Inputs, and sums over all rows.
    INPUT = "input", 0x0072b2, 0x56b4e9;
    /// Reconstructions, and sums without flagged rows.
    OUTPUT = "output", 0xd55e00, 0xff9a4d;
    /// Errors of bins and features.
    ERROR = "error", 0xa6528a, 0xdd9fc4;
    /// Dead regions.
    DEAD = "dead", 0x56b4e9, 0x56b4e9;
    /// Hot regions.
    HOT = "hot", 0xff7a1f, 0xff7a1f;
    /// Areas above 0.5.
    HEAT_ABOVE = "heat-above", 0x56b4e9, 0x2f7fb4;
    /// Areas below 0.5.
    HEAT_BELOW = "heat-below", 0xf0a04b, 0xb5661a;
    /// Alarms.
    ALARM = "alarm", 0xa33b00, 0xffab73;
    /// Background of warnings.
    NOTICE = "notice", 0xfff4e2, 0x33291a;
}

/// Colours of series without a meaning, light and dark.
const NUMBERED: [(u32, u32); 8] = [
    (0x0072b2, 0x56b4e9),
    (0xd55e00, 0xff8a3d),
    (0x007f5f, 0x2fbf94),
    (0xb3608f, 0xdd9fc4),
    (0xb87a00, 0xe6a817),
    (0x2f95cf, 0x9ad0f5),
    (0x5b5b5b, 0xc5c9ce),
    (0x8a7a00, 0xf0e442),
];

/// Number of distinct colours of series.
pub const SERIES: usize = NUMBERED.len();

/// The colour of a series by its number, from 0.
pub fn series(at: usize) -> Colour {
    rgb(NUMBERED[at % SERIES].0)
}

/// A colour over white paper: 1 for the colour itself, 0 for white.
pub fn tint(colour: Colour, share: f64) -> Colour {
    colour.map(|part| (255.0 + (f64::from(part) - 255.0) * share.clamp(0.0, 1.0)).round() as u8)
}

/// The colour of a group of rows by its name, or by its number if the name has no colour.
pub fn group(name: &str, at: usize) -> Colour {
    match name {
        "good" => GOOD,
        "bad" => BAD,
        _ => series(at),
    }
}

/// Style sheet variables of all colours, for both schemes.
pub fn css() -> String {
    let scheme = |dark: bool| {
        let mut text = format!("color-scheme:{};", if dark { "dark" } else { "light" });
        let named = ALL.iter().map(|(name, light, of_dark)| ((*name).to_owned(), *light, *of_dark));
        let numbered = (1..)
            .zip(NUMBERED)
            .map(|(at, (light, of_dark))| (format!("series-{at}"), light, of_dark));
        for (name, light, of_dark) in named.chain(numbered) {
            let _ = write!(text, "--{name}:#{:06x};", if dark { of_dark } else { light });
        }
        text
    };
    let (light, dark) = (scheme(false), scheme(true));
    format!(
        ":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root:not([data-theme=\"light\"]){{{dark}}}}}\n:root[data-theme=\"dark\"]{{{dark}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_pictures_have_the_same_colours() {
        let css = css();
        let light = css.split("@media").next().unwrap();
        let hex =
            |colour: Colour| colour.iter().map(|part| format!("{part:02x}")).collect::<String>();
        for (name, colour) in [
            ("good", GOOD),
            ("bad", BAD),
            ("flagged", FLAGGED),
            ("train", TRAIN),
            ("valid", VALID),
            ("threshold", THRESHOLD),
        ] {
            assert!(light.contains(&format!("--{name}:#{};", hex(colour))), "{name}: {light}");
        }
        assert!(
            (0..SERIES).all(|at| light.contains(&format!(
                "--series-{}:#{};",
                at + 1,
                hex(series(at))
            ))),
            "{light}"
        );
        assert_eq!(
            css.matches("--bad:").count(),
            3,
            "light, dark by the system's choice, dark by the reader's"
        );
    }
}
