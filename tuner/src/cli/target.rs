//! `moat target`: this machine.

use super::args::TargetArgs;
use super::db;
use super::error::CliError;
use super::goal::Goal;
use crate::machine::{self, Kept};
use moat_optimizer::nest::target::Target;
use std::io::Write;

pub(super) fn run(args: &TargetArgs, out: &mut impl Write) -> Result<Goal, CliError> {
    let kept = if args.measure { Kept::Replace } else { Kept::Use };
    let target = machine::describe(&db::directory(&args.db)?, kept)?;
    if args.json {
        let json = serde_json::to_string_pretty(&target).map_err(std::io::Error::from)?;
        writeln!(out, "{json}")?;
    } else {
        write(&target, out)?;
    }
    Ok(Goal::Met)
}

fn write(target: &Target, out: &mut impl Write) -> Result<(), CliError> {
    writeln!(out, "CPU           {}", target.model)?;
    writeln!(out, "LLVM          {} for {}", target.cpu, target.triple)?;
    writeln!(out, "cores         {}", target.cores)?;
    let caches: Vec<String> = target
        .cache_bytes
        .iter()
        .enumerate()
        .map(|(level, &bytes)| format!("L{} {}", level + 1, size(bytes)))
        .collect();
    writeln!(out, "caches        {} (per core; lines of {} bytes)", caches.join(", "), target.line_bytes)?;
    let masks = if target.masks { ", masked moves" } else { "" };
    let (bits, registers) = (target.vector_bytes * 8, target.vector_registers);
    writeln!(out, "vectors       {registers} registers of {bits} bits{masks}")?;
    for (name, figure, unit) in [
        ("FMA peak f32", target.peak_gflops_f32, "GFLOP/s"),
        ("FMA peak f64", target.peak_gflops_f64, "GFLOP/s"),
        ("bandwidth", target.bandwidth_gb_s, "GB/s (triad)"),
    ] {
        if let Some(figure) = figure {
            writeln!(out, "{name:<13} {figure:.1} {unit}, one core, measured")?;
        }
    }
    if let Some(figure) = target.crossing_store {
        writeln!(out, "stores        {figure:.1} multiply-adds more where a vector crosses a line, measured")?;
    }
    Ok(())
}

fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}
