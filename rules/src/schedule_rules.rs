//! The Datalog relations that propose schedule decisions: `rules/schedule/*.egg`, run by egglog.
//!
//! Input: [`ScheduleFacts`], rows of the relations declared in `facts.egg`. Output: [`Proposals`].
//! A proposal is only a candidate: legality is decided by [`crate::legality`]. Nothing here reads a
//! file; the rule files are part of the program, and each can be left out.

use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

const FACTS: &str = include_str!("../schedule/facts.egg");
const FILES: [(&str, &str); 8] = [
    ("pack", include_str!("../schedule/pack.egg")),
    ("parallel", include_str!("../schedule/parallel.egg")),
    ("place", include_str!("../schedule/place.egg")),
    ("stream", include_str!("../schedule/stream.egg")),
    ("tile", include_str!("../schedule/tile.egg")),
    ("time", include_str!("../schedule/time.egg")),
    ("unroll", include_str!("../schedule/unroll.egg")),
    ("vectorize", include_str!("../schedule/vectorize.egg")),
];

/// More rounds than any chain of these rules is long.
const MAX_ROUNDS: usize = 64;
/// Rows of all relations together; a program that needs more gets no proposals but an error.
const MAX_ROWS: usize = 500_000;

/// Why there are no proposals.
#[derive(Debug, Error)]
pub enum ScheduleRulesError {
    /// A rule file or a fact does not fit the schema.
    #[error("schedule rules: {message}")]
    Egglog {
        /// What egglog says.
        message: String,
    },
    /// The relations grew beyond the limit.
    #[error("schedule rules: {rows} rows exceed the limit of {limit}")]
    TooManyRows {
        /// Rows at the end.
        rows: usize,
        /// The limit.
        limit: usize,
    },
}

/// The rule files in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRules {
    files: BTreeMap<&'static str, &'static str>,
}

impl ScheduleRules {
    /// All files.
    pub fn standard() -> ScheduleRules {
        ScheduleRules { files: FILES.into_iter().collect() }
    }

    /// All but one, named without its extension (`"pack"`). An unknown name changes nothing.
    #[must_use]
    pub fn without(&self, name: &str) -> ScheduleRules {
        let mut files = self.files.clone();
        files.remove(name);
        ScheduleRules { files }
    }

    /// Names and texts, in order, the schema first: for the catalogue of rules and its hash.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        std::iter::once(("facts", FACTS)).chain(self.files.iter().map(|(name, text)| (*name, *text)))
    }

    /// Everything that the rules propose.
    ///
    /// # Errors
    /// If a fact or file does not fit the schema, or the relations grow beyond the limit.
    pub fn propose(&self, facts: &ScheduleFacts) -> Result<Proposals, ScheduleRulesError> {
        let mut egraph = egglog::EGraph::new(1);
        let mut run = |name: &str, text: &str| {
            egraph
                .parse_and_run_program(Some(name.to_string()), text)
                .map_err(|error| ScheduleRulesError::Egglog { message: error.to_string() })
        };
        for (name, text) in self.texts() {
            run(name, text)?;
        }
        run("program", &facts.to_text())?;
        for _ in 0..MAX_ROUNDS {
            let report = egraph
                .step_rules("schedule")
                .map_err(|error| ScheduleRulesError::Egglog { message: error.to_string() })?;
            let rows = egraph.num_tuples();
            if rows > MAX_ROWS {
                return Err(ScheduleRulesError::TooManyRows { rows, limit: MAX_ROWS });
            }
            if !report.updated {
                break;
            }
        }
        let numbers = |name: &str| rows(&egraph, name);
        Ok(Proposals {
            places: places(&egraph)?,
            vectors: numbers("propose-vector")?.iter().map(|row| (at(row, 0), at(row, 1), at(row, 2))).collect(),
            unrolls: numbers("propose-unroll")?.iter().map(|row| (at(row, 0), at(row, 1), at(row, 2))).collect(),
            register_tiles: numbers("propose-register-tile")?
                .iter()
                .map(|row| (at(row, 0), at(row, 1), at(row, 2)))
                .collect(),
            tiles: numbers("propose-tile")?
                .iter()
                .map(|row| (at(row, 0), at(row, 1), at(row, 2), at(row, 3)))
                .collect(),
            orders: numbers("propose-order")?.iter().map(|row| (at(row, 0), at(row, 1), at(row, 2))).collect(),
            parallels: numbers("propose-parallel")?.iter().map(|row| (at(row, 0), at(row, 1))).collect(),
            streams: numbers("propose-stream")?.iter().map(|row| at(row, 0)).collect(),
            time_blocks: numbers("propose-time-block")?.iter().map(|row| (at(row, 0), at(row, 1))).collect(),
            bands: numbers("propose-band")?.iter().map(|row| (at(row, 0), at(row, 1), at(row, 2))).collect(),
            wavefronts: numbers("propose-wavefront")?.iter().map(|row| at(row, 0)).collect(),
            packs: numbers("propose-pack")?.iter().map(|row| (at(row, 0), at(row, 1), at(row, 2))).collect(),
        })
    }
}

