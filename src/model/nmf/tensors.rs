//! Non-negative matrix factorisation on any device; all members are computed together.

use super::{
    encoder::Numbers,
    solve::{SMALLEST, STEPS},
};
use crate::config::model::NmfSolver;
use burn::tensor::{Tensor, TensorData};

/// Sweeps of coordinate descent over coefficients. The number is fixed: testing for convergence
/// would read from the device.
const SWEEPS: usize = 120;
/// Sweeps over components, which start from their current values.
const COMPONENT_SWEEPS: usize = 20;

/// Non-negative least squares for every column. `gram` is `[members, k, k]`; `products` and
/// `solution` are `[members, k, columns]`; `penalties` are the L1 and L2 penalties, each
/// `[members, 1, 1]`.
fn descend(
    sweeps: usize,
    gram: &Tensor<3>,
    products: &Tensor<3>,
    penalties: &[Tensor<3>; 2],
    mut solution: Tensor<3>,
) -> Tensor<3> {
    let [members, count, columns] = solution.dims();
    let rows: Vec<_> = (0..count)
        .map(|at| {
            let own = gram.clone().narrow(1, at, 1);
            let curvature = own.clone().narrow(2, at, 1) + penalties[1].clone();
            // An all-zero component gets coefficient 0.
            let keep = curvature.clone().greater_elem(SMALLEST).float();
            let inverse = keep.clone() / curvature.clamp_min(SMALLEST);
            (own, products.clone().narrow(1, at, 1) - penalties[0].clone(), inverse, keep)
        })
        .collect();
    for _ in 0..sweeps {
        for (at, (gram, product, inverse, keep)) in rows.iter().enumerate() {
            let own = solution.clone().narrow(1, at, 1);
            let open = product.clone()
                - gram.clone().matmul(solution.clone())
                - own.clone() * penalties[1].clone();
            let next = ((own + open * inverse.clone()) * keep.clone()).clamp_min(0.0);
            solution = solution.slice_assign([0..members, at..at + 1, 0..columns], next);
        }
    }
    solution
}

/// Multiplicative updates of every column.
fn rescale(
    steps: usize,
    gram: &Tensor<3>,
    products: &Tensor<3>,
    penalties: &[Tensor<3>; 2],
    mut solution: Tensor<3>,
) -> Tensor<3> {
    let above = products.clone().clamp_min(0.0);
    for _ in 0..steps {
        let below = gram.clone().matmul(solution.clone())
            + penalties[0].clone()
            + solution.clone() * penalties[1].clone();
        solution = solution * above.clone() / below.clamp_min(SMALLEST);
    }
    solution
}

/// The same number for all members, `[members, 1, 1]`.
fn number(like: &Tensor<3>, members: usize, number: f64) -> Tensor<3> {
    Tensor::from_data(
        TensorData::new(vec![number as f32; members], [members, 1, 1]),
        &like.device(),
    )
}

/// Coefficients of rows `[members or 1, rows, bins]` for components `[members, k, bins]`, as
/// `[members, k, rows]`.
pub fn coefficients(
    components: &Tensor<3>,
    rows: &Tensor<3>,
    numbers: Numbers,
    solver: NmfSolver,
) -> Tensor<3> {
    let ([members, count, bins], height) = (components.dims(), rows.dims()[1]);
    let gram = components.clone().matmul(components.clone().swap_dims(1, 2));
    let rows = rows.clone().expand([members, height, bins]);
    let products = components.clone().matmul(rows.swap_dims(1, 2));
    let penalties =
        [numbers.l1, numbers.l2].map(|penalty| number(components, members, penalty * bins as f64));
    let start = Tensor::<3>::zeros([members, count, height], &components.device());
    match solver {
        NmfSolver::Descent => descend(SWEEPS, &gram, &products, &penalties, start),
        NmfSolver::Multiplicative => {
            rescale(STEPS, &gram, &products, &penalties, start.add_scalar(1.0))
        }
    }
}

/// Least-squares components `[members, k, bins]`, starting from the current ones. `products` are
/// the sums over rows of coefficients times rows, `gram` of coefficients times coefficients,
/// `[members, k, k]`; `penalties` are used unscaled, `[members, 1, 1]`.
pub fn components(
    gram: &Tensor<3>,
    products: &Tensor<3>,
    penalties: &[Tensor<3>; 2],
    solver: NmfSolver,
    at_hand: Tensor<3>,
) -> Tensor<3> {
    match solver {
        NmfSolver::Descent => descend(COMPONENT_SWEEPS, gram, products, penalties, at_hand),
        NmfSolver::Multiplicative => rescale(1, gram, products, penalties, at_hand),
    }
}
