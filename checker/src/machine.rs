//! Information from the operating system about this process and machine.

use std::{fs, path::Path, time::Duration};

/// The resident memory of this process in bytes, if the system reports it.
pub fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_bytes())
}

fn page_bytes() -> u64 {
    // SAFETY: sysconf reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// The memory in bytes that this process can still allocate, if the system reports it: the smaller of
/// the free memory of the machine and the rest of the control group.
pub fn available_bytes() -> Option<u64> {
    let free = meminfo("MemAvailable:");
    let allowed = cgroup_available_bytes();
    match (free, allowed) {
        (Some(free), Some(allowed)) => Some(free.min(allowed)),
        (one, other) => one.or(other),
    }
}

/// The memory of the machine in bytes, if the system reports it.
pub fn total_bytes() -> Option<u64> {
    meminfo("MemTotal:")
}

fn meminfo(name: &str) -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|line| line.starts_with(name))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// The tightest limit of the process's control group and its ancestors.
fn cgroup_available_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let root = Path::new("/sys/fs/cgroup");
    let unified = root.join(own.unwrap_or_default());
    unified
        .ancestors()
        .take_while(|group| group.starts_with(root))
        .filter_map(|group| group_available(group, "memory.max", "memory.current", "inactive_file"))
        .chain(group_available(
            &root.join("memory"),
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ))
        .min()
}

/// The memory available in one control group. File pages that it can drop count as free.
fn group_available(group: &Path, limit: &str, used: &str, droppable: &str) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(group.join(name)).ok()?;
        text.trim().parse().ok()
    };
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let droppable = stat
        .lines()
        .find_map(|line| line.strip_prefix(droppable)?.trim().parse().ok())
        .unwrap_or(0);
    let used = number(used)?.saturating_sub(droppable);
    Some(number(limit)?.saturating_sub(used))
}

/// The CPU time of this process, user and system.
pub fn cpu_time() -> Duration {
    let usage = resource_usage();
    let duration = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// The number of the calling thread, for [`thread_cpu_time`], if the system reports it.
pub fn thread_number() -> Option<u64> {
    let link = fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// The CPU time of a thread of this process, if the thread runs and the system reports it. It counts in
/// steps of 10 ms.
pub fn thread_cpu_time(thread: u64) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
    // The second field is a name in parentheses, and may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // Linux reports these times to programs in hundredths of a second, on every platform.
    Some(Duration::from_millis((user + system) * 10))
}

/// The peak resident memory of this process in bytes.
pub fn peak_resident_bytes() -> u64 {
    let peak = u64::try_from(resource_usage().ru_maxrss).unwrap_or(0);
    // Linux counts kibibytes, macOS bytes.
    if cfg!(target_os = "macos") {
        peak
    } else {
        peak * 1024
    }
}

fn resource_usage() -> libc::rusage {
    let mut usage = std::mem::MaybeUninit::zeroed();
    // SAFETY: `usage` has the size of one rusage, and all-zero bytes are a valid rusage.
    unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    }
}

/// The number of threads that can run in parallel.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The name of the processor, if the system reports it.
pub fn processor() -> Option<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
