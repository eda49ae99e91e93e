use moat_optimizer::normalize::{NormalizeConfig, normalize};
use moat_optimizer::numerics::Numerics;
use moat_optimizer::notation::print;
use moat_rules::RuleBase;
#[test]
fn times() {
    let rules = RuleBase::standard().unwrap();
    for e in std::fs::read_dir("../datasets/workloads").unwrap() {
        let p = e.unwrap().path();
        if p.extension().is_none_or(|x| x != "py") { continue; }
        let s = std::fs::read_to_string(&p).unwrap();
        let w = moat_optimizer::frontend::parse("x", &s, &Default::default()).unwrap();
        for numerics in [Numerics::Reassociate, Numerics::Algebraic] {
            let t = std::time::Instant::now();
            let n = normalize(&w.program, &rules, &NormalizeConfig { numerics, ..Default::default() }).unwrap();
            println!("TIME {} {numerics} {:?} {} forms {:?}", p.display(), t.elapsed(), n.forms.len(), n.stats);
            for f in &n.forms { println!("RULES {} {} {:?}\n{}", f.flops, f.bytes, f.derivation.rules, print(&f.normal_form)); }
        }
    }
}
