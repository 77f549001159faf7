//! Tests of the browser app in a real browser, with the real servers.

use fantoccini::key::Key;
use harness::{Door, browser::Browser, files, wait::until};
use serde_json::json;
use sha2::{Digest, Sha256};
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

/// Walks the tour with this number of steps to its end by keyboard.
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
    until_address(browser, &format!("step={}", steps - 1));
}

#[test]
fn tours_are_walked_in_two_languages() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
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
fn recorded_run_is_replayed_and_shows_where_a_property_breaks() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let run = tour("figure-8-bug.jsonl");
    let run = run.to_str().expect("the path is text");
    let door = checker(&["replay", "--serve", run]);
    browser.go(door.origin());
    let verdict = browser.see_text(".replay-verdict", "violated");
    assert!(verdict.contains("Leader Completeness"), "{verdict}");
    // The run opens at its violation.
    let steps = jsonl(run).len() - 1;
    browser.see_text(".replay-side", "Leader Completeness");
    until_address(&browser, &format!("step={steps}"));
    browser.picture("replay-broken-property");
    browser.press(Key::Left);
    until_address(&browser, &format!("step={}", steps - 1));
    browser.type_keys("l");
    until_address(&browser, &format!("step={steps}"));
    // The other language applies to the whole page.
    browser.choose("select", "es");
    let told = browser.see_text(".story-broken", "mandato");
    assert!(told.contains("fue elegido en el mandato"), "{told}");
    browser.see_text(".replay-verdict", "fue elegido en el mandato");
    browser.choose("select", "en");
    // The same state, from where the exploration can continue.
    browser.click_text(".replay-head", "Explore");
    browser.see(".stage");
    assert!(browser.address().contains("#/explore?"));
    browser.close(&[door.origin()]);
}

#[test]
fn property_that_servers_broke_is_shown_where_it_breaks_and_why() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let [one, two, three] = &broken_traces();
    let door = checker(&["replay", "--serve", one, two, three]);
    browser.go(door.origin());
    let verdict = browser.see_text(".replay-verdict", "line 2 of");
    assert!(
        verdict.contains("One vote per term is violated at step 3"),
        "{verdict}"
    );
    assert!(verdict.contains("its disk does not hold"), "{verdict}");
    browser.see_text(".story-broken", "server 2 spoke of a vote in term 1");
    until_address(&browser, "step=3");
    // All servers are visible, and the server in question is marked.
    assert_eq!(browser.count(".process.is-server"), 3);
    assert_eq!(browser.count(".process.is-accused"), 1);
    browser.picture("replay-broken-by-servers");
    browser.press(Key::Home);
    until_address(&browser, "#/replay");
    browser.click_text(".replay-verdict", "Go there");
    until_address(&browser, "step=3");
    browser.close(&[door.origin()]);
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
fn property_that_breaks_late_in_a_long_run_is_shown_and_so_is_what_was_before() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let [one, two, three] = &broken_traces();
    let folder = tempfile::tempdir().expect("a directory can be made");
    let long = folder.path().join("long.jsonl");
    std::fs::write(&long, idle_before(Path::new(one), 60_000)).expect("a file can be written");
    let long = long.to_str().expect("the path is text");
    let door = checker(&["replay", "--serve", long, two, three]);
    browser.go(door.origin());
    browser.see_text(".replay-verdict", "is violated at step 60,003");
    browser.see_text(".story-broken", "server 2 spoke of a vote in term 1");
    until_address(&browser, "step=60003");
    browser.see_text(".replay-verdict", "to 60,003 of 60,003");
    browser.picture("replay-part");
    // Earlier, later, and by address. The violated property is named, with a link to its explanation.
    browser.click_text(".replay-verdict", "Earlier");
    browser.see_text(".replay-verdict", "steps 1 to");
    browser.see_text(".replay-verdict", "is violated at step 60,003");
    browser.press(Key::Home);
    browser.see_text(".story-number", "0");
    assert!(!browser.has(".story-broken"));
    browser.click_text(".replay-verdict", "Later");
    browser.see_text(".replay-verdict", "to 60,003 of 60,003");
    browser.go(&format!("{}/#/replay?step=7", door.origin()));
    browser.see_text(".replay-verdict", "steps 1 to");
    browser.see_text(".story-number", "7");
    browser.click_text(".replay-verdict", "Go there");
    browser.see_text(".story-broken", "server 2 spoke of a vote in term 1");
    until_address(&browser, "step=60003");
    browser.choose("select", "es");
    browser.see_text(".replay-verdict", "a 60.003 de 60.003");
    browser.close(&[door.origin()]);
}

