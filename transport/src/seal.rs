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
    Address, Envelope,
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
            cluster: ClusterId::of(""),
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
            .expect("a datagram is far shorter than what can be sealed");
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
        if let Some(place) = others.iter().position(|(of, _)| *of == run) {
            // Moves the subkey to the front. Long unused subkeys drift to the back and are evicted
            // first.
            others.swap(0, place);
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
            cluster: ClusterId::of(cluster),
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
        if of_client && self.client_cipher.is_some() {
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
        let cipher = self.cipher(key).expect("what is sealed has its key here");
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
mod tests {
    use super::*;

    fn key(byte: &str) -> Option<Key> {
        format!("stateraft-key-1:{}", byte.repeat(32)).parse().ok()
    }

    fn sealer(cluster: Option<Key>, client: Option<Key>) -> Sealer {
        sealer_of_run(2, cluster, client)
    }

    fn sealer_of_run(random: u64, cluster: Option<Key>, client: Option<Key>) -> Sealer {
        let boot = BootId { started: 1, random };
        Sealer {
            cluster: ClusterId::of("stateraft"),
            voters: VotersDigest::NONE,
            boot,
            sequence: AtomicU64::new(1),
            cluster_cipher: cluster.map(|key| Cipher::new(&key, boot)),
            client_cipher: client.map(|key| Cipher::new(&key, boot)),
        }
    }

    /// A datagram with the body "body".
    fn datagram(sealer: &Sealer, key: KeyId) -> Vec<u8> {
        let mut bytes = vec![0; Sealer::overhead(key) + 4];
        bytes[HEADER..HEADER + 4].copy_from_slice(b"body");
        sealer.seal(key, &mut bytes);
        bytes
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn cause(sealer: &Sealer, datagram: &[u8]) -> Option<Cause> {
        sealer.unseal(&mut datagram.to_owned()).err()
    }

    #[test]
    fn sealed_datagram_golden() {
        let sealer = sealer(key("01"), None);
        let bytes = datagram(&sealer, KeyId::Cluster);
        assert_eq!(
            hex(&bytes[HEADER..]),
            "36e881f199b4b25690d460bb83f378dfc5869765"
        );
        let mut opened = bytes.clone();
        let (header, body) = sealer.unseal(&mut opened).unwrap();
        assert_eq!(body, b"body");
        assert_eq!((header.key, header.sequence), (KeyId::Cluster, 1));
        // The next datagram uses another nonce.
        assert_ne!(datagram(&sealer, KeyId::Cluster)[HEADER..], bytes[HEADER..]);
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let sealer = sealer(key("01"), key("02"));
        let bytes = datagram(&sealer, KeyId::Cluster);
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                assert!(
                    cause(&sealer, &changed).is_some(),
                    "byte {place}, bit {bit}"
                );
            }
        }
        for length in 0..bytes.len() {
            assert!(cause(&sealer, &bytes[..length]).is_some(), "{length} bytes");
        }
    }

    /// Datagrams of a run are opened whether its subkey is cached or derived. Forged ones are not,
    /// and they leave the cache unchanged.
    #[test]
    fn many_runs_are_told_apart() {
        let receiver = sealer(key("01"), key("02"));
        let runs = 3 * OTHERS as u64;
        let sent = |run| {
            let sender = sealer_of_run(run, key("01"), key("02"));
            [KeyId::Cluster, KeyId::Client].map(|key| datagram(&sender, key))
        };
        let all: Vec<_> = (10..10 + runs).map(sent).collect();
        for round in 0..3 {
            for datagrams in all.iter().skip(round).step_by(1 + round) {
                for bytes in datagrams {
                    assert_eq!(cause(&receiver, bytes), None);
                }
            }
        }
        let remembered = || {
            let others = receiver.cluster_cipher.as_ref().unwrap().others.lock();
            let others: Vec<_> = others.unwrap().iter().map(|(run, _)| *run).collect();
            others
        };
        let before = remembered();
        assert_eq!(before.len(), OTHERS);
        let stranger = sealer_of_run(7, key("03"), None);
        for _ in 0..OTHERS {
            let forged = datagram(&stranger, KeyId::Cluster);
            assert_eq!(cause(&receiver, &forged), Some(Cause::Seal));
        }
        assert_eq!(remembered(), before);
    }

    #[test]
    fn each_fault_has_its_cause() {
        let both = sealer(key("01"), key("02"));
        let cluster = sealer(key("01"), None);
        let client = sealer(None, key("02"));
        let other = sealer(key("03"), None);
        let none = sealer(None, None);
        let elsewhere = Sealer::new(
            "elsewhere",
            VotersDigest::NONE,
            BootId {
                started: 1,
                random: 2,
            },
            &Keys::INSECURE,
        );

        let under_cluster = datagram(&both, KeyId::Cluster);
        let under_client = datagram(&both, KeyId::Client);
        let in_clear = datagram(&none, KeyId::None);
        assert_eq!(cause(&cluster, &under_cluster), None);
        assert_eq!(cause(&client, &under_client), None);
        assert_eq!(cause(&none, &in_clear), None);
        assert_eq!(cause(&client, &under_cluster), Some(Cause::UnknownKey));
        assert_eq!(cause(&cluster, &under_client), Some(Cause::UnknownKey));
        assert_eq!(cause(&other, &under_cluster), Some(Cause::Seal));
        assert_eq!(cause(&cluster, &in_clear), Some(Cause::Unsealed));
        assert_eq!(cause(&none, &under_cluster), Some(Cause::Sealed));
        assert_eq!(cause(&elsewhere, &in_clear), Some(Cause::Cluster));
        assert_eq!(
            cause(&cluster, &under_cluster[..HEADER + TAG - 1]),
            Some(Cause::Short)
        );
        // The key id in the header is authenticated: changing it breaks the seal.
        let mut disguised = under_client.clone();
        disguised[5] = KeyId::Cluster as u8;
        assert_eq!(cause(&both, &disguised), Some(Cause::Seal));
    }

    #[test]
    fn each_message_goes_under_the_least_key_that_may_say_it() {
        use model::{ClientId, ClientRequest, Message, NodeId, ProxyId, RequestId};
        let ask = |from, to| Envelope {
            from,
            to,
            message: Message::ClientRequest(ClientRequest {
                client: ClientId::new(1),
                id: RequestId::new(1),
                body: model::message::RequestBody::OpenSession,
            }),
        };
        let of_client = ask(
            Address::Client(ClientId::new(1)),
            Address::Node(NodeId::new(1)),
        );
        let of_proxy = ask(
            Address::Proxy(ProxyId::new(1)),
            Address::Node(NodeId::new(1)),
        );
        let both = sealer(key("01"), key("02"));
        assert_eq!(both.key_for(&of_client), Some(KeyId::Client));
        assert_eq!(both.key_for(&of_proxy), Some(KeyId::Cluster));
        let cluster = sealer(key("01"), None);
        assert_eq!(cluster.key_for(&of_client), Some(KeyId::Cluster));
        let client = sealer(None, key("02"));
        assert_eq!(client.key_for(&of_client), Some(KeyId::Client));
        assert_eq!(client.key_for(&of_proxy), None);
        let none = sealer(None, None);
        assert_eq!(none.key_for(&of_proxy), Some(KeyId::None));
    }
}
