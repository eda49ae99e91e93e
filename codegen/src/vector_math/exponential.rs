//! exp, tanh and erf: everything that needs eˣ.
//!
//! Reduction x = n·ln 2 + r with |r| ≤ ½ ln 2 in two fused steps (Cody and Waite), a minimax
//! polynomial in r (Remez, coefficients rounded one by one from the lowest), and 2ⁿ into the
//! exponent. The erf of f32 and the shape of the erf of f64, 1 − exp(−p(|x|)) beside an odd
//! polynomial, are N. Juffa's.

use super::error::Emit;
use super::lanes::{Lanes, Rounded, Vector, Width};
use inkwell::FloatPredicate;

/// ln 2 in two parts; the sum has twice the precision.
const LN_2_F32: (f64, f64) = (0.693_147_182_464_599_6, -1.904_654_212_125_933_6e-9);
const LN_2_F64: (f64, f64) = (std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);

/// (eʳ − 1 − r) / r², relative error of the exponential 2^-28.
const EXP_F32: [f64; 5] =
    [0.4999999403953552, 0.16666513681411743, 0.041668109595775604, 0.008369729854166508, 0.0013843134511262178];

/// (eʳ − 1 − r) / r², relative error of eʳ − 1 2^-31.
const EXPM1_F32: [f64; 6] =
    [0.5, 0.1666666567325592, 0.04166646674275398, 0.008333639241755009, 0.0013934955932199955, 0.00019671936752274632];

/// (eʳ − 1 − r) / r², relative error of the exponential 2^-56.
const EXP_F64: [f64; 10] = [
    0.5000000000000007,
    0.16666666666666696,
    0.04166666666656072,
    0.008333333333298294,
    0.0013888888936654702,
    0.00019841269964617866,
    2.480149926441666e-05,
    2.755714090347707e-06,
    2.762840219992108e-07,
    2.5154089683527653e-08,
];

/// (eʳ − 1 − r) / r², relative error of eʳ − 1 2^-58.
const EXPM1_F64: [f64; 11] = [
    0.5000000000000001,
    0.1666666666666667,
    0.04166666666664848,
    0.008333333333327034,
    0.0013888888897339458,
    0.0001984126987135944,
    2.4801571269136612e-05,
    2.7557259390829367e-06,
    2.757060573599514e-07,
    2.510376214050583e-08,
    1.689169785180183e-09,
];

/// erf(x)/x − 1 in x² for |x| below [`ERF_SEAM_F32`].
const ERF_SMALL_F32: [f64; 6] =
    [1.28379166e-1, -3.76125336e-1, 1.12819925e-1, -2.67681349e-2, 4.99119423e-3, -5.96761703e-4];

/// ln(erfc t)/t + 1 in t for t above [`ERF_SEAM_F32`].
const ERF_LARGE_F32: [f64; 7] =
    [-1.28717512e-1, -6.34846687e-1, -1.06777877e-1, 2.42546219e-2, -3.88396438e-3, 3.83197126e-4, -1.72853470e-5];
const ERF_SEAM_F32: f64 = 0.927_734_375;

