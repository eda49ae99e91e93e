//! What the tests share: sample programs and forms.

pub mod forms;
pub mod nests;