/// Traces of three servers; the second one votes before its vote is durable.
fn broken_traces() -> [String; 3] {
    [1, 2, 3].map(|node| {
        let path = format!("../checker/tests/explore/broken-node-{node}.jsonl");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        path.display().to_string()
    })
}

#[test]
fn files_that_are_no_good_traces_are_refused_in_the_page() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    browser.go(&format!("{}/#/replay", door.origin()));
    let good = jsonl(tour("election.jsonl"));
    let open = |name: &str, lines: &[String]| {
        let path = door.file(name);
        std::fs::write(&path, lines.join("\n") + "\n").expect("a file can be written");
        browser.give_file("#replay-files", &path);
    };
    let mut other = good.clone();
    other[0] = other[0].replace("stateraft-trace/2", "stateraft-trace/9");
    open("other.jsonl", &other);
    let said = browser.see_text(".replay-door [role=alert]", "stateraft-trace/9");
    assert!(
        said.contains("stateraft-trace/2"),
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
    // A step of a file has no address, because other users have not opened the file; a reload closes
    // it too.
    browser.press(Key::End);
    until_address(&browser, &format!("step={}", good.len() - 1));
    browser.reload();
    browser.see_text(".replay-door [role=alert]", "open the file again");
    browser.close(&[door.origin()]);
}

#[test]
fn newcomer_plants_the_bug_of_figure_8_and_sees_it_happen() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
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
    browser.see_text(".property-list .is-broken", "Leader Completeness");
    assert_eq!(browser.count(".property-list .is-broken"), 1);
    browser.picture("explore-figure-8");
    // The address contains the whole state.
    let address = until("the address of the end", || {
        let address = browser.address();
        (!address.contains("at=")).then_some(address)
    });
    browser.go("about:blank");
    browser.go(&address);
    browser.see_text(".story-broken", "Leader Completeness");
    browser.resize(390, 844);
    assert_fits(&browser, 390);
    browser.picture("explore-figure-8-narrow");
    // Without the bug the same steps violate nothing, or are impossible.
    browser.resize(1280, 900);
    let mutant = address
        .split('&')
        .find(|part| part.starts_with("mutant="))
        .expect("the address names the bug");
    browser.go("about:blank");
    browser.go(&address.replace(&format!("&{mutant}"), ""));
    browser.see_text(".property-sum", "hold");
    // The server rejected the path because it cannot be walked to its end.
    browser.was_refused("/api/walk");
    browser.close(&[door.origin()]);
}

