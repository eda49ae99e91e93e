//! Numbers and schedules in words.

use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::schedule::{Band, Place, Schedule, StageSchedule};

/// Three significant digits: `0.0123`, `9.21`, `118`, `1230`.
pub(super) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let digits = 2.0 - value.abs().log10().floor();
    format!("{value:.*}", if digits > 0.0 { digits.min(12.0) as usize } else { 0 })
}

/// A time with its unit.
pub(super) fn time(ns: f64) -> String {
    match ns {
        ns if ns >= 1e9 => format!("{} s", significant(ns / 1e9)),
        ns if ns >= 1e6 => format!("{} ms", significant(ns / 1e6)),
        ns if ns >= 1e3 => format!("{} µs", significant(ns / 1e3)),
        ns => format!("{} ns", significant(ns)),
    }
}

/// `42 s`, `3 min`.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 100.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// `78%`.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.0}%", fraction * 100.0)
}

/// One line for each definition that is computed by itself.
pub(super) fn schedule_in_words(form: &NormalForm, schedule: &Schedule) -> Vec<String> {
    let tiles = schedule.time_tiles.iter().map(|tile| {
        let band = |band: &Band| {
            let shifts: Vec<String> = band.shifts.iter().map(ToString::to_string).collect();
            let Band { dim, skew, height, .. } = band;
            format!("{height} along dimension {dim}, skewed by {skew}, statements shifted by {}", shifts.join(" "))
        };
        let bands: Vec<String> = tile.bands.iter().map(band).collect();
        let shared = match tile.bands.first() {
            Some(first) if tile.parallel && first.independent => ", shared by threads",
            Some(first) if tile.parallel && first.panel.is_some() => ", shared by threads after the panel",
            Some(_) if tile.parallel => ", shared by threads on wavefronts",
            Some(_) | None => "",
        };
        format!("loop {}: tiles of {} iterations on bands of {}{shared}", tile.var, tile.time, bands.join("; of "))
    });
    let stages = form.defs.iter().zip(&schedule.stages).map(|(def, stage)| {
        let axes = def.pieces.iter().map(|piece| piece.domain.len()).max().unwrap_or(def.axes.len());
        format!("{}: {}", def.name, stage_in_words(form, stage, axes))
    });
    tiles.chain(stages).collect()
}

fn stage_in_words(form: &NormalForm, stage: &StageSchedule, axes: usize) -> String {
    let mut parts = Vec::new();
    match stage.place {
        Place::Inline => return "inlined into its users".to_owned(),
        Place::Root => {}
        Place::At { consumer, depth } => {
            let name = form.defs.get(consumer).map_or("?", |def| def.name.as_str());
            parts.push(format!("inside loop {depth} of {name}"));
        }
    }
    if !stage.loops.is_empty() {
        let loops: Vec<String> =
            stage.loops.iter().map(|of| format!("{} by {}", axis(of.axis, axes), of.step)).collect();
        let parallel = match (stage.parallel, stage.serial) {
            (false, _) => String::new(),
            (true, 0) => ", the first in parallel".to_owned(),
            (true, outside) => format!(", number {} in parallel", outside + 1),
        };
        parts.push(format!("loops {}{parallel}", loops.join(", ")));
    }
    let tile: Vec<String> = stage
        .tile
        .iter()
        .filter(|of| of.unroll > 1 || of.lanes > 1)
        .map(|of| {
            let lanes = if of.lanes > 1 { format!("×{} lanes", of.lanes) } else { String::new() };
            format!("{} {}{lanes}", axis(of.axis, axes), of.unroll)
        })
        .collect();
    if !tile.is_empty() {
        parts.push(format!("register tile {}", tile.join(", ")));
    }
    if !stage.packs.is_empty() {
        let packs: Vec<String> =
            stage.packs.iter().map(|pack| format!("operand {} at loop {}", pack.load, pack.depth)).collect();
        parts.push(format!("packs {}", packs.join(", ")));
    }
    if stage.stream {
        parts.push("stores past the caches".to_owned());
    }
    if parts.is_empty() { "plain loops".to_owned() } else { parts.join("; ") }
}

/// The letter of an axis, as the notation has it; numbered where letters run out.
fn axis(index: usize, axes: usize) -> String {
    const LETTERS: [&str; 8] = ["i", "j", "k", "l", "m", "n", "o", "p"];
    match LETTERS.get(index).filter(|_| axes <= LETTERS.len()) {
        Some(letter) => (*letter).to_owned(),
        None => format!("i{index}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{significant, time};

    #[test]
    fn numbers() {
        assert_eq!(significant(0.012_34), "0.0123");
        assert_eq!(significant(9.214), "9.21");
        assert_eq!(significant(118.2), "118");
        assert_eq!(significant(1234.0), "1234");
        assert_eq!(time(9_214_000.0), "9.21 ms");
        assert_eq!(time(812.0), "812 ns");
    }
}
