//! The schedules of a normal form on a machine: proposals from the Datalog relations, legality from
//! ascent, and the ways to walk among them.
//!
//! Takes a [`Schedulable`](crate::storage::Schedulable) form, a [`Target`](crate::nest::target::Target), and the schedule
//! and legality rules in force; gives legal [`Schedule`](crate::schedule::Schedule)s: a heuristic default, samples,
//! mutations, crossovers, neighbours. Every one that leaves this module has passed the legality check, and holds nothing
//! that no rule proposed. There is no source of randomness here: the caller brings a [`Choose`].

mod build;
mod choices;
mod choose;
mod draw;
mod edit;
mod facts;
mod heuristic;
mod hold;
mod neighbours;
mod sample;
mod schedule_space;
mod share;
mod stage_heuristic;
mod tile_time;
mod time_legality;
mod time_loop;
mod vary;
mod windows;

pub use build::{SpaceError, default_schedule};
pub use choose::Choose;
pub use schedule_space::ScheduleSpace;
