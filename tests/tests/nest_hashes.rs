//! The loop nests of the bundled workloads are those of the table.

use moat_tests::nest_hashes::{difference, place, table};

#[test]
fn the_nests_are_those_of_the_table() {
    let old = std::fs::read_to_string(place()).expect("the table is readable");
    let new = table().expect("every workload has its nests");
    let difference = difference(&old, &new);
    assert!(
        difference.is_empty(),
        "if this is meant: `cargo run -p moat-tests --bin nest_hashes -- --bless`\n{difference}"
    );
}
