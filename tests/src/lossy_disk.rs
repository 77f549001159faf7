//! A FUSE file system that separates synced data from unsynced data.
//!
//! Reads return everything that was written, as with a page cache; a power loss preserves the synced
//! data only: the pages of files, the names in directories. It rejects `O_DIRECT`, so that all writes
//! go through its cache. A sync of the log may hang, until the process that waits for it was killed;
//! or it may fail, after which the pages count as clean although none of them was saved, as on Linux.

use crate::wait::until;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

const PAGE: usize = 4096;
/// The kernel must not cache names and attributes: they change with a power loss.
const NOT_KEPT: Duration = Duration::ZERO;

/// A mounted disk of this kind. Dropping it unmounts it; its processes must have ended before.
pub struct LossyDisk {
    state: Shared,
    /// Dropped first: the unmount must precede the removal of the directory.
    session: Option<BackgroundSession>,
    dir: TempDir,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    nodes: Vec<Node>,
    hangs: bool,
    hanging: Vec<(INodeNo, ReplyEmpty)>,
    fails_once: bool,
}

enum Node {
    File(Pages),
    Directory(Names),
}

/// The contents of a file: the cached data, the data that survives a power loss, and the unsynced
/// pages, in which they differ.
#[derive(Default)]
struct Pages {
    cached: Vec<u8>,
    synced: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Default)]
struct Names {
    cached: BTreeMap<OsString, INodeNo>,
    synced: BTreeMap<OsString, INodeNo>,
}

/// Makes syncs hang until it is dropped; then they fail, and nothing was synced. See also
/// [`HangingSyncs::succeed`].
pub struct HangingSyncs(Shared);

impl LossyDisk {
    /// Mounts an empty disk.
    ///
    /// # Panics
    /// If this machine does not permit it.
    #[must_use]
    pub fn mount() -> Self {
        let dir = tempfile::tempdir().expect("a directory to mount on cannot be made");
        let state = Shared(Arc::default());
        state.lock().nodes.push(Node::Directory(Names::default()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("stateraft-lossy".into())];
        let session =
            fuser::spawn_mount(state.clone(), dir.path(), &config).unwrap_or_else(|error| {
                panic!(
                    "cannot mount a file system in user space: {error}. This test needs /dev/fuse \
                 (modprobe fuse; for a container: --device /dev/fuse --cap-add SYS_ADMIN) and the \
                 rights of root, or fusermount3 (apt-get install fuse3)"
                )
            });
        Self {
            state,
            session: Some(session),
            dir,
        }
    }

    /// The mount point.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Makes all later syncs of the log hang.
    #[must_use]
    pub fn hang_syncs(&self) -> HangingSyncs {
        self.state.lock().hangs = true;
        HangingSyncs(self.state.clone())
    }

    /// Waits until a sync hangs.
    pub fn wait_for_a_hanging_sync(&self) {
        until("a sync that hangs", || {
            (!self.state.lock().hanging.is_empty()).then_some(())
        });
    }

    /// Makes the next sync of the log fail.
    pub fn fail_the_next_sync(&self) {
        self.state.lock().fails_once = true;
    }

    /// Discards all unsynced data. No process may have a file open.
    pub fn lose_power(&self) {
        for node in &mut self.state.lock().nodes {
            match node {
                Node::File(pages) => {
                    pages.cached.clone_from(&pages.synced);
                    pages.dirty.clear();
                }
                Node::Directory(names) => names.cached.clone_from(&names.synced),
            }
        }
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            eprintln!("{} stays mounted: {error}", self.dir.path().display());
        }
    }
}

impl Drop for HangingSyncs {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.hangs = false;
        for (_, reply) in state.hanging.drain(..) {
            reply.error(Errno::EIO);
        }
    }
}

