//! Fuzzes `Raft::step`: arbitrary events from arbitrary peers. It checks the invariants after every
//! step, and that a second run of each step has the same outcome. `fuzz/run` builds and starts it.

#![no_main]

#[path = "../model/tests/victim/mod.rs"]
mod victim;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    victim::run(bytes);
});
