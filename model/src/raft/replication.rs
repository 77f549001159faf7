//! Log replication and commitment: Raft §5.3, §5.4.2.

use super::*;
use crate::{AppendEntriesResponse, Entry, Payload, message::AppendOutcome, mutant::planted};

impl Raft {
    /// A leader sends heartbeats (§5.2); a candidate or pre-candidate retries its requests (§5.1).
    pub(super) fn heartbeat_timeout(&mut self, buffer: &mut StepBuffer) {
        match self.role {
            // Executed by the test `step::ignored::timer_of_another_role_changes_nothing`.
            Role::Follower { .. } => {}
            Role::PreCandidate { .. } => self.request_pre_votes(buffer),
            Role::Candidate(_) => self.request_votes(buffer),
            Role::Leader(_) if planted!(self.config, HeartbeatsNotSent) => {}
            Role::Leader(ref mut leader) => {
                for progress in leader.followers.values_mut() {
                    progress.snapshot_pause = progress.snapshot_pause.saturating_sub(1);
                }
                buffer.arm(Timer::Heartbeat);
                self.broadcast(buffer);
                self.request_timeout_now(buffer);
            }
        }
    }

    /// Becomes leader: reinitializes `next_index` and `match_index` (Figure 2, volatile state on
    /// leaders) and appends a no-op (§8).
    pub(super) fn become_leader(&mut self, buffer: &mut StepBuffer) {
        if planted!(self.config, LeaderDropsUncommitted)
            && self.log.last_index() > self.commit_index
        {
            self.truncate_from(self.commit_index.next(), buffer);
        }
        let first_index = self.log.last_index().next();
        let flow = if planted!(self.config, NewLeaderPipelines) {
            Flow::Pipeline
        } else {
            Flow::Probe
        };
        let followers = self
            .others()
            .map(|id| {
                #[cfg(feature = "mutants")]
                let (next_index, match_index) = match self.remembered_progress.get(&id) {
                    Some(old) if planted!(self.config, NextIndexSurvivesReElection) => {
                        (old.next_index, LogIndex::ZERO)
                    }
                    Some(old) => (first_index, old.match_index),
                    None => (first_index, LogIndex::ZERO),
                };
                #[cfg(not(feature = "mutants"))]
                let (next_index, match_index) = (first_index, LogIndex::ZERO);
                let progress = Progress {
                    next_index,
                    match_index,
                    read_round: 0,
                    flow,
                    window: self.least_window(),
                    bytes_in_flight: 0,
                    snapshot_pause: 0,
                };
                (id, progress)
            })
            .collect();
        let inherited = self.log.slice(self.commit_index.next(), usize::MAX);
        self.role = Role::Leader(Leader {
            followers,
            uncommitted_bytes: size_of(inherited),
            first_index,
            writes: BTreeMap::new(),
            reads: Vec::new(),
            read_round: 0,
            recently_active: BTreeSet::new(),
            transfer: None,
        });
        buffer.arm(Timer::Heartbeat);
        if self.config.check_quorum {
            buffer.arm(Timer::Quorum);
        }
        // §8: a leader knows the committed entries only once an entry of its own term is committed.
        // Without this no-op, an idle cluster might never commit the entries that an earlier leader
        // left behind.
        if planted!(self.config, LeaderSkipsNoop) {
            return;
        }
        self.append_as_leader(Payload::Noop, buffer);
        if !planted!(self.config, NoopWaitsForHeartbeat) {
            self.broadcast(buffer);
        }
        self.advance_commit_index(buffer);
    }

