//! A server that opens sessions, and handles all other requests as a test requires.

use model::{
    Address, ClientResponse, Envelope, Message, NodeId, SessionId,
    message::{RequestBody, ResponseBody},
    store::Answer,
};
use std::net::SocketAddr;
use transport::{Config, Endpoint};

/// A server that does not respond after the session is open: a write through it has an unknown
/// outcome.
pub(crate) async fn server(id: NodeId) -> SocketAddr {
    responding(id, |_| None).await
}

/// A server with these responses. Returns its address.
pub(crate) async fn responding(
    id: NodeId,
    respond: impl Fn(&RequestBody) -> Option<ResponseBody> + Send + 'static,
) -> SocketAddr {
    let config = Config::new("127.0.0.1:0".parse().unwrap(), "stateraft");
    let (endpoint, mut inbox) = Endpoint::bind(config).await.unwrap();
    let at = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(envelopes) = inbox.receive().await {
            for Envelope { from, message, .. } in envelopes {
                let Message::ClientRequest(request) = message else {
                    continue;
                };
                let opened = ResponseBody::Applied(Answer::SessionOpened(SessionId::new(1)));
                let body = match request.body {
                    RequestBody::OpenSession => Some(opened),
                    body => respond(&body),
                };
                let Some(body) = body else {
                    continue;
                };
                endpoint.send(vec![Envelope {
                    from: Address::Node(id),
                    to: from,
                    message: Message::ClientResponse(ClientResponse {
                        client: request.client,
                        id: request.id,
                        body,
                    }),
                }]);
            }
        }
    });
    at
}