#[test]
fn state_space_is_walked_branched_and_searched_by_hand() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    let start = format!("{}/#/explore?scope=crashes", door.origin());
    browser.go(&start);
    browser.click("[data-key='1e']");
    browser.see_text(".story", "server 1");
    until_address(&browser, "path=1e");
    browser.see(".act-deliver:not([disabled])");
    browser.click(".act-deliver:not([disabled])");
    until_address(&browser, "path=1e.2d1");
    browser.picture("explore-walk");
    // Back, and along another path: both are kept.
    browser.press(Key::Left);
    until_address(&browser, "at=1");
    browser.click("[data-key='2e']");
    until_address(&browser, "path=1e.2e");
    browser.click("[data-name='tree']");
    until("both branches", || {
        (browser.count(".p-tree [role=treeitem]") >= 3).then_some(())
    });
    // The page shows a state of the model, and every property is checked there.
    browser.click("[data-name='properties']");
    browser.see_text(".property-sum", "hold");
    // All except linearizability, which this scope does not check.
    assert!(browser.count(".property-list li") >= 12);
    // The search filters, and reports if nothing matches.
    browser.type_keys("/");
    browser.type_keys("crash");
    until("buttons to be filtered", || {
        (browser.count(".act-deliver") == 0).then_some(())
    });
    browser.fill(".act-filter input[type=search]", "");
    // The page finds a state that satisfies a condition, and walks to it.
    browser.click_text(".toolbar", "Find");
    browser.see("dialog[open]");
    browser.click_text("dialog[open]", "Find");
    browser.see_text(".found", "Found");
    browser.picture("explore-found");
    // An invalid address causes an error message, and the page shows the valid part of the path.
    browser.go("about:blank");
    browser.go(&format!("{start}&path=1e.2d99"));
    browser.see_text(".toast.is-bad", "there is no message 99 by then");
    until_address(&browser, "path=1e");
    browser.choose("select", "es");
    browser.go("about:blank");
    browser.go(&format!("{start}&path=1e.2d99"));
    browser.see_text(".toast.is-bad", "entonces aún no existe el mensaje 99");
    browser.was_refused("/api/walk");
    browser.close(&[door.origin()]);
}

/// Focusable elements without an accessible name (options of a list need none), and elements with a
/// value that assistive technology cannot read.
const NAMELESS: &str = "
    const text = (e) => e.getAttribute('aria-label')
        || (e.getAttribute('aria-labelledby') || '').split(' ').map(id => document.getElementById(id)?.textContent).join('')
        || [...e.labels || []].map(l => l.textContent).join('') || (e.matches('select') ? '' : e.textContent) || e.title || e.placeholder;
    const all = document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex], [role=button]');
    const bad = [...all].filter(e => e.checkVisibility() && !(text(e) || '').trim());
    const mute = [...document.querySelectorAll('[role=separator], [role=slider]')]
        .filter(e => e.checkVisibility() && !e.hasAttribute('aria-valuenow'));
    return [...bad, ...mute].map(e => e.outerHTML.slice(0, 200))";

#[test]
fn everything_that_takes_the_keyboard_has_a_name() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    for (page, shows) in [
        ("", "#plant-find"),
        (
            "#/explore?scope=crashes&path=1e.2d1.1d3.1w.2c",
            ".act-deliver",
        ),
        ("#/replay", ".replay-drop"),
        ("#/tour", ".tour-card"),
        ("#/tour/figure-8?step=12", ".tour-head"),
    ] {
        browser.go("about:blank");
        browser.go(&format!("{}/{page}", door.origin()));
        browser.see(shows);
        assert_eq!(browser.run(NAMELESS, vec![]), json!([]), "{page}");
        assert_eq!(browser.count("h1"), 1, "{page}");
    }
    browser.close(&[door.origin()]);
}

#[test]
fn panels_are_as_wide_as_somebody_made_them() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    browser.go(&format!(
        "{}/#/explore?scope=crashes&path=1e",
        door.origin()
    ));
    browser.see(".bench");
    let size = |panel: &str, side: &str| {
        let script = "const box = document.querySelector(arguments[0]).getBoundingClientRect();
            return Math.round(box[arguments[1]])";
        let size = browser.run(script, vec![json!(panel), json!(side)]);
        size.as_u64().expect("a number")
    };
    let press = |line: &str, key: Key| {
        browser.run(
            "document.querySelector(arguments[0]).focus()",
            vec![json!(line)],
        );
        browser.press(key);
    };
    for (line, panel, side, more) in [
        ("actions", ".p-actions", "width", Key::Right),
        ("side", ".p-side", "width", Key::Left),
        ("bench", ".bench", "height", Key::Down),
    ] {
        let line = format!("[data-panel={line}]");
        let before = size(panel, side);
        press(&line, more);
        assert_eq!(size(panel, side), before + 16, "{line}");
    }
    // The walk took no step, and the state is the same after a reload.
    until_address(&browser, "path=1e");
    let chosen = size(".p-actions", "width");
    browser.reload();
    browser.see(".bench");
    assert_eq!(size(".p-actions", "width"), chosen);
    // No panel takes all the space. Enter restores the default size.
    press("[data-panel=actions]", Key::End);
    assert_eq!(size(".p-actions", "width"), 1280 * 2 / 5);
    press("[data-panel=actions]", Key::Enter);
    assert_eq!(size(".p-actions", "width"), chosen - 16);
    // If panels are stacked vertically, there is no divider to drag.
    browser.resize(390, 844);
    until("no line to be left", || {
        let seen =
            "return [...document.querySelectorAll('.splitter')].some(e => e.checkVisibility())";
        (browser.run(seen, vec![]) == false).then_some(())
    });
    assert_fits(&browser, 390);
    browser.close(&[door.origin()]);
}

