//! Fault injection: messages are dropped, duplicated, delayed or reordered, and links are cut. For
//! tests, and to demonstrate that the protocol tolerates these faults.
//!
//! Faults apply to messages, not to datagrams, so the result does not depend on the packing. Each
//! link (from one process to another) has its own random sequence, seeded by the plan, so the nth
//! message on a link has the same fate in every run.

use model::Address;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The longest delay that a plan may configure.
const LONGEST: Duration = Duration::from_secs(60);
/// The minimum and maximum delay of a reordered message.
const REORDER_BY: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];
/// The maximum number of links with their own sequence. Beyond it, all sequences restart.
const LINKS: usize = 4096;

/// A fault plan. The first rule that matches a message decides its fate; a message that matches no
/// rule is unaffected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// The seed of the random numbers.
    pub seed: u64,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// The faults on some links.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The sender of the messages; any process if absent.
    pub from: Option<Address>,
    /// The receiver of the messages; any process if absent.
    pub to: Option<Address>,
    /// The side on which the rule applies. A cut applies on both sides.
    pub side: Side,
    /// Drop every message.
    pub cut: bool,
    /// The probability that a message is dropped, from 0 to 1.
    pub drop: f64,
    /// The probability that a message is duplicated.
    pub duplicate: f64,
    /// The probability that a message is delayed by 1 to 20 ms, so that later ones may overtake it.
    pub reorder: f64,
    /// The range from which the delay of every message is drawn.
    pub delay: Option<Delay>,
}

/// The side of a link on which a rule applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// At the sender.
    #[default]
    Send,
    /// At the receiver.
    Receive,
}

/// A range of delays, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// The minimum delay.
    pub min_ms: u64,
    /// The maximum delay.
    pub max_ms: u64,
}

impl Rule {
    /// Two rules that cut one process off from all others.
    pub fn isolate(whom: Address) -> [Self; 2] {
        let cut = Self {
            cut: true,
            ..Self::default()
        };
        [
            Self {
                from: Some(whom),
                ..cut.clone()
            },
            Self {
                to: Some(whom),
                ..cut
            },
        ]
    }

    fn fits(&self, side: Side, from: Address, to: Address) -> bool {
        (self.cut || self.side == side)
            && self.from.is_none_or(|of| of == from)
            && self.to.is_none_or(|of| of == to)
    }
}

/// An invalid fault plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A number is not a probability.
    #[error("rule {rule}: {what} must be a probability from 0 to 1")]
    Probability {
        /// The number of the rule, from 1.
        rule: usize,
        /// The field that is out of range.
        what: &'static str,
    },
    /// The range of delays is empty or exceeds the limit.
    #[error("rule {rule}: the delay needs min_ms <= max_ms <= 60000")]
    Delay {
        /// The number of the rule, from 1.
        rule: usize,
    },
}

impl Plan {
    fn check(&self) -> Result<(), PlanError> {
        for (nth, rule) in self.rules.iter().enumerate() {
            let number = nth + 1;
            for (what, probability) in [
                ("drop", rule.drop),
                ("duplicate", rule.duplicate),
                ("reorder", rule.reorder),
            ] {
                if !(0.0..=1.0).contains(&probability) {
                    return Err(PlanError::Probability { rule: number, what });
                }
            }
            let good = |delay: Delay| {
                delay.min_ms <= delay.max_ms && Duration::from_millis(delay.max_ms) <= LONGEST
            };
            if rule.delay.is_some_and(|delay| !good(delay)) {
                return Err(PlanError::Delay { rule: number });
            }
        }
        Ok(())
    }
}

/// The current fault plan. Clones share it, so it can be replaced while endpoints use it.
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    plan: Plan,
    links: BTreeMap<(u8, Address, Address), ChaCha8Rng>,
}

impl Faults {
    /// Creates an instance with this plan.
    ///
    /// # Errors
    /// If the plan is invalid.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        let faults = Self::default();
        faults.set(plan)?;
        Ok(faults)
    }

    /// Replaces the plan. The random sequence of each link restarts.
    ///
    /// # Errors
    /// If the plan is invalid. The old one then stays.
    pub fn set(&self, plan: Plan) -> Result<(), PlanError> {
        plan.check()?;
        *self.lock() = State {
            plan,
            links: BTreeMap::new(),
        };
        Ok(())
    }

    /// The current plan.
    pub fn plan(&self) -> Plan {
        self.lock().plan.clone()
    }

    /// The fate of the next message on this link: the delay of each copy, for no copy, one or two.
    pub(crate) fn fate(&self, side: Side, from: Address, to: Address) -> Fate {
        let mut state = self.lock();
        let State { plan, links } = &mut *state;
        let Some(rule) = plan.rules.iter().find(|rule| rule.fits(side, from, to)) else {
            return Fate::WELL;
        };
        if rule.cut {
            return Fate::LOST;
        }
        let link = (side as u8, from, to);
        if links.len() >= LINKS && !links.contains_key(&link) {
            links.clear();
        }
        let random = links
            .entry(link)
            .or_insert_with(|| ChaCha8Rng::from_seed(seed_of(plan.seed, link)));
        // Every message draws the same count of numbers, regardless of the rule. Changing one
        // probability thus leaves the other fates unchanged.
        let [lost, twice, overtaken] = [(); 3].map(|()| fraction(random));
        let held = [(); 2].map(|()| (fraction(random), fraction(random)));
        if lost < rule.drop {
            return Fate::LOST;
        }
        let copy = |(delay, reorder): (f64, f64)| {
            let mut by = rule.delay.map_or(Duration::ZERO, |range| {
                between(
                    Duration::from_millis(range.min_ms),
                    Duration::from_millis(range.max_ms),
                    delay,
                )
            });
            if overtaken < rule.reorder {
                by += between(REORDER_BY[0], REORDER_BY[1], reorder);
            }
            by
        };
        Fate {
            first: Some(copy(held[0])),
            second: (twice < rule.duplicate).then(|| copy(held[1])),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.lock().plan).finish()
    }
}

