//! One connection: its input is divided into waves, and the commands of a wave run concurrently.
//!
//! A wave ends before a command that touches a key of another command in the wave, unless both only
//! read the key. So commands on the same key take effect in order, and replies are always in order.
//! Pipelined commands on different keys may take effect in any order, as in a Redis cluster with keys
//! on different nodes. A client that depends on the order must wait for the reply.
//!
//! # Bounds
//! Input is bounded by the largest command, output by the values of 16 keys: the connection reads
//! nothing while replies wait for the client, and sends an `MGET` of more keys in pieces. A client has
//! `client_timeout` for its first command, for the rest of a command that has begun, and to receive
//! each [`FLUSH`] bytes of replies. Between commands it has `idle_timeout`, or less if all connections
//! are in use (`eviction`). An evicted unverified connection gets no time to receive replies.
//!
//! Without authentication, a client gets at most [`UNAUTHENTICATED_REPLIES`] replies and has
//! [`UNAUTHENTICATED_FLUSH`] to receive them. Between two waves other connections get their turn.
//!
//! # Transactions
//! `MULTI` is rejected. Clients send the commands of a transaction without waiting for the reply to
//! `MULTI`. So until `EXEC` or `DISCARD` every command is rejected as well, and the reply to `EXEC` is
//! `EXECABORT`. A transaction must be executed completely or, as here, not at all.

use super::{
    Redis,
    command::{ConnectionCommand, RedisCommand, Touches, client_name, shown},
    eviction::Tracked,
    execute::{READS_AT_ONCE, failed, value_of},
    parse::{Bounds, Parsed, Parser},
    reply::{Protocol, Reply, array_header},
};
use bytes::{Bytes, BytesMut};
use client::KeyValue as _;
use futures_util::future::join_all;
use model::store::parse_integer;
use socket2::{SockRef, TcpKeepalive};
use std::{collections::HashMap, io, mem, sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::{Instant, timeout, timeout_at},
};

/// The maximum weight of a wave, unless a single command weighs more. The reads of a wave occupy at
/// most 4 MiB: 16 values of 256 KiB each, or 4 pages of 1 MiB.
const MAX_WAVE: usize = 64;
const WRITE_WEIGHT: usize = 1;
const READ_WEIGHT: usize = 4;
const SCAN_WEIGHT: usize = 16;
const READ_AT_ONCE: usize = 16 * 1024;
/// The maximum length of a command in bytes before authentication.
const UNAUTHENTICATED_LIMIT: usize = 4096;
/// The maximum number of replies before authentication.
const UNAUTHENTICATED_REPLIES: usize = 1000;
/// The timeout for a client to receive replies before authentication. They fit into the buffers of a
/// socket, unless the client does not read.
const UNAUTHENTICATED_FLUSH: Duration = Duration::from_secs(1);
/// The number of reply bytes that are buffered before a send.
const FLUSH: usize = 256 * 1024;
/// The size in bytes beyond which the reply to an `MGET` is sent in pieces. If a shorter `MGET` fails,
/// the reply is an error. If a longer `MGET` fails, the connection is closed.
const STREAMED: usize = 1 << 20;
/// The interval of keepalive probes, which detect a client whose machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

const TOO_MANY_CLIENTS: &str = "ERR max number of clients reached";
const NOT_AUTHENTICATED: &str = "NOAUTH Authentication required: send AUTH and the password";
const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const MULTI_REFUSED: &str = "ERR MULTI is not served: commands are refused, not executed, until \
                             EXEC or DISCARD";
const IN_REFUSED_MULTI: &str = "ERR not executed: MULTI was refused; send EXEC or DISCARD to end \
                                the transaction";
const EXEC_ABORT: &str = "EXECABORT Transaction discarded because of previous errors.";

/// A command of a wave, and the protocol version of its reply.
#[derive(Debug)]
struct PendingReply {
    protocol: Protocol,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// The reply is known already.
    Reply(Reply),
    /// The command must be executed.
    Run(RedisCommand),
}

