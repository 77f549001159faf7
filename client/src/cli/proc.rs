//! CPU time and memory of a process, from Linux `/proc`. On other systems there is no data.

use std::fs;

/// Linux reports CPU time in hundredths of a second (`USER_HZ`), independent of the kernel's tick
/// rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time (user and system) of a process since its start, in seconds.
pub(crate) fn cpu_seconds(process: &str) -> Option<f64> {
    cpu_of_stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn cpu_of_stat(stat: &str) -> Option<f64> {
    // The second field is the process name, which may contain any character; the last parenthesis ends
    // it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// The resident memory in bytes.
pub(crate) fn resident_bytes(process: &str) -> Option<u64> {
    resident_of_status(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn resident_of_status(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_process_are_understood() {
        let stat = "42 (odd ) name) S 1 42 42 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 1 0 5";
        assert_eq!(cpu_of_stat(stat), Some(4.0));
        assert_eq!(cpu_of_stat("42"), None);
        let status = "Name:\tx\nVmRSS:\t    1234 kB\nRssAnon:\t 7 kB\n";
        assert_eq!(resident_of_status(status), Some(1234 * 1024));
        assert_eq!(resident_of_status(""), None);
    }
}
