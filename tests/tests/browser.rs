//! The browser app in a real browser, against the real servers.

use harness::browser::Browser;
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
