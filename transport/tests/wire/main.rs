//! The wire format, byte by byte, as `docs/wire.md` draws it, and the handling of malformed bytes.

mod faults;
mod golden;

use model::{
    Address, ClientId, ClientRequest, Envelope, LogIndex, Message, NodeId, ProxyId, RequestId,
    RequestVoteRequest, Term,
    message::RequestBody,
    store::{Condition, Operation},
    wire::{encode_addresses, encode_message},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(envelope: &Envelope) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_addresses(envelope.from, envelope.to, &mut bytes);
    encode_message(&envelope.message, &mut bytes);
    bytes
}

fn vote() -> Envelope {
    Envelope {
        from: Address::Node(NodeId::new(1)),
        to: Address::Node(NodeId::new(300)),
        message: Message::RequestVoteRequest(RequestVoteRequest {
            term: Term::new(5),
            last_log_index: LogIndex::new(1000),
            last_log_term: Term::new(4),
            leadership_transfer: false,
        }),
    }
}

fn request(value: &[u8]) -> Envelope {
    Envelope {
        from: Address::Client(ClientId::new(7)),
        to: Address::Proxy(ProxyId::new(1)),
        message: Message::ClientRequest(ClientRequest {
            client: ClientId::new(7),
            id: RequestId::new(2),
            body: RequestBody::Write {
                session: model::SessionId::new(9),
                sequence: 3,
                acknowledged: 3,
                operation: Operation::Put {
                    key: b"k".to_vec(),
                    value: value.into(),
                    condition: Condition::Always,
                },
            },
        }),
    }
}
