//! The page of a running cluster.

use crate::{NAMELESS, SIZES, assert_fits, checker, cluster, until_address, until_drawn};
use harness::{PageServer, browser::Browser, files, wait::until};
use serde_json::json;

#[test]
fn server_that_goes_and_comes_back_is_gone_and_back_in_the_page() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
    let origin = server.origin().to_owned();
    browser.go(&format!("{origin}/#/explore?scope=crashes"));
    browser.see("[data-key='1e']");
    browser.see_text(".export-menu", "Export");
    server.kill();
    browser.click("[data-key='1e']");
    browser.see(".banner.is-bad");
    let address = origin.trim_start_matches("http://");
    let server = PageServer::open("raft-checker", &["explore", "--address", address]);
    until("the notice to go by itself", || {
        let hidden = "return document.querySelector('.banner.is-bad').hidden";
        (browser.run(hidden, vec![]) == true).then_some(())
    });
    // It continues from its previous position.
    browser.click("[data-key='1e']");
    until_address(&browser, "path=1e");
    // The page reports that the server did not respond for a while.
    let complaints = browser.complaints();
    let is_refusal =
        |said: &String| said.contains("ERR_CONNECTION_REFUSED") || said.contains("Failed to load");
    assert!(complaints.iter().all(is_refusal), "{complaints:#?}");
    browser.close(&[server.origin()]);
}

#[test]
fn cluster_is_watched_written_to_and_broken_on_purpose() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = cluster(&["--embedded=3", "--chaos", "--redis=127.0.0.1:0"]);
    browser.go(server.origin());
    let leader = |browser: &Browser| {
        until("a leader to be shown", || {
            let said = browser.run(
                "return document.querySelector('.live-summary dd')?.textContent || ''",
                vec![],
            );
            let said = said.as_str().unwrap_or_default().to_owned();
            said.starts_with("server").then_some(said)
        })
    };
    let first = leader(&browser);
    browser.fill("#live-key", "greeting");
    browser.fill("#live-value", "hello, cluster");
    browser.click_text(".keys-editor", "Put");
    browser.see(".outcome.is-good");
    browser.see_text(".keys", "hello, cluster");
    browser.picture("live");
    assert_eq!(browser.run(NAMELESS, vec![]), json!([]));
    browser.click(&format!("[aria-label='Isolate: {first}']"));
    until("another leader", || {
        (leader(&browser) != first).then_some(())
    });
    browser.see(".chaos-active li");
    browser.run("window.scrollTo(0, 0)", vec![]);
    browser.picture("live-leader-isolated");
    // The old value is still there, and further writes succeed.
    browser.fill("#live-value", "hello again");
    browser.click_text(".keys-editor", "Put");
    browser.see_text(".keys", "hello again");
    browser.click_text(".is-chaos", "Heal");
    until("nothing to be broken", || {
        (!browser.has(".chaos-active li")).then_some(())
    });
    browser.resize(390, 844);
    assert_fits(&browser, 390);
    browser.picture("live-narrow");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let origin = server.origin().to_owned();
    server.kill();
    browser.see(".live-head .chip.is-bad");
    // The page now reports that the server does not respond.
    browser.complaints();
    browser.close(&[&origin]);
}

#[test]
fn keys_are_compared_and_deleted_and_links_broken_on_the_live_page() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = cluster(&["--embedded=3", "--chaos", "--redis=off"]);
    browser.go(server.origin());
    browser.see_text(".live-summary", "server");
    let act = |browser: &Browser, what: &str| browser.click_text(".keys-editor", what);
    let version = |browser: &Browser| {
        let said = browser.see(".outcome.is-good");
        let digits = said.rsplit(' ').next().unwrap_or_default();
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        digits
            .parse::<u64>()
            .unwrap_or_else(|_| panic!("no version in {said:?}"))
    };
    // Compare and swap: only if the key is absent, then only if the key has not changed in between.
    browser.fill("#live-key", "lock");
    browser.fill("#live-value", "mine");
    browser.choose("#live-condition", "absent");
    act(&browser, "Put");
    browser.see_text(".outcome.is-good", "Done");
    let first = version(&browser);
    act(&browser, "Put");
    browser.see_text(".outcome.is-warn", &format!("has version {first}"));
    browser.choose("#live-condition", "version");
    act(&browser, "Get");
    browser.see_text(".outcome.is-good", &format!("Read, version {first}"));
    browser.fill("#live-value", "still mine");
    act(&browser, "Put");
    browser.see_text(".outcome.is-good", "Done");
    let second = version(&browser);
    assert!(second > first, "{second} after {first}");
    let versions = "[aria-label=Version]";
    browser.fill(versions, &first.to_string());
    act(&browser, "Put");
    browser.see_text(".outcome.is-warn", &format!("has version {second}"));
    act(&browser, "Delete");
    browser.see_text(".outcome.is-warn", &format!("has version {second}"));
    browser.see_text(".keys", "still mine");
    browser.fill(versions, &second.to_string());
    act(&browser, "Delete");
    browser.see_text(".outcome.is-good", "Done");
    until("the key to be gone from the list", || {
        (!browser.see(".keys-list").contains("still mine")).then_some(())
    });
    act(&browser, "Get");
    browser.see_text(".keys-editor .outcome", "no such key");
    // A rejected request, and an absent key. `lock` in base64url.
    browser.was_refused("/v1/key/bG9jaw");

    // A link, in one direction and in both directions.
    let links = "return document.querySelectorAll('.chaos-active li').length";
    browser.choose(".chaos-link select[aria-label=From]", "1");
    browser.choose(".chaos-link select[aria-label=To]", "2");
    browser.choose(".chaos-link select[aria-label^=What]", "cut");
    browser.click(".chaos-link input[type=checkbox]");
    browser.click_text(".chaos-link", "Break link");
    let told = browser.see_text(".chaos-active", "server 1 → server 2");
    assert!(told.contains("cut"), "{told}");
    assert_eq!(browser.run(links, vec![]), 1);
    browser.see(".links .is-cut");
    browser.choose(".chaos-link select[aria-label^=What]", "slow");
    browser.choose(".chaos-link select[aria-label=To]", "3");
    browser.click(".chaos-link input[type=checkbox]");
    browser.click_text(".chaos-link", "Break link");
    browser.see_text(".chaos-active", "server 3 → server 1");
    assert_eq!(browser.run(links, vec![]), 3);
    browser.picture("live-links");
    // One fault is ended alone, the rest together.
    browser.click_text(".chaos-active", "server 1 → server 2");
    until("one link to be whole", || {
        (browser.run(links, vec![]) == 2).then_some(())
    });
    browser.click_text(".is-chaos", "Heal");
    until("all links to be whole", || {
        (browser.run(links, vec![]) == 0).then_some(())
    });
    browser.see_text(".events", "server 1 → server 2");
    // A link from a server to itself cannot be selected.
    browser.choose(".chaos-link select[aria-label=To]", "1");
    browser.click_text(".chaos-link", "Break link");
    browser.see(".is-chaos .outcome.is-bad");
    browser.was_refused("/v1/chaos");
    browser.close(&[server.origin()]);
}

