//! The parts that all programs of the workspace share: command line, logging, stop signals, and
//! output that cannot panic.
//!
//! Nothing here knows the protocol. A program that is started by a supervisor, in a container or by
//! hand must behave the same way in three situations that each program would otherwise handle on its
//! own: an empty environment variable, an output that cannot be written, and a closed terminal.

pub mod command_line;
mod log_queue;
pub mod logging;
pub mod output;
pub mod signals;