#[test]
fn ten_thousand_steps_are_drawn_no_more_than_is_seen() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    // Two messages that arrive repeatedly.
    let mut path = vec!["1e", "2d1", "1d3"];
    while path.len() < 10_000 {
        path.extend(["2d4", "3d5"]);
    }
    path.truncate(10_000);
    let path = path.join(".");
    browser.go(&format!(
        "{}/#/explore?scope=crashes&path={path}&at=5000",
        door.origin()
    ));
    browser.see_text(".scrub-where-box", "/ 10000");
    let drawn = || browser.count(".st-picture *") + browser.count(".p-tree *");
    browser.click("[data-name='tree']");
    browser.see_text(".p-tree .is-here", "5000");
    assert!(drawn() < 4000, "{} elements", drawn());
    // The page shows the same step everywhere. Tabs have their own keys.
    browser.run("document.activeElement.blur()", vec![]);
    for (key, step) in [(Key::Left, 4999), (Key::End, 10_000), (Key::Home, 0)] {
        browser.press(key);
        browser.see_text(".story-number", &step.to_string());
        let here = if step == 0 {
            "Start".into()
        } else {
            step.to_string()
        };
        browser.see_text(".p-tree .is-here", &here);
        until("the step in the diagram", || {
            let now = "const [now] = document.querySelectorAll('.st-now');
                const [box, all] = [now, now.closest('.st-scroll')].map(e => e.getBoundingClientRect());
                return box.left >= all.left - 1 && box.right <= all.right + 1";
            (browser.run(now, vec![]) == true).then_some(())
        });
        assert!(drawn() < 4000, "{} elements at {step}", drawn());
    }
    // A hidden diagram is not redrawn. It is redrawn as soon as it is visible.
    browser.run(
        "document.querySelector('.p-time-fold').open = false",
        vec![],
    );
    browser.press(Key::Right);
    browser.see_text(".story-number", "1");
    let before = browser.run(
        "return document.querySelector('.st-now').getAttribute('x')",
        vec![],
    );
    browser.press(Key::Right);
    browser.see_text(".story-number", "2");
    let place = "return document.querySelector('.st-now').getAttribute('x')";
    assert_eq!(browser.run(place, vec![]), before, "drawn for nobody");
    browser.run("document.querySelector('.p-time-fold').open = true", vec![]);
    until("the diagram to be drawn", || {
        (browser.run(place, vec![]) != before).then_some(())
    });
    browser.close(&[door.origin()]);
}

#[test]
fn server_that_goes_and_comes_back_is_gone_and_back_in_the_page() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    let origin = door.origin().to_owned();
    browser.go(&format!("{origin}/#/explore?scope=crashes"));
    browser.see("[data-key='1e']");
    browser.see_text(".export-menu", "Export");
    door.kill();
    browser.click("[data-key='1e']");
    browser.see(".banner.is-bad");
    let address = origin.trim_start_matches("http://");
    let door = Door::open("raft-checker", &["explore", "--address", address]);
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
    browser.close(&[door.origin()]);
}

