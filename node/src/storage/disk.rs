//! The driver's interface to stable storage, and its errors.
//!
//! [`crate::storage::wal`] implements it. One thread uses a disk at a time ([`crate::storage::writer`]), and only the
//! driver reports to the core that a write is durable.

use model::Write;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Stable storage for the writes of one server.
pub trait Disk: Send {
    /// Makes these writes durable, in order, after all earlier ones. Returns once they are.
    ///
    /// # Errors
    /// After an error the contents of the disk are unknown: the server must stop, and must not use
    /// the disk again.
    fn write(&mut self, writes: &[Write]) -> Result<(), DiskError>;

    /// Called when nothing was written for a while. A disk may use the pause to mark its contents
    /// as complete.
    ///
    /// # Errors
    /// See [`Self::write`].
    fn on_idle(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    /// The size of the last snapshot in bytes; 0 if there is none.
    fn snapshot_bytes(&self) -> u64 {
        0
    }

    /// Called when no further writes will follow.
    ///
    /// # Errors
    /// See [`Self::write`].
    fn close(&mut self) -> Result<(), DiskError> {
        Ok(())
    }
}

/// The advice for a server that lost its log.
const LOST: &str = "Its record of votes and acknowledgements is incomplete, so this server must not vote again: \
     leave it stopped, keep the directory, and do not start an empty one under its id. \
     The cluster tolerates one failure less until its data is copied to a new cluster: see \
     \"A lost disk\" in docs/deploy.md";

/// An error of opening or using stable storage.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process, or another server in this process, uses the directory.
    #[error(
        "data directory {} is in use by another process: stop that one, or pass another --data-dir for this server",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be created or opened.
    #[error("cannot use {} as a data directory: it must be a directory this user may write to", dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
    /// A pipe, a device or a directory has the name of a file that the server needs.
    #[error(
        "data directory {}: {file} is not a regular file, so no server wrote it. If the original was moved away, put it back. If no server ever used this directory, pass another --data-dir. Otherwise treat the disk as lost, and delete nothing in the directory. {LOST}",
        dir.display()
    )]
    NotAFile {
        /// The directory.
        dir: PathBuf,
        /// The name.
        file: String,
    },
    /// A pipe, a device or a directory has the name of a temporary file.
    #[error(
        "data directory {}: {file} is not a regular file, so no server wrote it. No data is kept under this name: move it away, and nothing else, then start the server again",
        dir.display()
    )]
    NotATemporaryFile {
        /// The directory.
        dir: PathBuf,
        /// The name.
        file: String,
    },
    /// The directory contains the log of another server.
    #[error(
        "data directory {} belongs to node {found}, but this is node {expected}: start it with its own directory, or with --id {found}",
        dir.display()
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// The server that owns it.
        found: u64,
        /// The server that tried to open it.
        expected: u64,
    },
    /// The directory contains the log of a server of another cluster.
    #[error(
        "data directory {} belongs to cluster {found:?}, but this server is of cluster {expected:?}: check --cluster and --data-dir",
        dir.display()
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// The cluster that owns it.
        found: String,
        /// The cluster of this server.
        expected: String,
    },
    /// The log has the format of another program version.
    #[error(
        "{file} is of format {found}, and this program reads format {expected}: run the version that wrote it"
    )]
    Format {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The format of this program.
        expected: u32,
    },
    /// Durable data can no longer be read.
    #[error("{file} in data directory {} is damaged at byte {offset}: {what}. {LOST}", dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// The file.
        file: String,
        /// The position in the file, in bytes.
        offset: u64,
        /// The problem.
        what: &'static str,
    },
    /// A durable file is missing.
    #[error(
        "{file} is missing from data directory {}. If it was moved away, put it back; an older copy of it does not help. {LOST}",
        dir.display()
    )]
    Missing {
        /// The directory.
        dir: PathBuf,
        /// The missing segments, as text.
        file: String,
    },
    /// The record of the log segments is missing.
    #[error(
        "`lock` in data directory {} does not record the last log segment: the file was removed or damaged, so log segments may be missing. If it was moved away, put it back; an older copy of it does not help. {LOST}",
        dir.display()
    )]
    Unrecorded {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system is full, or the quota is exhausted.
    #[error(
        "no space left for {file}: free space on its file system, or raise the quota, then start the server again. Delete nothing in the data directory: everything this server acknowledged is there"
    )]
    Full {
        /// The file that the server tried to write.
        file: String,
        /// The error from the system.
        source: io::Error,
    },
    /// The process or the system has no file descriptor left.
    #[error(
        "cannot {action} {file}: the limit on open files is too low. Raise it for the process (ulimit -n, or LimitNOFILE of a systemd unit) or, if the whole system has reached its limit, with sysctl fs.file-max; then start the server again. The disk has not failed, and everything this server acknowledged is there"
    )]
    TooManyFiles {
        /// The operation that failed.
        action: &'static str,
        /// The file.
        file: String,
        /// The error from the system.
        source: io::Error,
    },
    /// A system call failed.
    #[error(
        "cannot {action} {file}, so the server is shutting down: the contents of the disk are unknown. Check the disk and the kernel's log, then start the server again: it rewrites the end of its log before it relies on it. If that fails too, leave it stopped and keep its data directory"
    )]
    Io {
        /// The operation that failed.
        action: &'static str,
        /// The file.
        file: String,
        /// The error from the system.
        source: io::Error,
    },
    /// The data exceeds a limit of the log format.
    #[error(
        "{what} does not fit the format of the log, so the server is shutting down: the state of this cluster is too large. Raise --snapshot-entries and --snapshot-bytes so that no snapshot is taken, start the server, delete keys, then start it with the former values"
    )]
    TooLarge {
        /// The object that does not fit.
        what: &'static str,
    },
    /// An earlier error made the disk unusable.
    #[error("the disk failed before and is not used again")]
    Failed,
}

impl DiskError {
    /// The error for a data directory that cannot be created or opened.
    pub(crate) fn unusable(dir: &Path, source: io::Error) -> Self {
        if is_out_of_descriptors(&source) {
            return Self::from_io("open", &dir.display().to_string(), source);
        }
        Self::Unusable {
            dir: dir.to_owned(),
            source,
        }
    }

    /// The error for a failed operation on a file.
    pub(crate) fn from_io(action: &'static str, file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { file, source }
            }
            _ if is_out_of_descriptors(&source) => Self::TooManyFiles {
                action,
                file,
                source,
            },
            _ => Self::Io {
                action,
                file,
                source,
            },
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Writes a file and makes its contents and its name durable.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // The file contains keys and values, so only its owner may read it.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_open_files_are_no_fault_of_the_disk() {
        for code in [libc::EMFILE, libc::ENFILE] {
            let error = io::Error::from_raw_os_error(code);
            let text = DiskError::from_io("open", "log", error).to_string();
            assert!(text.contains("ulimit -n"), "{text}");
            assert!(!text.contains("Check the disk"), "{text}");
            let error = io::Error::from_raw_os_error(code);
            let text = DiskError::unusable(Path::new("data"), error).to_string();
            assert!(text.contains("ulimit -n"), "{text}");
        }
    }
}
