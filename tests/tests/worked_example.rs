//! The page `docs/derivation.md`: what it shows of each stage is what the compiler makes.
//!
//! A block of Python on the page is a workload. Each block of text after it names a stage of that
//! workload and, after the program, the number of a form: `text program`, then `text rules 1`,
//! `text form 1`, `text loops 1`, `text schedule 1`, `text scheduled 1`. The rest of the page is
//! prose, which no test reads. `cargo test -p moat-tests --test worked_example -- --ignored`
//! writes the blocks anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_optimizer::apply::apply;
use moat_optimizer::apply::lower::lower;
use moat_optimizer::form::notation;
use moat_optimizer::forms::DerivedForm;
use moat_optimizer::frontend::{ParseOptions, listing, parse};
use moat_optimizer::nest::print::display;
use moat_optimizer::program::expr::Program;
use moat_optimizer::schedule::{Place, Schedule, StageSchedule};
use moat_optimizer::space::default_schedule;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::RuleBase;
use moat_tests::machine::target;
use moat_tests::pipeline::forms;
use std::path::{Path, PathBuf};

const FENCE: &str = "```";

/// The most forms that a workload of the page has: as many as `moat explain` derives.
const MOST_FORMS: usize = 8;

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/derivation.md")
}

/// A workload of the page, with its forms.
struct Worked {
    program: Program,
    forms: Vec<DerivedForm>,
}

impl Worked {
    fn of(source: &str) -> Worked {
        let program = parse("derivation.md", source, &ParseOptions::default()).unwrap().program;
        let rules = RuleBase::standard().unwrap();
        let forms = forms(&program, &rules, Numerics::Reassociate, MOST_FORMS).unwrap();
        Worked { program, forms }
    }

    /// The text of a stage, as the words after `text` name it.
    fn stage(&self, words: &[&str]) -> String {
        let (stage, form) = match words {
            ["program"] => return listing(&self.program),
            [stage, number] => (*stage, &self.forms[number.parse::<usize>().unwrap()]),
            other => panic!("no stage is named {other:?}"),
        };
        let schedule = || default_schedule(&form.form, &target(), Numerics::Reassociate, 1).unwrap();
        match stage {
            "rules" => lines(&form.derivation.rules),
            "form" => notation::print(&form.form),
            "loops" => display(&lower(&form.form).unwrap()),
            "schedule" => decisions(form, &schedule()),
            "scheduled" => display(&apply(&form.form, &schedule()).unwrap()),
            other => panic!("no stage is named {other}"),
        }
    }
}

fn lines(all: &[String]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}

/// One line for each definition; axes by number, the points first.
fn decisions(form: &DerivedForm, schedule: &Schedule) -> String {
    assert!(schedule.time_tiles.is_empty(), "the page has no words for time tiles");
    let stages = form.form.defs.iter().zip(&schedule.stages);
    lines(&stages.map(|(def, stage)| format!("{}: {}", def.name, decision(stage))).collect::<Vec<_>>())
}

fn decision(stage: &StageSchedule) -> String {
    let mut text = match stage.place {
        Place::Inline => return "inlined".to_owned(),
        Place::Root => "stored whole".to_owned(),
        Place::At { consumer, depth } => format!("computed in {depth} loops of definition {consumer}"),
    };
    for spec in &stage.loops {
        text += &format!(", loop over axis {} by {}", spec.axis, spec.step);
    }
    for spec in &stage.tile {
        text += &format!(", tile of axis {}: {} × {} lanes", spec.axis, spec.unroll, spec.lanes);
    }
    for pack in &stage.packs {
        text += &format!(", load {} packed in {} loops", pack.load, pack.depth);
    }
    text
}

/// The page with every block of a stage as the compiler makes it.
fn regenerated(page: &str) -> String {
    let mut text = String::new();
    let mut worked = None;
    let mut rest = page.lines();
    while let Some(line) = rest.next() {
        text += line;
        text.push('\n');
        let Some(label) = line.strip_prefix(FENCE) else { continue };
        let block: Vec<String> = rest.by_ref().take_while(|line| *line != FENCE).map(str::to_owned).collect();
        let words: Vec<&str> = label.split(' ').collect();
        let block = match words.as_slice() {
            ["python"] => {
                let source = lines(&block);
                worked = Some(Worked::of(&source));
                source
            }
            ["text", stage @ ..] if !stage.is_empty() => {
                worked.as_ref().expect("a workload stands before its stages").stage(stage)
            }
            _ => lines(&block),
        };
        text += &block;
        text += FENCE;
        text.push('\n');
    }
    text
}

#[test]
fn the_page_shows_what_the_compiler_makes() {
    let page = std::fs::read_to_string(place()).unwrap();
    let made = regenerated(&page);
    let first = page.lines().zip(made.lines()).position(|(old, new)| old != new).map_or(0, |at| at + 1);
    assert!(
        page == made,
        "docs/derivation.md differs from line {first} on; if this is meant: \
         `cargo test -p moat-tests --test worked_example -- --ignored`"
    );
}

#[test]
#[ignore = "writes docs/derivation.md anew"]
fn bless() {
    let page = std::fs::read_to_string(place()).unwrap();
    std::fs::write(place(), regenerated(&page)).unwrap();
}
