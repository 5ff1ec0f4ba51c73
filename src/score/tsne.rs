//! Rows in two dimensions by t-SNE.
//!
//! After van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9 (2008) 2579, with the
//! Barnes-Hut approximation of van der Maaten, "Accelerating t-SNE using tree-based algorithms",
//! JMLR 15 (2014) 3221. Its settings are those of scikit-learn. Results do not depend on the number
//! of threads.

use super::pca::Pca;
use crate::random;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Effective number of neighbours of a row.
const PERPLEXITY: f64 = 30.0;

/// Wider rows are reduced to this number of principal components.
pub const TSNE_WIDTH: usize = 50;

/// Number of steps of gradient descent, and number of first steps with exaggerated attraction.
const STEPS: (usize, usize) = (1000, 250);

/// Factor of the exaggerated attraction.
const EXAGGERATION: f32 = 12.0;

/// Angular size of a cell below which its points are treated as one.
const THETA: f32 = 0.5;

/// Rows per tile when distances are computed.
const TILE: usize = 4096;

type Point = [f32; 2];

/// Maps `values` `[rows, width]` to `[rows]` points in a plane such that neighbours stay
/// neighbours. Distances between clusters and sizes of clusters have no meaning. Rows wider than
/// [`TSNE_WIDTH`] are reduced to that number of principal components. `seed` matters only if rows
/// vary along a single line.
///
/// # Errors
///
/// Fails if there are fewer than 4 rows, or all are equal.
pub fn tsne(values: &[f32], width: usize, seed: u64) -> Result<Vec<Point>, String> {
    let rows = values.len() / width.max(1);
    if rows < 4 {
        return Err(format!("t-SNE needs 4 rows, there are {rows}"));
    }
    let pca = Pca::fit(values, width, 2.min(width));
    if pca.shares[0] == 0.0 {
        return Err("all latents are the same".into());
    }
    let mut points = first_layout(&pca.project(values), pca.components.len(), seed);
    let near = if width > TSNE_WIDTH {
        affinities(&Pca::fit(values, width, TSNE_WIDTH).project(values), TSNE_WIDTH)
    } else {
        affinities(values, width)
    };

    let rate = (rows as f32 / EXAGGERATION / 4.0).max(50.0);
    let mut moves = vec![[0.0_f32; 2]; rows];
    let mut gains = vec![[1.0_f32; 2]; rows];
    let mut forces: Vec<(Point, Point, f32)> = vec![];
    for step in 0..STEPS.0 {
        let (exaggeration, momentum) =
            if step < STEPS.1 { (EXAGGERATION, 0.5) } else { (1.0, 0.8) };
        let tree = Tree::new(&points);
        let force = |i: usize| {
            let (repulsion, sum) = tree.repulsion(points[i], THETA);
            (near.attraction(i, &points), repulsion, sum)
        };
        (0..rows).into_par_iter().with_min_len(64).map(force).collect_into_vec(&mut forces);
        let total =
            forces.iter().map(|(_, _, sum)| f64::from(*sum)).sum::<f64>().max(f64::MIN_POSITIVE)
                as f32;
        for (i, (attraction, repulsion, _)) in forces.iter().enumerate() {
            for axis in 0..2 {
                let gradient = 4.0 * (exaggeration * attraction[axis] - repulsion[axis] / total);
                let (gain, moved) = (&mut gains[i][axis], &mut moves[i][axis]);
                *gain = if *moved * gradient < 0.0 { *gain + 0.2 } else { (*gain * 0.8).max(0.01) };
                *moved = momentum * *moved - rate * *gain * gradient;
                points[i][axis] += *moved;
            }
        }
    }
    Ok(points)
}

