//! Endpoints that exchange messages over loopback: delivery, rejection, and the counters of each
//! cause.

mod delivery;
#[path = "../pair/mod.rs"]
mod pair;
mod trust;
