//! Recorded traces as timelines: a trace of a scope, executed again ([`crate::trace`]), or traces of the
//! nodes of a cluster, checked and ordered by causality ([`crate::replay`]).
//!
//! An invalid trace is still shown as far as it is valid: the timeline ends at the last valid line, and
//! the verdict names the invalid line.
//!
//! A timeline shows a limited number of steps, but all steps are checked. For traces of nodes, it shows
//! the requested part, or by default the part that ends at a violation or an invalid line.

use super::{
    nodes::{MAX_BYTES, MAX_SHOWN, Nodes},
    problem::Problem,
    view,
    walk::Walk,
    world,
};
use crate::{
    escape::escaped,
    replay::{Conditions, Rejection, ReplayReport, ReplayStop, Source, replay_watched},
    trace::{self, Read, SCHEMA, TraceKind},
};
use axum::body::Bytes;
use model::system::Diagnostic;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io::{self, BufRead, Cursor},
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

model::diagnostics! {
    /// The reason why files have no timeline.
    pub enum BadFiles {
        /// There is no file.
        NoFile = "there is no file: give the trace of a scope, or the traces of all nodes";
        /// A file cannot be read.
        FileUnreadable { file: String, error: String } = "{} cannot be read: {error}", escaped(file);
        /// A file is not a trace.
        NotTrace { file: String }
            = "{} is not a trace: it begins neither as {SCHEMA} (docs/trace.md) nor as the trace of a node (docs/replay.md)",
            escaped(file);
        /// The files belong to different runs.
        MixedFiles
            = "these files do not belong together: give one trace of a scope, or the traces of all nodes of one cluster";
    }
}

/// `POST /api/traces`
#[derive(Deserialize)]
pub(super) struct TracesRequest {
    files: Vec<File>,
    #[serde(default)]
    used_disks: bool,
    #[serde(flatten)]
    part: Part,
}

#[derive(Deserialize)]
struct File {
    name: String,
    text: String,
}

/// The part of a run that is too long to be shown completely: the part that begins with step `from`, the
/// part that ends with step `to`, or by default the most interesting part.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct Part {
    from: Option<usize>,
    to: Option<usize>,
}

