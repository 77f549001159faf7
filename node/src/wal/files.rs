//! The few things the log asks of a file system, so that tests can break each of them.

use super::blocks::{BLOCK, Blocks};
use crate::disk::DiskError;
use rustix::{
    fs::OFlags,
    io::{Errno, ReadWriteFlags, pwritev2},
};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IoSlice, Read as _, Write as _},
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
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is durable.
    fn sync(&self) -> io::Result<()>;

    /// Writes all of it there, and returns when it is durable. May put zeros behind it, up to the
    /// next multiple of [`BLOCK`].
    fn append(&mut self, bytes: &mut Blocks, offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)?;
        self.sync()
    }

    /// Like [`Self::append`], but does not wait until it is durable.
    fn note(&mut self, bytes: &mut Blocks, offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)
    }
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
    type File = LogFile;

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

    fn open(&self, name: &str) -> io::Result<LogFile> {
        let path = self.path.join(name);
        let file = OpenOptions::new().write(true).open(&path)?;
        LogFile::new(file, &path)
    }

    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<LogFile> {
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
        LogFile::new(file, &self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        self.handle.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}

/// A segment's file.
///
/// What one sync covers is written past the system's cache where the file system can do that: the
/// one call that writes it also makes it durable, and the system has neither a page to look for nor
/// one to write back.
pub(crate) struct LogFile {
    file: File,
    direct: Option<Direct>,
}

impl LogFile {
    fn new(file: File, path: &Path) -> io::Result<Self> {
        // Whole blocks are written, and the file must not grow by that.
        let whole = file.metadata()?.len().is_multiple_of(BLOCK as u64);
        // Some file systems refuse this: then all goes through the cache.
        let direct = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::DIRECT.bits().cast_signed())
            .open(path);
        Ok(Self {
            file,
            direct: direct.ok().filter(|_| whole).map(Direct::new),
        })
    }

    /// Writes past the cache. False if that cannot be done, and nothing was written.
    fn write_direct(&mut self, bytes: &mut Blocks, offset: u64, sync: bool) -> io::Result<bool> {
        let Some(direct) = &mut self.direct else {
            return Ok(false);
        };
        match direct.write(bytes, offset, sync) {
            // The file system wants other blocks, or does not do this after all.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.direct = None;
                Ok(false)
            }
            done => done.map(|()| true),
        }
    }
}

impl SegmentFile for LogFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = &mut self.direct {
            direct.last_block = None;
        }
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn append(&mut self, bytes: &mut Blocks, offset: u64) -> io::Result<()> {
        if self.write_direct(bytes, offset, true)? {
            return Ok(());
        }
        self.write_at(bytes, offset)?;
        self.sync()
    }

    fn note(&mut self, bytes: &mut Blocks, offset: u64) -> io::Result<()> {
        if self.write_direct(bytes, offset, false)? {
            return Ok(());
        }
        self.write_at(bytes, offset)
    }
}

/// A file open for writing past the system's cache.
struct Direct {
    file: File,
    /// Where the block is that was written last, and what is in it: the next write mostly begins
    /// there.
    last_block: Option<u64>,
    last: Blocks,
}

impl Direct {
    fn new(file: File) -> Self {
        let mut last = Blocks::with_room(BLOCK);
        last.extend(&[0; BLOCK]);
        Self {
            file,
            last_block: None,
            last,
        }
    }

