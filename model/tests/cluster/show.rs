//! Readable descriptions of the events in a cluster. An entry is `index@term content`.

use super::Server;
use model::{
    AppendOutcome, Entry, Envelope, Event, LogIndex, Message, NodeId, Payload, Raft, Role, Term,
    Write,
    message::{RequestBody, ResponseBody},
    store::{Answer, Command, Condition, Found, Operation, Query},
};

/// Describes an event at a server.
pub(super) fn event(id: NodeId, event: &Event) -> String {
    match event {
        Event::Receive { from, message } => format!("{from:?} -> {id:?} {}", content(message)),
        Event::ElectionTimeout => format!("{id:?} election timeout"),
        Event::HeartbeatTimeout => format!("{id:?} heartbeat"),
        Event::QuorumTimeout => format!("{id:?} quorum timeout"),
        Event::Requests(requests) | Event::RequestsUnderBackpressure(requests) => requests
            .iter()
            .map(|(from, request)| {
                let message = Message::ClientRequest(request.clone());
                format!("{from:?} -> {id:?} {}", content(&message))
            })
            .collect::<Vec<_>>()
            .join(", "),
        Event::Persisted(write) => format!("{id:?} has {write:?} on disk"),
        Event::Compact => format!("{id:?} is to take a snapshot"),
        Event::TransferLeadership(target) => format!("{id:?} is to transfer to {target:?}"),
    }
}

/// Describes the changes of a step in a server.
pub(super) fn changes(before: &Raft, after: &Raft) -> Vec<String> {
    let id = after.id();
    let mut lines = Vec::new();
    if role(before) != role(after) {
        lines.push(format!("  {id:?} is now {}", role(after)));
    }
    let (from, to) = (before.commit_index(), after.commit_index());
    if from < to {
        let count = (to.get() - from.get()) as usize;
        let entries = entries(from.next(), after.log().slice(from.next(), count));
        lines.push(format!("  {id:?} commits {entries}"));
    }
    lines
}

/// Describes a pending write; `last_index` is the end of the log after the write.
pub(super) fn write(write: &Write, last_index: LogIndex) -> String {
    let mut parts = Vec::new();
    if let Some(hard_state) = write.hard_state {
        let vote = match hard_state.voted_for {
            Some(candidate) => format!("vote for {candidate:?}"),
            None => "no vote".into(),
        };
        parts.push(format!("{:?} {vote}", hard_state.current_term));
    }
    if let Some(index) = write.truncate_from {
        parts.push(format!("remove from {index}"));
    }
    if let Some(snapshot) = &write.snapshot {
        let last = snapshot.last_included();
        parts.push(format!("snapshot to {}@{}", last.index, last.term));
    }
    if !write.append.is_empty() {
        let first = LogIndex::new(last_index.get() - write.append.len() as u64 + 1);
        parts.push(format!("append {}", entries(first, &write.append)));
    }
    format!("  {:?}: {}", write.id, parts.join("; "))
}

/// Describes a restarted server.
pub(super) fn recovered(raft: &Raft) -> String {
    format!(
        "{:?} restarts as {}, log {}",
        raft.id(),
        role(raft),
        log(raft.log().entries())
    )
}

/// Describes the state of a server.
pub(super) fn server((id, server): (&NodeId, &Server)) -> String {
    match &server.raft {
        None => {
            let disk = &server.disk;
            let (term, log) = (disk.hard_state.current_term, log(&disk.log));
            format!("{id:?} down {term:?} log {log}")
        }
        Some(raft) => {
            let unsynced = match server.unsynced.len() {
                0 => String::new(),
                _ => format!(" durable {}", raft.durable_index()),
            };
            let (role, log) = (role(raft), log(raft.log().entries()));
            format!(
                "{id:?} {role} log {log} commit {}{unsynced}",
                raft.commit_index()
            )
        }
    }
}

/// Describes a message with its sender and its receiver.
pub(super) fn envelope(envelope: &Envelope) -> String {
    let Envelope { from, to, message } = envelope;
    format!("{from:?} -> {to:?} {}", content(message))
}

