//! Which time tiles are legal, and the repair that makes a wish so.

use super::schedule_space::ScheduleSpace;
use crate::integer::range::loop_variable;
use crate::schedule::legality::Illegal;
use crate::schedule::time::offending;
use crate::schedule::{Band, Schedule, TimeTile};
use std::collections::BTreeSet;

impl ScheduleSpace {
    /// Whether the time tiles of a schedule are legal.
    pub(super) fn check_time_tiles(&self, schedule: &Schedule) -> Result<(), Illegal> {
        let illegal = |message: String| Err(Illegal { stage: 0, rule: "time/backward", message });
        let mut seen = BTreeSet::new();
        for tile in &schedule.time_tiles {
            if !seen.insert(tile.var) {
                return illegal(format!("loop {} is tiled twice", tile.var));
            }
            if let Some(other) = schedule.time_tiles.iter().find(|other| self.nested(tile.var, other.var)) {
                return illegal(format!("loops {} and {}, one inside of the other, are tiled", tile.var, other.var));
            }
            let mut dims = BTreeSet::new();
            if tile.time == 0 || tile.bands.is_empty() || tile.bands.iter().any(|band| band.height == 0) {
                return illegal(format!("a tile of loop {} is empty", tile.var));
            }
            for band in &tile.bands {
                self.check_band(tile, band, &mut dims).or_else(illegal)?;
            }
            if tile.parallel
                && self.inside(tile.var).any(|stage| schedule.stages.get(stage).is_some_and(|s| s.parallel))
            {
                return illegal(format!("a stage of loop {} is parallel inside of parallel tiles", tile.var));
            }
        }
        Ok(())
    }

    /// Whether one band of a tile is legal, after those along `dims`.
    fn check_band(&self, tile: &TimeTile, band: &Band, dims: &mut BTreeSet<usize>) -> Result<(), String> {
        let of_loop = self.time_loops.iter().find(|known| known.var == tile.var);
        let known = of_loop.and_then(|known| known.along(band.dim));
        let reason = || match offending(&self.form, tile.var, band) {
            Some(dependence) => format!(": {dependence}"),
            None => String::new(),
        };
        let Some((known, _)) = known else {
            return Err(format!("loop {} cannot run in bands along dimension {}{}", tile.var, band.dim, reason()));
        };
        if !dims.insert(band.dim) {
            return Err(format!("loop {} has two bands along dimension {}", tile.var, band.dim));
        }
        // What is known of the least skew holds for a greater one, but for independence.
        let moves = band.skew > known.skew;
        let apart = band.independent && (moves || !known.independent);
        let elsewhere = band.panel.is_some() && (moves || band.panel != known.panel);
        if elsewhere {
            return Err(format!("loop {} along dimension {} has another panel{}", tile.var, band.dim, reason()));
        }
        if band.skew < known.skew || band.shifts != known.shifts || apart {
            return Err(format!(
                "loop {} in bands along dimension {} needs a skew of {} and statements shifted by {:?}{}",
                tile.var,
                band.dim,
                known.skew,
                known.shifts,
                reason()
            ));
        }
        Ok(())
    }

    /// Whether one of two different loops is inside of the other.
    pub(super) fn nested(&self, one: usize, other: usize) -> bool {
        one != other && self.inside(one).any(|stage| self.inside(other).any(|found| found == stage))
    }

    /// Stages inside of a loop.
    fn inside(&self, var: usize) -> impl Iterator<Item = usize> + '_ {
        let within =
            move |stage: &usize| self.form.defs[*stage].scope.iter().any(|scope| scope.variable == loop_variable(var));
        (0..self.form.defs.len()).filter(within)
    }

    /// Inside of tiles no loop is tiled, inside of parallel ones nothing else is parallel.
    pub(super) fn repair_time_tiles(&self, wish: &mut Schedule) {
        let mut kept: Vec<TimeTile> = Vec::new();
        for tile in std::mem::take(&mut wish.time_tiles) {
            if !tile.bands.is_empty() && !kept.iter().any(|other| self.nested(tile.var, other.var)) {
                kept.push(tile);
            }
        }
        wish.time_tiles = kept;
        for tile in &wish.time_tiles {
            if tile.parallel {
                for stage in self.inside(tile.var) {
                    if let Some(stage) = wish.stages.get_mut(stage) {
                        stage.parallel = false;
                    }
                }
            }
        }
    }
}
