//! A real browser: headless Chromium, controlled over the WebDriver protocol.
//!
//! If Chromium is not installed, [`Browser::open`] reports that the test is skipped; with `CI` set it
//! panics instead. Screenshots go to `target/screenshots`, for people to look at. All network requests
//! and all errors of the page are recorded, and [`Browser::close`] checks them: the page must have
//! contacted only the servers that the test names, and must have reported no error.

use crate::wait::until;
use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, error::CmdError, key::Key,
    wd::WebDriverCompatibleCommand,
};
use serde_json::{Map, Value, json};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The names of the Chromium executable on different systems.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
const DRIVERS: [&str; 2] = ["chromedriver", "chromium.chromedriver"];

/// One browser window. Dropping it closes the browser.
pub struct Browser {
    runtime: Runtime,
    client: Client,
    driver: Child,
    /// Kept open as long as the driver runs, because the driver's writes to a closed pipe would fail.
    _says: BufReader<ChildStdout>,
    _profile: TempDir,
    asked: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

/// Concurrent browsers on two cores would only show that two cores are too few.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Browser {
    /// Opens a window of this size. Returns `None` with a message if no browser is installed.
    ///
    /// # Panics
    /// If no browser is installed and `CI` is set, or the browser does not start.
    pub fn open(width: u32, height: u32) -> Option<Self> {
        let (Some(browser), Some(driver)) = (find(&BROWSERS), find(&DRIVERS)) else {
            let missing =
                "no Chromium with its driver is installed (Debian: chromium, chromium-driver)";
            assert!(env::var_os("CI").is_none(), "{missing}");
            eprintln!("skipped: {missing}");
            return None;
        };
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = tempfile::tempdir().expect("a directory for a profile cannot be made");
        let mut driver = Command::new(driver)
            .args(["--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the driver of the browser does not start");
        let mut says = BufReader::new(driver.stdout.take().expect("it is piped"));
        let port = port(&mut says);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime cannot be made");
        let client = runtime.block_on(
            ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
                .capabilities(capabilities(&browser, profile.path(), (width, height)))
                .connect(&format!("http://127.0.0.1:{port}")),
        );
        let this = Self {
            client: client.unwrap_or_else(|error| panic!("the browser does not start: {error}")),
            runtime,
            driver,
            _says: says,
            _profile: profile,
            asked: Vec::new(),
            _turn: turn,
        };
        this.resize(width, height);
        Some(this)
    }

    /// Sets the size of the viewport.
    ///
    /// # Panics
    /// If the browser fails to do so.
    pub fn resize(&self, width: u32, height: u32) {
        self.zoom(width, height, 1);
    }

    /// Sets the size of the viewport at a zoom level: at 200 %, the viewport of a window twice as wide
    /// has this width, and each of its pixels is two screen pixels.
    ///
    /// # Panics
    /// If the browser fails to do so.
    pub fn zoom(&self, width: u32, height: u32, scale: u32) {
        // A window cannot be as narrow as a phone, but Chromium can emulate one.
        let metrics = json!({
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": false},
        });
        self.extra("goog/cdp/execute", metrics);
    }

    /// Navigates to an address.
    ///
    /// # Panics
    /// If it cannot be loaded.
    pub fn go(&self, address: &str) {
        let gone = self.runtime.block_on(self.client.goto(address));
        gone.unwrap_or_else(|error| panic!("{address} cannot be loaded: {error}"));
    }

    /// The address of the page.
    ///
    /// # Panics
    /// If the browser is gone.
    pub fn address(&self) -> String {
        let address = self.runtime.block_on(self.client.current_url());
        address.expect("the browser says where it is").into()
    }

    /// Reloads the page.
    ///
    /// # Panics
    /// If it cannot be loaded.
    pub fn reload(&self) {
        let done = self.runtime.block_on(self.client.refresh());
        done.expect("the page can be loaded again");
    }

    /// Runs a function body with `arguments` in the page, and returns its result.
    ///
    /// # Panics
    /// If it throws.
    pub fn run(&self, body: &str, arguments: Vec<Value>) -> Value {
        let result = self.runtime.block_on(self.client.execute(body, arguments));
        result.unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    /// Runs an asynchronous function body in the page, and returns the value that it passes to its
    /// last argument, a callback.
    ///
    /// # Panics
    /// If it throws.
    pub fn run_later(&self, body: &str, arguments: Vec<Value>) -> Value {
        let result = self
            .runtime
            .block_on(self.client.execute_async(body, arguments));
        result.unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    /// Goes back in the history.
    ///
    /// # Panics
    /// If the browser is gone.
    pub fn back(&self) {
        let done = self.runtime.block_on(self.client.back());
        done.expect("the browser can go back");
    }

    /// Runs axe-core, which checks accessibility for users who cannot see the page, read it or use a
    /// mouse. Returns a sentence for each violated rule, or `None` if axe-core is not installed.
    ///
    /// # Panics
    /// If it is not installed and `CI` is set, or it fails.
    pub fn accessibility(&self) -> Option<Vec<String>> {
        let Some(axe) = axe() else {
            let missing =
                "axe-core is not installed: npm install --prefix target/axe --no-save axe-core";
            assert!(env::var_os("CI").is_none(), "{missing}");
            eprintln!("skipped: {missing}");
            return None;
        };
        self.run(&axe, vec![]);
        let script = "const done = arguments[0];
            const about = (node) => `${node.target.join(' ')}: ${node.failureSummary}`;
            axe.run().then(({violations, passes}) => done({
                passes: passes.length,
                violations: violations.map(({id, help, nodes}) =>
                    `${id}: ${help}: ${nodes.slice(0, 4).map(about).join('; ')}`),
            }), (error) => done({error: String(error)}));";
        let found = self.run_later(script, vec![]);
        assert!(
            found["passes"].as_u64() > Some(0),
            "nothing was judged: {found}"
        );
        let found = found["violations"].as_array().expect("a list").iter();
        Some(
            found
                .map(|one| one.as_str().unwrap_or_default().to_owned())
                .collect(),
        )
    }

    /// Checks the picture of the stage (`ui/tests/overlaps.js`). Returns a sentence for each fault.
    ///
    /// # Panics
    /// If there is no stage.
    pub fn overlaps(&self) -> Vec<String> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/tests/overlaps.js");
        let script = fs::read_to_string(file).expect("ui/tests/overlaps.js can be read");
        let script = script.replace("export function", "function");
        let look = "return overlaps(document.querySelector('.stage-picture'))";
        let found = self.run(&format!("{script}\n{look}"), vec![]);
        let found = found.as_array().expect("a list").iter();
        found
            .map(|one| one.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Waits until a selector matches a visible element, and returns its text.
    ///
    /// # Panics
    /// If it never does.
    pub fn see(&self, selector: &str) -> String {
        let element = self.shown(selector);
        let text = self.runtime.block_on(element.text());
        text.unwrap_or_default()
    }

    /// Waits until the text of a matched element contains `part`, and returns the whole text.
    ///
    /// # Panics
    /// If it never does.
    pub fn see_text(&self, selector: &str, part: &str) -> String {
        until(&format!("{selector} to say {part:?}"), || {
            let text = self.text(selector)?;
            text.to_lowercase()
                .contains(&part.to_lowercase())
                .then_some(text)
        })
    }

    /// Whether a selector matches an element now.
    ///
    /// # Panics
    /// If the browser is gone.
    pub fn has(&self, selector: &str) -> bool {
        let found = self
            .runtime
            .block_on(self.client.find_all(Locator::Css(selector)));
        !found.expect("the browser can be asked").is_empty()
    }

    /// The number of elements that a selector matches now.
    ///
    /// # Panics
    /// If the browser is gone.
    pub fn count(&self, selector: &str) -> usize {
        let found = self
            .runtime
            .block_on(self.client.find_all(Locator::Css(selector)));
        found.expect("the browser can be asked").len()
    }

    /// Waits for an element, and clicks it.
    ///
    /// # Panics
    /// If it never becomes clickable.
    pub fn click(&self, selector: &str) {
        until(&format!("{selector} to be clicked"), || {
            let click = async {
                let element = self.client.find(Locator::Css(selector)).await?;
                element.click().await
            };
            // The element may be moving, covered or redrawn: the next attempt will succeed.
            self.runtime.block_on(click).ok()
        });
    }

    /// Waits for a button, link or similar element with this text, and clicks it.
    ///
    /// # Panics
    /// If there is none.
    pub fn click_text(&self, within: &str, text: &str) {
        let script = "const [within, text] = arguments;
            const all = [...document.querySelectorAll(within + ' button, ' + within + ' a, ' + within + ' summary')];
            const found = all.find(e => !e.disabled && e.checkVisibility()
                && (e.textContent.includes(text) || (e.getAttribute('aria-label') || '').includes(text)));
            if (found) { found.scrollIntoView({block: 'center'}); found.click(); }
            return !!found;";
        until(&format!("a button {text:?} in {within}"), || {
            let clicked = self.run(script, vec![json!(within), json!(text)]);
            (clicked == json!(true)).then_some(())
        });
    }

    /// Replaces the text of an input element.
    ///
    /// # Panics
    /// If the element accepts no text.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.shown(selector);
        let typed = self.runtime.block_on(async {
            element.clear().await?;
            element.send_keys(text).await
        });
        typed.unwrap_or_else(|error| panic!("{selector} cannot be typed into: {error}"));
    }

    /// Passes a file to a file input, which may be invisible.
    ///
    /// # Panics
    /// If there is no such input.
    pub fn give_file(&self, selector: &str, path: &Path) {
        let path = path.to_str().expect("the path is text");
        until(&format!("{selector} to take a file"), || {
            let give = async {
                let input = self.client.find(Locator::Css(selector)).await?;
                input.send_keys(path).await
            };
            self.runtime.block_on(give).ok()
        });
    }

    /// Selects the option with this value.
    ///
    /// # Panics
    /// If there is none.
    pub fn choose(&self, selector: &str, value: &str) {
        let element = self.shown(selector);
        let chosen = self.runtime.block_on(element.select_by_value(value));
        chosen.unwrap_or_else(|error| panic!("{selector} has no {value:?}: {error}"));
    }

    /// Presses a key in the focused element.
    ///
    /// # Panics
    /// If no element has the focus.
    pub fn press(&self, key: Key) {
        self.type_keys(&char::from(key).to_string());
    }

    /// Types into the focused element.
    ///
    /// # Panics
    /// If no element has the focus.
    pub fn type_keys(&self, keys: &str) {
        let typed = self.runtime.block_on(async {
            let element = self.client.active_element().await?;
            element.send_keys(keys).await
        });
        typed.expect("something has the focus");
    }

    /// Takes a screenshot.
    ///
    /// # Panics
    /// If it cannot be taken or written.
    pub fn picture(&self, name: &str) {
        let picture = self.runtime.block_on(self.client.screenshot());
        let picture = picture.expect("the browser takes pictures");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
        fs::create_dir_all(&folder).expect("the folder of pictures can be made");
        fs::write(folder.join(format!("{name}.png")), picture).expect("a picture can be written");
    }

    /// The entries of this log since the last read.
    fn log(&mut self, kind: &str) -> Vec<Value> {
        let log = self.extra("se/log", json!({"type": kind}));
        log.as_array().cloned().unwrap_or_default()
    }

    /// The address of each network request of the page since the start.
    pub fn asked(&mut self) -> Vec<String> {
        for entry in self.log("performance") {
            let message = entry["message"].as_str().unwrap_or_default();
            let message: Value = serde_json::from_str(message).unwrap_or_default();
            let message = &message["message"];
            for (method, field) in [
                ("Network.requestWillBeSent", "/params/request/url"),
                ("Network.webSocketCreated", "/params/url"),
            ] {
                if message["method"] == method
                    && let Some(address) = message.pointer(field).and_then(Value::as_str)
                {
                    self.asked.push(address.to_owned());
                }
            }
        }
        self.asked.clone()
    }

    /// The errors that the page wrote to its console or threw since the last read.
    pub fn complaints(&mut self) -> Vec<String> {
        let log = self.log("browser").into_iter();
        let severe = log.filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }

    /// Asserts that all recorded errors are responses that rejected a request to `place`: browsers log
    /// every such response. Clears them.
    ///
    /// # Panics
    /// If the page reported another error.
    pub fn was_refused(&mut self, place: &str) {
        for complaint in self.complaints() {
            let is_answer = complaint.contains("the server responded with a status of 4");
            assert!(
                is_answer && complaint.contains(place),
                "the page complains: {complaint}"
            );
        }
    }

    /// Closes the window. `origins` are the servers that the page may contact.
    ///
    /// # Panics
    /// If the page contacted another server or reported an error.
    pub fn close(mut self, origins: &[&str]) {
        let asked = self.asked();
        assert!(!asked.is_empty(), "what the page asked was not recorded");
        for address in &asked {
            let own = origins
                .iter()
                .any(|origin| address.starts_with(&format!("{origin}/")));
            let inside = ["data:", "blob:", "about:", "chrome:"]
                .iter()
                .any(|scheme| address.starts_with(scheme));
            assert!(own || inside, "the page asked a stranger: {address}");
        }
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the page complains: {complaints:#?}");
    }

    fn text(&self, selector: &str) -> Option<String> {
        let text = async {
            let element = self.client.find(Locator::Css(selector)).await?;
            element.text().await
        };
        self.runtime.block_on(text).ok()
    }

    fn shown(&self, selector: &str) -> Element {
        until(&format!("{selector} to be seen"), || {
            let look = async {
                let element = self.client.find(Locator::Css(selector)).await?;
                let shown = element.is_displayed().await?;
                Ok::<_, CmdError>(shown.then_some(element))
            };
            self.runtime.block_on(look).ok().flatten()
        })
    }

    fn extra(&self, path: &'static str, body: Value) -> Value {
        let command = Extra { path, body };
        let answer = self.runtime.block_on(self.client.issue_cmd(command));
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, which is not a child of this process. After that the driver can end.
        let _ = self.runtime.block_on(self.client.clone().close());
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A command of Chromium's driver that is not in the standard.
#[derive(Debug)]
struct Extra {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extra {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

fn capabilities(browser: &Path, profile: &Path, size: (u32, u32)) -> Map<String, Value> {
    let profile = format!("--user-data-dir={}", profile.display());
    let size = format!("--window-size={},{}", size.0, size.1);
    let options = json!({
        "goog:chromeOptions": {
            "binary": browser,
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-dev-shm-usage", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", profile, size,
            ],
        },
        "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
    });
    let Value::Object(options) = options else {
        unreachable!("it is written as an object above")
    };
    options
}

/// Reads the port on which the driver listens from its output.
fn port(says: &mut BufReader<ChildStdout>) -> u16 {
    let mut line = String::new();
    loop {
        line.clear();
        let read = says.read_line(&mut line).expect("the driver can be read");
        assert!(read > 0, "the driver ended without naming its port");
        let number = line.trim().trim_end_matches('.').rsplit(' ').next();
        if line.contains("started successfully on port")
            && let Some(port) = number.and_then(|number| number.parse().ok())
        {
            return port;
        }
    }
}

/// The script of axe-core, from the directory where `.ci/run` installs it, or from the path in
/// `AXE_CORE`.
fn axe() -> Option<String> {
    let here = "../target/axe/node_modules/axe-core/axe.min.js";
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(here);
    let file = env::var_os("AXE_CORE").map_or(installed, PathBuf::from);
    fs::read_to_string(file).ok()
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<_> = env::split_paths(&path).collect();
    names.iter().find_map(|name| {
        let mut found = folders.iter().map(|folder| folder.join(name));
        found.find(|program| program.is_file())
    })
}