fn role(raft: &Raft) -> String {
    let term = raft.current_term();
    match raft.role() {
        Role::Follower { leader: None, .. } => format!("follower {term:?}"),
        Role::Follower {
            leader: Some(id), ..
        } => format!("follower {term:?} of {id:?}"),
        Role::PreCandidate { .. } => format!("pre-candidate {term:?}"),
        Role::Candidate(_) => format!("candidate {term:?}"),
        Role::Leader(_) => format!("leader {term:?}"),
    }
}

fn content(message: &Message) -> String {
    match message {
        Message::PreVoteRequest(request) => {
            let last = id(request.last_log_index, request.last_log_term);
            format!("PreVote {:?} last={last}", request.next_term)
        }
        Message::PreVoteResponse(response) => {
            let granted = if response.vote_granted {
                "granted"
            } else {
                "refused"
            };
            format!(
                "PreVote {:?} {granted} in {:?}",
                response.next_term, response.term
            )
        }
        Message::RequestVoteRequest(request) => {
            let last = id(request.last_log_index, request.last_log_term);
            let transfer = match request.leadership_transfer {
                true => " for a transfer",
                false => "",
            };
            format!("RequestVote {:?} last={last}{transfer}", request.term)
        }
        Message::RequestVoteResponse(response) => {
            let granted = if response.vote_granted {
                "granted"
            } else {
                "refused"
            };
            format!("Vote {:?} {granted}", response.term)
        }
        Message::AppendEntriesRequest(request) => {
            let prev = id(request.prev_log_index, request.prev_log_term);
            let entries = match request.entries.as_slice() {
                [] => String::new(),
                some => format!(" {}", entries(request.prev_log_index.next(), some)),
            };
            let commit = request.leader_commit;
            let round = round(request.read_round);
            format!(
                "Append {:?} prev={prev}{entries} commit={commit}{round}",
                request.term
            )
        }
        Message::AppendEntriesResponse(response) => {
            let round = round(response.read_round);
            let outcome = match response.outcome {
                AppendOutcome::Matched { match_index } => format!("match={match_index}"),
                AppendOutcome::Conflict {
                    prev_log_index,
                    conflict_term,
                    conflict_index,
                } => format!(
                    "conflict at {prev_log_index}: may agree up to {conflict_index}@{conflict_term:?}"
                ),
                AppendOutcome::StaleTerm => "stale term".into(),
            };
            format!("Appended {:?} {outcome}{round}", response.term)
        }
        Message::InstallSnapshotRequest(request) => {
            let last = request.snapshot.last_included();
            format!(
                "Snapshot {:?} to {}",
                request.term,
                id(last.index, last.term)
            )
        }
        Message::InstallSnapshotResponse(response) => match response.match_index {
            LogIndex::ZERO => format!("Installed {:?} stale term", response.term),
            index => format!("Installed {:?} match={index}", response.term),
        },
        Message::TimeoutNowRequest(request) => format!("TimeoutNow {:?}", request.term),
        Message::ClientRequest(request) => format!("{:?} {}", request.id, body(&request.body)),
        Message::ClientResponse(response) => {
            format!("{:?} {}", response.id, outcome(&response.body))
        }
        Message::Identity(_) => "Identity".into(),
    }
}

fn body(body: &RequestBody) -> String {
    match body {
        RequestBody::OpenSession => "open session".into(),
        RequestBody::CloseSession { session } => format!("close session {session:?}"),
        RequestBody::RenewSession { session } => format!("renew session {session:?}"),
        RequestBody::TransferLeadership { target } => format!("transfer to {target:?}"),
        RequestBody::Write {
            session,
            sequence,
            acknowledged: _,
            operation: what,
        } => format!("{session:?}/{sequence} {}", operation(what)),
        RequestBody::Read {
            query: Query::Get { key },
        } => format!("read {}", text(key)),
        RequestBody::Read {
            query: Query::Scan { prefix, .. },
        } => format!("scan {}", text(prefix)),
        RequestBody::StaleRead {
            query: Query::Get { key },
        } => format!("read {}, however old", text(key)),
        RequestBody::StaleRead {
            query: Query::Scan { prefix, .. },
        } => format!("scan {}, however old", text(prefix)),
    }
}

