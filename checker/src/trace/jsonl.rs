//! Traces as JSON lines: a header, then one line for each step. `docs/trace.md` describes the schema.
//!
//! The reader does not trust the file. It executes the steps again in the model, and compares the
//! recorded messages, witnesses and states with the results. Execution cannot detect every change, for
//! example a bound raised beyond the use of the run. The digests detect these changes: each line ends in
//! a digest of itself and of all lines before it. They detect accidents and careless edits, but do not
//! prevent forgery.

use crate::{
    digest_chain::{BadDigest, DigestChain},
    escape::{check_name, escaped},
    lines::read_object,
    plural::counted,
};

use super::{ImpossibleStep, ProcessSnapshot, Trace, TraceStep, real_system};
use model::{
    Envelope,
    mutant::Mutant,
    system::{
        Action, Cause, Local, Property, Scope, System, TransitionSystem, Violation, Witnesses,
        scope::BadBound,
    },
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use std::{
    cmp::Ordering,
    io::{self, BufRead, Write},
};

/// The name and version of the format.
pub const SCHEMA: &str = "stateraft-trace/4";
/// The maximum length of a line in bytes. A step contains one process, the header all of them.
const LONGEST_LINE: u64 = 256 << 20;

/// The kind of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TraceKind {
    /// A run of a scope.
    Scope,
    /// The steps of a node ([`crate::replay`]).
    Node,
}

