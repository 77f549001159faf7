//! Traces of models and of servers in the page.

use crate::{checker, until_address};
use fantoccini::key::Key;
use harness::browser::Browser;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn tour(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/assets/tours");
    folder.join(name).canonicalize().expect("the tour is there")
}

#[test]
fn recorded_run_is_replayed_and_shows_where_a_property_is_violated() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let run = tour("figure-8-bug.jsonl");
    let run = run.to_str().expect("the path is text");
    let server = checker(&["replay", "--serve", run]);
    browser.go(server.origin());
    let verdict = browser.see_text(".replay-verdict", "violated");
    assert!(verdict.contains("Leader Completeness"), "{verdict}");
    // The run opens at its first violation; the next one is the property of the trace.
    let steps = jsonl(run).len() - 1;
    browser.see_text(".replay-side", "Leaders commit in their own term");
    browser.type_keys("l");
    browser.see_text(".replay-side", "Leader Completeness");
    until_address(&browser, &format!("step={steps}"));
    browser.picture("replay-violation");
    browser.press(Key::Left);
    until_address(&browser, &format!("step={}", steps - 1));
    browser.type_keys("l");
    until_address(&browser, &format!("step={steps}"));
    // The other language applies to the whole page.
    browser.choose("select", "es");
    let told = browser.see_text(".step-violation", "mandato");
    assert!(told.contains("fue elegido en el mandato"), "{told}");
    browser.see_text(".replay-verdict", "fue elegido en el mandato");
    browser.choose("select", "en");
    // The same state, from where the exploration can continue.
    browser.click_text(".replay-head", "Explore");
    browser.see(".stage");
    assert!(browser.address().contains("#/explore?"));
    browser.close(&[server.origin()]);
}

#[test]
fn violation_by_servers_is_shown_with_its_place_and_cause() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let [one, two, three] = &violation_traces();
    let server = checker(&["replay", "--serve", one, two, three]);
    browser.go(server.origin());
    let verdict = browser.see_text(".replay-verdict", "line 2 of");
    assert!(
        verdict.contains("One vote per term is violated at step 3"),
        "{verdict}"
    );
    assert!(verdict.contains("its disk does not hold"), "{verdict}");
    browser.see_text(".step-violation", "server 2 sent a vote in term 1");
    until_address(&browser, "step=3");
    // All servers are visible, and the server in question is marked.
    assert_eq!(browser.count(".process.is-server"), 3);
    assert_eq!(browser.count(".process.is-accused"), 1);
    browser.picture("replay-violation-by-servers");
    browser.press(Key::Home);
    until_address(&browser, "#/replay");
    browser.click_text(".replay-verdict", "Go there");
    until_address(&browser, "step=3");
    browser.close(&[server.origin()]);
}

/// A trace with this number of events before its first step; these events have no effect.
fn idle_before(trace: &Path, idle: usize) -> String {
    let lines = jsonl(trace);
    let plain = |line: &str| {
        let (body, _) = line.rsplit_once(",\"digest\"").expect("a digest");
        body.to_owned()
    };
    let nothing = r#"{"effects":{"sends":[],"timers":[],"write":null},"event":"HeartbeatTimeout""#;
    let mut bodies = vec![plain(&lines[0])];
    bodies.extend((1..=idle).map(|step| format!("{nothing},\"step\":{step}")));
    for (place, line) in lines[1..].iter().enumerate() {
        let (body, _) = line.rsplit_once(",\"step\"").expect("a number");
        bodies.push(format!("{body},\"step\":{}", idle + place + 1));
    }
    let mut digest = String::new();
    let mut text = String::new();
    for body in bodies {
        let hash = Sha256::digest(digest + &body);
        digest = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{body},\"digest\":\"{digest}\"}}\n");
    }
    text
}

#[test]
fn violation_late_in_a_long_run_is_shown_and_so_is_what_was_before() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let [one, two, three] = &violation_traces();
    let folder = tempfile::tempdir().expect("a directory can be made");
    let long = folder.path().join("long.jsonl");
    std::fs::write(&long, idle_before(Path::new(one), 60_000)).expect("a file can be written");
    let long = long.to_str().expect("the path is text");
    let server = checker(&["replay", "--serve", long, two, three]);
    browser.go(server.origin());
    browser.see_text(".replay-verdict", "is violated at step 60,003");
    browser.see_text(".step-violation", "server 2 sent a vote in term 1");
    until_address(&browser, "step=60003");
    browser.see_text(".replay-verdict", "to 60,003 of 60,003");
    browser.picture("replay-part");
    // Earlier, later, and by address. The violated property is named, with a link to its explanation.
    browser.click_text(".replay-verdict", "Earlier");
    browser.see_text(".replay-verdict", "steps 1 to");
    browser.see_text(".replay-verdict", "is violated at step 60,003");
    browser.press(Key::Home);
    browser.see_text(".step-number", "0");
    assert!(!browser.has(".step-violation"));
    browser.click_text(".replay-verdict", "Later");
    browser.see_text(".replay-verdict", "to 60,003 of 60,003");
    browser.go(&format!("{}/#/replay?step=7", server.origin()));
    browser.see_text(".replay-verdict", "steps 1 to");
    browser.see_text(".step-number", "7");
    browser.click_text(".replay-verdict", "Go there");
    browser.see_text(".step-violation", "server 2 sent a vote in term 1");
    until_address(&browser, "step=60003");
    browser.choose("select", "es");
    browser.see_text(".replay-verdict", "a 60.003 de 60.003");
    browser.close(&[server.origin()]);
}

/// Traces of three servers; the second one votes before its vote is durable.
fn violation_traces() -> [String; 3] {
    [1, 2, 3].map(|node| {
        let path = format!("../checker/tests/explore/violation-node-{node}.jsonl");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        path.display().to_string()
    })
}

#[test]
fn files_that_are_no_good_traces_are_refused_in_the_page() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
    browser.go(&format!("{}/#/replay", server.origin()));
    let good = jsonl(tour("election.jsonl"));
    let open = |name: &str, lines: &[String]| {
        let path = server.file(name);
        std::fs::write(&path, lines.join("\n") + "\n").expect("a file can be written");
        browser.give_file("#replay-files", &path);
    };
    let mut other = good.clone();
    other[0] = other[0].replace("stateraft-trace/4", "stateraft-trace/9");
    open("other.jsonl", &other);
    let said = browser.see_text(".replay-chooser [role=alert]", "stateraft-trace/9");
    assert!(
        said.contains("stateraft-trace/4"),
        "it says which it knows: {said}"
    );
    open("prose.txt", &["It was a dark and stormy night.".to_owned()]);
    browser.see_text(".replay-chooser [role=alert]", "prose.txt");
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
    // A step of a file has no address, because other users have not opened the file; a reload closes
    // it too.
    browser.press(Key::End);
    until_address(&browser, &format!("step={}", good.len() - 1));
    browser.reload();
    browser.see_text(".replay-chooser [role=alert]", "open the file again");
    browser.close(&[server.origin()]);
}

fn jsonl(path: impl AsRef<Path>) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a run can be read");
    text.lines().map(str::to_owned).collect()
}
