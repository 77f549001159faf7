//! The account of each source: the lines that scopes execute, and the reason for each other line.

use super::{
    regions::{Position, Region, Regions},
    source::{Marker, Source},
};
use std::collections::BTreeMap;

/// The way in which a line is accounted for. A line with several regions has the last of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Account {
    /// Exhausted scopes execute it.
    Scopes,
    /// It is an assertion that fails if it is executed.
    Impossible,
    /// A named test executes it, and no scope does.
    Test,
    /// No scope executes it, and no reason is given.
    Open,
}

/// The first part of a line that is not accounted for, or a comment without a use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) position: Position,
    pub(super) reason: String,
}

/// The account of one source.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    lines: BTreeMap<usize, Account>,
    pub(super) faults: Vec<Fault>,
}

impl Accounts {
    /// The number of lines of code.
    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The number of lines that are accounted for in this way.
    pub(super) fn count(&self, account: Account) -> usize {
        self.lines.values().filter(|one| **one == account).count()
    }

    /// Accounts for the regions of a source. `executed` returns whether a test executes a position, or
    /// the reason why it did not run.
    pub(super) fn new(
        source: &Source,
        regions: &Regions,
        executed: impl Fn(&str, Position) -> Result<bool, String>,
    ) -> Self {
        let mut accounts = Self::default();
        let mut used = vec![false; source.markers.len()];
        let named = |region: &Region| {
            let markers = source.markers.iter().enumerate();
            let around = markers.filter(|(_, marker)| marker.part.contains(region.start));
            around.min_by_key(|(_, marker)| marker.part.end)
        };
        for (region, is_executed) in regions.iter() {
            if source.is_excluded(&region) {
                continue;
            }
            let account = if is_executed {
                Account::Scopes
            } else if source.is_impossible(&region) {
                Account::Impossible
            } else if let Some((nth, marker)) = named(&region) {
                used[nth] = true;
                accounts.by_test(marker, region.start, &executed)
            } else {
                accounts.open(region.start, "no scope executes it".to_owned())
            };
            for line in region.start.line..=region.end.line {
                if source.is_code(line) {
                    let known = accounts.lines.entry(line).or_insert(account);
                    *known = account.max(*known);
                }
            }
        }
        for (marker, _) in source.markers.iter().zip(used).filter(|(_, used)| !used) {
            let position = Position {
                line: marker.line,
                column: 1,
            };
            let reason = format!(
                "scopes execute everything after this comment: remove the name of the test {}",
                marker.tests.join(", ")
            );
            accounts.faults.push(Fault { position, reason });
        }
        accounts.faults.sort_by_key(|fault| fault.position);
        accounts.faults.dedup_by_key(|fault| fault.position.line);
        accounts
    }

    /// One of the named tests must execute the position.
    fn by_test(
        &mut self,
        marker: &Marker,
        position: Position,
        executed: impl Fn(&str, Position) -> Result<bool, String>,
    ) -> Account {
        let mut reasons = Vec::new();
        for test in &marker.tests {
            match executed(test, position) {
                Ok(true) => return Account::Test,
                Ok(false) => reasons.push(format!("the test {test} does not either")),
                Err(reason) => reasons.push(format!("the test {test} {reason}")),
            }
        }
        let reasons = reasons.join(", and ");
        self.open(position, format!("no scope executes it, and {reasons}"))
    }

    fn open(&mut self, position: Position, reason: String) -> Account {
        self.faults.push(Fault { position, reason });
        Account::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "fn f() {
    a();
    b();
    // Sizes, executed by the test `lib::c`.
    c();
    unreachable!();
}
";

    /// The account of a source in which each line is one region; `executed` has the lines that scopes execute.
    fn accounts(executed: &[usize], by_test: Result<bool, String>) -> Accounts {
        let source = Source::parse(SOURCE).expect("it is Rust");
        let lines = SOURCE.lines().enumerate();
        let regions = lines
            .filter(|(_, line)| line.contains("();"))
            .map(|(nth, line)| {
                let position = |column| Position {
                    line: nth + 1,
                    column,
                };
                let (start, end) = (position(5), position(line.len()));
                (Region { start, end }, executed.contains(&(nth + 1)))
            });
        Accounts::new(&source, &Regions::from_iter(regions), |_, _| {
            by_test.clone()
        })
    }

    fn counts(accounts: &Accounts) -> [usize; 4] {
        [
            Account::Scopes,
            Account::Impossible,
            Account::Test,
            Account::Open,
        ]
        .map(|account| accounts.count(account))
    }

    #[test]
    fn every_line_has_one_account() {
        let accounts = accounts(&[2, 3], Ok(true));
        assert_eq!(counts(&accounts), [2, 1, 1, 0]);
        assert_eq!(accounts.lines(), 4);
        assert_eq!(accounts.faults, []);
    }

    #[test]
    fn line_that_no_scope_executes_is_a_fault() {
        let accounts = accounts(&[2], Ok(true));
        assert_eq!(counts(&accounts), [1, 1, 1, 1]);
        let [fault] = accounts.faults.as_slice() else {
            panic!("one line: {:?}", accounts.faults);
        };
        assert_eq!((fault.position.line, fault.position.column), (3, 5));
    }

    #[test]
    fn test_must_execute_the_line() {
        for by_test in [Ok(false), Err("fails".to_owned())] {
            let accounts = accounts(&[2, 3], by_test);
            assert_eq!(counts(&accounts), [2, 1, 0, 1]);
            assert_eq!(accounts.faults[0].position.line, 5);
            assert!(accounts.faults[0].reason.contains("lib::c"));
        }
    }

    #[test]
    fn test_of_a_line_that_scopes_execute_is_a_fault() {
        let accounts = accounts(&[2, 3, 5], Ok(true));
        assert_eq!(counts(&accounts), [3, 1, 0, 0]);
        assert_eq!(accounts.faults[0].position.line, 4);
        assert!(accounts.faults[0].reason.contains("remove"));
    }

    /// One line can have several regions, such as the two operands of `&&`.
    #[test]
    fn half_executed_line_is_open() {
        let source = Source::parse("fn f() {\n    a() && b();\n}\n").expect("it is Rust");
        let region = |from, to, executed| {
            let position = |column| Position { line: 2, column };
            let (start, end) = (position(from), position(to));
            (Region { start, end }, executed)
        };
        let regions = Regions::from_iter([region(5, 8, true), region(12, 15, false)]);
        let accounts = Accounts::new(&source, &regions, |_, _| Ok(false));
        assert_eq!(counts(&accounts), [0, 0, 0, 1]);
    }
}
