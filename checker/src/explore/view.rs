//! A walk as the page receives it: the lines of a trace, and the current state. The fields are those of
//! `docs/trace.md` and `docs/explore.md`.

use super::{
    labels,
    walk::{Choice, Effect, Walk, WalkStep},
    world::bounds_of,
};
use crate::trace::{ProcessSnapshot, SCHEMA};
use model::{
    Address, Role,
    mutant::Mutant,
    system::{
        Process, Property, Violation, Witness, Witnesses, process_address, scope::BoundValue,
    },
};
use serde_json::{Value, json};

/// The response to a walk: its header, its start, the steps after the first `from`, and the current
/// state.
pub(super) fn walk(walk: &Walk, from: usize) -> Value {
    let start: Vec<ProcessSnapshot> = walk
        .start()
        .iter()
        .map(ProcessSnapshot::from_process)
        .collect();
    json!({
        "header": header(walk),
        "start": start,
        "steps": steps(walk, from),
        "here": here(walk),
    })
}

/// The header of a trace, without the number of steps.
pub(super) fn header(walk: &Walk) -> Value {
    let scope = &walk.world.scope;
    let violation = walk.steps.last().and_then(|step| step.violations.first());
    json!({
        "schema": SCHEMA,
        "scope": scope,
        "mutant": scope.mutant.map(Mutant::name),
        "property": violation.map(|violation| violation.property.name()),
        "why": violation.map(|violation| violation.cause.to_string()),
        "cause": violation.map(|violation| &violation.cause),
        "bounds": bounds_of(scope),
        "steps_are": walk.world.steps.name(),
        "planted": scope.mutant.map(Mutant::summary),
    })
}

/// The steps after the first `from`.
pub(super) fn steps(walk: &Walk, from: usize) -> Vec<Value> {
    let numbered = walk.steps.iter().enumerate();
    numbered
        .skip(from)
        .map(|(index, step)| self::step(walk, index + 1, step))
        .collect()
}

fn step(walk: &Walk, number: usize, step: &WalkStep) -> Value {
    let envelope = |message: &u32| &walk.messages[*message as usize - 1].envelope;
    let event = match (&step.local, step.key) {
        (Some(local), _) => json!(local),
        (None, super::keys::Key::Drop(message)) => {
            json!({"Drop": {"envelope": &**envelope(&message)}})
        }
        (None, super::keys::Key::Step { .. }) => Value::Null,
    };
    let sent: Vec<Value> = step
        .sent
        .iter()
        .map(|message| json!(&**envelope(message)))
        .collect();
    json!({
        "step": number,
        "process": step.after.address().to_string(),
        "event": event,
        "sent": sent,
        "witnesses": names(step.witnesses),
        "state": ProcessSnapshot::from_process(&step.after),
        "key": step.key.to_string(),
        "text": step.text,
        "violations": step
            .violations
            .iter()
            .map(violation)
            .collect::<Vec<_>>(),
    })
}

/// A violation: its property, its cause in English, and its cause as data.
fn violation(violation: &Violation) -> Value {
    let Violation { property, cause } = violation;
    json!({"property": property.name(), "why": cause.to_string(), "cause": cause})
}

/// The possible actions and the properties in the current state.
fn here(walk: &Walk) -> Value {
    json!({
        "actions": actions(walk),
        "properties": properties(walk),
        "witnesses": witnesses(walk),
        "budgets": budgets(walk),
        "messages": messages(walk),
    })
}

fn actions(walk: &Walk) -> Vec<Value> {
    let system = walk.system();
    let choices = walk.choices();
    choices
        .iter()
        .map(|choice| {
            let Choice {
                key,
                action,
                message,
                outcome,
            } = choice;
            let sent = message.map(|number| &walk.messages[number as usize - 1]);
            let to = sent.map(|sent| sent.envelope.to);
            let (process, kind, label) = match action {
                Some(action) => {
                    let is_first = sent.is_none_or(|sent| sent.delivered().next().is_none());
                    let process = &system.processes[action.process];
                    (
                        process.address(),
                        labels::kind(&action.local, is_first, leads(process)),
                        labels::action(action, &system),
                    )
                }
                None => {
                    let from = sent.map(|sent| (sent.envelope.from, &sent.envelope.message));
                    let label = from.map(|(from, message)| {
                        format!("{} from {from} is lost", crate::explain::message(message))
                    });
                    let to = to.expect("only messages are dropped");
                    (to, "drop", label.unwrap_or_default())
                }
            };
            json!({
                "key": key.to_string(),
                "process": process.to_string(),
                "kind": kind,
                "message": message,
                "label": label,
                "allowed": outcome.is_ok(),
                "why_not": outcome.as_ref().err().map(ToString::to_string),
                "cause": outcome.as_ref().err(),
                "effect": outcome.as_ref().is_ok_and(|effect| *effect == Effect::Something),
            })
        })
        .collect()
}

