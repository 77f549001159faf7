//! What the driver needs of stable storage, and what can go wrong with it.
//!
//! [`crate::wal`] is the implementation. A disk is in one hand at a time ([`crate::writer`]); the
//! core learns that a write is durable from the driver alone.

use model::Write;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Stable storage for the writes of one server.
pub trait Disk: Send {
    /// Makes these writes durable, in order, after all before them. Returns when they are.
    ///
    /// # Errors
    /// After an error nothing is known about what the disk holds: the server must stop, and the
    /// disk must not be used again.
    fn write(&mut self, writes: &[Write]) -> Result<(), DiskError>;

    /// Says that nothing was to be written for a while. A disk may use the pause to mark what it
    /// holds as complete.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn rest(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    /// How many bytes the last snapshot took; 0 if there is none.
    fn snapshot_bytes(&self) -> u64 {
        0
    }

    /// Says that nothing will be written any more.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn close(&mut self) -> Result<(), DiskError> {
        Ok(())
    }
}

/// The advice for a server whose log is lost.
const LOST: &str = "This server can no longer know what it promised, so it must not vote again: \
     leave it stopped, keep the directory, and do not start an empty one under its number. \
     The cluster tolerates one failure less until its data is copied to a new cluster: see \
     \"A lost disk\" in docs/deploy.md";

/// Why stable storage cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process, or another server in this one, has the directory.
    #[error(
        "data directory {} is in use by another process: stop that one, or give this server a directory of its own",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be made or opened.
    #[error("cannot use {} as a data directory: it must be a directory this user may write to", dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory holds the log of another server.
    #[error(
        "data directory {} belongs to node {found}, but this is node {expected}: start it with its own directory, or with --id {found}",
        dir.display()
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who asked.
        expected: u64,
    },
    /// The directory holds the log of a server of another cluster.
    #[error(
        "data directory {} belongs to cluster {found:?}, but this server is of cluster {expected:?}: check --cluster and --data-dir",
        dir.display()
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asked.
        expected: String,
    },
    /// The log was written by a program that writes another format.
    #[error(
        "{file} is of format {found}, and this program reads format {expected}: run the version that wrote it"
    )]
    Format {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// What was durable can no longer be read.
    #[error("{file} in data directory {} is damaged at byte {offset}: {what}. {LOST}", dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// What was durable is not there.
    #[error(
        "{file} is missing from data directory {}. If it was moved away, put it back; an older copy of it does not help. {LOST}",
        dir.display()
    )]
    Missing {
        /// The directory.
        dir: PathBuf,
        /// Which segments, in words.
        file: String,
    },
    /// There is no room left.
    #[error(
        "no space left for {file}: free space on its file system, or raise the quota, then start the server again. Delete nothing in the data directory: everything this server acknowledged is there"
    )]
    Full {
        /// The file that was to be written.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused.
    #[error(
        "cannot {action} {file}, so the server is shutting down: it cannot know what the disk holds. Check the disk and the kernel's log, then start the server again: it writes the end of its log again before it relies on it. If that fails too, leave it stopped and keep its data directory"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The format of the log has no room for it.
    #[error(
        "{what} does not fit the format of the log, so the server is shutting down: the state of this cluster is too large. Start the server with such a --snapshot-entries and --snapshot-bytes that it takes no snapshot, delete keys, then start it as before"
    )]
    TooLarge {
        /// What was to be written.
        what: &'static str,
    },
    /// An earlier error made the disk unusable.
    #[error("the disk failed before and is not used again")]
    Failed,
}

impl DiskError {
    /// The error of a failed operation on a file.
    pub(crate) fn of(action: &'static str, file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { file, source }
            }
            _ => Self::Io {
                action,
                file,
                source,
            },
        }
    }
}

/// Writes a file whose contents and name are durable when this returns.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What is written holds keys and values.
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
