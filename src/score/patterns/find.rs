//! Finds regions in the maps of one lumisection.

use super::{
    grid::Grid,
    mask::Memory,
    region::{Region, Span, components},
    settings::{DetectorLayer, PatternSettings, Side},
    windows::Filter,
};
use crate::data::areas::Area;

const SIDES: [Side; 2] = [Side::Dead, Side::Hot];

/// A layer's map in one lumisection, each `[y, x]`.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    /// The contents, used only to find zeros: as read, or with a scaling that keeps 0 at 0.
    pub contents: &'a [f32],
    /// The input of the model.
    pub input: &'a [f32],
    /// The reconstruction.
    pub output: &'a [f32],
}

/// Patterns of one lumisection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Number of bad bins in windows, by layer.
    pub bins: Vec<usize>,
    /// Number of cells, on a grid as fine as the finest layer, that are bad in enough layers; each
    /// side counted separately.
    pub coincident: usize,
    /// Groups of touching bad bins in windows, ordered by layer, side and first bin.
    pub regions: Vec<Region>,
}

/// Finds the patterns of one row after another.
///
/// The memory of the dynamic mask is reset for each run, so different runs can use separate finders
/// in parallel.
pub struct Finder<'a> {
    settings: &'a PatternSettings,
    layers: &'a [DetectorLayer],
    grid: Grid,
    run: Option<u32>,
    work: Vec<Work>,
    filter: Filter,
}

/// Working memory of a layer in a row.
struct Work {
    memory: Memory,
    masked: Vec<bool>,
    bad: Vec<bool>,
    sides: [Marks; 2],
}

/// A layer's bins on one side.
struct Marks {
    /// Number of kept bins.
    count: usize,
    /// Bins that are bad and in a window.
    kept: Vec<bool>,
    /// The kept bins that coincide with other layers.
    shared: Vec<bool>,
}

impl<'a> Finder<'a> {
    /// `settings` must be checked for these layers (see [`PatternSettings::check`]).
    pub fn new(settings: &'a PatternSettings, layers: &'a [DetectorLayer]) -> Self {
        let work = |layer: &DetectorLayer| {
            let none = || vec![false; layer.shape.width()];
            let marks = || Marks { count: 0, kept: none(), shared: none() };
            Work {
                memory: Memory::new(layer.shape.width()),
                masked: none(),
                bad: none(),
                sides: [marks(), marks()],
            }
        };
        let grid = Grid::new(layers.iter().map(|layer| layer.shape));
        Self {
            settings,
            layers,
            grid,
            run: None,
            work: layers.iter().map(work).collect(),
            filter: Filter::default(),
        }
    }

    /// The patterns of a row, given one map per layer. The rows of a run must come one after
    /// another in the order of LS; skipped rows do not enter the dynamic mask.
    pub fn row(&mut self, run: u32, maps: &[Map]) -> Found {
        if self.run.replace(run) != Some(run) {
            self.work.iter_mut().for_each(|work| work.memory.forget());
        }
        for ((layer, work), map) in self.layers.iter().zip(&mut self.work).zip(maps) {
            work.keep(self.settings, layer, map, &mut self.filter);
            if self.settings.dynamic_mask > 0 {
                work.memory.add(map.contents);
            }
        }
        let coincident = (0..SIDES.len()).map(|side| self.coincide(side)).sum();
        let bins =
            self.work.iter().map(|work| work.sides.iter().map(|marks| marks.count).sum()).collect();
        let mut regions = vec![];
        for (at, ((layer, work), map)) in self.layers.iter().zip(&self.work).zip(maps).enumerate() {
            for (side, marks) in
                SIDES.into_iter().zip(&work.sides).filter(|(_, marks)| marks.count > 0)
            {
                let region = |spans| region(at, side, spans, layer.shape.x, map, &marks.shared);
                regions.extend(components(&marks.kept, layer.shape).into_iter().map(region));
            }
        }
        Found { bins, coincident, regions }
    }

