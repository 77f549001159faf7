//! Layout, keyboard and accessibility, and the checks themselves.

use crate::{NAMELESS, SIZES, checker, cluster, until_drawn};
use fantoccini::key::Key;
use harness::{browser::Browser, files, wait::until};
use serde_json::json;
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

#[test]
fn everything_that_takes_the_keyboard_has_a_name() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
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
        browser.go(&format!("{}/{page}", server.origin()));
        browser.see(shows);
        assert_eq!(browser.run(NAMELESS, vec![]), json!([]), "{page}");
        assert_eq!(browser.count("h1"), 1, "{page}");
    }
    browser.close(&[server.origin()]);
}

#[test]
fn stage_of_the_tours_is_legible_at_every_window_size() {
    let Some(browser) = Browser::open(1280, 800) else {
        return;
    };
    let server = checker(&["explore"]);
    for (tour, from, to, sizes) in [
        ("exactly-once", 3, 4, &SIZES[..]),
        ("figure-8", 0, 22, &SIZES[4..5]),
        ("figure-8", 5, 7, &SIZES[..]),
    ] {
        for step in from..=to {
            browser.go(&format!("{}/#/tour/{tour}?step={step}", server.origin()));
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
    browser.close(&[server.origin()]);
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
    let server = checker(&["explore"]);
    let live = cluster(&["--embedded=3", "--chaos", "--redis=off"]);
    let made_up = files::serve();
    let no_quorum = json!({"servers": 5, "killed": [1, 2, 5]});
    let pages = [
        (server.origin(), "/?{}#/".to_owned(), "#plant-find"),
        (
            server.origin(),
            "/?{}#/explore?scope=crashes&path=1e.2d1.1d3.1w.2c".to_owned(),
            ".act-deliver",
        ),
        (server.origin(), "/?{}#/tour".to_owned(), ".tour-card"),
        (
            server.origin(),
            "/?{}#/tour/figure-8?step=12".to_owned(),
            ".tour-head",
        ),
        (server.origin(), "/?{}#/replay".to_owned(), ".replay-drop"),
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
    browser.close(&[server.origin(), live.origin(), &made_up]);
}

#[test]
fn focus_stays_on_the_actions_and_dialogs_begin_at_their_field() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
    browser.go(&format!("{}/#/explore?scope=crashes", server.origin()));
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
        browser.see_text(".step-number", &step.to_string());
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
    browser.close(&[server.origin()]);
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
