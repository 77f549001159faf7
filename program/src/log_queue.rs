//! A bounded queue of log lines, and the thread that writes them.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// The maximum size of the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// The queue. Every `write` is one line, as `tracing-subscriber` formats it.
#[derive(Clone, Debug)]
pub(crate) struct LogQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: Capacity,
    state: Mutex<State>,
    /// Signals a new line, or that the queue is closed.
    pushed: Condvar,
    /// Signals that the writer thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: usize,
    is_closed: bool,
    has_ended: bool,
}

impl LogQueue {
    /// Starts the writer thread.
    ///
    /// # Errors
    /// If the system cannot spawn a thread.
    pub(crate) fn start(
        capacity: Capacity,
        output: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            capacity,
            state: Mutex::default(),
            pushed: Condvar::new(),
            ended: Condvar::new(),
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.write_all(output))?;
        Ok(Self(shared))
    }

    /// The number of lines that did not fit into the queue.
    pub(crate) fn dropped_lines(&self) -> usize {
        self.0.lock().dropped
    }

    /// Drops all later lines, and waits until the queued lines are written, for at most `timeout`.
    /// Returns whether all of them were written.
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.pushed.notify_one();
        let waited = self
            .0
            .ended
            .wait_timeout_while(state, timeout, |state| !state.has_ended);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.has_ended
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let fits = state.lines.len() < self.capacity.lines
            && state.bytes + line.len() <= self.capacity.bytes;
        if fits && !state.is_closed {
            state.bytes += line.len();
            state.lines.push_back(line.to_vec());
            self.pushed.notify_one();
        } else {
            state.dropped += 1;
        }
    }

    /// The next line, or `None` once the queue is closed and empty.
    fn pop(&self) -> Option<Vec<u8>> {
        let waited = self.pushed.wait_while(self.lock(), |state| {
            state.lines.is_empty() && !state.is_closed
        });
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let line = state.lines.pop_front();
        match &line {
            Some(line) => state.bytes -= line.len(),
            None => {
                state.has_ended = true;
                self.ended.notify_all();
            }
        }
        line
    }

    fn write_all(&self, mut output: impl Write) {
        while let Some(line) = self.pop() {
            // A full disk or a closed pipe loses this line only.
            let _ = output.write_all(&line).and_then(|()| output.flush());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const LONG: Duration = Duration::from_secs(60);

    /// Writes each line, but only with permission of the test.
    struct Output {
        allowed: Receiver<io::Result<()>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Output {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            match self.allowed.recv() {
                Ok(result) => result?,
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            let _ = self.written.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(lines: usize, bytes: usize) -> (LogQueue, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
        let (allow, allowed) = channel();
        let (written, lines_written) = channel();
        let capacity = Capacity { lines, bytes };
        let queue = LogQueue::start(capacity, Output { allowed, written }).unwrap();
        (queue, allow, lines_written)
    }

    #[test]
    fn close_writes_what_waits_in_order() {
        let (mut queue, allow, written) = start(100, 1000);
        for line in [b"a\n", b"b\n", b"c\n"] {
            queue.write_all(line).unwrap();
            allow.send(Ok(())).unwrap();
        }
        assert!(queue.close(LONG));
        queue.write_all(b"late\n").unwrap();
        assert_eq!(queue.dropped_lines(), 1);
        let written: Vec<_> = written.iter().flatten().collect();
        assert_eq!(written, b"a\nb\nc\n");
    }

    #[test]
    fn stalled_output_drops_lines_and_delays_neither_writers_nor_the_end() {
        for (lines, bytes) in [(10, 1000), (1000, 20)] {
            let (mut queue, allow, written) = start(lines, bytes);
            for _ in 0..100 {
                queue.write_all(b"x\n").unwrap();
            }
            // The writer thread may hold one line in addition to the queue.
            let dropped = queue.dropped_lines();
            assert!((89..=90).contains(&dropped), "{dropped}");
            assert!(!queue.close(Duration::from_millis(10)));
            for _ in dropped..100 {
                allow.send(Ok(())).unwrap();
            }
            assert!(queue.close(LONG));
            assert_eq!(written.iter().count(), 100 - dropped);
        }
    }

    #[test]
    fn failed_write_loses_one_line() {
        let (mut queue, allow, written) = start(100, 1000);
        allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        allow.send(Ok(())).unwrap();
        queue.write_all(b"lost\n").unwrap();
        queue.write_all(b"written\n").unwrap();
        assert!(queue.close(LONG));
        assert_eq!(written.iter().collect::<Vec<_>>(), [b"written\n"]);
    }
}
