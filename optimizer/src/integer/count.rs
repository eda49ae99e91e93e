//! How many points a domain has.

use crate::integer::range::Range;

/// So many values of axes that others depend on are looked at one by one; beyond, evenly spaced ones.
const ENUMERATED: f64 = 65_536.0;

/// Number of points of `domain`: exact where no more than [`ENUMERATED`] combinations of outer axes
/// decide the bounds of inner ones, an estimate otherwise. Variables of loops count as 0.
pub fn points(domain: &[Range]) -> f64 {
    count(domain, 0, &mut vec![0; domain.len()], ENUMERATED)
}

fn count(domain: &[Range], axis: usize, values: &mut Vec<i64>, budget: f64) -> f64 {
    let Some(range) = domain.get(axis) else { return 1.0 };
    let (low, high) = crate::integer::range::interval(range, |variable| values.get(variable).copied().unwrap_or(0));
    if high <= low {
        return 0.0;
    }
    let length = (high - low) as f64;
    let later = domain[axis + 1..].iter().flat_map(|range| range.lo.iter().chain(&range.hi));
    if later.clone().all(|bound| bound.coefficient(axis) == 0) {
        return length * count(domain, axis + 1, values, budget);
    }
    let samples = length.min(budget.max(1.0));
    let mut sum = 0.0;
    let mut sample = 0.5;
    while sample < samples {
        values[axis] = low + (sample * length / samples) as i64;
        sum += count(domain, axis + 1, values, budget / samples);
        sample += 1.0;
    }
    sum * length / samples
}

#[cfg(test)]
mod tests {
    use super::points;
    use crate::integer::affine::Affine;
    use crate::integer::range::Range;

    #[test]
    fn a_triangle_and_a_tetrahedron_are_counted() {
        let below = |axis: usize| Range { lo: vec![Affine::constant(0)], hi: vec![Affine::variable(axis).offset(1)] };
        let box_ = Range::constant(0, 1000);
        assert_eq!(points(&[box_.clone(), below(0)]), 500_500.0);
        assert_eq!(points(&[box_.clone(), box_.clone(), below(0)]), 500_500_000.0);
        let tetrahedron = points(&[Range::constant(0, 40), below(0), below(1)]);
        assert_eq!(tetrahedron, 11_480.0);
        let large = points(&[box_, below(0), below(1)]);
        assert!((large / 167_167_000.0 - 1.0).abs() < 0.02, "{large}");
    }
}
