//! A minimal HTTP client for the operators' network: it reads the status of a server or the readiness
//! of a proxy. Plain HTTP/1.1, bounded responses, no redirects.

use crate::node_problem::NodeProblem;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use web::Secret;

const LIMIT: usize = 1 << 20;

/// Sends a GET request and returns the response, regardless of its status.
pub(crate) async fn get(
    at: &str,
    path: &str,
    token: Option<&Secret>,
) -> Result<(StatusCode, Bytes), NodeProblem> {
    let addresses = transport::lookup(at).await;
    let addresses = addresses.map_err(|error| NodeProblem::Unresolved {
        at: at.to_owned(),
        error: error.to_string(),
    })?;
    let stream = TcpStream::connect(&addresses[..]).await;
    let stream = stream.map_err(|error| NodeProblem::from_connect(at, &error))?;
    let broken = |error: hyper::Error| invalid(at, error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let mut request = Request::get(path)
        .header(header::HOST, at)
        .header(header::CONNECTION, "close");
    if let Some(token) = token {
        let value = [b"Bearer ", token.expose()].concat();
        request = request.header(header::AUTHORIZATION, value);
    }
    let request =
        request
            .body(Empty::<Bytes>::new())
            .map_err(|error| NodeProblem::NotConnected {
                at: at.to_owned(),
                error: error.to_string(),
            })?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        let body = body.map_err(|error| invalid(at, error))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection completes first if it has read its last bytes; the response is complete then.
        _ = connection => exchange.await,
    }
}

/// Fetches JSON. Any status other than success is an error.
pub(crate) async fn json(
    at: &str,
    path: &str,
    token: Option<&Secret>,
) -> Result<Value, NodeProblem> {
    let (status, body) = get(at, path, token).await?;
    if !status.is_success() {
        return Err(NodeProblem::Status {
            at: at.to_owned(),
            status: status.as_u16(),
        });
    }
    serde_json::from_slice(&body).map_err(|error| invalid(at, error))
}

fn invalid(at: &str, error: impl ToString) -> NodeProblem {
    NodeProblem::InvalidResponse {
        at: at.to_owned(),
        error: error.to_string(),
    }
}
