//! Asking a cluster: sessions, operations, outcomes.
//!
//! What a client says and when, and what may be concluded from what it hears, is decided in
//! [`model::client`]. Here are the things around it: many sessions at once ([`pool`]), their
//! timers ([`timers`]).

pub mod pool;
mod timers;
