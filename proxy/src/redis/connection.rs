//! One connection: what arrives is cut into waves, and the commands of a wave run together.
//!
//! A wave ends before a command that touches a key another command of the wave touches, unless
//! both only read it. Within a connection every key so sees its commands in order, and replies
//! are in order always. Commands on different keys that were sent without waiting for an answer
//! may take effect in any order, as they would in a Redis cluster whose keys live apart; a client
//! that cares waits for the answer.
//!
//! Input is bounded by the largest command, output by what one wave replies: nothing is read
//! while replies wait to be taken.

use super::{
    Redis,
    command::{Command, Touches},
    execute::{error, fine},
    parse::parse,
};
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use redis_protocol::resp2::{encode::extend_encode, types::BytesFrame as Reply};
use std::{collections::HashMap, io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Keys touched by one wave, at most, unless one command alone touches more.
const MAX_WAVE: usize = 256;
/// A client that takes no replies for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const READ_AT_ONCE: usize = 16 * 1024;
/// The largest command of a client that has not shown yet that it may be here.
const STRANGER_LIMIT: usize = 4096;

/// What a command of a wave replies.
enum Step {
    /// Known already.
    Reply(Reply),
    /// To be carried out.
    Run(Command),
}

/// What a connection knows.
struct Connection<'a> {
    redis: &'a Redis,
    input: BytesMut,
    /// The largest command.
    limit: usize,
    authenticated: bool,
    /// The command that ended the last wave and begins the next.
    held: Option<Command>,
    quit: bool,
}

/// Serves a connection until either side has had enough.
///
/// # Errors
/// If the connection breaks, which is nobody's fault.
pub(crate) async fn serve(redis: &Redis, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let limits = redis.desk.limits();
    let mut connection = Connection {
        redis,
        input: BytesMut::new(),
        limit: (1 << 20).max(limits.value.saturating_mul(2) + limits.key),
        authenticated: redis.password.is_none(),
        held: None,
        quit: false,
    };
    let closing = redis.desk.closing();
    let mut output = BytesMut::new();
    loop {
        loop {
            let wave = connection.next_wave();
            if wave.is_empty() {
                break;
            }
            for reply in connection.run(wave).await {
                if let Err(problem) = extend_encode(&mut output, &reply, false) {
                    return Err(io::Error::other(problem));
                }
            }
            tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(&output)).await??;
            output.clear();
        }
        if connection.quit || closing.is_cancelled() {
            return stream.shutdown().await;
        }
        connection.input.reserve(READ_AT_ONCE);
        tokio::select! {
            read = stream.read_buf(&mut connection.input) => if read? == 0 {
                return Ok(());
            },
            () = closing.cancelled() => {}
        }
    }
}

impl Connection<'_> {
    /// What can run together of what has arrived; empty if more must arrive first.
    fn next_wave(&mut self) -> Vec<Step> {
        let mut wave = Vec::new();
        let mut touched = Touched::default();
        while !self.quit {
            let step = match self.held.take() {
                Some(command) => Step::Run(command),
                None => match self.next_step() {
                    Some(step) => step,
                    None => break,
                },
            };
            if let Step::Run(command) = step {
                if !touched.admit(&command) {
                    self.held = Some(command);
                    break;
                }
                wave.push(Step::Run(command));
            } else {
                wave.push(step);
            }
            if wave.len() >= MAX_WAVE {
                break;
            }
        }
        wave
    }

    /// The next command that has arrived, after what it means to the connection.
    fn next_step(&mut self) -> Option<Step> {
        let arguments = loop {
            let limit = match self.authenticated {
                true => self.limit,
                false => STRANGER_LIMIT,
            };
            match parse(&mut self.input, limit) {
                Ok(Some(arguments)) if arguments.is_empty() => {}
                Ok(Some(arguments)) => break arguments,
                Ok(None) => return None,
                Err(problem) => {
                    self.quit = true;
                    self.redis.desk.metrics().redis_protocol_errors.inc();
                    return Some(Step::Reply(error(format!("ERR {problem}"))));
                }
            }
        };
        let command = Command::new(&arguments);
        Some(match command {
            Ok(Command::Auth(password)) => Step::Reply(self.authenticate(&password)),
            Ok(Command::Quit) => {
                self.quit = true;
                Step::Reply(fine())
            }
            _ if !self.authenticated => Step::Reply(error(
                "NOAUTH Authentication required: send AUTH and the password",
            )),
            Ok(command) => Step::Run(command),
            Err(refusal) => Step::Reply(error(refusal)),
        })
    }

    fn authenticate(&mut self, offered: &[u8]) -> Reply {
        match &self.redis.password {
            None => error("ERR there is no password to give"),
            Some(password) if password.is(offered) => {
                self.authenticated = true;
                fine()
            }
            Some(_) => error("WRONGPASS the password is not that"),
        }
    }

    async fn run(&self, wave: Vec<Step>) -> Vec<Reply> {
        let steps = wave.into_iter().map(|step| async {
            match step {
                Step::Reply(reply) => reply,
                Step::Run(command) => self.redis.execute(command).await,
            }
        });
        join_all(steps).await
    }
}

