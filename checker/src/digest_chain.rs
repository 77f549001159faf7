//! The digest chain at the ends of the lines of a trace, so that a change of any field is detected. A
//! digest is the first 16 hexadecimal digits of the SHA-256 of the previous digest (empty for the first
//! line) and the line up to its own digest.
//!
//! The chain detects accidents and careless edits. It does not prevent forgery: an attacker can compute
//! the whole chain again.

use sha2::{Digest, Sha256};

/// The text before and after the digest of a line.
const BEFORE: &str = ",\"digest\":\"";
const AFTER: &str = "\"}";
/// The length in bytes of a digest, and of the line end that contains it.
const DIGITS: usize = 16;
const END: usize = BEFORE.len() + DIGITS + AFTER.len();

model::diagnostics! {
    /// The reason why a line is not the next line of a chain.
    pub enum BadDigest {
        /// The line ends in no digest.
        DigestMissing = "it does not end with a digest";
        /// The digest is of another chain.
        DigestWrong = "its digest is wrong: this line was modified, or a line before it was removed";
    }
}

/// Whether a line ends in a digest, right or wrong.
pub(crate) fn has_digest(line: &[u8]) -> bool {
    split(line).is_some()
}

/// The text before the digest of a line, and the digest.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, end) = line.split_at(line.len().saturating_sub(END));
    let digest = end.strip_prefix(BEFORE.as_bytes())?;
    Some((body, digest.strip_suffix(AFTER.as_bytes())?))
}

/// The chain so far.
#[derive(Clone, Default)]
pub(crate) struct DigestChain {
    previous: String,
}

impl DigestChain {
    /// Appends the digest to a JSON object.
    pub(crate) fn close(&mut self, mut object: String) -> String {
        object.pop();
        self.previous = self.next(object.as_bytes());
        object + BEFORE + &self.previous + AFTER
    }

    /// Checks the digest of a line, and returns the JSON object without it.
    pub(crate) fn open(&mut self, line: &str) -> Result<String, BadDigest> {
        let length = self.check(line.as_bytes())?;
        Ok(format!("{}}}", &line[..length]))
    }

    /// Checks the digest of a line, and returns the length of the text before it.
    pub(crate) fn check(&mut self, line: &[u8]) -> Result<usize, BadDigest> {
        let Some((body, digest)) = split(line) else {
            return Err(BadDigest::DigestMissing);
        };
        let right = self.next(body);
        if digest != right.as_bytes() {
            return Err(BadDigest::DigestWrong);
        }
        self.previous = right;
        Ok(body.len())
    }

    fn next(&self, body: &[u8]) -> String {
        let hash = Sha256::new()
            .chain_update(&self.previous)
            .chain_update(body)
            .finalize();
        hash[..DIGITS / 2]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
