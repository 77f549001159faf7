//! Lines of a trace. A run begins with a header, and each step is a line after it. `docs/replay.md`
//! describes the fields. Each line ends in a digest of itself and of all lines before it in the file.
//!
//! The reader parses a line into the model's types, and serializes it again. The result must equal the
//! line. Otherwise an unknown field, or a set with a duplicate element, would be missed. If the bytes
//! differ (in field order or spaces), the JSON values are compared.

use super::{Disagreement, FileLine, Rejection};
use crate::{
    digest_chain::{DigestChain, has_digest},
    lines::read_object,
};
use model::{Config, Durable, Effects, Envelope, Event, NodeId, Write};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use std::{io::BufRead, sync::Arc};

/// The name and version of the format.
const NAME: &str = "stateraft-node";
const VERSION: u64 = 4;
/// The maximum length of a line in bytes. A header contains a whole log.
const LONGEST_LINE: u64 = 4 << 30;

model::diagnostics! {
    /// The reason why a line cannot be parsed.
    pub enum Unreadable {
        /// The file has no line.
        NoTraceInFile = "there is no trace in this file";
        /// The only line is the truncated line of a run that ended in its header.
        OnlyLineTruncated = "the only line of this file is truncated, so there is no trace in it";
        /// The line cannot be read from the file.
        InputUnreadable { error: String } = "{error}";
        /// The file has another format or version.
        OtherFormat { name: String, version: u64, known: &'static str, known_version: u64 }
            = "this is a trace of {name} version {version}; only {known} version {known_version} is supported";
        /// The first line has no digest.
        NoDigest = "this is not a trace: it does not end with a digest";
        /// A line within a run is not JSON.
        NotJson { error: String } = "this is not JSON: {error}";
        /// The line is JSON, but not a header or a step.
        NotTraceLine { error: String } = "{error}";
        /// The name of the run has another form.
        BadBoot { boot: String } = "boot {boot:?} is not 16 hexadecimal digits";
        /// A part of a line has another form.
        BadPart { part: &'static str, error: String } = "{part}: {error}";
        /// A part of a line has unknown fields, or another form for the same value.
        UnknownContents { part: &'static str }
            = "{part}: it has fields that this build of the checker does not know, or another form of the same value";
    }
}

/// One line.
pub(super) enum Line {
    Header(Box<Header>),
    Step(Box<RecordedStep>),
}

/// The first line of a run.
pub(super) struct Header {
    pub(super) node: NodeId,
    pub(super) boot: String,
    pub(super) config: Config,
    pub(super) durable: Durable,
}

/// The event at a server, and its effects.
pub(super) struct RecordedStep {
    pub(super) number: u64,
    pub(super) event: Event,
    /// The line as it was recorded.
    text: Vec<u8>,
}

/// The trace of one server.
pub struct Source {
    file: Arc<str>,
    input: Box<dyn BufRead + Send>,
    line: usize,
    /// A line that was read ahead.
    ahead: Option<Vec<u8>>,
    seal: DigestChain,
    pub(super) cut_short: Vec<FileLine>,
}

impl Source {
    /// A trace that is read from `input`; messages call it `file`.
    pub fn new(file: &str, input: impl BufRead + Send + 'static) -> Self {
        Self {
            file: file.into(),
            input: Box::new(input),
            line: 0,
            ahead: None,
            seal: DigestChain::default(),
            cut_short: Vec::new(),
        }
    }

    /// The place of the last line.
    pub(super) fn place(&self) -> FileLine {
        FileLine {
            file: Arc::clone(&self.file),
            line: self.line,
        }
    }

    /// The next line, if there is one. Skips a line that the end of a run truncated (it is not valid
    /// JSON, and no line of that run follows).
    pub(super) fn next_line(&mut self) -> Result<Option<Line>, Rejection> {
        loop {
            let Some(mut text) = self.next_text()? else {
                return Ok(None);
            };
            text.truncate(text.trim_ascii_end().len());
            match self.seal.check(&text) {
                Ok(length) => {
                    text.truncate(length);
                    text.push(b'}');
                }
                // Valid JSON with a wrong digest. Other errors are handled below.
                Err(error) if serde_json::from_slice::<IgnoredAny>(&text).is_ok() => {
                    // Other versions have other digests, or none.
                    if let Some(why) = of_another_version(&text) {
                        let place = self.place();
                        return Err(Rejection::Unreadable { place, why });
                    }
                    if self.line == 1 && !has_digest(&text) {
                        let place = self.place();
                        let why = Unreadable::NoDigest;
                        return Err(Rejection::Unreadable { place, why });
                    }
                    let why = Disagreement::WrongDigest { error };
                    return Err(Rejection::disagreement(&self.place(), why));
                }
                Err(_) => {}
            }
            // Most lines are steps, so this format is tried first.
            if let Ok(line) = serde_json::from_slice::<StepLine>(&text) {
                return Ok(Some(Line::Step(Box::new(RecordedStep {
                    number: line.step,
                    event: line.event,
                    text,
                }))));
            }
            let value: Value = match serde_json::from_slice(&text) {
                Ok(value) => value,
                Err(error) => {
                    let place = self.place();
                    let next = self.next_text()?;
                    let ends = next.as_deref().is_none_or(is_header);
                    if !ends {
                        let error = without_line(&error);
                        let why = Unreadable::NotJson { error };
                        return Err(Rejection::Unreadable { place, why });
                    }
                    if next.is_some() {
                        self.line -= 1;
                        self.ahead = next;
                    }
                    self.cut_short.push(place);
                    continue;
                }
            };
            let header = header(&text, value).map_err(|why| Rejection::Unreadable {
                place: self.place(),
                why,
            })?;
            return Ok(Some(Line::Header(Box::new(header))));
        }
    }

    fn next_text(&mut self) -> Result<Option<Vec<u8>>, Rejection> {
        self.line += 1;
        if let Some(text) = self.ahead.take() {
            return Ok(Some(text));
        }
        let mut text = Vec::new();
        match read_object(&mut self.input, LONGEST_LINE, &mut text) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(text)),
            Err(error) => Err(Rejection::Unreadable {
                place: self.place(),
                why: Unreadable::InputUnreadable {
                    error: error.to_string(),
                },
            }),
        }
    }
}

/// The error without serde's own line number, which is always 1 here.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} (column {})", error.column()),
        None => text,
    }
}