impl TraceKind {
    /// The kind of a trace by its first bytes: the first line that contains the first field of a header.
    /// A line before it must be truncated, as by a run that ended in its header.
    pub(crate) fn from_start(start: &[u8]) -> Option<Self> {
        let start = &start[..start.len().min(1 << 16)];
        for line in start.split(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            let position = |field: &str| text.find(field).unwrap_or(usize::MAX);
            match position("\"schema\"").cmp(&position("\"trace\"")) {
                Ordering::Less => return Some(Self::Scope),
                Ordering::Greater => return Some(Self::Node),
                Ordering::Equal => {}
            }
            if !line.starts_with(b"{") || serde_json::from_slice::<IgnoredAny>(line).is_ok() {
                break;
            }
        }
        None
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: String,
    scope: Scope,
    mutant: Option<String>,
    property: Option<Property>,
    why: Option<String>,
    cause: Option<Box<Cause>>,
    steps: usize,
    start: serde_json::Value,
}

/// Every line after the header.
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

/// The reason why a file is not a valid trace.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the trace: {}", escaped(&why.to_string()))]
pub struct BadTrace {
    /// The line, counted from 1.
    pub line: usize,
    /// The problem.
    pub why: BadTraceLine,
}

model::diagnostics! {
    /// The reason why a line of a file is not a valid line of a trace.
    pub enum BadTraceLine {
        /// There is no line.
        EmptyFile = "the file is empty";
        /// The line cannot be read from the file.
        LineUnreadable { error: String } = "{error}";
        /// The line does not have the form of a header or a step.
        LineMalformed { error: String } = "{error}";
        /// The digest at the end of the line is wrong.
        LineDigest { error: BadDigest } = "{error}";
        /// The file has another version.
        OtherSchema { schema: String, known: &'static str }
            = "the schema is {schema}, and only {known} is supported";
        /// The name of the scope could be mistaken for other output.
        BadScopeName { error: String } = "{error}";
        /// The planted bug is unknown.
        UnknownMutant { name: String } = "there is no planted bug {name}";
        /// The scope has bounds that cannot be executed.
        BadScope { error: BadBound } = "{error}";
        /// There are more lines than the header announces.
        TooManySteps = "there are more steps than the header announces";
        /// There are fewer lines than the header announces.
        TooFewSteps { steps: usize }
            = "the trace ends here, but its header announces {}", counted(*steps as u64, "step");
        /// The header announces another property, or none.
        OtherViolation { property: &'static str, cause: Box<Cause> }
            = "the steps violate {property}: {cause}";
        /// The header announces a violation.
        NoViolation = "the steps violate no property";
        /// The number of the step is not the next one.
        StepOutOfOrder { step: usize, recorded: usize } = "this is step {step}, not {recorded}";
        /// The process is not part of the scope.
        UnknownProcess { process: String } = "the scope has no {process}";
        /// The model does not allow the step.
        StepImpossible { reason: ImpossibleStep } = "{reason}";
        /// The recorded messages differ.
        SentDiffers = "\"sent\" does not have the messages that the model sends in this step";
        /// The recorded witnesses differ.
        WitnessesDiffer = "\"witnesses\" does not have the witnesses of this step";
        /// The recorded state differs.
        StateDiffers { part: &'static str } = "\"{part}\" is not the state that the model reaches";
    }
}

impl From<BadDigest> for BadTraceLine {
    fn from(error: BadDigest) -> Self {
        Self::LineDigest { error }
    }
}

impl Trace {
    /// Writes the trace as JSON lines.
    ///
    /// # Errors
    /// The errors of the writer.
    pub fn write_jsonl(&self, out: &mut impl Write) -> io::Result<()> {
        let mut lines = Lines::begin(
            out,
            &self.scope,
            self.steps.len(),
            self.violation.as_ref(),
            &self.start(),
        )?;
        for step in &self.steps {
            lines.step(step)?;
        }
        Ok(())
    }
}

/// Executes actions from the initial state of a scope and writes the trace. Keeps only the last step in
/// memory, for long traces.
///
/// # Errors
/// The first action that the model does not allow, or an error of the writer.
pub(crate) fn write_run(
    scope: &Scope,
    actions: &[Action],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let real = real_system(scope);
    let mut system = real.start();
    for action in actions {
        system = TraceStep::take(&real, system, action)?.state;
    }
    let violation = system.violation.take();
    let mut system = real.start();
    let mut lines = Lines::begin(out, scope, actions.len(), violation.as_ref(), &system)?;
    for action in actions {
        let step = TraceStep::take(&real, system, action)?;
        lines.step(&step)?;
        system = step.state;
    }
    Ok(())
}

/// Writes the lines of a trace.
struct Lines<'a, W> {
    out: &'a mut W,
    seal: DigestChain,
    steps: usize,
}

impl<'a, W: Write> Lines<'a, W> {
    fn begin(
        out: &'a mut W,
        scope: &Scope,
        steps: usize,
        violation: Option<&Violation>,
        start: &System,
    ) -> io::Result<Self> {
        let header = Header {
            schema: SCHEMA.into(),
            scope: scope.clone(),
            mutant: scope.mutant.map(|mutant| mutant.name().into()),
            property: violation.map(|violation| violation.property),
            why: violation.map(|violation| violation.cause.to_string()),
            cause: violation.map(|violation| violation.cause.clone()),
            steps,
            start: serde_json::to_value(ProcessSnapshot::all(start))?,
        };
        let mut seal = DigestChain::default();
        writeln!(out, "{}", seal.close(serde_json::to_string(&header)?))?;
        Ok(Self {
            out,
            seal,
            steps: 0,
        })
    }

    fn step(&mut self, step: &TraceStep) -> io::Result<()> {
        self.steps += 1;
        let process = &step.state.processes[step.action.process];
        let line = StepLine {
            step: self.steps,
            process: process.address().to_string(),
            event: step.action.local.clone(),
            sent: step.sent.clone(),
            witnesses: names(step.witnesses),
            state: serde_json::to_value(ProcessSnapshot::from_process(process))?,
        };
        let text = self.seal.close(serde_json::to_string(&line)?);
        writeln!(self.out, "{text}")
    }
}

/// Reads a trace from JSON lines and executes it again.
///
/// # Errors
/// The first line that cannot be read, was changed, or contradicts the model.
pub fn read_jsonl(input: impl BufRead) -> Result<Trace, BadTrace> {
    let mut trace = None;
    read_each(input, |read| match read {
        Read::Start(scope) => {
            trace = Some(Trace {
                scope: scope.clone(),
                steps: Vec::new(),
                violation: None,
            });
        }
        Read::Step(step) => {
            if let Some(trace) = &mut trace {
                trace.push(step.clone());
            }
        }
    })?;
    trace.ok_or_else(|| bad(1, BadTraceLine::EmptyFile))
}

/// A part of a trace that was read and verified.
pub(crate) enum Read<'a> {
    /// The header: the scope of the run.
    Start(&'a Scope),
    /// A step.
    Step(&'a TraceStep),
}

/// Reads a trace and executes it again. Keeps only the last step in memory.
///
/// # Errors
/// The first line that cannot be read, was changed, or contradicts the model. The parts passed to `read`
/// before it are verified.
pub(crate) fn read_each(
    mut input: impl BufRead,
    mut read: impl FnMut(Read<'_>),
) -> Result<(), BadTrace> {
    let mut seal = DigestChain::default();
    let Some(first) = next_line(&mut input).map_err(|why| bad(1, why))? else {
        return Err(bad(1, BadTraceLine::EmptyFile));
    };
    let (header, scope) = read_header(&mut seal, &first).map_err(|why| bad(1, why))?;
    read(Read::Start(&scope));
    let real = real_system(&scope);
    let mut system = real.start();
    let mut steps = 0;
    for position in 1.. {
        let line = position + 1;
        let Some(text) = next_line(&mut input).map_err(|why| bad(line, why))? else {
            break;
        };
        if position > header.steps {
            return Err(bad(line, BadTraceLine::TooManySteps));
        }
        let step = read_step(&mut seal, &text, position, &real, system);
        let step = step.map_err(|why| bad(line, why))?;
        read(Read::Step(&step));
        system = step.state;
        steps += 1;
    }
    if steps != header.steps {
        let why = BadTraceLine::TooFewSteps {
            steps: header.steps,
        };
        return Err(bad(steps + 1, why));
    }
    let found = system.violation.as_ref();
    if found.map(|violation| violation.property) != header.property
        || found.map(|violation| &violation.cause) != header.cause.as_ref()
        || found.map(|violation| violation.cause.to_string()) != header.why
    {
        let why = match found {
            Some(Violation { property, cause }) => BadTraceLine::OtherViolation {
                property: property.name(),
                cause: cause.clone(),
            },
            None => BadTraceLine::NoViolation,
        };
        return Err(bad(1, why));
    }
    Ok(())
}

fn next_line(input: &mut impl BufRead) -> Result<Option<String>, BadTraceLine> {
    let mut text = Vec::new();
    let read = read_object(input, LONGEST_LINE, &mut text).map_err(unreadable)?;
    if read == 0 {
        return Ok(None);
    }
    text.truncate(text.trim_ascii_end().len());
    String::from_utf8(text).map(Some).map_err(unreadable)
}

fn unreadable(error: impl ToString) -> BadTraceLine {
    BadTraceLine::LineUnreadable {
        error: error.to_string(),
    }
}

fn read_header(seal: &mut DigestChain, text: &str) -> Result<(Header, Scope), BadTraceLine> {
    // Other versions may have other digests, or none.
    #[derive(Deserialize)]
    struct Version {
        schema: String,
    }
    if let Ok(Version { schema }) = parse(text)
        && schema != SCHEMA
    {
        return Err(BadTraceLine::OtherSchema {
            schema,
            known: SCHEMA,
        });
    }
    let header: Header = parse(&seal.open(text)?)?;
    check_name(&header.scope.name).map_err(|error| BadTraceLine::BadScopeName { error })?;
    let mutant = match &header.mutant {
        None => None,
        Some(name) => Some(
            Mutant::ALL
                .iter()
                .copied()
                .find(|mutant| mutant.name() == name)
                .ok_or_else(|| BadTraceLine::UnknownMutant { name: name.clone() })?,
        ),
    };
    let mut scope = Scope {
        mutant,
        ..header.scope.clone()
    };
    // The fields that do not affect a run come from the catalog if it still contains the scope.
    let mut catalog = Scope::catalog().into_iter();
    if let Some(known) = catalog.find(|known| known.name == scope.name) {
        (scope.summary, scope.expected) = (known.summary, known.expected);
    }
    scope
        .validate()
        .map_err(|error| BadTraceLine::BadScope { error })?;
    let start = real_system(&scope).start();
    differs("start", &header.start, &ProcessSnapshot::all(&start))?;
    Ok((header, scope))
}

fn read_step(
    seal: &mut DigestChain,
    text: &str,
    number: usize,
    real: &TransitionSystem,
    before: System,
) -> Result<TraceStep, BadTraceLine> {
    let line: StepLine = parse(&seal.open(text)?)?;
    if line.step != number {
        return Err(BadTraceLine::StepOutOfOrder {
            step: number,
            recorded: line.step,
        });
    }
    let process = before
        .processes
        .iter()
        .position(|process| process.address().to_string() == line.process)
        .ok_or(BadTraceLine::UnknownProcess {
            process: line.process,
        })?;
    let action = Action {
        process,
        local: line.event,
    };
    let step = TraceStep::take(real, before, &action)
        .map_err(|reason| BadTraceLine::StepImpossible { reason })?;
    if step.sent != line.sent {
        return Err(BadTraceLine::SentDiffers);
    }
    if names(step.witnesses) != line.witnesses {
        return Err(BadTraceLine::WitnessesDiffer);
    }
    let state = ProcessSnapshot::from_process(&step.state.processes[process]);
    differs("state", &line.state, &state)?;
    Ok(step)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, BadTraceLine> {
    serde_json::from_str(text).map_err(|error| BadTraceLine::LineMalformed {
        error: error.to_string(),
    })
}

fn differs(
    part: &'static str,
    recorded: &serde_json::Value,
    model: &impl Serialize,
) -> Result<(), BadTraceLine> {
    let model = serde_json::to_value(model).expect("a state has a form in JSON");
    if *recorded == model {
        return Ok(());
    }
    Err(BadTraceLine::StateDiffers { part })
}

fn names(witnesses: Witnesses) -> Vec<String> {
    let list = witnesses.list().into_iter();
    list.map(|witness| witness.name().into()).collect()
}

fn bad(line: usize, why: BadTraceLine) -> BadTrace {
    BadTrace { line, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate;

    /// Changes the `position`-th number inside a JSON value. Returns whether it exists.
    fn change(value: &mut serde_json::Value, position: &mut usize) -> bool {
        match value {
            serde_json::Value::Number(number) => {
                if *position > 0 {
                    *position -= 1;
                    return false;
                }
                let other = number.as_u64().map_or(0, |number| number + 1);
                *value = other.into();
                true
            }
            serde_json::Value::Array(values) => {
                values.iter_mut().any(|value| change(value, position))
            }
            serde_json::Value::Object(fields) => {
                fields.values_mut().any(|value| change(value, position))
            }
            _ => false,
        }
    }

    #[test]
    fn a_forged_digest_hides_no_number_that_the_model_knows_better() {
        let mut scopes = Scope::catalog().into_iter();
        let scope = scopes
            .rfind(|scope| scope.name == "crashes")
            .expect("the catalog has it");
        let trace = simulate::walk(&scope, 1, 12);
        let mut file = Vec::new();
        trace.write_jsonl(&mut file).expect("memory takes all");
        let text = String::from_utf8(file).expect("JSON is UTF-8");
        let mut seal = DigestChain::default();
        let objects: Vec<String> = text
            .lines()
            .map(|line| seal.open(line).expect("it is sealed"))
            .collect();
        for position in 1..objects.len() {
            for number in 0.. {
                let mut value = serde_json::from_str(&objects[position]).expect("it is JSON");
                if !change(&mut value, &mut { number }) {
                    break;
                }
                let mut seal = DigestChain::default();
                let forged: Vec<String> = objects
                    .iter()
                    .enumerate()
                    .map(|(at, object)| {
                        let changed = at == position;
                        seal.close(if changed {
                            value.to_string()
                        } else {
                            object.clone()
                        })
                    })
                    .collect();
                let error = read_jsonl(forged.join("\n").as_bytes()).expect_err("forged");
                assert_eq!(error.line, position + 1, "number {number}: {error}");
            }
        }
    }
}
