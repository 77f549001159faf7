use checker::engine::*;
use model::system::*;
fn main() {
    let name = std::env::args().nth(1).unwrap();
    let mut scope = Scope::catalogue()
        .into_iter()
        .find(|s| s.name == name)
        .unwrap();
    let mut l = Limits {
        threads: 1,
        max_states: None,
        max_memory: Some(20 << 30),
        symmetry: std::env::var("SYM").is_ok(),
    };
    for a in std::env::args().skip(2) {
        let (k, v) = a.split_once('=').unwrap();
        let v: u64 = v.parse().unwrap();
        match k {
            "max" => l.max_states = Some(v),
            "threads" => l.threads = v as usize,
            "terms" => scope.terms = v,
            "entries" => scope.budget.entries = v as u8,
            "crashes" => scope.budget.crashes = v as u8,
            "reads" => scope.budget.reads = v as u8,
            "servers" => scope.servers = v,
            "none" => scope.reduction = Reduction::NONE,
            "dead" => scope.reduction.drop_dead = v == 1,
            "early" => scope.reduction.send_early = v == 1,
            "sync" => scope.reduction.merge_syncs = v == 1,
            "restart" => scope.reduction.merge_restarts = v == 1,
            "hints" => scope.reduction.forget_hints = v == 1,
            _ => panic!(),
        }
    }
    let p = Progress::default();
    let e = check(&scope, &l, &p);
    let r = e.report;
    if let Outcome::Violated { broken, path } = &r.outcome {
        println!("{broken:?} len {}", path.len());
    }
    println!(
        "{name}: {:?} {} states, {} transitions depth {} {:?} {:.0}/s {:.1} B/state rss {}M {:?} missing {:?}",
        std::mem::discriminant(&r.outcome),
        r.states,
        r.transitions,
        r.depth,
        r.elapsed,
        r.states as f64 / r.elapsed.as_secs_f64(),
        r.bytes as f64 / r.states as f64,
        checker::machine::resident_bytes().unwrap() >> 20,
        r.sizes,
        r.missing(&scope)
    );
}
