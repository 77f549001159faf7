//! Checks whether the assertions of a tour's cards hold, and whether every card has its texts.
//!
//! An assertion is a line of words: `server 1 leader`, `server 2 log 1 2 4` (the terms of its entries),
//! `server 1 commit 2`, `committed 3` (by some leader, ever), `witness leader elected`, `property Leader
//! Completeness`, `nothing changes`. The checks use the same lines of the trace as the page.

use crate::script::{self, Card, Part};
use anyhow::{Context, Result, bail, ensure};
use checker::trace::{ProcessSnapshot, Trace};
use serde_json::Value;

/// Checks every card of a part.
pub(crate) fn check(part: &Part, trace: &Trace) -> Result<()> {
    let mut done = 0;
    for (index, card) in part.cards.iter().enumerate() {
        let told = || format!("card {index} ({:?})", card.events);
        ensure!(
            (index == 0) == card.events.is_empty(),
            "card {index}: something happens on every card but the first"
        );
        let before = done;
        done += card.events.len();
        words(card).with_context(told)?;
        let scene = Scene {
            past: &trace.steps[..done],
            before,
            trace,
        };
        for look in &card.look {
            scene.exists(look).with_context(told)?;
        }
        for assertion in &card.shows {
            let holds = scene.holds(assertion).with_context(told)?;
            ensure!(
                holds,
                "{}: the assertion does not hold: {assertion}",
                told()
            );
        }
    }
    ensure!(
        done == trace.steps.len(),
        "the cards tell {done} of {} steps",
        trace.steps.len()
    );
    Ok(())
}

fn words(card: &Card) -> Result<()> {
    card.head.check("the heading")?;
    card.text.check("the text")?;
    for cite in &card.cites {
        let place = cite
            .strip_prefix("raft ")
            .or_else(|| cite.strip_prefix("thesis "));
        let is_place = place.is_some_and(|place| {
            place.starts_with(|first: char| first.is_ascii_digit()) || place.starts_with("Figure ")
        });
        ensure!(is_place, "{cite:?} is no place in the paper or the thesis");
    }
    Ok(())
}

/// The run up to a card.
struct Scene<'a> {
    past: &'a [checker::trace::TraceStep],
    /// The number of steps before the card.
    before: usize,
    trace: &'a Trace,
}

impl Scene<'_> {
    /// Requires that a process exists, or a message that was sent by now.
    fn exists(&self, look: &str) -> Result<()> {
        if self.process(look).is_ok() {
            return Ok(());
        }
        let words: Vec<&str> = look.split_whitespace().collect();
        let until = Trace {
            scope: self.trace.scope.clone(),
            steps: self.past.to_vec(),
            violation: None,
        };
        script::message(&words, &until)
            .with_context(|| format!("{look:?} is nothing to look at"))?;
        Ok(())
    }

    fn process(&self, name: &str) -> Result<Value> {
        self.process_at(self.past.len(), name)
    }

    fn process_at(&self, steps: usize, name: &str) -> Result<Value> {
        let system = match steps.checked_sub(1) {
            Some(last) => self.trace.steps[last].state.clone(),
            None => self.trace.start(),
        };
        let mut processes = system.processes.iter();
        let found = processes
            .find(|process| process.address().to_string() == name)
            .with_context(|| format!("there is no {name}"))?;
        Ok(serde_json::to_value(ProcessSnapshot::from_process(found))?)
    }

    fn holds(&self, assertion: &str) -> Result<bool> {
        let words: Vec<&str> = assertion.split_whitespace().collect();
        match words.as_slice() {
            ["nothing", "changes"] => self.nothing_changes(),
            ["property", property @ ..] => {
                let violation = self
                    .past
                    .last()
                    .and_then(|step| step.state.violation.clone());
                Ok(violation
                    .is_some_and(|violation| violation.property.name() == property.join(" ")))
            }
            ["witness", witness @ ..] => {
                let wanted = witness.join(" ");
                let mut steps = self.past[self.before..].iter();
                Ok(steps.any(|step| {
                    let found = step.witnesses.list();
                    found.iter().any(|witness| witness.name() == wanted)
                }))
            }
            ["committed", count] => {
                let last = self.past.last().context("nothing happened yet")?;
                Ok(last.state.history.committed.len() == count.parse::<usize>()?)
            }
            [kind, id, rest @ ..] => {
                let state = self.process(&format!("{kind} {id}"))?;
                process_holds(&state, rest)
            }
            _ => bail!("{assertion:?} is no assertion"),
        }
    }

    fn nothing_changes(&self) -> Result<bool> {
        for step in &self.past[self.before..] {
            let name = step.state.processes[step.action.process]
                .address()
                .to_string();
            if self.process_at(self.before, &name)? != self.process(&name)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn process_holds(state: &Value, assertion: &[&str]) -> Result<bool> {
    let running = &state["running"];
    Ok(match assertion {
        ["down"] => running.is_null() && state["kind"] == "server",
        ["idle"] => state["idle"] == true,
        ["waiting"] => state["idle"] == false,
        ["believes", "nobody"] => state["kind"] == "proxy" && state["leader"].is_null(),
        ["believes", leader] => state["leader"] == leader.parse::<u64>()?,
        ["in", "flight", count] => state["in_flight"] == count.parse::<u64>()?,
        [role @ ("leader" | "follower" | "candidate" | "pre-candidate")] => {
            running["role"] == *role
        }
        ["term", term] => running["term"] == term.parse::<u64>()?,
        ["voted", "for", vote] => running["voted_for"] == vote.parse::<u64>()?,
        ["votes", votes @ ..] => running["votes"] == numbers(votes)?,
        ["commit", index] => running["commit_index"] == index.parse::<u64>()?,
        ["durable", index] => running["durable_index"] == index.parse::<u64>()?,
        ["log", terms @ ..] => terms_of(&running["log"]) == numbers(terms)?,
        ["disk", terms @ ..] => terms_of(&state["disk"]["log"]) == numbers(terms)?,
        ["x", "=", "nothing"] => running["store"] == Value::Array(Vec::new()),
        ["x", "=", value] => {
            let bytes: Vec<Value> = value.bytes().map(Value::from).collect();
            running["store"][0]["value"] == Value::Array(bytes)
        }
        ["match", follower, index] => {
            follower_of(running, follower)?["match_index"] == index.parse::<u64>()?
        }
        ["next", follower, index] => {
            follower_of(running, follower)?["next_index"] == index.parse::<u64>()?
        }
        _ => bail!("{:?} is no assertion about a process", assertion.join(" ")),
    })
}

fn follower_of<'a>(running: &'a Value, follower: &str) -> Result<&'a Value> {
    let id: u64 = follower.parse()?;
    let followers = running["followers"]
        .as_array()
        .context("it does not lead")?;
    let found = followers.iter().find(|follower| follower["id"] == id);
    found.with_context(|| format!("it does not know server {id}"))
}

fn numbers(words: &[&str]) -> Result<Value> {
    let numbers = words
        .iter()
        .map(|word| word.parse::<u64>().map(Value::from));
    Ok(Value::Array(numbers.collect::<Result<_, _>>()?))
}

fn terms_of(log: &Value) -> Value {
    let entries = log.as_array().into_iter().flatten();
    Value::Array(entries.map(|entry| entry["term"].clone()).collect())
}
