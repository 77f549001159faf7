//! The chain of digests that a trace ends its lines in, so that no field of any line can be altered
//! unnoticed. A digest is the first 16 hexadecimal digits of the SHA-256 of the digest before it
//! (nothing, for the first) and of the line up to where its own digest begins.
//!
//! It catches accidents and careless edits. Whoever makes the whole chain anew is not caught here.

use sha2::{Digest, Sha256};

/// What comes before and after the digest of a line.
const BEFORE: &str = ",\"digest\":\"";
const AFTER: &str = "\"}";
/// Bytes of a digest, and of what it ends a line with.
const DIGITS: usize = 16;
const END: usize = BEFORE.len() + DIGITS + AFTER.len();

/// The chain, as far as it has come.
#[derive(Clone, Default)]
pub(crate) struct Seal {
    previous: String,
}

impl Seal {
    /// Adds its digest to a JSON object.
    pub(crate) fn close(&mut self, mut object: String) -> String {
        object.pop();
        self.previous = self.next(object.as_bytes());
        object + BEFORE + &self.previous + AFTER
    }

    /// The JSON object without its digest, which must be right.
    pub(crate) fn open(&mut self, line: &str) -> Result<String, String> {
        let length = self.check(line.as_bytes())?;
        Ok(format!("{}}}", &line[..length]))
    }

    /// How much of a line comes before its digest, which must be right.
    pub(crate) fn check(&mut self, line: &[u8]) -> Result<usize, String> {
        let length = line.len().saturating_sub(END);
        let (body, end) = line.split_at(length);
        let digest = end
            .strip_prefix(BEFORE.as_bytes())
            .and_then(|rest| rest.strip_suffix(AFTER.as_bytes()));
        let Some(digest) = digest else {
            return Err("it does not end in a digest".into());
        };
        let right = self.next(body);
        if digest != right.as_bytes() {
            return Err(
                "its digest is wrong: this line was changed, or one before it was removed".into(),
            );
        }
        self.previous = right;
        Ok(length)
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