/// The state of a connection.
struct Connection<'a> {
    redis: &'a Redis,
    id: i64,
    parser: Parser,
    input: BytesMut,
    /// The maximum length of a command in bytes.
    limit: usize,
    authenticated: bool,
    /// The number of replies since the connection began or was last authenticated.
    unauthenticated_replies: usize,
    /// Whether a command was accepted, so that the client counts as known.
    known: bool,
    protocol: Protocol,
    name: Bytes,
    /// Whether a rejected `MULTI` is still open.
    in_refused_multi: bool,
    /// The command that ended the last wave and begins the next wave.
    held: Option<PendingReply>,
    quit: bool,
}

/// Serves a connection until it ends.
///
/// # Errors
/// If the connection breaks or the client is too slow.
pub(crate) async fn serve(
    redis: &Redis,
    mut stream: TcpStream,
    mut tracked: Tracked,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let limits = redis.kv_service.limits();
    let mut connection = Connection {
        redis,
        id: redis.next_client.fetch_add(1, Relaxed),
        parser: Parser::default(),
        input: BytesMut::new(),
        limit: (1 << 20).max(limits.value.saturating_mul(2) + limits.key),
        authenticated: redis.password.is_none(),
        unauthenticated_replies: 0,
        known: false,
        protocol: Protocol::default(),
        name: Bytes::new(),
        in_refused_multi: false,
        held: None,
        quit: false,
    };
    let closing = redis.kv_service.closing();
    let mut output = BytesMut::new();
    // Whether the input buffer has grown beyond one read.
    let mut has_large_input = false;
    // The deadline for the command that has begun.
    let mut deadline = Instant::now() + redis.client_timeout;
    loop {
        loop {
            let wave = connection.next_wave();
            if wave.is_empty() {
                break;
            }
            if connection.known {
                tracked.set_busy();
            }
            let patience = connection.patience();
            let serving = async {
                connection.run(wave, &mut output, &mut stream).await?;
                flush(patience, &mut output, &mut stream).await
            };
            // The commands of an unverified connection are rejected, so an eviction here loses nothing.
            unless_evicted(&tracked, serving).await?;
            // While commands and replies arrive and leave without delay, nothing else would give
            // other connections a turn.
            if !connection.known || connection.has_input() {
                yield_now().await;
            }
            deadline = Instant::now() + redis.client_timeout;
        }
        if connection.quit || closing.is_cancelled() {
            return stream.shutdown().await;
        }
        let is_idle =
            connection.known && connection.input.is_empty() && !connection.parser.has_begun();
        let until = match (is_idle, redis.idle_timeout) {
            (true, None) => None,
            (true, Some(idle)) => Some(Instant::now() + idle),
            (false, _) => Some(deadline),
        };
        if is_idle {
            tracked.set_idle();
            // A connection may be idle for a long time, so it keeps no large buffer.
            if mem::take(&mut has_large_input) {
                connection.input = BytesMut::new();
            }
            if output.capacity() > READ_AT_ONCE {
                output = BytesMut::new();
            }
        }
        connection.input.reserve(READ_AT_ONCE);
        let read = tokio::select! {
            // Check the eviction first, so that a client that keeps sending cannot keep an evicted
            // connection.
            biased;
            () = tracked.evicted.cancelled() => {
                // A known client is closed without a reply, like an idle connection.
                if tracked.is_unverified() {
                    let text = match redis.password {
                        Some(_) => "ERR max number of unauthenticated clients reached",
                        None => TOO_MANY_CLIENTS,
                    };
                    Reply::error(text).encode(connection.protocol, &mut output);
                    let sending = flush(connection.patience(), &mut output, &mut stream);
                    unless_evicted(&tracked, sending).await?;
                }
                return stream.shutdown().await;
            }
            () = closing.cancelled() => continue,
            read = within(until, stream.read_buf(&mut connection.input)) => read,
        };
        match read {
            Some(read) => {
                if read? == 0 {
                    return Ok(());
                }
                has_large_input |= connection.input.len() > READ_AT_ONCE;
                if is_idle {
                    tracked.set_busy();
                    deadline = Instant::now() + redis.client_timeout;
                }
            }
            // An idle connection is closed without an error message, as in Redis.
            None if is_idle => return stream.shutdown().await,
            None => {
                let text = "ERR timeout: the command did not arrive in time (--client-timeout)";
                Reply::error(text).encode(connection.protocol, &mut output);
                let sending = flush(connection.patience(), &mut output, &mut stream);
                unless_evicted(&tracked, sending).await?;
                return stream.shutdown().await;
            }
        }
    }
}

