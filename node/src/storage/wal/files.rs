//! The file system operations of the log, as traits, so that tests can make each of them fail.

use super::{
    blocks::{BLOCK, Blocks},
    format::RECORDS,
};
use crate::storage::{
    disk::DiskError,
    file_names::{LOCK, METADATA, NEW_METADATA, SPARES, is_segment},
};
use rustix::{
    fs::{Advice, OFlags, fadvise, fstatvfs},
    io::{Errno, ReadWriteFlags, pwritev2},
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, IoSlice, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The data directory.
pub(crate) trait Files: Send + Sync + 'static {
    /// A file open for writing.
    type File: SegmentFile;

    /// The path, for error messages.
    fn dir(&self) -> &Path;
    /// The names of its entries.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes the file names in the directory durable, its own name, and those of its ancestors.
    fn fsync_directory(&self) -> io::Result<()>;
    /// Reads a file, with direct I/O where the file system supports it.
    fn read(&self, name: &str) -> io::Result<Blocks>;
    /// Reads the first bytes of a file, or all of them if it is shorter.
    fn read_start(&self, name: &str, length: usize) -> io::Result<Vec<u8>>;
    /// Opens an existing file.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Creates a file of `size` zeros, durably. Replaces an existing file.
    ///
    /// The zeros are really written: the first sync of a block that was only allocated costs more
    /// than that of an overwritten one.
    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<Self::File>;
    /// Creates a file with these contents, durably. Replaces an existing file.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.create_zeroed(name, bytes.len() as u64)?;
        file.write_at(bytes, 0)?;
        file.fsync()
    }
    /// Whether this many bytes are free on the file system, as far as is known.
    fn has_room(&self, bytes: u64) -> bool;
    /// Renames a file, durably. Replaces an existing file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The contents of the lock file: empty until [`Self::write_record`] was called.
    fn read_record(&self) -> io::Result<Vec<u8>>;
    /// Overwrites a part of the lock file, durably. A crash may leave a mixture of old and new
    /// bytes.
    fn write_record(&self, record: &[u8], offset: usize) -> io::Result<()>;
}

/// A file open for writing.
pub(crate) trait SegmentFile: Send + 'static {
    /// Writes all bytes at this offset.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written durable (fdatasync).
    fn fsync(&self) -> io::Result<()>;

    /// Writes the contents at this offset, and returns once they are durable. May write zeros
    /// after them, up to the next multiple of [`BLOCK`].
    fn write_durable(&mut self, bytes: &mut Blocks, offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)?;
        self.fsync()
    }

    /// Writes like [`Self::write_durable`], but returns before the bytes are durable.
    fn write(&mut self, bytes: &mut Blocks, offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)
    }
}

/// A directory of the operating system, locked for exclusive use while this value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    lock: File,
}

impl Directory {
    /// Opens the directory. Creates it if it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let unusable = |source| DiskError::unusable(path, source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        warn_if_open_to_others(path);
        refuse_special_files(path)?;
        let in_use = || DiskError::InUse {
            dir: path.to_owned(),
        };
        // The directory is locked as well, in case the lock file was removed while a server runs.
        let handle = File::open(path).map_err(unusable)?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            // Network file systems do not lock directories. The lock file remains.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "cannot lock the data directory itself");
            }
        }
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        Ok(Self {
            path: path.to_owned(),
            handle,
            lock,
        })
    }
}

/// The directory contains every key and value. It may intentionally belong to another user or to a
/// group, so its mode is not changed.
fn warn_if_open_to_others(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            directory = %path.display(),
            "other users may read the data directory (mode {mode:03o}); chmod 700 protects its keys and \
             values"
        );
    }
}

