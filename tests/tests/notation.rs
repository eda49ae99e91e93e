//! MoA notation: what is printed parses back to an equal form.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod programs;

use moat_optimizer::form::notation::{parse, print};
use moat_optimizer::normalize::{NormalizeConfig, normalize};
use moat_rules::RuleBase;

#[test]
fn every_form_parses_back_to_itself() {
    let rules = RuleBase::standard().unwrap();
    for program in programs::all() {
        for form in normalize(&program, &rules, &NormalizeConfig::default()).unwrap().forms {
            let text = print(&form.normal_form);
            assert_eq!(parse(&text).unwrap(), form.normal_form, "{}\n{text}", program.name);
        }
    }
}

#[test]
fn errors_name_the_place() {
    let error = parse("param A : f32⟨4⟩\ndef out : f32⟨4⟩\n  ⟨i<4⟩ψout = (⟨i⟩ψB + 1.0:f32)\nresult out").unwrap_err();
    assert_eq!((error.line, error.column), (3, 20), "{error}");
}
