//! Asks an HTTP server on the operators' network one question: what a node's state is, or whether
//! a proxy is well. Plain HTTP/1.1, bounded answers, no redirects.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use web::Secret;

const LIMIT: usize = 1 << 20;

/// What was answered, whatever it is.
pub(crate) async fn get(
    at: &str,
    path: &str,
    token: Option<&Secret>,
) -> Result<(StatusCode, Bytes), String> {
    let connect = async { TcpStream::connect(&transport::lookup(at).await?[..]).await };
    let stream = connect
        .await
        .map_err(|error| format!("cannot connect to {at}: {error}"))?;
    let broken = |error: hyper::Error| format!("{at} does not speak HTTP as it should: {error}");
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
        .map_err(|error| format!("cannot ask {at}: {error}"))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        let body = body.map_err(|error| format!("the answer of {at} is not whole: {error}"))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection is done first when its last bytes were read; the answer is there then.
        _ = connection => exchange.await,
    }
}

/// JSON, if the answer is a success.
pub(crate) async fn json(at: &str, path: &str, token: Option<&Secret>) -> Result<Value, String> {
    let (status, body) = get(at, path, token).await?;
    if !status.is_success() {
        return Err(format!("{at}{path} answers {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("{at}{path} is not JSON: {error}"))
}