/// Initial positions: scaled-down principal components `[rows, axes]`; random if there is no second
/// one.
fn first_layout(along: &[f32], axes: usize, seed: u64) -> Vec<Point> {
    let rows = along.len() / axes;
    let spread = |axis: usize| {
        (along.iter().skip(axis).step_by(axes).map(|value| f64::from(*value).powi(2)).sum::<f64>()
            / rows as f64)
            .sqrt()
    };
    let scale = 1e-4 / spread(0);
    let line = axes < 2 || spread(1) <= 1e-6 * spread(0);
    let mut chance = random::generator(seed, "t-SNE", 0);
    let mut second = |row: &[f32]| -> f64 {
        let drawn: f64 = if line { StandardNormal.sample(&mut chance) } else { 0.0 };
        if line { 1e-4 * drawn } else { scale * f64::from(row[1]) }
    };
    along
        .chunks_exact(axes)
        .map(|row| [(scale * f64::from(row[0])) as f32, second(row) as f32])
        .collect()
}

/// Affinities of rows: a sparse symmetric matrix whose entries add up to 1.
struct Affinities {
    /// Offsets of the entries of each row, `[rows + 1]`.
    starts: Vec<usize>,
    /// Columns and entries.
    entries: Vec<(u32, f32)>,
}

impl Affinities {
    /// The attraction of row `i` by its neighbours.
    fn attraction(&self, i: usize, points: &[Point]) -> Point {
        let [x, y] = points[i];
        let mut sum = [0.0; 2];
        for &(j, near) in &self.entries[self.starts[i]..self.starts[i + 1]] {
            let (dx, dy) = (x - points[j as usize][0], y - points[j as usize][1]);
            let pull = near / (1.0 + dx * dx + dy * dy);
            sum = [sum[0] + pull * dx, sum[1] + pull * dy];
        }
        sum
    }
}

