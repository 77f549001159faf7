//! Executes one command and produces its reply.

use super::{Redis, command::RedisCommand, reply::Reply};
use bytes::Bytes;
use client::{Error, KeyValue as _, Written};
use futures_util::{StreamExt, future::join_all, stream};
use model::{
    client::NotDone,
    store::{Condition, Page, Versioned},
};
use std::sync::{PoisonError, atomic::Ordering::Relaxed};

/// The maximum number of concurrent reads of one command. Their values are in memory at the same time.
pub(crate) const READS_AT_ONCE: usize = 16;
/// The maximum number of concurrent deletions of one command.
const REMOVALS_AT_ONCE: usize = 64;

impl Redis {
    /// Executes a command that touches keys, or `INFO`.
    pub(crate) async fn execute(&self, command: RedisCommand) -> Reply {
        match command {
            RedisCommand::Get { key } => match self.kv_service.get(key.to_vec()).await {
                Ok(found) => value_of(found),
                Err(error) => failed(error),
            },
            RedisCommand::Set {
                key,
                value,
                condition,
            } => match self
                .kv_service
                .cas(key.to_vec(), &value[..], condition)
                .await
            {
                Ok(Written::ConditionFailed { .. }) => Reply::Null,
                Ok(Written::Done { .. }) => Reply::ok(),
                Err(error) => failed(error),
            },
            RedisCommand::Increment { key, by } => {
                match self.kv_service.increment(key.to_vec(), by).await {
                    Ok(number) => Reply::Integer(number.value),
                    Err(error) => failed(error),
                }
            }
            RedisCommand::Delete { keys } => self.delete(keys).await,
            RedisCommand::Exists { keys } => self.exists(keys).await,
            RedisCommand::GetMany { keys } => self.get_many(keys).await,
            RedisCommand::Scan {
                cursor,
                prefix,
                exact,
                count,
            } => self.scan(cursor, prefix, exact, count).await,
            RedisCommand::Info(sections) => Reply::Verbatim(self.info(&sections)),
            RedisCommand::Known(reply) => reply,
            RedisCommand::Connection(command) => {
                unreachable!("the connection answers {command:?} itself")
            }
        }
    }

    async fn delete(&self, keys: Vec<Bytes>) -> Reply {
        let deletions = keys
            .into_iter()
            .map(|key| self.kv_service.delete(key.to_vec(), Condition::Present));
        let mut deletions = stream::iter(deletions).buffered(REMOVALS_AT_ONCE);
        let (mut removed, mut failure) = (0, None);
        while let Some(result) = deletions.next().await {
            match result {
                Ok(Written::Done { .. }) => removed += 1,
                Ok(Written::ConditionFailed { .. }) => {}
                // An unknown outcome takes precedence over all other errors.
                Err(unknown) if unknown.is_unknown() => failure = Some(unknown),
                Err(other) => failure = failure.or(Some(other)),
            }
        }
        match failure {
            None => Reply::Integer(removed),
            Some(error) if removed == 0 || error.is_unknown() => failed(error),
            Some(error) => Reply::error(format!(
                "UNKNOWN the outcome is unknown: {removed} of the keys were removed, for others {error}"
            )),
        }
    }

    async fn exists(&self, keys: Vec<Bytes>) -> Reply {
        let reads = keys
            .into_iter()
            .map(|key| self.kv_service.get(key.to_vec()));
        let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
        let mut present = 0;
        while let Some(found) = reads.next().await {
            match found {
                Ok(found) => present += i64::from(found.is_some()),
                Err(error) => return failed(error),
            }
        }
        Reply::Integer(present)
    }

    /// For a few keys; the connection itself executes longer commands in batches.
    async fn get_many(&self, keys: Vec<Bytes>) -> Reply {
        let mut values = Vec::with_capacity(keys.len());
        for found in join_all(
            keys.into_iter()
                .map(|key| self.kv_service.get(key.to_vec())),
        )
        .await
        {
            match found {
                Ok(found) => values.push(value_of(found)),
                Err(error) => return failed(error),
            }
        }
        Reply::Array(values)
    }

