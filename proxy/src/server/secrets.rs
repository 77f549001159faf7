//! Stage 1: reads the secret files.

use crate::{settings::Settings, wire};
use std::path::PathBuf;
use tokio::task::spawn_blocking;
use transport::{Keys, SecretFileError, read_secret};
use web::Secret;

/// The secrets of the settings.
pub(super) struct Secrets {
    /// The token that HTTP clients must send.
    pub(super) token: Option<Secret>,
    /// The token for the HTTP of the servers; the own token if no other is configured.
    pub(super) node_token: Option<Secret>,
    /// The password of Redis clients.
    pub(super) password: Option<Secret>,
    /// The keys for datagrams.
    pub(super) keys: Keys,
}

impl Secrets {
    /// Reads the secrets from their files, each once. A file may be a pipe without a writer; the
    /// caller can drop the future meanwhile.
    pub(super) async fn read(settings: &Settings) -> anyhow::Result<Self> {
        let settings = settings.clone();
        let read = move || {
            let secret = |path: &Option<PathBuf>| -> Result<Option<Secret>, SecretFileError> {
                let text = path.as_deref().map(read_secret).transpose()?;
                Ok(text.map(|text| Secret::from(&text[..])))
            };
            let token = secret(&settings.http_token_file)?;
            let node_token = secret(&settings.node_http_token_file)?;
            let password = secret(&settings.redis_password_file)?;
            let keys = wire::keys(&settings)?;
            keys.check_distinct()?;
            Ok(Self {
                node_token: node_token.or_else(|| token.clone()),
                token,
                password,
                keys,
            })
        };
        spawn_blocking(read).await?
    }
}