/// The affinities of `values`, `[rows, width]`: Gaussian over each row's nearest neighbours, with
/// the width that gives the perplexity.
fn affinities(values: &[f32], width: usize) -> Affinities {
    let rows = values.len() / width;
    let perplexity = PERPLEXITY.min((rows - 1) as f64 / 3.0);
    let count = ((3.0 * perplexity + 1.0) as usize).min(rows - 1);
    // By columns, so that a row is compared with many at once.
    let columns: Vec<f32> =
        (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect();
    let neighbours = |i: usize| {
        let row = &values[i * width..(i + 1) * width];
        let mut squares = vec![0.0_f32; rows];
        for (tile, squares) in squares.chunks_mut(TILE).enumerate() {
            for (value, column) in row.iter().zip(columns.chunks_exact(rows)) {
                squares
                    .iter_mut()
                    .zip(&column[tile * TILE..])
                    .for_each(|(square, other)| *square += (value - other) * (value - other));
            }
        }
        let mut nearest: Vec<(f32, u32)> =
            squares.into_iter().zip(0..).filter(|(_, j)| *j != i as u32).collect();
        let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        nearest.select_nth_unstable_by(count - 1, order);
        nearest.truncate(count);
        nearest.sort_unstable_by(order);
        let squares: Vec<f64> = nearest.iter().map(|(square, _)| f64::from(*square)).collect();
        nearest
            .into_iter()
            .map(|(_, j)| j)
            .zip(weights(&squares, perplexity))
            .collect::<Vec<(u32, f64)>>()
    };
    let one_way: Vec<Vec<(u32, f64)>> = (0..rows).into_par_iter().map(neighbours).collect();
    let mut both: Vec<Vec<(u32, f64)>> = one_way.clone();
    for (i, row) in one_way.iter().enumerate() {
        row.iter().for_each(|&(j, weight)| both[j as usize].push((i as u32, weight)));
    }
    let (mut starts, mut entries) = (vec![0], vec![]);
    for mut row in both {
        row.sort_by_key(|(j, _)| *j);
        let same = row.chunk_by(|a, b| a.0 == b.0);
        entries.extend(same.map(|same| {
            (
                same[0].0,
                (same.iter().map(|(_, weight)| weight).sum::<f64>() / (2 * rows) as f64) as f32,
            )
        }));
        starts.push(entries.len());
    }
    Affinities { starts, entries }
}

/// Gaussian weights of neighbours at these squared distances (ascending), which add up to 1 and
/// have this perplexity.
fn weights(squares: &[f64], perplexity: f64) -> Vec<f64> {
    let (mut low, mut high, mut beta) = (0.0, f64::INFINITY, 1.0);
    // Distances relative to the nearest give the same weights, and one weight is always 1.
    let gauss = |beta: f64| {
        squares.iter().map(|square| (-beta * (square - squares[0])).exp()).collect::<Vec<_>>()
    };
    for _ in 0..100 {
        let weights = gauss(beta);
        let total: f64 = weights.iter().sum();
        let mean: f64 = squares
            .iter()
            .zip(&weights)
            .map(|(square, weight)| (square - squares[0]) * weight)
            .sum::<f64>()
            / total;
        let off = total.ln() + beta * mean - perplexity.ln();
        if off.abs() <= 1e-5 {
            break;
        }
        if off > 0.0 {
            low = beta;
            beta = if high.is_finite() { (low + high) / 2.0 } else { beta * 2.0 };
        } else {
            high = beta;
            beta = (low + high) / 2.0;
        }
    }
    let weights = gauss(beta);
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// A cell of a tree of points.
struct Cell {
    centre: Point,
    points: f32,
    /// The squared longer side of the bounding box of its points; 0 if all coincide.
    side: f32,
    /// The first cell after it that is not within it.
    next: u32,
}

/// Nested cells; each cell comes before those within it.
struct Tree(Vec<Cell>);

impl Tree {
    fn new(points: &[Point]) -> Self {
        let mut tree = Self(Vec::with_capacity(2 * points.len()));
        tree.grow(&mut points.to_vec());
        tree
    }

    fn grow(&mut self, points: &mut [Point]) {
        if points.is_empty() {
            return;
        }
        let (mut low, mut high, mut sum) =
            ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2], [0.0_f64; 2]);
        for point in points.iter() {
            for axis in 0..2 {
                (low[axis], high[axis]) = (low[axis].min(point[axis]), high[axis].max(point[axis]));
                sum[axis] += f64::from(point[axis]);
            }
        }
        let side = (high[0] - low[0]).max(high[1] - low[1]);
        let (at, count) = (self.0.len(), points.len());
        self.0.push(Cell {
            centre: sum.map(|sum| (sum / count as f64) as f32),
            points: count as f32,
            side: side * side,
            next: 0,
        });
        // A side whose square underflows counts as a single position.
        if side * side > 0.0 && count > 1 {
            let middle = [0, 1].map(|axis| (f64::from(low[axis]) + f64::from(high[axis])) / 2.0);
            let (left, right) = halve(points, 0, middle[0]);
            for side in [left, right] {
                let (below, above) = halve(side, 1, middle[1]);
                self.grow(below);
                self.grow(above);
            }
        }
        self.0[at].next = self.0.len() as u32;
    }

    /// The repulsion of a point by all others, and the sum of 1 / (1 + distance²) to the others.
    /// Cells whose side is less than `theta` times their distance are treated as one point.
    fn repulsion(&self, [x, y]: Point, theta: f32) -> (Point, f32) {
        let (mut push, mut total, mut at) = ([0.0_f32; 2], 0.0_f32, 0);
        while let Some(cell) = self.0.get(at) {
            let (dx, dy) = (x - cell.centre[0], y - cell.centre[1]);
            let square = dx * dx + dy * dy;
            if cell.side <= theta * theta * square || cell.side == 0.0 {
                let near = 1.0 / (1.0 + square);
                total += cell.points * near;
                let by = cell.points * near * near;
                push = [push[0] + by * dx, push[1] + by * dy];
                at = cell.next as usize;
            } else {
                at += 1;
            }
        }
        // Without the point itself.
        (push, total - 1.0)
    }
}

