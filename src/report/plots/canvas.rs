//! Draws pictures: antialiased lines, text and axes on a white background, as PNG.

use crate::palette::{Colour, INK};
use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use flate2::{Compression, Crc, write::ZlibEncoder};
use std::{io::Write, sync::LazyLock};

/// DejaVu Sans; `assets/` has a subset with the characters needed here.
static REGULAR: LazyLock<FontRef<'static>> =
    LazyLock::new(|| font(include_bytes!("../../../assets/DejaVuSans.ttf")));

static BOLD: LazyLock<FontRef<'static>> =
    LazyLock::new(|| font(include_bytes!("../../../assets/DejaVuSans-Bold.ttf")));

fn font(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("the font is a part of the program")
}

/// A rectangle of the canvas in pixels; y increases downwards.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Lower edge.
    pub bottom: f64,
}

/// Horizontal alignment of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// The text begins at its position.
    Start,
    /// The text is centred at its position.
    Middle,
    /// The text ends at its position.
    End,
}

/// The style of text.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Size in pixels.
    pub size: f64,
    /// The colour.
    pub colour: Colour,
    /// The alignment.
    pub align: Align,
    /// Whether it is bold.
    pub bold: bool,
    /// Whether it runs upwards instead of to the right.
    pub upwards: bool,
}

impl Style {
    /// Dark text that begins at its position.
    pub fn of(size: f64) -> Self {
        Self { size, colour: INK, align: Align::Start, bold: false, upwards: false }
    }

    /// The same style with another alignment.
    pub fn align(self, align: Align) -> Self {
        Self { align, ..self }
    }

    /// The same in another colour.
    pub fn colour(self, colour: Colour) -> Self {
        Self { colour, ..self }
    }

    fn font(&self) -> (&'static FontRef<'static>, PxScale) {
        let font: &'static FontRef<'static> = if self.bold { &BOLD } else { &REGULAR };
        let em = font.units_per_em().unwrap_or(2048.0);
        (font, PxScale::from(self.size as f32 * font.height_unscaled() / em))
    }

    /// The width of a text in pixels.
    pub fn width(&self, text: &str) -> f64 {
        let (font, scale) = self.font();
        let font = font.as_scaled(scale);
        text.chars().map(|c| f64::from(font.h_advance(font.glyph_id(c)))).sum()
    }

    /// Shortens a text to a width.
    pub fn fit(&self, text: &str, room: f64) -> String {
        if self.width(text) <= room {
            return text.to_owned();
        }
        let mut short = String::new();
        for c in text.chars() {
            if self.width(&format!("{short}{c}…")) > room {
                break;
            }
            short.push(c);
        }
        short + "…"
    }
}

/// The style of a line.
#[derive(Clone, Copy, Debug)]
pub struct Stroke {
    /// Its colour.
    pub colour: Colour,
    /// Its width in pixels.
    pub width: f64,
    /// Whether it is dashed.
    pub dashed: bool,
}

impl Stroke {
    /// A solid line.
    pub fn of(colour: Colour, width: f64) -> Self {
        Self { colour, width, dashed: false }
    }

    /// The same, dashed.
    pub fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }
}

