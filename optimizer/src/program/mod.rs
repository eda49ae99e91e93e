//! Programs: whole-array operators, statements and states, with their types.
//!
//! What the frontend gives and `normalize` and the oracle take. A program says what is computed, in
//! NumPy's words and with every extent known; it knows nothing of how.

pub mod expr;
pub mod types;
pub mod verify;