/// The keys of a wave.
#[derive(Default)]
struct Touched {
    /// Whether a key is written.
    keys: HashMap<Bytes, bool>,
    reads_all: bool,
    any_write: bool,
}

impl Touched {
    /// Adds a command, unless its place in the order could be told.
    fn admit(&mut self, command: &Command) -> bool {
        let (keys, writes) = match command.touches() {
            Touches::None => return true,
            Touches::ReadsAll if self.any_write => return false,
            Touches::ReadsAll => {
                self.reads_all = true;
                return true;
            }
            Touches::Writes(_) if self.reads_all => return false,
            Touches::Reads(keys) => (keys, false),
            Touches::Writes(keys) => (keys, true),
        };
        if !self.keys.is_empty() && self.keys.len() + keys.len() > MAX_WAVE {
            return false;
        }
        let clash = |key| self.keys.get(key).is_some_and(|written| *written || writes);
        if keys.iter().any(clash) {
            return false;
        }
        self.any_write |= writes;
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

    fn get(key: &'static str) -> Command {
        Command::Get { key: key.into() }
    }

    fn set(key: &'static str) -> Command {
        Command::Set {
            key: key.into(),
            value: Bytes::new(),
            condition: Condition::Always,
        }
    }

    fn scan() -> Command {
        Command::Scan {
            cursor: 0,
            prefix: vec![],
            exact: false,
            count: 10,
        }
    }

    /// How many of these commands make up the first wave.
    fn first_wave(commands: &[Command]) -> usize {
        let mut touched = Touched::default();
        let admitted = commands.iter().take_while(|command| touched.admit(command));
        admitted.count()
    }

    #[test]
    fn wave_ends_before_a_command_whose_place_could_be_told() {
        assert_eq!(first_wave(&[get("a"), get("a"), get("b"), set("c")]), 4);
        assert_eq!(first_wave(&[set("a"), set("a")]), 1);
        assert_eq!(first_wave(&[set("a"), get("a")]), 1);
        assert_eq!(first_wave(&[get("a"), set("b"), set("a")]), 2);
        assert_eq!(first_wave(&[get("a"), scan(), Command::Info, set("b")]), 3);
        assert_eq!(first_wave(&[set("a"), scan()]), 1);
        let keys = vec!["b".into(), "a".into()];
        assert_eq!(first_wave(&[set("a"), Command::GetMany { keys }]), 1);
    }

    #[test]
    fn wave_is_bounded_but_never_empty() {
        let keys = (0..2 * MAX_WAVE).map(|n| Bytes::from(n.to_string()));
        let many = Command::GetMany {
            keys: keys.collect(),
        };
        assert_eq!(first_wave(&[many.clone(), many]), 1);
    }
}
