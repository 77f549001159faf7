//! For the tests of programs.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// The timeout of a program's start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a process handles a signal, by its number. Before that, the signal itself would end the
/// process. Linux only.
///
/// # Panics
/// If the process has exited, or installs no handler within a minute.
pub fn wait_for_handler(process: u32, signal: i32) {
    let status = format!("/proc/{process}/status");
    let deadline = Instant::now() + PATIENCE;
    let is_handled = || {
        let text = fs::read_to_string(&status).expect("the process runs");
        let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(mask.expect("a line of Linux").trim(), 16);
        mask.expect("a hexadecimal mask") >> (signal - 1) & 1 == 1
    };
    while !is_handled() {
        assert!(Instant::now() < deadline, "no handler for signal {signal}");
        thread::sleep(Duration::from_millis(1));
    }
}