    /// Marks the bins of a side that coincide, and counts the cells.
    fn coincide(&mut self, side: usize) -> usize {
        let least = self.settings.layers;
        if self.work.iter().filter(|work| work.sides[side].count > 0).count() < least {
            return 0;
        }
        let (kept, mut shared): (Vec<&[bool]>, Vec<&mut [bool]>) = self
            .work
            .iter_mut()
            .map(|work| &mut work.sides[side])
            .map(|marks| (marks.kept.as_slice(), marks.shared.as_mut_slice()))
            .unzip();
        self.grid.coincide(least, &kept, &mut shared)
    }
}

impl Work {
    /// Finds the bad bins of a map and keeps those in windows.
    fn keep(
        &mut self,
        settings: &PatternSettings,
        layer: &DetectorLayer,
        map: &Map,
        filter: &mut Filter,
    ) {
        for marks in self.sides.iter_mut().filter(|marks| marks.count > 0) {
            marks.count = 0;
            marks.kept.fill(false);
            marks.shared.fill(false);
        }
        let bad = |(input, output): (&f32, &f32)| square(*input, *output) > settings.bin_error;
        let pairs = || map.input.iter().zip(map.output);
        if pairs().filter(|pair| bad(*pair)).count() == 0 {
            return;
        }
        self.masked.copy_from_slice(&layer.masked);
        if settings.dynamic_mask > 0 {
            self.memory.mask(settings.dynamic_mask, &mut self.masked);
        }
        for (side, marks) in
            SIDES.into_iter().zip(&mut self.sides).filter(|(side, _)| settings.sides.have(*side))
        {
            let mut count = 0;
            // A bin that was always empty in training can be hot even if masked.
            if side == Side::Hot {
                for (((masked, empty), input), output) in
                    self.masked.iter_mut().zip(&layer.empty).zip(map.input).zip(map.output)
                {
                    *masked &= !(*empty && input > output && bad((input, output)));
                }
            }
            for ((marked, masked), (input, output)) in
                self.bad.iter_mut().zip(&self.masked).zip(pairs())
            {
                *marked =
                    bad((input, output)) && !masked && (side == Side::Dead) == (output > input);
                count += usize::from(*marked);
            }
            if count > 0 {
                marks.count = filter.keep(
                    layer.shape,
                    &settings.windows,
                    settings.fill,
                    &self.masked,
                    &self.bad,
                    &mut marks.kept,
                );
            }
        }
    }
}

/// A region of these bins.
fn region(
    layer: usize,
    side: Side,
    spans: Vec<Span>,
    columns: usize,
    map: &Map,
    shared: &[bool],
) -> Region {
    let area = |span: &Span| Area { x: (span.first, span.last), y: (span.y, span.y) };
    let hull = spans.iter().map(area).reduce(Area::hull).unwrap_or(Area { x: (0, 0), y: (0, 0) });
    let bins = || {
        spans.iter().flat_map(|span| span.y * columns + span.first..=span.y * columns + span.last)
    };
    Region {
        layer,
        side,
        area: hull,
        bins: bins().count(),
        error: bins().map(|bin| square(map.input[bin], map.output[bin])).sum(),
        coincident: bins().any(|bin| shared[bin]),
        spans,
    }
}

