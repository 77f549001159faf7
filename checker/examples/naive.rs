use model::system::*;
use std::collections::{HashMap, HashSet};
fn main() {
    let name = std::env::args().nth(1).unwrap();
    let mut scope = Scope::catalogue()
        .into_iter()
        .find(|s| s.name == name)
        .unwrap();
    for a in std::env::args().skip(2) {
        let (k, v) = a.split_once('=').unwrap();
        let v: u64 = v.parse().unwrap();
        match k {
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
    let sym = std::env::var("SYM").is_ok();
    let fin = |s: System| if sym { s.canonical() } else { s };
    let mut seen = HashSet::new();
    let mut servers = HashSet::new();
    let mut q = std::collections::VecDeque::new();
    let s = fin(scope.start());
    seen.insert(s.encode());
    q.push_back((s, 0));
    let mut w = Witnesses::default();
    let mut depth = 0;
    let t = std::time::Instant::now();
    let mut par: HashMap<Vec<u8>, ()> = HashMap::new();
    par.clear();
    while let Some((s, d)) = q.pop_front() {
        depth = d;
        for p in &s.processes {
            servers.insert(p.clone());
        }
        for a in scope.actions(&s) {
            if let Some((n, ws)) = scope.next(&s, &a) {
                w.add_all(ws);
                let n = fin(n);
                if let Some(b) = &n.broken {
                    println!("BROKEN {} : {}\n{:?}\n{:#?}", b.law, b.why, a, n);
                    return;
                }
                if seen.insert(n.encode()) {
                    q.push_back((n, d + 1));
                }
            }
        }
    }
    println!(
        "{name}: {} states, {} processes, depth {depth}, {:?}; {:?}",
        seen.len(),
        servers.len(),
        t.elapsed(),
        w.list()
    );
}