/// A picture under construction.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// A white canvas.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![255; width * height * 3] }
    }

    /// The whole area.
    pub fn area(&self) -> Area {
        Area { left: 0.0, top: 0.0, right: self.width as f64, bottom: self.height as f64 }
    }

    /// Blends a colour over a pixel that it partly covers.
    fn blend(&mut self, x: i64, y: i64, colour: Colour, part: f64) {
        if x < 0
            || y < 0
            || x >= self.width as i64
            || y >= self.height as i64
            || part.is_nan()
            || part <= 0.0
        {
            return;
        }
        let at = (y as usize * self.width + x as usize) * 3;
        let part = part.min(1.0);
        for (pixel, colour) in self.pixels[at..at + 3].iter_mut().zip(colour) {
            *pixel = (f64::from(*pixel) * (1.0 - part) + f64::from(colour) * part).round() as u8;
        }
    }

    /// Colours the pixels of an area according to the part covered by a shape.
    fn cover(&mut self, within: Area, colour: Colour, part: impl Fn(f64, f64) -> f64) {
        let whole = self.area();
        let (left, right) =
            (within.left.max(whole.left).floor(), within.right.min(whole.right).ceil());
        let (top, bottom) =
            (within.top.max(whole.top).floor(), within.bottom.min(whole.bottom).ceil());
        for y in top as i64..bottom as i64 {
            for x in left as i64..right as i64 {
                self.blend(x, y, colour, part(x as f64 + 0.5, y as f64 + 0.5));
            }
        }
    }

    /// Draws a rectangle; `opacity` from 0 to 1.
    pub fn rectangle(&mut self, area: Area, colour: Colour, opacity: f64) {
        let side = |low: f64, high: f64, at: f64| (high.min(at + 0.5) - low.max(at - 0.5)).max(0.0);
        self.cover(area, colour, |x, y| {
            side(area.left, area.right, x) * side(area.top, area.bottom, y) * opacity
        });
    }

    /// Draws a disc.
    pub fn disc(&mut self, (x, y): (f64, f64), radius: f64, colour: Colour) {
        let around = Area {
            left: x - radius - 1.0,
            top: y - radius - 1.0,
            right: x + radius + 1.0,
            bottom: y + radius + 1.0,
        };
        self.cover(around, colour, |px, py| {
            (radius + 0.5 - (px - x).hypot(py - y)).clamp(0.0, 1.0)
        });
    }

    /// Draws a straight line with round ends, clipped to `within`.
    fn segment(
        &mut self,
        (x0, y0): (f64, f64),
        (x1, y1): (f64, f64),
        stroke: Stroke,
        within: Area,
    ) {
        let half = stroke.width / 2.0;
        let around = Area {
            left: (x0.min(x1) - half - 1.0).max(within.left),
            top: (y0.min(y1) - half - 1.0).max(within.top),
            right: (x0.max(x1) + half + 1.0).min(within.right),
            bottom: (y0.max(y1) + half + 1.0).min(within.bottom),
        };
        let (dx, dy) = (x1 - x0, y1 - y0);
        let square = dx * dx + dy * dy;
        self.cover(around, stroke.colour, |x, y| {
            let along = if square > 0.0 {
                (((x - x0) * dx + (y - y0) * dy) / square).clamp(0.0, 1.0)
            } else {
                0.0
            };
            (half + 0.5 - (x - x0 - along * dx).hypot(y - y0 - along * dy)).clamp(0.0, 1.0)
        });
    }

    /// Draws a line through points, clipped to `within`.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke, within: Area) {
        let (dash, gap) = (4.0 * stroke.width.max(2.0), 3.0 * stroke.width.max(2.0));
        let mut done = 0.0;
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let length = (x1 - x0).hypot(y1 - y0);
            if !stroke.dashed || !length.is_finite() {
                self.segment((x0, y0), (x1, y1), stroke, within);
                continue;
            }
            let at = |way: f64| (x0 + (x1 - x0) * way / length, y0 + (y1 - y0) * way / length);
            let mut way = 0.0;
            while way < length {
                let phase = (done + way) % (dash + gap);
                // The step must be large enough to change the sum.
                let next = (way
                    + if phase < dash { dash - phase } else { dash + gap - phase }.max(0.5))
                .min(length);
                if phase < dash {
                    self.segment(at(way), at(next), stroke, within);
                }
                way = next;
            }
            done += length;
        }
    }

    /// Draws text, vertically centred at `y`.
    pub fn text(&mut self, (x, y): (f64, f64), text: &str, style: Style) {
        let (font, scale) = style.font();
        let scaled = font.as_scaled(scale);
        let mut along = match style.align {
            Align::Start => 0.0,
            Align::Middle => -style.width(text) / 2.0,
            Align::End => -style.width(text),
        };
        // The height of capitals is 0.73 of the size.
        let base = style.size * 0.365;
        for c in text.chars() {
            let id = scaled.glyph_id(c);
            // Rotated glyphs need rotated subpixel offsets.
            let (fine_x, fine_y) =
                if style.upwards { (y - along, x + base) } else { (x + along, y + base) };
            let place = if style.upwards {
                point((-fine_x).rem_euclid(1.0) as f32, fine_y.fract() as f32)
            } else {
                point(fine_x.fract() as f32, fine_y.fract() as f32)
            };
            if let Some(outline) = font.outline_glyph(id.with_scale_and_position(scale, place)) {
                let bounds = outline.px_bounds();
                outline.draw(|dx, dy, part| {
                    let (right, down) =
                        (i64::from(dx) + bounds.min.x as i64, i64::from(dy) + bounds.min.y as i64);
                    let (px, py) = if style.upwards {
                        (fine_y.trunc() as i64 + down, fine_x.ceil() as i64 - right - 1)
                    } else {
                        (fine_x.trunc() as i64 + right, fine_y.trunc() as i64 + down)
                    };
                    self.blend(px, py, style.colour, f64::from(part));
                });
            }
            along += f64::from(scaled.h_advance(id));
        }
    }

    /// Draws a legend: marks with names from the top left of an area, in as many lines as needed.
    /// Returns the lower end of the last line.
    pub fn legend(&mut self, within: Area, entries: &[(Mark, String)]) -> f64 {
        let style = Style::of(20.0);
        let (sample, line) = (40.0, 32.0);
        let (mut x, mut y) = (within.left, within.top + line / 2.0);
        for (mark, name) in entries {
            let name = style.fit(name, within.right - within.left - sample - 10.0);
            let width = sample + 10.0 + style.width(&name);
            if x > within.left && x + width > within.right {
                (x, y) = (within.left, y + line);
            }
            match *mark {
                Mark::Line(stroke) => self.line(&[(x, y), (x + sample, y)], stroke, self.area()),
                Mark::Disc(colour) => self.disc((x + sample / 2.0, y), 6.0, colour),
                Mark::Band(colour) => self.rectangle(
                    Area { left: x, right: x + sample, top: y - 9.0, bottom: y + 9.0 },
                    colour,
                    1.0,
                ),
            }
            self.text((x + sample + 10.0, y), &name, style);
            x += width + 36.0;
        }
        y + line / 2.0
    }

    /// The picture as a PNG file.
    pub fn to_png(&self) -> std::io::Result<Vec<u8>> {
        let mut packed = ZlibEncoder::new(vec![], Compression::new(6));
        // Each line as the difference from the one above (filter 2), because most are similar.
        let mut above = vec![0; self.width * 3];
        for row in self.pixels.chunks_exact(self.width * 3) {
            let line: Vec<u8> = [2]
                .into_iter()
                .chain(row.iter().zip(&above).map(|(value, above)| value.wrapping_sub(*above)))
                .collect();
            packed.write_all(&line)?;
            above.copy_from_slice(row);
        }
        let (width, height) =
            ((self.width as u32).to_be_bytes(), (self.height as u32).to_be_bytes());
        // Eight bits per channel, three channels, the standard compression, a filter per line, no
        // interlacing.
        let header = [&width[..], &height, &[8, 2, 0, 0, 0]].concat();
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, data) in [(b"IHDR", header), (b"IDAT", packed.finish()?), (b"IEND", vec![])] {
            let mut crc = Crc::new();
            crc.update(kind);
            crc.update(&data);
            file.extend((data.len() as u32).to_be_bytes());
            file.extend(kind);
            file.extend(data);
            file.extend(crc.sum().to_be_bytes());
        }
        Ok(file)
    }
}

