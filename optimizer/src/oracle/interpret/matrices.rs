//! Products of packed matrices, all row-major: the inner loops of contractions.
//!
//! Plain slices and extents come in; values, labels and bounds are unknown here.

use crate::value::dtype::DType;
use crate::value::scalar_eval::round;

/// `c[i, j] += Σ_k a[i, k]·b[k, j]`, all row-major, shape `[m, n, k]`; the additions to one element
/// happen in ascending k.
pub(crate) fn accumulate_product(a: &[f64], b: &[f64], c: &mut [f64], [m, n, k]: [usize; 3]) {
    if n < 8 {
        return accumulate_narrow(a, b, c, [m, n, k]);
    }
    // A panel of b of 128 rows and 512 columns stays in the L2 cache while the rows of a pass by.
    const COLUMNS: usize = 512;
    const DEPTH: usize = 128;
    for left in (0..n).step_by(COLUMNS) {
        let width = COLUMNS.min(n - left);
        for top in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - top);
            for i in 0..m {
                let row = &a[i * k + top..][..depth];
                let out = &mut c[i * n + left..][..width];
                let line = |p: usize| &b[(top + p) * n + left..][..width];
                let mut p = 0;
                while p + 4 <= depth {
                    let [a0, a1, a2, a3] = [row[p], row[p + 1], row[p + 2], row[p + 3]];
                    let (b0, b1, b2, b3) = (line(p), line(p + 1), line(p + 2), line(p + 3));
                    for j in 0..width {
                        out[j] = out[j] + a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];
                    }
                    p += 4;
                }
                for (p, a0) in row.iter().enumerate().skip(p) {
                    for (out, b0) in out.iter_mut().zip(line(p)) {
                        *out += a0 * b0;
                    }
                }
            }
        }
    }
}

/// The same for few columns: inner products of rows of a with the columns of b, in 8 partial sums.
fn accumulate_narrow(a: &[f64], b: &[f64], c: &mut [f64], [m, n, k]: [usize; 3]) {
    for j in 0..n {
        let column: Vec<f64> = (0..k).map(|p| b[p * n + j]).collect();
        for i in 0..m {
            let row = &a[i * k..][..k];
            let mut partial = [0.0f64; 8];
            let (row_blocks, column_blocks) = (row.chunks_exact(8), column.chunks_exact(8));
            let tail: f64 = row_blocks.remainder().iter().zip(column_blocks.remainder()).map(|(x, y)| x * y).sum();
            for (x, y) in row_blocks.zip(column_blocks) {
                for lane in 0..8 {
                    partial[lane] += x[lane] * y[lane];
                }
            }
            c[i * n + j] += partial.iter().sum::<f64>() + tail;
        }
    }
}

/// [`accumulate_product`] with every product and sum rounded at `dtype`, strictly in ascending k.
pub(super) fn accumulate_exactly(dtype: DType, a: &[f64], b: &[f64], c: &mut [f64], [m, n, k]: [usize; 3]) {
    for i in 0..m {
        let out = &mut c[i * n..][..n];
        for p in 0..k {
            let a0 = a[i * k + p];
            for (out, b0) in out.iter_mut().zip(&b[p * n..][..n]) {
                *out = round(dtype, *out + round(dtype, a0 * b0));
            }
        }
    }
}

/// [`accumulate_product`] on integers modulo 2⁶⁴; bools count.
pub(super) fn accumulate_ints(a: &[i64], b: &[i64], c: &mut [i64], [m, n, k]: [usize; 3]) {
    for i in 0..m {
        let out = &mut c[i * n..][..n];
        for p in 0..k {
            let a0 = a[i * k + p];
            for (out, b0) in out.iter_mut().zip(&b[p * n..][..n]) {
                *out = out.wrapping_add(a0.wrapping_mul(*b0));
            }
        }
    }
}