fn is_header(text: &[u8]) -> bool {
    let value: Result<Value, _> = serde_json::from_slice(text);
    value.is_ok_and(|value| value.get("trace").is_some())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    #[serde(rename = "trace")]
    _trace: IgnoredAny,
    #[serde(rename = "version")]
    _version: IgnoredAny,
    node: NodeId,
    boot: String,
    config: Value,
    durable: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepLine {
    step: u64,
    event: Event,
    /// Not parsed here: the bytes are compared with the effects of the step.
    #[serde(rename = "effects")]
    _effects: IgnoredAny,
}

/// Effects as a node writes them.
#[derive(Serialize)]
struct WrittenEffects<'a> {
    write: &'a Option<Write>,
    sends: &'a [Envelope],
    timers: Vec<String>,
}

/// The name and version in a header of another format or version.
fn of_another_version(text: &[u8]) -> Option<Unreadable> {
    #[derive(Deserialize)]
    struct TraceFormat {
        trace: String,
        version: u64,
    }
    let TraceFormat { trace, version } = serde_json::from_slice(text).ok()?;
    (trace != NAME || version != VERSION).then_some(Unreadable::OtherFormat {
        name: trace,
        version,
        known: NAME,
        known_version: VERSION,
    })
}

fn header(text: &[u8], value: Value) -> Result<Header, Unreadable> {
    if value.get("trace").is_none() {
        // Neither a header nor a step: report the problem as a step.
        let wrong = serde_json::from_slice::<StepLine>(text).err();
        let error = wrong.map_or_else(String::new, |error| without_line(&error));
        return Err(Unreadable::NotTraceLine { error });
    }
    if let Some(why) = of_another_version(text) {
        return Err(why);
    }
    let line: HeaderLine =
        serde_json::from_value(value).map_err(|error| Unreadable::NotTraceLine {
            error: error.to_string(),
        })?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if line.boot.len() != 16 || !line.boot.bytes().all(is_hex) {
        return Err(Unreadable::BadBoot { boot: line.boot });
    }
    let mut config = line.config;
    // Nodes are built without planted bugs, so their configuration has no such field.
    if let Some(fields) = config.as_object_mut() {
        fields.entry("mutant").or_insert(Value::Null);
    }
    Ok(Header {
        node: line.node,
        boot: line.boot,
        config: exactly("config", &config)?,
        durable: exactly("durable", &line.durable)?,
    })
}