/// Moves the points up to `middle` on an axis before the others.
fn halve(points: &mut [Point], axis: usize, middle: f64) -> (&mut [Point], &mut [Point]) {
    let mut first = 0;
    for at in 0..points.len() {
        if f64::from(points[at][axis]) <= middle {
            points.swap(at, first);
            first += 1;
        }
    }
    points.split_at_mut(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::pca::tests::{clusters, made, with_threads};

    #[test]
    fn weights_have_the_perplexity() {
        let squares: Vec<f64> = (0..90).map(|i| 1e-7 * f64::from(i * i)).collect();
        let weights = weights(&squares, 30.0);
        let entropy: f64 =
            -weights.iter().map(|weight| weight * weight.max(1e-300).ln()).sum::<f64>();
        assert!(
            (entropy.exp() - 30.0).abs() < 1e-3
                && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-12
        );
        // Equal rows get equal weights.
        assert!(
            super::weights(&[0.0; 90], 30.0)
                .iter()
                .all(|weight| (weight - 1.0 / 90.0).abs() < 1e-12)
        );
    }

    #[test]
    fn far_points_may_be_taken_together() {
        let mut points: Vec<Point> = made(500, 2, 6)
            .chunks_exact(2)
            .map(|point| [10.0 * point[0], 10.0 * point[1]])
            .collect();
        points.extend([[1.0, 1.0]; 5]);
        let tree = Tree::new(&points);
        for &[x, y] in &points {
            // Repulsion, sum, and the sum of the lengths of all repulsions, which cancel.
            let mut exact = [0.0_f32; 4];
            for [u, v] in &points {
                let (dx, dy) = (x - u, y - v);
                let near = 1.0 / (1.0 + dx * dx + dy * dy);
                let by = near * near;
                exact = [
                    exact[0] + by * dx,
                    exact[1] + by * dy,
                    exact[2] + near,
                    exact[3] + by * dx.hypot(dy),
                ];
            }
            // Points spread evenly in a cell of side s at distance d have a variance of s²/12 along
            // it. The neglected term of the repulsion is at most 6 of that over d², which is
            // theta² / 2 at the limit of the approximation.
            for theta in [0.0, THETA / 5.0, THETA] {
                let most = 1e-5 + theta * theta / 2.0;
                let (push, total) = tree.repulsion([x, y], theta);
                assert!(
                    (total + 1.0 - exact[2]).abs() < most * exact[2],
                    "{theta}: {total} {exact:?}"
                );
                assert!(
                    (push[0] - exact[0]).hypot(push[1] - exact[1]) < most * exact[3],
                    "{theta}: {push:?} {exact:?}"
                );
            }
        }
    }

    #[test]
    fn clusters_stay_apart_whatever_the_threads() {
        let values = clusters(3, 300, 8, 12.0);
        let points = with_threads(1, || tsne(&values, 8, 1)).unwrap();
        assert_eq!(with_threads(3, || tsne(&values, 8, 1)).unwrap(), points);
        let nearest = |i: usize| {
            let square = |j: usize| {
                (points[i][0] - points[j][0]).powi(2) + (points[i][1] - points[j][1]).powi(2)
            };
            (0..300).filter(|j| *j != i).min_by(|&a, &b| square(a).total_cmp(&square(b))).unwrap()
        };
        let alike = (0..300).filter(|&i| nearest(i) % 3 == i % 3).count();
        assert!(alike >= 299, "{alike} of 300");
    }

    #[test]
    fn few_rows_and_equal_ones_and_lines() {
        assert_eq!(tsne(&[1.0, 2.0, 3.0], 1, 1).unwrap_err(), "t-SNE needs 4 rows, there are 3");
        assert_eq!(tsne(&[0.1; 50], 5, 1).unwrap_err(), "all latents are the same");
        let finite = |points: Vec<Point>| {
            assert!(points.iter().flatten().all(|value| value.is_finite()), "{points:?}")
        };
        finite(tsne(&[1.0, 2.0, 3.0, 5.0], 1, 1).unwrap());
        finite(tsne(&[&[0.0_f32; 200][..], &[1.0; 200]].concat(), 2, 1).unwrap());
        finite(tsne(&made(60, 80, 1), 80, 1).unwrap());
        // A line unfolds in two dimensions.
        let line = tsne(&(0..200).map(|i| i as f32).collect::<Vec<_>>(), 1, 1).unwrap();
        assert!(line.iter().any(|point| point[1].abs() > 1.0));
    }
}