/// Sends to a client. For an evicted unverified connection, gives up immediately if the socket buffer
/// is full.
///
/// # Errors
/// If sending fails or is given up.
async fn unless_evicted(
    tracked: &Tracked,
    sending: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::select! {
        // Polls the send first: a client that has received all earlier replies also gets these, even
        // after an eviction.
        biased;
        sent = sending => sent,
        () = tracked.evicted.cancelled(), if tracked.is_unverified() => {
            Err(io::Error::other("evicted while it took no replies"))
        }
    }
}

/// Rejects a connection if all connections are in use.
pub(crate) async fn refuse(mut stream: TcpStream) {
    let mut text = BytesMut::new();
    Reply::error(TOO_MANY_CLIENTS).encode(Protocol::default(), &mut text);
    let said = stream.write_all(&text).await;
    if said.is_ok() && stream.shutdown().await.is_ok() {
        // Closing a socket with unread input would reset the connection, and the error message would
        // be lost.
        let mut unread = [0; 1024];
        while matches!(stream.read(&mut unread).await, Ok(1..)) {}
    }
}

/// The result of a future, or `None` at the deadline, if there is one.
async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

/// Sends the buffered replies. The client has this much time for each [`FLUSH`] bytes.
async fn flush(
    patience: Duration,
    output: &mut BytesMut,
    stream: &mut TcpStream,
) -> io::Result<()> {
    for part in output.chunks(FLUSH) {
        timeout(patience, stream.write_all(part)).await??;
    }
    output.clear();
    if output.capacity() > 2 * FLUSH {
        *output = BytesMut::new();
    }
    Ok(())
}