/// erf(t)/t − ½ by degree for the 16 intervals around t = k / [`ERF_TABLE_SCALE`], in the distance
/// from the centre in units of their width; relative error of the error function 2^-25 with the
/// rounding of the coefficients.
const ERF_TABLE_F32: [[f64; 16]; 6] = [
    [
        0.6283791661262512,
        0.6038227677345276,
        0.5357078313827515,
        0.4383036196231842,
        0.32892462611198425,
        0.22227483987808228,
        0.12739971280097961,
        0.04768824949860573,
        -0.017322279512882233,
        -0.06988412141799927,
        -0.11260178685188293,
        -0.14774826169013977,
        -0.17708717286586761,
        -0.2019236981868744,
        -0.22321437299251556,
        -0.24166667461395264,
    ],
    [
        -5.690221627219216e-09,
        -0.048142965883016586,
        -0.0856051966547966,
        -0.10621640831232071,
        -0.11003934592008591,
        -0.10175631940364838,
        -0.08746325224637985,
        -0.07207326591014862,
        -0.05834723263978958,
        -0.047221194952726364,
        -0.03859522193670273,
        -0.031990423798561096,
        -0.026902969926595688,
        -0.022927822545170784,
        -0.01977022923529148,
        -0.017222197726368904,
    ],
    [
        -0.025048833340406418,
        -0.022162266075611115,
        -0.014770601876080036,
        -0.005861994344741106,
        0.0016188172157853842,
        0.006133101414889097,
        0.0077429781667888165,
        0.007420859765261412,
        0.006234557367861271,
        0.004905503708869219,
        0.0037632312159985304,
        0.002884439891204238,
        0.0022367723286151886,
        0.0017627045745030046,
        0.001411997014656663,
        0.001148122362792492,
    ],
    [
        -1.5585952723995433e-06,
        0.001848704065196216,
        0.0029019981157034636,
        0.0028652255423367023,
        0.002035699086263776,
        0.0009817896643653512,
        0.00015040632570162416,
        -0.00030340126249939203,
        -0.000447331287432462,
        -0.00042131112422794104,
        -0.0003367789613548666,
        -0.0002513289509806782,
        -0.00018380217079538852,
        -0.0001350563979940489,
        -0.0001007606988423504,
        -7.652647764189169e-05,
    ],
    [
        0.0005067666061222553,
        0.0003864056197926402,
        0.00012574852735269815,
        -0.00012832623906433582,
        -0.00025739186094142497,
        -0.0002474510110914707,
        -0.0001612096093595028,
        -6.964089698158205e-05,
        -9.451842743146699e-06,
        1.7043288607965223e-05,
        2.254546052427031e-05,
        1.93682499229908e-05,
        1.4405223737412598e-05,
        1.0193805792368948e-05,
        7.167963303800207e-06,
        5.102980594529072e-06,
    ],
    [
        -1.1580821592360735e-05,
        -4.1813695133896545e-05,
        -5.684286225005053e-05,
        -4.0568836993770674e-05,
        -1.0576965905784164e-05,
        1.2338101441855542e-05,
        1.9715911548701115e-05,
        1.570053063915111e-05,
        8.33892136142822e-06,
        2.7058117666456383e-06,
        -9.657407673557827e-08,
        -9.562020295561524e-07,
        -9.535605158816907e-07,
        -7.206391501313192e-07,
        -4.981567371942219e-07,
        -3.3762404427761794e-07,
    ],
];
const ERF_TABLE_SCALE: f64 = 3.875;
/// From here on erf rounds to 1 at f32.
const ERF_ONE_F32: f64 = 3.92;

/// erf(x)/x − 1 in x² for |x| ≤ 1, relative error 2^-56.
const ERF_SMALL_F64: [f64; 12] = [
    0.12837916709551256,
    -0.37612638903183343,
    0.11283791670936938,
    -0.026866170641954408,
    0.005223977596667636,
    -0.0008548325479895555,
    0.00012055280274298474,
    -1.492445972172246e-05,
    1.6444053391189652e-06,
    -1.6183034648351436e-07,
    1.3611540587642526e-08,
    -7.596117843395075e-10,
];

/// −ln(erfc t) for 1 ≤ t ≤ 6; the error, weighted with erfc t, is 2^-55.6.
const ERF_LARGE_F64: [f64; 18] = [
    4.801271821535813e-07,
    1.1283743000518205,
    0.6366427218090437,
    0.10270584481942756,
    -0.01899458711055936,
    -0.0004047083946723431,
    0.0019099134561123225,
    -0.000765884536206411,
    0.0001321051370401535,
    2.1704290480670524e-05,
    -2.337590395857704e-05,
    8.834197205279478e-06,
    -2.174722540793569e-06,
    3.8022302254362575e-07,
    -4.7320930411211985e-08,
    4.014671198056998e-09,
    -2.0893208778466577e-10,
    5.0421330089621875e-12,
];

/// x = n·ln 2 + r.
struct Reduced<'c> {
    n: Rounded<'c>,
    r: Vector<'c>,
}

fn reduce<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>) -> Emit<Reduced<'c>> {
    let (high, low) = match m.width {
        Width::F32 => LN_2_F32,
        Width::F64 => LN_2_F64,
    };
    let n = m.round_scaled(x, std::f64::consts::LOG2_E)?;
    let r = m.fma(n.value, m.float(-high), x)?;
    let r = m.fma(n.value, m.float(-low), r)?;
    Ok(Reduced { n, r })
}

/// eʳ for |r| ≤ ½ ln 2.
pub(super) fn exp_reduced<'c>(m: &Lanes<'_, 'c>, r: Vector<'c>) -> Emit<Vector<'c>> {
    let tail: &[f64] = match m.width {
        Width::F32 => &EXP_F32,
        Width::F64 => &EXP_F64,
    };
    let p = m.polynomial(r, tail)?;
    let p = m.fma(p, r, m.float(1.0))?;
    m.fma(p, r, m.float(1.0))
}

