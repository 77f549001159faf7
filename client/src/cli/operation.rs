//! The operations on keys: the same on the command line and in the REPL.

use super::{Consistency, output::Reply};
use anyhow::Context;
use clap::{Args, Subcommand};
use client::{Client, Stale};
use model::{LogIndex, store::Condition};
use std::io::{IsTerminal, Read};

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Reads a key
    Get {
        /// The key
        key: String,
    },
    /// Sets a key
    Put {
        /// The key
        key: String,
        /// Its new value; left out, it is read from standard input
        value: Option<String>,
    },
    /// Removes a key that is there
    Delete {
        /// The key
        key: String,
        /// Only if this is its version
        #[arg(long)]
        version: Option<u64>,
    },
    /// Sets a key if a condition holds (compare and set)
    Cas {
        /// The key
        key: String,
        /// Its new value
        value: String,
        #[command(flatten)]
        when: When,
    },
    /// Lists keys in order
    Scan {
        /// What the keys start with
        #[arg(default_value = "")]
        prefix: String,
        /// Only keys after this one
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Adds to the number a key holds; an absent key counts as 0
    Incr {
        /// The key
        key: String,
        /// What to add
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
    },
}

/// When a compare-and-set takes effect.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct When {
    /// If this is the key's version
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
    pub(crate) async fn run(
        self,
        client: &Client,
        consistency: Consistency,
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
            Self::Put { key, value } => {
                let value = match value {
                    Some(value) => value.into_bytes(),
                    None => read_value()?,
                };
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
                if stale {
                    let stale = client.scan_stale(prefix, after, limit).await?;
                    Reply::Pairs {
                        pairs: stale.found,
                        as_of: Some(stale.applied_index),
                    }
                } else {
                    Reply::Pairs {
                        pairs: client.scan(prefix, after, limit).await?,
                        as_of: None,
                    }
                }
            }
            Self::Incr { key, by } => {
                let number = client.increment(key.as_str(), by).await?;
                Reply::Number { key, number }
            }
        })
    }
}

fn read_value() -> anyhow::Result<Vec<u8>> {
    let mut value = Vec::new();
    let mut input = std::io::stdin().lock();
    anyhow::ensure!(
        !input.is_terminal(),
        "the value is missing: put KEY VALUE, or pipe the value in"
    );
    input
        .read_to_end(&mut value)
        .context("cannot read the value from standard input")?;
    Ok(value)
}
