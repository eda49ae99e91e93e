//! `@`, `dot` and `inner` as `einsum` writes them: a label for each axis of the operands and of the result.

use crate::program::expr::Op;

/// Einsum labels of `matmul`, `dot` or `inner` on arrays of these ranks: inputs and output. 0 is the
/// summed label.
pub(super) fn product_labels(op: &Op, left: usize, right: usize) -> Result<(Vec<Vec<usize>>, Vec<usize>), String> {
    if left == 0 || right == 0 {
        return Err(format!("needs arrays of rank 1 or more, found {left} and {right}"));
    }
    if matches!(op, Op::MatMul) {
        // Batch axes are counted from the right, so that they align.
        let batch = |rank: usize| (3..rank.saturating_sub(2) + 3).rev().collect::<Vec<usize>>();
        let (a, b) = (batch(left), batch(right));
        let rows: &[usize] = if left > 1 { &[1] } else { &[] };
        let columns: &[usize] = if right > 1 { &[2] } else { &[] };
        let longer = if a.len() > b.len() { &a } else { &b };
        let output = [longer.as_slice(), rows, columns].concat();
        return Ok((vec![[a.as_slice(), rows, &[0]].concat(), [b.as_slice(), &[0], columns].concat()], output));
    }
    let (a, b): (Vec<usize>, Vec<usize>) = ((1..left).collect(), (left..left + right - 1).collect());
    let mut second = b.clone();
    second.insert(if matches!(op, Op::Dot) { right.saturating_sub(2) } else { right - 1 }, 0);
    Ok((vec![[a.as_slice(), &[0]].concat(), second], [a, b].concat()))
}