/// The delay of each copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) first: Option<Duration>,
    pub(crate) second: Option<Duration>,
}

impl Fate {
    const WELL: Self = Self {
        first: Some(Duration::ZERO),
        second: None,
    };
    const LOST: Self = Self {
        first: None,
        second: None,
    };
}

fn seed_of(seed: u64, (side, from, to): (u8, Address, Address)) -> [u8; 32] {
    let number = |address| match address {
        Address::Node(id) => (1, id.get()),
        Address::Proxy(id) => (2, id.get()),
        Address::Client(id) => (3, id.get()),
    };
    let ((from_kind, from), (to_kind, to)) = (number(from), number(to));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&from.to_be_bytes());
    bytes[16..24].copy_from_slice(&to.to_be_bytes());
    bytes[24..27].copy_from_slice(&[from_kind, to_kind, side]);
    bytes
}

/// A random number in the range 0 ≤ x < 1.
fn fraction(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn between(least: Duration, most: Duration, fraction: f64) -> Duration {
    least + (most - least).mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NodeId;

    fn node(id: u64) -> Address {
        Address::Node(NodeId::new(id))
    }

    fn fates(faults: &Faults, from: u64, to: u64) -> Vec<Fate> {
        (0..1000)
            .map(|_| faults.fate(Side::Send, node(from), node(to)))
            .collect()
    }

    #[test]
    fn same_seed_same_fates_whatever_happens_on_other_links() {
        let plan = |seed| Plan {
            seed,
            rules: vec![Rule {
                drop: 0.3,
                duplicate: 0.2,
                reorder: 0.1,
                ..Rule::default()
            }],
        };
        let one = Faults::new(plan(1)).unwrap();
        let same = Faults::new(plan(1)).unwrap();
        let other = Faults::new(plan(2)).unwrap();
        fates(&same, 2, 1);
        let fated = fates(&one, 1, 2);
        assert_eq!(fated, fates(&same, 1, 2));
        assert_ne!(fated, fates(&other, 1, 2));
        assert_ne!(fated, fates(&one, 1, 3));
        let lost = fated.iter().filter(|fate| fate.first.is_none()).count();
        assert!((200..400).contains(&lost), "{lost} of 1000 lost");
        let twice = fated.iter().filter(|fate| fate.second.is_some()).count();
        assert!((70..220).contains(&twice), "{twice} of 1000 twice");
        let held = fated
            .iter()
            .filter(|fate| fate.first.is_some_and(|by| !by.is_zero()))
            .count();
        assert!((30..120).contains(&held), "{held} of 1000 held back");
    }

    #[test]
    fn first_rule_that_fits_decides() {
        let faults = Faults::new(Plan {
            seed: 0,
            rules: vec![
                Rule {
                    from: Some(node(1)),
                    to: Some(node(2)),
                    ..Rule::default()
                },
                Rule {
                    from: Some(node(1)),
                    cut: true,
                    ..Rule::default()
                },
                Rule {
                    delay: Some(Delay {
                        min_ms: 10,
                        max_ms: 20,
                    }),
                    ..Rule::default()
                },
            ],
        })
        .unwrap();
        let fate = |side, from, to| faults.fate(side, node(from), node(to));
        assert_eq!(fate(Side::Send, 1, 2), Fate::WELL);
        assert_eq!(fate(Side::Send, 1, 3), Fate::LOST);
        assert_eq!(fate(Side::Receive, 1, 3), Fate::LOST);
        let delay = fate(Side::Send, 3, 1).first.unwrap();
        assert!((Duration::from_millis(10)..=Duration::from_millis(20)).contains(&delay));
        assert_eq!(fate(Side::Receive, 3, 1), Fate::WELL);
    }

    #[test]
    fn plan_is_json_a_person_can_write() {
        let plan: Plan = serde_json::from_str(
            r#"{"rules": [
                {"from": {"Node": 1}, "cut": true},
                {"drop": 0.1, "side": "receive", "delay": {"min_ms": 1, "max_ms": 5}}
            ]}"#,
        )
        .unwrap();
        assert_eq!(plan.rules[0].from, Some(node(1)));
        assert_eq!(plan.rules[1].side, Side::Receive);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        assert!(serde_json::from_str::<Plan>(r#"{"rules": [{"dorp": 1}]}"#).is_err());
    }

    #[test]
    fn impossible_plan_is_refused_and_changes_nothing() {
        let faults = Faults::default();
        let rule = |change: fn(&mut Rule)| {
            let mut rule = Rule::default();
            change(&mut rule);
            Plan {
                seed: 0,
                rules: vec![Rule::default(), rule],
            }
        };
        assert_eq!(
            faults.set(rule(|rule| rule.drop = 1.1)),
            Err(PlanError::Probability {
                rule: 2,
                what: "drop"
            })
        );
        assert_eq!(
            faults.set(rule(|rule| rule.reorder = f64::NAN)),
            Err(PlanError::Probability {
                rule: 2,
                what: "reorder"
            })
        );
        let backwards = |rule: &mut Rule| {
            rule.delay = Some(Delay {
                min_ms: 2,
                max_ms: 1,
            });
        };
        assert_eq!(
            faults.set(rule(backwards)),
            Err(PlanError::Delay { rule: 2 })
        );
        assert_eq!(faults.plan(), Plan::default());
    }
}
