//! NumPy as the judge: one Python process for thousands of programs, and what a kernel's results may differ by.
//!
//! The tolerance comes from NumPy as well (`oracle.py`): the program in long double, and runs in which each result moves
//! by an ulp or so. It is asked for only where a result is not NumPy's bit for bit.
//!
//! | numerics | a float may be off by |
//! |---|---|
//! | `exact` | 0, if no function and no product of arrays is in its way; else 16 times the spread of the runs that move those |
//! | `reassociate` | 8 times the spread of the runs that move every operation, 2 times NumPy's distance from long double, 8 ulps |
//! | `algebraic` | as `reassociate`, by 64 ulps instead of one, and 64 √ε times the square of the largest value on the way |
//!
//! An element that hangs on a decision which those runs take either way is undecided, and is counted. So is under `exact`
//! what differs in a program in which a product of arrays has terms that may overflow, and otherwise a number for NumPy's
//! NaN in a program with masks, whose zeros leave out a sum's terms.

use crate::python::numpy_python;
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::{Data, Tensor};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The Python side.
const SERVER: &str = include_str!("oracle.py");
/// Perturbed runs for a first tolerance, and for the last one.
const RUNS: [usize; 2] = [16, 96];

/// A Python process with NumPy.
pub struct Oracle {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What NumPy says of a program.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// What the function returns, and what its arguments hold afterwards.
    Ran {
        /// The results.
        results: Vec<Tensor>,
        /// The arguments.
        arguments: Vec<Tensor>,
        /// A float without a value in an integer type was cast to it: what that gives is the platform's business.
        undefined: bool,
    },
    /// The exception.
    Raised(String),
    /// A result has a type that no kernel has.
    Foreign(String),
}

/// How far the elements of an array may be off.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// In long double.
    pub wide: Vec<f64>,
    /// The spread of the runs whose decisions stay.
    pub spread: Vec<f64>,
    /// Whether it hangs on a decision.
    pub undecided: Vec<u8>,
}

/// The tolerance of a program's results, then of its arguments.
#[derive(Clone, Debug)]
pub struct Tolerance {
    arrays: Vec<Allowed>,
    /// The largest value on the way, in long double.
    peak: f64,
    /// The largest sum of absolute values of finite terms of a product of arrays, in long double, if there is one.
    terms: Option<f64>,
    /// A mask has made zeros.
    masked: bool,
    /// A run that decided otherwise raised an exception.
    failed: bool,
}

impl Oracle {
    /// Starts Python.
    ///
    /// # Errors
    /// If there is none with NumPy.
    pub fn start() -> Result<Oracle, String> {
        let python = numpy_python().ok_or(
            "no Python with NumPy beside the build products: run `make test` once, or `bash tests/setup.sh python <target>/venv`",
        )?;
        let mut child = Command::new(&python)
            .args(["-c", SERVER])
            .env("OPENBLAS_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("Python has no pipes".to_owned());
        };
        Ok(Oracle { child, requests, answers: BufReader::new(answers) })
    }

