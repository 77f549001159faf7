//! `deploy/copy-cluster`, which docs/deploy.md recommends after the loss of a disk.

use harness::{PageServer, http};
use serde_json::Value;
use std::{net::SocketAddr, path::Path, process::Command};

/// A cluster of one server, and the HTTP address of its proxy.
fn cluster(settings: &[&str]) -> (PageServer, SocketAddr) {
    let arguments = [
        "--embedded=1",
        "--data-dir={dir}/data",
        "--listen=127.0.0.1:0",
        "--http=127.0.0.1:0",
        "--redis=off",
    ];
    let server = PageServer::open("raft-proxy", &[&arguments, settings].concat());
    let at = server.origin().strip_prefix("http://");
    let at = at.and_then(|at| at.parse().ok()).expect("an address");
    (server, at)
}

/// All keys and values in the order of a listing, without versions.
fn content(at: SocketAddr) -> Vec<Value> {
    let mut items = Vec::new();
    let mut page = "/v1/kv?limit=1000".to_owned();
    loop {
        let (code, text) = http::ask(at, "GET", &page, "").expect("a listing");
        assert_eq!(code, 200, "{text}");
        let mut listing: Value = serde_json::from_str(&text).expect("JSON");
        let found = listing["items"].as_array_mut().expect("items");
        for item in found {
            item.as_object_mut().expect("an item").remove("version");
            items.push(item.take());
        }
        match listing["next"].as_str() {
            Some(next) => page = next.to_owned(),
            None => return items,
        }
    }
}

fn copy(arguments: &[&str]) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/copy-cluster");
    let output = Command::new("python3")
        .arg(script)
        .args(arguments)
        .output()
        .expect("python3 does not start: install it (apt-get install python3)");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn every_key_and_value_arrives_in_another_cluster() {
    let (old, at) = cluster(&[]);
    let put = |key: &str, value: &str| {
        let (code, text) = http::ask(at, "PUT", &format!("/v1/kv/{key}"), value).expect("a put");
        assert_eq!(code, 200, "{text}");
    };
    for key in ["plain", "a%2Fb%20c%3F%26%2B%25", "%C3%BC", "%FF%00%80"] {
        put(key, "x\r\ny");
    }
    put("empty", "");
    // More than one page.
    for number in 0..40 {
        put(&format!("large-{number}"), &"v".repeat(30_000));
    }
    let before = content(at);
    assert_eq!(before.len(), 45);
    let (new, beside) = cluster(&[]);
    for arguments in [vec![], vec!["--stale"]] {
        let (done, said) = copy(&[&arguments[..], &[old.origin(), new.origin()]].concat());
        assert!(done, "{said}");
        assert_eq!(said, "45 keys copied\n");
        assert_eq!(content(beside), before);
    }
}

#[test]
fn copy_that_fails_says_so() {
    let (old, at) = cluster(&[]);
    let (code, _) = http::ask(at, "PUT", "/v1/kv/k", "v").expect("a put");
    assert_eq!(code, 200);
    let (done, said) = copy(&[old.origin(), "http://127.0.0.1:1"]);
    assert!(!done, "{said}");
    assert!(said.contains("nothing more was copied"), "{said}");
    // A command line error is also a single line.
    for (arguments, expected) in [
        (vec!["localhost:8080", old.origin()], "such as http://"),
        (
            vec!["--old-token-file=/nowhere", old.origin(), old.origin()],
            "cannot read the token in /nowhere",
        ),
    ] {
        let (done, said) = copy(&arguments);
        assert!(!done && said.contains(expected), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
