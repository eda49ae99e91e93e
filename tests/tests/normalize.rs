//! Normal forms of small programs: what is inlined, what is stored, what is read.

mod programs;

use moat_optimizer::normalize::{NormalizeConfig, normalize};
use moat_rules::RuleBase;
use programs::all;

#[test]
fn every_program_has_a_source_form() {
    let rules = RuleBase::standard().unwrap();
    for program in all() {
        let config = NormalizeConfig { max_forms: 1, ..NormalizeConfig::default() };
        let result = normalize(&program, &rules, &config);
        match result {
            Ok(normalized) => println!("{}: {:#?}\n{:?}", program.name, normalized.forms[0], normalized.stats),
            Err(error) => panic!("{}: {error}", program.name),
        }
    }
}
