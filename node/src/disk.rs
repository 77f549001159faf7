//! What the driver needs of stable storage, and what can go wrong with it.
//!
//! [`crate::wal`] is the implementation. A disk is in one hand at a time ([`crate::writer`]); the
//! core learns that a write is durable from the driver alone.

use model::Write;
use std::{io, path::PathBuf};

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
    #[error(
        "{file} is damaged at byte {offset}: {what}. What this server promised cannot be known any more, so it must not vote: \
         wipe the directory {} and let it rejoin the cluster as a new member with a new id",
        dir.display()
    )]
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
    /// There is no room left.
    #[error(
        "no space left for {file}: free some, then start the server again; nothing it acknowledged is lost"
    )]
    Full {
        /// The file that was to be written.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused.
    #[error(
        "cannot {action} {file}: the server stops, for nothing is known about that file any more"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
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