impl Connection<'_> {
    /// The timeout for the client to receive [`FLUSH`] bytes of replies.
    fn patience(&self) -> Duration {
        let patience = self.redis.client_timeout;
        if self.authenticated {
            patience
        } else {
            patience.min(UNAUTHENTICATED_FLUSH)
        }
    }

    /// Whether received commands may remain.
    fn has_input(&self) -> bool {
        self.held.is_some() || !self.input.is_empty()
    }

    /// The next wave of received commands; empty if more input is needed.
    fn next_wave(&mut self) -> Vec<PendingReply> {
        let mut wave = Vec::new();
        let mut touched = Touched::default();
        while !self.quit {
            let Some(step) = self.held.take().or_else(|| self.next_step()) else {
                break;
            };
            if let Work::Run(command) = &step.work
                && !touched.admit(command, wave.is_empty())
            {
                self.held = Some(step);
                break;
            }
            wave.push(step);
            if wave.len() >= MAX_WAVE || touched.full {
                break;
            }
        }
        wave
    }

    /// The next received command, after its effect on the connection.
    fn next_step(&mut self) -> Option<PendingReply> {
        if self.authenticated {
            self.unauthenticated_replies = 0;
        } else if self.unauthenticated_replies >= UNAUTHENTICATED_REPLIES {
            self.quit = true;
            let text = format!("ERR {UNAUTHENTICATED_REPLIES} commands without authentication");
            return Some(self.reply(Reply::error(text)));
        }
        let arguments = loop {
            let bounds = if self.authenticated {
                Bounds {
                    bytes: self.limit,
                    strict: false,
                }
            } else {
                Bounds {
                    bytes: UNAUTHENTICATED_LIMIT,
                    strict: true,
                }
            };
            match self.parser.parse(&mut self.input, bounds) {
                Ok(Some(Parsed::Command(arguments))) if arguments.is_empty() => {}
                Ok(Some(Parsed::Command(arguments))) => break arguments,
                Ok(Some(Parsed::Refused(reason))) => {
                    return Some(self.reply(Reply::error(format!("ERR {reason}"))));
                }
                Ok(None) => return None,
                Err(problem) => {
                    self.quit = true;
                    self.redis.kv_service.metrics().redis_protocol_errors.inc();
                    return Some(self.reply(Reply::error(format!("ERR {problem}"))));
                }
            }
        };
        self.unauthenticated_replies += 1;
        let work = match RedisCommand::new(&arguments) {
            Ok(RedisCommand::Connection(command)) => Work::Reply(self.connection_command(command)),
            _ if !self.authenticated => Work::Reply(Reply::error(NOT_AUTHENTICATED)),
            _ if self.in_refused_multi => Work::Reply(Reply::error(IN_REFUSED_MULTI)),
            Ok(RedisCommand::Known(reply)) => {
                self.known = true;
                Work::Reply(reply)
            }
            Ok(command) => {
                self.known = true;
                Work::Run(command)
            }
            Err(refusal) => Work::Reply(Reply::error(refusal)),
        };
        // Read the protocol after the command, because the reply to HELLO uses the protocol that it
        // selects.
        let protocol = self.protocol;
        Some(PendingReply { protocol, work })
    }

    fn reply(&self, reply: Reply) -> PendingReply {
        PendingReply {
            protocol: self.protocol,
            work: Work::Reply(reply),
        }
    }

    fn connection_command(&mut self, command: ConnectionCommand) -> Reply {
        match command {
            ConnectionCommand::Quit => {
                self.quit = true;
                return Reply::ok();
            }
            ConnectionCommand::Reset => {
                self.authenticated = self.redis.password.is_none();
                self.protocol = Protocol::default();
                self.name = Bytes::new();
                self.in_refused_multi = false;
                return Reply::Simple("RESET");
            }
            ConnectionCommand::Exec if self.in_refused_multi => {
                self.in_refused_multi = false;
                return Reply::error(EXEC_ABORT);
            }
            ConnectionCommand::Discard if self.in_refused_multi => {
                self.in_refused_multi = false;
                return Reply::ok();
            }
            _ if self.in_refused_multi => return Reply::error(IN_REFUSED_MULTI),
            ConnectionCommand::Auth { user, password } => {
                return match self.authenticate(user.as_deref(), &password) {
                    Ok(()) => Reply::ok(),
                    Err(refusal) => Reply::error(refusal),
                };
            }
            ConnectionCommand::Hello(rest) => {
                return self.hello(&rest).unwrap_or_else(Reply::Error);
            }
            _ if !self.authenticated => return Reply::error(NOT_AUTHENTICATED),
            _ => {}
        }
        self.known = true;
        match command {
            ConnectionCommand::Multi => {
                self.in_refused_multi = true;
                Reply::error(MULTI_REFUSED)
            }
            ConnectionCommand::Exec => Reply::error("ERR EXEC without MULTI"),
            ConnectionCommand::Discard => Reply::error("ERR DISCARD without MULTI"),
            ConnectionCommand::Watch => Reply::error("ERR WATCH is not served, as MULTI is not"),
            ConnectionCommand::ClientId => Reply::Integer(self.id),
            ConnectionCommand::ClientGetName if self.name.is_empty() => Reply::Null,
            ConnectionCommand::ClientGetName => Reply::Bulk(self.name.clone()),
            ConnectionCommand::ClientSetName(name) => {
                self.name = name;
                Reply::ok()
            }
            ConnectionCommand::ClientInfo => {
                let (id, resp) = (self.id, self.protocol.number());
                let name = String::from_utf8_lossy(&self.name);
                Reply::Verbatim(format!(
                    "id={id} name={name} db=0 user=default resp={resp}\n"
                ))
            }
            other => unreachable!("answered above: {other:?}"),
        }
    }

    fn authenticate(&mut self, user: Option<&[u8]>, offered: &[u8]) -> Result<(), String> {
        let is_default = user.is_none_or(|user| user == b"default");
        match &self.redis.password {
            None if user.is_none() => {
                return Err(
                    "ERR AUTH <password> called without any password configured for the default \
                     user. Are you sure your configuration is correct?"
                        .into(),
                );
            }
            // As in Redis, a user without a password accepts any password.
            None if is_default => {}
            Some(password) if is_default && password.is(offered) => {}
            _ => return Err(WRONG_PASSWORD.into()),
        }
        self.authenticated = true;
        self.known = true;
        Ok(())
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`. Changes nothing if it fails.
    fn hello(&mut self, rest: &[Bytes]) -> Result<Reply, String> {
        let (protocol, mut options) = match rest.split_first() {
            None => (self.protocol, rest),
            Some((version, options)) => match parse_integer(version) {
                Some(2) => (Protocol::Resp2, options),
                Some(3) => (Protocol::Resp3, options),
                Some(_) => return Err("NOPROTO unsupported protocol version".into()),
                None => {
                    return Err("ERR Protocol version is not an integer or out of range".into());
                }
            },
        };
        let (mut credentials, mut name) = (None, None);
        while let Some((option, after)) = options.split_first() {
            options = match (&option.to_ascii_uppercase()[..], after) {
                (b"AUTH", [user, password, after @ ..]) => {
                    credentials = Some((user, password));
                    after
                }
                (b"SETNAME", [wanted, after @ ..]) => {
                    name = Some(client_name(wanted)?);
                    after
                }
                _ => {
                    let option = shown(option);
                    return Err(format!("ERR Syntax error in HELLO option '{option}'"));
                }
            };
        }
        if let Some((user, password)) = credentials {
            self.authenticate(Some(user), password)?;
        }
        if !self.authenticated {
            return Err(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client \
                 and select the RESP protocol version at the same time"
                    .into(),
            );
        }
        self.known = true;
        self.protocol = protocol;
        self.name = name.unwrap_or_else(|| std::mem::take(&mut self.name));
        let field = |name: &str, value| (Reply::text(name), value);
        Ok(Reply::Map(vec![
            // Clients look for this name; server_name in INFO has the actual name.
            field("server", Reply::text("redis")),
            field("version", Reply::text(super::REDIS_VERSION)),
            field("proto", Reply::Integer(protocol.number())),
            field("id", Reply::Integer(self.id)),
            field("mode", Reply::text("standalone")),
            field("role", Reply::text("master")),
            field("modules", Reply::Array(Vec::new())),
        ]))
    }

    /// Executes a wave and buffers its replies. Sends them when the buffer grows too large.
    async fn run(
        &self,
        mut wave: Vec<PendingReply>,
        output: &mut BytesMut,
        stream: &mut TcpStream,
    ) -> io::Result<()> {
        if let [
            PendingReply {
                protocol,
                work: Work::Run(RedisCommand::GetMany { keys }),
            },
        ] = &mut wave[..]
            && keys.len() * READ_WEIGHT > MAX_WAVE
        {
            let keys = std::mem::take(keys);
            return self.get_many(keys, *protocol, output, stream).await;
        }
        let steps = wave
            .into_iter()
            .map(async |PendingReply { protocol, work }| {
                let reply = match work {
                    Work::Reply(reply) => reply,
                    Work::Run(command) => self.redis.execute(command).await,
                };
                (protocol, reply)
            });
        for (protocol, reply) in join_all(steps).await {
            reply.encode(protocol, output);
            if output.len() >= FLUSH {
                flush(self.patience(), output, stream).await?;
            }
        }
        Ok(())
    }

    /// Executes an `MGET` of many keys in batches, so that only the values of one batch are in memory.
    async fn get_many(
        &self,
        keys: Vec<Bytes>,
        protocol: Protocol,
        output: &mut BytesMut,
        stream: &mut TcpStream,
    ) -> io::Result<()> {
        let start = output.len();
        let mut sent = false;
        array_header(keys.len(), output);
        for keys in keys.chunks(READS_AT_ONCE) {
            let reads = keys
                .iter()
                .map(|key| self.redis.kv_service.get(key.to_vec()));
            for found in join_all(reads).await {
                match found {
                    Ok(found) => value_of(found).encode(protocol, output),
                    Err(error) if sent => return Err(io::Error::other(error)),
                    Err(error) => {
                        output.truncate(start);
                        failed(error).encode(protocol, output);
                        return Ok(());
                    }
                }
            }
            if output.len() >= STREAMED || sent {
                flush(self.patience(), output, stream).await?;
                sent = true;
            }
        }
        Ok(())
    }
}

/// The keys of a wave.
#[derive(Default)]
struct Touched {
    /// Whether a key is written.
    keys: HashMap<Bytes, bool>,
    weight: usize,
    reads_all: bool,
    any_write: bool,
    /// Whether the wave consists of one heavy command.
    full: bool,
}

impl Touched {
    /// Adds a command, unless the reordering could be observed or the wave would become too heavy.
    fn admit(&mut self, command: &RedisCommand, is_first: bool) -> bool {
        let (keys, writes, weight) = match command.touches() {
            Touches::None => return true,
            Touches::ReadsAll if self.any_write => return false,
            Touches::ReadsAll => (&[][..], false, SCAN_WEIGHT),
            Touches::Writes(_) if self.reads_all => return false,
            Touches::Reads(keys) => (keys, false, keys.len() * READ_WEIGHT),
            Touches::Writes(keys) => (keys, true, keys.len() * WRITE_WEIGHT),
        };
        self.full = self.weight + weight > MAX_WAVE;
        if self.full && !is_first {
            return false;
        }
        let clash = |key| self.keys.get(key).is_some_and(|written| *written || writes);
        if keys.iter().any(clash) {
            return false;
        }
        self.weight += weight;
        self.any_write |= writes;
        self.reads_all |= keys.is_empty();
        for key in keys {
            self.keys.insert(key.clone(), writes);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::store::Condition;

    fn get(key: &'static str) -> RedisCommand {
        RedisCommand::Get { key: key.into() }
    }

    fn set(key: &'static str) -> RedisCommand {
        RedisCommand::Set {
            key: key.into(),
            value: Bytes::new(),
            condition: Condition::Always,
        }
    }

    fn scan() -> RedisCommand {
        RedisCommand::Scan {
            cursor: 0,
            prefix: vec![],
            exact: false,
            count: 10,
        }
    }

    /// The number of commands in the first wave.
    fn first_wave(commands: &[RedisCommand]) -> usize {
        let mut touched = Touched::default();
        let admitted = commands
            .iter()
            .enumerate()
            .take_while(|(index, command)| touched.admit(command, *index == 0));
        admitted.count()
    }

    #[test]
    fn wave_ends_before_a_command_whose_order_is_observable() {
        assert_eq!(first_wave(&[get("a"), get("a"), get("b"), set("c")]), 4);
        assert_eq!(first_wave(&[set("a"), set("a")]), 1);
        assert_eq!(first_wave(&[set("a"), get("a")]), 1);
        assert_eq!(first_wave(&[get("a"), set("b"), set("a")]), 2);
        let info = RedisCommand::Info(Vec::new());
        assert_eq!(first_wave(&[get("a"), scan(), info, set("b")]), 3);
        assert_eq!(first_wave(&[set("a"), scan()]), 1);
        let keys = vec!["b".into(), "a".into()];
        assert_eq!(first_wave(&[set("a"), RedisCommand::GetMany { keys }]), 1);
    }

    #[test]
    fn wave_is_bounded_but_never_empty() {
        let keys = (0..2 * MAX_WAVE).map(|n| Bytes::from(n.to_string()));
        let many = RedisCommand::GetMany {
            keys: keys.collect(),
        };
        assert_eq!(first_wave(&[many.clone(), get("a")]), 1);
        // After other commands, it needs a separate wave.
        assert_eq!(first_wave(&[get("a"), many]), 1);
        let scans: Vec<_> = (0..MAX_WAVE).map(|_| scan()).collect();
        assert_eq!(first_wave(&scans), MAX_WAVE / SCAN_WEIGHT);
    }
}
