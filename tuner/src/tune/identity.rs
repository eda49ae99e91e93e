//! What records call programs, forms and nests: hashes of what they compute.

use moat_optimizer::forms::DerivedForm;
use moat_optimizer::program::expr::{Program, Span};
use moat_rules::hexadecimal;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Names of the rules that derive `form` from the source form, in order.
pub fn derivation(form: &DerivedForm) -> Vec<String> {
    form.derivation.rules.clone()
}

/// Hash of what is computed: nodes, shapes, dtypes, hints; not where it stands in a file.
pub fn workload_hash(program: &Program) -> String {
    let mut program = program.clone();
    for node in &mut program.nodes {
        node.span = Span::default();
    }
    hash(&program)
}

/// Hash of a value's JSON.
pub(super) fn hash<T: Serialize>(value: &T) -> String {
    // What is hashed here is plain data, which always has a JSON form.
    hexadecimal(&Sha256::digest(serde_json::to_vec(value).unwrap_or_default()))
}
