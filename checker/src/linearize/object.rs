//! One key of the store as a sequential object: an independent specification of the effect and the
//! result of each operation of `model::store`.
//!
//! Versions are positions in the log: each write creates a higher version than all writes before it. The
//! version of a write of unknown outcome is unknown until a later result shows it. Until then there is
//! only a lower bound: `floor` is the least possible version of the last write so far. So "higher than
//! all before" is exactly "higher than the floor".

use super::format::{Call, Operation, OperationOutcome};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The state of a key after some operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyState {
    /// The value; `None` if the key is absent.
    pub(super) value: Option<ValueId>,
    /// The version of that value, if known.
    pub(super) version: Option<u64>,
    /// The least possible version of the last write.
    pub(super) floor: u64,
}

/// A value as a number.
pub(super) type ValueId = u32;

/// The values of one key, numbered.
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

/// An operation with numbered values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ObjectStep {
    /// A put or a delete that took effect, or may have taken effect.
    Set {
        value: Option<ValueId>,
        made: Option<u64>,
        needs: Needs,
    },
    /// An increment. `left` is the number returned; `None` if it returned none.
    Add {
        by: i64,
        left: Option<i64>,
        made: Option<u64>,
    },
    /// Read this value of this version.
    See {
        value: ValueId,
        version: Option<u64>,
    },
    /// Found the key absent.
    SeeAbsent,
    /// Found this version, and not the wanted one.
    SeeVersion { found: u64, wanted: Option<u64> },
    /// Found the key absent, although it wanted a version.
    SeeAbsentWanting,
    /// Found a value to which `by` cannot be added.
    SeeNoNumber { by: i64 },
    /// A result that no state explains.
    Impossible,
}

/// The condition under which an [`ObjectStep::Set`] takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Needs {
    Nothing,
    Absent,
    Version(u64),
}

impl ObjectStep {
    pub(super) fn from_operation(operation: &Operation, values: &mut Values) -> Self {
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
            (Call::Increment(by), OperationOutcome::NotANumber) => Self::SeeNoNumber { by: *by },
            (Call::Increment(by), outcome) => Self::Add {
                by: *by,
                left: match outcome {
                    OperationOutcome::Number(left, _) => Some(*left),
                    _ => None,
                },
                made,
            },
            (Call::CompareAndSet { expected, .. }, OperationOutcome::ConditionFailed(found)) => {
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
            (Call::Get, OperationOutcome::Found(value, version)) => Self::See {
                value: values.id(value),
                version: *version,
            },
            (Call::Get, OperationOutcome::Absent) => Self::SeeAbsent,
            (Call::Get, _) => Self::Impossible,
        }
    }

    /// Whether it takes effect in every state and reveals nothing about the state.
    pub(super) fn is_blind(&self) -> bool {
        matches!(
            self,
            Self::Set {
                needs: Needs::Nothing,
                ..
            }
        )
    }

    /// Whether it leaves the key unchanged.
    pub(super) fn only_sees(&self) -> bool {
        !matches!(self, Self::Set { .. } | Self::Add { .. })
    }

    /// The version that it read, if it leaves the key unchanged.
    pub(super) fn sees_version(&self) -> Option<u64> {
        match self {
            Self::See { version, .. } => *version,
            Self::SeeVersion { found, .. } => Some(*found),
            _ => None,
        }
    }
}

impl KeyState {
    /// The state after the operation, if it can come next with its recorded result.
    pub(super) fn after(self, step: &ObjectStep, values: &mut Values) -> Option<Self> {
        match *step {
            ObjectStep::Set { value, made, needs } => match needs {
                Needs::Nothing => self.written(value, made),
                Needs::Absent if self.value.is_some() => None,
                Needs::Absent => self.written(value, made),
                Needs::Version(version) => self.at_version(version)?.written(value, made),
            },
            ObjectStep::Add { by, left, made } => {
                let sum = self.number(values)?.checked_add(by)?;
                if left.is_some_and(|left| left != sum) {
                    return None;
                }
                let value = values.id(&sum.to_string());
                self.written(Some(value), made)
            }
            ObjectStep::See { value, version } => {
                if self.value != Some(value) {
                    return None;
                }
                match version {
                    Some(version) => self.at_version(version),
                    None => Some(self),
                }
            }
            ObjectStep::SeeAbsent | ObjectStep::SeeAbsentWanting => {
                self.value.is_none().then_some(self)
            }
            ObjectStep::SeeVersion { found, wanted } => {
                if wanted == Some(found) {
                    return None;
                }
                self.at_version(found)
            }
            ObjectStep::SeeNoNumber { by } => {
                let sum = self.number(values).and_then(|held| held.checked_add(by));
                sum.is_none().then_some(self)
            }
            ObjectStep::Impossible => None,
        }
    }

    /// The number in the key, parsed as the store does.
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

    /// The same state, now known to have this version.
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

    /// A description of the state.
    pub(super) fn describe(self, values: &Values) -> String {
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
