//! A proxy, or a server, that is one store behind one socket: the real messages over real UDP,
//! without a cluster. What it does not answer is what a test wants to see unanswered.

use model::{
    Address, ClientRequest, ClientResponse, Config, Envelope, FoundStale, Message, NodeId, Payload,
    message::{RequestBody, ResponseBody},
    store::{Answer, Command, Found, Page, Store, Write},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, mpsc},
    thread,
};
use transport::Keys;

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// Everything.
    Whole,
    /// Nothing.
    Silent,
    /// Everything but writes.
    NoWrites,
    /// That it knows of no leader.
    Unavailable,
    /// That too much waits.
    Overloaded,
    /// Everything but writes, which it applies without an answer.
    Mute,
    /// Writes: that their session is gone. Everything else.
    Forgetful,
    /// Reads: with the answer to another question. Everything else.
    Confused,
    /// That another server leads.
    Follower(NodeId),
}

/// Starts one. It runs until the test's process ends.
pub(crate) fn start(manner: Manner) -> SocketAddr {
    start_sealed(manner, Keys::INSECURE)
}

/// Starts one that understands who has its keys.
pub(crate) fn start_sealed(manner: Manner, keys: Keys) -> SocketAddr {
    start_with(manner, keys, Arc::default())
}

/// Starts two proxies of one store: the first applies writes without an answer.
pub(crate) fn start_pair() -> (SocketAddr, SocketAddr) {
    let store = Arc::<Mutex<Store>>::default();
    let start = |manner| start_with(manner, Keys::INSECURE, Arc::clone(&store));
    (start(Manner::Mute), start(Manner::Whole))
}

fn start_with(manner: Manner, keys: Keys, store: Arc<Mutex<Store>>) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve(manner, keys, store, tell));
    });
    told.recv().unwrap()
}

async fn serve(
    manner: Manner,
    keys: Keys,
    store: Arc<Mutex<Store>>,
    tell: mpsc::Sender<SocketAddr>,
) {
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let mut config = transport::Config::new(listen, "stateraft");
    config.keys = keys;
    let (endpoint, mut inbox) = transport::Endpoint::bind(config).await.unwrap();
    tell.send(endpoint.local_addr().unwrap()).unwrap();
    while let Some(envelopes) = inbox.receive().await {
        let answers = envelopes.into_iter().filter_map(|envelope| {
            let Message::ClientRequest(request) = envelope.message else {
                return None;
            };
            let (client, id) = (request.client, request.id);
            let is_write = matches!(request.body, RequestBody::Write { .. });
            let body = answer(manner, &mut store.lock().unwrap(), request)?;
            if manner == Manner::Mute && is_write {
                return None;
            }
            Some(Envelope {
                from: envelope.to,
                to: Address::Client(client),
                message: Message::ClientResponse(ClientResponse { client, id, body }),
            })
        });
        endpoint.send(answers.collect());
    }
}

fn answer(manner: Manner, store: &mut Store, request: ClientRequest) -> Option<ResponseBody> {
    let config = Config::new([NodeId::new(1)].into());
    let mut apply = |command| {
        let answer = store.apply(&Payload::Command(command), &config);
        Some(ResponseBody::Applied(answer))
    };
    match (manner, request.body) {
        (Manner::Silent, _) => None,
        (Manner::Unavailable, _) => Some(ResponseBody::Unavailable),
        (Manner::Overloaded, _) => Some(ResponseBody::Overloaded),
        (Manner::Forgetful, RequestBody::Write { .. }) => {
            Some(ResponseBody::Applied(Answer::SessionExpired))
        }
        (Manner::Follower(leader), _) => Some(ResponseBody::NotLeader { hint: Some(leader) }),
        (Manner::NoWrites, RequestBody::Write { .. }) => None,
        (Manner::Confused, RequestBody::Read { .. }) => {
            Some(ResponseBody::Found(Found::Pairs(Page::default())))
        }
        (_, RequestBody::CloseSession { session }) => apply(Command::CloseSession { session }),
        (_, RequestBody::RenewSession { session }) => apply(Command::RenewSession { session }),
        (_, RequestBody::OpenSession) => apply(Command::OpenSession {
            capacity: 1000,
            window: 0,
        }),
        (
            _,
            RequestBody::Write {
                session,
                sequence,
                acknowledged,
                operation,
            },
        ) => apply(Command::from(Write {
            quota: u64::MAX,
            session,
            sequence,
            acknowledged,
            operation,
        })),
        (_, RequestBody::Read { query }) => Some(ResponseBody::Found(store.query(&query))),
        (_, RequestBody::StaleRead { query }) => Some(ResponseBody::FoundStale(FoundStale {
            found: store.query(&query),
            applied_index: store.last_applied(),
        })),
    }
}
