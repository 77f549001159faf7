//! The few things the log asks of a file system, so that tests can break each of them.

use crate::disk::DiskError;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A directory of our own.
pub(crate) trait Files: Send + Sync + 'static {
    /// A file open for writing.
    type File: SegmentFile;

    /// Where it is, for messages.
    fn dir(&self) -> &Path;
    /// The names of what is in it.
    fn names(&self) -> io::Result<Vec<String>>;
    /// All bytes of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// The first bytes of a file, or all if it has fewer.
    fn read_start(&self, name: &str, length: usize) -> io::Result<Vec<u8>>;
    /// Opens an existing file.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Makes a file of so many zeros, durably. Replaces what has that name.
    ///
    /// The zeros are really written: a block that was only reserved costs more at its first sync
    /// than one that is overwritten.
    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<Self::File>;
    /// Gives a file another name, durably.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file open for writing.
pub(crate) trait SegmentFile: Send + 'static {
    /// Writes all of it there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is durable.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the operating system, locked against everyone else while this value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    _lock: File,
}

impl Directory {
    /// Opens the directory, and makes it if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let unusable = |source| DiskError::Unusable {
            dir: path.to_owned(),
            source,
        };
        make_durably(path).map_err(unusable)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DiskError::InUse {
                    dir: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let handle = File::open(path).map_err(unusable)?;
        handle.sync_all().map_err(unusable)?;
        Ok(Self {
            path: path.to_owned(),
            handle,
            _lock: lock,
        })
    }
}

/// Makes a directory and those above it; an entry is durable once the directory that holds it is.
fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if parent != Path::new(".") && parent != path {
        make_durably(parent)?;
    }
    match fs::create_dir(path) {
        // Another thread may have been faster; if it is no directory, using it will fail.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    File::open(parent)?.sync_all()
}

impl Files for Directory {
    type File = File;

    fn dir(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn read_start(&self, name: &str, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path.join(name))?;
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path.join(name))
    }

    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        let zeros = vec![0; 1 << 20];
        let mut left = size;
        while left > 0 {
            let part = left.min(zeros.len() as u64);
            file.write_all(&zeros[..part as usize])?;
            left -= part;
        }
        file.sync_all()?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        self.handle.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}

impl SegmentFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
