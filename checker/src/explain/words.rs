//! Descriptions of messages, entries and actions.

use crate::plural::{counted, list};
use model::{
    Address, AppendEntriesRequest, AppendOutcome, ClientRequest, ClientResponse, Entry, Envelope,
    Event, LogIndex, Message, NodeId, Payload, Role, Term,
    message::{RequestBody, ResponseBody},
    store::{Answer, Command, Found, Operation, Page, Query},
    system::{Action, Local, System, properties::linearizability::condition_suffix},
};

/// The maximum number of characters of a text, and of bytes that are not text.
const LETTERS: usize = 40;
const BYTES: usize = 6;
/// The maximum number of pairs of a page that are listed.
const PAIRS: usize = 4;

/// Describes an action, in a sentence without a full stop. `system` is the system before the action.
pub fn describe_action(action: &Action, system: &System) -> String {
    let Some(process) = system.processes.get(action.process) else {
        return format!("something happens to process {}", action.process);
    };
    let who = process.address();
    let raft = process
        .server()
        .and_then(|server| Some(&server.running.as_ref()?.raft));
    match &action.local {
        Local::Deliver { envelope, ask } => {
            let mut text = format!("{who} receives {}", received(envelope));
            if let Some(ask) = ask {
                text += &format!("; server {ask} is drawn in case no leader is known");
            }
            text
        }
        Local::ElectionTimeout => match raft {
            Some(raft) if matches!(raft.role(), Role::Leader(_)) => {
                format!("{who} aborts its leadership transfer: its election timer fires")
            }
            Some(raft) if raft.config().pre_vote => format!(
                "{who} times out and sends pre-vote requests for term {}",
                raft.current_term().next()
            ),
            Some(raft) => format!(
                "{who} times out and becomes a candidate in term {}",
                raft.current_term().next()
            ),
            None => timer_fires(who, "election"),
        },
        Local::HeartbeatTimeout => match raft.map(model::Raft::role) {
            Some(Role::PreCandidate { .. } | Role::Candidate(_)) => {
                format!("{who} resends its outstanding vote requests: its heartbeat timer fires")
            }
            _ => format!("{who} sends AppendEntries again: its heartbeat timer fires"),
        },
        Local::QuorumTimeout => match raft.map(model::Raft::role) {
            Some(Role::Leader(_)) => format!("{who} checks whether a majority responded"),
            _ => format!("{who} has received no message of its leader for a quorum timeout"),
        },
        Local::Propose => format!("a client sends {who} a write"),
        Local::ProposeTogether => format!("several clients send {who} a request each at once"),
        Local::Read => format!("a client sends {who} a read"),
        Local::Sync => format!("the oldest write of {who} reaches its disk"),
        Local::Compact => takes_snapshot(who),
        Local::TransferLeadership(target) => transfers(who, *target),
        Local::Crash => match who {
            Address::Node(_) => crashes(who),
            Address::Proxy(_) => {
                format!("{who} crashes and restarts: its requests in flight are lost")
            }
            Address::Client(_) => format!(
                "{who} crashes and restarts with a new id and without a session: its operation in flight, if any, stays open"
            ),
        },
        Local::Restart => restarts(who),
        Local::Invoke => format!("{who} begins its next operation"),
        Local::ClientTimeout => format!("{who} times out waiting for a response"),
        Local::ProxyTimeout { client, id, ask } => format!(
            "{who} times out waiting for a response to request {id} of client {client}; server {ask} is \
             drawn as the next target"
        ),
    }
}

/// A timer that fires, if its effect is not known.
pub(crate) fn timer_fires(who: Address, timer: &str) -> String {
    format!("the {timer} timer of {who} fires")
}

pub(crate) fn takes_snapshot(who: Address) -> String {
    format!("{who} takes a snapshot of its applied entries")
}

pub(crate) fn transfers(who: Address, target: NodeId) -> String {
    format!("{who} starts to transfer its leadership to server {target}")
}

pub(crate) fn crashes(who: Address) -> String {
    format!("{who} crashes: its writes that are not on disk are lost")
}

pub(crate) fn restarts(who: Address) -> String {
    format!("{who} restarts from its disk")
}

/// A short description of an event at a process.
pub(crate) fn event(local: &Local) -> String {
    match local {
        Local::Deliver { envelope, .. } => received(envelope),
        Local::ElectionTimeout => "its election timeout".into(),
        Local::HeartbeatTimeout => "its heartbeat timeout".into(),
        Local::QuorumTimeout => "its quorum timeout".into(),
        Local::Propose => "a write of a client".into(),
        Local::ProposeTogether => "requests of several clients at once".into(),
        Local::Read => "a read of a client".into(),
        Local::Sync => "the end of its oldest write".into(),
        Local::Compact => "a snapshot that it takes".into(),
        Local::TransferLeadership(target) => format!("its leadership transfer to server {target}"),
        Local::Crash => "its crash".into(),
        Local::Restart => "its restart".into(),
        Local::Invoke => "its next operation".into(),
        Local::ClientTimeout => "its request timeout".into(),
        Local::ProxyTimeout { client, id, .. } => {
            format!("the timeout of request {id} of client {client}")
        }
    }
}

