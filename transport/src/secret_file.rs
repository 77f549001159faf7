//! Files that contain secrets: keys, tokens and passwords.
//!
//! A path can name any kind of file, so reads are bounded in bytes and in time. Regular files and
//! pipes are allowed. With a pipe the secret need not be on a disk:
//! `--key-file <(pass show stateraft)`. Devices are rejected, because a device may have no end.

use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The maximum size in bytes, far above the size of any secret. A larger file is not a secret file.
const LIMIT: usize = 64 * 1024;
/// The timeout for a program that writes the secret to a pipe.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Why a file contains no usable secret. Its text never quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file could not be read.
    #[error("cannot read the secret in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The first line is empty.
    #[error("the secret in {} is empty: write one line of text to it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a token or a password: the first line of a file or a pipe, trimmed. Logs a warning if users
/// other than the owner may read the file.
///
/// # Errors
/// See [`SecretFileError`].
pub fn read_secret(path: &Path) -> Result<String, SecretFileError> {
    let text = read_text(path).map_err(|source| SecretFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    match text.lines().next().unwrap_or_default().trim() {
        "" => Err(SecretFileError::Empty {
            path: path.to_owned(),
        }),
        secret => Ok(secret.to_owned()),
    }
}

/// Reads the whole text of a file or a pipe.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new()
        .read(true)
        // Without this flag, the open would block on a pipe without a writer.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    let is_pipe = metadata.file_type().is_fifo();
    if !metadata.is_file() && !is_pipe {
        let text =
            "it is neither a regular file nor a pipe: name the file that contains the secret";
        return Err(io::Error::new(ErrorKind::InvalidInput, text));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "other users may read this secret (mode {mode:03o}); chmod 600 protects it"
        );
    }
    let bytes = read_all(file, is_pipe, PATIENCE)?;
    String::from_utf8(bytes).map_err(|_| {
        let text = "it is not UTF-8 text: a secret is one line of text";
        io::Error::new(ErrorKind::InvalidData, text)
    })
}

fn read_all(mut file: File, is_pipe: bool, patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut part) {
            // For a pipe, zero bytes may mean that no program has opened the write end yet.
            Ok(0) if is_pipe && bytes.is_empty() => {}
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > LIMIT {
            let text =
                format!("it has more than {LIMIT} bytes: name the file that contains the secret");
            return Err(io::Error::new(ErrorKind::FileTooLarge, text));
        }
        if is_pipe && Instant::now() >= deadline {
            let text = format!("no program wrote a secret to this pipe within {patience:?}");
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        if is_pipe {
            thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write, process::Command};

    #[test]
    fn secret_is_the_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let error = read_secret(&path).unwrap_err();
        assert!(error.to_string().contains("token"), "{error}");
        fs::write(&path, " open sesame \nand a remark\n").unwrap();
        assert_eq!(read_secret(&path).unwrap(), "open sesame");
        for empty in ["", "\n", " \nsecond"] {
            fs::write(&path, empty).unwrap();
            let error = read_secret(&path).unwrap_err();
            assert!(matches!(error, SecretFileError::Empty { .. }), "{error}");
        }
    }

    #[test]
    fn what_has_no_end_or_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("long");
        fs::write(&long, vec![b'a'; LIMIT + 1]).unwrap();
        for (path, says) in [
            (Path::new("/dev/zero"), "neither a regular file nor a pipe"),
            (dir.path(), "neither a regular file nor a pipe"),
            (&long, "more than 65536 bytes"),
        ] {
            let error = read_text(path).unwrap_err().to_string();
            assert!(error.contains(says), "{}: {error}", path.display());
        }
        fs::write(&long, vec![b'a'; LIMIT]).unwrap();
        assert_eq!(read_text(&long).unwrap().len(), LIMIT);
    }

    #[test]
    fn pipe_is_read_to_its_end_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        // Writes later than the reader opens the pipe, and in two parts.
        let written = |parts: [Vec<u8>; 2]| {
            let path = path.clone();
            thread::spawn(move || {
                thread::sleep(PAUSE * 4);
                let mut file = OpenOptions::new().write(true).open(path).unwrap();
                for part in parts {
                    // The reader stops at the size limit, so this write may fail.
                    let _ = file.write_all(&part);
                    thread::sleep(PAUSE * 4);
                }
            })
        };
        let writer = written([b"open ".into(), b"sesame\n".into()]);
        assert_eq!(read_secret(&path).unwrap(), "open sesame");
        writer.join().unwrap();
        let writer = written([vec![b'a'; LIMIT], vec![b'a'; LIMIT]]);
        let error = read_text(&path).unwrap_err().to_string();
        assert!(error.contains("more than 65536 bytes"), "{error}");
        writer.join().unwrap();

        let open = OpenOptions::new().read(true).write(true).open(&path);
        let silent = open.unwrap();
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&path);
        let error = read_all(file.unwrap(), true, PAUSE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(silent);
    }
}