fn outcome(body: &ResponseBody) -> String {
    match body {
        ResponseBody::Applied(answer) => match answer {
            Answer::Nothing => "nothing".into(),
            Answer::SessionOpened(session) => format!("session {session:?} opened"),
            Answer::Written { version } => format!("written at {version}"),
            Answer::Number { value, version } => format!("now {value}, written at {version}"),
            Answer::ConditionFailed { found: None } => "refused, absent".into(),
            Answer::ConditionFailed { found: Some(found) } => {
                format!("refused, written at {found}")
            }
            Answer::NotANumber => "not a number".into(),
            Answer::Overflow => "refused, the sum would overflow".into(),
            Answer::SessionExpired => "session expired".into(),
            Answer::AlreadyAcknowledged => "already acknowledged".into(),
            Answer::NotApplied => "session evicted, write not applied".into(),
            Answer::SessionsInUse => "all sessions in use".into(),
            Answer::SessionClosed => "session closed".into(),
            Answer::SessionRenewed => "session renewed".into(),
            Answer::TooManyUnacknowledged => "too many unacknowledged answers".into(),
            Answer::QuotaExceeded => "state quota exceeded".into(),
        },
        ResponseBody::Found(found) => self::found(found),
        ResponseBody::FoundStale(stale) => {
            format!("{}, as of {}", found(&stale.found), stale.applied_index)
        }
        ResponseBody::NotLeader { hint } => format!("not leader, try {}", whom(*hint)),
        ResponseBody::Interrupted { hint } => format!("interrupted, try {}", whom(*hint)),
        ResponseBody::Unavailable => "unavailable".into(),
        ResponseBody::OutsideLimits(error) => error.to_string(),
        ResponseBody::Overloaded => "overloaded".into(),
        ResponseBody::Leads => "leads".into(),
        ResponseBody::NotTransferred(reason) => format!("not transferred: {reason:?}"),
    }
}

fn found(found: &Found) -> String {
    match found {
        Found::Value(None) => "absent".into(),
        Found::Value(Some(found)) => {
            format!("{}, written at {}", text(&found.value), found.version)
        }
        Found::Pairs(page) => format!("{} pairs", page.pairs.len()),
    }
}

fn whom(hint: Option<NodeId>) -> String {
    hint.map_or("anyone".into(), |id| format!("{id:?}"))
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Put {
            key,
            value,
            condition: when,
        } => format!("{}={}{}", text(key), text(value), condition(*when)),
        Operation::Delete {
            key,
            condition: when,
        } => format!("delete {}{}", text(key), condition(*when)),
        Operation::Increment { key, by } => format!("{}{by:+}", text(key)),
    }
}

fn condition(condition: Condition) -> String {
    match condition {
        Condition::Always => String::new(),
        Condition::Absent => " if absent".into(),
        Condition::Present => " if present".into(),
        Condition::Version(version) => format!(" if of {version}"),
    }
}

fn log(log: &[Entry]) -> String {
    entries(LogIndex::new(1), log)
}

fn entries(first: LogIndex, entries: &[Entry]) -> String {
    let entry = |(place, entry): (usize, &Entry)| {
        let id = id(first.plus(place as u64), entry.term);
        match &entry.payload {
            Payload::Noop => format!("{id} noop"),
            Payload::Command(Command::OpenSession { .. }) => format!("{id} open session"),
            Payload::Command(Command::CloseSession { session }) => {
                format!("{id} close session {session:?}")
            }
            Payload::Command(Command::RenewSession { session }) => {
                format!("{id} renew session {session:?}")
            }
            Payload::Command(Command::Write(write)) => {
                let what = operation(&write.operation);
                format!("{id} {:?}/{} {what}", write.session, write.sequence)
            }
        }
    };
    let entries: Vec<_> = entries.iter().enumerate().map(entry).collect();
    format!("[{}]", entries.join(", "))
}

fn id(index: LogIndex, term: Term) -> String {
    format!("{index}@{term:?}")
}

fn round(round: u64) -> String {
    match round {
        0 => String::new(),
        round => format!(" round={round}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