impl HangingSyncs {
    /// Lets the hanging syncs succeed, late.
    pub fn succeed(self) {
        let mut state = self.0.lock();
        for (file, reply) in std::mem::take(&mut state.hanging) {
            answer(reply, state.pages(file).map(Pages::sync));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Inodes are numbered from 1, the root.
    fn node(&mut self, number: INodeNo) -> &mut Node {
        let place = usize::try_from(number.0 - 1).expect("there are few inodes");
        &mut self.nodes[place]
    }

    fn add(&mut self, node: Node) -> INodeNo {
        self.nodes.push(node);
        INodeNo(self.nodes.len() as u64)
    }

    fn names(&mut self, directory: INodeNo) -> Result<&mut Names, Errno> {
        match self.node(directory) {
            Node::Directory(names) => Ok(names),
            Node::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn pages(&mut self, file: INodeNo) -> Result<&mut Pages, Errno> {
        match self.node(file) {
            Node::File(pages) => Ok(pages),
            Node::Directory(_) => Err(Errno::EISDIR),
        }
    }

    fn find(&mut self, directory: INodeNo, name: &OsStr) -> Result<INodeNo, Errno> {
        let found = self.names(directory)?.cached.get(name).copied();
        found.ok_or(Errno::ENOENT)
    }

    fn remove(&mut self, directory: INodeNo, name: &OsStr) -> Result<INodeNo, Errno> {
        let found = self.names(directory)?.cached.remove(name);
        found.ok_or(Errno::ENOENT)
    }

    fn insert(&mut self, directory: INodeNo, name: &OsStr, node: INodeNo) -> Result<(), Errno> {
        self.names(directory)?.cached.insert(name.to_owned(), node);
        Ok(())
    }

    /// Whether the file is a segment of the log.
    fn is_log(&self, file: INodeNo) -> bool {
        let is_named = |(name, number): (&OsString, &INodeNo)| {
            *number == file && name.as_encoded_bytes().starts_with(b"log-")
        };
        self.nodes.iter().any(|node| match node {
            Node::Directory(names) => names.cached.iter().any(is_named),
            Node::File(_) => false,
        })
    }

    fn attributes(&mut self, number: INodeNo) -> FileAttr {
        let (size, kind, perm) = match self.node(number) {
            Node::File(pages) => (pages.cached.len() as u64, FileType::RegularFile, 0o600),
            Node::Directory(_) => (0, FileType::Directory, 0o700),
        };
        // SAFETY: these calls cannot fail, and they do not access our memory.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        FileAttr {
            ino: number,
            size,
            blocks: size.div_ceil(512),
            atime: SystemTime::UNIX_EPOCH,
            mtime: SystemTime::UNIX_EPOCH,
            ctime: SystemTime::UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid,
            gid,
            rdev: 0,
            blksize: PAGE as u32,
            flags: 0,
        }
    }
}

impl Pages {
    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(data);
        self.dirty.extend(offset / PAGE..end.div_ceil(PAGE));
    }

    fn sync(&mut self) {
        self.synced.resize(self.cached.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let end = ((page + 1) * PAGE).min(self.cached.len());
            // A page may lie beyond the end of a file that was truncated since.
            if let Some(bytes) = self.cached.get(page * PAGE..end) {
                self.synced[page * PAGE..end].copy_from_slice(bytes);
            }
        }
    }
}

/// Servers do not need the operations that are missing here.
impl Filesystem for Shared {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.lock();
        match state.find(parent, name) {
            Ok(found) => reply.entry(&NOT_KEPT, &state.attributes(found), Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&NOT_KEPT, &self.lock().attributes(ino));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<fuser::TimeOrNow>,
        _: Option<fuser::TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.lock();
        if let (Some(size), Node::File(pages)) = (size, state.node(ino)) {
            pages.cached.resize(to_usize(size), 0);
        }
        reply.attr(&NOT_KEPT, &state.attributes(ino));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let mut state = self.lock();
        let made = state.add(Node::Directory(Names::default()));
        match state.insert(parent, name, made) {
            Ok(()) => reply.entry(&NOT_KEPT, &state.attributes(made), Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        if flags & libc::O_DIRECT != 0 {
            return reply.error(Errno::EINVAL);
        }
        let mut state = self.lock();
        let made = state.add(Node::File(Pages::default()));
        match state.insert(parent, name, made) {
            Ok(()) => reply.created(
                &NOT_KEPT,
                &state.attributes(made),
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.lock().remove(parent, name).map(|_| ()));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut state = self.lock();
        let moved = state.remove(parent, name);
        answer(
            reply,
            moved.and_then(|node| state.insert(new_parent, new_name, node)),
        );
    }

    fn open(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & libc::O_DIRECT != 0 {
            return reply.error(Errno::EINVAL);
        }
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.lock();
        match state.pages(ino) {
            Ok(pages) => {
                let start = to_usize(offset).min(pages.cached.len());
                let end = (start + size as usize).min(pages.cached.len());
                reply.data(&pages.cached[start..end]);
            }
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.lock().pages(ino) {
            Ok(pages) => {
                pages.write(to_usize(offset), data);
                reply.written(u32::try_from(data.len()).expect("a write is short"));
            }
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.lock();
        let is_log = state.is_log(ino);
        if is_log && state.hangs {
            state.hanging.push((ino, reply));
            return;
        }
        let fails = is_log && std::mem::take(&mut state.fails_once);
        let done = state.pages(ino).and_then(|pages| {
            if fails {
                pages.dirty.clear();
                return Err(Errno::EIO);
            }
            pages.sync();
            Ok(())
        });
        answer(reply, done);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.lock();
        let done = state
            .names(ino)
            .map(|names| names.synced.clone_from(&names.cached));
        answer(reply, done);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let mut state = self.lock();
        let names = match state.names(ino) {
            Ok(names) => names.cached.clone(),
            Err(error) => return reply.error(error),
        };
        for (place, (name, number)) in (1..).zip(names).skip(to_usize(offset)) {
            let kind = state.attributes(number).kind;
            if reply.add(number, place, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

fn answer(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("files fit in memory")
}
