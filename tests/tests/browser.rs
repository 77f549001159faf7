//! The browser app in a real browser, against the real servers.

use fantoccini::key::Key;
use harness::{Door, browser::Browser, files, wait::until};
use serde_json::json;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

#[test]
fn page_that_asks_a_stranger_is_found_out() {
    let Some(mut browser) = Browser::open(600, 400) else {
        return;
    };
    browser.go("data:text/html,<h1>a page</h1><img src='http://127.0.0.1:9/stranger'>");
    assert_eq!(browser.see("h1"), "a page");
    assert!(
        browser
            .asked()
            .iter()
            .any(|address| address.ends_with("/stranger")),
        "what pages ask is seen"
    );
    let close = AssertUnwindSafe(|| browser.close(&["http://127.0.0.1:8"]));
    let refused = catch_unwind(close).expect_err("it asked another than :8");
    let why = refused.downcast_ref::<String>().expect("it says why");
    assert!(why.contains("a stranger"), "{why}");
}

#[test]
fn page_that_throws_is_found_out() {
    let Some(browser) = Browser::open(390, 844) else {
        return;
    };
    browser.go("data:text/html,<h1>broken</h1><script>nothing.here()</script>");
    assert_eq!(browser.run("return window.innerWidth", vec![]), 390);
    let close = AssertUnwindSafe(|| browser.close(&[]));
    let refused = catch_unwind(close).expect_err("it threw");
    let why = refused.downcast_ref::<String>().expect("it says why");
    assert!(why.contains("complains"), "{why}");
}

/// The tour of this many steps, walked to its end by keys.
fn walk(browser: &Browser, door: &Door, tour: &str, parts: usize) {
    browser.go(&format!("{}/#/tour/{tour}", door.origin()));
    browser.see(".tour-head");
    let steps = browser.count(".tour-contents a");
    assert!(steps >= 8, "{tour} has {steps} steps");
    assert_eq!(
        browser.count(".tour-toc-part"),
        if parts > 1 { parts } else { 0 }
    );
    for step in 2..=steps {
        browser.press(Key::Right);
        browser.see_text(".tour-moves", &format!("{step} of {steps}"));
        assert!(
            !browser.see(".tour-text").is_empty(),
            "step {step} says nothing"
        );
    }
    assert!(browser.address().ends_with(&format!("step={}", steps - 1)));
}

#[test]
fn tours_are_walked_in_two_languages() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = Door::open("raft-checker", &["explore", "--address", "127.0.0.1:0"]);
    browser.go(&format!("{}/#/tour", door.origin()));
    browser.see_text("h1", "guided tours");
    assert_eq!(browser.count(".tour-card"), 7);
    browser.picture("tours");
    for (tour, parts) in [
        ("election", 1),
        ("split-vote", 1),
        ("replication", 1),
        ("leader-crash", 1),
        ("figure-8", 3),
        ("partition", 1),
        ("exactly-once", 1),
    ] {
        walk(&browser, &door, tour, parts);
        browser.picture(&format!("tour-{tour}"));
    }
    browser.choose("select", "es");
    browser.see_text(".tour-top a", "recorridos");
    browser.resize(390, 844);
    browser.go(&format!("{}/#/tour/figure-8?step=8", door.origin()));
    browser.see_text(".tour-moves", "9 de 23");
    assert_fits(&browser, 390);
    browser.picture("tour-narrow-spanish");
    browser.close(&[door.origin()]);
}

#[test]
fn recorded_run_is_replayed_and_shows_where_a_law_breaks() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let run = tour("figure-8-bug.jsonl");
    let run = run.to_str().expect("the path is text");
    let door = Door::open(
        "raft-checker",
        &["replay", "--serve", run, "--address", "127.0.0.1:0"],
    );
    browser.go(door.origin());
    let verdict = browser.see_text(".replay-verdict", "broken");
    assert!(verdict.contains("Leader Completeness"), "{verdict}");
    let steps = jsonl(run).len() - 1;
    browser.press(Key::End);
    browser.see_text(".replay-side", "Leader Completeness");
    assert!(browser.address().ends_with(&format!("step={steps}")));
    browser.picture("replay-broken-law");
    browser.press(Key::Left);
    until_address(&browser, &format!("step={}", steps - 1));
    browser.type_keys("l");
    until_address(&browser, &format!("step={steps}"));
    // The same state, where one can go on.
    browser.click_text(".replay-head", "Explore");
    browser.see(".stage");
    assert!(browser.address().contains("#/explore?"));
    browser.close(&[door.origin()]);
}

