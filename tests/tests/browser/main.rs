//! Tests of the browser app in a real browser, with the real servers.

mod explorer;
mod live;
mod page;
mod traces;

use harness::{PageServer, browser::Browser, wait::until};

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

/// Starts the checker's HTTP server at a free address.
fn checker(arguments: &[&str]) -> PageServer {
    let address = ["--address", "127.0.0.1:0"];
    PageServer::open("raft-checker", &[arguments, &address].concat())
}

/// Starts a proxy with an embedded cluster at free addresses.
fn cluster(arguments: &[&str]) -> PageServer {
    let places = [
        "--data-dir={dir}/data",
        "--listen=127.0.0.1:0",
        "--http=127.0.0.1:0",
    ];
    PageServer::open("raft-proxy", &[arguments, &places].concat())
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