/// Whether a process is a running leader.
fn leads(process: &Process) -> bool {
    let running = process.server().and_then(|server| server.running.as_ref());
    running.is_some_and(|running| matches!(running.raft.role(), Role::Leader(_)))
}

/// Every property that is checked in this world, and whether it held on the whole way to this state.
fn properties(walk: &Walk) -> Vec<Value> {
    let violations = walk.violations();
    let now = walk.current_violations();
    // Without recorded operations, linearizability is not checked.
    let has_operations = walk.world.scope.tracks_operations;
    Property::ALL
        .iter()
        .filter(|property| **property != Property::Linearizability || has_operations)
        .map(|property| {
            let first = violations
                .iter()
                .find(|(_, violation)| violation.property == *property);
            let now = now.iter().find(|violation| violation.property == *property);
            let step = first.map(|(step, _)| *step);
            let cause = first
                .map(|(_, violation)| *violation)
                .or(now)
                .map(|it| &it.cause);
            json!({
                "property": property.name(),
                "holds": cause.is_none(),
                "why": cause.map(ToString::to_string),
                "cause": cause,
                "step": step,
            })
        })
        .collect()
}

fn witnesses(walk: &Walk) -> Vec<Value> {
    let reached = walk.witnesses();
    let required = &walk.world.scope.expected;
    Witness::ALL
        .iter()
        .map(|witness| {
            json!({
                "name": witness.name(),
                "required": required.contains(witness),
                "reached": reached.contains(*witness),
            })
        })
        .collect()
}

fn budgets(walk: &Walk) -> Vec<Value> {
    let (spent, of) = (walk.spent(), &walk.world.scope.budget);
    let number = BoundValue::Number;
    let budgets = [
        ("terms", walk.terms_used(), number(walk.world.scope.terms)),
        ("entries", spent.entries.into(), number(of.entries.into())),
        ("reads", spent.reads.into(), number(of.reads.into())),
        ("crashes", spent.crashes.into(), of.crashes.into()),
        ("snapshots", spent.snapshots.into(), of.snapshots.into()),
    ];
    let restarts = [
        (
            "client-crashes",
            spent.client_crashes.into(),
            of.client_crashes.into(),
        ),
        (
            "proxy-crashes",
            spent.proxy_crashes.into(),
            of.proxy_crashes.into(),
        ),
        ("transfers", spent.transfers.into(), of.transfers.into()),
    ];
    // Most scopes have no such events.
    let restarts = restarts
        .into_iter()
        .filter(|(_, _, of): &(_, u64, BoundValue)| of.exceeds(0));
    budgets
        .into_iter()
        .chain(restarts)
        .map(|(name, used, of): (&str, u64, BoundValue)| json!({"name": name, "used": used, "of": of}))
        .collect()
}

fn messages(walk: &Walk) -> Vec<Value> {
    let address = |address: &Address| process_address(*address).to_string();
    (1..)
        .zip(&walk.messages)
        .map(|(id, sent): (u32, _)| {
            json!({
                "id": id,
                "from": address(&sent.envelope.from),
                "to": address(&sent.envelope.to),
                "message": sent.envelope.message,
                "sent_at": sent.sent_at(),
                "delivered": sent.delivered().collect::<Vec<_>>(),
                "dropped_at": sent.dropped_at(),
                "label": labels::message(&sent.envelope.message),
            })
        })
        .collect()
}

pub(super) fn names(witnesses: Witnesses) -> Vec<&'static str> {
    witnesses.list().into_iter().map(Witness::name).collect()
}
