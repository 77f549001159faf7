use super::*;
use model::{
    AppendEntriesRequest, ClientId, Config, Durable, Event, LogIndex, Message, RequestId,
    RequestVoteResponse, SessionId, Timer,
    message::ResponseBody,
    store::{Condition, MAX_VALUE_BYTES, Query},
};
use std::time::Duration;

const fn node(id: u64) -> NodeId {
    NodeId::new(id)
}

fn persist(raft: &mut Raft, effects: model::Effects) {
    if let Some(write) = effects.write {
        raft.step(Event::Persisted(write.id));
    }
}

fn receive(raft: &mut Raft, from: u64, message: Message) {
    let from = Address::Node(node(from));
    let effects = raft.step(Event::Receive { from, message });
    persist(raft, effects);
}

/// Server 1 leads term 1 and transfers its leadership to server 2.
fn transferring() -> (Raft, Handover, Instant) {
    let mut config = Config::production([1, 2, 3].map(NodeId::new).into());
    config.pre_vote = false;
    let mut raft = Raft::recover(node(1), config, Durable::default());
    let effects = raft.step(Event::ElectionTimeout);
    persist(&mut raft, effects);
    let vote = RequestVoteResponse {
        term: raft.current_term(),
        vote_granted: true,
    };
    receive(&mut raft, 2, Message::RequestVoteResponse(vote));
    assert!(matches!(raft.role(), Role::Leader(_)));
    let effects = raft.step(Event::TransferLeadership(node(2)));
    assert!(effects.timers.contains(&Timer::Election));
    let now = Instant::now();
    let mut handover = Handover::default();
    handover.start(node(2), raft.current_term(), now + Duration::from_secs(1));
    (raft, handover, now)
}

fn heartbeat(raft: &mut Raft, from: u64) {
    let request = AppendEntriesRequest {
        term: raft.current_term().next(),
        prev_log_index: LogIndex::ZERO,
        prev_log_term: Term::ZERO,
        entries: Vec::new(),
        leader_commit: LogIndex::ZERO,
        read_round: 0,
    };
    receive(raft, from, Message::AppendEntriesRequest(request));
}

#[test]
fn outcome_is_the_next_leader() {
    let later = Duration::from_secs(2);
    for (leader, expected) in [
        (2, Ok(())),
        (
            3,
            Err(TransferError::OtherLeader {
                target: node(2),
                leader: node(3),
            }),
        ),
    ] {
        let (mut raft, mut handover, now) = transferring();
        assert_eq!(handover.conclude(&raft, now + later), None);
        heartbeat(&mut raft, leader);
        assert_eq!(handover.conclude(&raft, now), Some((node(2), expected)));
        assert!(!handover.is_in_progress());
    }
}

#[test]
fn aborted_transfer_is_reported_to_each_caller() {
    let (mut raft, mut handover, now) = transferring();
    let (reply, mut outcome) = oneshot::channel();
    handover.join(node(2), reply).unwrap();
    let (reply, _) = oneshot::channel();
    let (_, other) = handover.join(node(3), reply).unwrap_err();
    assert_eq!(other, Some(node(2)));
    raft.step(Event::ElectionTimeout);
    let aborted = Err(TransferError::Aborted { target: node(2) });
    assert_eq!(
        handover.conclude(&raft, now),
        Some((node(2), aborted.clone()))
    );
    assert_eq!(outcome.try_recv().unwrap(), aborted);
}

#[test]
fn unknown_leader_is_awaited_until_the_deadline() {
    let (mut raft, mut handover, now) = transferring();
    let vote = model::RequestVoteRequest {
        term: raft.current_term().next(),
        last_log_index: raft.log().last_index(),
        last_log_term: raft.current_term(),
        leadership_transfer: true,
    };
    receive(&mut raft, 2, Message::RequestVoteRequest(vote));
    assert!(matches!(raft.role(), Role::Follower { leader: None, .. }));
    assert_eq!(handover.conclude(&raft, now), None);
    let none = Err(TransferError::NoLeader { target: node(2) });
    let late = now + Duration::from_secs(1);
    assert_eq!(handover.conclude(&raft, late), Some((node(2), none)));
}

#[test]
fn requests_are_held_until_the_outcome_is_known() {
    let (mut raft, mut handover, now) = transferring();
    let client = Address::Client(ClientId::new(7));
    let request = |id, body| {
        let request = ClientRequest {
            id: RequestId::new(id),
            client: ClientId::new(7),
            body,
        };
        (client, request)
    };
    let query = Query::Get { key: b"k".to_vec() };
    let stale = request(1, RequestBody::StaleRead { query });
    let open = request(2, RequestBody::OpenSession);
    let rest = handover.hold(vec![stale.clone(), open.clone()]);
    assert_eq!(rest, [stale]);
    assert_eq!(handover.release(), []);
    let more = (0..MOST_HELD as u64).map(|id| request(3 + id, RequestBody::OpenSession));
    assert_eq!(handover.hold(more.collect()).len(), 1);
    heartbeat(&mut raft, 2);
    handover.conclude(&raft, now).unwrap().1.unwrap();
    let released = handover.release();
    assert_eq!((released.len(), &released[0]), (MOST_HELD, &open));
    let effects = raft.step(Event::Requests(released));
    let hint = Some(node(2));
    assert!(effects.sends.iter().all(|sent| matches!(
        &sent.message,
        Message::ClientResponse(response) if response.body == ResponseBody::NotLeader { hint }
    )));
    // No transfer is in progress, so nothing is held.
    assert_eq!(handover.hold(vec![open.clone()]), [open]);
}

#[test]
fn held_bytes_are_bounded() {
    let (_, mut handover, _) = transferring();
    let value = vec![0_u8; MAX_VALUE_BYTES];
    let put = |sequence| {
        let operation = Operation::Put {
            key: Vec::new(),
            value: value.clone().into(),
            condition: Condition::Always,
        };
        let request = ClientRequest {
            id: RequestId::new(sequence),
            client: ClientId::new(7),
            body: RequestBody::Write {
                session: SessionId::new(1),
                sequence,
                acknowledged: 1,
                operation,
            },
        };
        (Address::Client(ClientId::new(7)), request)
    };
    let room = (MOST_HELD_BYTES / MAX_VALUE_BYTES) as u64;
    let rest = handover.hold((1..=room + 3).map(put).collect());
    assert_eq!(rest.len(), 3);
}
