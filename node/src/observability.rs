//! The state of a server for operators: events, metrics, traces, the log excerpt, and HTTP.

pub(crate) mod events;
pub(crate) mod http;
pub(crate) mod log_excerpt;
pub(crate) mod metrics;
pub(crate) mod status_query;
pub(crate) mod trace;
