//! Seals and unseals datagrams in place.
//!
//! XChaCha20-Poly1305 breaks if two bodies are ever sealed with the same key and nonce. The nonce
//! comes from the header: the run of the process (microseconds of its start, 64 random bits) and
//! the sequence number of the datagram in that run. A sequence number is used once. Two runs, even
//! of processes that share the key, have the same identity only if they start within the same
//! microsecond and draw the same 64 bits. Where clocks cannot be trusted at all, only the random
//! bits remain: after a million such runs, the probability that any two are equal is 1 in 37
//! million. The scheme does not survive a machine restored twice from one snapshot of its memory.

use crate::{Key, Keys, counters::Cause};
use chacha20::{R20, hchacha};
use model::{
    Address, ClientRequest, Envelope, Message,
    message::RequestBody,
    wire::{BadHeader, BootId, ClusterId, HEADER, Header, KeyId, TAG, VotersDigest},
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use zeroize::Zeroizing;

/// Writes headers, seals and unseals, for one run of one process.
pub(crate) struct Sealer {
    cluster: ClusterId,
    voters: VotersDigest,
    boot: BootId,
    sequence: AtomicU64,
    cluster_cipher: Option<Cipher>,
    client_cipher: Option<Cipher>,
}

/// XChaCha20-Poly1305 under one key, composed of its two halves: HChaCha20 derives a subkey from
/// the first 16 bytes of the nonce, which identify the run of a process, and ChaCha20-Poly1305 uses
/// the other 8, the sequence number of the datagram (draft-irtf-cfrg-xchacha, 2.3). The first half
/// is therefore computed once per run. The integration tests compare the result with a complete
/// implementation.
struct Cipher {
    key: Zeroizing<[u8; 32]>,
    /// The subkey of this run, for sending.
    own: LessSafeKey,
    /// The cached subkeys of other runs, by the part of the nonce that identifies the run: the most
    /// recently used ones. Only a datagram that was unsealed adds a run.
    others: Mutex<VecDeque<([u8; RUN], LessSafeKey)>>,
}

/// The number of bytes of a nonce that identify a run.
const RUN: usize = 16;
/// The number of cached subkeys.
const OTHERS: usize = 16;

impl Cipher {
    fn new(key: &Key, boot: BootId) -> Self {
        let key = Zeroizing::new(*key.bytes());
        let first = Header {
            cluster: ClusterId::new(""),
            voters: VotersDigest::NONE,
            key: KeyId::None,
            boot,
            sequence: 0,
        };
        let own = of_run(&key, &run_of(&first.nonce()));
        let others = Mutex::default();
        Self { key, own, others }
    }

    fn seal(&self, header: &Header, associated: &[u8], body: &mut [u8]) -> [u8; TAG] {
        let nonce = within_run(&header.nonce());
        let tag = self
            .own
            .seal_in_place_separate_tag(nonce, Aad::from(associated), body)
            .expect("a datagram is far below the length limit of the cipher");
        let mut bytes = [0; TAG];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Opens a body that is followed by its tag.
    fn open<'a>(
        &self,
        header: &Header,
        associated: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Cause> {
        let nonce = header.nonce();
        let (run, rest) = (run_of(&nonce), within_run(&nonce));
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = others.iter().position(|(of, _)| *of == run) {
            // Moves the subkey to the front. Long unused subkeys drift to the back and are evicted
            // first.
            others.swap(0, index);
            let opened = others[0]
                .1
                .open_in_place(rest, Aad::from(associated), sealed);
            return opened.map_err(|_| Cause::Seal);
        }
        let key = of_run(&self.key, &run);
        let opened = key
            .open_in_place(rest, Aad::from(associated), sealed)
            .map_err(|_| Cause::Seal)?;
        others.truncate(OTHERS - 1);
        others.push_front((run, key));
        Ok(opened)
    }
}

/// The part of this nonce that identifies the run.
fn run_of(nonce: &[u8; 24]) -> [u8; RUN] {
    let mut run = [0; RUN];
    run.copy_from_slice(&nonce[..RUN]);
    run
}

/// Derives the subkey of a run.
fn of_run(key: &[u8; 32], run: &[u8; RUN]) -> LessSafeKey {
    let key = Zeroizing::new(<[u8; 32]>::from(hchacha::<R20>(key.into(), run.into())));
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*key).expect("32 bytes are a key");
    LessSafeKey::new(key)
}

/// Whether a client requests a leadership transfer, the only one of its requests that needs the cluster
/// key.
const fn requests_transfer(envelope: &Envelope) -> bool {
    matches!(
        envelope,
        Envelope {
            from: Address::Client(_),
            to: Address::Node(_) | Address::Proxy(_),
            message: Message::ClientRequest(ClientRequest {
                body: RequestBody::TransferLeadership { .. },
                ..
            }),
        }
    )
}

/// The part of the nonce that is unique within a run.
fn within_run(nonce: &[u8; 24]) -> Nonce {
    let mut rest = [0; 12];
    rest[4..].copy_from_slice(&nonce[RUN..]);
    Nonce::assume_unique_for_key(rest)
}

impl Sealer {
    pub(crate) fn new(cluster: &str, voters: VotersDigest, boot: BootId, keys: &Keys) -> Self {
        let cipher = |key: &Key| Cipher::new(key, boot);
        Self {
            cluster: ClusterId::new(cluster),
            voters,
            boot,
            sequence: AtomicU64::new(1),
            cluster_cipher: keys.cluster.as_ref().map(cipher),
            client_cipher: keys.client.as_ref().map(cipher),
        }
    }

    /// The key for this message, or `None` if no key held here permits it.
    pub(crate) fn key_for(&self, envelope: &Envelope) -> Option<KeyId> {
        let client = |address| matches!(address, Address::Client(_));
        let of_client = client(envelope.from) || client(envelope.to);
        if of_client && self.client_cipher.is_some() && !requests_transfer(envelope) {
            KeyId::Client.allows(envelope).then_some(KeyId::Client)
        } else if self.cluster_cipher.is_some() {
            Some(KeyId::Cluster)
        } else if self.client_cipher.is_none() {
            Some(KeyId::None)
        } else {
            None
        }
    }

    fn cipher(&self, key: KeyId) -> Option<&Cipher> {
        match key {
            KeyId::None => None,
            KeyId::Cluster => self.cluster_cipher.as_ref(),
            KeyId::Client => self.client_cipher.as_ref(),
        }
    }

    /// The number of bytes that a datagram under this key has in addition to its body.
    pub(crate) const fn overhead(key: KeyId) -> usize {
        match key {
            KeyId::None => HEADER,
            KeyId::Cluster | KeyId::Client => HEADER + TAG,
        }
    }

    /// Writes the header at the front of this datagram and the tag at its end, and encrypts the
    /// body between them.
    ///
    /// # Panics
    /// If this key is not held, or the datagram has no room for header and tag.
    pub(crate) fn seal(&self, key: KeyId, datagram: &mut [u8]) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let header = Header {
            cluster: self.cluster,
            voters: self.voters,
            key,
            boot: self.boot,
            sequence,
        };
        let (mut front, body) = datagram.split_at_mut(HEADER);
        header.encode(&mut front);
        if key == KeyId::None {
            return;
        }
        let cipher = self
            .cipher(key)
            .expect("the key is held: key_for chose it, or it opened a datagram");
        let (body, tag) = body.split_at_mut(body.len() - TAG);
        let mut associated = [0; HEADER];
        header.encode(&mut &mut associated[..]);
        tag.copy_from_slice(&cipher.seal(&header, &associated, body));
    }

    /// Decodes a datagram's header and opens its body, in place.
    pub(crate) fn unseal<'a>(
        &self,
        datagram: &'a mut [u8],
    ) -> Result<(Header, &'a mut [u8]), Cause> {
        let header = Header::decode(datagram).map_err(|bad| match bad {
            BadHeader::Short => Cause::Short,
            BadHeader::Magic => Cause::Magic,
            BadHeader::Version(_) => Cause::Version,
            BadHeader::Key(_) => Cause::UnknownKey,
        })?;
        if header.cluster != self.cluster {
            return Err(Cause::Cluster);
        }
        let insecure = self.cluster_cipher.is_none() && self.client_cipher.is_none();
        let (front, body) = datagram.split_at_mut(HEADER);
        if header.key == KeyId::None {
            return if insecure {
                Ok((header, body))
            } else {
                Err(Cause::Unsealed)
            };
        }
        if insecure {
            return Err(Cause::Sealed);
        }
        let cipher = self.cipher(header.key).ok_or(Cause::UnknownKey)?;
        if body.len() < TAG {
            return Err(Cause::Short);
        }
        Ok((header, cipher.open(&header, front, body)?))
    }
}

#[cfg(test)]
mod tests;
