//! The catalogue and the code stay in step, and the quick mutants are found.

use checker::{
    catalogue::{HuntEnd, entries},
    engine::{Limits, Progress},
};

#[test]
fn hunt_all() {
    let limits = Limits {
        threads: 1,
        max_states: Some(3_000_000),
        max_memory: None,
        symmetry: true,
    };
    let only = std::env::var("ONLY").unwrap_or_default();
    for entry in entries() {
        if !entry.mutant.name().contains(&only) {
            continue;
        }
        let hunt = entry.hunt(&limits, &Progress::default());
        let end = match &hunt.end {
            HuntEnd::Found { steps, why, .. } => format!("found {steps} {why}"),
            HuntEnd::Survived => "SURVIVED".into(),
            HuntEnd::Truncated => "TRUNCATED".into(),
        };
        println!(
            "{:42} {:22} {:>9} {:>8.2?} {}",
            entry.mutant.name(),
            entry.breaks.name(),
            hunt.states,
            hunt.elapsed,
            end
        );
    }
}
