//! Merged writes: while one is pending, the process must behave as if the write were lost or durable.
//!
//! These checks need the complete tables, so they run at the end of the search.
//!
//! Many merged steps lead to the same process with the same write pending. They differ in the process
//! before the step and in its cause. So the steps are grouped, and the events of a pending process are
//! compared once for all of its steps (`pending`). Each condition that depends on the cause is checked
//! for each step.

use super::{
    ObligationChecks, ProcessNode,
    checked::Checked,
    pending::{MergedNode, PendingChecks, WriteCause},
    revealed::Revealed,
};
use crate::engine::tables::OWN;
use crate::explain::words;
use model::system::{Obligation, Process, obligation::LeaderLog};
use rustc_hash::{FxHashMap, FxHashSet};
use std::{
    collections::BTreeSet,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A merged step. The order of the fields sorts the steps by their durable process and then by their
/// pending process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct StepKey {
    merged: usize,
    pending: usize,
    /// The position in the list of processes with merged steps, and among the steps of that process.
    position: (usize, usize),
}

/// The checks of some merged steps, each with its position, and the messages that they reveal.
type StepChecks = (Vec<((usize, usize), Checked)>, BTreeSet<Revealed>);

impl ObligationChecks<'_> {
    /// Checks the obligations that need the complete tables.
    pub(crate) fn finish(&mut self, threads: usize) {
        self.advance();
        let found = self.all_merged_steps(threads);
        let keys = grouped(&found);
        let groups: Vec<&[StepKey]> = keys
            .chunk_by(|one, other| one.merged == other.merged)
            .collect();
        let (steps, revealed) = self.check_groups(threads, &found, &groups);
        let is_complete = steps.len() == keys.len();
        assert!(
            is_complete || self.is_interrupted(),
            "a merged step was not checked"
        );
        for (_, checked) in steps {
            self.checked.add(checked);
        }
        if !revealed.is_empty() {
            self.claim_revealed(&revealed);
        }
        self.examine_open();
    }

    fn all_merged_steps(&self, threads: usize) -> Vec<MergedNode> {
        let nodes = 0..self.nodes.len();
        let merged: Vec<usize> = nodes
            .filter(|node| !self.nodes[*node].merged.is_empty())
            .collect();
        self.in_parallel(threads, &merged, |node| self.merged_steps(*node))
    }

    /// Checks groups of merged steps. Returns the checks in the order of the steps, so that the first
    /// failure is the same for any number of threads and any groups.
    fn check_groups(
        &self,
        threads: usize,
        found: &[MergedNode],
        groups: &[&[StepKey]],
    ) -> StepChecks {
        let (mut steps, mut revealed) = (Vec::new(), BTreeSet::new());
        for (checked, more) in
            self.in_parallel(threads, groups, |group| self.check_group(found, group))
        {
            steps.extend(checked);
            revealed.extend(more);
        }
        steps.sort_unstable_by_key(|(position, _)| *position);
        (steps, revealed)
    }

    /// The results for all items, in their order. An interrupt leaves the last items out.
    fn in_parallel<I: Sync, T: Send>(
        &self,
        threads: usize,
        items: &[I],
        result: impl Fn(&I) -> T + Sync,
    ) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut results = Vec::new();
            while !self.is_interrupted() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(number) else {
                    break;
                };
                results.push((number, result(item)));
            }
            results
        };
        let mut results = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut results = work();
            for other in others {
                // A panic is a fault of the checker, so there must be no verdict.
                results.extend(other.join().unwrap_or_else(|_| std::process::abort()));
            }
            results
        });
        results.sort_unstable_by_key(|(number, _)| *number);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Finds all merged steps of a process.
    fn merged_steps(&self, node: usize) -> MergedNode {
        let process_node = &self.nodes[node];
        let state = &process_node.process;
        let mut steps = Vec::new();
        for &(from, message) in &process_node.merged {
            for local in self.tables.locals(state, from.into(), message) {
                if let Some(step) = self.obligations.merged_step(state, &local) {
                    steps.push((self.cause(state, from, message), step));
                }
            }
        }
        MergedNode {
            node,
            delivered: self.delivered_under(process_node, &process_node.permutations),
            sendable: OnceLock::new(),
            steps,
        }
    }

    /// Checks all merged steps that lead to one durable process.
    fn check_group(&self, found: &[MergedNode], group: &[StepKey]) -> StepChecks {
        let mut checks = (Vec::new(), BTreeSet::new());
        let mut durable_steps = FxHashMap::default();
        let step_at = |key: &StepKey| {
            let node = &found[key.position.0];
            let (cause, step) = &node.steps[key.position.1];
            (node, cause, step)
        };
        let delivered = self.delivered_at(&step_at(&group[0]).2.merged);
        for keys in group.chunk_by(|one, other| one.pending == other.pending) {
            if self.is_interrupted() {
                break;
            }
            let (_, _, first) = step_at(&keys[0]);
            let mut pending = PendingChecks::new(self, first, &delivered, &mut durable_steps);
            for key in keys {
                let (node, cause, step) = step_at(key);
                let mut checked = Checked::default();
                let lost = self.obligations.is_lost_without_trace(step);
                let event = || words::event(&step.cause);
                checked.record(Obligation::MergedSyncs, &step.before, event, lost);
                pending.examine_claims(node, cause, &mut checked);
                pending.check_events(node, cause, step, &mut checked, &mut checks.1);
                checks.0.push((key.position, checked));
            }
        }
        checks
    }

    fn cause(&self, receiver: &Process, from: u8, message: u32) -> WriteCause {
        let log = match message {
            OWN => None,
            _ => LeaderLog::shown_to(receiver, &self.tables.message(message)),
        };
        WriteCause { from, message, log }
    }

    /// The senders and messages of all deliveries to a process with its write durable.
    fn delivered_at(&self, merged: &Process) -> BTreeSet<(u8, u32)> {
        let tables = self.tables;
        let node = tables.find_process(merged).and_then(|merged| {
            let (first, _) = tables.first_of(merged);
            let number = self.numbers.get(&first)?;
            Some((*number, tables.permutations_to(first, merged)))
        });
        node.map_or_else(BTreeSet::new, |(number, permutations)| {
            self.delivered_under(&self.nodes[number as usize], &permutations)
        })
    }

    /// The senders and messages of all deliveries to a process, under each of the permutations.
    fn delivered_under(&self, node: &ProcessNode, permutations: &[usize]) -> BTreeSet<(u8, u32)> {
        let under = |permutation: usize| {
            node.delivered.iter().map(move |(from, message)| {
                let from = self.permutations.image(permutation, (*from).into()) as u8;
                (from, self.tables.permuted_message(*message, permutation))
            })
        };
        permutations
            .iter()
            .flat_map(|permutation| under(*permutation))
            .collect()
    }

    /// The messages that a process can send without a write: the receiver's process index and the message.
    pub(super) fn sendable(&self, node: usize) -> FxHashSet<(usize, u32)> {
        let (node, tables) = (&self.nodes[node], self.tables);
        let disk = |process: &Process| process.server().map(|server| server.disk.clone());
        let before = disk(&node.process);
        let own = tables.index_of(&node.process);
        let delivered = node
            .delivered
            .iter()
            .map(|(from, message)| ((*from).into(), *message));
        let mut sendable = FxHashSet::default();
        for (sender, message) in delivered.chain([(own, OWN)]) {
            let delivery = tables.delivery(node.first, sender, message);
            let steps = delivery.steps.iter();
            let steps = steps.filter(|step| disk(&tables.process(step.next)) == before);
            let sends = steps
                .flat_map(|step| step.sends.iter())
                .chain(&delivery.eager);
            for (index, channel) in sends {
                let sent = tables.messages(*channel);
                for permutation in &node.permutations {
                    let index = self.permutations.image(*permutation, *index);
                    let permuted = sent
                        .iter()
                        .map(|message| (index, tables.permuted_message(*message, *permutation)));
                    sendable.extend(permuted);
                }
            }
        }
        sendable
    }
}