    fn ask(&mut self, mut request: Value, inputs: &[Tensor]) -> Result<(Value, Vec<u8>), String> {
        let data: Vec<u8> = inputs.iter().flat_map(Tensor::to_bytes).collect();
        request["args"] = inputs.iter().map(|input| json!([code(input.dtype), input.shape])).collect();
        request["bytes"] = json!(data.len());
        let mut message = request.to_string().into_bytes();
        message.push(b'\n');
        message.extend(data);
        let failed = |error: std::io::Error| format!("the Python process: {error}");
        self.requests.write_all(&message).and_then(|()| self.requests.flush()).map_err(failed)?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(failed)?;
        let answer: Value =
            serde_json::from_str(&line).map_err(|error| format!("the Python process ended: {error}"))?;
        let count = answer["bytes"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let mut body = vec![0; count];
        self.answers.read_exact(&mut body).map_err(failed)?;
        Ok((answer, body))
    }

    /// Runs a program's function `f` on inputs.
    ///
    /// # Errors
    /// If Python fails, not the program.
    pub fn run(&mut self, source: &str, inputs: &[Tensor]) -> Result<Outcome, String> {
        let (answer, body) = self.ask(json!({"op": "run", "source": source}), inputs)?;
        if let Some(error) = answer["error"].as_str() {
            return Ok(Outcome::Raised(error.to_owned()));
        }
        let mut at = 0;
        let mut results = Vec::new();
        for described in answer["results"].as_array().into_iter().flatten() {
            let name = described[0].as_str().unwrap_or_default();
            let Some(dtype) = dtype_of(name) else { return Ok(Outcome::Foreign(name.to_owned())) };
            let shape: Vec<usize> = serde_json::from_value(described[1].clone()).map_err(|error| error.to_string())?;
            results.push(tensor(dtype, &shape, &body, &mut at)?);
        }
        let arguments: Result<Vec<Tensor>, String> =
            inputs.iter().map(|input| tensor(input.dtype, &input.shape, &body, &mut at)).collect();
        Ok(Outcome::Ran { results, arguments: arguments?, undefined: answer["undefined"].as_bool() == Some(true) })
    }

    /// How far results may be off, after `runs` perturbed runs.
    ///
    /// # Errors
    /// If Python fails, or the traced program is another one than the plain one.
    pub fn tolerance(
        &mut self,
        source: &str,
        inputs: &[Tensor],
        sizes: &[usize],
        numerics: Numerics,
        runs: usize,
    ) -> Result<Tolerance, String> {
        let request =
            json!({"op": "tolerance", "source": source, "numerics": numerics.name(), "seed": 7 + runs, "runs": runs});
        let (answer, body) = self.ask(request, inputs)?;
        if let Some(error) = answer["error"].as_str() {
            return Err(format!("NumPy raises the second time only: {error}"));
        }
        if let Some(opaque) = answer["opaque"].as_str().filter(|opaque| !opaque.is_empty()) {
            return Err(format!("the traced program differs from the plain one: {opaque}"));
        }
        let mut at = 0;
        let mut arrays = Vec::new();
        for &size in sizes {
            let mut allowed = Allowed::default();
            for numbers in [&mut allowed.wide, &mut allowed.spread] {
                *numbers = bytes(&body, &mut at, size * 8)?.chunks_exact(8).map(f64_of).collect();
            }
            allowed.undecided = bytes(&body, &mut at, size)?.to_vec();
            arrays.push(allowed);
        }
        let failed = answer["failed"].as_str().is_some_and(|text| !text.is_empty());
        let (peak, terms) = (answer["peak"].as_f64().unwrap_or(0.0), answer["terms"].as_f64());
        Ok(Tolerance { arrays, peak, terms, masked: answer["masked"] == json!(true), failed })
    }

    /// Compares what a kernel gave with what NumPy gave. Answers the number of undecided elements.
    ///
    /// # Errors
    /// The first element that is off, by class and in words.
    pub fn judge(&mut self, case: &Judged<'_>) -> Result<usize, Wrong> {
        let plain: Vec<&Tensor> = case.expected.iter().collect();
        for (at, (expected, found)) in plain.iter().zip(case.found).enumerate() {
            let Some(found) = found else { continue };
            if expected.dtype != found.dtype || expected.shape != found.shape {
                let what = format!(
                    "{}: NumPy gives {}{:?}, the kernel {}{:?}",
                    case.name(at),
                    expected.dtype,
                    expected.shape,
                    found.dtype,
                    found.shape
                );
                return Err(Wrong::new("type", what));
            }
        }
        let same = |at: usize| case.found[at].is_none_or(|found| bits_equal(plain[at], found));
        if (0..plain.len()).all(same) {
            return Ok(0);
        }
        // Integers of the numerics' own kind: without a float in the program nothing may differ.
        let sizes: Vec<usize> = plain.iter().map(|expected| expected.len()).collect();
        let mut last = Err(Wrong::new("oracle", "no runs".to_owned()));
        for runs in RUNS {
            let tolerance = self
                .tolerance(case.source, case.inputs, &sizes, case.numerics, runs)
                .map_err(|what| Wrong::new("oracle", what))?;
            last = case.within(&tolerance);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A kernel's results with what they are compared with.
pub struct Judged<'a> {
    /// The program.
    pub source: &'a str,
    /// What it ran on.
    pub inputs: &'a [Tensor],
    /// The promise.
    pub numerics: Numerics,
    /// What NumPy returns, then what its arguments hold.
    pub expected: &'a [Tensor],
    /// How many of these are returned.
    pub returned: usize,
    /// The same of the kernel; `None` where nothing is to be compared.
    pub found: &'a [Option<&'a Tensor>],
}

/// What is wrong: a class, which shrinking keeps, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The class.
    pub class: String,
    /// The words.
    pub what: String,
}

impl Wrong {
    /// Of a class.
    pub fn new(class: impl Into<String>, what: impl Into<String>) -> Wrong {
        Wrong { class: class.into(), what: what.into() }
    }
}

impl Judged<'_> {
    fn name(&self, at: usize) -> String {
        if at < self.returned {
            format!("result {at}")
        } else {
            format!("argument {} after the call", at - self.returned)
        }
    }

