//! Carries out one command and says what to reply.

use super::{Redis, command::Command};
use crate::desk::Failure;
use bytes::Bytes;
use futures_util::future::join_all;
use model::store::{Answer, Condition, Page, Versioned};
use redis_protocol::resp2::types::BytesFrame as Reply;
use std::{
    fmt::Write as _,
    sync::{PoisonError, atomic::Ordering::Relaxed},
};

/// A reply that is an error.
pub(crate) fn error(text: impl Into<String>) -> Reply {
    Reply::Error(text.into().into())
}

pub(crate) fn fine() -> Reply {
    Reply::SimpleString(Bytes::from_static(b"OK"))
}

impl Redis {
    /// Carries out a command. What belongs to the connection (AUTH, QUIT) is not done here.
    pub(crate) async fn execute(&self, command: Command) -> Reply {
        match command {
            Command::Get { key } => match self.desk.get(key.to_vec()).await {
                Ok(found) => value(found),
                Err(failure) => failed(&failure),
            },
            Command::Set {
                key,
                value,
                condition,
            } => match self
                .desk
                .put(key.to_vec(), value[..].into(), condition)
                .await
            {
                Ok(Answer::ConditionFailed { .. }) => Reply::Null,
                Ok(_) => fine(),
                Err(failure) => failed(&failure),
            },
            Command::Increment { key, by } => match self.desk.increment(key.to_vec(), by).await {
                Ok(Answer::Number { value, .. }) => Reply::Integer(value),
                Ok(_) => error("ERR value is not an integer or out of range"),
                Err(failure) => failed(&failure),
            },
            Command::Delete { keys } => self.delete(keys).await,
            Command::Exists { keys } => self.exists(keys).await,
            Command::GetMany { keys } => self.get_many(keys).await,
            Command::Scan {
                cursor,
                prefix,
                exact,
                count,
            } => self.scan(cursor, prefix, exact, count).await,
            Command::Ping(None) => Reply::SimpleString(Bytes::from_static(b"PONG")),
            Command::Ping(Some(text)) | Command::Echo(text) => Reply::BulkString(text),
            Command::Info => Reply::BulkString(self.info().into()),
            Command::Setting { name, value } => Reply::Array(vec![
                Reply::BulkString(Bytes::from_static(name.as_bytes())),
                Reply::BulkString(Bytes::from_static(value.as_bytes())),
            ]),
            Command::Nothing => Reply::Array(Vec::new()),
            Command::Nil => Reply::Null,
            Command::Fine | Command::Auth(_) | Command::Quit => fine(),
        }
    }

    async fn delete(&self, keys: Vec<Bytes>) -> Reply {
        let deletions = keys
            .into_iter()
            .map(|key| self.desk.delete(key.to_vec(), Condition::Present));
        let (mut removed, mut done, mut failure) = (0, false, None);
        for result in join_all(deletions).await {
            match result {
                Ok(Answer::Written { .. }) => (removed, done) = (removed + 1, true),
                Ok(_) => {}
                // The worst that can be said is what is said.
                Err(Failure::Unknown) => failure = Some(Failure::Unknown),
                Err(other) => failure = failure.or(Some(other)),
            }
        }
        match failure {
            None => Reply::Integer(removed),
            Some(Failure::NotDone(reason)) if done => error(format!(
                "UNKNOWN outcome unknown: {removed} of the keys were removed, for others {reason}"
            )),
            Some(failure) => failed(&failure),
        }
    }

    async fn exists(&self, keys: Vec<Bytes>) -> Reply {
        let mut held = 0;
        for found in join_all(keys.into_iter().map(|key| self.desk.get(key.to_vec()))).await {
            match found {
                Ok(found) => held += i64::from(found.is_some()),
                Err(failure) => return failed(&failure),
            }
        }
        Reply::Integer(held)
    }

    async fn get_many(&self, keys: Vec<Bytes>) -> Reply {
        let mut values = Vec::with_capacity(keys.len());
        for found in join_all(keys.into_iter().map(|key| self.desk.get(key.to_vec()))).await {
            match found {
                Ok(found) => values.push(value(found)),
                Err(failure) => return failed(&failure),
            }
        }
        Reply::Array(values)
    }

    async fn scan(&self, cursor: u64, prefix: Vec<u8>, exact: bool, count: u32) -> Reply {
        let after = match cursor {
            0 => None,
            _ => {
                let place = self
                    .cursors
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .find(cursor);
                let Some(place) = place else {
                    return error("ERR the cursor is not known any more: start again from 0");
                };
                Some(place)
            }
        };
        let count = count.min(self.desk.limits().listing);
        if exact {
            return match self.desk.get(prefix.clone()).await {
                Ok(found) => page(0, found.map(|_| prefix)),
                Err(failure) => failed(&failure),
            };
        }
        match self.desk.scan(prefix, after, count).await {
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
            Err(failure) => failed(&failure),
        }
    }

    fn info(&self) -> String {
        let mut text = String::new();
        let gauges = &self.gauges;
        let leader = gauges
            .leader()
            .map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let _ = write!(
            text,
            "# Server\r\nserver_name:stateraft\r\nstateraft_version:{}\r\nredis_mode:standalone\r\n\
             uptime_in_seconds:{}\r\n\r\n# Clients\r\nconnected_clients:{}\r\n\r\n\
             # Cluster\r\nleader:{leader}\r\nrequests_in_flight:{}\r\n",
            env!("CARGO_PKG_VERSION"),
            gauges.uptime().as_secs(),
            self.desk.metrics().redis_connections.get(),
            gauges.in_flight.load(Relaxed),
        );
        text
    }
}

fn page(cursor: u64, keys: impl IntoIterator<Item = Vec<u8>>) -> Reply {
    let keys = keys.into_iter().map(|key| Reply::BulkString(key.into()));
    Reply::Array(vec![
        Reply::BulkString(cursor.to_string().into()),
        Reply::Array(keys.collect()),
    ])
}

fn value(found: Option<Versioned>) -> Reply {
    found.map_or(Reply::Null, |found| {
        Reply::BulkString(Bytes::from_owner(found.value))
    })
}

fn failed(failure: &Failure) -> Reply {
    match failure {
        Failure::NotDone(_) => error(format!("TRYAGAIN {failure}")),
        Failure::Unknown => error(
            "UNKNOWN outcome unknown: the write may have been carried out, or may yet be, at most \
             once; read the key to find out",
        ),
        // The word of Redis for a state that is full, which its clients know.
        Failure::QuotaExceeded => error(format!("OOM {failure}")),
        Failure::OutsideLimits(outside) => error(format!("ERR {outside}")),
    }
}
