//! Recorded traces as timelines: of a scope, executed again ([`crate::trace`]), or of the nodes of a
//! cluster, judged and put into one order by cause ([`crate::replay`]).
//!
//! What is wrong with a trace does not hide what is good of it: the timeline goes as far as the last
//! line that agrees, and the verdict names the one that does not.
//!
//! Bounded: a timeline shows so many steps and no more; all are judged. Of the traces of nodes it is
//! the part that is asked for, or the one that ends where a law breaks or a line does not agree.

use super::{
    nodes::{MAX_BYTES, MAX_SHOWN, Nodes},
    problem::Problem,
    view,
    walk::Walk,
    world,
};
use crate::{
    replay::{Conditions, Rejection, Report, Source, replay_watched},
    trace::{self, Read},
};
use axum::body::Bytes;
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

/// `POST /api/traces`
#[derive(Deserialize)]
pub(super) struct AskedTraces {
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

/// Which part of a run too long to be shown whole: the one that begins with step `from`, the one that
/// ends with step `to`, or what is worth looking at.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct Part {
    from: Option<usize>,
    to: Option<usize>,
}

impl Part {
    /// Whether nothing is asked for.
    pub(super) fn is_whole(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// Gives the bytes of a file from its beginning, each time anew.
pub type Open = Box<dyn Fn() -> io::Result<Box<dyn BufRead + Send>> + Send + Sync>;

/// A file to read.
pub struct Input {
    /// What it is called.
    pub name: String,
    /// What is in it.
    pub open: Open,
}

impl Input {
    /// What is at hand already.
    pub fn of_bytes(name: String, bytes: Bytes) -> Self {
        let open = move || -> io::Result<Box<dyn BufRead + Send>> {
            Ok(Box::new(Cursor::new(bytes.clone())))
        };
        Self {
            name,
            open: Box::new(open),
        }
    }

    fn read(&self) -> Result<Box<dyn BufRead + Send>, String> {
        let name = &self.name;
        (self.open)().map_err(|error| format!("{name} cannot be read: {error}"))
    }
}

impl AskedTraces {
    pub(super) fn read(self) -> Result<String, Problem> {
        let files = self.files.into_iter();
        let inputs: Vec<_> = files
            .map(|file| Input::of_bytes(file.name, file.text.into()))
            .collect();
        timeline(&inputs, self.used_disks, self.part).map_err(Problem::bad)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scope,
    Nodes,
}

/// The timeline of these files, as JSON.
///
/// # Errors
/// If they are no traces at all, or none that go together.
pub(super) fn timeline(inputs: &[Input], used_disks: bool, part: Part) -> Result<String, String> {
    if inputs.is_empty() {
        return Err("there is no file: give a trace of a scope, or those of all nodes".into());
    }
    let mut kinds = Vec::new();
    for input in inputs {
        kinds.push(kind(input)?);
    }
    if kinds.iter().all(|kind| *kind == Kind::Nodes) {
        return of_nodes(inputs, used_disks, part);
    }
    match inputs {
        [input] => of_scope(input),
        _ => Err(
            "these files do not go together: give one trace of a scope, or the traces of all \
             nodes of one cluster"
                .into(),
        ),
    }
}

/// What kind of trace it is, by how it begins.
fn kind(input: &Input) -> Result<Kind, String> {
    let name = &input.name;
    let mut text = input.read()?;
    let start = text.fill_buf();
    let start = start.map_err(|error| format!("{name} cannot be read: {error}"))?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or(start);
    let start = String::from_utf8_lossy(&line[..line.len().min(1 << 16)]);
    let place = |field: &str| start.find(field).unwrap_or(usize::MAX);
    match place("\"schema\"").cmp(&place("\"trace\"")) {
        std::cmp::Ordering::Less => Ok(Kind::Scope),
        std::cmp::Ordering::Greater => Ok(Kind::Nodes),
        std::cmp::Ordering::Equal => Err(format!(
            "{name} is no trace: it begins neither as {} (docs/trace.md) nor as the trace of a node (docs/replay.md)",
            trace::SCHEMA
        )),
    }
}

/// The answer, with `lines` of JSON for the steps from number `from` on, of so many.
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

fn of_scope(input: &Input) -> Result<String, String> {
    let mut walk: Option<Walk> = None;
    let mut steps = 0;
    let mut unable = None;
    let mut broken = None;
    let judged = trace::read_each(input.read()?, |read| match read {
        Read::Start(scope) => walk = Some(Walk::new(Arc::new(world::World::of_trace(scope)))),
        Read::Step(step) => {
            steps += 1;
            broken.clone_from(&step.state.broken);
            if let Some(walk) = &mut walk
                && unable.is_none()
                && walk.steps.len() < MAX_SHOWN
                && let Err(why) = walk.take_action(&step.action)
            {
                unable = Some(why);
            }
        }
    });
    let verdict = match &judged {
        Ok(()) => json!({"accepted": true, "why": null, "file": null, "line": null}),
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
    let start: Vec<_> = walk.start().iter().map(trace::Snapshot::of).collect();
    let mut header = view::header(&walk);
    // The law that the trace is judged by, whatever else its last step breaks.
    header["law"] = json!(broken.as_ref().map(|broken| broken.law.name()));
    header["why"] = json!(broken.as_ref().map(|broken| &broken.why));
    let mut told = json!({
        "kind": "scope",
        "header": header,
        "start": start,
        "verdict": verdict,
    });
    if let Some(place) = walk.world.place() {
        let keys = walk.steps.iter().map(|step| step.key.to_string());
        told["walk"] = place;
        told["walk"]["path"] = keys.collect::<Vec<_>>().into();
    }
    Ok(answer(told, 1, shown.iter().map(String::as_str), steps))
}

fn rejected(why: &str, file: &str, line: usize) -> Value {
    json!({"accepted": false, "why": why, "file": file, "line": line})
}

/// The part of the nodes' run that is asked for. Where none is, the beginning of it; where it goes wrong
/// after what that shows, its end.
fn of_nodes(inputs: &[Input], used_disks: bool, part: Part) -> Result<String, String> {
    let nodes = match part {
        Part { to: Some(last), .. } => Nodes::up_to(last),
        Part { from, .. } => Nodes::starting_with(from.unwrap_or(1)),
    };
    let (nodes, judged) = judge(inputs, used_disks, nodes)?;
    if judged.is_ok() || !part.is_whole() || nodes.shows_the_end() {
        return Ok(told_of_nodes(&nodes, &judged));
    }
    let end = Nodes::up_to(nodes.all());
    // Before there is as much again.
    drop(nodes);
    let (nodes, judged) = judge(inputs, used_disks, end)?;
    Ok(told_of_nodes(&nodes, &judged))
}

fn judge(
    inputs: &[Input],
    used_disks: bool,
    mut nodes: Nodes,
) -> Result<(Nodes, Result<Report, Rejection>), String> {
    let mut sources = Vec::new();
    for input in inputs {
        sources.push(Source::new(&input.name, input.read()?));
    }
    let conditions = Conditions {
        used_disks,
        lines: &AtomicU64::new(0),
        interrupt: &AtomicBool::new(false),
    };
    let judged = replay_watched(sources, conditions, &mut |seen| nodes.see(&seen));
    Ok((nodes, judged))
}

fn told_of_nodes(nodes: &Nodes, judged: &Result<Report, Rejection>) -> String {
    let verdict = match judged {
        Ok(_) => json!({"accepted": true, "why": null, "file": null, "line": null}),
        Err(
            rejection @ (Rejection::Unreadable { place, .. }
            | Rejection::Disagreement { place, .. }
            | Rejection::Broken { place, .. }),
        ) => {
            let told = rejection.to_string();
            let why = told.strip_prefix(&format!("{place}: ")).unwrap_or(&told);
            rejected(why, &place.file, place.line)
        }
        Err(Rejection::Interrupted) => rejected(&Rejection::Interrupted.to_string(), "", 0),
    };
    let law = judged.as_ref().err().and_then(Rejection::law);
    let header = json!({
        "schema": trace::SCHEMA,
        "scope": null,
        "mutant": judged.as_ref().ok().and_then(|report: &Report| report.planted.clone()),
        "law": law.map(model::system::Law::name),
        "why": law.and(verdict["why"].as_str()),
        "servers": nodes.count(),
    });
    let told = json!({
        "kind": "nodes",
        "header": header,
        "start": nodes.start(),
        "verdict": verdict,
    });
    answer(told, nodes.from(), nodes.lines(), nodes.all())
}
