//! The counterexample printer: a trace explained to a reader who is new to this Raft, with the process
//! of each step, the messages sent, and the changes. Plain text of about 100 columns.
//!
//! `words` describes messages, entries and actions, `changes` the changes of a step, and `finale` draws
//! the end: the violated property and all servers side by side.

mod changes;
mod finale;
pub(crate) mod words;

pub use words::describe_action;
pub(crate) use words::{
    crashes, message, received, restarts, takes_snapshot, timer_fires, transfers,
};

use crate::{
    plural::{bounded, counted, list},
    trace::Trace,
};
use model::system::{Process, Scope, System, scope::BoundValue};

/// The maximum width of a line.
const WIDTH: usize = 98;

/// The explanation of a trace.
pub fn explain(trace: &Trace) -> String {
    let mut explanation = Explanation::default();
    introduce(trace, &mut explanation);
    let mut before = trace.start();
    for (index, step) in trace.steps.iter().enumerate() {
        let number = format!("{:>3}. ", index + 1);
        explanation.paragraph(&number, 5, &describe_action(&step.action, &before));
        let process = step.action.process;
        let (old, new) = (&before.processes[process], &step.state.processes[process]);
        for (index, sent) in words::sends(&step.sent).iter().enumerate() {
            explanation.detail(if index == 0 { "sends" } else { "" }, sent);
        }
        let changes = changes::between(old, new);
        for (label, change) in &changes {
            explanation.detail(label, change);
        }
        if changes.is_empty() && step.sent.is_empty() {
            explanation.detail("", "nothing changes");
        }
        before = step.state.clone();
    }
    finale::describe(trace, &mut explanation);
    explanation.0
}

fn introduce(trace: &Trace, explanation: &mut Explanation) {
    let scope = &trace.scope;
    let (steps, name) = (counted(trace.steps.len() as u64, "step"), &scope.name);
    let title = match &trace.violation {
        Some(violation) => format!(
            "{} is violated in {steps} of \"{name}\"",
            violation.property
        ),
        None => format!("{steps} of \"{name}\""),
    };
    explanation.line(&title);
    explanation.line(&"=".repeat(title.chars().count()));
    explanation.paragraph("", 0, &bounds(scope));
    if let Some(mutant) = scope.mutant {
        let text = format!(
            "The planted bug: {} ({}).",
            mutant.summary().trim_end_matches('.'),
            mutant.name()
        );
        explanation.paragraph("", 0, &text);
    }
    explanation.paragraph("", 0, &opening(&trace.start()));
    explanation.line("");
}

fn bounds(scope: &Scope) -> String {
    let mut parts = vec![
        counted(scope.servers, "server"),
        format!("at most {}", counted(scope.terms, "new term")),
    ];
    let budget = &scope.budget;
    let counts = [
        (BoundValue::Number(budget.entries.into()), "client entry"),
        (BoundValue::Number(budget.reads.into()), "read"),
        (budget.crashes.into(), "crash"),
        (budget.snapshots.into(), "snapshot"),
        (budget.client_crashes.into(), "client crash"),
        (budget.proxy_crashes.into(), "proxy crash"),
        (budget.transfers.into(), "leadership transfer"),
    ];
    parts.extend(
        counts
            .into_iter()
            .filter(|(bound, _)| bound.exceeds(0))
            .map(|(bound, what)| bounded(bound, what)),
    );
    if !scope.plans.is_empty() {
        parts.push("a proxy".into());
        parts.push(counted(scope.plans.len() as u64, "client"));
    }
    format!("The world: {}.", list(&parts))
}

fn opening(start: &System) -> String {
    let first = start.processes.iter().find_map(Process::server);
    let Some(server) = first else {
        return String::new();
    };
    let log = match server.log() {
        [] => "an empty log".into(),
        log => format!("the log {}", words::log(log)),
    };
    let term = server.disk.hard_state.current_term;
    format!("At the start every server is a follower in term {term} with {log}.")
}

/// The text so far.
#[derive(Default)]
struct Explanation(String);

impl Explanation {
    fn line(&mut self, text: &str) {
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }

    /// Adds a line below a step: `sends   RequestVote ...`.
    fn detail(&mut self, label: &str, text: &str) {
        self.paragraph(&format!("       {label:<7} "), 17, text);
    }

    /// Adds text wrapped to the width. All lines except the first are indented by `indent`.
    fn paragraph(&mut self, first: &str, indent: usize, text: &str) {
        let mut line = first.to_owned();
        let mut width = line.chars().count();
        let mut fresh = true;
        for word in text.split(' ') {
            let length = word.chars().count();
            if !fresh && width + 1 + length > WIDTH {
                self.line(&line);
                line = " ".repeat(indent);
                width = indent;
                fresh = true;
            }
            if !fresh {
                line.push(' ');
                width += 1;
            }
            line.push_str(word);
            width += length;
            fresh = false;
        }
        self.line(&line);
    }
}
