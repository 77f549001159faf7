//! The operations on keys and on the cluster, shared by the command line and the prompt.

use super::{Consistency, input, output::Reply};
use anyhow::Context;
use clap::{Args, Subcommand};
use client::{Client, Error, KeyValue as _, Stale};
use model::{
    LogIndex, NodeId,
    client::NotDone,
    store::{Condition, MAX_VALUE_BYTES},
};
use std::io::{IsTerminal, Read};

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Read a key
    Get {
        /// The key
        key: String,
    },
    /// Set a key
    Put {
        /// The key
        key: String,
        /// The new value; if omitted, it is read from standard input
        value: Option<String>,
    },
    /// Delete an existing key
    Delete {
        /// The key
        key: String,
        /// Only if the key has this version
        #[arg(long)]
        version: Option<u64>,
    },
    /// Set a key if a condition holds (compare and set)
    Cas {
        /// The key
        key: String,
        /// The new value
        value: String,
        #[command(flatten)]
        when: When,
    },
    /// List keys in order
    Scan {
        /// The prefix of the keys
        #[arg(default_value = "")]
        prefix: String,
        /// Only keys after this key
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        /// The maximum number of keys
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Add to the number in a key; an absent key counts as 0
    Incr {
        /// The key
        key: String,
        /// The number to add
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
    },
    /// Make a server the leader
    Transfer {
        /// The id of the server
        server: u64,
    },
}

/// The condition of a compare-and-set.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct When {
    /// If the key has this version
    #[arg(long)]
    version: Option<u64>,
    /// If the key is absent
    #[arg(long)]
    absent: bool,
    /// If the key is present
    #[arg(long)]
    present: bool,
}

impl When {
    fn condition(&self) -> Condition {
        match self.version {
            Some(version) => Condition::Version(LogIndex::new(version)),
            None if self.absent => Condition::Absent,
            None => Condition::Present,
        }
    }
}

impl Operation {
    /// Whether the operation can change data.
    pub(crate) const fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Get { .. } | Self::Scan { .. } | Self::Transfer { .. }
        )
    }

    /// The error of an operation that sent no write and received no response.
    pub(crate) const fn unanswered(&self) -> Error {
        let reason = NotDone::NoLeader;
        match self {
            Self::Transfer { server } => Error::NotTransferred {
                target: NodeId::new(*server),
                reason,
            },
            _ => Error::NotDone(reason),
        }
    }

    /// Reads the value from standard input if the arguments have none.
    pub(crate) async fn input(&self) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(match self {
            Self::Put { value: None, .. } => Some(input::read(read_value).await??),
            _ => None,
        })
    }

    pub(crate) async fn run(
        self,
        client: &Client,
        consistency: Consistency,
        input: Option<Vec<u8>>,
    ) -> anyhow::Result<Reply> {
        let stale = consistency == Consistency::Stale;
        Ok(match self {
            Self::Get { key } if stale => {
                let Stale {
                    found,
                    applied_index,
                } = client.get_stale(key.as_str()).await?;
                Reply::Value {
                    key,
                    found,
                    as_of: Some(applied_index),
                }
            }
            Self::Get { key } => {
                let found = client.get(key.as_str()).await?;
                Reply::Value {
                    key,
                    found,
                    as_of: None,
                }
            }
            Self::Transfer { server } => {
                client.transfer_leadership(NodeId::new(server)).await?;
                Reply::Leads { server }
            }
            Self::Put { key, value } => {
                let value = value.map(String::into_bytes).or(input).unwrap_or_default();
                let written = client.cas(key.as_str(), value, Condition::Always).await?;
                Reply::Written { key, written }
            }
            Self::Delete { key, version } => {
                let condition = match version {
                    Some(version) => Condition::Version(LogIndex::new(version)),
                    None => Condition::Present,
                };
                let written = client.delete(key.as_str(), condition).await?;
                Reply::Written { key, written }
            }
            Self::Cas { key, value, when } => {
                let written = client.cas(key.as_str(), value, when.condition()).await?;
                Reply::Written { key, written }
            }
            Self::Scan {
                prefix,
                after,
                limit,
            } => {
                let after = after.map(String::into_bytes);
                scan(client, prefix, after, limit, stale).await?
            }
            Self::Incr { key, by } => {
                let number = client.increment(key.as_str(), by).await?;
                Reply::Number { key, number }
            }
        })
    }
}

/// Lists the requested number of keys, page by page. For several stale pages, reports the lowest
/// applied index.
async fn scan(
    client: &Client,
    prefix: String,
    mut after: Option<Vec<u8>>,
    limit: u32,
    stale: bool,
) -> anyhow::Result<Reply> {
    let (mut pairs, mut as_of) = (Vec::new(), None);
    loop {
        let left = limit - u32::try_from(pairs.len()).unwrap_or(limit);
        let page = if stale {
            let page = client.scan_stale(prefix.as_str(), after, left).await?;
            as_of = Some(as_of.map_or(page.applied_index, |index| page.applied_index.min(index)));
            page.found
        } else {
            client.scan(prefix.as_str(), after, left).await?
        };
        pairs.extend(page.pairs);
        if !page.more || pairs.len() >= limit as usize {
            let more = page.more;
            return Ok(Reply::Pairs { pairs, more, as_of });
        }
        after = pairs.last().map(|(key, _)| key.clone());
    }
}

fn read_value() -> anyhow::Result<Vec<u8>> {
    let input = std::io::stdin().lock();
    anyhow::ensure!(
        !input.is_terminal(),
        "the value is missing: put KEY VALUE, or pipe the value in"
    );
    read_at_most(input, MAX_VALUE_BYTES)
}

/// Reads all input, unless it exceeds the limit.
fn read_at_most(input: impl Read, limit: usize) -> anyhow::Result<Vec<u8>> {
    let mut value = Vec::new();
    input
        .take(limit as u64 + 1)
        .read_to_end(&mut value)
        .context("cannot read the value from standard input")?;
    anyhow::ensure!(
        value.len() <= limit,
        "nothing was done: the value on standard input is too large: the limit is {limit} bytes"
    );
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_input_is_refused_after_one_byte_too_many() {
        let exact = std::io::repeat(b'v').take(8);
        assert_eq!(read_at_most(exact, 8).unwrap(), [b'v'; 8]);
        let mut endless = std::io::repeat(b'v').take(1000);
        let refused = read_at_most(&mut endless, 8).unwrap_err().to_string();
        assert!(refused.contains("too large"), "{refused}");
        assert_eq!(endless.limit(), 1000 - 9);
    }
}
