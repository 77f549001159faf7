//! Code that all programs of the workspace share: command line, logging, stop signals, and output that
//! cannot panic.
//!
//! This crate does not know the protocol. It handles three situations in the same way for every
//! program, regardless of its start by a supervisor, in a container or by hand: an empty environment
//! variable, an output that cannot be written, and a closed terminal.

pub mod command_line;
mod log_queue;
pub mod logging;
pub mod output;
pub mod signals;
pub mod testing;
