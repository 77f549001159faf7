//! One key of the store as a sequential object: an independent reading of what `model::store` says
//! that each operation does and answers.
//!
//! Versions are positions in the log: each write makes a higher one than any write before it. The
//! version of a write of unknown outcome is not known until something shows it; until then only
//! the least that it can be is. `floor` is the least version that the last write so far can have,
//! so that "higher than any before" is exactly "higher than the floor".

use super::format::{Call, Operation, Outcome};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What a key holds after some operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Its value, `None` if it is absent.
    pub(super) value: Option<ValueId>,
    /// The version of that value, if it is known.
    pub(super) version: Option<u64>,
    /// The least version that the last write can have had.
    pub(super) floor: u64,
}

/// A value, by number.
pub(super) type ValueId = u32;

/// The values of one key, by number.
#[derive(Debug, Default)]
pub(super) struct Values {
    texts: Vec<Arc<str>>,
    ids: FxHashMap<Arc<str>, ValueId>,
}

impl Values {
    pub(super) fn id(&mut self, text: &str) -> ValueId {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = ValueId::try_from(self.texts.len()).expect("fewer than 2^32 values");
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }

    pub(super) fn text(&self, id: ValueId) -> &str {
        &self.texts[id as usize]
    }
}

/// An operation with its values by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// A put or a delete that took effect, or may have.
    Set {
        value: Option<ValueId>,
        made: Option<u64>,
        needs: Needs,
    },
    /// An increment. `left` is what it said; `None` if it said nothing.
    Add {
        by: i64,
        left: Option<i64>,
        made: Option<u64>,
    },
    /// Saw this value of this version.
    See {
        value: ValueId,
        version: Option<u64>,
    },
    /// Saw that there is none.
    SeeAbsent,
    /// Saw this version, and not the one it wanted.
    SeeVersion { found: u64, wanted: Option<u64> },
    /// Saw that there is none, and wanted one.
    SeeAbsentWanting,
    /// Saw a value to which this cannot be added.
    SeeNoNumber { by: i64 },
    /// A result that nothing explains.
    Impossible,
}

/// When a [`Step::Set`] takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Needs {
    Nothing,
    Absent,
    Version(u64),
}

impl Step {
    pub(super) fn of(operation: &Operation, values: &mut Values) -> Self {
        let made = operation.made();
        match (&operation.call, &operation.outcome) {
            (Call::Put(value), _) => Self::Set {
                value: Some(values.id(value)),
                made,
                needs: Needs::Nothing,
            },
            (Call::Delete, _) => Self::Set {
                value: None,
                made,
                needs: Needs::Nothing,
            },
            (Call::Increment(by), Outcome::NotANumber) => Self::SeeNoNumber { by: *by },
            (Call::Increment(by), outcome) => Self::Add {
                by: *by,
                left: match outcome {
                    Outcome::Number(left, _) => Some(*left),
                    _ => None,
                },
                made,
            },
            (Call::CompareAndSet { expected, .. }, Outcome::ConditionFailed(found)) => {
                match (found, expected) {
                    (Some(found), wanted) => Self::SeeVersion {
                        found: *found,
                        wanted: *wanted,
                    },
                    (None, Some(_)) => Self::SeeAbsentWanting,
                    (None, None) => Self::Impossible,
                }
            }
            (Call::CompareAndSet { value, expected }, _) => Self::Set {
                value: Some(values.id(value)),
                made,
                needs: match expected {
                    None => Needs::Absent,
                    Some(version) => Needs::Version(*version),
                },
            },
            (Call::Get, Outcome::Found(value, version)) => Self::See {
                value: values.id(value),
                version: *version,
            },
            (Call::Get, Outcome::Absent) => Self::SeeAbsent,
            (Call::Get, _) => Self::Impossible,
        }
    }

    /// Whether it takes effect whatever the key holds, and tells nothing of it.
    pub(super) fn is_blind(&self) -> bool {
        matches!(
            self,
            Self::Set {
                needs: Needs::Nothing,
                ..
            }
        )
    }

    /// Whether it leaves the key as it is.
    pub(super) fn only_sees(&self) -> bool {
        !matches!(self, Self::Set { .. } | Self::Add { .. })
    }

    /// The version it shows of what was there, if it leaves that as it is.
    pub(super) fn sees_version(&self) -> Option<u64> {
        match self {
            Self::See { version, .. } => *version,
            Self::SeeVersion { found, .. } => Some(*found),
            _ => None,
        }
    }
}

impl State {
    /// The key after the operation, if it can come next with the result it had.
    pub(super) fn after(self, step: &Step, values: &mut Values) -> Option<Self> {
        match *step {
            Step::Set { value, made, needs } => match needs {
                Needs::Nothing => self.written(value, made),
                Needs::Absent if self.value.is_some() => None,
                Needs::Absent => self.written(value, made),
                Needs::Version(version) => self.at_version(version)?.written(value, made),
            },
            Step::Add { by, left, made } => {
                let sum = self.number(values)?.checked_add(by)?;
                if left.is_some_and(|left| left != sum) {
                    return None;
                }
                let value = values.id(&sum.to_string());
                self.written(Some(value), made)
            }
            Step::See { value, version } => {
                if self.value != Some(value) {
                    return None;
                }
                match version {
                    Some(version) => self.at_version(version),
                    None => Some(self),
                }
            }
            Step::SeeAbsent | Step::SeeAbsentWanting => self.value.is_none().then_some(self),
            Step::SeeVersion { found, wanted } => {
                if wanted == Some(found) {
                    return None;
                }
                self.at_version(found)
            }
            Step::SeeNoNumber { by } => {
                let sum = self.number(values).and_then(|held| held.checked_add(by));
                sum.is_none().then_some(self)
            }
            Step::Impossible => None,
        }
    }

    /// The number it holds, as the store reads it.
    fn number(self, values: &Values) -> Option<i64> {
        match self.value {
            None => Some(0),
            Some(value) => model::store::parse_integer(values.text(value).as_bytes()),
        }
    }

    fn written(self, value: Option<ValueId>, made: Option<u64>) -> Option<Self> {
        let floor = match made {
            Some(version) if version <= self.floor => return None,
            Some(version) => version,
            None => self.floor.checked_add(1)?,
        };
        Some(Self {
            value,
            version: value.and(made),
            floor,
        })
    }

    /// The same, now known to have this version.
    fn at_version(self, version: u64) -> Option<Self> {
        self.value?;
        match self.version {
            Some(known) => (known == version).then_some(self),
            None => (version >= self.floor).then_some(Self {
                version: Some(version),
                floor: version,
                ..self
            }),
        }
    }

    /// In words.
    pub(super) fn told(self, values: &Values) -> String {
        let Some(value) = self.value else {
            return "the key is absent".into();
        };
        let value = super::format::quoted(values.text(value));
        match self.version {
            Some(version) => format!("the key holds {value}, version {version}"),
            None => format!("the key holds {value}"),
        }
    }
}
