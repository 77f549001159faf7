//! What to try next, in three lines.

use super::Exit;

/// Three commands worth typing after a check that ended so. `program` is how this one was called.
pub(crate) fn suggestions(program: &str, exit: Exit, scope: &str) -> [String; 3] {
    let line = |arguments: &str, what: &str| format!("{program} {arguments}   # {what}");
    let explore = line(
        &format!("explore --scope {scope}"),
        "walk through its states in a browser",
    );
    match exit {
        Exit::Passed => [
            line(
                "check --scope crashes",
                "a crash that takes what was not synced",
            ),
            line("check --all --max-memory 16G", "every scope"),
            explore,
        ],
        Exit::Truncated => [
            line(
                &format!("check --scope {scope} --max-memory 16G"),
                "go on until the frontier runs dry",
            ),
            line(
                &format!("check --scope {scope} --terms 1"),
                "or exhaust a smaller world",
            ),
            line("scopes", "what each scope bounds"),
        ],
        Exit::Failed | Exit::Usage => [
            line(
                &format!("check --scope {scope} --engine stateright"),
                "ask the other engine",
            ),
            line(
                &format!("check --scope {scope} --no-symmetry --no-reduction"),
                "without any reduction",
            ),
            explore,
        ],
    }
}