/// eˣ. Outside the clamp the result is 0 or ∞ in any rounding, and inside it n fits the scaling.
pub(super) fn exp<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>) -> Emit<Vector<'c>> {
    let (lowest, highest) = match m.width {
        Width::F32 => (-105.0, 89.0),
        Width::F64 => (-746.0, 710.0),
    };
    let x = m.at_least(m.at_most(x, highest)?, lowest)?;
    let reduced = reduce(m, x)?;
    let p = exp_reduced(m, reduced.r)?;
    m.scale(p, reduced.n)
}

/// eˣ where it is known to be a normal number; anything where x is a NaN.
fn exp_normal<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>) -> Emit<Vector<'c>> {
    let reduced = reduce(m, x)?;
    let p = exp_reduced(m, reduced.r)?;
    m.scale_normal(p, reduced.n)
}

/// tanh |x| = t / (t + 2) with t = e^{2|x|} − 1, which keeps its relative precision near 0.
pub(super) fn tanh<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>) -> Emit<Vector<'c>> {
    // Beyond the clamp t + 2 rounds to t.
    let (highest, tail): (f64, &[f64]) = match m.width {
        Width::F32 => (20.0, &EXPM1_F32),
        Width::F64 => (40.0, &EXPM1_F64),
    };
    let size = m.abs(x)?;
    let y = m.at_most(m.add(size, size)?, highest)?;
    let Reduced { n, r } = reduce(m, y)?;
    let square = m.mul(r, r)?;
    let p = m.fma(m.polynomial(r, tail)?, square, r)?;
    let power = m.scale_normal(m.float(1.0), n)?;
    let t = m.fma(power, p, m.sub(power, m.float(1.0))?)?;
    let quotient = m.div(t, m.add(t, m.float(2.0))?)?;
    m.copysign(quotient, x)
}

/// erf x: by a table in registers where the target has a lookup in one instruction, else an odd
/// polynomial near 0 and 1 − exp(−p(|x|)) beyond.
pub(super) fn erf<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>) -> Emit<Vector<'c>> {
    match m.width {
        Width::F32 if m.has_lookup() => return erf_by_table(m, x),
        Width::F32 | Width::F64 => {}
    }
    let size = m.abs(x)?;
    let square = m.mul(x, x)?;
    // From here on erf rounds to 1, and stays there at the clamp.
    let (seam, last, small): (f64, f64, &[f64]) = match m.width {
        Width::F32 => (ERF_SEAM_F32, 4.0, &ERF_SMALL_F32),
        Width::F64 => (1.0, 6.0, &ERF_SMALL_F64),
    };
    let near = m.fma(m.polynomial(square, small)?, x, x)?;
    let t = m.at_most(size, last)?;
    let exponent = match m.width {
        Width::F32 => erf_exponent_f32(m, t)?,
        Width::F64 => m.neg(m.polynomial(t, &ERF_LARGE_F64)?)?,
    };
    let far = m.sub(m.float(1.0), exp_normal(m, exponent)?)?;
    let far = m.copysign(far, x)?;
    let beyond = m.compare(FloatPredicate::OGT, size, m.float(seam))?;
    m.select(beyond, far, near)
}

/// ln(erfc t), the last step an addition to −t that keeps it exact.
fn erf_exponent_f32<'c>(m: &Lanes<'_, 'c>, t: Vector<'c>) -> Emit<Vector<'c>> {
    let square = m.mul(t, t)?;
    let [c0, c1, c2, c3, c4, c5, c6] = ERF_LARGE_F32.map(|c| m.float(c));
    let upper = m.fma(c6, t, c5)?;
    let lower = m.fma(c4, t, c3)?;
    let p = m.fma(upper, square, lower)?;
    let p = m.fma(p, t, c2)?;
    let p = m.fma(p, t, c1)?;
    let p = m.fma(p, t, c0)?;
    m.fma(p, t, m.neg(t)?)
}

/// ½x + x · p(|x|), the polynomial's coefficients looked up by the interval. Without the ½, which is
/// exact, p would have fewer bits behind the point.
fn erf_by_table<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>) -> Emit<Vector<'c>> {
    let size = m.abs(x)?;
    let n = m.round_scaled(size, ERF_TABLE_SCALE)?;
    let r = m.fma(size, m.float(ERF_TABLE_SCALE), m.neg(n.value)?)?;
    let [rest @ .., last] = &ERF_TABLE_F32;
    let mut p = m.lookup(last, n.bits)?;
    for coefficients in rest.iter().rev() {
        p = m.fma(p, r, m.lookup(coefficients, n.bits)?)?;
    }
    let near = m.fma(x, p, m.mul(x, m.float(0.5))?)?;
    let beyond = m.compare(FloatPredicate::OGT, size, m.float(ERF_ONE_F32))?;
    let one = m.copysign(m.float(1.0), x)?;
    m.select(beyond, one, near)
}
