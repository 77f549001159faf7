//! `raft-proxy health`: whether a proxy that runs is ready, for scripts and container checks.

use crate::fetch;
use std::{net::SocketAddr, time::Duration};

/// Asks `/readyz?verbose`, prints the answer, and tells whether it was a yes.
///
/// # Errors
/// If nobody answers there in time.
pub async fn ask(at: SocketAddr) -> anyhow::Result<(bool, String)> {
    let to = at.to_string();
    let asked = fetch::get(&to, "/readyz?verbose", None);
    let (status, body) = tokio::time::timeout(Duration::from_secs(5), asked)
        .await
        .map_err(|_| anyhow::anyhow!("no answer from {at} within five seconds"))?
        .map_err(anyhow::Error::msg)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok((status.is_success(), text))
}