/// The keys of all merged steps, in order.
fn grouped(found: &[MergedNode]) -> Vec<StepKey> {
    let mut numbers: FxHashMap<&Process, usize> = FxHashMap::default();
    let mut number_of = |process| {
        let next = numbers.len();
        *numbers.entry(process).or_insert(next)
    };
    let mut keys = Vec::new();
    for (node, merged_node) in found.iter().enumerate() {
        for (number, (_, step)) in merged_node.steps.iter().enumerate() {
            keys.push(StepKey {
                merged: number_of(&step.merged),
                pending: number_of(&step.pending),
                position: (node, number),
            });
        }
    }
    keys.sort_unstable();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Limits, SearchProgress, check};
    use model::system::{Budget, Flaw, Limit, Reduction, Scope};
    use std::sync::atomic::AtomicBool;

    fn scope(name: &str, terms: u64, budget: Budget) -> Scope {
        let mut scopes = Scope::catalog().into_iter();
        let base = scopes.find(|scope| scope.name == name);
        Scope {
            terms,
            budget,
            ..base.expect("the scope is in the catalog")
        }
    }

    /// Each merged step has the same checks, failures and revealed messages in its group as alone.
    /// Returns the numbers of steps, groups and failures.
    #[track_caller]
    fn compare_groups_with_single_steps(scope: &Scope) -> (usize, usize, usize) {
        let limits = Limits {
            threads: 1,
            max_states: Some(400_000),
            max_memory: None,
            symmetry: true,
        };
        let tables = check(scope, &limits, &SearchProgress::default()).tables;
        let interrupt = AtomicBool::new(false);
        let mut checks = ObligationChecks::new(&tables, &interrupt);
        checks.advance();
        let found = checks.all_merged_steps(1);
        let keys = grouped(&found);
        let groups: Vec<&[StepKey]> = keys
            .chunk_by(|one, other| one.merged == other.merged)
            .collect();
        let alone: Vec<&[StepKey]> = keys.chunks(1).collect();
        let (steps, revealed) = checks.check_groups(2, &found, &groups);
        let (single_steps, revealed_alone) = checks.check_groups(1, &found, &alone);
        for checked in [&steps, &single_steps] {
            assert_eq!(checked.len(), keys.len(), "a step was not checked");
        }
        for (grouped, single) in steps.iter().zip(&single_steps) {
            assert_eq!(grouped, single);
        }
        assert!(revealed == revealed_alone, "other messages are revealed");
        let pending = keys.chunk_by(|one, other| one.pending == other.pending);
        let failures = steps.iter().map(|(_, checked)| checked.unmet.len()).sum();
        (keys.len(), pending.count(), failures)
    }

    /// Every condition that depends on the cause is checked for each step of a group.
    #[test]
    fn groups_check_each_step() {
        let entries = Budget {
            entries: 1,
            ..Budget::default()
        };
        for scope in [
            scope("older-term", 2, Budget::default()),
            scope("replication", 2, entries),
        ] {
            let (steps, groups, failures) = compare_groups_with_single_steps(&scope);
            assert!(groups < steps, "{}: {groups} of {steps}", scope.name);
            assert_eq!(failures, 0, "{}", scope.name);
        }
    }

    /// The failures of wrong reductions are those of each single step.
    #[test]
    fn groups_report_the_failures_of_each_step() {
        let crash = Budget {
            entries: 1,
            crashes: Limit::at_most(1),
            ..Budget::default()
        };
        let snapshot = Budget {
            snapshots: Limit::at_most(1),
            ..Budget::default()
        };
        for scope in [
            Scope {
                flaw: Some(Flaw::MergesWritesOfLeaders),
                ..scope("crashes", 1, crash)
            },
            Scope {
                reduction: Reduction::ALL,
                ..scope("snapshots", 1, snapshot)
            },
        ] {
            let (steps, groups, failures) = compare_groups_with_single_steps(&scope);
            assert!(groups < steps, "{}: {groups} of {steps}", scope.name);
            assert!(failures > 0, "{}", scope.name);
        }
    }
}
