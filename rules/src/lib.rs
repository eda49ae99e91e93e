//! moat
pub mod dependence;
pub mod legality;
pub mod schedule_rules;