#[test]
fn cluster_is_watched_written_to_and_broken_on_purpose() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = cluster(&["--embedded=3", "--chaos", "--redis=127.0.0.1:0"]);
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
    let origin = door.origin().to_owned();
    door.kill();
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
    let door = cluster(&["--embedded=3", "--chaos", "--redis=off"]);
    browser.go(door.origin());
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
    browser.see_text(".happened", "server 1 → server 2");
    // A link from a server to itself cannot be selected.
    browser.choose(".chaos-link select[aria-label=To]", "1");
    browser.click_text(".chaos-link", "Break link");
    browser.see(".is-chaos .outcome.is-bad");
    browser.was_refused("/v1/chaos");
    browser.close(&[door.origin()]);
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
    let door = cluster(&["--embedded=1", "--redis=off", &token]);
    browser.go(door.origin());
    browser.fill("#live-token", "guess");
    browser.click_text(".live-token", "");
    browser.see(".live-token [role=alert]");
    assert!(!browser.has(".live-summary"), "nothing is shown");
    browser.fill("#live-token", "open sesame");
    browser.click_text(".live-token", "");
    browser.see(".live-summary");
    // The guessed token was rejected.
    browser.was_refused("/v1/events");
    browser.close(&[door.origin()]);
}

/// The window sizes for the check of the stage: a narrow window, 1280 at a zoom of 200 %, tablets,
/// laptops, a large screen.
const SIZES: [(u32, u32, u32); 6] = [
    (640, 800, 1),
    (640, 400, 2),
    (700, 800, 1),
    (1024, 768, 1),
    (1280, 800, 1),
    (1920, 1080, 1),
];