/// Opening a pipe would block, and a device has no end.
fn refuse_special_files(directory: &Path) -> Result<(), DiskError> {
    let unusable = |source| DiskError::unusable(directory, source);
    for entry in fs::read_dir(directory).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        let name = entry.file_name();
        let file = name.to_string_lossy().into_owned();
        let is_temporary = file == NEW_METADATA || SPARES.contains(&&*file);
        let is_needed = file == LOCK || file == METADATA || is_segment(&file);
        // A dangling link is found when it is opened.
        let is_special = fs::metadata(entry.path()).is_ok_and(|metadata| !metadata.is_file());
        let dir = directory.to_owned();
        if is_special && is_temporary {
            return Err(DiskError::NotATemporaryFile { dir, file });
        }
        if is_special && is_needed {
            return Err(DiskError::NotAFile { dir, file });
        }
    }
    Ok(())
}

/// Syncs an ancestor directory. If this user may not read it, or its file system does not support
/// sync, it contains no entry created by this program.
fn sync_ancestor(path: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match File::open(path).and_then(|directory| directory.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// Reads a file of this length. With `O_DIRECT`, memory, offsets and lengths are whole blocks.
fn read_whole(file: &File, length: usize) -> io::Result<Blocks> {
    let mut bytes = Blocks::zeroed(length);
    let mut at = 0;
    while at < length {
        match file.read_at(&mut bytes.whole()[at..], at as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) if at + count >= length => break,
            // The system may have stopped within a block: continue at a block boundary.
            Ok(count) if count >= BLOCK => at += count - count % BLOCK,
            Ok(_) => return Err(io::Error::other("the file system returned part of a block")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

impl Files for Directory {
    type File = LogFile;

    fn dir(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn fsync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()?;
        let path = self.path.canonicalize()?;
        path.ancestors().skip(1).try_for_each(sync_ancestor)
    }

    fn read(&self, name: &str) -> io::Result<Blocks> {
        let path = self.path.join(name);
        let file = File::open(&path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let direct = open_direct(&path).and_then(|direct| read_whole(&direct, length));
        direct.or_else(|error| match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                // The file system does not support direct I/O. At least clean pages are dropped
                // from the cache and read again; it is not an error if the system keeps them.
                let _ = fadvise(&file, 0, None, Advice::DontNeed);
                read_whole(&file, length)
            }
            _ => Err(error),
        })
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
            if let Err(error) = file.write_all(&zeros[..part as usize]) {
                // An incomplete file would only occupy the last free bytes.
                let _ = self.remove(name);
                return Err(error);
            }
            left -= part;
        }
        file.sync_all()?;
        LogFile::new(file, &self.path.join(name))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn has_room(&self, bytes: u64) -> bool {
        match fstatvfs(&self.handle) {
            // Some file systems do not report their size.
            Ok(space) if space.f_blocks > 0 => {
                space.f_bavail.saturating_mul(space.f_frsize) >= bytes
            }
            _ => true,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        self.handle.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn read_record(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut start = &self.lock;
        start.seek(SeekFrom::Start(0))?;
        start.take(RECORDS as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write_record(&self, record: &[u8], offset: usize) -> io::Result<()> {
        self.lock.write_all_at(record, offset as u64)?;
        self.lock.sync_data()
    }
}

fn open_direct(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path)
}

/// The file of a segment.
///
/// Writes use direct I/O where the file system supports it: one system call writes the data and
/// makes it durable, and the system need neither look up a page nor write one back.
pub(crate) struct LogFile {
    file: File,
    direct: Option<Direct>,
}

impl LogFile {
    fn new(file: File, path: &Path) -> io::Result<Self> {
        // Only whole blocks are written, and they must not extend the file.
        let whole = file.metadata()?.len().is_multiple_of(BLOCK as u64);
        // Some file systems refuse direct I/O: then all writes go through the page cache.
        let direct = open_direct(path);
        Ok(Self {
            file,
            direct: direct.ok().filter(|_| whole).map(Direct::new),
        })
    }

    /// Writes with direct I/O; `sync` makes the bytes durable as well. Returns false, and writes nothing, if
    /// direct I/O is not possible for this file.
    fn write_direct(&mut self, bytes: &mut Blocks, offset: u64, sync: bool) -> io::Result<bool> {
        let Some(direct) = &mut self.direct else {
            return Ok(false);
        };
        match direct.write(bytes, offset, sync) {
            // The file system requires another block size, or does not support direct I/O after
            // all.
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

    fn fsync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_durable(&mut self, bytes: &mut Blocks, offset: u64) -> io::Result<()> {
        if self.write_direct(bytes, offset, true)? {
            return Ok(());
        }
        self.write_at(bytes, offset)?;
        self.fsync()
    }

    fn write(&mut self, bytes: &mut Blocks, offset: u64) -> io::Result<()> {
        if self.write_direct(bytes, offset, false)? {
            return Ok(());
        }
        self.write_at(bytes, offset)
    }
}

/// A file opened for direct I/O.
struct Direct {
    file: File,
    /// The offset of the block written last. Its contents are cached in `last`, because the next
    /// write mostly starts in it.
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
        // With RWF_DSYNC, the call returns once the bytes are durable, as after an fsync.
        let flags = if sync {
            ReadWriteFlags::DSYNC
        } else {
            ReadWriteFlags::empty()
        };
        let mut written = 0;
        while written < length {
            let rest = [IoSlice::new(&blocks[written..])];
            match pwritev2(&self.file, &rest, start + written as u64, flags) {
                // The system may have stopped within a block: continue at a block boundary.
                Ok(count) if count >= BLOCK => written += count - count % BLOCK,
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(Errno::INTR) => {}
                // Not reported as unsupported, because a part was written.
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

    /// A file of four blocks, filled with ones.
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
        // The directory for temporary files may be in memory, so it is not used.
        let dir = tempfile::tempdir_in(".").unwrap();
        let mut file = ones(&dir);
        file.write_durable(&mut blocks(&[2; 10]), 100).unwrap();
        let mut expected = vec![1; 4 * BLOCK];
        expected[100..110].fill(2);
        expected[110..BLOCK].copy_from_slice(&content(&dir)[110..BLOCK]);
        assert_eq!(content(&dir), expected, "a block that was never read");
        // Writes across the end of the last block, and repeatedly within it.
        for (byte, offset, length) in [(3, 110, 5000), (4, 5110, 8), (5, 5110, 24), (6, 5134, 1)] {
            let mut bytes = blocks(&vec![byte; length]);
            file.write_durable(&mut bytes, offset as u64).unwrap();
            expected[offset..offset + length].fill(byte);
            let end = (offset + length).next_multiple_of(BLOCK);
            assert_eq!(
                content(&dir)[..offset + length],
                expected[..offset + length]
            );
            assert_eq!(content(&dir)[end..], expected[end..], "later blocks");
        }
        // First through the page cache, then with direct I/O.
        file.write_at(&[7; 4], 5134).unwrap();
        file.write_durable(&mut blocks(&[8; 4]), 5138).unwrap();
        file.write(&mut blocks(&[9; 4]), 5142).unwrap();
        expected[5134..5146].copy_from_slice(&[7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9]);
        assert_eq!(content(&dir)[..5146], expected[..5146]);
        assert_eq!(content(&dir).len(), 4 * BLOCK);
    }

    #[test]
    fn file_of_any_length_is_read_whole() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, (3 << 20) + 5] {
            let bytes: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
            fs::write(dir.path().join("file"), &bytes).unwrap();
            let read = directory.read("file").unwrap();
            assert!(read[..] == bytes[..], "{length} bytes");
            // Also read without direct I/O.
            let file = File::open(dir.path().join("file")).unwrap();
            assert!(read_whole(&file, length).unwrap()[..] == bytes[..]);
        }
        let file = File::open(dir.path().join("file")).unwrap();
        assert!(read_whole(&file, (3 << 20) + 6).is_err(), "it is shorter");
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
        file.write_durable(&mut blocks(&[1; 10]), 10).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len((LARGE + 2 * BLOCK) as u64)
            .unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let mut file = LogFile::new(file, &path).unwrap();
        file.write_durable(&mut blocks(&[2; 10]), 20).unwrap();
        file.write_durable(&mut blocks(&[3; LARGE + 1]), 30)
            .unwrap();
        file.write_durable(&mut blocks(&[4; 10]), LARGE as u64 + 31)
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
