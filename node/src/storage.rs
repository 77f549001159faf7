//! Durable state: the disk, the write queue, the write-ahead log and the metadata file.

pub(crate) mod disk;
mod file_names;
pub(crate) mod metadata;
pub(crate) mod wal;
pub(crate) mod writer;