    fn write(&mut self, bytes: &mut Blocks, offset: u64, sync: bool) -> io::Result<()> {
        let inside = (offset % BLOCK as u64) as usize;
        let start = offset - inside as u64;
        let blocks = bytes.laid_out(inside);
        let length = blocks.len();
        if inside > 0 {
            if self.last_block != Some(start) {
                self.last_block = None;
                self.file.read_exact_at(&mut self.last, start)?;
            }
            blocks[..inside].copy_from_slice(&self.last[..inside]);
        }
        self.last_block = None;
        let flags = if sync {
            ReadWriteFlags::DSYNC
        } else {
            ReadWriteFlags::empty()
        };
        let mut written = 0;
        while written < length {
            let rest = [IoSlice::new(&blocks[written..])];
            match pwritev2(&self.file, &rest, start + written as u64, flags) {
                // Whole blocks again, should the system have stopped within one.
                Ok(count) if count >= BLOCK => written += count - count % BLOCK,
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(Errno::INTR) => {}
                // Not what says that this cannot be done: something was.
                Err(error) if written > 0 => return Err(io::Error::other(io::Error::from(error))),
                Err(error) => return Err(error.into()),
            }
        }
        self.last.copy_from_slice(&blocks[length - BLOCK..]);
        self.last_block = Some(start + (length - BLOCK) as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of four blocks full of ones.
    fn ones(dir: &tempfile::TempDir) -> LogFile {
        let path = dir.path().join("ones");
        fs::write(&path, [1; 4 * BLOCK]).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        LogFile::new(file, &path).unwrap()
    }

    fn content(dir: &tempfile::TempDir) -> Vec<u8> {
        fs::read(dir.path().join("ones")).unwrap()
    }

    fn blocks(bytes: &[u8]) -> Blocks {
        let mut blocks = Blocks::default();
        blocks.extend(bytes);
        blocks
    }

    #[test]
    fn what_comes_before_a_write_stays_whoever_wrote_it() {
        // Not the directory for temporary files, which may be in memory.
        let dir = tempfile::tempdir_in(".").unwrap();
        let mut file = ones(&dir);
        file.append(&mut blocks(&[2; 10]), 100).unwrap();
        let mut expected = vec![1; 4 * BLOCK];
        expected[100..110].fill(2);
        expected[110..BLOCK].copy_from_slice(&content(&dir)[110..BLOCK]);
        assert_eq!(content(&dir), expected, "a block that was never read");
        // Over the end of the block that was written last, and within it, again and again.
        for (byte, offset, length) in [(3, 110, 5000), (4, 5110, 8), (5, 5110, 24), (6, 5134, 1)] {
            let mut bytes = blocks(&vec![byte; length]);
            file.append(&mut bytes, offset as u64).unwrap();
            expected[offset..offset + length].fill(byte);
            let end = (offset + length).next_multiple_of(BLOCK);
            assert_eq!(
                content(&dir)[..offset + length],
                expected[..offset + length]
            );
            assert_eq!(content(&dir)[end..], expected[end..], "later blocks");
        }
        // Through the cache, then past it.
        file.write_at(&[7; 4], 5134).unwrap();
        file.append(&mut blocks(&[8; 4]), 5138).unwrap();
        file.note(&mut blocks(&[9; 4]), 5142).unwrap();
        expected[5134..5146].copy_from_slice(&[7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9]);
        assert_eq!(content(&dir)[..5146], expected[..5146]);
        assert_eq!(content(&dir).len(), 4 * BLOCK);
    }

    #[test]
    fn large_writes_and_odd_files_are_written_as_well() {
        const LARGE: usize = 1 << 20;
        let dir = tempfile::tempdir_in(".").unwrap();
        let path = dir.path().join("odd");
        fs::write(&path, vec![0; LARGE + 2 * BLOCK + 1]).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let mut file = LogFile::new(file, &path).unwrap();
        assert!(file.direct.is_none(), "the file would grow");
        file.append(&mut blocks(&[1; 10]), 10).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len((LARGE + 2 * BLOCK) as u64)
            .unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let mut file = LogFile::new(file, &path).unwrap();
        file.append(&mut blocks(&[2; 10]), 20).unwrap();
        file.append(&mut blocks(&[3; LARGE + 1]), 30).unwrap();
        file.append(&mut blocks(&[4; 10]), LARGE as u64 + 31)
            .unwrap();
        let read = fs::read(&path).unwrap();
        let expected = [
            vec![0; 10],
            vec![1; 10],
            vec![2; 10],
            vec![3; LARGE + 1],
            vec![4; 10],
        ];
        assert_eq!(read[..LARGE + 41], expected.concat());
    }
}
