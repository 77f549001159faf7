//! Tokens and passwords. They are read from files and never from the command line, which all users can
//! see.

use std::{fmt, fs::File, io::Read, path::Path};

/// The maximum number of bytes that are read from a file.
const FILE_LIMIT: u64 = 64 * 1024;

/// A shared secret. Its `Debug` output hides it.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads a secret: the first line of the file, trimmed. Logs a warning if users other than the
    /// owner may read the file.
    ///
    /// # Errors
    /// If the file cannot be read, or contains no secret.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let unreadable =
            |error| anyhow::anyhow!("cannot read the secret in {}: {error}", path.display());
        let file = File::open(path).map_err(unreadable)?;
        warn_if_open_to_others(path, &file);
        let mut text = Vec::new();
        file.take(FILE_LIMIT)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let secret = line.trim_ascii();
        anyhow::ensure!(
            !secret.is_empty(),
            "the secret in {} is empty: put one line of text there",
            path.display()
        );
        Ok(Self(secret.to_vec()))
    }

    /// Compares the secret with an offered one. The comparison takes constant time, so that timing
    /// reveals only the length.
    pub fn is(&self, offered: &[u8]) -> bool {
        let differences = self
            .0
            .iter()
            .zip(offered)
            .fold(0u8, |differences, (a, b)| differences | (a ^ b));
        self.0.len() == offered.len() && std::hint::black_box(differences) == 0
    }

    /// The plain secret, for a request by this process.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

#[cfg(unix)]
fn warn_if_open_to_others(path: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = file.metadata() else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "others may read this secret (mode {mode:03o}); chmod 600 protects it"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_: &Path, _: &File) {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn secret_is_one_trimmed_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, " open sesame \nand a remark\n").unwrap();
        let secret = Secret::read(&path).unwrap();
        assert!(secret.is(b"open sesame"));
        for wrong in [
            &b"open sesam"[..],
            b"open sesamE",
            b"",
            b"open sesame and more",
        ] {
            assert!(!secret.is(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn secret_empty_or_missing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(Secret::read(&path).is_err());
        fs::write(&path, "\n").unwrap();
        assert!(Secret::read(&path).is_err());
    }
}
