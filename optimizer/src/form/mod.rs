//! The denotational normal form: definitions, each a scalar expression at a point of its domain.
//!
//! What `normalize` gives and every later stage takes, with its verifier, its evaluator and its
//! notation. A form says what each element is and in which order definitions are computed; it does
//! not know how a definition is stored or scheduled.

pub mod access;
pub mod context;
pub mod cover;
pub mod evaluate;
pub mod normal_form;
pub mod notation;
pub mod scalar_tree;
pub mod steps;
pub mod verify;
