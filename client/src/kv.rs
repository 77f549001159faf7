//! The operations of the key-value store, over any service that executes an [`Invocation`].

use crate::Error;
use model::{
    FoundStale, LogIndex,
    client::{Done, Invocation, Outcome},
    store::{
        Answer, Condition, Found, Key, MAX_SCAN_BYTES, Operation, Page, Query, Value, Versioned,
    },
};

/// The outcome of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The write took effect.
    Done {
        /// The new version.
        version: LogIndex,
    },
    /// The condition did not hold, and nothing changed.
    ConditionFailed {
        /// The actual version of the key, `None` if absent.
        found: Option<LogIndex>,
    },
}

/// A stale result: the state of one server after a prefix of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale<T> {
    /// The result.
    pub found: T,
    /// The last entry that the server had applied; 0 if none, for example directly after its start. Of
    /// two results, the one with the greater index is newer.
    pub applied_index: LogIndex,
}

/// The outcome of an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The new value of the key.
    pub value: i64,
    /// The new version.
    pub version: LogIndex,
}

/// A key-value store. Implementations execute invocations; the operations are the same for all.
pub trait KeyValue: Sync {
    /// Executes an operation and returns its outcome.
    fn execute(&self, invocation: Invocation) -> impl Future<Output = Outcome> + Send;

    /// Reads a key. The read is linearizable.
    ///
    /// # Errors
    /// See [`Error`]; the outcome of a read is never unknown.
    fn get(
        &self,
        key: impl Into<Key>,
    ) -> impl Future<Output = Result<Option<Versioned>, Error>> + Send {
        let query = Query::Get { key: key.into() };
        async { value(read(self, query).await?) }
    }

    /// Reads a key from any one server, even if no majority is reachable. The value may be stale, and
    /// older than the value of an earlier read. It is always a committed value.
    ///
    /// # Errors
    /// See [`Error`]; the outcome of a read is never unknown.
    fn get_stale(
        &self,
        key: impl Into<Key>,
    ) -> impl Future<Output = Result<Stale<Option<Versioned>>, Error>> + Send {
        let query = Query::Get { key: key.into() };
        async { read_stale(self, query, value).await }
    }

    /// Lists keys with a prefix in order: the keys after `after`, at most `limit` keys, and at most as
    /// many as fit into one response. The read is linearizable. [`Page::more`] reports whether more keys
    /// exist; the next page begins after the last key of this page.
    ///
    /// # Errors
    /// See [`Error`]; the outcome of a read is never unknown.
    fn scan(
        &self,
        prefix: impl Into<Key>,
        after: Option<Key>,
        limit: u32,
    ) -> impl Future<Output = Result<Page, Error>> + Send {
        let query = scan(prefix.into(), after, limit);
        async { page(read(self, query).await?) }
    }

    /// Lists keys with a prefix in order, from any one server: see [`Self::get_stale`].
    ///
    /// # Errors
    /// See [`Error`]; the outcome of a read is never unknown.
    fn scan_stale(
        &self,
        prefix: impl Into<Key>,
        after: Option<Key>,
        limit: u32,
    ) -> impl Future<Output = Result<Stale<Page>, Error>> + Send {
        let query = scan(prefix.into(), after, limit);
        async { read_stale(self, query, page).await }
    }

    /// Sets a key. Returns the new version.
    ///
    /// # Errors
    /// See [`Error`].
    fn put(
        &self,
        key: impl Into<Key>,
        value: impl Into<Value>,
    ) -> impl Future<Output = Result<LogIndex, Error>> + Send {
        let written = self.cas(key, value, Condition::Always);
        async {
            match written.await? {
                Written::Done { version } => Ok(version),
                Written::ConditionFailed { .. } => Err(Error::Mismatch),
            }
        }
    }

