//! Pairwise sums: NumPy's order of additions, and how many of them a term goes through.
//!
//! NumPy adds fewer than 8 terms one after the other, up to 128 with eight accumulators, and more as the sum of two halves,
//! the first a multiple of 8 (`pairwise_sum` in `loops_utils.h.src`). To first order, the error of a sum is at most the
//! unit roundoff times Σ|terms| times the additions on the longest way from a term to the result, its *depth*: n − 1 for n
//! terms in order, about log₂ n here (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., 4.2).
//!
//! A fold that stands for a reduction carries a depth: no order of its terms may have more. A contraction carries none,
//! its terms may be added one after the other. Under exact numerics a fold with a depth is NumPy's very order over the
//! ravel of its axes.

/// Accumulators of a block.
pub const ACCUMULATORS: usize = 8;
/// The most terms of a block.
pub const BLOCK: usize = 128;

/// Terms of the first half of more than a block: a multiple of the accumulators.
pub const fn first_half(terms: usize) -> usize {
    let half = terms / 2;
    half - half % ACCUMULATORS
}

/// Additions on the longest way through NumPy's pairwise sum of `terms`.
pub fn depth(terms: usize) -> usize {
    // Halves of halves have few different lengths, so this is short.
    fn of(terms: usize, known: &mut std::collections::BTreeMap<usize, usize>) -> usize {
        if terms < ACCUMULATORS {
            return terms.saturating_sub(1);
        }
        if terms <= BLOCK {
            return terms / ACCUMULATORS - 1 + levels(ACCUMULATORS) + terms % ACCUMULATORS;
        }
        if let Some(&depth) = known.get(&terms) {
            return depth;
        }
        let first = first_half(terms);
        let depth = 1 + of(first, known).max(of(terms - first, known));
        known.insert(terms, depth);
        depth
    }
    of(terms, &mut std::collections::BTreeMap::new())
}

/// The least depth of a sum of `terms`: that of a balanced tree, ⌈log₂ terms⌉.
pub fn levels(terms: usize) -> usize {
    usize::try_from(terms.max(1).next_power_of_two().ilog2()).unwrap_or(0)
}

/// The sum of `terms` in NumPy's order, with `add` for one addition; `zero` if there are none.
///
/// NumPy begins with +0, so that a sum of −0 is +0.
pub fn sum<T: Copy>(terms: &[T], zero: T, add: &impl Fn(T, T) -> T) -> T {
    if terms.is_empty() { zero } else { add(zero, block(terms, add)) }
}

fn block<T: Copy>(terms: &[T], add: &impl Fn(T, T) -> T) -> T {
    if terms.len() > BLOCK {
        let (first, second) = terms.split_at(first_half(terms.len()));
        return add(block(first, add), block(second, add));
    }
    let (whole, rest) = terms.split_at(terms.len() - terms.len() % ACCUMULATORS);
    let mut rows = whole.chunks(ACCUMULATORS);
    let Some(first) = rows.next() else { return rest[1..].iter().fold(rest[0], |sum, &x| add(sum, x)) };
    let mut sums = first.to_vec();
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum = add(*sum, x));
    }
    while sums.len() > 1 {
        sums = sums.chunks(2).map(|pair| add(pair[0], pair[1])).collect();
    }
    rest.iter().fold(sums[0], |sum, &x| add(sum, x))
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, depth, levels, sum};

    /// The depth is that of the order itself: counted on terms that know theirs.
    #[test]
    fn the_depth_is_that_of_the_order() {
        for terms in (1..700).chain([1000, 1024, 1025, 4099, 1 << 20, (1 << 20) + 1, 123_457]) {
            let counted = sum(&vec![0; terms], -1, &|a: i64, b: i64| if a < 0 { b } else { a.max(b) + 1 });
            assert_eq!(usize::try_from(counted), Ok(depth(terms)), "{terms} terms");
            assert!(levels(terms) <= depth(terms), "{terms} terms");
        }
        assert_eq!(depth(0), 0);
        assert_eq!(depth(BLOCK), 18);
        assert_eq!(depth(1 << 25), 36);
    }
}
