//! Short labels of messages (on arrows) and of actions (on buttons).

use crate::explain;
use model::{
    AppendOutcome, LogIndex, Message,
    message::{RequestBody, ResponseBody},
    system::{Action, Local, System},
};

/// A message in a few characters: `RequestVote t2`, `AppendEntries t1 [2,3] c1`.
pub(super) fn message(message: &Message) -> String {
    let granted = |granted| if granted { "yes" } else { "no" };
    match message {
        Message::PreVoteRequest(request) => format!("PreVote t{}", request.next_term),
        Message::PreVoteResponse(response) => format!(
            "pre-vote t{} {}",
            response.next_term,
            granted(response.vote_granted)
        ),
        Message::RequestVoteRequest(request) if request.leadership_transfer => {
            format!("RequestVote t{} transfer", request.term)
        }
        Message::RequestVoteRequest(request) => format!("RequestVote t{}", request.term),
        Message::RequestVoteResponse(response) => {
            format!("vote t{} {}", response.term, granted(response.vote_granted))
        }
        Message::AppendEntriesRequest(request) => {
            let first = request.prev_log_index.next();
            let indexes: Vec<String> = (0..request.entries.len())
                .map(|index| LogIndex::plus(first, index as u64).to_string())
                .collect();
            format!(
                "AppendEntries t{} [{}] c{}",
                request.term,
                indexes.join(","),
                request.leader_commit
            )
        }
        Message::AppendEntriesResponse(response) => match &response.outcome {
            AppendOutcome::Matched { match_index } => {
                format!("ack t{} m{match_index}", response.term)
            }
            AppendOutcome::Conflict { prev_log_index, .. } => {
                format!("conflict t{} at {prev_log_index}", response.term)
            }
            AppendOutcome::StaleTerm => format!("stale t{}", response.term),
        },
        Message::InstallSnapshotRequest(request) => format!(
            "InstallSnapshot t{} ≤{}",
            request.term, request.snapshot.last_included_index
        ),
        Message::InstallSnapshotResponse(response) => match response.match_index {
            LogIndex::ZERO => format!("stale t{}", response.term),
            index => format!("installed t{} m{index}", response.term),
        },
        Message::ClientRequest(request) => {
            let what = match &request.body {
                RequestBody::OpenSession => "open",
                RequestBody::CloseSession { .. } => "close",
                RequestBody::RenewSession { .. } => "renew",
                RequestBody::Write { .. } => "write",
                RequestBody::Read { .. } => "read",
                RequestBody::StaleRead { .. } => "stale read",
                RequestBody::TransferLeadership { .. } => "transfer",
            };
            format!("{what} #{}", request.id)
        }
        Message::ClientResponse(response) => {
            let what = match &response.body {
                ResponseBody::Applied(_) => "applied",
                ResponseBody::Found(_) => "found",
                ResponseBody::FoundStale(_) => "found stale",
                ResponseBody::NotLeader { .. } => "not leader",
                ResponseBody::Interrupted { .. } => "interrupted",
                ResponseBody::Unavailable => "unavailable",
                ResponseBody::OutsideLimits(_) => "outside of the limits",
                ResponseBody::Overloaded => "overloaded",
                ResponseBody::Leads => "leads",
                ResponseBody::NotTransferred(_) => "not transferred",
            };
            format!("{what} #{}", response.id)
        }
        Message::TimeoutNowRequest(request) => format!("TimeoutNow t{}", request.term),
        Message::Identity(_) => "identity".into(),
    }
}

/// A description of an action, without the name of its process.
pub(super) fn action(action: &Action, system: &System) -> String {
    let text = explain::describe_action(action, system);
    let who = system.processes[action.process].address().to_string();
    match text.strip_prefix(&who) {
        Some(rest) => rest.trim_start().to_owned(),
        None => text,
    }
}

/// The kind of an action, by which the page groups actions.
pub(super) const fn kind(local: &Local, is_first: bool, leads: bool) -> &'static str {
    match local {
        Local::Deliver { .. } if is_first => "deliver",
        Local::Deliver { .. } => "again",
        // Only a leader that transfers its leadership has an armed election timer.
        Local::ElectionTimeout if leads => "abort-transfer",
        Local::ElectionTimeout => "timeout",
        Local::HeartbeatTimeout => "heartbeat",
        Local::QuorumTimeout => "quorum",
        Local::Propose | Local::ProposeTogether => "client",
        Local::Read => "read",
        Local::Sync => "sync",
        Local::Compact => "compact",
        Local::TransferLeadership(_) => "transfer",
        Local::Crash => "crash",
        Local::Restart => "restart",
        Local::Invoke => "invoke",
        Local::ClientTimeout => "client-timeout",
        Local::ProxyTimeout { .. } => "proxy-timeout",
    }
}
