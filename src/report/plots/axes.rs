//! Axes and the panels between them.

use crate::{
    palette::{Colour, INK, LINE},
    report::plots::canvas::{Align, Area, Canvas, Stroke, Style},
};

/// Numbers that are written out.
const PLAIN: std::ops::Range<f64> = 1e-3..1e5;

/// A number as people write it: `−0.02`, `3×10⁻⁷`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || PLAIN.contains(&size) {
        // Ten significant digits are free of what binary fractions add.
        let text = format!(
            "{:.*}",
            (9 - size.max(1e-9).log10().floor() as i32).clamp(0, 12) as usize,
            value
        );
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        return text.replace('-', "−");
    }
    power(value)
}

/// The same as a power of ten: `3×10⁻⁷`.
fn power(value: f64) -> String {
    let mut exponent = value.abs().log10().floor();
    let mut mantissa = (value / 10_f64.powf(exponent) * 1e3).round() / 1e3;
    if mantissa.abs() >= 10.0 {
        (mantissa, exponent) = (mantissa / 10.0, exponent + 1.0);
    }
    let signs = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    };
    let power: String = (exponent as i32).to_string().chars().map(signs).collect();
    if mantissa == 1.0 {
        format!("10{power}")
    } else {
        format!("{}×10{power}", mantissa.to_string().replace('-', "−"))
    }
}

/// A direction of a panel.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is measured, with its unit.
    pub label: String,
    /// The value at the left or the bottom.
    pub low: f64,
    /// The value at the right or the top.
    pub high: f64,
    /// Whether it is logarithmic.
    pub log: bool,
}

impl Axis {
    /// From a value to another.
    pub fn new(label: impl Into<String>, low: f64, high: f64) -> Self {
        Self { label: label.into(), low, high, log: false }
    }

    /// Wide enough for all values that can be shown, with a margin; `None` where there is none.
    pub fn around(
        label: impl Into<String>,
        values: impl IntoIterator<Item = f64>,
        log: bool,
    ) -> Option<Self> {
        let shown =
            values.into_iter().filter(|value| value.abs() < 1e250 && (!log || *value > 1e-250));
        let scaled = shown.map(|value| if log { value.ln() } else { value });
        let (low, high) = scaled.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return None;
        }
        let least = if log { 0.1 } else { 1e-9 * low.abs().max(1e-3) };
        let margin = (0.05 * (high - low)).max(least);
        let (low, high) = (low - margin, high + margin);
        Some(Self {
            label: label.into(),
            low: if log { low.exp() } else { low },
            high: if log { high.exp() } else { high },
            log,
        })
    }

    /// Where a value lies, from 0 (low) to 1 (high) and beyond.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.max(1e-300).ln() } else { value };
        let (low, high) = (scale(self.low), scale(self.high));
        if high > low { (scale(value) - low) / (high - low) } else { 0.5 }
    }

    /// Round values, about `wanted` of them, as they are written: on a logarithmic axis all as
    /// powers of ten where one must be.
    fn written(&self, wanted: usize) -> Vec<(f64, String)> {
        let ticks = self.ticks(wanted);
        let powers = self.log && ticks.iter().any(|tick| !PLAIN.contains(tick));
        ticks
            .into_iter()
            .map(|tick| (tick, if powers { power(tick) } else { number(tick) }))
            .collect()
    }

    /// Round values, about `wanted` of them.
    fn ticks(&self, wanted: usize) -> Vec<f64> {
        let within = |value: &f64| *value >= self.low && *value <= self.high;
        if self.log {
            let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
            let decades = (last - first).max(1) as usize;
            let step = decades.div_ceil(wanted).max(1);
            let steps: &[f64] = if decades <= wanted / 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let ticks = (first..=last)
                .step_by(step)
                .flat_map(|power| steps.iter().map(move |times| times * 10_f64.powi(power)));
            let ticks: Vec<f64> = ticks.filter(within).collect();
            if ticks.len() > 2 {
                return ticks;
            }
        }
        let rough = (self.high - self.low) / wanted as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|times| times * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        if !step.is_normal() {
            return vec![];
        }
        let first = (self.low / step).ceil();
        (0..=2 * wanted)
            .map(|i| (first + i as f64) * step)
            .filter(within)
            .map(|tick| if tick.abs() < step / 2.0 { 0.0 } else { tick })
            .collect()
    }
}

/// Two axes and what lies between them.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Inside of the frame.
    pub area: Area,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
}

/// Size of the text at the axes of a large panel.
const SIZE: f64 = 22.0;

