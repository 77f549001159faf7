//! A server that opens sessions and is silent then: what is written through it has an outcome
//! that nobody knows.

use model::{
    Address, ClientResponse, Envelope, Message, NodeId, SessionId,
    message::{RequestBody, ResponseBody},
    store::Answer,
};
use std::net::SocketAddr;
use transport::{Config, Endpoint};

/// Where it is.
pub(crate) async fn server(id: NodeId) -> SocketAddr {
    let config = Config::new("127.0.0.1:0".parse().unwrap(), "stateraft");
    let (endpoint, mut inbox) = Endpoint::bind(config).await.unwrap();
    let at = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(envelopes) = inbox.receive().await {
            for Envelope { from, message, .. } in envelopes {
                let Message::ClientRequest(request) = message else {
                    continue;
                };
                if request.body != RequestBody::OpenSession {
                    continue;
                }
                let answer = Answer::SessionOpened(SessionId::new(1));
                endpoint.send(vec![Envelope {
                    from: Address::Node(id),
                    to: from,
                    message: Message::ClientResponse(ClientResponse {
                        client: request.client,
                        id: request.id,
                        body: ResponseBody::Applied(answer),
                    }),
                }]);
            }
        }
    });
    at
}