#[test]
fn live_stage_is_legible_at_every_window_size() {
    let Some(mut browser) = Browser::open(1280, 800) else {
        return;
    };
    let origin = files::serve();
    let both = json!([
        {"from": 1, "to": 2, "harm": {"cut": true}},
        {"from": 2, "to": 1, "harm": {"cut": true}},
        {"from": "proxy", "to": 3, "harm": {"cut": false, "drop": 0.3, "duplicate": 0, "reorder": 0}},
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
fn stage_of_the_tours_is_legible_at_every_window_size() {
    let Some(browser) = Browser::open(1280, 800) else {
        return;
    };
    let door = checker(&["explore"]);
    for (tour, from, to, sizes) in [
        ("exactly-once", 3, 4, &SIZES[..]),
        ("figure-8", 0, 22, &SIZES[4..5]),
        ("figure-8", 5, 7, &SIZES[..]),
    ] {
        for step in from..=to {
            browser.go(&format!("{}/#/tour/{tour}?step={step}", door.origin()));
            browser.see_text(".tour-moves", &format!("{} of", step + 1));
            browser.see(".nodes .process");
            for (width, height, scale) in sizes {
                browser.zoom(*width, *height, *scale);
                until_drawn(&browser);
                assert_eq!(
                    browser.overlaps(),
                    Vec::<String>::new(),
                    "{tour} {step}: {width} x {height}"
                );
            }
        }
    }
    browser.close(&[door.origin()]);
}

/// Waits until the stage is drawn in its current size.
fn until_drawn(browser: &Browser) {
    until("the stage to be drawn in its size", || {
        let drawn = "const box = document.querySelector('.stage');
            const picture = box.querySelector('.stage-picture');
            return Number(picture.getAttribute('width')) === Math.max(280, box.clientWidth)
                && Number(picture.getAttribute('height')) === Math.max(240, box.clientHeight)";
        (browser.run(drawn, vec![]) == true).then_some(())
    });
}

#[test]
fn overlaps_of_a_stage_are_found_out() {
    let Some(mut browser) = Browser::open(1280, 800) else {
        return;
    };
    let origin = files::serve();
    let cluster = json!({"servers": 3, "isolated": [2]});
    browser.go(&format!("{origin}/tests/live.html?{cluster}"));
    browser.see(".nodes .process");
    until_drawn(&browser);
    assert_eq!(browser.overlaps(), Vec::<String>::new());
    // A server is placed on another one: the check must report it, its labels and its edges.
    browser.run(
        "const [one, other] = document.querySelectorAll('.nodes > .process');
         other.setAttribute('transform', one.getAttribute('transform'));",
        vec![],
    );
    let found = browser.overlaps();
    assert!(
        found.iter().any(|fault| fault.contains("px apart")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|fault| fault.contains("line from")),
        "{found:#?}"
    );
    browser.complaints();
    browser.close(&[&origin]);
}

#[test]
fn no_page_has_a_fault_that_axe_finds() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    let live = cluster(&["--embedded=3", "--chaos", "--redis=off"]);
    let made_up = files::serve();
    let no_quorum = json!({"servers": 5, "killed": [1, 2, 5]});
    let pages = [
        (door.origin(), "/?{}#/".to_owned(), "#plant-find"),
        (
            door.origin(),
            "/?{}#/explore?scope=crashes&path=1e.2d1.1d3.1w.2c".to_owned(),
            ".act-deliver",
        ),
        (door.origin(), "/?{}#/tour".to_owned(), ".tour-card"),
        (
            door.origin(),
            "/?{}#/tour/figure-8?step=12".to_owned(),
            ".tour-head",
        ),
        (door.origin(), "/?{}#/replay".to_owned(), ".replay-drop"),
        (live.origin(), "/?{}#/live".to_owned(), ".live-summary dd"),
        (
            &made_up,
            format!("/tests/live.html?{no_quorum}&{{}}"),
            ".live-summary dd",
        ),
    ];
    // The check finds a fault that exists.
    browser.go(
        "data:text/html,<title>x</title><html lang=en><main><h1>x</h1><button></button></main>",
    );
    let Some(found) = browser.accessibility() else {
        return;
    };
    assert!(
        found.iter().any(|fault| fault.contains("button-name")),
        "{found:#?}"
    );
    for (origin, page, shows) in pages {
        for (language, theme) in [
            ("en", "light"),
            ("en", "dark"),
            ("es", "light"),
            ("es", "dark"),
        ] {
            browser.go("about:blank");
            let asked = format!("lang={language}&theme={theme}");
            browser.go(&format!("{origin}{}", page.replace("{}", &asked)));
            browser.see(shows);
            browser.run(
                "document.documentElement.dataset.theme = arguments[0]",
                vec![json!(theme)],
            );
            let found = browser.accessibility().unwrap_or_default();
            assert_eq!(found, Vec::<String>::new(), "{page} in {language}, {theme}");
        }
    }
    browser.complaints();
    browser.close(&[door.origin(), live.origin(), &made_up]);
}

#[test]
fn back_leads_from_a_walk_to_the_first_screen_and_tabs_lead_back_to_the_walk() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    browser.go(door.origin());
    browser.click_text(".welcome", "Start walking");
    browser.click("[data-key='1e']");
    until_address(&browser, "path=1e");
    // Another page, and back by its tab: the walk is at its previous position.
    browser.click_text(".tabs", "Tour");
    browser.see(".tour-card");
    browser.click_text(".tabs", "Explore");
    browser.see_text(".story", "server 1");
    until_address(&browser, "path=1e");
    // Back through the pages, then out of the walk, but not off the site.
    browser.back();
    browser.see(".tour-card");
    browser.back();
    browser.see_text(".story", "server 1");
    browser.back();
    browser.see("#plant-find");
    assert!(browser.address().starts_with(door.origin()));
    browser.close(&[door.origin()]);
}

#[test]
fn focus_stays_on_the_actions_and_dialogs_begin_at_their_field() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    browser.go(&format!("{}/#/explore?scope=crashes", door.origin()));
    browser.see("[data-key='1e']");
    let focus = |selector: &str| {
        let script = "document.querySelector(arguments[0]).focus()";
        browser.run(script, vec![json!(selector)]);
    };
    let focused = || {
        let script = "const e = document.activeElement;
            return [e.closest('.act-list') !== null, e.disabled === true, e.dataset.key || e.tagName]";
        browser.run(script, vec![])
    };
    focus("[data-key='1e']");
    // A visible text describes the button, so that no mouse is needed.
    browser.see_text(".act-about", "server 1 times out");
    // Ten steps by Enter only: the focus never leaves the list.
    for step in 1..=10 {
        browser.press(Key::Enter);
        browser.see_text(".story-number", &step.to_string());
        until("the actions of the step", || {
            let busy = "return document.querySelector('.act-list').hasAttribute('aria-busy')";
            (browser.run(busy, vec![]) == false).then_some(())
        });
        let now = focused();
        assert_eq!(
            (&now[0], &now[1]),
            (&json!(true), &json!(false)),
            "{step}: {now}"
        );
    }
    for (open, field) in [("Find", "radio"), ("Plant", "search")] {
        browser.click_text(".toolbar", open);
        browser.see("dialog[open]");
        let kind = browser.run("return document.activeElement.type", vec![]);
        assert_eq!(kind, field, "{open}");
        browser.click_text("dialog[open] .dialog-head", "");
    }
    browser.click(".world-button");
    browser.see("dialog[open]");
    assert_eq!(
        browser.run("return document.activeElement.tagName", vec![]),
        "SELECT"
    );
    browser.close(&[door.origin()]);
}