impl Default for ScheduleRules {
    fn default() -> ScheduleRules {
        ScheduleRules::standard()
    }
}

/// Rows of the relations declared in `facts.egg`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleFacts {
    rows: BTreeSet<(&'static str, Vec<i64>)>,
}

impl ScheduleFacts {
    /// Adds `(relation row…)`.
    pub fn add(&mut self, relation: &'static str, row: &[i64]) {
        self.rows.insert((relation, row.to_vec()));
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (relation, row) in &self.rows {
            text.push('(');
            text.push_str(relation);
            for number in row {
                text.push(' ');
                text.push_str(&number.to_string());
            }
            text.push_str(")\n");
        }
        text
    }
}

/// Where a definition may be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProposedPlace {
    /// Stored whole.
    Root,
    /// Substituted into its readers.
    Inline,
    /// Inside so many loops of a consumer.
    At {
        /// The consumer's stage.
        consumer: usize,
        /// The number of loops.
        depth: usize,
    },
}

/// Candidate decisions. The first number of each is the stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposals {
    /// Places.
    pub places: BTreeSet<(usize, ProposedPlace)>,
    /// `(stage, axis, lanes)`.
    pub vectors: BTreeSet<(usize, usize, usize)>,
    /// `(stage, axis, unroll)`.
    pub unrolls: BTreeSet<(usize, usize, usize)>,
    /// `(stage, rows, vectors)`: shapes of register tiles that fit.
    pub register_tiles: BTreeSet<(usize, usize, usize)>,
    /// `(stage, axis, size, cache level)`.
    pub tiles: BTreeSet<(usize, usize, usize, usize)>,
    /// `(stage, outer axis, inner axis)`.
    pub orders: BTreeSet<(usize, usize, usize)>,
    /// `(stage, axis)`.
    pub parallels: BTreeSet<(usize, usize)>,
    /// `(loop, iterations)` of a skewed tile.
    pub time_blocks: BTreeSet<(usize, usize)>,
    /// `(loop, dimension, height)` of a skewed tile.
    pub bands: BTreeSet<(usize, usize, usize)>,
    /// Loops whose skewed tiles threads may share.
    pub wavefronts: BTreeSet<usize>,
    /// Stages whose stores may go past the caches.
    pub streams: BTreeSet<usize>,
    /// `(stage, load, axis)`: packed inside a loop of that axis.
    pub packs: BTreeSet<(usize, usize, usize)>,
}

fn at(row: &[i64], column: usize) -> usize {
    row.get(column).and_then(|&number| usize::try_from(number).ok()).unwrap_or(0)
}

fn rows(egraph: &egglog::EGraph, name: &str) -> Result<Vec<Vec<i64>>, ScheduleRulesError> {
    let mut rows = Vec::new();
    egraph
        .constructor_enodes(name, |enode| {
            rows.push(enode.children.iter().map(|&value| egraph.value_to_base::<i64>(value)).collect());
        })
        .map_err(|error| ScheduleRulesError::Egglog { message: error.to_string() })?;
    Ok(rows)
}

fn places(egraph: &egglog::EGraph) -> Result<BTreeSet<(usize, ProposedPlace)>, ScheduleRulesError> {
    let mut places = BTreeSet::new();
    egraph
        .constructor_enodes("propose-place", |enode| {
            let &[stage, kind, consumer, depth] = enode.children else { return };
            let number = |value| usize::try_from(egraph.value_to_base::<i64>(value)).unwrap_or(0);
            let kind = egraph.value_to_base::<egglog::sort::S>(kind);
            let place = match kind.as_str() {
                "root" => ProposedPlace::Root,
                "inline" => ProposedPlace::Inline,
                "at" => ProposedPlace::At { consumer: number(consumer), depth: number(depth) },
                _ => return,
            };
            places.insert((number(stage), place));
        })
        .map_err(|error| ScheduleRulesError::Egglog { message: error.to_string() })?;
    Ok(places)
}
