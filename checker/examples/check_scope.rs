//! A model check from another program or from a test: searches a scope with bounds of its own, and
//! fails unless the scope is exhausted, every property holds, and every required witness was reached.
//!
//! ```text
//! cargo run --release -p stateraft-checker --example check_scope
//! ```

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use checker::engine::{Limits, SearchOutcome, SearchProgress, check};
use model::system::{Scope, Witness};

fn main() -> Result<(), String> {
    let mut scope = Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == "elections")
        .ok_or("there is no such scope")?;
    // With fewer terms some witnesses of the scope may be out of reach. These are the required ones.
    scope.terms = 2;
    scope.expected = vec![Witness::LeaderElected, Witness::ReElection];
    scope.validate().map_err(|error| error.to_string())?;
    let limits = Limits {
        threads: 2,
        max_states: Some(1_000_000),
        max_memory: None,
        symmetry: true,
    };
    let report = check(&scope, &limits, &SearchProgress::default()).report;
    match &report.outcome {
        SearchOutcome::Exhausted => println!("{} states, every property holds", report.states),
        // No claim: the limit was reached, or an assumption of a reduction failed.
        SearchOutcome::Truncated(cause) => return Err(format!("truncated: {cause:?}")),
        SearchOutcome::Violated { violation, path } => {
            let steps = path.len();
            return Err(format!(
                "{} after {steps} steps: {}",
                violation.property, violation.cause
            ));
        }
    }
    let missing = report.missing(&scope);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("witnesses not reached: {missing:?}"))
    }
}