    /// Sets a key if a condition holds.
    ///
    /// # Errors
    /// See [`Error`]. A condition that does not hold is not an error.
    fn cas(
        &self,
        key: impl Into<Key>,
        value: impl Into<Value>,
        condition: Condition,
    ) -> impl Future<Output = Result<Written, Error>> + Send {
        let operation = Operation::Put {
            key: key.into(),
            value: value.into(),
            condition,
        };
        async { written(write(self, operation).await?) }
    }

    /// Deletes a key if a condition holds.
    ///
    /// # Errors
    /// See [`Error`]. A condition that does not hold is not an error.
    fn delete(
        &self,
        key: impl Into<Key>,
        condition: Condition,
    ) -> impl Future<Output = Result<Written, Error>> + Send {
        let key = key.into();
        async move { written(write(self, Operation::Delete { key, condition }).await?) }
    }

    /// Adds to the decimal number in a key; an absent key counts as 0.
    ///
    /// # Errors
    /// See [`Error`].
    fn increment(
        &self,
        key: impl Into<Key>,
        by: i64,
    ) -> impl Future<Output = Result<Number, Error>> + Send {
        let key = key.into();
        async move {
            match write(self, Operation::Increment { key, by }).await? {
                Answer::Number { value, version } => Ok(Number { value, version }),
                Answer::NotANumber => Err(Error::NotANumber),
                Answer::Overflow => Err(Error::Overflow),
                _ => Err(Error::Mismatch),
            }
        }
    }
}

/// A function that executes an invocation, such as `|invocation| node.execute(invocation)` for a
/// server in the same process.
impl<F, O> KeyValue for F
where
    F: Fn(Invocation) -> O + Sync,
    O: Future<Output = Outcome> + Send,
{
    async fn execute(&self, invocation: Invocation) -> Outcome {
        self(invocation).await
    }
}

fn scan(prefix: Key, after: Option<Key>, limit: u32) -> Query {
    Query::Scan {
        prefix,
        after,
        limit,
        bytes: MAX_SCAN_BYTES,
    }
}

async fn execute(kv: &(impl KeyValue + ?Sized), invocation: Invocation) -> Result<Done, Error> {
    match kv.execute(invocation).await {
        Outcome::Done(done) => Ok(done),
        Outcome::NotDone(reason) => Err(Error::NotDone(reason)),
        Outcome::Unknown(reason) => Err(Error::Unknown(reason)),
    }
}

async fn read(kv: &(impl KeyValue + ?Sized), query: Query) -> Result<Found, Error> {
    match execute(kv, Invocation::Read(query)).await? {
        Done::Found(found) => Ok(found),
        _ => Err(Error::MismatchedRead),
    }
}

async fn read_stale<T>(
    kv: &(impl KeyValue + ?Sized),
    query: Query,
    convert: fn(Found) -> Result<T, Error>,
) -> Result<Stale<T>, Error> {
    match execute(kv, Invocation::StaleRead(query)).await? {
        Done::FoundStale(FoundStale {
            found,
            applied_index,
        }) => Ok(Stale {
            found: convert(found)?,
            applied_index,
        }),
        _ => Err(Error::MismatchedRead),
    }
}

async fn write(kv: &(impl KeyValue + ?Sized), operation: Operation) -> Result<Answer, Error> {
    match execute(kv, Invocation::Write(operation)).await? {
        Done::Answered(Answer::QuotaExceeded) => Err(Error::QuotaExceeded),
        Done::Answered(answer) => Ok(answer),
        _ => Err(Error::Mismatch),
    }
}

fn value(found: Found) -> Result<Option<Versioned>, Error> {
    match found {
        Found::Value(value) => Ok(value),
        Found::Pairs(_) => Err(Error::MismatchedRead),
    }
}

fn page(found: Found) -> Result<Page, Error> {
    match found {
        Found::Pairs(page) => Ok(page),
        Found::Value(_) => Err(Error::MismatchedRead),
    }
}

fn written(answer: Answer) -> Result<Written, Error> {
    match answer {
        Answer::Written { version } => Ok(Written::Done { version }),
        Answer::ConditionFailed { found } => Ok(Written::ConditionFailed { found }),
        _ => Err(Error::Mismatch),
    }
}