#[test]
fn nothing_of_the_cluster_is_shown_without_the_token() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory can be made");
    let token = folder.path().join("token");
    std::fs::write(&token, "open sesame\n").expect("a file can be written");
    let token = format!("--http-token-file={}", token.display());
    let server = cluster(&["--embedded=1", "--redis=off", &token]);
    browser.go(server.origin());
    browser.fill("#live-token", "guess");
    browser.click_text(".live-token", "");
    browser.see(".live-token [role=alert]");
    assert!(!browser.has(".live-summary"), "nothing is shown");
    browser.fill("#live-token", "open sesame");
    browser.click_text(".live-token", "");
    browser.see(".live-summary");
    // The guessed token was rejected.
    browser.was_refused("/v1/events");
    browser.close(&[server.origin()]);
}

#[test]
fn live_stage_is_legible_at_every_window_size() {
    let Some(mut browser) = Browser::open(1280, 800) else {
        return;
    };
    let origin = files::serve();
    let both = json!([
        {"from": 1, "to": 2, "faults": {"cut": true}},
        {"from": 2, "to": 1, "faults": {"cut": true}},
        {"from": "proxy", "to": 3, "faults": {"cut": false, "drop": 0.3, "duplicate": 0, "reorder": 0}},
    ]);
    for servers in [3, 5] {
        for (number, cluster) in [
            json!({"servers": servers}),
            json!({"servers": servers, "isolated": [2]}),
            json!({"servers": servers, "isolated": [1], "silent": 99_000}),
            json!({"servers": servers, "leader": 3, "isolated": [2], "lag": 123_456}),
            json!({"servers": servers, "killed": [servers]}),
            json!({"servers": servers, "links": both}),
        ]
        .iter()
        .enumerate()
        {
            let language = if number % 2 == 0 { "en" } else { "es" };
            browser.go(&format!(
                "{origin}/tests/live.html?{cluster}&lang={language}"
            ));
            browser.see(".nodes .process");
            for (width, height, scale) in SIZES {
                browser.zoom(width, height, scale);
                until_drawn(&browser);
                assert_eq!(
                    browser.overlaps(),
                    Vec::<String>::new(),
                    "{width} x {height}: {cluster}"
                );
            }
        }
    }
    browser.picture("live-stage");
    browser.complaints();
    browser.close(&[&origin]);
}

#[test]
fn state_of_a_cluster_without_a_quorum_is_told_as_that() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let origin = files::serve();
    let cluster = json!({"servers": 5, "killed": [1, 2, 5]});
    browser.go(&format!("{origin}/tests/live.html?{cluster}"));
    let chip = browser.see_text(".live-head .chip", "no quorum");
    assert_eq!(chip, "✕ no quorum: 2 of 5 up; writes wait");
    assert!(browser.has(".live-head .chip.is-bad"));
    // The last known commit index stays, with its age. The size of a killed server's log comes from
    // its last index, not from the number of entries that the page received.
    let summary = browser.see_text(".live-summary", "123,456 ·");
    assert!(summary.contains("ago"), "{summary}");
    assert!(summary.contains("2 of 5 (majority 3)"), "{summary}");
    assert!(summary.contains("1 too few"), "{summary}");
    let stage = browser.see_text(".live-stage", "disk: t17, to entry 123,456");
    assert!(!stage.contains("24 entries"), "{stage}");
    browser.see_text(".servers tr.is-gone", "123,456");
    browser.go(&format!(
        "{origin}/tests/live.html?{}",
        json!({"servers": 5})
    ));
    browser.see_text(".live-head .chip.is-good", "live: 5 of 5 up");
    browser.see_text(".live-summary", "2 more may fail");
    browser.complaints();
    browser.close(&[&origin]);
}
