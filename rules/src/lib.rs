//! Text and relations: the rewrite rules of moat as embedded `.egg` files, with what is known
//! about each rule, the Datalog files that propose schedules, and the ascent programs that decide
//! what is legal. This crate knows no intermediate representation: facts in, facts out.

pub mod catalogue;
pub mod dependence;
mod hexadecimal;
pub mod legality;
pub mod schedule_rules;

pub use catalogue::{Numerics, Rule, RuleBase, RuleError, RuleFile};
pub use hexadecimal::hexadecimal;