/// What stands for something in a legend.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// A line.
    Line(Stroke),
    /// A disc.
    Disc(Colour),
    /// A band.
    Band(Colour),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fonts_have_every_sign_that_pictures_use() {
        for c in ('!'..='~').chain("−×⁰¹²³⁴⁵⁶⁷⁸⁹⁻–…≤≥αβγδεμσχψ·±".chars())
        {
            assert!(REGULAR.glyph_id(c).0 != 0 && BOLD.glyph_id(c).0 != 0, "{c}");
        }
    }

    #[test]
    fn text_leaves_ink_where_it_stands() {
        for upwards in [false, true] {
            let mut canvas = Canvas::new(100, 100);
            canvas.text(
                (50.0, 50.0),
                "HH",
                Style { upwards, ..Style::of(20.0).align(Align::Middle) },
            );
            let dark: Vec<(usize, usize)> = (0..10_000)
                .filter(|at| canvas.pixels[at * 3] < 128)
                .map(|at| (at % 100, at / 100))
                .collect();
            assert!(dark.len() > 80);
            let (wide, high) = if upwards { (10, 18) } else { (18, 10) };
            assert!(
                dark.iter().all(|(x, y)| x.abs_diff(50) <= wide && y.abs_diff(50) <= high),
                "{dark:?}"
            );
        }
    }
}
