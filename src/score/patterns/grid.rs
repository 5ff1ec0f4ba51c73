//! A common grid for layers of different binning.

use crate::data::shape::Shape;

/// A grid as fine as the finest layer on each axis. A cell belongs to the bin of each layer at the
/// same fraction of the axes as the cell's centre.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    shape: Shape,
    /// By layer: number of bins in x, and the bin in x and in y of each cell.
    bins: Vec<(usize, Vec<usize>, Vec<usize>)>,
}

impl Grid {
    pub fn new(layers: impl Iterator<Item = Shape> + Clone) -> Self {
        let finest = |axis: fn(Shape) -> usize| layers.clone().map(axis).max().unwrap_or(0);
        let shape = Shape { y: finest(|shape| shape.y), x: finest(|shape| shape.x) };
        let axis = |cells: usize, bins: usize| {
            (0..cells).map(|cell| (2 * cell + 1) * bins / (2 * cells)).collect()
        };
        Self {
            shape,
            bins: layers
                .map(|layer| (layer.x, axis(shape.x, layer.x), axis(shape.y, layer.y)))
                .collect(),
        }
    }

    /// Counts the cells marked in at least `least` layers; marks their bins in `shared`.
    pub fn coincide(&self, least: usize, marked: &[&[bool]], shared: &mut [&mut [bool]]) -> usize {
        let mut count = 0;
        for y in 0..self.shape.y {
            for x in 0..self.shape.x {
                let bins =
                    || self.bins.iter().map(|(columns, to_x, to_y)| to_y[y] * columns + to_x[x]);
                if bins().zip(marked).filter(|(bin, marked)| marked[*bin]).count() >= least {
                    count += 1;
                    bins()
                        .zip(marked)
                        .zip(&mut *shared)
                        .for_each(|((bin, marked), shared)| shared[bin] |= marked[bin]);
                }
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn coincide(layers: &[(Shape, Vec<bool>)], least: usize) -> (usize, Vec<Vec<bool>>) {
        let mut shared: Vec<Vec<bool>> =
            layers.iter().map(|(shape, _)| vec![false; shape.width()]).collect();
        let marked: Vec<&[bool]> = layers.iter().map(|(_, marked)| marked.as_slice()).collect();
        let count = Grid::new(layers.iter().map(|(shape, _)| *shape)).coincide(
            least,
            &marked,
            &mut shared.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        );
        (count, shared)
    }

    fn marked(text: &str) -> Vec<bool> {
        text.chars().map(|c| c == '#').collect()
    }

    #[test]
    fn a_coarse_bin_is_as_many_cells_as_it_covers() {
        let layers = [
            (Shape::line(6), marked("..##.#")),
            (Shape::line(3), marked(".#.")),
            (Shape::line(2), marked("#.")),
        ];
        let (count, shared) = coincide(&layers, 2);
        assert_eq!(count, 2);
        assert_eq!(shared, [marked("..##.."), marked(".#."), marked("#.")]);
        assert_eq!(coincide(&layers, 3), (1, vec![marked("..#..."), marked(".#."), marked("#.")]));
        assert_eq!(coincide(&layers, 1).0, 6 - 1);
    }

    fn some_layer() -> impl Strategy<Value = (Shape, Vec<bool>)> {
        (1_usize..6, 1_usize..7).prop_flat_map(|(y, x)| {
            (Just(Shape { y, x }), prop::collection::vec(any::<bool>(), x * y))
        })
    }

    proptest! {
        #[test]
        fn the_order_of_layers_does_not_matter(layers in prop::collection::vec(some_layer(), 1..5), turn in 0_usize..4, least in 1_usize..4) {
            let (count, mut shared) = coincide(&layers, least);
            let mut turned = layers.clone();
            let turn = turn % layers.len();
            turned.rotate_left(turn);
            shared.rotate_left(turn);
            prop_assert_eq!(coincide(&turned, least), (count, shared.clone()));
            turned.reverse();
            shared.reverse();
            prop_assert_eq!(coincide(&turned, least), (count, shared));
        }

        #[test]
        fn layers_of_one_shape_coincide_bin_by_bin(shape in (1_usize..6, 1_usize..7), bits in prop::collection::vec(any::<bool>(), 90), least in 1_usize..4) {
            let shape = Shape { y: shape.0, x: shape.1 };
            let layers: Vec<_> = bits.chunks(30).map(|bits| (shape, bits[..shape.width()].to_vec())).collect();
            let (count, shared) = coincide(&layers, least);
            let cells: Vec<bool> = (0..shape.width()).map(|at| layers.iter().filter(|(_, marked)| marked[at]).count() >= least).collect();
            prop_assert_eq!(count, cells.iter().filter(|cell| **cell).count());
            for ((_, marked), shared) in layers.iter().zip(shared) {
                prop_assert_eq!(shared, marked.iter().zip(&cells).map(|(marked, cell)| *marked && *cell).collect::<Vec<_>>());
            }
        }

        #[test]
        fn every_bin_has_a_cell(shapes in prop::collection::vec((1_usize..40, 1_usize..40), 1..5)) {
            let shapes: Vec<Shape> = shapes.into_iter().map(|(y, x)| Shape { y, x }).collect();
            let layers: Vec<_> = shapes.iter().map(|shape| (*shape, vec![true; shape.width()])).collect();
            let (_, shared) = coincide(&layers, 1);
            prop_assert!(shared.concat().into_iter().all(|shared| shared));
        }
    }
}
