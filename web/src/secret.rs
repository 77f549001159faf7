//! Tokens and passwords. `transport::read_secret` reads them from files.

use std::fmt;

/// A shared secret. Its `Debug` output hides it.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_equals_only_itself_and_is_not_shown() {
        let secret = Secret::from("open sesame");
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
}