#[test]
fn files_that_are_no_good_traces_are_refused_in_the_page() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = Door::open("raft-checker", &["explore", "--address", "127.0.0.1:0"]);
    browser.go(&format!("{}/#/replay", door.origin()));
    let good = jsonl(tour("election.jsonl"));
    let open = |name: &str, lines: &[String]| {
        let path = door.file(name);
        std::fs::write(&path, lines.join("\n") + "\n").expect("a file can be written");
        browser.give_file("#replay-files", &path);
    };
    let mut other = good.clone();
    other[0] = other[0].replace("stateraft-trace/1", "stateraft-trace/9");
    open("other.jsonl", &other);
    let said = browser.see_text(".replay-door [role=alert]", "stateraft-trace/9");
    assert!(
        said.contains("stateraft-trace/1"),
        "it says which it knows: {said}"
    );
    open("prose.txt", &["It was a dark and stormy night.".to_owned()]);
    browser.see_text(".replay-door [role=alert]", "prose.txt");
    let mut altered = good.clone();
    altered[5] = altered[5].replacen("\"term\":1", "\"term\":2", 1);
    assert_ne!(altered[5], good[5], "something was altered");
    open("altered.jsonl", &altered);
    let verdict = browser.see_text(".replay-verdict", "6");
    assert!(verdict.contains("ejected"), "{verdict}");
    browser.picture("replay-rejected");
    browser.type_keys("o");
    browser.see(".replay-drop");
    open("election.jsonl", &good);
    browser.see_text(".replay-verdict", "ccepted");
    // That no trace was served with the page.
    browser.complaints();
    browser.close(&[door.origin()]);
}

#[test]
fn newcomer_plants_the_bug_of_figure_8_and_sees_it_happen() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = Door::open("raft-checker", &["explore", "--address", "127.0.0.1:0"]);
    browser.go(door.origin());
    browser.see("#plant-find");
    browser.picture("explore-first-screen");
    browser.click("#plant-find");
    browser.see_text(".found", "Leader Completeness");
    let mut steps = 0;
    while browser.has("#found-next") {
        steps += 1;
        browser.click("#found-next");
        browser.see_text(".story-number", &steps.to_string());
    }
    assert!((10..60).contains(&steps), "{steps} steps");
    browser.see_text(".story-broken", "Leader Completeness");
    browser.see_text(".law-list .is-broken", "Leader Completeness");
    assert_eq!(browser.count(".law-list .is-broken"), 1);
    browser.picture("explore-figure-8");
    // The address is all there is to it.
    let address = browser.address();
    browser.go("about:blank");
    browser.go(&address);
    browser.see_text(".story-broken", "Leader Completeness");
    browser.resize(390, 844);
    assert_fits(&browser, 390);
    browser.picture("explore-figure-8-narrow");
    // Without the bug the same steps break nothing, or cannot be taken.
    browser.resize(1280, 900);
    let mutant = address
        .split('&')
        .find(|part| part.starts_with("mutant="))
        .expect("the address names the bug");
    browser.go("about:blank");
    browser.go(&address.replace(&format!("&{mutant}"), ""));
    browser.see_text(".law-sum", "hold");
    browser.complaints();
    browser.close(&[door.origin()]);
}

