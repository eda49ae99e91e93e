//! `moat run`: a kernel, tuned or default, on given or random inputs.

use super::args::RunArgs;
use super::error::CliError;
use super::goal::Goal;
use super::progress::Busy;
use super::text::significant;
use super::workload::{Loaded, load};
use crate::tune::workload_hash;
use crate::worker::guard::{Align, Guarded};
use crate::{npz, preflight};
use moat_codegen::abi::Status;
use moat_codegen::host_target;
use moat_codegen::{CodegenError, CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::forms::{Limits, forms};
use moat_optimizer::nest::target::Target;
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::expr::{Node, Program, Requirement};
use moat_optimizer::schedule::Schedule;
use moat_optimizer::space::default_schedule;
use moat_optimizer::storage::Schedulable;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use serde::Deserialize;
use std::io::Write;
use std::path::Path;

pub(super) fn run(args: &RunArgs, out: &mut impl Write) -> Result<Goal, CliError> {
    let Loaded { workload, stem } = load(&args.workload)?;
    let program = &workload.program;
    let numerics = args.workload.numerics.numerics();
    let threads = usize::from(args.threads);
    preflight::memory_to_run(program, numerics, args.check)
        .map_err(|error| CliError::from(error).located(&workload))?;
    if let Some(path) = &args.output {
        npz::probe(path)?;
    }
    let inputs = match &args.inputs {
        Some(path) => npz::read(path, &program.params, &program.signature)?,
        None => program.params.iter().map(|param| inputs::random(param, args.seed)).collect::<Result<_, _>>()?,
    };
    let target = host_target();
    let tuned = match &args.kernels {
        Some(directory) => tuned(directory, &stem, program, numerics)?,
        None => None,
    };
    let busy = Busy::with("making the kernel");
    let (form, schedule) = match tuned {
        Some(kernel) => kernel,
        None => default(program, numerics, &target, threads)?,
    };
    let nest = apply(&form, &schedule)?;
    let options = CompileOptions { target, numerics, threads, function: program.name.clone() };
    let kernel = CompiledNest::load(&nest, &options)?;
    drop(busy);
    let results = match call(&kernel, program, &inputs) {
        Err(CliError::Codegen(CodegenError::Status { status, .. }))
            if Requirement::ALL.into_iter().any(|asked| Status::of(status) == Some(Status::unmet(asked))) =>
        {
            // The kernel knows that something is wrong, the interpreter where.
            interpret(program, &inputs, numerics).map_err(|error| CliError::from(error).located(&workload))?;
            return Err(CodegenError::Status { function: program.name.clone(), status }.into());
        }
        other => other?,
    };
    if let Some(path) = &args.output {
        let named: Vec<(String, Tensor)> =
            results.iter().enumerate().map(|(at, result)| (result_name(program, at), result.clone())).collect();
        npz::write(path, &named)?;
    }
    for (at, result) in results.iter().enumerate() {
        writeln!(out, "{}: {}{:?}", result_name(program, at), result.dtype, result.shape)?;
    }
    if args.check { check(program, &inputs, &results, numerics, out) } else { Ok(Goal::Met) }
}

/// The kernel's results on `inputs`.
fn call(kernel: &CompiledNest, program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>, CliError> {
    // Mappings are aligned to every element type, and a kernel that leaves one faults instead of corrupting.
    let mut given = Vec::with_capacity(inputs.len());
    for tensor in inputs {
        let bytes = tensor.to_bytes();
        let mut buffer = Guarded::new(bytes.len(), Align::Start)?;
        buffer.bytes_mut().copy_from_slice(&bytes);
        given.push(buffer);
    }
    let nodes: Vec<&Node> = program.results().iter().map(|&root| &program.nodes[root]).collect();
    let mut made = Vec::with_capacity(nodes.len());
    for node in &nodes {
        made.push(Guarded::new(node.size() * node.dtype.bytes(), Align::Start)?);
    }
    let inputs: Vec<&[u8]> = given.iter().map(Guarded::bytes).collect();
    let mut outputs: Vec<&mut [u8]> = made.iter_mut().map(Guarded::bytes_mut).collect();
    kernel.call_bytes(&inputs, &mut outputs, &mut Workspace::new())?;
    Ok(nodes
        .iter()
        .zip(&made)
        .filter_map(|(node, buffer)| npz::from_bytes(node.dtype, &node.shape, buffer.bytes()))
        .collect())
}

fn default(
    program: &Program,
    numerics: Numerics,
    target: &Target,
    threads: usize,
) -> Result<(Schedulable, Schedule), CliError> {
    let rules = RuleBase::standard()?;
    let form = forms(program, &rules, numerics, &Limits::at_most(1))?.forms.swap_remove(0).form;
    let schedule = default_schedule(&form, target, numerics, threads)?;
    Ok((form, schedule))
}

/// What is read of a tuned kernel's records.
#[derive(Deserialize)]
struct Records {
    workload_hash: String,
    numerics: Numerics,
    normal_form: Schedulable,
    schedule: Schedule,
}

/// The tuned form and schedule, if there are some for this very workload.
fn tuned(
    directory: &Path,
    stem: &str,
    program: &Program,
    numerics: Numerics,
) -> Result<Option<(Schedulable, Schedule)>, CliError> {
    let path = directory.join(stem).join("kernel.json");
    let note = |why: &str| {
        let _ = writeln!(std::io::stderr(), "note: {}: {why}; running the default kernel", path.display());
    };
    let Ok(bytes) = std::fs::read(&path) else {
        note("no such file");
        return Ok(None);
    };
    let records: Records = serde_json::from_slice(&bytes)
        .map_err(|error| CliError::Kernel { path: path.clone(), reason: error.to_string() })?;
    if records.workload_hash != workload_hash(program) {
        note("made for another program or other sizes");
        return Ok(None);
    }
    if records.numerics > numerics {
        note("made with looser numerics");
        return Ok(None);
    }
    Ok(Some((records.normal_form, records.schedule)))
}

/// `result`, `result0`, …; what an argument holds afterwards is called as its parameter is.
fn result_name(program: &Program, at: usize) -> String {
    let returned = program.results().len() - program.mutated.len();
    let written = |name: &str| program.mutated.iter().any(|&param| program.params[param].name == name);
    if let Some(&param) = at.checked_sub(returned).and_then(|at| program.mutated.get(at)) {
        return program.params[param].name.clone();
    }
    let mut name = if program.returns_tuple { format!("result{at}") } else { "result".to_owned() };
    while written(&name) {
        name.push('_');
    }
    name
}

fn check(
    program: &Program,
    inputs: &[Tensor],
    results: &[Tensor],
    numerics: Numerics,
    out: &mut impl Write,
) -> Result<Goal, CliError> {
    let mut goal = Goal::Met;
    let busy = Busy::with("computing the reference");
    let references = interpret(program, inputs, numerics)?;
    drop(busy);
    for (at, (reference, result)) in references.iter().zip(results).enumerate() {
        match reference.check(result) {
            Ok(fraction) => writeln!(
                out,
                "{}: right, the largest error is {} of its bound",
                result_name(program, at),
                significant(fraction)
            )?,
            Err(mismatch) => {
                goal = Goal::NotMet;
                writeln!(out, "{}: wrong: {mismatch}", result_name(program, at))?;
            }
        }
    }
    Ok(goal)
}
