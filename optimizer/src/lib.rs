//! The pure middle of moat: from a NumPy program to a scheduled loop nest.
//!
//! Data flows one way: [`frontend`] → [`program`] → [`normalize`] → [`form`] → [`orders`] → [`storage`] → [`apply`] (under a
//! [`schedule`] of a [`space`]) → [`nest`]; [`forms`](mod@forms) spells the way from a program to forms that schedules can
//! be made for. Nothing in this crate reads a file, a clock or a random source, and nothing prints.

pub mod apply;
pub mod cost;
pub mod dependence;
pub mod form;
pub mod forms;
pub mod frontend;
pub mod integer;
pub mod nest;
pub mod normalize;
pub mod oracle;
pub mod orders;
pub mod program;
pub mod schedule;
pub mod space;
pub mod storage;
pub mod value;