#[test]
fn state_space_is_walked_branched_and_searched_by_hand() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = Door::open("raft-checker", &["explore", "--address", "127.0.0.1:0"]);
    let start = format!("{}/#/explore?scope=crashes", door.origin());
    browser.go(&start);
    browser.click("[data-key='1e']");
    browser.see_text(".story", "server 1");
    until_address(&browser, "path=1e");
    browser.see(".act-deliver:not([disabled])");
    browser.click(".act-deliver:not([disabled])");
    until_address(&browser, "path=1e.2d1");
    browser.picture("explore-walk");
    // Back, and another way: both are kept.
    browser.press(Key::Left);
    until_address(&browser, "at=1");
    browser.click("[data-key='2e']");
    until_address(&browser, "path=1e.2e");
    browser.click("[data-name='tree']");
    assert!(
        browser.count(".p-tree [role=treeitem]") >= 3,
        "both branches"
    );
    // What is shown is a state of the model, and every law is judged there.
    browser.click("[data-name='laws']");
    browser.see_text(".law-sum", "hold");
    assert!(browser.count(".law-list li") >= 13);
    // The search filters, and says so if nothing fits.
    browser.type_keys("/");
    browser.type_keys("crash");
    until("buttons to be filtered", || {
        (browser.count(".act-deliver") == 0).then_some(())
    });
    browser.fill(".act-filter input[type=search]", "");
    // A state where something holds is found, and walked to.
    browser.click_text(".toolbar", "Find");
    browser.see("dialog[open]");
    browser.click_text("dialog[open]", "Find");
    browser.see_text(".found", "Found");
    browser.picture("explore-found");
    // An address that leads nowhere says so, and shows what was good.
    browser.go("about:blank");
    browser.go(&format!("{start}&path=1e.2d99"));
    browser.see(".toast.is-bad");
    until_address(&browser, "path=1e");
    browser.complaints();
    browser.close(&[door.origin()]);
}

#[test]
fn cluster_is_watched_written_to_and_broken_on_purpose() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = Door::open(
        "raft-proxy",
        &[
            "--embedded=3",
            "--chaos",
            "--data-dir={dir}/data",
            "--listen=127.0.0.1:0",
            "--http=127.0.0.1:0",
            "--redis=127.0.0.1:0",
        ],
    );
    browser.go(door.origin());
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
    browser.click(&format!("[aria-label='Isolate: {first}']"));
    until("another leader", || {
        (leader(&browser) != first).then_some(())
    });
    browser.see(".chaos-active li");
    browser.run("window.scrollTo(0, 0)", vec![]);
    browser.picture("live-leader-isolated");
    // What was written is still there, and more can be.
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
    let origin = door.origin().to_owned();
    door.kill();
    browser.see(".live-head .chip.is-bad");
    // That nobody answers any more is what the page complains of now.
    browser.complaints();
    browser.close(&[&origin]);
}

#[test]
fn nothing_of_the_cluster_is_shown_without_the_token() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory can be made");
    let token = folder.path().join("token");
    std::fs::write(&token, "open sesame\n").expect("a file can be written");
    let door = Door::open(
        "raft-proxy",
        &[
            "--embedded=1",
            "--data-dir={dir}/data",
            "--listen=127.0.0.1:0",
            "--http=127.0.0.1:0",
            "--redis=off",
            &format!("--http-token-file={}", token.display()),
        ],
    );
    browser.go(door.origin());
    browser.fill("#live-token", "guess");
    browser.click_text(".live-token", "");
    browser.see(".live-token [role=alert]");
    assert!(!browser.has(".live-summary"), "nothing is shown");
    browser.fill("#live-token", "open sesame");
    browser.click_text(".live-token", "");
    browser.see(".live-summary");
    // That the guess was refused.
    browser.complaints();
    browser.close(&[door.origin()]);
}

#[test]
fn modules_of_the_page_pass_their_own_tests() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let origin = files::serve();
    browser.go(&format!("{origin}/tests/index.html"));
    let results = until("the tests to end", || {
        let results = browser.run("return window.results || null", vec![]);
        (!results.is_null()).then_some(results)
    });
    assert_eq!(results["failed"], json!([]));
    assert!(results["passed"].as_u64() > Some(30), "{results}");
    // Some of them provoke complaints.
    browser.complaints();
    browser.close(&[&origin]);
}

fn tour(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/assets/tours");
    folder.join(name).canonicalize().expect("the tour is there")
}

fn jsonl(path: impl AsRef<Path>) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a run can be read");
    text.lines().map(str::to_owned).collect()
}

/// Nothing sticks out of a window of this width.
fn assert_fits(browser: &Browser, width: u64) {
    let wide = browser.run("return document.documentElement.scrollWidth", vec![]);
    assert!(wide.as_u64() <= Some(width), "{wide} wide in {width}");
}

fn until_address(browser: &Browser, end: &str) {
    until(&format!("the address to end in {end}"), || {
        browser.address().ends_with(end).then_some(())
    });
}
