//! The names of the files in a data directory.

/// The file `metadata`.
pub(super) const METADATA: &str = "metadata";
/// The temporary name of the next version of `metadata` until that version is durable.
pub(super) const NEW_METADATA: &str = "metadata.new";
/// The lock file. It also contains the records of the last segments.
pub(super) const LOCK: &str = "lock";
/// The names of spare files, which become segments and are recycled from them. Between two
/// snapshots mostly at most this many segments fill up, and recycled ones need no zeroing.
pub(super) const SPARES: [&str; 2] = ["spare.wal", "spare-2.wal"];

/// The name of a log segment.
pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:010}.wal")
}

/// The number of the log segment with this name; `None` if it is another file.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("log-")?.strip_suffix(".wal")?;
    number.parse().ok()
}

/// Whether a file with this name is a log segment.
pub(super) fn is_segment(name: &str) -> bool {
    segment_number(name).is_some()
}
