//! The threads of a server: the event loop, the driver and its helpers between socket, timers and disk.

pub(crate) mod busy_poll;
pub(crate) mod driver;
pub(crate) mod event_loop;
pub(crate) mod fault_switch;
pub(crate) mod handover;
pub(crate) mod local;
pub(crate) mod poller;
pub(crate) mod process_probe;
pub(crate) mod snapshot_policy;
pub(crate) mod timers;