/// An event that a server records, as a noun phrase.
pub(crate) fn recorded_event(event: &Event) -> String {
    match event {
        Event::Receive {
            from,
            message: sent,
        } => format!("{} from {from}", message(sent)),
        Event::ElectionTimeout => self::event(&Local::ElectionTimeout),
        Event::HeartbeatTimeout => self::event(&Local::HeartbeatTimeout),
        Event::QuorumTimeout => self::event(&Local::QuorumTimeout),
        Event::TransferLeadership(target) => self::event(&Local::TransferLeadership(*target)),
        Event::Requests(requests) | Event::RequestsUnderBackpressure(requests) => {
            counted(requests.len() as u64, "request") + " of clients"
        }
        Event::Persisted(write) => format!("the end of write {write}"),
        Event::Compact => self::event(&Local::Compact),
    }
}

/// A message that arrives.
pub(crate) fn received(envelope: &Envelope) -> String {
    format!("{} from {}", message(&envelope.message), envelope.from)
}

/// The messages sent, with equal messages grouped.
pub(super) fn sends(sent: &[Envelope]) -> Vec<String> {
    let mut groups: Vec<(&Message, Vec<Address>)> = Vec::new();
    for envelope in sent {
        match groups
            .iter_mut()
            .find(|(message, _)| **message == envelope.message)
        {
            Some((_, to)) => to.push(envelope.to),
            None => groups.push((&envelope.message, vec![envelope.to])),
        }
    }
    groups
        .into_iter()
        .map(|(sent, to)| format!("{} to {}", message(sent), addresses(&to)))
        .collect()
}

fn addresses(addresses: &[Address]) -> String {
    let servers: Vec<String> = addresses
        .iter()
        .filter_map(|address| match address {
            Address::Node(id) => Some(id.to_string()),
            Address::Proxy(_) | Address::Client(_) => None,
        })
        .collect();
    if servers.len() == addresses.len() && servers.len() > 1 {
        return format!("servers {}", list(&servers));
    }
    let all: Vec<String> = addresses.iter().map(Address::to_string).collect();
    list(&all)
}

/// A message.
pub(crate) fn message(message: &Message) -> String {
    match message {
        Message::PreVoteRequest(request) => format!(
            "PreVote (term {} next, {})",
            request.next_term,
            end_of_log(request.last_log_index, request.last_log_term)
        ),
        Message::PreVoteResponse(response) => {
            let verdict = if response.vote_granted {
                "a pre-vote"
            } else {
                "a refused pre-vote"
            };
            format!(
                "{verdict} for term {} (in term {})",
                response.next_term, response.term
            )
        }
        Message::RequestVoteRequest(request) => format!(
            "RequestVote (term {}, {}{})",
            request.term,
            end_of_log(request.last_log_index, request.last_log_term),
            if request.leadership_transfer {
                ", for a leadership transfer"
            } else {
                ""
            }
        ),
        Message::RequestVoteResponse(response) => {
            let verdict = if response.vote_granted {
                "a vote"
            } else {
                "a refused vote"
            };
            format!("{verdict} (term {})", response.term)
        }
        Message::AppendEntriesRequest(request) => append(request),
        Message::AppendEntriesResponse(response) => {
            let outcome = match &response.outcome {
                AppendOutcome::Matched { match_index } => format!("matches up to {match_index}"),
                AppendOutcome::Conflict {
                    prev_log_index,
                    conflict_index: LogIndex::ZERO,
                    ..
                } => format!("entry {prev_log_index} differs, no entry agrees"),
                AppendOutcome::Conflict {
                    prev_log_index,
                    conflict_term,
                    conflict_index,
                } => format!(
                    "entry {prev_log_index} differs, entries up to {conflict_index} (term {conflict_term}) may agree"
                ),
                AppendOutcome::StaleTerm => "the request is of an older term".into(),
            };
            let kind = match response.outcome {
                AppendOutcome::Matched { .. } => "an acknowledgement",
                AppendOutcome::Conflict { .. } | AppendOutcome::StaleTerm => "a refusal",
            };
            format!(
                "{kind} (term {}, {outcome}{})",
                response.term,
                round(response.read_round)
            )
        }
        Message::InstallSnapshotRequest(request) => {
            let last = request.snapshot.last_included();
            format!(
                "InstallSnapshot (term {}, up to entry {} of term {})",
                request.term, last.index, last.term
            )
        }
        Message::InstallSnapshotResponse(response) => match response.match_index {
            LogIndex::ZERO => format!(
                "a refusal (term {}, the snapshot is of an older term)",
                response.term
            ),
            index => format!(
                "an acknowledgement (term {}, matches up to {index} with the snapshot)",
                response.term
            ),
        },
        Message::ClientRequest(request) => client_request(request),
        Message::ClientResponse(response) => client_response(response),
        Message::TimeoutNowRequest(request) => format!("TimeoutNow (term {})", request.term),
        Message::Identity(_) => "a message about disk identities".into(),
    }
}