    /// Appends an entry of the current term to the leader's log (§5.3: a leader never overwrites or
    /// removes entries of its own log).
    pub(super) fn append_as_leader(
        &mut self,
        payload: Payload,
        buffer: &mut StepBuffer,
    ) -> LogIndex {
        let term = self.current_term;
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader appends entries of its own");
        };
        leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_add(payload.size());
        self.log.append([Entry { term, payload }]);
        let index = self.log.last_index();
        buffer.append_from.get_or_insert(index);
        index
    }

    /// Sends AppendEntries to every follower: new entries if the follower is ready for them,
    /// otherwise a heartbeat. The request carries the read round, so each follower responds at
    /// once.
    pub(super) fn broadcast(&mut self, buffer: &mut StepBuffer) {
        let Role::Leader(leader) = &self.role else {
            unreachable!("only a leader sends AppendEntries");
        };
        let read_round = leader.read_round;
        for id in self.others().collect::<Vec<_>>() {
            if !self.replicate_to(id, read_round, buffer) {
                self.send_append(id, 0, read_round, buffer);
            }
        }
    }

    /// Sends new entries to every follower that is ready for them.
    pub(super) fn replicate(&mut self, buffer: &mut StepBuffer) {
        for id in self.others().collect::<Vec<_>>() {
            self.replicate_to(id, 0, buffer);
        }
    }

    /// Sends the entries that a follower is ready for and returns whether it sent any. It fills the
    /// pipeline; the first message carries the read round.
    ///
    /// A probe carries entries once. Until the follower responds, heartbeats retransmit the probe
    /// without entries, so that a dead follower costs no bandwidth (etcd: `MsgAppFlowPaused`). The
    /// response to such a heartbeat triggers the entries.
    fn replicate_to(&mut self, to: NodeId, read_round: u64, buffer: &mut StepBuffer) -> bool {
        let last_index = self.log.last_index();
        let mut sent = false;
        let unbound = planted!(self.config, WindowNotKept);
        while let Role::Leader(leader) = &self.role
            && let Some(progress) = leader.followers.get(&to)
            && progress.next_index <= last_index
        {
            let is_ready = match progress.flow {
                Flow::Pipeline => {
                    let fits = progress.bytes_in_flight < self.config.max_bytes_in_flight;
                    (progress.in_flight() < progress.window && fits) || unbound
                }
                // All entries from `next_index` on are new in this step: the probe has not been
                // sent.
                Flow::Probe => {
                    let is_unsent = |first| first <= progress.next_index;
                    !sent && buffer.append_from.is_some_and(is_unsent)
                }
            };
            if !is_ready {
                break;
            }
            let limit = self.config.max_entries_per_append;
            self.send_append(to, limit, if sent { 0 } else { read_round }, buffer);
            sent = true;
        }
        sent
    }

    /// Sends one message with the entries that the follower lacks, as far as the leader knows. It
    /// may leave before the leader's own disk has the entries (thesis §10.2.1): they count for
    /// nothing until a majority has them durably.
    fn send_append_entries(&mut self, to: NodeId, buffer: &mut StepBuffer) {
        self.send_append(to, self.config.max_entries_per_append, 0, buffer);
    }

    /// Sends one message with at most `limit` entries.
    fn send_append(&mut self, to: NodeId, limit: usize, read_round: u64, buffer: &mut StepBuffer) {
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader sends AppendEntries");
        };
        let Some(progress) = leader.followers.get_mut(&to) else {
            unreachable!("a leader has the progress of every other voter");
        };
        let base = self.log.base();
        let lacks = progress.next_index <= base.index;
        if lacks {
            // Log compaction removed the entries that the follower needs. The follower gets a
            // snapshot, and with it a heartbeat, which a follower that already has the snapshot
            // acknowledges too.
            progress.flow = Flow::Probe;
            progress.bytes_in_flight = 0;
        }
        let prev_log_index = if lacks {
            base.index
        } else if limit == 0 && planted!(self.config, HeartbeatsRepeatNoProbe) {
            progress.match_index
        } else {
            progress.next_index.prev()
        };
        let Some(prev_log_term) = self.log.term_at(prev_log_index) else {
            #[cfg(feature = "mutants")]
            if planted!(self.config, NextIndexSurvivesReElection) {
                return;
            }
            unreachable!("next_index is at most one past the log");
        };
        let limit = match progress.flow {
            _ if lacks => 0,
            Flow::Probe => limit,
            Flow::Pipeline if planted!(self.config, WindowNotKept) => limit,
            Flow::Pipeline => limit.min(progress.window.saturating_sub(progress.in_flight())),
        };
        let entries = prefix_within(
            self.log.slice(progress.next_index, limit),
            self.config.max_bytes_per_append,
        )
        .to_vec();
        let entries = if planted!(self.config, OldEntriesSentInNewTerm) {
            let term = self.current_term;
            let entries = entries.into_iter();
            entries.map(|entry| Entry { term, ..entry }).collect()
        } else {
            entries
        };
        let last = prev_log_index.plus(entries.len() as u64);
        if progress.flow == Flow::Pipeline {
            progress.next_index = last.next();
            progress.bytes_in_flight = progress.bytes_in_flight.saturating_add(size_of(&entries));
        }
        let leader_commit = if planted!(self.config, CommitIndexNotBounded) {
            self.commit_index
        } else {
            self.commit_index.min(last)
        };
        buffer.send(
            to,
            Message::AppendEntriesRequest(AppendEntriesRequest {
                term: self.current_term,
                prev_log_index,
                prev_log_term,
                entries,
                leader_commit,
                read_round,
            }),
        );
        if lacks {
            self.send_snapshot(to, buffer);
        }
    }

    /// The initial and minimum window of a follower: one message.
    fn least_window(&self) -> usize {
        let (one, most) = (
            self.config.max_entries_per_append,
            self.config.max_entries_in_flight,
        );
        one.min(most).max(1)
    }

    /// Figure 2, AppendEntries receiver implementation: the consistency check, truncation, append,
    /// commit and acknowledgement (§5.3).
    pub(super) fn handle_append_entries_request(
        &mut self,
        from: NodeId,
        request: AppendEntriesRequest,
        buffer: &mut StepBuffer,
    ) {
        let read_round = request.read_round;
        if self.refuses_older_term(&request) {
            if self.leads() && planted!(self.config, LeaderMergesStaleEntries) {
                self.merge_entries(request.prev_log_index, request.entries, buffer);
            }
            if planted!(self.config, StaleLeaderNotAnswered) {
                return;
            }
            // The refusal carries the current term, so that a deposed leader learns of it. It names
            // no read round: the sender may lead the current term by now and count its own rounds.
            let read_round = if planted!(self.config, StaleRefusalConfirmsReads) {
                read_round
            } else {
                0
            };
            let response = self.append_response(read_round, AppendOutcome::StaleTerm);
            buffer.send_after_term(from, response);
            return;
        }
        if request.term == self.current_term && matches!(self.role, Role::Leader(_)) {
            // Two leaders in one term violate Election Safety, and the checks report that. No
            // response would be correct. A forged message, executed by the test
            // `step::ignored::second_leader_of_a_term_is_ignored`.
            return;
        }
        let term = request.term.max(self.current_term);
        self.become_follower(term, Some(from), buffer);
        self.note_leader_contact(buffer);

        if let Some(outcome) = self.find_conflict(&request) {
            if planted!(self.config, FollowerCommitsDespiteConflict) {
                self.commit_to(request.leader_commit, buffer);
            }
            if planted!(self.config, ConflictNotAnswered) {
                return;
            }
            let outcome = if planted!(self.config, ConflictAcknowledged) {
                let match_index = request.prev_log_index;
                AppendOutcome::Matched { match_index }
            } else {
                outcome
            };
            // The response acknowledges no entry, so it waits for no entry.
            let response = self.append_response(read_round, outcome);
            self.respond_in_term(from, response, buffer);
            return;
        }
        let brings_entries = !request.entries.is_empty();
        let last_new = request.prev_log_index.plus(request.entries.len() as u64);
        self.merge_entries(request.prev_log_index, request.entries, buffer);

        // Figure 2: commit only up to the last entry that this request vouches for. Later entries
        // in this log may not be the leader's.
        let committed = match request.leader_commit {
            _ if planted!(self.config, FollowerCommitsOnAppend) => last_new,
            beyond if planted!(self.config, CommitIndexNotBounded) => beyond,
            leader_commit => leader_commit.min(last_new),
        };
        self.commit_to(committed, buffer);
        if !brings_entries && planted!(self.config, HeartbeatsNotAnswered) {
            return;
        }

        // For the same reason the response acknowledges `last_new`, not the last entry of this log.
        let last_new = if planted!(self.config, AcknowledgesWholeLog) {
            self.log.last_index()
        } else {
            last_new
        };
        if planted!(self.config, AppendAcknowledgedBeforeDurable) {
            let match_index = last_new;
            let response = self.append_response(read_round, AppendOutcome::Matched { match_index });
            buffer.send(from, response);
            return;
        }
        // A leader must confirm that it still has followers, and a read needs its round confirmed,
        // however slow this disk is. A heartbeat or a read round is therefore answered at once,
        // with the index that is durable now. A second response acknowledges the entries once they
        // are durable: one more message, and only if a disk is slower than a heartbeat or a read. A
        // request that carries entries and no round gets only that second response.
        let is_durable = last_new <= self.durable_index;
        let waits_for_disk = planted!(self.config, HeartbeatAnswerWaitsForDisk);
        if is_durable || ((read_round > 0 || !brings_entries) && !waits_for_disk) {
            let match_index = if planted!(self.config, HeartbeatAcknowledgesUndurable) {
                last_new
            } else {
                last_new.min(self.durable_index)
            };
            let response = self.append_response(read_round, AppendOutcome::Matched { match_index });
            self.respond_in_term(from, response, buffer);
        }
        if !is_durable {
            let read_round = if waits_for_disk { read_round } else { 0 };
            let match_index = last_new;
            let response = self.append_response(read_round, AppendOutcome::Matched { match_index });
            buffer.send_after_entries(from, response, match_index);
        }
    }

    /// Whether a request is refused because its sender leads an older term (§5.1).
    fn refuses_older_term(&self, request: &AppendEntriesRequest) -> bool {
        if planted!(self.config, AcceptsStaleAppends) {
            return false;
        }
        if planted!(self.config, AcceptsStaleAppendsThatMatch)
            && self.find_conflict(request).is_none()
        {
            return false;
        }
        request.term < self.current_term
    }

    /// Responds to a leader once the term is durable. Before that, a crash could return this server
    /// to an older term, in which it would follow another leader and acknowledge its entries.
    fn respond_in_term(&self, leader: NodeId, response: Message, buffer: &mut StepBuffer) {
        if planted!(self.config, AnsweredBeforeTermIsDurable) {
            buffer.send(leader, response);
        } else {
            buffer.send_after_term(leader, response);
        }
    }

    fn append_response(&self, read_round: u64, outcome: AppendOutcome) -> Message {
        Message::AppendEntriesResponse(AppendEntriesResponse {
            term: self.current_term,
            read_round,
            outcome,
        })
    }

    /// The consistency check of §5.3: the entry before the new ones must match the leader's. If it
    /// does not, returns a hint where the logs may agree.
    fn find_conflict(&self, request: &AppendEntriesRequest) -> Option<AppendOutcome> {
        let prev_log_index = request.prev_log_index;
        // A snapshot covers this entry, so it is committed, and the leader has the same entry
        // there.
        if prev_log_index < self.log.base().index {
            return None;
        }
        match self.log.term_at(prev_log_index) {
            Some(term) if term == request.prev_log_term => None,
            Some(_) if planted!(self.config, PrevTermNotCompared) => None,
            None if planted!(self.config, GapAccepted) => None,
            _ => {
                // An entry of a later term than the leader's at `prev_log_index` cannot precede it
                // in the leader's log, so the search skips all such entries (etcd:
                // `findConflictByTerm`). Committed entries are in the log of every later leader.
                let conflict_index = self
                    .log
                    .last_index_up_to(prev_log_index, request.prev_log_term)
                    .max(self.commit_index);
                Some(AppendOutcome::Conflict {
                    prev_log_index,
                    conflict_term: self.log.term_at(conflict_index).unwrap_or_default(),
                    conflict_index,
                })
            }
        }
    }

    /// Figure 2, AppendEntries receiver rules 3 and 4: truncates a conflicting suffix and appends
    /// the new entries.
    fn merge_entries(&mut self, prev: LogIndex, mut entries: Vec<Entry>, buffer: &mut StepBuffer) {
        if planted!(self.config, TruncatesWithoutConflict) && prev < self.log.last_index() {
            self.truncate_from(prev.next(), buffer);
        }
        let mut index = prev;
        for (nth, entry) in entries.iter().enumerate() {
            index = index.next();
            if index <= self.log.base().index {
                // A snapshot covers this entry, so it is committed and equal.
                continue;
            }
            match self.log.term_at(index) {
                // Already in the log. A delayed or duplicated request must not truncate later
                // entries.
                Some(term)
                    if term == entry.term
                        && !planted!(self.config, RedeliveredEntriesAppendedAgain) =>
                {
                    continue;
                }
                #[cfg(feature = "mutants")]
                Some(term) if term == entry.term => {}
                Some(_) if planted!(self.config, ConflictingSuffixKept) => continue,
                Some(_) => self.truncate_from(index, buffer),
                None => {}
            }
            self.log.append(entries.drain(nth..));
            buffer.append_from = Some(index);
            return;
        }
    }

    /// Truncates the log and notes that the removed entries are not durable.
    fn truncate_from(&mut self, index: LogIndex, buffer: &mut StepBuffer) {
        self.log.truncate_from(index);
        self.forget_durable_from(index);
        buffer.truncate_from = Some(index);
    }

    /// Updates `next_index` and `match_index` of a follower (Figure 2, rules for leaders; §5.3).
    pub(super) fn handle_append_entries_response(
        &mut self,
        from: NodeId,
        response: &AppendEntriesResponse,
        buffer: &mut StepBuffer,
    ) {
        if !planted!(self.config, NewerTermInAckIgnored) {
            self.observe_term(response.term, buffer);
        }
        #[cfg(feature = "mutants")]
        self.confirm_with_older_round(from, response, buffer);
        // An acknowledgement counts only for the leadership that it was sent to.
        if response.term < self.current_term && !planted!(self.config, CountsStaleAcknowledgements)
        {
            return;
        }
        let last_index = self.log.last_index();
        let least = self.least_window();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.followers.get_mut(&from) else {
            unreachable!("a leader has the progress of every other voter");
        };
        // Only a forged message is beyond the log, executed by the test
        // `step::garbage::impossible_responses_are_dropped`.
        let is_beyond = matches!(response.outcome,
            AppendOutcome::Matched { match_index } if match_index > last_index);
        if response.read_round > leader.read_round || is_beyond {
            // No follower of this term has received a later round or entry. Executed by the test
            // `step::garbage::impossible_responses_are_dropped`.
            return;
        }
        // A stale-term refusal answers an older request and does not show that the sender follows
        // this leader.
        if self.config.check_quorum
            && response.outcome != AppendOutcome::StaleTerm
            && !planted!(self.config, QuorumContactNotNoted)
        {
            leader.recently_active.insert(from);
        }
        // A response to a request of this term, even a conflict, shows that the follower accepted
        // this leader at a moment after the round began. (A stale-term refusal answers a request of
        // an older term and names no round, because rounds of that term are not this leader's.)
        progress.read_round = progress.read_round.max(response.read_round);
        match response.outcome {
            AppendOutcome::StaleTerm => {}
            AppendOutcome::Matched { match_index } => {
                let match_index = if planted!(self.config, AckCountsEverythingSent) {
                    match_index.max(progress.next_index.prev()).min(last_index)
                } else {
                    match_index
                };
                self.note_match(from, match_index, buffer);
                #[cfg(feature = "mutants")]
                self.credit_to_every_follower(match_index, buffer);
            }
            AppendOutcome::Conflict {
                prev_log_index,
                conflict_term,
                conflict_index,
            } => {
                // Accept only the response to the current probe or to a message in the pipeline.
                // Any other response is late, and acting on it could move `next_index` back and
                // forth forever.
                let timely = match progress.flow {
                    Flow::Probe => prev_log_index == progress.next_index.prev(),
                    Flow::Pipeline => prev_log_index < progress.next_index,
                };
                if prev_log_index <= progress.match_index
                    || !timely
                    || planted!(self.config, NextIndexNotMovedBack)
                {
                    self.serve_reads(buffer);
                    return;
                }
                // §5.3: skip whole terms. Up to `conflict_index` the follower has no entry of a
                // term after `conflict_term`, so no leader entry of such a term can be in its log.
                let hint = if planted!(self.config, ConflictHintIgnored) {
                    prev_log_index
                } else {
                    let agreed = self.log.last_index_up_to(conflict_index, conflict_term);
                    agreed.next()
                };
                let least_next = if planted!(self.config, ConflictMovesBelowMatch) {
                    LogIndex::ZERO.next()
                } else {
                    progress.match_index.next()
                };
                progress.next_index = hint.min(prev_log_index).max(least_next);
                progress.flow = Flow::Probe;
                progress.bytes_in_flight = 0;
                progress.window = (progress.window / 2).max(least);
                self.send_append_entries(from, buffer);
            }
        }
        self.advance_commit_index(buffer);
        self.serve_reads(buffer);
    }

    /// Notes that a follower's log matches the leader's durably up to `match_index`.
    pub(super) fn note_match(
        &mut self,
        from: NodeId,
        match_index: LogIndex,
        buffer: &mut StepBuffer,
    ) {
        let last_index = self.log.last_index();
        if match_index > last_index {
            // No follower of this term can have this entry. A forged message, executed by the test
            // `step::ignored::acknowledged_snapshot_beyond_the_log_is_ignored`.
            return;
        }
        let (least, most) = (self.least_window(), self.config.max_entries_in_flight);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.followers.get_mut(&from) else {
            unreachable!("a leader has the progress of every other voter");
        };
        // The response to a probe, with or without entries: the logs match up to there. While a
        // snapshot is in flight, only its acknowledgement counts as such a response.
        let is_probed = progress.flow == Flow::Probe
            && match_index == progress.next_index.prev()
            && progress.next_index > self.log.base().index;
        if match_index <= progress.match_index {
            if planted!(self.config, MatchIndexFalls) {
                progress.match_index = match_index;
            }
            if !is_probed {
                return;
            }
        } else {
            let acknowledged = match_index.get() - progress.match_index.get();
            if progress.flow == Flow::Pipeline {
                let first = progress.match_index.next();
                let count = usize::try_from(acknowledged).unwrap_or(usize::MAX);
                let size = size_of(self.log.slice(first, count));
                progress.bytes_in_flight = progress.bytes_in_flight.saturating_sub(size);
            }
            progress.match_index = match_index;
            progress.widen(acknowledged, least, least.max(most));
            if match_index >= progress.next_index.prev() {
                progress.snapshot_pause = 0;
            }
        }
        if match_index >= progress.next_index.prev() {
            progress.next_index = match_index.next();
            // No entries are in flight. (The sizes of entries that log compaction removed are
            // unknown.)
            progress.bytes_in_flight = 0;
            if most > 0 {
                progress.flow = Flow::Pipeline;
            } else if progress.next_index <= last_index
                && !planted!(self.config, EntriesNotSentAfterProbe)
            {
                self.send_append_entries(from, buffer);
            }
        }
        if !planted!(self.config, EntriesNotSentAfterProbe) {
            self.replicate_to(from, 0, buffer);
        }
    }

    /// The commit rule (§5.3, §5.4.2): commits the highest entry of the current term that a majority holds durably
    /// and, by Log Matching, all earlier entries.
    pub(super) fn advance_commit_index(&mut self, buffer: &mut StepBuffer) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let own = if planted!(self.config, LeaderCountsItselfBeforeDurable) {
            self.log.last_index()
        } else {
            self.durable_index
        };
        let mut matches = Vec::from_iter(self.is_voter().then_some(own));
        if planted!(self.config, LeaderCountsItselfTwice) {
            matches.push(own);
        }
        let counts_sent = planted!(self.config, CommitsSentEntries);
        matches.extend(leader.followers.values().map(|progress| {
            if counts_sent {
                progress.next_index.prev()
            } else {
                progress.match_index
            }
        }));
        matches.sort_unstable_by(|a, b| b.cmp(a));
        let majority = match self.config.voters.len() {
            voters if planted!(self.config, HalfOfEvenCommits) => voters.div_ceil(2),
            _ if planted!(self.config, HighestMatchCommits) => 1,
            _ => self.config.majority(),
        };
        let held_by_majority = matches[majority - 1];
        // Figure 8: a majority may hold an entry of an older term, and a later leader may still
        // replace it.
        let compared = if planted!(self.config, ComparesTermOfLastEntry) {
            self.log.last_index()
        } else {
            held_by_majority
        };
        let own_term = self.log.term_at(compared) == Some(self.current_term)
            || planted!(self.config, CommitsOlderTermByCounting);
        if own_term && planted!(self.config, CommitsOneEntryMore) {
            self.commit_to(held_by_majority.next(), buffer);
        } else if own_term {
            self.commit_to(held_by_majority, buffer);
        }
    }

    /// Commits and applies entries up to `index`. The commit index never decreases.
    pub(super) fn commit_to(&mut self, index: LogIndex, buffer: &mut StepBuffer) {
        // Callers pass an index within the log. Only a planted bug goes beyond it.
        while self.commit_index < index
            && let Some(entry) = self.log.get(self.commit_index.next())
        {
            let next = self.commit_index.next();
            self.commit_index = next;
            if let Role::Leader(leader) = &mut self.role {
                let size = entry.payload.size();
                leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_sub(size);
            }
            let answer = self.store.apply(&entry.payload, &self.config);
            #[cfg(feature = "mutants")]
            if let Some(waiter) = self.remembered_writes.remove(&next) {
                buffer.respond(waiter, ResponseBody::Applied(answer.clone()));
            }
            if let Role::Leader(leader) = &mut self.role
                && let Some(waiter) = leader.writes.remove(&next)
            {
                buffer.respond(waiter, ResponseBody::Applied(answer));
            }
        }
        self.serve_reads(buffer);
    }
}

impl Progress {
    /// The number of entries in flight, or lost on the way.
    pub(crate) fn in_flight(&self) -> usize {
        let sent = self.next_index.prev().get() - self.match_index.get();
        usize::try_from(sent).unwrap_or(usize::MAX)
    }

    /// Grows the window by the number of entries acknowledged, so that it doubles with each round
    /// trip until a message is lost. (The first acknowledgement covers the whole log, so it counts
    /// as one message at most.)
    fn widen(&mut self, acknowledged: u64, one: usize, most: usize) {
        let acknowledged = usize::try_from(acknowledged).unwrap_or(usize::MAX);
        self.window = self.window.saturating_add(acknowledged.min(one)).min(most);
    }
}

/// The total size of the entries in bytes.
fn size_of(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.payload.size()).sum()
}

/// The longest prefix of `entries` of at most `bytes` bytes, and at least one entry.
fn prefix_within(entries: &[Entry], bytes: usize) -> &[Entry] {
    let mut left = bytes;
    let fits = |entry: &&Entry| {
        let size = entry.payload.size();
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    };
    let count = entries.iter().take_while(fits).count();
    &entries[..count.max(1).min(entries.len())]
}
