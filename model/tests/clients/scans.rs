//! Scans.

use crate::{cluster, cluster::put, leader, text};
use model::{
    Config, Payload, SessionId, Store,
    message::{RequestBody, ResponseBody},
    store::{Command, Found, MAX_SCAN_BYTES, PAIR_BYTES, Query, Versioned, Write},
};

/// A scan returns the keys with a prefix, in order, page by page.
#[test]
fn scan_returns_pages_in_key_order() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    for (place, key) in ["b", "ab", "a", "ac", "aa"].iter().enumerate() {
        cluster.write(1, (session, place as u64 + 1, 1), put(key, "1"));
    }
    cluster.settle();
    let mut page = |prefix: &str, after: Option<&str>, limit| {
        let query = Query::Scan {
            prefix: prefix.into(),
            after: after.map(Into::into),
            limit,
            bytes: u32::MAX,
        };
        let id = cluster.request(1, RequestBody::Read { query });
        cluster.settle();
        let Some(ResponseBody::Found(Found::Pairs(page))) = cluster.answer(id) else {
            panic!("a page: {:?}", cluster.answer(id));
        };
        let mut keys = Vec::from_iter(page.pairs.iter().map(|(key, _)| text(key)));
        keys.extend(page.more.then(|| "...".to_owned()));
        keys.join(" ")
    };
    assert_eq!(page("a", None, 9), "a aa ab ac");
    assert_eq!(page("a", None, 2), "a aa ...");
    assert_eq!(page("a", Some("aa"), 2), "ab ac");
    assert_eq!(page("a", Some("ac"), 2), "");
    assert_eq!(page("a", None, 0), "...");
    assert_eq!(page("none", None, 0), "");
    assert_eq!(page("", Some("ac"), 2), "b");
    assert_eq!(page("b", Some("a"), 2), "b");
}

/// A page is bounded in bytes and in number, contains at least one pair, and reports whether more keys
/// exist. All pages together contain every key once.
#[test]
fn scan_pages_are_bounded_in_bytes_and_go_on_where_they_stopped() {
    let config = Config::production([cluster::node(1)].into());
    let mut store = Store::default();
    store.apply(
        &Payload::Command(Command::OpenSession {
            capacity: 1,
            window: 0,
        }),
        &config,
    );
    // Values of at least 10 bytes, one of them too large for any page.
    let large = "x".repeat(MAX_SCAN_BYTES as usize + 1);
    for sequence in 1..=60 {
        let value = if sequence == 30 {
            large.clone()
        } else {
            "y".repeat(sequence as usize * 10)
        };
        let write = Write {
            quota: u64::MAX,
            session: SessionId::new(1),
            sequence,
            acknowledged: sequence,
            operation: put(&format!("k{sequence:02}"), &value),
        };
        store.apply(&Payload::Command(Command::from(write)), &config);
    }
    let size = |(key, held): &(Vec<u8>, Versioned)| key.len() + held.value.len() + PAIR_BYTES;
    for bytes in [0, 1, 100, 1000, 1_000_000, u32::MAX] {
        let (mut after, mut keys, mut pages) = (None, Vec::new(), 0);
        loop {
            let query = Query::Scan {
                prefix: b"k".to_vec(),
                after: after.take(),
                limit: u32::MAX,
                bytes,
            };
            let Found::Pairs(page) = store.query(&query, &config) else {
                panic!("a page");
            };
            let used: usize = page.pairs.iter().map(size).sum();
            let bound = bytes.min(MAX_SCAN_BYTES) as usize;
            assert!(used <= bound || page.pairs.len() == 1, "{used} of {bytes}");
            keys.extend(page.pairs.into_iter().map(|(key, _)| key));
            pages += 1;
            if !page.more {
                break;
            }
            after = keys.last().cloned();
        }
        assert_eq!(keys.len(), 60, "{bytes}");
        assert!(keys.is_sorted());
        let least = if bytes < 100 { 60 } else { 3 };
        assert!(pages >= least, "{pages} pages of {bytes} bytes");
    }
}
