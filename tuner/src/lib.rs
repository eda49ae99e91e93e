//! Everything around the compiler: the command line, the machine, the worker that measures, the cost database, and the
//! loop that tunes.
//!
//! [`cli`] is the program `moat`. [`tune`] draws candidates, [`measure`] has them compiled, checked and timed in a
//! [`worker`] process, [`promotion`] decides what ships, [`cost_db`] keeps every [`row`] there ever was. [`machine`]
//! finds out what this machine is and can do, [`interrupt`] what ends a run early,
//! [`preflight`] what would fail at its end, and [`memory`] how much it takes.

pub mod as_written;
pub mod candidates;
pub mod cli;
pub mod cost_db;
pub mod interrupt;
pub mod journal;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod npz;
pub mod outcome;
pub mod preflight;
pub mod promotion;
pub mod reference;
pub mod roof;
pub mod row;
pub mod search;
pub mod tune;
pub mod worker;
