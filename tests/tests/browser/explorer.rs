//! Tours, walks and searches.

use crate::{assert_fits, checker, until_address};
use fantoccini::key::Key;
use harness::{PageServer, browser::Browser, wait::until};
use serde_json::json;

/// Walks the tour with this number of steps to its end by keyboard.
fn walk(browser: &Browser, server: &PageServer, tour: &str, parts: usize) {
    browser.go(&format!("{}/#/tour/{tour}", server.origin()));
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
    let server = checker(&["explore"]);
    browser.go(&format!("{}/#/tour", server.origin()));
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
        walk(&browser, &server, tour, parts);
        browser.picture(&format!("tour-{tour}"));
    }
    browser.choose("select", "es");
    browser.see_text(".tour-top a", "recorridos");
    browser.resize(390, 844);
    browser.go(&format!("{}/#/tour/figure-8?step=8", server.origin()));
    browser.see_text(".tour-moves", "9 de 23");
    assert_fits(&browser, 390);
    browser.picture("tour-narrow-spanish");
    browser.close(&[server.origin()]);
}

#[test]
fn newcomer_plants_the_bug_of_figure_8_and_sees_it_happen() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
    browser.go(server.origin());
    browser.see("#plant-find");
    browser.picture("explore-first-screen");
    browser.click("#plant-find");
    browser.see_text(".found", "Leader Completeness");
    let mut steps = 0;
    while browser.has("#found-next") {
        steps += 1;
        browser.click("#found-next");
        browser.see_text(".step-number", &steps.to_string());
    }
    assert!((10..60).contains(&steps), "{steps} steps");
    browser.see_text(".step-violation", "Leader Completeness");
    // The step that committed the entry violated properties of its own.
    browser.see_text(".property-list", "Leaders commit in their own term");
    browser.see_text(".property-list", "Steps refine the abstract Raft");
    assert_eq!(browser.count(".property-list .is-violated"), 3);
    browser.picture("explore-figure-8");
    // The address contains the whole state.
    let address = until("the address of the end", || {
        let address = browser.address();
        (!address.contains("at=")).then_some(address)
    });
    browser.go("about:blank");
    browser.go(&address);
    browser.see_text(".step-violation", "Leader Completeness");
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
    browser.close(&[server.origin()]);
}

#[test]
fn state_space_is_walked_branched_and_searched_by_hand() {
    let Some(mut browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
    let start = format!("{}/#/explore?scope=crashes", server.origin());
    browser.go(&start);
    browser.click("[data-key='1e']");
    browser.see_text(".step-description", "server 1");
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
    browser.see_text(".toast.is-bad", "there is no message 99 at this point");
    until_address(&browser, "path=1e");
    browser.choose("select", "es");
    browser.go("about:blank");
    browser.go(&format!("{start}&path=1e.2d99"));
    browser.see_text(".toast.is-bad", "en este punto no existe el mensaje 99");
    browser.was_refused("/api/walk");
    browser.close(&[server.origin()]);
}

#[test]
fn panels_are_as_wide_as_somebody_made_them() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
    browser.go(&format!(
        "{}/#/explore?scope=crashes&path=1e",
        server.origin()
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
    browser.close(&[server.origin()]);
}

#[test]
fn ten_thousand_steps_are_drawn_no_more_than_is_seen() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
    // Two messages that arrive repeatedly.
    let mut path = vec!["1e", "2d1", "1d3"];
    while path.len() < 10_000 {
        path.extend(["2d4", "3d5"]);
    }
    path.truncate(10_000);
    let path = path.join(".");
    browser.go(&format!(
        "{}/#/explore?scope=crashes&path={path}&at=5000",
        server.origin()
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
        browser.see_text(".step-number", &step.to_string());
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
    browser.see_text(".step-number", "1");
    let before = browser.run(
        "return document.querySelector('.st-now').getAttribute('x')",
        vec![],
    );
    browser.press(Key::Right);
    browser.see_text(".step-number", "2");
    let place = "return document.querySelector('.st-now').getAttribute('x')";
    assert_eq!(browser.run(place, vec![]), before, "drawn for nobody");
    browser.run("document.querySelector('.p-time-fold').open = true", vec![]);
    until("the diagram to be drawn", || {
        (browser.run(place, vec![]) != before).then_some(())
    });
    browser.close(&[server.origin()]);
}

#[test]
fn back_leads_from_a_walk_to_the_first_screen_and_tabs_lead_back_to_the_walk() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
    browser.go(server.origin());
    browser.click_text(".welcome", "Start walking");
    browser.click("[data-key='1e']");
    until_address(&browser, "path=1e");
    // Another page, and back by its tab: the walk is at its previous position.
    browser.click_text(".tabs", "Tour");
    browser.see(".tour-card");
    browser.click_text(".tabs", "Explore");
    browser.see_text(".step-description", "server 1");
    until_address(&browser, "path=1e");
    // Back through the pages, then out of the walk, but not off the site.
    browser.back();
    browser.see(".tour-card");
    browser.back();
    browser.see_text(".step-description", "server 1");
    browser.back();
    browser.see("#plant-find");
    assert!(browser.address().starts_with(server.origin()));
    browser.close(&[server.origin()]);
}

#[test]
fn bug_that_violates_no_property_is_shown_with_its_method_and_walked_to() {
    let Some(browser) = Browser::open(1280, 900) else {
        return;
    };
    let server = checker(&["explore"]);
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
            "votes-despite-live-leader",
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
        browser.go(server.origin());
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
        browser.see_text(".step-number", "1");
        browser.see_text(".property-list .is-violated", property);
        assert!(!browser.has(".property-sum.is-good"));
        assert!(
            !browser.see(".property-list").contains("Linearizability"),
            "no property was checked"
        );
        // The explanation of the property is available in both languages.
        browser.click(".property-list .is-violated summary");
        assert!(
            browser
                .see(".property-list .is-violated .property-about")
                .len()
                > 20
        );
        browser.press(Key::End);
        browser.see(".found .property-why, .found .found-line");
        browser.picture(&format!("explore-{bug}"));
    }
    browser.choose("select", "es");
    browser.see_text(".property-list .is-violated", "Latencia");
    browser.see_text(".found", "simulación con reloj");
    browser.close(&[server.origin()]);
}
