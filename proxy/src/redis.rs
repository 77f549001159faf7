//! The Redis door: RESP2 over TCP, for the clients and tools people already have.
//!
//! What is served is listed in `command`; everything else is answered with an error, as is
//! whatever cannot be read. Every command means what it means in Redis, with three differences
//! that a strongly consistent store makes: an operation may fail because the cluster is not
//! available (`-TRYAGAIN`, nothing was done), its outcome may be unknown (`-UNKNOWN`), and a
//! command with several keys is several operations, not one.
//!
//! # Order
//! The commands of one connection are answered in order. Those that arrived together may be
//! carried out at the same time, as long as no two of them touch the same key unless both only
//! read it; see `connection`.
//!
//! # What is left out
//! RESP3, inline commands (so that a web page cannot speak to this port by a form), transactions,
//! expiry, types other than strings, and databases other than 0.

pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod cursors;
pub(crate) mod execute;
pub(crate) mod parse;

use crate::{desk::Desk, driver::Gauges, secret::Secret};
use cursors::Cursors;
use std::sync::{Arc, Mutex};

/// What all connections of the door share.
pub struct Redis {
    /// Where operations go.
    pub desk: Desk,
    /// The password, if one is needed.
    pub password: Option<Secret>,
    /// What `INFO` tells.
    pub gauges: Arc<Gauges>,
    pub(crate) cursors: Mutex<Cursors>,
}

impl Redis {
    /// A door before this desk.
    pub fn new(desk: Desk, password: Option<Secret>, gauges: Arc<Gauges>) -> Self {
        let cursors = Mutex::default();
        Self {
            desk,
            password,
            gauges,
            cursors,
        }
    }
}
