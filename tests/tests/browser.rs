//! The browser app in a real browser, against the real servers.

use fantoccini::key::Key;
use harness::{Door, browser::Browser};
use std::panic::{AssertUnwindSafe, catch_unwind};

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
    let wide = browser.run("return document.documentElement.scrollWidth", vec![]);
    assert_eq!(wide, 390, "nothing sticks out of a narrow window");
    browser.picture("tour-narrow-spanish");
    browser.close(&[door.origin()]);
}
