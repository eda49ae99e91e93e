//! Every workload of the repository reads, and its program is well-formed.

use moat_optimizer::frontend::{ParseOptions, listing, parse};

#[test]
fn workloads_read() {
    let paths = moat_tests::workloads::bundled().expect("datasets/workloads is readable");
    let mut text = String::new();
    for path in &paths {
        let name = path.file_name().and_then(|name| name.to_str()).expect("workloads have UTF-8 names");
        let source = std::fs::read_to_string(path).expect("a workload is readable");
        let workload = parse(name, &source, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{errors}"));
        text += &format!("{name}\n{}\n", listing(&workload.program));
    }
    insta::assert_snapshot!(text);
}
