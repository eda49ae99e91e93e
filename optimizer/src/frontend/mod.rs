//! NumPy source → [`Workload`].
//!
//! Reads a `.py` file with annotated top-level functions and abstractly interprets the chosen one: every extent is
//! known, Python numbers are compile-time constants, arrays become nodes of an [`crate::program::expr::Program`] with explicit
//! casts and broadcasts. Loops over `range` and arrays that are written to become its statements; a function that has
//! them is read until what its loops carry is known ([`carry`]). Local functions are inlined. Whatever is outside the
//! language is an error with its place, and all independent errors are reported at once. Reads no file: the caller passes
//! the text.
//!
//! One reading is an [`evaluate::Evaluator`]. Its parts own what they hold: the nodes ([`graph`]), the names ([`frames`]),
//! memory ([`store`]), statements with the loops and conditions around them ([`control`]), places ([`place`]), errors
//! ([`diagnostics`]), and what readings found out ([`facts`]). The other files say what Python and NumPy mean.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "Python is dynamically typed: a kind of value or syntax that an operation does not name is an error in \
              the workload, also a kind that is added later; matches over operators have no such arm"
)]

mod aliasing;
mod arguments;
mod builtins;
mod call;
mod calls;
mod carry;
mod comparison;
mod control;
mod creation;
mod diagnostics;
mod dtype_name;
mod elementwise;
mod emit;
mod error;
mod evaluate;
mod expression;
mod facts;
mod frames;
mod function;
mod functions;
mod gather;
mod graph;
mod integer;
mod joining;
mod listing;
mod liveness;
mod loops;
mod memory;
mod module;
mod number;
mod number_comparison;
pub mod numpy_order;
mod open;
mod operand;
mod operator;
mod place;
mod product;
mod promote;
mod prune;
mod reading;
mod reduction;
mod routines;
mod scan;
mod scatter;
mod statement;
mod store;
mod structural;
mod subscript;
mod syntax;
mod truth;
mod twins;
mod unroll;
mod value;
mod workload;

pub use error::{FrontendError, FrontendErrors};
pub use listing::listing;
pub use reading::parse;
pub use workload::{ParseOptions, Workload};