    fn within(&self, tolerance: &Tolerance) -> Result<usize, Wrong> {
        let mut undecided = 0;
        for (at, expected) in self.expected.iter().enumerate() {
            let Some(found) = self.found[at] else { continue };
            for element in 0..expected.len() {
                match self.element(at, element, expected, found, tolerance) {
                    Ok(known) => undecided += usize::from(!known),
                    Err(Wrong { class, what }) => {
                        let what = format!("{}, element {element} of {:?}: {what}", self.name(at), expected.shape);
                        let class = if at < self.returned { class } else { format!("argument: {class}") };
                        return Err(Wrong { class, what });
                    }
                }
            }
        }
        Ok(undecided)
    }

    /// Whether an element is right, or undecided (`false`).
    fn element(
        &self,
        at: usize,
        element: usize,
        expected: &Tensor,
        found: &Tensor,
        tolerance: &Tolerance,
    ) -> Result<bool, Wrong> {
        let allowed = &tolerance.arrays[at];
        let single = expected.dtype == DType::F32 || self.source.contains("f32") || self.source.contains("float32");
        let largest = if single { f64::from(f32::MAX) } else { f64::MAX };
        // BLAS states no order of a product's terms: in one a sum overflows, in another it does not. A fused multiply-add
        // does not round a term beyond the largest number to infinity.
        let overflows = tolerance.terms.is_some_and(|terms| terms >= largest * 0.9);
        let open = allowed.undecided[element] > 0 || tolerance.failed || overflows && self.numerics == Numerics::Exact;
        if !expected.dtype.is_float() {
            let (x, y) = (expected.get(element), found.get(element));
            let raw = if let Data::Bool(bytes) = &found.data { bytes[element] < 2 } else { true };
            return match x == y && raw {
                true => Ok(true),
                false if open && raw => Ok(false),
                false => Err(Wrong::new("integer or bool", format!("NumPy gives {x:?}, the kernel {y:?}"))),
            };
        }
        let (x, y, wide) = (expected.get_f64(element), found.get_f64(element), allowed.wide[element]);
        let told = || format!("NumPy gives {x:e}, the kernel {y:e}; in long double {wide:e}");
        if x.is_nan() && y.is_nan() {
            return Ok(true);
        }
        let exact = self.numerics == Numerics::Exact;
        let spread = allowed.spread[element];
        let moves = spread > 0.0;
        if x == y {
            // NumPy's own sign of a zero out of a maximum is any.
            let any = ["max", "min", "clip"].iter().any(|name| self.source.contains(name));
            // So is that of a product of arrays: BLAS adds to a zero or does not.
            let signs = any || tolerance.terms.is_some() || open || moves;
            let same = x.is_sign_negative() == y.is_sign_negative();
            return if same || !exact || signs { Ok(true) } else { Err(Wrong::new("sign of zero", told())) };
        }
        if open || !spread.is_finite() {
            return Ok(false);
        }
        match (x.is_finite(), y.is_finite()) {
            // Which of NaN and the infinities is promised by `exact` only.
            (false, false) if !exact || moves => return Ok(true),
            (false, true) if self.numerics == Numerics::Algebraic => return Ok(false),
            // A sum may leave out what a mask's zero is multiplied by.
            (false, true) if !exact && tolerance.masked && wide.is_nan() => return Ok(false),
            // What overflowed on the way need not, in another order.
            (false, _) if wide.is_finite() && !exact => return Ok(false),
            (false, true) => return Err(Wrong::new("finite", told())),
            (false, false) => return Err(Wrong::new("which infinity or NaN", told())),
            // Some products of BLAS leave out what is multiplied by zero.
            (true, false) if tolerance.terms.is_some() && wide.is_nan() && y.is_nan() => return Ok(false),
            (true, false) if tolerance.peak > largest * 1e-4 && !exact => return Ok(false),
            (true, false) if self.numerics == Numerics::Algebraic && !y.is_nan() => return Ok(false),
            (true, false) => return Err(Wrong::new("not finite", told())),
            (true, true) => {}
        }
        let ulp = ulp_of(x.abs().max(y.abs()), expected.dtype);
        let most = match self.numerics {
            Numerics::Exact if moves => 16.0 * spread + ulp,
            Numerics::Exact => 0.0,
            Numerics::Reassociate => 8.0 * spread + 2.0 * (x - wide).abs() + 8.0 * ulp,
            Numerics::Algebraic => {
                let epsilon = if single { f64::from(f32::EPSILON) } else { f64::EPSILON };
                8.0 * spread + 64.0 * epsilon.sqrt() * tolerance.peak.max(1.0).powi(2)
            }
        };
        // Of a long double that is no number there is no distance.
        let most = if most.is_nan() { f64::INFINITY } else { most };
        if (x - y).abs() <= most {
            return Ok(true);
        }
        let class = if exact && !moves { "not bit for bit" } else { "off" };
        Err(Wrong::new(class, format!("{}, off by {:e}, {most:e} is allowed", told(), (x - y).abs())))
    }
}

