//! The expected counts of the catalog's scopes: the states, the transitions and the depth of an exhausted
//! search.
//!
//! A search that loses a successor, or a protocol that lost an event, still ends with an empty frontier,
//! and usually with all witnesses. Only the counts differ. So a search of a scope of the catalog is
//! exhausted only if its counts are those of this table. The counts do not depend on the number of
//! threads, nor on the order in which states are found.
//!
//! A change of the protocol, of a scope or of a reduction may change the counts. `CONTRIBUTING.md`
//! describes how to update the table.

use model::system::Scope;
use serde::Serialize;

/// The expected counts of each scope with its own bounds, its own reductions and symmetry reduction:
/// distinct states, transitions, depth. The tables of README.md and docs/scopes.md repeat them.
const EXPECTED: &[(&str, u64, u64, u64)] = &[
    ("elections", 9_376, 96_831, 17),
    ("elections-4", 2_157, 25_872, 16),
    ("elections-5", 15_850, 265_106, 19),
    ("elections-5-terms", 3_194_197, 77_678_235, 29),
    ("replication", 1_199_606, 13_490_849, 29),
    ("replication-4", 17_666, 185_855, 23),
    ("crashes", 28_970_746, 475_498_575, 36),
    ("split-writes", 916_450, 10_759_964, 32),
    ("split-entries", 328_491, 3_539_227, 28),
    ("quorum", 1_682_313, 38_462_081, 31),
    ("pipelining", 10_480_117, 186_021_272, 28),
    ("pipelining-terms", 2_642_967, 39_619_095, 33),
    ("snapshots", 4_311_754, 68_040_142, 35),
    ("snapshots-entries", 1_297_720, 26_715_505, 31),
    ("everything", 1_506_399, 28_399_021, 34),
    ("everything-3", 4_167_541, 83_174_336, 32),
    ("transfers", 2_190_052, 35_601_138, 28),
    ("transfers-quorum", 2_549_545, 53_754_693, 30),
    ("older-term", 1_405_999, 18_206_603, 33),
    ("mixed-settings", 282_212, 2_664_444, 24),
    ("reads", 20_961_936, 277_243_498, 30),
    ("end-to-end", 5_128_133, 111_742_027, 30),
    ("end-to-end-reads", 191_098_853, 5_832_238_305, 40),
    ("fail-over", 36_453_023, 732_701_470, 38),
    ("sessions", 6_008_439, 87_554_917, 39),
    ("restarts", 1_016_627, 12_772_833, 39),
    ("restarts-reads", 1_049_058, 14_835_202, 42),
    ("fail-over-retries", 2_273_084, 35_100_391, 34),
    ("fail-over-crashes", 6_372_999, 137_187_858, 37),
    ("client-reads", 4_106_094, 82_605_875, 33),
    ("restarts-fail-over", 34_813_272, 797_063_875, 38),
    ("store", 1_133_913, 14_596_923, 32),
    ("conditions", 729_420, 8_949_305, 32),
    ("batches", 5_721, 59_523, 16),
    ("sessions-2", 619_799, 7_960_043, 36),
];

/// The counts of an exhausted search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Distinct states.
    pub states: u64,
    /// Steps enabled in these states.
    pub transitions: u64,
    /// The number of steps to the farthest state.
    pub depth: u64,
}

impl Counts {
    /// The expected counts of a scope of the catalog, by its name.
    pub fn of_catalog(name: &str) -> Option<Self> {
        let line = EXPECTED.iter().find(|(scope, ..)| *scope == name)?;
        let &(_, states, transitions, depth) = line;
        Some(Self {
            states,
            transitions,
            depth,
        })
    }

    /// The expected counts of a search. `None` unless the scope is exactly one of the catalog, with its
    /// own bounds and reductions and without a planted bug, and symmetry reduction is on.
    pub fn expected(scope: &Scope, symmetry: bool) -> Option<Self> {
        // A flaw is not a part of the scope: the comparison must find its effect.
        let searched = Scope {
            flaw: None,
            ..scope.clone()
        };
        let is_original = symmetry && Scope::catalog().contains(&searched);
        is_original.then(|| Self::of_catalog(&scope.name))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{mutant::Mutant, system::Flaw};

    fn elections() -> Scope {
        Scope::catalog().remove(0)
    }

    #[test]
    fn every_scope_of_the_catalog_has_counts_and_every_line_has_its_scope() {
        let scopes: Vec<_> = Scope::catalog().into_iter().map(|one| one.name).collect();
        let lines: Vec<_> = EXPECTED.iter().map(|(name, ..)| *name).collect();
        assert_eq!(lines, scopes);
    }

    #[test]
    fn only_an_original_scope_has_expected_counts() {
        let change = |change: fn(&mut Scope)| {
            let mut scope = elections();
            change(&mut scope);
            Counts::expected(&scope, true)
        };
        let counts = Counts::of_catalog("elections");
        assert!(counts.is_some());
        assert_eq!(change(|_| {}), counts);
        assert_eq!(
            change(|scope| scope.flaw = Some(Flaw::DropsFreshVotes)),
            counts
        );
        assert_eq!(Counts::expected(&elections(), false), None);
        for altered in [
            change(|scope| scope.terms = 2),
            change(|scope| scope.check_quorum = true),
            change(|scope| scope.reduction.drop_dead = false),
            change(|scope| scope.mutant = Some(Mutant::QuorumOffByOne)),
            change(|scope| scope.name = "mine".into()),
        ] {
            assert_eq!(altered, None);
        }
    }
}