impl Panel {
    /// Where values lie on the canvas.
    pub fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let area = self.area;
        // Far outside is far enough.
        let (x, y) = (self.x.place(x).clamp(-9.0, 9.0), self.y.place(y).clamp(-9.0, 9.0));
        (area.left + x * (area.right - area.left), area.bottom - y * (area.bottom - area.top))
    }

    /// A band from one value of x to another, all the way up.
    pub fn band(&self, canvas: &mut Canvas, (low, high): (f64, f64), colour: Colour) {
        let (left, right) = (
            self.at((low, self.y.low)).0.max(self.area.left),
            self.at((high, self.y.low)).0.min(self.area.right),
        );
        canvas.rectangle(Area { left, right, ..self.area }, colour, 1.0);
    }

    /// The grid, below everything else.
    pub fn grid(&self, canvas: &mut Canvas) {
        let (x, y) = self.counts();
        for tick in self.x.ticks(x) {
            self.line(canvas, &[(tick, self.y.low), (tick, self.y.high)], Stroke::of(LINE, 1.0));
        }
        for tick in self.y.ticks(y) {
            self.line(canvas, &[(self.x.low, tick), (self.x.high, tick)], Stroke::of(LINE, 1.0));
        }
    }

    /// Ticks that have room.
    fn counts(&self) -> (usize, usize) {
        let area = self.area;
        (
            ((area.right - area.left) / 140.0).clamp(2.0, 10.0) as usize,
            ((area.bottom - area.top) / 55.0).clamp(2.0, 8.0) as usize,
        )
    }

    /// Size of the text at the axes.
    fn text_size(&self) -> f64 {
        let Area { left, top, right, bottom } = self.area;
        if right - left < 900.0 && bottom - top < 500.0 { 0.8 * SIZE } else { SIZE }
    }

    /// The frame with the numbers and the label of x; an empty label leaves its numbers out too.
    pub fn frame_across(&self, canvas: &mut Canvas) {
        let Area { left, top, right, bottom } = self.area;
        let (size, within) = (self.text_size(), canvas.area());
        canvas.line(
            &[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)],
            Stroke::of(INK, 1.5),
            within,
        );
        if self.x.label.is_empty() {
            return;
        }
        for (tick, written) in self.x.written(self.counts().0) {
            let (x, _) = self.at((tick, self.y.low));
            canvas.line(&[(x, bottom), (x, bottom + 6.0)], Stroke::of(INK, 1.5), within);
            canvas.text(
                (x, bottom + 10.0 + size / 2.0),
                &written,
                Style::of(size).align(Align::Middle),
            );
        }
        canvas.text(
            ((left + right) / 2.0, bottom + 18.0 + 1.75 * size),
            &self.x.label,
            Style::of(size).align(Align::Middle),
        );
    }

    /// The frame with its numbers and labels.
    pub fn frame(&self, canvas: &mut Canvas) {
        self.frame_across(canvas);
        let Area { left, top, bottom, .. } = self.area;
        let (size, within, up) = (self.text_size(), canvas.area(), self.counts().1);
        let mut widest = 0.0_f64;
        for (tick, written) in self.y.written(up) {
            let (_, y) = self.at((self.x.low, tick));
            canvas.line(&[(left - 6.0, y), (left, y)], Stroke::of(INK, 1.5), within);
            widest = widest.max(Style::of(size).width(&written));
            canvas.text((left - 12.0, y), &written, Style::of(size).align(Align::End));
        }
        let style = Style { upwards: true, ..Style::of(size).align(Align::Middle) };
        canvas.text(
            (left - 24.0 - widest - size / 2.0, (top + bottom) / 2.0),
            &style.fit(&self.y.label, bottom - top + 80.0),
            style,
        );
    }

    /// A line through values, within the frame.
    pub fn line(&self, canvas: &mut Canvas, values: &[(f64, f64)], stroke: Stroke) {
        let points: Vec<(f64, f64)> = values.iter().map(|value| self.at(*value)).collect();
        canvas.line(&points, stroke, self.area);
    }

    /// A histogram: heights between edges, one more of these.
    pub fn steps(&self, canvas: &mut Canvas, edges: &[f64], heights: &[f64], stroke: Stroke) {
        let corners: Vec<(f64, f64)> = edges
            .windows(2)
            .zip(heights)
            .flat_map(|(edge, height)| [(edge[0], *height), (edge[1], *height)])
            .collect();
        self.line(canvas, &corners, stroke);
    }

    /// Discs at values.
    pub fn discs(&self, canvas: &mut Canvas, values: &[(f64, f64)], radius: f64, colour: Colour) {
        values.iter().for_each(|value| canvas.disc(self.at(*value), radius, colour));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        let written = [0.0, 0.1 + 0.2, -0.02, 1.0, 20.0, 99_999.0, 1e5, -3e-7, 1234.5, 0.001, 2e-4]
            .map(number);
        assert_eq!(
            written,
            [
                "0",
                "0.3",
                "−0.02",
                "1",
                "20",
                "99999",
                "10⁵",
                "−3×10⁻⁷",
                "1234.5",
                "0.001",
                "2×10⁻⁴"
            ]
        );
    }

    proptest! {
        #[test]
        fn whatever_the_values_are_something_is_drawn_or_nothing(
            values in prop::collection::vec(any::<f64>(), 0..20), log: bool, dashed: bool
        ) {
            let (Some(x), Some(y)) = (Axis::around("x", values.iter().copied(), false), Axis::around("y", values.iter().copied(), log)) else { return Ok(()) };
            prop_assert!(x.ticks(8).len() <= 20 && y.ticks(8).len() <= 30);
            let panel = Panel { area: Area { left: 40.0, top: 10.0, right: 150.0, bottom: 80.0 }, x, y };
            let mut canvas = Canvas::new(160, 120);
            panel.grid(&mut canvas);
            let points: Vec<(f64, f64)> = values.iter().map(|value| (*value, *value)).collect();
            panel.line(&mut canvas, &points, Stroke { dashed, ..Stroke::of(INK, 2.0) });
            panel.discs(&mut canvas, &points, 3.0, INK);
            panel.frame(&mut canvas);
            prop_assert!(canvas.to_png().unwrap().len() > 60);
        }
    }
}