/// The distance to the next number.
fn ulp_of(x: f64, dtype: DType) -> f64 {
    if dtype == DType::F32 {
        #[expect(clippy::cast_possible_truncation, reason = "the value is one of f32")]
        let x = x as f32;
        f64::from(f32::from_bits(x.to_bits() + 1) - x)
    } else {
        f64::from_bits(x.to_bits() + 1) - x
    }
}

/// The same bits, NaNs of any payload apart.
fn bits_equal(x: &Tensor, y: &Tensor) -> bool {
    match (&x.data, &y.data) {
        (Data::F32(x), Data::F32(y)) => {
            x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()))
        }
        (Data::F64(x), Data::F64(y)) => {
            x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()))
        }
        (x, y) => x == y,
    }
}

/// Whether an argument was left as it was, NaNs of any payload apart.
pub fn unchanged(before: &Tensor, after: &Tensor) -> bool {
    bits_equal(before, after)
}

fn code(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "b1",
        DType::I8 => "i1",
        DType::U8 => "u1",
        DType::I16 => "i2",
        DType::I32 => "i4",
        DType::I64 => "i8",
        DType::F16 | DType::BF16 => "f2",
        DType::F32 => "f4",
        DType::F64 => "f8",
    }
}

fn dtype_of(name: &str) -> Option<DType> {
    DType::SUPPORTED.into_iter().find(|&dtype| code(dtype) == name)
}

fn f64_of(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

fn bytes<'a>(body: &'a [u8], at: &mut usize, count: usize) -> Result<&'a [u8], String> {
    let found = body.get(*at..*at + count).ok_or("the Python process sent too few bytes")?;
    *at += count;
    Ok(found)
}

fn tensor(dtype: DType, shape: &[usize], body: &[u8], at: &mut usize) -> Result<Tensor, String> {
    let size: usize = shape.iter().product();
    let raw = bytes(body, at, size * dtype.bytes())?;
    let data = match dtype {
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::F16 | DType::BF16 => Data::Bool(raw.to_vec()),
        DType::I32 => {
            Data::I32(raw.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap_or_default())).collect())
        }
        DType::I64 => {
            Data::I64(raw.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default())).collect())
        }
        DType::F32 => {
            Data::F32(raw.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default())).collect())
        }
        DType::F64 => Data::F64(raw.chunks_exact(8).map(f64_of).collect()),
    };
    Tensor::new(shape, data).ok_or_else(|| "the Python process sent another shape".to_owned())
}
