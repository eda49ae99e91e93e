//! Direction vectors and emptiness by integer elimination against brute force on small boxes.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use moat_optimizer::dependence::between::{Direction, Reference, directions, self_dependences};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::integer::set::{Answer, IntegerSet};
use moat_optimizer::value::dtype::DType;
use moat_tests::forms;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;

fn points(domain: &[Range]) -> Vec<Vec<i64>> {
    let mut all: Vec<Vec<i64>> = vec![Vec::new()];
    for range in domain {
        all = all
            .into_iter()
            .flat_map(|point| {
                let low = range.lo.iter().map(|f| f.evaluate(|v| point[v])).max().unwrap();
                let high = range.hi.iter().map(|f| f.evaluate(|v| point[v])).min().unwrap();
                (low..high).map(move |x| point.iter().copied().chain([x]).collect())
            })
            .collect();
    }
    all
}

fn brute(source: &Reference<'_>, sink: &Reference<'_>, common: usize) -> BTreeSet<Vec<Direction>> {
    let mut found = BTreeSet::new();
    for from in points(source.domain) {
        for to in points(sink.domain) {
            let meets =
                source.access.iter().zip(sink.access).all(|(f, g)| f.evaluate(|v| from[v]) == g.evaluate(|v| to[v]));
            if meets {
                let vector = (0..common).map(|a| match from[a].cmp(&to[a]) {
                    std::cmp::Ordering::Less => Direction::Less,
                    std::cmp::Ordering::Equal => Direction::Equal,
                    std::cmp::Ordering::Greater => Direction::Greater,
                });
                found.insert(vector.collect());
            }
        }
    }
    found
}

fn form(rng: &mut StdRng, axes: usize, coefficient: i64) -> Affine {
    let terms: Vec<(usize, i64)> = (0..axes).map(|v| (v, rng.random_range(-coefficient..=coefficient))).collect();
    Affine::new(rng.random_range(-4..=4), terms)
}

fn domain(rng: &mut StdRng, axes: usize) -> Vec<Range> {
    (0..axes)
        .map(|axis| {
            let mut range = Range::constant(rng.random_range(-2..=1), rng.random_range(2..=4));
            if axis > 0 && rng.random_bool(0.4) {
                range.hi.push(form(rng, axis, 1));
            }
            if axis > 0 && rng.random_bool(0.3) {
                range.lo.push(form(rng, axis, 1));
            }
            range
        })
        .collect()
}

#[test]
fn directions_hold_every_pair_and_are_nearly_always_exact() {
    let mut rng = StdRng::seed_from_u64(7);
    let (mut vectors, mut spurious) = (0, 0);
    for case in 0..1500 {
        let axes = rng.random_range(1..=3);
        let rank = rng.random_range(1..=2);
        let (from_domain, to_domain) = (domain(&mut rng, axes), domain(&mut rng, axes));
        let from: Vec<Affine> = (0..rank).map(|_| form(&mut rng, axes, 3)).collect();
        let to: Vec<Affine> = (0..rank).map(|_| form(&mut rng, axes, 3)).collect();
        let source = Reference { domain: &from_domain, access: &from };
        let sink = Reference { domain: &to_domain, access: &to };
        let found: BTreeSet<_> = directions(&source, &sink, axes).into_iter().collect();
        let expected = brute(&source, &sink, axes);
        assert!(found.is_superset(&expected), "case {case}: {source:?} {sink:?}: {found:?} lacks {expected:?}");
        vectors += found.len();
        spurious += found.difference(&expected).count();
    }
    assert!(spurious * 200 < vectors, "{spurious} of {vectors} vectors are spurious");
}

#[test]
fn emptiness_never_contradicts_enumeration() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut undecided = 0;
    for case in 0..3000 {
        let axes = rng.random_range(1..=4);
        let domain = domain(&mut rng, axes);
        let mut set = IntegerSet::all(axes);
        set.require_domain(&domain, |v| v);
        let equal = form(&mut rng, axes, 5);
        let bound = form(&mut rng, axes, 5);
        set.require_zero(&equal, |v| v);
        set.require_non_negative(&bound, |v| v);
        let inhabited = points(&domain).iter().any(|p| equal.evaluate(|v| p[v]) == 0 && bound.evaluate(|v| p[v]) >= 0);
        match set.answer() {
            Answer::Empty => assert!(!inhabited, "case {case}: {domain:?}, {equal} = 0, {bound} >= 0"),
            Answer::Inhabited => assert!(inhabited, "case {case}: {domain:?}, {equal} = 0, {bound} >= 0"),
            Answer::Maybe => undecided += 1,
        }
    }
    assert!(undecided < 15, "{undecided} of 3000 undecided");
}

#[test]
fn a_fold_depends_on_itself_along_its_fold_axes_only() {
    let text = |form: &moat_optimizer::form::normal_form::NormalForm| {
        let all = self_dependences(&form.defs[0]);
        let mut lines: Vec<String> =
            all.iter().map(|d| d.directions.iter().map(|x| x.symbol()).collect::<String>()).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(text(&forms::matmul(3, 4, 5, DType::F32)), "==<");
    assert_eq!(text(&forms::frobenius(3, 4, DType::F32)), "<< <= <> =<");
    assert_eq!(text(&forms::triangular(6, 4, DType::F32)), "==<");
    assert_eq!(text(&forms::transpose(3, 4, DType::F32)), "");
}
