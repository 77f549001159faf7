//! A fake proxy or server: one store behind one socket, with real messages over real UDP but without a
//! cluster. A [`Manner`] selects the requests that get no response.

use model::{
    Address, ClientRequest, ClientResponse, Config, Envelope, FoundStale, Message, NodeId, Payload,
    message::{NotTransferred, RequestBody, ResponseBody},
    store::{Answer, Command, Found, Page, Store, Write},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, mpsc},
    thread,
};
use transport::Keys;

/// How it responds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// Responds to everything.
    Whole,
    /// Responds to nothing.
    Silent,
    /// Responds to everything except writes.
    NoWrites,
    /// Responds that it knows no leader.
    Unavailable,
    /// Responds that it is overloaded.
    Overloaded,
    /// Applies writes without a response; responds to everything else.
    Mute,
    /// Responds to writes that their session is gone; responds normally to everything else.
    Forgetful,
    /// Responds to reads with a mismatched result; responds normally to everything else.
    Confused,
    /// Responds that another server is the leader.
    Follower(NodeId),
}

/// Starts a server. It runs until the test process ends.
pub(crate) fn start(manner: Manner) -> SocketAddr {
    start_sealed(manner, Keys::INSECURE)
}

/// Starts a server with these keys.
pub(crate) fn start_sealed(manner: Manner, keys: Keys) -> SocketAddr {
    start_with(manner, keys, Arc::default())
}

/// Starts two proxies with one store: the first applies writes without a response.
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
    let config = Config::production([NodeId::new(1)].into());
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
        // It is server 1 and leads. Server 2 is down.
        (_, RequestBody::TransferLeadership { target }) => Some(match target.get() {
            1 => ResponseBody::Leads,
            2 => ResponseBody::NotTransferred(NotTransferred::Aborted),
            _ => ResponseBody::NotTransferred(NotTransferred::NoVoter),
        }),
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
        (_, RequestBody::Read { query }) => Some(ResponseBody::Found(store.query(&query, &config))),
        (_, RequestBody::StaleRead { query }) => Some(ResponseBody::FoundStale(FoundStale {
            found: store.query(&query, &config),
            applied_index: store.last_applied(),
        })),
    }
}
