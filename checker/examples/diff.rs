use checker::engine::*;
use model::system::*;
use std::collections::HashSet;
fn main() {
    let mut scope = Scope::catalogue()
        .into_iter()
        .find(|s| s.name == "elections")
        .unwrap();
    scope.terms = 2;
    scope.budget.crashes = 1;
    let l = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry: false,
    };
    let e = check(&scope, &l, &Progress::default());
    let mut seen = HashSet::new();
    let mut q = vec![scope.start()];
    seen.insert(q[0].clone());
    while let Some(s) = q.pop() {
        for a in scope.actions(&s) {
            if let Some((n, _)) = scope.next(&s, &a) {
                if seen.insert(n.clone()) {
                    q.push(n);
                }
            }
        }
    }
    let mut k = 0;
    let mut uniq = HashSet::new();
    for i in 0..e.states.len() {
        let s = e.tables.system(&e.states.key(i));
        if !uniq.insert(s.clone()) {
            println!("dup");
        }
        if !seen.contains(&s) {
            k += 1;
            if k < 3 {
                let mut n = s.clone();
                scope.normalize(&mut n);
                println!(
                    "fast only; normalized differs: {} in naive {}",
                    n != s,
                    seen.contains(&n)
                );
                for m in s.network.difference(&n.network) {
                    println!("  - {m:?}");
                }
                for m in n.network.difference(&s.network) {
                    println!("  + {m:?}");
                }
                for p in &s.processes {
                    let p = p.server().unwrap();
                    let r = &p.running.as_ref().unwrap().raft;
                    println!(
                        "{:?} t{} vote {:?} role {:?}",
                        p.id,
                        r.current_term(),
                        r.voted_for(),
                        r.role()
                    );
                }
                for m in &s.network {
                    println!("{m:?}");
                }
            }
        }
    }
    println!("{k}");
}
