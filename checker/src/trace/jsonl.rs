//! Traces as JSON lines: a header, then one line for each step. The schema is `docs/trace.md`.
//!
//! Reading trusts nothing: the steps are executed again in the model, and what the file says was
//! sent, witnessed and reached must be what the model says. What execution cannot notice (a bound
//! raised beyond what the run uses) the digests do: each line ends in a digest of itself and of
//! all lines before it. They catch accidents and careless edits, not forgers.

use crate::seal::Seal;

use super::{ScopeBounds, Snapshot, Trace, TraceStep, real_network};
use model::{
    Envelope,
    mutant::Mutant,
    system::{Action, Law, Local, Witnesses},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, BufRead, Write};

/// The name and version of the format.
pub const SCHEMA: &str = "stateraft-trace/1";

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: String,
    scope: ScopeBounds,
    mutant: Option<String>,
    law: Option<Law>,
    why: Option<String>,
    steps: usize,
    start: serde_json::Value,
}

/// Every other line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepLine {
    step: usize,
    process: String,
    event: Local,
    sent: Vec<Envelope>,
    witnesses: Vec<String>,
    state: serde_json::Value,
}

/// Why a file is no trace.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the trace: {why}")]
pub struct BadTrace {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Trace {
    /// Writes the trace as JSON lines.
    ///
    /// # Errors
    /// Of the writer.
    pub fn write_jsonl(&self, out: &mut impl Write) -> io::Result<()> {
        let mut seal = Seal::default();
        let header = Header {
            schema: SCHEMA.into(),
            scope: ScopeBounds::of(&self.scope),
            mutant: self.scope.mutant.map(|mutant| mutant.name().into()),
            law: self.broken.as_ref().map(|broken| broken.law),
            why: self.broken.as_ref().map(|broken| broken.why.clone()),
            steps: self.steps.len(),
            start: serde_json::to_value(Snapshot::all(&self.start()))?,
        };
        writeln!(out, "{}", seal.close(serde_json::to_string(&header)?))?;
        for (place, step) in self.steps.iter().enumerate() {
            let process = &step.state.processes[step.action.process];
            let line = StepLine {
                step: place + 1,
                process: process.address().to_string(),
                event: step.action.local.clone(),
                sent: step.sent.clone(),
                witnesses: names(step.witnesses),
                state: serde_json::to_value(Snapshot::of(process))?,
            };
            writeln!(out, "{}", seal.close(serde_json::to_string(&line)?))?;
        }
        Ok(())
    }
}

/// Reads a trace from JSON lines and executes it again.
///
/// # Errors
/// The first line that cannot be read, was changed, or that the model contradicts.
pub fn read_jsonl(input: impl BufRead) -> Result<Trace, BadTrace> {
    let mut seal = Seal::default();
    let mut lines = input.lines().enumerate();
    let Some((_, first)) = lines.next() else {
        return Err(bad(1, "the file is empty"));
    };
    let (header, mut trace) = read_header(&mut seal, &first.map_err(|error| bad(1, error))?)
        .map_err(|why| bad(1, why))?;
    for (place, text) in lines {
        let line = place + 1;
        let text = text.map_err(|error| bad(line, error))?;
        if place > header.steps {
            return Err(bad(line, "there are more steps than the header says"));
        }
        let step = read_step(&mut seal, &text, place, &trace).map_err(|why| bad(line, why))?;
        trace.push(step);
    }
    let last = trace.steps.len() + 1;
    if trace.steps.len() != header.steps {
        return Err(bad(
            last,
            format!(
                "the trace ends here, but its header says {} steps",
                header.steps
            ),
        ));
    }
    let found = trace.broken.as_ref();
    if found.map(|broken| broken.law) != header.law
        || found.map(|broken| &broken.why) != header.why.as_ref()
    {
        return Err(bad(
            1,
            match found {
                Some(broken) => format!("the steps break {}: {}", broken.law, broken.why),
                None => "the steps break no law".into(),
            },
        ));
    }
    Ok(trace)
}

fn read_header(seal: &mut Seal, text: &str) -> Result<(Header, Trace), String> {
    let header: Header = parse(&seal.open(text)?)?;
    if header.schema != SCHEMA {
        return Err(format!(
            "the schema is {}, and only {SCHEMA} is known",
            header.schema
        ));
    }
    let mutant = match &header.mutant {
        None => None,
        Some(name) => Some(
            Mutant::ALL
                .iter()
                .copied()
                .find(|mutant| mutant.name() == name)
                .ok_or_else(|| format!("no mutant is called {name}"))?,
        ),
    };
    let scope = header.scope.clone().scope(mutant);
    scope.validate().map_err(|error| error.to_string())?;
    let trace = Trace {
        scope,
        steps: Vec::new(),
        broken: None,
    };
    differs("start", &header.start, &Snapshot::all(&trace.start()))?;
    Ok((header, trace))
}

fn read_step(
    seal: &mut Seal,
    text: &str,
    number: usize,
    trace: &Trace,
) -> Result<TraceStep, String> {
    let line: StepLine = parse(&seal.open(text)?)?;
    if line.step != number {
        return Err(format!("this is step {number}, not {}", line.step));
    }
    let before = trace.end();
    let process = before
        .processes
        .iter()
        .position(|process| process.address().to_string() == line.process)
        .ok_or_else(|| format!("the scope has no {}", line.process))?;
    let action = Action {
        process,
        local: line.event,
    };
    let step = trace
        .advance(&real_network(&trace.scope), &action)
        .map_err(|error| format!("{error:#}"))?;
    if step.sent != line.sent {
        return Err("\"sent\" is not what the model sends in this step".into());
    }
    if names(step.witnesses) != line.witnesses {
        return Err("\"witnesses\" are not those of this step".into());
    }
    let state = Snapshot::of(&step.state.processes[process]);
    differs("state", &line.state, &state)?;
    Ok(step)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn differs(what: &str, recorded: &serde_json::Value, model: &impl Serialize) -> Result<(), String> {
    let model = serde_json::to_value(model).map_err(|error| error.to_string())?;
    if *recorded == model {
        return Ok(());
    }
    Err(format!("\"{what}\" is not what the model reaches"))
}

fn names(witnesses: Witnesses) -> Vec<String> {
    let list = witnesses.list().into_iter();
    list.map(|witness| witness.name().into()).collect()
}

fn bad(line: usize, why: impl ToString) -> BadTrace {
    BadTrace {
        line,
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate;
    use model::system::Scope;

    /// Changes one number somewhere inside a JSON value, the `place`-th; says whether it exists.
    fn change(value: &mut serde_json::Value, place: &mut usize) -> bool {
        match value {
            serde_json::Value::Number(number) => {
                if *place > 0 {
                    *place -= 1;
                    return false;
                }
                let other = number.as_u64().map_or(0, |number| number + 1);
                *value = other.into();
                true
            }
            serde_json::Value::Array(values) => values.iter_mut().any(|value| change(value, place)),
            serde_json::Value::Object(fields) => {
                fields.values_mut().any(|value| change(value, place))
            }
            _ => false,
        }
    }

    #[test]
    fn a_forged_digest_hides_no_number_that_the_model_knows_better() {
        let mut scopes = Scope::catalogue().into_iter();
        let scope = scopes
            .rfind(|scope| scope.name == "crashes")
            .expect("the catalogue has it");
        let trace = simulate::walk(&scope, 1, 12);
        let mut file = Vec::new();
        trace.write_jsonl(&mut file).expect("memory takes all");
        let text = String::from_utf8(file).expect("JSON is UTF-8");
        let mut seal = Seal::default();
        let objects: Vec<String> = text
            .lines()
            .map(|line| seal.open(line).expect("it is sealed"))
            .collect();
        for place in 1..objects.len() {
            for number in 0.. {
                let mut value = serde_json::from_str(&objects[place]).expect("it is JSON");
                if !change(&mut value, &mut { number }) {
                    break;
                }
                let mut seal = Seal::default();
                let forged: Vec<String> = objects
                    .iter()
                    .enumerate()
                    .map(|(at, object)| {
                        let changed = at == place;
                        seal.close(if changed {
                            value.to_string()
                        } else {
                            object.clone()
                        })
                    })
                    .collect();
                let error = read_jsonl(forged.join("\n").as_bytes()).expect_err("forged");
                assert_eq!(error.line, place + 1, "number {number}: {error}");
            }
        }
    }
}