fn append(request: &AppendEntriesRequest) -> String {
    let after = match request.prev_log_index {
        LogIndex::ZERO => "from the start".into(),
        index => format!("after entry {index} of term {}", request.prev_log_term),
    };
    let entries = match request.entries.as_slice() {
        [] => "no entries".into(),
        some => format!("entries [{}]", entries(request.prev_log_index.next(), some)),
    };
    format!(
        "AppendEntries (term {}, {after}, {entries}, commit {}{})",
        request.term,
        request.leader_commit,
        round(request.read_round)
    )
}

fn round(round: u64) -> String {
    match round {
        0 => String::new(),
        round => format!(", read round {round}"),
    }
}

fn end_of_log(index: LogIndex, term: Term) -> String {
    match index {
        LogIndex::ZERO => "empty log".into(),
        index => format!("log ends with entry {index} of term {term}"),
    }
}

fn client_request(request: &ClientRequest) -> String {
    let body = match &request.body {
        RequestBody::OpenSession => "open a session".into(),
        RequestBody::CloseSession { session } => format!("close session {session}"),
        RequestBody::RenewSession { session } => format!("renew session {session}"),
        RequestBody::Write {
            session,
            sequence,
            operation: asked,
            ..
        } => format!("{} as {session}.{sequence}", operation(asked)),
        RequestBody::Read { query: asked } => query(asked),
        RequestBody::StaleRead { query: asked } => format!("{}, possibly stale", query(asked)),
        RequestBody::TransferLeadership { target } => {
            format!("transfer the leadership to server {target}")
        }
    };
    format!(
        "request {} of client {} ({body})",
        request.id, request.client
    )
}

fn query(query: &Query) -> String {
    match query {
        Query::Get { key } => format!("get {}", text(key)),
        Query::Scan {
            prefix,
            after,
            limit,
            ..
        } => {
            let after = after.as_ref().map(|key| format!(" after {}", text(key)));
            let after = after.unwrap_or_default();
            format!("scan {}*{after}, limit {limit}", text(prefix))
        }
    }
}

fn found(found: &Found) -> String {
    match found {
        Found::Value(None) => "found nothing".into(),
        Found::Value(Some(held)) => {
            format!("found {}, version {}", text(&held.value), held.version)
        }
        Found::Pairs(page) => {
            let rest = if page.more {
                ", and further keys follow"
            } else {
                ""
            };
            format!("found {}{rest}", pairs(page))
        }
    }
}

/// The first pairs of a page.
fn pairs(page: &Page) -> String {
    if page.pairs.is_empty() {
        return "no keys".into();
    }
    let mut words: Vec<String> = page
        .pairs
        .iter()
        .take(PAIRS)
        .map(|(key, held)| {
            let (key, value) = (text(key), text(&held.value));
            format!("{key}={value} (version {})", held.version)
        })
        .collect();
    if page.pairs.len() > PAIRS {
        words.push(format!("{} more", page.pairs.len() - PAIRS));
    }
    list(&words)
}

fn client_response(response: &ClientResponse) -> String {
    let body = match &response.body {
        ResponseBody::Applied(applied) => answer(applied),
        ResponseBody::Found(what) => found(what),
        ResponseBody::FoundStale(stale) => {
            format!(
                "{} as of entry {}",
                found(&stale.found),
                stale.applied_index
            )
        }
        ResponseBody::NotLeader { hint: None } => "not the leader".into(),
        ResponseBody::NotLeader { hint: Some(id) } => {
            format!("not the leader, hint: server {id}")
        }
        ResponseBody::Interrupted { hint: None } => "interrupted".into(),
        ResponseBody::Interrupted { hint: Some(id) } => {
            format!("interrupted, hint: server {id}")
        }
        ResponseBody::Unavailable => "unavailable".into(),
        ResponseBody::OutsideLimits(error) => error.to_string(),
        ResponseBody::Overloaded => "overloaded".into(),
        ResponseBody::Leads => "this server leads".into(),
        ResponseBody::NotTransferred(_) => "leadership not transferred".into(),
    };
    format!(
        "the response to request {} of client {} ({body})",
        response.id, response.client
    )
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Nothing => "nothing".into(),
        Answer::SessionOpened(session) => format!("session {session} is open"),
        Answer::Written { version } => format!("written as version {version}"),
        Answer::Number { value, version } => format!("now {value}, version {version}"),
        Answer::ConditionFailed { found: None } => "the condition failed: the key is absent".into(),
        Answer::ConditionFailed {
            found: Some(version),
        } => format!("the condition failed: the key has version {version}"),
        Answer::NotANumber => "not a number".into(),
        Answer::Overflow => "the sum would overflow".into(),
        Answer::SessionExpired => "the session has expired".into(),
        Answer::AlreadyAcknowledged => "already acknowledged".into(),
        Answer::NotApplied => "the session was evicted before the write was applied".into(),
        Answer::SessionsInUse => "all sessions are in use".into(),
        Answer::SessionClosed => "the session is closed".into(),
        Answer::SessionRenewed => "the session is renewed".into(),
        Answer::TooManyUnacknowledged => "too many unacknowledged responses".into(),
        Answer::QuotaExceeded => "the state quota is exceeded".into(),
    }
}