    async fn scan(&self, cursor: u64, prefix: Vec<u8>, exact: bool, count: u32) -> Reply {
        let after = match cursor {
            0 => None,
            _ => {
                let position = self
                    .cursors
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .find(cursor);
                let Some(position) = position else {
                    return Reply::error("ERR unknown cursor: start again from 0");
                };
                Some(position)
            }
        };
        let count = count.min(self.kv_service.limits().listing);
        if exact {
            return match self.kv_service.get(prefix.clone()).await {
                Ok(found) => page(0, found.map(|_| prefix)),
                Err(error) => failed(error),
            };
        }
        match self.kv_service.scan(prefix, after, count).await {
            Ok(Page { pairs, more }) => {
                let next = match pairs.last() {
                    Some((last, _)) if more => self
                        .cursors
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remember(last.clone()),
                    _ => 0,
                };
                page(next, pairs.into_iter().map(|(key, _)| key))
            }
            Err(error) => failed(error),
        }
    }

    /// The requested sections, in Redis's format.
    fn info(&self, sections: &[String]) -> String {
        let gauges = &self.gauges;
        let leader = gauges
            .leader()
            .map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let server = format!(
            "redis_version:{}\r\nredis_mode:standalone\r\nserver_name:stateraft\r\n\
             stateraft_version:{}\r\nuptime_in_seconds:{}\r\n",
            super::REDIS_VERSION,
            env!("CARGO_PKG_VERSION"),
            gauges.uptime().as_secs(),
        );
        let clients = format!(
            "connected_clients:{}\r\n",
            self.kv_service.metrics().redis_connections.get()
        );
        let cluster = format!(
            "cluster_enabled:0\r\nleader:{leader}\r\nrequests_in_flight:{}\r\n",
            gauges.in_flight.load(Relaxed),
        );
        let is_asked = |name: &str| {
            let everything = ["all", "default", "everything"];
            sections.is_empty()
                || sections
                    .iter()
                    .any(|asked| asked == name || everything.contains(&&asked[..]))
        };
        [
            ("server", "Server", server),
            ("clients", "Clients", clients),
            ("replication", "Replication", "role:master\r\n".to_owned()),
            ("cluster", "Cluster", cluster),
        ]
        .into_iter()
        .filter(|(name, ..)| is_asked(name))
        .map(|(_, title, fields)| format!("# {title}\r\n{fields}"))
        .collect::<Vec<_>>()
        .join("\r\n")
    }
}

fn page(cursor: u64, keys: impl IntoIterator<Item = Vec<u8>>) -> Reply {
    let replies = keys.into_iter().map(|key| Reply::Bulk(key.into()));
    Reply::Array(vec![
        Reply::text(cursor.to_string()),
        Reply::Array(replies.collect()),
    ])
}

pub(crate) fn value_of(found: Option<Versioned>) -> Reply {
    found.map_or(Reply::Null, |found| {
        Reply::Bulk(Bytes::from_owner(found.value))
    })
}

pub(crate) fn failed(error: Error) -> Reply {
    Reply::error(match error {
        Error::NotDone(NotDone::OutsideLimits(limit)) => format!("ERR {limit}"),
        // The words of Redis.
        Error::NotANumber => "ERR value is not an integer or out of range".to_owned(),
        Error::Overflow => "ERR increment or decrement would overflow".to_owned(),
        Error::NotDone(_)
        | Error::NotTransferred { .. }
        | Error::NotPermitted
        | Error::MismatchedRead => {
            format!("TRYAGAIN {error}")
        }
        Error::Unknown(_) | Error::Mismatch => format!("UNKNOWN {error}"),
        // The error code of Redis for a full database, which its clients know.
        Error::QuotaExceeded => format!("OOM {error}"),
    })
}
