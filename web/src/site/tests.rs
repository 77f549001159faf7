use super::*;

fn check(policy: &Policy, lines: &[(&str, &str)]) -> Result<(), SiteError> {
    let mut request = Request::get("/v1/kv/k");
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    policy.check(&request.body(()).unwrap())
}

#[test]
fn host_without_a_token_is_local_or_listed() {
    let policy = Policy::new(["raft.example".to_owned()], false);
    for host in [
        "localhost",
        "LocalHost:8080",
        "localhost.:80",
        "127.0.0.1:8080",
        "0.0.0.0:1",
        "[::1]:8080",
        "[::1]",
        "192.0.2.7",
        "raft.example:1",
        "RAFT.EXAMPLE.",
    ] {
        assert_eq!(check(&policy, &[("host", host)]), Ok(()), "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "2130706433",
        "0x7f.1",
        "xlocalhost",
        "sub.raft.example",
    ] {
        let refused = Err(SiteError::ForeignHost);
        assert_eq!(check(&policy, &[("host", host)]), refused, "{host}");
    }
    for host in [
        "",
        "evil@localhost",
        "localhost:8080@evil.example",
        "localhost:x",
        "localhost:99999",
        "localhost/",
        "a b",
        "[::1",
        "::1",
    ] {
        let found = check(&policy, &[("host", host)]);
        assert!(found.is_err(), "{host}: {found:?}");
    }
    let twice = [("host", "localhost"), ("host", "localhost")];
    assert_eq!(check(&policy, &twice), Err(SiteError::BadHost));
    assert_eq!(check(&policy, &[]), Err(SiteError::BadHost));
}

#[test]
fn token_allows_any_name_unless_names_are_listed() {
    let host = [("host", "raft.internal")];
    assert_eq!(check(&Policy::new([], true), &host), Ok(()));
    let listed = Policy::new(["raft.example".to_owned()], true);
    assert_eq!(check(&listed, &host), Err(SiteError::ForeignHost));
    assert_eq!(
        check(&Policy::new([], false), &host),
        Err(SiteError::ForeignHost)
    );
}

#[test]
fn absolute_target_counts_instead_of_host() {
    let policy = Policy::new([], false);
    let target = |uri: &str| {
        let request = Request::get(uri).header("host", "localhost").body(());
        policy.check(&request.unwrap())
    };
    assert_eq!(target("http://127.0.0.1/v1/kv"), Ok(()));
    assert_eq!(
        target("http://evil.example/v1/kv"),
        Err(SiteError::ForeignHost)
    );
}

#[test]
fn old_clients_need_no_host() {
    let request = Request::get("/").version(Version::HTTP_10).body(());
    assert_eq!(Policy::new([], false).check(&request.unwrap()), Ok(()));
}

#[test]
fn origin_is_the_server_itself_or_listed() {
    for has_token in [false, true] {
        let policy = Policy::new(["raft.example".to_owned()], has_token);
        let from = |host, origin| check(&policy, &[("host", host), ("origin", origin)]);
        for (host, origin) in [
            ("localhost:8080", "http://localhost:8080"),
            ("127.0.0.1", "http://127.0.0.1"),
            ("127.0.0.1:80", "http://127.0.0.1"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("raft.example", "https://raft.example"),
            // Behind a proxy that terminates TLS and uses the IP address of this server.
            ("10.0.0.9:8080", "https://raft.example"),
        ] {
            assert_eq!(from(host, origin), Ok(()), "{host} {origin}");
        }
        for (host, origin) in [
            ("localhost:8080", "http://evil.example"),
            ("localhost:8080", "http://localhost:3000"),
            ("localhost:8080", "http://localhost"),
            ("localhost:8080", "http://127.0.0.1:8080"),
            ("localhost:8080", "null"),
            ("localhost:8080", "file://"),
            ("localhost:8080", "ftp://localhost:8080"),
            ("localhost:8080", "localhost:8080"),
            ("localhost:8080", "http://localhost:8080@evil.example"),
            ("localhost:8080", ""),
        ] {
            let refused = Err(SiteError::ForeignOrigin);
            assert_eq!(from(host, origin), refused, "{host} {origin}");
        }
    }
}

#[test]
fn fetch_site_alone_proves_nothing() {
    let policy = Policy::new([], false);
    let same = ("sec-fetch-site", "same-origin");
    assert_eq!(check(&policy, &[("host", "localhost"), same]), Ok(()));
    assert_eq!(
        check(&policy, &[("host", "evil.example"), same]),
        Err(SiteError::ForeignHost)
    );
    let foreign = ("origin", "http://evil.example");
    assert_eq!(
        check(&policy, &[("host", "localhost"), same, foreign]),
        Err(SiteError::ForeignOrigin)
    );
    for site in ["cross-site", "same-site", "", "Same-Origin"] {
        let lines = [("host", "localhost"), ("sec-fetch-site", site)];
        let refused = Err(SiteError::ForeignOrigin);
        assert_eq!(check(&policy, &lines), refused, "{site}");
    }
    let twice = [
        ("host", "localhost"),
        same,
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(check(&policy, &twice), Err(SiteError::ForeignOrigin));
}

#[test]
fn names_have_no_scheme_and_no_port() {
    assert_eq!(parse_name(" Raft.Example "), Ok("raft.example".to_owned()));
    for text in ["", "http://a", "a:80", "a/b", "*", "[::1]"] {
        assert!(parse_name(text).is_err(), "{text}");
    }
}