/// A whole log: `1:t1 open-session, 2:t2 no-op`.
pub(super) fn log(log: &[Entry]) -> String {
    match log {
        [] => "(empty)".into(),
        some => entries(LogIndex::new(1), some),
    }
}

/// A log, and its first index if a snapshot replaces its beginning.
pub(super) fn kept(log: &model::Log) -> String {
    match log.base().index {
        LogIndex::ZERO => self::log(log.entries()),
        index => {
            let entries = entries(index.next(), log.entries());
            format!("(a snapshot up to {index}) {entries}")
                .trim_end()
                .into()
        }
    }
}

fn entries(first: LogIndex, entries: &[Entry]) -> String {
    let all: Vec<String> = entries
        .iter()
        .enumerate()
        .map(|(position, it)| format!("{}:{}", first.plus(position as u64), entry(it)))
        .collect();
    all.join(", ")
}

/// An entry without its index: `t2 no-op`.
pub(super) fn entry(entry: &Entry) -> String {
    let payload = match &entry.payload {
        Payload::Noop => "no-op".into(),
        Payload::Command(Command::OpenSession { .. }) => "open-session".into(),
        Payload::Command(Command::CloseSession { .. }) => "close-session".into(),
        Payload::Command(Command::RenewSession { .. }) => "renew-session".into(),
        Payload::Command(Command::Write(write)) => operation(&write.operation),
    };
    format!("t{} {payload}", entry.term)
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Put {
            key,
            value,
            condition,
        } => format!(
            "{}={}{}",
            text(key),
            text(value),
            condition_suffix(*condition)
        ),
        Operation::Delete { key, condition } => {
            format!("delete {}{}", text(key), condition_suffix(*condition))
        }
        Operation::Increment { key, by } => format!("{}+={by}", text(key)),
    }
}

/// Bytes as text; only the beginning of a long text.
fn text(bytes: &[u8]) -> String {
    let Ok(text) = str::from_utf8(bytes) else {
        let start = &bytes[..bytes.len().min(BYTES)];
        let start: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
        let end = if bytes.len() > BYTES { "…" } else { "" };
        return format!("({} bytes: {start}{end})", bytes.len());
    };
    match text.char_indices().nth(LETTERS) {
        None => text.escape_debug().to_string(),
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::store::{Condition, Versioned};

    #[test]
    fn conditions_and_pages_are_described() {
        let delete = Operation::Delete {
            key: b"x".to_vec(),
            condition: Condition::Version(LogIndex::new(3)),
        };
        assert_eq!(operation(&delete), "delete x if version 3");
        let pair = |key: u8| {
            let version = LogIndex::new(3);
            let value = "1".into();
            (vec![key], Versioned { value, version })
        };
        let page = |keys: &[u8], more| Page {
            pairs: keys.iter().copied().map(pair).collect(),
            more,
        };
        assert_eq!(
            found(&Found::Pairs(page(b"x", true))),
            "found x=1 (version 3), and further keys follow"
        );
        assert_eq!(found(&Found::Pairs(page(b"", false))), "found no keys");
        assert!(found(&Found::Pairs(page(b"abcdefg", false))).ends_with(" and 3 more"));
    }

    #[test]
    fn bytes_are_told_as_text_or_as_bytes_and_never_at_length() {
        assert_eq!(text(b"x"), "x");
        assert_eq!(text("ñ\n".as_bytes()), "ñ\\n");
        assert_eq!(text("ñ".repeat(40).as_bytes()), "ñ".repeat(40));
        assert_eq!(text(&[b'x'; 41]), format!("{}…", "x".repeat(40)));
        assert_eq!(text(&[0xff, 0x0a]), "(2 bytes: ff0a)");
        assert_eq!(text(&[0xff; 7]), "(7 bytes: ffffffffffff…)");
    }
}
