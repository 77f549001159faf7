//! `raft-proxy health`: checks the readiness of a running proxy, for scripts and container health
//! checks.

use crate::fetch;
use std::{net::SocketAddr, time::Duration};

/// Requests `/readyz?verbose`. Returns whether the proxy is ready, and the text of the response.
///
/// # Errors
/// If no response arrives in time.
pub async fn ask(at: SocketAddr) -> anyhow::Result<(bool, String)> {
    let to = at.to_string();
    let asked = fetch::get(&to, "/readyz?verbose", None);
    let (status, body) = tokio::time::timeout(Duration::from_secs(5), asked)
        .await
        .map_err(|_| anyhow::anyhow!("no response from {at} within 5 s"))??;
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok((status.is_success(), text))
}