impl Part {
    /// Whether no part was requested.
    pub(super) fn is_whole(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// Opens a file at its beginning, repeatedly.
pub type Open = Box<dyn Fn() -> io::Result<Box<dyn BufRead + Send>> + Send + Sync>;

/// A file to read.
pub struct Input {
    /// The name of the file.
    pub name: String,
    /// Opens the contents.
    pub open: Open,
}

impl Input {
    /// An input whose contents are in memory.
    pub fn from_bytes(name: String, bytes: Bytes) -> Self {
        let open = move || -> io::Result<Box<dyn BufRead + Send>> {
            Ok(Box::new(Cursor::new(bytes.clone())))
        };
        Self {
            name,
            open: Box::new(open),
        }
    }

    fn read(&self) -> Result<Box<dyn BufRead + Send>, BadFiles> {
        (self.open)().map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &io::Error) -> BadFiles {
        BadFiles::FileUnreadable {
            file: self.name.clone(),
            error: error.to_string(),
        }
    }
}

impl TracesRequest {
    pub(super) fn read(self) -> Result<String, Problem> {
        let files = self.files.into_iter();
        let inputs: Vec<_> = files
            .map(|file| Input::from_bytes(file.name, file.text.into()))
            .collect();
        timeline(&inputs, self.used_disks, self.part).map_err(Problem::bad)
    }
}

/// The timeline of these files, as JSON.
///
/// # Errors
/// If the files are not traces, or do not belong together.
pub(super) fn timeline(inputs: &[Input], used_disks: bool, part: Part) -> Result<String, BadFiles> {
    if inputs.is_empty() {
        return Err(BadFiles::NoFile);
    }
    let mut kinds = Vec::new();
    for input in inputs {
        kinds.push(kind(input)?);
    }
    if kinds.iter().all(|kind| *kind == TraceKind::Node) {
        return of_nodes(inputs, used_disks, part);
    }
    match inputs {
        [input] => of_scope(input),
        _ => Err(BadFiles::MixedFiles),
    }
}

/// The kind of a trace, by its first bytes.
fn kind(input: &Input) -> Result<TraceKind, BadFiles> {
    let mut text = input.read()?;
    let start = text.fill_buf().map_err(|error| input.unreadable(&error))?;
    TraceKind::from_start(start).ok_or_else(|| BadFiles::NotTrace {
        file: input.name.clone(),
    })
}

/// The response, with `lines` of JSON for the steps from number `from` on.
fn answer<'a>(
    mut rest: Value,
    from: usize,
    lines: impl Iterator<Item = &'a str>,
    of: usize,
) -> String {
    let mut steps = String::new();
    let mut shown = 0;
    for line in lines {
        steps += if shown > 0 { "," } else { "" };
        steps += line;
        shown += 1;
    }
    rest["from"] = from.into();
    rest["shown"] = shown.into();
    rest["of"] = of.into();
    let mut text = rest.to_string();
    text.pop();
    text + ",\"steps\":[" + &steps + "]}"
}

fn of_scope(input: &Input) -> Result<String, BadFiles> {
    let mut walk: Option<Walk> = None;
    let mut steps = 0;
    let mut is_able = true;
    let mut violation = None;
    let checked = trace::read_each(input.read()?, |read| match read {
        Read::Start(scope) => walk = Some(Walk::new(Arc::new(world::World::from_trace(scope)))),
        Read::Step(step) => {
            steps += 1;
            violation.clone_from(&step.state.violation);
            if let Some(walk) = &mut walk
                && is_able
                && walk.steps.len() < MAX_SHOWN
            {
                is_able = walk.take_action(&step.action).is_ok();
            }
        }
    });
    let verdict = match &checked {
        Ok(()) => accepted(),
        Err(bad) => rejected(&bad.why, &input.name, bad.line),
    };
    let Some(walk) = walk else {
        let nothing = json!({"kind": "scope", "header": null, "start": [], "verdict": verdict});
        return Ok(answer(nothing, 1, iter::empty(), 0));
    };
    let mut shown = Vec::new();
    let mut bytes = 0;
    for line in view::steps(&walk, 0) {
        let line = line.to_string();
        bytes += line.len();
        if bytes > MAX_BYTES {
            break;
        }
        shown.push(line);
    }
    let start: Vec<_> = walk
        .start()
        .iter()
        .map(trace::ProcessSnapshot::from_process)
        .collect();
    let mut header = view::header(&walk);
    // The property for which the trace was checked, even if its last step violates others too.
    header["property"] = json!(
        violation
            .as_ref()
            .map(|violation| violation.property.name())
    );
    header["why"] = json!(
        violation
            .as_ref()
            .map(|violation| violation.cause.to_string())
    );
    header["cause"] = json!(violation.as_ref().map(|violation| &violation.cause));
    let mut fields = json!({
        "kind": "scope",
        "header": header,
        "start": start,
        "verdict": verdict,
    });
    if let Some(place) = walk.world.place() {
        let keys = walk.steps.iter().map(|step| step.key.to_string());
        fields["walk"] = place;
        fields["walk"]["path"] = keys.collect::<Vec<_>>().into();
    }
    Ok(answer(fields, 1, shown.iter().map(String::as_str), steps))
}

fn accepted() -> Value {
    json!({"accepted": true, "why": null, "cause": null, "file": null, "line": null})
}

fn rejected(cause: &impl Diagnostic, file: &str, line: usize) -> Value {
    let why = cause.to_string();
    let why = escaped(&why);
    json!({"accepted": false, "why": why, "cause": cause, "file": file, "line": line})
}

/// The requested part of the nodes' run. If no part was requested: the beginning, or the end if a
/// violation or an invalid line comes after the beginning.
fn of_nodes(inputs: &[Input], used_disks: bool, part: Part) -> Result<String, BadFiles> {
    let nodes = match part {
        Part { to: Some(last), .. } => Nodes::up_to(last),
        Part { from, .. } => Nodes::starting_with(from.unwrap_or(1)),
    };
    let (nodes, checked) = check_nodes(inputs, used_disks, nodes)?;
    if checked.is_ok() || !part.is_whole() || nodes.shows_the_end() {
        return Ok(nodes_to_json(&nodes, &checked));
    }
    let end = Nodes::up_to(nodes.all());
    // Frees the first part, because the second part needs as much memory again.
    drop(nodes);
    let (nodes, checked) = check_nodes(inputs, used_disks, end)?;
    Ok(nodes_to_json(&nodes, &checked))
}

fn check_nodes(
    inputs: &[Input],
    used_disks: bool,
    mut nodes: Nodes,
) -> Result<(Nodes, Result<ReplayReport, Rejection>), BadFiles> {
    let mut sources = Vec::new();
    for input in inputs {
        sources.push(Source::new(&input.name, input.read()?));
    }
    let conditions = Conditions {
        used_disks,
        checks_refinement: true,
        lines: &AtomicU64::new(0),
        interrupt: &AtomicBool::new(false),
    };
    let checked = replay_watched(sources, conditions, &mut |seen| nodes.see(&seen));
    Ok((nodes, checked))
}

fn nodes_to_json(nodes: &Nodes, checked: &Result<ReplayReport, Rejection>) -> String {
    let verdict = match checked {
        Ok(_) => accepted(),
        Err(Rejection::Unreadable { place, why }) => rejected(why, &place.file, place.line),
        Err(Rejection::Disagreement { place, why }) => rejected(why, &place.file, place.line),
        Err(Rejection::Violation { place, violation }) => {
            rejected(&ReplayStop::from(violation), &place.file, place.line)
        }
        Err(Rejection::Interrupted) => rejected(&ReplayStop::ReplayInterrupted, "", 0),
    };
    let violation = checked.as_ref().err().and_then(Rejection::violation);
    let header = json!({
        "schema": SCHEMA,
        "scope": null,
        "mutant": checked.as_ref().ok().and_then(|report: &ReplayReport| report.planted.clone()),
        "property": violation.map(|violation| violation.property.name()),
        "why": violation.map(|violation| violation.cause.to_string()),
        "cause": violation.map(|violation| &violation.cause),
        "servers": nodes.count(),
    });
    let fields = json!({
        "kind": "nodes",
        "header": header,
        "start": nodes.start(),
        "verdict": verdict,
    });
    answer(fields, nodes.from(), nodes.lines(), nodes.all())
}