/// Parses `json`, which must contain no other fields than the value.
fn exactly<T: DeserializeOwned + Serialize>(
    part: &'static str,
    json: &Value,
) -> Result<T, Unreadable> {
    let value = T::deserialize(json).map_err(|error| Unreadable::BadPart {
        part,
        error: error.to_string(),
    })?;
    if to_json(&value) == *json {
        Ok(value)
    } else {
        Err(Unreadable::UnknownContents { part })
    }
}

/// A value of the model as a trace writes it.
pub(super) fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("the model's values have a form in JSON")
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the model's values have a form in JSON")
}

/// The recorded step, for comparison with the result.
pub(super) struct Recorded {
    text: Vec<u8>,
    /// The beginning of the line as a node writes it: the number and the event.
    start: Vec<u8>,
}

/// The difference between a line and the step.
pub(super) enum Difference {
    /// The event contains unknown fields.
    Event(Unreadable),
    /// This part of the effects differs: the real value and the recorded value.
    Effects {
        part: String,
        real: Value,
        recorded: Value,
    },
}

impl RecordedStep {
    /// Splits the step into the event for the core, and the record for the comparison.
    pub(super) fn into_parts(self) -> (Event, Recorded) {
        let mut start = format!("{{\"step\":{},\"event\":", self.number).into_bytes();
        start.extend(to_bytes(&self.event));
        let text = self.text;
        (self.event, Recorded { text, start })
    }

    /// Whether the step records this message, serialized as JSON, as sent.
    pub(super) fn sends(&self, envelope: &Value) -> bool {
        let value: Value = serde_json::from_slice(&self.text).unwrap_or_default();
        let sends = value["effects"]["sends"].as_array();
        sends.is_some_and(|sends| sends.contains(envelope))
    }
}

impl Recorded {
    /// Compares the record with the effects of the step. Returns `None` if they are equal.
    pub(super) fn difference(&self, effects: &Effects) -> Option<Difference> {
        let effects = WrittenEffects {
            write: &effects.write,
            sends: &effects.sends,
            timers: effects
                .timers
                .iter()
                .map(|timer| format!("{timer:?}"))
                .collect(),
        };
        let mut real = self.start.clone();
        real.extend_from_slice(b",\"effects\":");
        real.extend(to_bytes(&effects));
        real.push(b'}');
        if self.text.trim_ascii_end() == real {
            return None;
        }
        let real: Value = serde_json::from_slice(&real).unwrap_or_default();
        let recorded: Value = serde_json::from_slice(&self.text).unwrap_or_default();
        if real["event"] != recorded["event"] {
            return Some(Difference::Event(Unreadable::UnknownContents {
                part: "event",
            }));
        }
        let (real, recorded) = (&real["effects"], &recorded["effects"]);
        let mut parts = real.as_object().into_iter().flatten();
        let differs = |(part, value): &(&String, &Value)| recorded.get(part) != Some(*value);
        match parts.find(differs) {
            Some((part, real)) => Some(Difference::Effects {
                part: part.clone(),
                real: real.clone(),
                recorded: recorded.get(part).cloned().unwrap_or_default(),
            }),
            None if real == recorded => None,
            None => Some(Difference::Event(Unreadable::UnknownContents {
                part: "effects",
            })),
        }
    }
}
