//! Matrix products and vectorised loops on the CPU. Results depend neither on the number of threads
//! nor on other computations.

use gemm::Parallelism;

/// Products of fewer multiply-adds run on one thread: starting threads would cost more time than
/// it saves.
const PARALLEL: usize = 192 * 192 * 192;

/// A matrix in row-major memory, optionally transposed.
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns);
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = left · right`, or `out += left · right`; `out` is row-major.
#[allow(
    unsafe_code,
    reason = "gemm takes raw pointers; the lengths are checked just above the call"
)]
pub(crate) fn multiply(left: Matrix<'_>, right: Matrix<'_>, out: &mut [f32], add: bool) {
    let (m, k, n) = (left.rows, left.columns, right.columns);
    assert_eq!(right.rows, k);
    assert_eq!(out.len(), m * n);
    let parallelism = if m * n * k < PARALLEL { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: every index a product touches is below rows · columns of its matrix, which
    // `Matrix::new` and the asserts above check against the lengths of the slices; `out` is
    // borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Compiles a function body for the vector units of several generations of processors; the choice
/// is made at run time.
macro_rules! vectorised {
    ($(#[$doc:meta])* fn $name:ident<$life:lifetime>($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name<$life>($($argument: $type),*) {
            struct Body<$life> { $($argument: $type),* }
            impl pulp::NullaryFnOnce for Body<'_> {
                type Output = ();
                #[inline(always)]
                fn call(self) {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Body { $($argument),* });
        }
    };
}

pub(crate) use vectorised;
