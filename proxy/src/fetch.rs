//! A minimal HTTP client for the operators' network: it reads the status of a server or the readiness
//! of a proxy. Plain HTTP/1.1, bounded responses, no redirects.

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
) -> Result<(StatusCode, Bytes), String> {
    let connect = async { TcpStream::connect(&transport::lookup(at).await?[..]).await };
    let stream = connect
        .await
        .map_err(|error| format!("cannot connect to {at}: {error}"))?;
    let broken = |error: hyper::Error| format!("{at} sent an invalid HTTP response: {error}");
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
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("cannot send a request to {at}: {error}"))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        let body = body.map_err(|error| format!("the response of {at} is incomplete: {error}"))?;
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
pub(crate) async fn json(at: &str, path: &str, token: Option<&Secret>) -> Result<Value, String> {
    let (status, body) = get(at, path, token).await?;
    if !status.is_success() {
        return Err(format!("{at}{path} responded with {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("{at}{path} is not JSON: {error}"))
}
