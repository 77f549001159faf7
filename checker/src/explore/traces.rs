//! Recorded traces as timelines: of a scope, executed again ([`crate::trace`]), or of the nodes of a
//! cluster, judged and put into one order by cause ([`crate::replay`]).
//!
//! What is wrong with a trace does not hide what is good of it: the timeline goes as far as the last
//! line that agrees, and the verdict names the one that does not.
//!
//! Bounded: a timeline shows so many steps and no more; all are judged.

use super::{nodes, problem::Problem, view, walk::Walk, world};
use crate::{
    replay::{Conditions, Rejection, Report, Source, replay_watched},
    trace::{self, Read},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io::{BufRead, Cursor},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

/// The most steps of a timeline.
const MAX_SHOWN: usize = 50_000;
/// The most bytes of the steps of a timeline.
const MAX_BYTES: usize = 192 << 20;

/// `POST /api/traces`
#[derive(Deserialize)]
pub(super) struct AskedTraces {
    files: Vec<File>,
    #[serde(default)]
    used_disks: bool,
}

#[derive(Deserialize)]
struct File {
    name: String,
    text: String,
}

/// A file to read.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) text: Box<dyn BufRead + Send>,
}

impl AskedTraces {
    pub(super) fn read(self) -> Result<String, Problem> {
        let inputs = self.files.into_iter().map(|file| Input {
            name: file.name,
            text: Box::new(Cursor::new(file.text.into_bytes())),
        });
        timeline(inputs.collect(), self.used_disks).map_err(Problem::bad)
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
pub(super) fn timeline(mut inputs: Vec<Input>, used_disks: bool) -> Result<String, String> {
    if inputs.is_empty() {
        return Err("there is no file: give a trace of a scope, or those of all nodes".into());
    }
    let mut kinds = Vec::new();
    for input in &mut inputs {
        kinds.push(kind(input)?);
    }
    if kinds.iter().all(|kind| *kind == Kind::Nodes) {
        return Ok(of_nodes(inputs, used_disks));
    }
    match (inputs.pop(), inputs.is_empty()) {
        (Some(input), true) => Ok(of_scope(input)),
        _ => Err(
            "these files do not go together: give one trace of a scope, or the traces of all \
             nodes of one cluster"
                .into(),
        ),
    }
}

/// What kind of trace it is, by how it begins.
fn kind(input: &mut Input) -> Result<Kind, String> {
    let name = &input.name;
    let start = input.text.fill_buf();
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

/// Steps as JSON, as many as are shown.
#[derive(Default)]
pub(super) struct Steps {
    lines: Vec<String>,
    bytes: usize,
    all: usize,
}

impl Steps {
    /// Whether one more will be shown.
    pub(super) fn has_room(&self) -> bool {
        self.lines.len() < MAX_SHOWN && self.bytes < MAX_BYTES
    }

    /// Adds a step, if there is room; `line` makes it.
    pub(super) fn push(&mut self, line: impl FnOnce(usize) -> Value) {
        self.all += 1;
        if self.has_room() {
            let line = line(self.all).to_string();
            self.bytes += line.len();
            self.lines.push(line);
        }
    }
}

/// The answer, its steps put in as they are.
fn answer(mut rest: Value, steps: &Steps) -> String {
    rest["shown"] = steps.lines.len().into();
    rest["of"] = steps.all.into();
    let mut text = rest.to_string();
    text.pop();
    text + ",\"steps\":[" + &steps.lines.join(",") + "]}"
}

fn of_scope(input: Input) -> String {
    let mut walk: Option<Walk> = None;
    let mut steps = 0;
    let mut unable = None;
    let mut broken = None;
    let judged = trace::read_each(input.text, |read| match read {
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
        return answer(nothing, &Steps::default());
    };
    let mut shown = Steps::default();
    for line in view::steps(&walk, 0) {
        shown.push(|_| line);
    }
    shown.all = steps;
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
    answer(told, &shown)
}

fn rejected(why: &str, file: &str, line: usize) -> Value {
    json!({"accepted": false, "why": why, "file": file, "line": line})
}

fn of_nodes(inputs: Vec<Input>, used_disks: bool) -> String {
    let sources = inputs
        .into_iter()
        .map(|input| Source::new(&input.name, input.text))
        .collect();
    let mut nodes = nodes::Nodes::default();
    let conditions = Conditions {
        used_disks,
        lines: &AtomicU64::new(0),
        interrupt: &AtomicBool::new(false),
    };
    let judged = replay_watched(sources, conditions, &mut |seen| nodes.see(&seen));
    let verdict = match &judged {
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
    answer(told, &nodes.steps)
}