#[test]
fn bug_that_breaks_no_property_is_shown_with_its_method_and_walked_to() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let door = checker(&["explore"]);
    for (bug, chip, headline, property) in [
        (
            "leader-skips-noop",
            "progress check",
            "stuck from the start",
            "Progress",
        ),
        (
            "next-index-not-moved-back",
            "progress check",
            "after 5 steps",
            "Progress",
        ),
        (
            "heartbeats-not-sent",
            "timed simulation",
            "timed simulation",
            "Stability",
        ),
        (
            "conflict-hint-ignored",
            "timed simulation",
            "timed simulation",
            "Latency",
        ),
    ] {
        browser.go("about:blank");
        browser.go(door.origin());
        browser.fill(".bugs input[type=search]", bug);
        browser.see_text(".bug-list", chip);
        browser.click(&format!(".bug input[value={bug}]"));
        browser.see_text("#plant-meaning", property);
        browser.click("#plant-find");
        let told = browser.see_text(".found", headline);
        assert!(!told.contains(" 0 steps"), "{told}");
        // A simulation reports no number of states.
        assert_eq!(told.contains("states"), chip == "progress check", "{told}");
        // There is a path to walk, and no green line beside the red one.
        browser.click("#found-next");
        browser.see_text(".story-number", "1");
        browser.see_text(".property-list .is-broken", property);
        assert!(!browser.has(".property-sum.is-good"));
        assert!(
            !browser.see(".property-list").contains("Linearizability"),
            "nothing judged it"
        );
        // The explanation of the property is available in both languages.
        browser.click(".property-list .is-broken summary");
        assert!(
            browser
                .see(".property-list .is-broken .property-about")
                .len()
                > 20
        );
        browser.press(Key::End);
        browser.see(".found .property-why, .found .found-line");
        browser.picture(&format!("explore-{bug}"));
    }
    browser.choose("select", "es");
    browser.see_text(".property-list .is-broken", "Latencia");
    browser.see_text(".found", "simulación con reloj");
    browser.close(&[door.origin()]);
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
    // Some of them provoke errors.
    browser.complaints();
    browser.close(&[&origin]);
}

/// Starts the checker's HTTP server at a free address.
fn checker(arguments: &[&str]) -> Door {
    let address = ["--address", "127.0.0.1:0"];
    Door::open("raft-checker", &[arguments, &address].concat())
}

/// Starts a proxy with an embedded cluster at free addresses.
fn cluster(arguments: &[&str]) -> Door {
    let places = [
        "--data-dir={dir}/data",
        "--listen=127.0.0.1:0",
        "--http=127.0.0.1:0",
    ];
    Door::open("raft-proxy", &[arguments, &places].concat())
}

fn tour(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/assets/tours");
    folder.join(name).canonicalize().expect("the tour is there")
}

fn jsonl(path: impl AsRef<Path>) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a run can be read");
    text.lines().map(str::to_owned).collect()
}

/// Asserts that no element exceeds a window of this width.
fn assert_fits(browser: &Browser, width: u64) {
    let wide = browser.run("return document.documentElement.scrollWidth", vec![]);
    assert!(wide.as_u64() <= Some(width), "{wide} wide in {width}");
}

fn until_address(browser: &Browser, end: &str) {
    until(&format!("the address to end in {end}"), || {
        browser.address().ends_with(end).then_some(())
    });
}