fn square(input: f32, output: f32) -> f64 {
    let error = f64::from(output) - f64::from(input);
    error * error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::shape::Shape, score::patterns::*};
    use proptest::prelude::*;

    const SHAPE: Shape = Shape { y: 6, x: 30 };

    fn settings() -> PatternSettings {
        let windows = vec![Window { x: 16, y: 2 }, Window { x: 20, y: 1 }, Window { x: 8, y: 2 }];
        PatternSettings {
            bin_error: 0.04,
            windows,
            fill: 1.0,
            sides: Sides::Both,
            dynamic_mask: 0,
            layers: 2,
        }
    }

    fn layers(shapes: &[Shape]) -> Vec<DetectorLayer> {
        shapes
            .iter()
            .enumerate()
            .map(|(at, shape)| DetectorLayer {
                name: format!("L{at}"),
                shape: *shape,
                masked: vec![false; shape.width()],
                empty: vec![],
            })
            .collect()
    }

    /// Maps of ones with other values in some areas.
    fn map(shape: Shape, areas: &[(Area, f32)]) -> Vec<f32> {
        let mut values = vec![1.0; shape.width()];
        for (area, value) in areas {
            (0..shape.width())
                .filter(|at| area.contains(at % shape.x, at / shape.x))
                .for_each(|at| values[at] = *value);
        }
        values
    }

    fn area(x: (usize, usize), y: (usize, usize)) -> Area {
        Area { x, y }
    }

    fn find(finder: &mut Finder, run: u32, inputs: &[Vec<f32>]) -> Found {
        let outputs: Vec<Vec<f32>> = inputs.iter().map(|input| vec![1.0; input.len()]).collect();
        let maps: Vec<Map> = inputs
            .iter()
            .zip(&outputs)
            .map(|(input, output)| Map { contents: input, input, output })
            .collect();
        finder.row(run, &maps)
    }

    #[test]
    fn a_hole_in_two_layers_is_found_with_its_range_and_a_lone_bin_is_not() {
        let (settings, layers) = (settings(), layers(&[SHAPE, SHAPE, SHAPE]));
        let mut finder = Finder::new(&settings, &layers);
        let hole = area((4, 12), (1, 3));
        let quiet = vec![1.0; SHAPE.width()];
        let inputs = [
            map(SHAPE, &[(hole, 0.5), (area((20, 20), (5, 5)), 0.0)]),
            quiet.clone(),
            map(SHAPE, &[(area((10, 17), (3, 4)), 0.5)]),
        ];
        let found = find(&mut finder, 1, &inputs);
        assert_eq!((found.bins.as_slice(), found.coincident), ([27, 0, 16].as_slice(), 3));
        let told: Vec<_> = found
            .regions
            .iter()
            .map(|region| (region.layer, region.side, region.area, region.bins, region.coincident))
            .collect();
        assert_eq!(
            told,
            [(0, Side::Dead, hole, 27, true), (2, Side::Dead, area((10, 17), (3, 4)), 16, true)]
        );
        assert_eq!(found.regions[0].error, 27.0 * 0.25);
        // Nothing carries over to the next row.
        assert_eq!(
            find(&mut finder, 1, &vec![quiet.clone(); 3]),
            Found { bins: vec![0; 3], coincident: 0, regions: vec![] }
        );
        find(&mut finder, 1, &inputs);
        let elsewhere =
            [quiet, map(SHAPE, &[(hole, 0.5)]), map(SHAPE, &[(area((14, 29), (4, 5)), 0.5)])];
        assert_eq!(find(&mut finder, 1, &elsewhere).coincident, 0);
    }

    #[test]
    fn a_hole_over_a_hot_spot_does_not_coincide_and_sides_can_be_left_out() {
        let (mut settings, layers) = (settings(), layers(&[SHAPE, SHAPE]));
        let hole = area((4, 12), (1, 3));
        let inputs = [map(SHAPE, &[(hole, 0.5)]), map(SHAPE, &[(hole, 1.5)])];
        let found = find(&mut Finder::new(&settings, &layers), 1, &inputs);
        assert_eq!(
            (found.coincident, found.regions.len(), found.regions[1].side),
            (0, 2, Side::Hot)
        );
        assert!(found.regions.iter().all(|region| !region.coincident));
        settings.sides = Sides::Dead;
        assert_eq!(find(&mut Finder::new(&settings, &layers), 1, &inputs).bins, [27, 0]);
        settings.sides = Sides::Hot;
        assert_eq!(find(&mut Finder::new(&settings, &layers), 1, &inputs).bins, [0, 27]);
    }

    #[test]
    fn an_error_at_the_limit_is_not_above_it() {
        let settings = PatternSettings { bin_error: 0.25, ..settings() };
        let layers = layers(&[SHAPE, SHAPE]);
        let at =
            |value: f32| [map(SHAPE, &[(area((0, 29), (0, 5)), value)]), vec![1.0; SHAPE.width()]];
        assert_eq!(find(&mut Finder::new(&settings, &layers), 1, &at(0.5)).bins, [0, 0]);
        assert_eq!(find(&mut Finder::new(&settings, &layers), 1, &at(0.499)).bins, [180, 0]);
        assert_eq!(find(&mut Finder::new(&settings, &layers), 1, &at(f32::NAN)).bins, [0, 0]);
    }

    #[test]
    fn a_place_that_was_always_empty_is_hot_where_it_comes_alive_and_not_where_it_hardly_does() {
        let settings = settings();
        let mut layers = layers(&[SHAPE, SHAPE]);
        let place = area((4, 20), (1, 3));
        let dead = map(SHAPE, &[(place, 0.0)]);
        for layer in &mut layers {
            layer.masked = dead.iter().map(|value| *value == 0.0).collect();
            layer.empty = layer.masked.clone();
        }
        let outputs = [dead.clone(), dead.clone()];
        let bins = |layers: &[DetectorLayer], value: f32| {
            let inputs = [map(SHAPE, &[(place, value)]), dead.clone()];
            let maps: Vec<Map> = inputs
                .iter()
                .zip(&outputs)
                .map(|(input, output)| Map { contents: input, input, output })
                .collect();
            Finder::new(&settings, layers).row(1, &maps).bins
        };
        // A stray count is a usual deviation; with the floor of a map of a hundred counts a bin it
        // is 0.1.
        assert_eq!((bins(&layers, 0.1), bins(&layers, 5.0)), (vec![0, 0], vec![51, 0]));
        // If a bin was sometimes not empty in training, the mask applies.
        layers.iter_mut().for_each(|layer| layer.empty.fill(false));
        assert_eq!(bins(&layers, 5.0), [0, 0]);
    }

    #[test]
    fn masked_bins_are_not_bad_statically_or_after_so_many_empty_rows_of_the_run() {
        let settings = PatternSettings { dynamic_mask: 3, ..settings() };
        let mut layers = layers(&[SHAPE, SHAPE]);
        let hole = area((4, 12), (1, 3));
        let inputs = [map(SHAPE, &[(hole, 0.0)]), map(SHAPE, &[(hole, 0.0)])];
        let mut finder = Finder::new(&settings, &layers);
        let counts: Vec<usize> = [1, 1, 1, 1, 1, 2, 2]
            .into_iter()
            .map(|run| find(&mut finder, run, &inputs).bins[0])
            .collect();
        assert_eq!(counts, [27, 27, 27, 0, 0, 27, 27]);
        layers[1].masked = inputs[1].iter().map(|value| *value == 0.0).collect();
        let found = find(&mut Finder::new(&settings, &layers), 1, &inputs);
        assert_eq!((found.bins, found.coincident), (vec![27, 0], 0));
    }

    proptest! {
        #[test]
        fn regions_are_the_bins_that_are_kept(
            values in prop::collection::vec(0.0_f32..2.0, 4 * 54), rows in 1_usize..4, fill in 0.3_f64..=1.0, least in 1_usize..=2,
        ) {
            let shapes = [Shape { y: 3, x: 8 }, Shape { y: 5, x: 6 }];
            let settings = PatternSettings { windows: vec![Window { x: 2, y: 2 }, Window { x: 4, y: 1 }], fill, layers: least, dynamic_mask: 2, ..settings() };
            let layers = layers(&shapes);
            let mut finder = Finder::new(&settings, &layers);
            for row in values.chunks_exact(54).take(rows) {
                let inputs = [row[..24].to_vec(), row[24..].to_vec()];
                let found = find(&mut finder, 1, &inputs);
                // A separate finder finds the same for a row without a dynamic mask.
                prop_assert_eq!(&found, &find(&mut Finder::new(&settings, &layers), 1, &inputs));
                for (at, input) in inputs.iter().enumerate() {
                    let regions: Vec<&Region> = found.regions.iter().filter(|region| region.layer == at).collect();
                    prop_assert_eq!(regions.iter().map(|region| region.bins).sum::<usize>(), found.bins[at]);
                    for region in regions {
                        for span in &region.spans {
                            for x in span.first..=span.last {
                                let value = input[span.y * shapes[at].x + x];
                                prop_assert!(region.area.contains(x, span.y) && (value - 1.0).abs() >= 0.2);
                                prop_assert_eq!(region.side, if value < 1.0 { Side::Dead } else { Side::Hot });
                            }
                        }
                        if least == 1 {
                            prop_assert!(region.coincident);
                        }
                    }
                }
                let both = |side| (0..2).all(|layer| found.regions.iter().any(|region| region.layer == layer && region.side == side && region.coincident));
                prop_assert_eq!(found.coincident > 0, least == 1 && !found.regions.is_empty() || both(Side::Dead) || both(Side::Hot));
            }
        }
    }
}
