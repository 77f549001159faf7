//! Answers to clients that request a leadership transfer. The driver starts the transfer.

use crate::{cluster::node, leader};
use model::{
    Event,
    message::{NotTransferred, RequestBody, ResponseBody},
};

fn transfer_to(id: u64) -> RequestBody {
    RequestBody::TransferLeadership { target: node(id) }
}

#[test]
fn answer_names_the_leader() {
    let mut cluster = leader(3);
    let not_leader = |hint| ResponseBody::NotLeader { hint };
    let not_transferred = ResponseBody::NotTransferred;
    for (server, target, expected) in [
        (1, 1, ResponseBody::Leads),
        (1, 2, not_transferred(NotTransferred::Aborted)),
        (1, 9, not_transferred(NotTransferred::NoVoter)),
        (2, 2, not_leader(Some(node(1)))),
    ] {
        let id = cluster.request(server, transfer_to(target));
        assert_eq!(cluster.answer(id), Some(&expected), "{server} {target}");
    }
    // The request alone starts no transfer.
    assert!(cluster.raft(1).may_transfer_to(node(2)));
    cluster.step(1, Event::TransferLeadership(node(2)));
    let id = cluster.request(1, transfer_to(2));
    assert_eq!(cluster.answer(id), Some(&not_leader(Some(node(2)))));
    cluster.deliver(1, 2);
    let id = cluster.request(2, transfer_to(2));
    assert_eq!(cluster.answer(id), Some(&not_leader(None)));
    cluster.settle();
    let id = cluster.request(2, transfer_to(2));
    assert_eq!(cluster.answer(id), Some(&ResponseBody::Leads));
}
