//! Defects: their positions and their effect on a row's bins.

use crate::data::{areas::Area, shape::Shape};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use serde::Serialize;

/// Maximum number of positions drawn for a row.
const TRIES: usize = 200;

/// The size of a defect in bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Bins in x.
    pub x: usize,
    /// Bins in y.
    pub y: usize,
}

impl Size {
    /// "8 × 3 bins".
    pub fn told(self) -> String {
        if self.x * self.y == 1 { "1 bin".into() } else { format!("{self} bins") }
    }

    /// Whether it fits into a map.
    pub fn fits(self, shape: Shape) -> bool {
        self.x <= shape.x && self.y <= shape.y
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.y == 1 { write!(f, "{}", self.x) } else { write!(f, "{} × {}", self.x, self.y) }
    }
}

/// The area of a defect in each of several maps in which it fits: anywhere in the first, and in the
/// others around the same fraction of each axis, moved inside if needed. Draws again if `alive`
/// returns false for the area in any map (by its index). `None` if no position is found.
pub fn place(
    shapes: &[Shape],
    size: Size,
    chance: &mut ChaCha8Rng,
    alive: impl Fn(usize, Area) -> bool,
) -> Option<Vec<Area>> {
    let first = shapes.first()?;
    let along = |start: usize, length: usize, of: usize, bins: usize| {
        let doubled = (2 * start + length) * bins / of;
        let start = doubled.saturating_sub(length).div_ceil(2).min(bins - length);
        (start, start + length - 1)
    };
    (0..TRIES).find_map(|_| {
        let (x, y) =
            (chance.random_range(0..=first.x - size.x), chance.random_range(0..=first.y - size.y));
        let area = |shape: &Shape| Area {
            x: along(x, size.x, first.x, shape.x),
            y: along(y, size.y, first.y, shape.y),
        };
        let areas: Vec<Area> = shapes.iter().map(area).collect();
        areas.iter().enumerate().all(|(at, area)| alive(at, *area)).then_some(areas)
    })
}

/// The bins of an area in a map with this number of columns.
pub fn bins(area: Area, columns: usize) -> impl Iterator<Item = usize> {
    (area.y.0..=area.y.1).flat_map(move |y| (area.x.0..=area.x.1).map(move |x| y * columns + x))
}

/// Multiplies the bins of an area; with `chance`, the results are drawn from Poisson distributions
/// with these means, if they are valid means.
pub fn inject(
    map: &mut [f32],
    columns: usize,
    area: Area,
    strength: f64,
    mut counts: Option<&mut ChaCha8Rng>,
) {
    for bin in bins(area, columns) {
        let mean = f64::from(map[bin]) * strength;
        let drawn =
            counts.as_deref_mut().and_then(|chance| Some(Poisson::new(mean).ok()?.sample(chance)));
        map[bin] = drawn.unwrap_or(mean) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use proptest::prelude::*;

    const SHAPE: Shape = Shape { y: 4, x: 10 };

    fn area(x: (usize, usize), y: (usize, usize)) -> Area {
        Area { x, y }
    }

    #[test]
    fn bins_inside_are_multiplied_and_no_others() {
        let before: Vec<f32> = (0..40).map(|bin| bin as f32).collect();
        let mut map = before.clone();
        inject(&mut map, 10, area((3, 4), (1, 2)), 0.25, None);
        for (bin, (now, before)) in map.iter().zip(&before).enumerate() {
            let inside = [13, 14, 23, 24].contains(&bin);
            assert_eq!(*now, if inside { before * 0.25 } else { *before }, "bin {bin}");
        }
        inject(
            &mut map,
            10,
            area((0, 9), (0, 3)),
            0.0,
            Some(&mut random::generator(1, "counts", 0)),
        );
        assert_eq!(map, [0.0; 40]);
    }

    #[test]
    fn counts_vary_around_what_they_are_multiplied_to_as_counts_do() {
        let mut map = vec![100.0; 10_000];
        inject(
            &mut map,
            100,
            area((0, 99), (0, 99)),
            2.0,
            Some(&mut random::generator(1, "counts", 0)),
        );
        let mean = map.iter().map(|value| f64::from(*value)).sum::<f64>() / 1e4;
        let variance =
            map.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / 1e4;
        assert!(
            (mean - 200.0).abs() < 0.6 && (variance / 200.0 - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
        assert!(map.iter().all(|value| value.fract() == 0.0));
        // Invalid means of counts are only multiplied.
        let mut odd = vec![-3.0, f32::MAX];
        inject(
            &mut odd,
            2,
            area((0, 1), (0, 0)),
            0.5,
            Some(&mut random::generator(1, "counts", 0)),
        );
        assert_eq!((odd[0], odd[1].is_finite()), (-1.5, true));
    }

    #[test]
    fn a_place_with_nothing_to_break_is_drawn_again() {
        let mut chance = random::generator(3, "place", 0);
        let left = |_, area: Area| area.x.1 < 5;
        for _ in 0..50 {
            assert!(place(&[SHAPE], Size { x: 2, y: 2 }, &mut chance, left).unwrap()[0].x.1 < 5);
        }
        assert_eq!(place(&[SHAPE], Size { x: 2, y: 2 }, &mut chance, |_, _| false), None);
        assert_eq!(place(&[], Size { x: 2, y: 2 }, &mut chance, left), None);
    }

    #[test]
    fn every_place_is_drawn_as_often() {
        let mut chance = random::generator(3, "place", 0);
        let mut counts = [0_usize; 9 * 3];
        for _ in 0..27_000 {
            let area = place(&[SHAPE], Size { x: 2, y: 2 }, &mut chance, |_, _| true).unwrap()[0];
            counts[area.y.0 * 9 + area.x.0] += 1;
        }
        assert!(counts.iter().all(|count| count.abs_diff(1000) < 150), "{counts:?}");
    }

    proptest! {
        #[test]
        fn places_are_inside_and_at_the_same_fractions(seed in 0_u64..99, x in 1_usize..6, y in 1_usize..4, finer in 1_usize..4) {
            let finer = Shape { y: SHAPE.y * finer, x: SHAPE.x * finer };
            let (shapes, size) = ([SHAPE, SHAPE, finer], Size { x, y });
            let draw = || place(&shapes, size, &mut random::generator(seed, "place", 0), |_, _| true).unwrap();
            let areas = draw();
            prop_assert_eq!(&areas, &draw());
            prop_assert_eq!(areas[0], areas[1]);
            for (area, shape) in areas.iter().zip(&shapes) {
                prop_assert_eq!((area.x.1 + 1 - area.x.0, area.y.1 + 1 - area.y.0), (x, y));
                prop_assert!(area.x.1 < shape.x && area.y.1 < shape.y);
                prop_assert_eq!(bins(*area, shape.x).count(), x * y);
            }
            let middle = |area: Area, shape: Shape| (area.x.0 + area.x.1 + 1) as f64 / (2 * shape.x) as f64;
            prop_assert!((middle(areas[0], SHAPE) - middle(areas[2], finer)).abs() <= 0.5 / finer.x as f64 + 1e-9);
        }
    }
}
