//! The program from the user's point of view: its output and its exit codes.

use checker::trace::{Trace, read_jsonl};
use model::mutant::Mutant;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A scope that is searched in a moment.
const SMALL: &[&str] = &[
    "check",
    "--scope",
    "elections",
    "--terms",
    "1",
    "--crashes",
    "0",
];
/// A scope whose search takes more than an hour.
const LARGE: &[&str] = &[
    "check",
    "--scope",
    "crashes",
    "--terms",
    "4",
    "--entries",
    "4",
    "--threads",
    "1",
];
const PATIENCE: Duration = Duration::from_secs(60);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-checker"));
    command.stdin(Stdio::null());
    command
}

/// A child process that is killed when its test ends, even if the test fails.
struct Spawned(Option<Child>);

impl Spawned {
    fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().expect("the program starts")))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("its output was not awaited")
    }

    fn id(&self) -> u32 {
        self.0.as_ref().expect("its output was not awaited").id()
    }

    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child().stdout.take().expect("a pipe"))
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.id()).expect("a process id");
        // SAFETY: sends a signal to a child that was not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    fn wait(&mut self) -> ExitStatus {
        self.child().wait().expect("the program ends")
    }

    fn output(mut self) -> Output {
        let child = self.0.take().expect("a child");
        child.wait_with_output().expect("the program ends")
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(arguments: &[&str]) -> Output {
    program()
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn run_with(arguments: &[&str], more: &[&str]) -> Output {
    run(&[arguments, more].concat())
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program was not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Requires a usage error: exit code 2, a message that contains `words`, no standard output, no panic.
fn assert_usage_error(arguments: &[&str], words: &[&str]) {
    let output = run(arguments);
    let message = stderr(&output);
    assert_eq!(code(&output), 2, "{arguments:?}: {message}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: {message}");
    }
}

#[test]
fn check_small_scope_is_exhausted() {
    let output = run(SMALL);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for word in [
        "elections",
        "exhausted",
        // This scope records no operations, so Linearizability is not checked.
        "12/12",
        "not required with these bounds",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let (_, suggestions) = text.rsplit_once("\n\n").expect("an empty line");
    assert_eq!(suggestions.lines().count(), 3, "{text}");
    assert_eq!(stderr(&output), "", "silent without a terminal");
}

/// The commands suggested at the end, without the name of the program.
fn suggestions(output: &Output) -> Vec<Vec<String>> {
    let text = stdout(output);
    let (_, last) = text.rsplit_once("\n\n").expect("an empty line");
    let command = |line: &str| {
        let (command, _) = line.split_once("   # ").expect("what it is for");
        let mut words = command.split(' ').map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some("raft-checker"), "{line}");
        words.collect()
    };
    last.lines().map(command).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Runs a suggestion, which must be a valid command.
#[track_caller]
fn follow(directory: &Path, suggestion: &[String]) -> i32 {
    let arguments: Vec<&str> = suggestion.iter().map(String::as_str).collect();
    let output = run_in(directory, &arguments);
    assert_ne!(code(&output), 2, "{suggestion:?}: {}", stderr(&output));
    code(&output)
}

#[test]
fn check_suggestions_after_a_pass_lead_on() {
    let directory = directory();
    let output = run_with(SMALL, &["--threads", "2", "--no-symmetry"]);
    let [larger, mutants, explore] = suggestions(&output).try_into().expect("three lines");
    let grown = "check --scope elections --terms 1 --crashes 1 --threads 2 --no-symmetry";
    assert_eq!(larger, words(grown));
    assert_eq!(mutants, ["mutants"]);
    assert_eq!(
        explore,
        words("explore --scope elections --terms 1 --crashes 0")
    );
    assert_eq!(follow(directory.path(), &larger), 0);
}

#[test]
fn check_suggestions_after_a_limit_go_farther_or_smaller() {
    let directory = directory();
    let output = run_with(SMALL, &["--max-states", "5"]);
    let farther = "check --scope elections --terms 1 --crashes 0 --max-states 50";
    let [first, _, last] = suggestions(&output).try_into().expect("three lines");
    assert_eq!(first, words(farther));
    assert_eq!(
        last,
        words("simulate --scope elections --terms 1 --crashes 0")
    );
    assert_eq!(follow(directory.path(), &first), 0);
    let output = run_with(LARGE, &["--max-states", "5"]);
    let smaller = "check --scope crashes --terms 2 --entries 1 --threads 1";
    assert_eq!(suggestions(&output)[1], words(smaller));
}

#[test]
fn check_suggestions_after_a_violation_keep_the_bug() {
    let directory = directory();
    let output = run_in(directory.path(), &[&["check"], BUGGY].concat());
    let [mutants, other, explore] = suggestions(&output).try_into().expect("three lines");
    assert_eq!(mutants, words("mutants votes-twice-in-a-term"));
    let asked = "--scope elections --terms 2 --crashes 1";
    let bug = "--mutant votes-twice-in-a-term";
    assert_eq!(
        other,
        words(&format!(
            "check {asked} --engine stateright --max-states 10000000 {bug}"
        ))
    );
    assert_eq!(explore, words(&format!("explore {asked} {bug}")));
    for suggestion in [&mutants, &other] {
        follow(directory.path(), suggestion);
    }
}

#[test]
fn check_nothing_can_happen_is_called_vacuous() {
    let arguments = [
        "check",
        "--scope",
        "older-term",
        "--servers",
        "2",
        "--terms",
        "1",
    ];
    let output = run(&arguments);
    assert!(stdout(&output).contains("older-term entry committed"));
    let never = [
        "check",
        "--scope",
        "reads",
        "--terms",
        "1",
        "--reads",
        "0",
        "--entries",
        "0",
    ];
    let output = run(&never);
    assert!(stdout(&output).contains("vacuous"), "{}", stdout(&output));
}

#[test]
fn check_without_subcommand_takes_its_arguments() {
    let output = run(&SMALL[1..]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("exhausted"));
}

#[test]
fn check_json_is_one_object_for_each_scope_and_one_for_all() {
    let output = run_with(SMALL, &["--scope", "elections-4", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["type"], "scope");
    assert_eq!(lines[0]["scope"], "elections");
    assert_eq!(lines[0]["verdict"], "exhausted");
    assert_eq!(lines[0]["bounds"]["terms"], 1);
    assert_eq!(lines[0]["properties"]["hold"], 12);
    assert_eq!(lines[0]["witnesses"]["required"], false);
    assert_eq!(lines[1]["scope"], "elections-4");
    assert_eq!(lines[2]["type"], "summary");
    assert_eq!(lines[2]["exit_code"], 0);
    assert_eq!(lines[2]["exhausted"], 2);
}

#[test]
fn check_named_scope_reaches_its_witnesses() {
    let output = run(&["check", "--scope", "elections", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let witnesses = &json_lines(&output)[0]["witnesses"];
    assert_eq!(witnesses["required"], true);
    assert_eq!(witnesses["missing"], Value::Array(Vec::new()));
}

#[test]
fn check_max_states_truncates_without_a_claim() {
    for engine in ["own", "stateright"] {
        let limits = ["--max-states", "1000", "--engine", engine];
        let output = run(&[&["check", "--scope", "elections"], &limits[..]].concat());
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        let text = stdout(&output);
        for word in ["truncated", "--max-states", "no claim"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!text.contains("12/12"), "{text}");
        let output = run(&[&["check", "--json", "--scope", "elections"], &limits[..]].concat());
        let scope = &json_lines(&output)[0];
        assert_eq!(scope["verdict"], "truncated");
        assert_eq!(scope["stopped_by"], "max-states");
        assert_eq!(scope["properties"]["hold"], Value::Null);
    }
}

#[test]
fn check_max_states_counts_the_last_state() {
    let states = json_lines(&run_with(SMALL, &["--json"]))[0]["states"].clone();
    let states = states.as_u64().expect("a count");
    for engine in ["own", "stateright"] {
        for (limit, verdict) in [(states, "exhausted"), (states - 1, "truncated")] {
            for threads in ["1", "2"] {
                let limit = limit.to_string();
                let more = ["--max-states", &limit, "--engine", engine];
                let more = [&more[..], &["--threads", threads, "--json"]].concat();
                let lines = json_lines(&run_with(SMALL, &more));
                assert_eq!(lines[0]["verdict"], verdict, "{engine} {limit}");
            }
        }
    }
}

#[test]
fn check_max_memory_truncates() {
    for engine in ["own", "stateright"] {
        let output = run_with(LARGE, &["--max-memory", "8M", "--json", "--engine", engine]);
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        assert_eq!(json_lines(&output)[0]["stopped_by"], "max-memory");
    }
}

#[test]
fn check_bad_arguments_are_usage_errors() {
    let with = |more: &[&'static str]| [&["check", "--scope", "elections"], more].concat();
    assert_usage_error(
        &["check", "--scope", "election"],
        &["election", "replication"],
    );
    assert_usage_error(&with(&["--terms", "0"]), &["terms 0", "give 1 to"]);
    assert_usage_error(&with(&["--servers", "0"]), &["servers 0"]);
    assert_usage_error(&with(&["--servers", "6"]), &["servers 6", "to 5"]);
    assert_usage_error(&with(&["--crashes", "300"]), &["crashes 300", "to 20"]);
    assert_usage_error(&with(&["--batch", "0"]), &["batch 0"]);
    assert_usage_error(&with(&["--terms", "99999999999999999999"]), &["--terms"]);
    assert_usage_error(&with(&["--threads", "0"]), &["--threads"]);
    assert_usage_error(&with(&["--max-states", "0"]), &["--max-states"]);
    assert_usage_error(&with(&["--max-memory", "plenty"]), &["512M"]);
    assert_usage_error(&with(&["--engine", "spin"]), &["stateright"]);
    assert_usage_error(&["prove"], &["prove"]);
}

#[test]
fn check_nearest_scope_is_suggested() {
    assert_usage_error(
        &["check", "--scope", "replicaton"],
        &["similar", "'replication'"],
    );
}

/// Every scope, small enough for both engines, with and without symmetry reduction and the other
/// reductions.
const BOTH_ENGINES: &[&str] = &[
    "elections --terms 2 --crashes 1",
    "elections --terms 2 --crashes 0 --no-symmetry",
    "elections --terms 1 --crashes 0 --no-reduction",
    "elections --terms 1 --crashes 0 --no-reduction --no-symmetry",
    "elections --terms 1 --crashes 0 --servers 1 --no-reduction",
    "elections --terms 1 --crashes 1 --servers 2 --no-reduction",
    "elections --terms 1 --crashes 0 --servers 5",
    "elections-4 --terms 1 --crashes 1",
    "elections-4 --terms 1 --crashes 1 --no-symmetry",
    "replication --terms 1 --entries 0",
    "replication --terms 1 --entries 1 --servers 2",
    "replication --terms 1 --entries 1 --servers 2 --no-symmetry",
    "replication --terms 1 --entries 1 --servers 2 --no-reduction",
    "crashes --terms 1 --entries 0 --crashes 1",
    "crashes --terms 2 --entries 1 --crashes 1 --servers 2",
    "crashes --terms 1 --entries 0 --crashes 1 --servers 2 --no-reduction",
    "crashes --terms 1 --entries 0 --crashes 1 --servers 2 --no-reduction --no-symmetry",
    "split-writes --terms 1 --entries 0 --crashes 0 --no-symmetry",
    "split-writes --terms 1 --entries 1 --crashes 0 --servers 2",
    "split-writes --terms 1 --entries 0 --crashes 1 --servers 2",
    "split-writes --terms 1 --entries 0 --crashes 1 --servers 2 --no-reduction",
    "split-writes --terms 2 --entries 0 --crashes 0 --servers 2",
    "snapshots --terms 1",
    "snapshots --terms 2 --entries 1 --servers 2 --no-symmetry",
    "snapshots-entries --crashes 1 --servers 2 --no-symmetry",
    "snapshots --terms 1 --entries 1 --servers 2 --no-reduction",
    "quorum --servers 2",
    "quorum --terms 1 --no-symmetry",
    "pipelining --entries 1",
    "pipelining --servers 2 --entries 1 --no-reduction --no-symmetry",
    "older-term --terms 1",
    "older-term --terms 1 --entries 1",
    "older-term --terms 3 --servers 2",
    "older-term --terms 1 --servers 2 --no-reduction --no-symmetry",
    "reads --terms 1 --entries 0 --reads 1",
    "reads --terms 2 --entries 1 --reads 1 --servers 2",
    "reads --terms 1 --entries 0 --reads 1 --servers 2 --no-reduction",
    "end-to-end --entries 1 --reads 0 --attempts 1 --servers 1",
    "fail-over --terms 1 --entries 1 --attempts 1 --servers 2",
    "fail-over --terms 1 --entries 1 --servers 1 --no-reduction",
    "fail-over --terms 1 --entries 1 --servers 2 --crashes 1",
    "sessions --entries 2",
];

/// Both engines must count the same states and the same steps, and reach the same witnesses.
#[test]
fn check_engines_count_the_same_states() {
    for bounds in BOTH_ENGINES {
        let bounds: Vec<&str> = bounds.split(' ').collect();
        let counts = |engine: &str, threads: &str| {
            let how = ["check", "--json", "--engine", engine, "--threads", threads];
            let output = run_with(&[&how[..], &["--scope"]].concat(), &bounds);
            assert_eq!(code(&output), 0, "{bounds:?}: {}", stderr(&output));
            let scope = &json_lines(&output)[0];
            assert_eq!(scope["verdict"], "exhausted", "{bounds:?}");
            let count = |what: &str| scope[what].as_u64().expect("a count");
            let reached = scope["witnesses"]["reached"].to_string();
            (count("states"), count("transitions"), reached)
        };
        let own = counts("own", "1");
        assert_eq!(own, counts("own", "3"), "{bounds:?}");
        assert_eq!(own, counts("stateright", "2"), "{bounds:?}");
    }
}

/// Waits until the program searches: a thread that shows the progress runs beside the search.
#[cfg(target_os = "linux")]
fn wait_for_search(child: &Spawned) {
    let deadline = Instant::now() + PATIENCE;
    let threads = || std::fs::read_dir(format!("/proc/{}/task", child.id()));
    while threads().expect("the program runs").count() < 2 {
        assert!(Instant::now() < deadline, "the search does not start");
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn check_interrupted_says_what_was_covered_and_exits_as_truncated() {
    for engine in ["own", "stateright"] {
        let child = Spawned::start(
            program()
                .args(LARGE)
                .args(["--scope", "fail-over", "--json", "--engine", engine])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        wait_for_search(&child);
        child.signal(libc::SIGINT);
        let output = child.output();
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        let lines = json_lines(&output);
        assert_eq!(lines[0]["verdict"], "truncated");
        assert_eq!(lines[0]["stopped_by"], "interrupted");
        assert!(lines[0]["states"].as_u64().expect("a count") > 0);
        assert_eq!(lines[1]["not_run"][0], "fail-over");
        assert_eq!(lines[1]["exit_code"], 3);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_named_and_nothing_is_claimed() {
    for arguments in [
        SMALL,
        &[SMALL, &["--json"]].concat(),
        &["scopes"],
        &["scopes", "--json"],
        &["mutants", "votes-twice-in-a-term"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full");
        let output = program()
            .args(arguments)
            .current_dir(directory().path())
            .stdout(full.expect("a device that is always full"))
            .output()
            .expect("the program starts");
        assert_eq!(code(&output), 3, "{arguments:?}: {}", stderr(&output));
        let said = "error: standard output cannot be written: No space left on device";
        assert!(
            stderr(&output).contains(said),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn check_closed_output_does_not_panic() {
    for arguments in [SMALL, &["scopes"], &["scopes", "--json"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child = program()
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = child.wait_with_output().expect("the program ends");
        assert_eq!(code(&output), 3, "{arguments:?}");
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

#[test]
fn scopes_lists_names_bounds_and_witnesses() {
    let text = stdout(&run(&["scopes"]));
    for word in [
        "elections-4: ",
        "4 servers",
        "must reach: ",
        "leader elected",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let output = run(&["scopes", "--json"]);
    assert_eq!(code(&output), 0);
    for scope in json_lines(&output) {
        assert!(scope["scope"].is_string());
        assert!(scope["bounds"]["servers"].is_u64());
        assert!(!scope["witnesses"].as_array().expect("a list").is_empty());
    }
}

#[test]
fn bench_measures_every_engine() {
    let output = run(&["bench", "--scope", "elections", "--seconds", "1", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines = json_lines(&output);
    let (summary, runs) = lines.split_last().expect("a last line");
    assert_eq!(summary["type"], "summary");
    assert!(summary["times_stateright_dfs"].as_f64().expect("a ratio") > 0.0);
    for engine in ["own", "stateright-dfs", "stateright-bfs"] {
        let of_engine = runs.iter().find(|run| run["engine"] == engine);
        let run = of_engine.expect("every engine is measured");
        assert!(run["states"].as_u64().expect("a count") > 0);
        assert!(run["cpu_seconds"].as_f64().expect("a time") > 0.0);
    }
}

#[test]
fn explore_address_in_use_is_a_usage_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    assert_usage_error(
        &["explore", "--address", &address],
        &["in use", "--address"],
    );
}

#[test]
fn explore_bad_address_is_a_usage_error() {
    assert_usage_error(&["explore", "--address", "here"], &["HOST:PORT"]);
    assert_usage_error(&["explore", "--address", "192.0.2.1:80"], &["192.0.2.1:80"]);
    assert_usage_error(&["explore", "--scope", "nowhere"], &["elections"]);
    for limit in ["--threads=2", "--max-memory=1G"] {
        assert_usage_error(
            &[
                "explore",
                "--engine=stateright",
                "--address=127.0.0.1:0",
                limit,
            ],
            &["leave out --threads and --max-memory"],
        );
    }
    // stateright's server does not check the origin of requests.
    assert_usage_error(
        &["explore", "--engine=stateright", "--address=0.0.0.0:0"],
        &["loopback"],
    );
}

#[test]
fn explore_serves_status_at_the_address_it_prints() {
    let mut server = Spawned::start(
        program()
            .args([
                "explore",
                "--engine",
                "stateright",
                "--scope",
                "elections",
                "--address",
                "127.0.0.1:0",
            ])
            .stdout(Stdio::piped()),
    );
    let mut line = String::new();
    server.stdout().read_line(&mut line).expect("a line");
    let (_, rest) = line.split_once("http://").expect("an address");
    let (address, _) = rest.split_once('/').expect("an address");
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    };
    write!(stream, "GET /.status HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let status: Value = serde_json::from_str(body).expect("a body of JSON");
    assert_eq!(status["unique_state_count"], 1);
}

/// Starts a server that prints its address. Returns the address, and the text after it up to a space.
fn serving(arguments: &[&str]) -> (Spawned, String, String) {
    let mut server = Spawned::start(program().args(arguments).stdout(Stdio::piped()));
    let mut line = String::new();
    server.stdout().read_line(&mut line).expect("a line");
    let (_, rest) = line.split_once("http://").expect("an address");
    let (address, rest) = rest.split_once('/').expect("an address");
    let place = rest.split(' ').next().unwrap_or_default();
    (server, address.to_owned(), place.to_owned())
}

fn http(address: &str, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens before it says so");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time to wait");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("a request");
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn explore_ends_at_ctrl_c_with_its_streams() {
    let (mut server, address, place) = serving(&[
        "explore",
        "--scope",
        "crashes",
        "--terms",
        "3",
        "--mutant",
        "vote-not-persisted",
        "--address",
        "127.0.0.1:0",
    ]);
    assert_eq!(
        place,
        "#/explore?scope=crashes&terms=3&mutant=vote-not-persisted"
    );
    let body = r#"{"kind":"check","scope":{"name":"crashes","bounds":{"terms":3}}}"#;
    let started = answer(http(&address, "POST", "/api/jobs", body));
    assert!(started.starts_with("HTTP/1.1 202"), "{started}");
    let mut events = BufReader::new(http(&address, "GET", "/api/jobs/1/events", ""));
    let mut line = String::new();
    while !line.starts_with("event: progress") {
        line.clear();
        assert_ne!(events.read_line(&mut line).expect("a line"), 0);
    }
    server.signal(libc::SIGINT);
    let mut rest = String::new();
    events.read_to_string(&mut rest).expect("the stream ends");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = server.child().try_wait().expect("a status") {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on");
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn replay_serves_traces() {
    let directory = directory();
    let output = run_in(
        directory.path(),
        &[
            "check",
            "--scope",
            "elections",
            "--terms",
            "2",
            "--crashes",
            "1",
            "--mutant",
            "votes-twice-in-a-term",
        ],
    );
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let file = directory
        .path()
        .join("raft-checker-elections-violation.jsonl");
    let file = file.to_str().expect("a path of text");
    let (_server, address, place) =
        serving(&["replay", "--serve", file, "--address", "127.0.0.1:0"]);
    assert_eq!(place, "#/replay");
    let served = answer(http(&address, "GET", "/api/traces/served", ""));
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    assert!(served.contains("\"kind\":\"scope\""), "{served}");
    assert!(
        served.contains("\"property\":\"One vote per term\""),
        "{served}"
    );
    assert_usage_error(
        &["replay", "--serve", "/nowhere.jsonl"],
        &["/nowhere.jsonl"],
    );
    let text = directory.path().join("text");
    std::fs::write(&text, "hello").expect("a file");
    let text = text.to_str().expect("a path of text");
    assert_usage_error(
        &["replay", "--serve", text, "--address", "127.0.0.1:0"],
        &["is no trace"],
    );
}

/// A bug in a small scope.
const BUGGY: &[&str] = &[
    "--scope",
    "elections",
    "--terms",
    "2",
    "--crashes",
    "1",
    "--mutant",
    "votes-twice-in-a-term",
];

/// A directory for the files of the program.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory for a test")
}

fn run_in(directory: &Path, arguments: &[&str]) -> Output {
    program()
        .current_dir(directory)
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn trace_in(file: &Path) -> Trace {
    let file = File::open(file).expect("the run is in the file");
    read_jsonl(BufReader::new(file)).expect("the run can be executed again")
}

#[test]
fn check_violation_is_told_and_written() {
    for engine in ["own", "stateright"] {
        let directory = directory();
        let arguments = [&["check", "--engine", engine], BUGGY].concat();
        let output = run_in(directory.path(), &arguments);
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        let (text, name) = (stdout(&output), "raft-checker-elections-violation.jsonl");
        for word in [
            " breaks in ",
            "votes-twice-in-a-term",
            "  1. ",
            " is broken: ",
            "violated",
            "no verdict on Raft",
            name,
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let trace = trace_in(&directory.path().join(name));
        let broken = trace.broken.expect("the run breaks a property");
        assert!(
            text.contains(&format!("broken: {}", broken.property)),
            "{text}"
        );
        assert_eq!(trace.scope.mutant, Some(Mutant::VotesTwiceInATerm));
    }
}

#[test]
fn check_violation_with_json_names_the_file_asked_for() {
    let directory = directory();
    let more = ["check", "--json", "--trace", "run.jsonl"];
    let output = run_in(directory.path(), &[&more, BUGGY].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains(" breaks in "));
    let lines = json_lines(&output);
    assert_eq!(lines[0]["verdict"], "violated");
    assert_eq!(lines[0]["mutant"], "votes-twice-in-a-term");
    assert_eq!(lines[0]["violation"]["trace"], "run.jsonl");
    assert_eq!(lines[1]["exit_code"], 1);
    trace_in(&directory.path().join("run.jsonl"));
}

#[test]
fn check_violation_keeps_its_verdict_if_the_run_cannot_be_written() {
    let directory = directory();
    let more = ["check", "--trace", "/dev/full"];
    let output = run_in(directory.path(), &[&more, BUGGY].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let message = stderr(&output);
    for word in ["/dev/full", "--trace"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    let text = stdout(&output);
    for word in [" breaks in ", "violated"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn trace_that_cannot_be_written_is_refused_before_the_search() {
    let directory = directory();
    let simulate = ["simulate", "--scope", "elections", "--walks", "1"];
    let mutants = ["mutants", "votes-twice-in-a-term"];
    for arguments in [SMALL, &simulate, &mutants] {
        for file in ["missing/run.jsonl", "."] {
            let output = run_in(directory.path(), &[arguments, &["--trace", file]].concat());
            assert_eq!(code(&output), 2, "{arguments:?} {file}");
            assert_eq!(stdout(&output), "", "{arguments:?} {file}");
            let message = stderr(&output);
            assert!(message.contains("--trace"), "{message}");
        }
    }
    let output = run_in(directory.path(), &[SMALL, &["--trace", "new"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(!directory.path().join("new").exists());
    let kept = directory.path().join("kept");
    fs::write(&kept, "kept").expect("written");
    let output = run_in(directory.path(), &[SMALL, &["--trace", "kept"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(fs::read(&kept).expect("it is there"), b"kept");
}

#[test]
fn trace_that_is_lost_is_no_success() {
    let output = run(&["mutants", "votes-twice-in-a-term", "--trace", "/dev/full"]);
    assert_eq!(code(&output), 2, "{}", stdout(&output));
    assert!(stderr(&output).contains("/dev/full"), "{}", stderr(&output));
}

#[test]
fn check_bad_trace_and_mutant_are_usage_errors() {
    assert_usage_error(&["check", "--trace", "run.jsonl"], &["exactly one --scope"]);
    assert_usage_error(
        &["check", "--mutant", "votes-twice-in-term"],
        &["'votes-twice-in-a-term'"],
    );
}

#[test]
fn certificate_of_an_exhausted_scope_is_verified_and_an_altered_one_rejected() {
    let directory = directory();
    let output = run_in(
        directory.path(),
        &[SMALL, &["--certificate", "small"]].concat(),
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let (_, root) = text.split_once("root hash ").expect("a root hash");
    let output = run_in(directory.path(), &["verify", "small"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let verified = stdout(&output);
    for word in [
        "accepted",
        "elections",
        "reductions: merged syncs, ",
        "transitions",
        &root[..64],
    ] {
        assert!(verified.contains(word), "{word}: {verified}");
    }
    let file = directory.path().join("small");
    let mut bytes = fs::read(&file).expect("a certificate");
    *bytes.last_mut().expect("a last byte") ^= 1;
    fs::write(&file, bytes).expect("an altered certificate");
    let output = run_in(directory.path(), &["verify", "small"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains("rejected: "));
}

/// Sends Ctrl-C once the program waits for signals, which it does on a thread of its own.
#[cfg(target_os = "linux")]
fn interrupt(child: &Spawned) {
    let deadline = Instant::now() + PATIENCE;
    let threads = || fs::read_dir(format!("/proc/{}/task", child.id()));
    while threads().expect("the program runs").count() < 2 {
        assert!(Instant::now() < deadline, "nobody listens for Ctrl-C");
        thread::yield_now();
    }
    child.signal(libc::SIGINT);
}

/// The output of a program that is interrupted as soon as possible. It ends as truncated.
#[cfg(target_os = "linux")]
fn interrupted(program: &mut Command) -> Output {
    let child = Spawned::start(program.stdout(Stdio::piped()).stderr(Stdio::piped()));
    interrupt(&child);
    let output = child.output();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    output
}

#[cfg(target_os = "linux")]
#[test]
fn verify_interrupted_concludes_nothing() {
    let directory = directory();
    // Ten thousand states: seconds to verify.
    let scope = ["check", "--scope", "elections", "--no-progress"];
    let certificate = ["--certificate", "elections"];
    let output = run_in(directory.path(), &[&scope[..], &certificate].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = interrupted(
        program()
            .current_dir(directory.path())
            .args(["verify", "elections"]),
    );
    let text = stdout(&output);
    assert!(text.contains("nothing was concluded"), "{text}");
    assert!(!text.contains("accepted"), "{text}");
    assert!(!text.contains("rejected"), "{text}");
}

#[test]
fn certificate_is_withheld_from_a_truncated_scope() {
    let directory = directory();
    let more = ["--certificate", "small", "--max-states", "5", "--json"];
    let output = run_in(directory.path(), &[SMALL, &more].concat());
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let lines = json_lines(&output);
    assert_eq!(lines[1]["type"], "certificate");
    assert_eq!(lines[1]["written"], false);
    assert!(lines[1]["why"].as_str().expect("why").contains("truncated"));
    assert!(!directory.path().join("small").exists());
}

#[test]
fn certificate_bad_arguments_are_usage_errors() {
    // A search that takes hours: the file is checked before the search.
    let with = |more: &[&'static str]| [LARGE, more].concat();
    assert_usage_error(
        &with(&["--certificate", "/nowhere/at/all"]),
        &["/nowhere/at/all", "give the path"],
    );
    assert_usage_error(&with(&["--certificate", "/"]), &["names no file"]);
    assert_usage_error(
        &with(&["--certificate", "/dev/null"]),
        &["/dev/null", "no ordinary file"],
    );
    assert_usage_error(&["check", "--certificate", "all"], &["exactly one --scope"]);
    assert_usage_error(
        &with(&["--certificate", "one", "--engine", "stateright"]),
        &["--engine stateright"],
    );
    assert_usage_error(&["verify", "/nowhere"], &["/nowhere"]);
    assert_usage_error(&["verify", "/"], &["/"]);
}

#[test]
fn check_progress_holds_or_tells_the_stuck_state() {
    let directory = directory();
    let progress = [SMALL, &["--progress"]].concat();
    let output = run(&progress);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("can still commit a new entry"));
    let bug = ["--mutant", "split-vote-never-retried"];
    let output = run_in(directory.path(), &[&progress[..], &bug].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let text = stdout(&output);
    for word in ["  1. ", "stuck:", "┆ stuck "] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let file = "raft-checker-elections-stuck.jsonl";
    assert!(trace_in(&directory.path().join(file)).broken.is_none());
    let output = run_in(
        directory.path(),
        &[&progress[..], &bug, &["--json"]].concat(),
    );
    let found = &json_lines(&output)[0]["progress"];
    assert_eq!(found["verdict"], "stuck");
    assert_eq!(found["trace"], file);
}

#[test]
fn check_says_for_which_scopes_progress_was_checked() {
    let output = run(SMALL);
    let text = stdout(&output);
    for word in ["can still commit a new entry", "┆ holds "] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let output = run_with(SMALL, &["--json"]);
    assert_eq!(json_lines(&output)[0]["progress"]["verdict"], "holds");
    for unchecked in [
        &["--no-progress"][..],
        &["--servers", "1"],
        &["--engine", "stateright"],
    ] {
        let output = run_with(SMALL, unchecked);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let text = stdout(&output);
        assert!(text.contains("┆ not checked "), "{unchecked:?}: {text}");
        assert!(!text.contains("can still commit"), "{unchecked:?}: {text}");
        let output = run_with(SMALL, &[unchecked, &["--json"]].concat());
        assert_eq!(json_lines(&output)[0]["progress"], Value::Null);
    }
    assert_usage_error(
        &[SMALL, &["--progress", "--no-progress"]].concat(),
        &["--no-progress"],
    );
}

/// The bug also breaks an assumption of merge_syncs. A stuck state is stuck regardless of the
/// assumptions of a reduction.
#[test]
fn check_finds_a_stuck_state_although_an_obligation_failed() {
    let bounds = "--servers 2 --terms 1 --entries 1 --crashes 0 --progress --json";
    let args = format!("check --scope crashes {bounds} --mutant heartbeats-not-sent");
    let output = run(&args.split(' ').collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let told = stdout(&output);
    let scope: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(scope["progress"]["verdict"], "stuck", "{scope}");
    assert_ne!(scope["obligations"]["unmet"], json!([]), "{scope}");
}

#[test]
fn check_says_where_bounds_switch_merging_off() {
    let says = |line: &str| {
        let args: Vec<&str> = ["check", "--scope"]
            .into_iter()
            .chain(line.split(' '))
            .collect();
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
        stdout(&output).contains("with these bounds merge_syncs is off")
    };
    assert!(says(
        "fail-over --terms 1 --entries 1 --servers 2 --crashes 1"
    ));
    assert!(says("crashes --terms 1 --entries 0 --snapshots 1"));
    assert!(says("quorum --servers 2 --crashes 1"));
    // These never merge, or always.
    assert!(!says("snapshots --terms 1"));
    assert!(!says("crashes --terms 1 --entries 0"));
}

#[test]
fn check_planted_bug_is_hunted_without_dropping_messages() {
    let directory = directory();
    let output = run_in(directory.path(), &[&["check"], BUGGY].concat());
    assert!(
        stdout(&output).contains("drop_dead and trim_appends are off"),
        "{}",
        stdout(&output)
    );
    // Nothing changes if no reduction was on, or no bug is planted.
    let output = run_in(
        directory.path(),
        &[&["check", "--no-reduction"], BUGGY].concat(),
    );
    assert!(
        !stdout(&output).contains("drop_dead and trim_appends are off"),
        "{}",
        stdout(&output)
    );
    assert!(!stdout(&run(SMALL)).contains("are off"));
    // A stale vote shows the bug, and drop_dead drops that vote.
    let stale = [
        "check",
        "--scope",
        "elections",
        "--terms",
        "2",
        "--crashes",
        "0",
        "--mutant",
        "counts-stale-votes",
    ];
    let output = run_in(directory.path(), &stale);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains("broken: Election Safety"));
}

#[test]
fn check_planted_bug_that_is_not_found_fails_and_says_where_it_is() {
    let bug = ["--mutant", "read-before-applied"];
    let output = run_with(SMALL, &bug);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let text = stdout(&output);
    for word in [
        "the planted bug read-before-applied was not found in this scope",
        "mutants read-before-applied",
        "Linearizability in reads",
        "1 read,",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let output = run_with(SMALL, &[&bug[..], &["--json"]].concat());
    let lines = json_lines(&output);
    assert_eq!(lines[0]["verdict"], "exhausted");
    assert_eq!(lines[1]["undetected"], 1);
    assert_eq!(lines[1]["exit_code"], 1);
}

#[test]
fn check_progress_without_verdict_is_truncated() {
    let output = run(&[SMALL, &["--progress", "--servers", "1"]].concat());
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stdout(&output).contains("no verdict on progress"));
}

/// The report does not claim a result for the bugs that were not tried.
#[cfg(target_os = "linux")]
#[test]
fn mutants_interrupted_says_what_was_not_hunted_and_exits_as_truncated() {
    let output = interrupted(program().arg("mutants"));
    let text = stdout(&output);
    let end: Vec<&str> = text.lines().rev().take(2).collect();
    let [left, found] = end[..] else {
        panic!("{text}");
    };
    let count = |line: &str| line.split(' ').find_map(|word| word.parse::<usize>().ok());
    let all = Mutant::ALL.len();
    assert!(
        found.ends_with(&format!(" of {all} planted bugs found.")),
        "{text}"
    );
    assert!(left.starts_with("Interrupted: "), "{text}");
    let (found, left) = (
        count(found).expect("a count"),
        count(left).expect("a count"),
    );
    assert!(found + left <= all && left > 0, "{text}");
}

#[test]
fn simulate_finds_a_bug_again_by_its_seed() {
    let directory = directory();
    let arguments = [&["simulate", "--seed", "7"], BUGGY].concat();
    let output = run_in(directory.path(), &arguments);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let text = stdout(&output);
    for word in ["seed 7", " breaks in ", " is broken: "] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let file = directory
        .path()
        .join("raft-checker-elections-violation.jsonl");
    let first = fs::read(&file).expect("the run");
    trace_in(&file);
    let output = run_in(directory.path(), &[&arguments[..], &["--json"]].concat());
    let found = &json_lines(&output)[0];
    assert_eq!(found["seed"], 7);
    assert_eq!(found["exit_code"], 1);
    assert_eq!(fs::read(&file).expect("the run"), first);
}

#[test]
fn simulate_without_violation_proves_nothing_and_says_so() {
    let output = run(&["simulate", "--walks", "20", "--steps", "50"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for word in ["seed ", "20 of 20 walks", "prove nothing"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_usage_error(&["simulate", "--walks", "0"], &["--walks"]);
    assert_usage_error(&["simulate", "--seed", "x"], &["--seed"]);
    assert_usage_error(&["simulate", "--scope", "nowhere"], &["elections"]);
}

#[cfg(target_os = "linux")]
#[test]
fn simulate_interrupted_says_what_was_covered_and_exits_as_truncated() {
    let mut child = Spawned::start(
        program()
            .args(["simulate", "--walks", "1000000000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut out = child.stdout();
    let mut line = String::new();
    // The program prints the seed after it installed the signal handlers.
    out.read_line(&mut line).expect("a line");
    assert!(line.contains("seed "), "{line}");
    child.signal(libc::SIGINT);
    let mut text = String::new();
    out.read_to_string(&mut text).expect("text");
    assert_eq!(child.wait().code(), Some(3), "{text}");
    for word in ["interrupted", "prove nothing"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// A violation found by a walk is shrunk, described, and can be executed again, from its file and from
/// its seed.
#[test]
fn simulate_shrinks_what_it_finds() {
    let directory = directory();
    let scope = [
        "--scope",
        "replication",
        "--mutant",
        "conflicting-suffix-kept",
    ];
    let how = ["simulate", "--seed", "11", "--trace", "run.jsonl"];
    let output = run_in(directory.path(), &[&how[..], &scope, &["--json"]].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let found = &json_lines(&output)[0]["violation"];
    assert_eq!(found["shortest"], true);
    let steps = found["steps"].as_u64().expect("steps");
    assert!(
        steps < found["walk_steps"].as_u64().expect("steps"),
        "{found}"
    );

    let trace = trace_in(&directory.path().join("run.jsonl"));
    assert_eq!(trace.steps.len() as u64, steps);
    let broken = trace.broken.as_ref().expect("the run breaks a property");
    assert_eq!(found["property"], broken.property.name());
    let actions = trace.actions();
    for place in 0..actions.len() {
        let mut rest = actions.clone();
        rest.remove(place);
        let without = Trace::run(&trace.scope, &rest).ok();
        let still = without.and_then(|without| without.broken);
        assert_ne!(
            still.map(|still| still.property),
            Some(broken.property),
            "step {} can be left out",
            place + 1
        );
    }

    let output = run_in(directory.path(), &[&how[..], &scope].concat());
    let text = stdout(&output);
    for word in [
        "seed 11",
        &format!("told above are the {steps} that it needs"),
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.contains(&format!("  {steps}. ")), "{text}");
    assert!(!text.contains(&format!("  {}. ", steps + 1)), "{text}");
}

/// After Ctrl-C while the certificate is written, there is no file that `verify` could accept.
#[cfg(target_os = "linux")]
#[test]
fn certificate_interrupted_in_the_writing_leaves_no_file() {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(
            Instant::now() < deadline,
            "the writing was never interrupted"
        );
        let directory = directory();
        let files = || {
            fs::read_dir(directory.path())
                .expect("the directory")
                .count()
        };
        let child = Spawned::start(
            program()
                .current_dir(directory.path())
                .args(["check", "--scope", "elections", "--no-progress"])
                .args(["--certificate", "elections"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        // The file grows under another name. (For a moment, this name is also used by the check before
        // the search.)
        while files() == 0 && Instant::now() < deadline {
            thread::yield_now();
        }
        interrupt(&child);
        let output = child.output();
        if code(&output) == 0 {
            continue;
        }
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        assert_eq!(files(), 0, "{}", stdout(&output));
        let verified = run_in(directory.path(), &["verify", "elections"]);
        assert_eq!(code(&verified), 2, "{}", stdout(&verified));
        if stdout(&output).contains("the writing was interrupted") {
            return;
        }
    }
}

/// Runs the program with a maximum file size of about half a kilobyte, which simulates a full disk.
#[cfg(target_os = "linux")]
fn run_on_a_full_disk(directory: &Path, arguments: &[&str]) -> Output {
    Command::new("sh")
        .current_dir(directory)
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_raft-checker"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("a shell")
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_leaves_neither_half_a_certificate_nor_half_a_run() {
    let directory = directory();
    let files = || {
        fs::read_dir(directory.path())
            .expect("the directory")
            .count()
    };
    let output = run_on_a_full_disk(
        directory.path(),
        &[SMALL, &["--certificate", "small"]].concat(),
    );
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    for word in ["cannot write the certificate", "make room"] {
        assert!(
            stderr(&output).contains(word),
            "{word}: {}",
            stderr(&output)
        );
    }
    assert!(stdout(&output).contains("No certificate was written"));
    assert_eq!(files(), 0);

    let trace = ["--trace", "run.jsonl"];
    let output = run_on_a_full_disk(directory.path(), &[&["check"], BUGGY, &trace].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    for word in ["cannot write the run to run.jsonl", "make room"] {
        assert!(
            stderr(&output).contains(word),
            "{word}: {}",
            stderr(&output)
        );
    }
    assert!(stdout(&output).contains("violated"), "{}", stdout(&output));
    assert_eq!(files(), 0);
}

/// A file in its own directory.
fn file_with(text: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join("input.jsonl");
    fs::write(&path, text).expect("it can be written");
    let name = path.to_str().expect("the path is text").to_owned();
    (dir, name)
}

#[test]
fn linearize_of_nothing_is_an_error_and_no_verdict() {
    let no_effect =
        br#"{"process":1,"op":{"get":{"key":"k"}},"invoke":1,"return":2,"result":{"unavailable":true}}
"#;
    let (_dir, without_effect) = file_with(no_effect);
    let (_other, empty) = file_with(b"");
    for name in [empty.as_str(), "/dev/null", &without_effect] {
        let output = run(&["linearize", name]);
        assert_eq!(code(&output), 2, "{name}: {}", stderr(&output));
        assert!(!stdout(&output).contains("linearizable"), "{name}");
    }
}

#[test]
fn endless_input_is_refused_at_once() {
    for command in ["linearize", "replay"] {
        let output = run(&[command, "/dev/zero"]);
        assert_eq!(code(&output), 2, "{command}: {}", stderr(&output));
        assert!(stderr(&output).contains("/dev/zero"), "{}", stderr(&output));
    }
    let mut lines = String::new();
    for time in 0..1000 {
        lines += &format!(
            "{{\"process\":1,\"op\":{{\"get\":{{\"key\":\"k\"}}}},\"invoke\":{},\"return\":{},\"result\":{{\"absent\":true}}}}\n",
            2 * time,
            2 * time + 1,
        );
    }
    let (_dir, name) = file_with(lines.as_bytes());
    let output = run(&["linearize", &name, "--max-memory", "1K"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("--max-memory"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn replay_executes_the_trace_of_a_scope() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let trace = dir.path().join("bug.jsonl");
    let name = trace.to_str().expect("the path is text");
    let found = run(&["mutants", "votes-without-comparing-logs", "--trace", name]);
    assert_eq!(code(&found), 0, "{}", stderr(&found));
    let output = run(&["replay", name]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.starts_with("violated"), "{told}");
    assert!(told.contains("Leader Completeness"), "{told}");
    let json = run(&["replay", "--json", name]);
    assert_eq!(json_lines(&json)[0]["verdict"], "violated");
    // The headline and the table count the same steps.
    let steps = json_lines(&json)[0]["steps"].to_string();
    let found = stdout(&found);
    assert!(
        found.contains(&format!("breaks in {steps} steps")),
        "{found}"
    );
    let row = found.lines().find(|line| line.contains("┆ found"));
    assert!(
        row.is_some_and(|row| row.contains(&format!(" {steps} "))),
        "{found}"
    );

    let text = fs::read_to_string(&trace).expect("it is text");
    let changed = text.replacen("ElectionTimeout", "HeartbeatTimeout", 1);
    let (_dir, changed) = file_with(changed.as_bytes());
    let output = run(&["replay", &changed]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(
        stdout(&output).starts_with("rejected"),
        "{}",
        stdout(&output)
    );
    let two = run(&["replay", name, name]);
    assert_eq!(code(&two), 2, "{}", stdout(&two));
}

/// Asserts that the output contains no control character but the ends of lines.
fn assert_printable(output: &Output) {
    for text in [stdout(output), stderr(output)] {
        let is_hidden = |symbol: char| symbol.is_control() && symbol != '\n';
        assert!(!text.contains(is_hidden), "{text:?}");
    }
}

#[test]
fn files_cannot_move_the_cursor_of_the_terminal() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let file = dir.path().join("bug.jsonl");
    let name = file.to_str().expect("the path is text");
    let found = run(&["mutants", "votes-twice-in-a-term", "--trace", name]);
    assert_eq!(code(&found), 0, "{}", stderr(&found));
    let mut trace = trace_in(&file);
    trace.scope.name = "\u{1b}[1A\raccepted\u{1b}[8m".into();
    let mut out = File::create(&file).expect("it can be written");
    trace.write_jsonl(&mut out).expect("it can be written");
    let output = run(&["replay", name]);
    assert_eq!(code(&output), 2, "{}", stdout(&output));
    let told = stderr(&output);
    assert!(told.contains("the name of the scope is not"), "{told}");
    assert_printable(&output);

    // The JSON reader decodes the escapes, and its errors contain the names of unknown fields.
    let field = r#"\n\u001b[8m"#;
    for (command, line) in [
        (
            "replay",
            format!(r#"{{"trace":"stateraft-node{field}","version":2}}"#),
        ),
        ("replay", format!(r#"{{"schema":"{field}"}}"#)),
        ("linearize", format!(r#"{{"process":1,"{field}":2}}"#)),
    ] {
        let (_dir, name) = file_with(line.as_bytes());
        let output = run(&[command, &name]);
        assert_eq!(code(&output), 2, "{line}: {}", stdout(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert_printable(&output);
    }

    let file = dir.path().join("a\nb\u{1b}[8m.jsonl");
    fs::write(&file, "{}").expect("it can be written");
    let name = file.to_str().expect("the path is text");
    for command in ["replay", "linearize", "verify"] {
        let output = run(&[command, name]);
        assert_ne!(code(&output), 0, "{command}");
        assert_printable(&output);
    }
}

#[test]
fn replay_of_what_is_no_trace_is_a_usage_error() {
    let history = r#"{"process":1,"op":{"get":{"key":"trace"}},"invoke":1,"return":2,"result":{"absent":true}}"#;
    for (text, words) in [
        (history, "is no trace: it does not end in a digest"),
        (
            r#"{"trace":"foo"}"#,
            "is no trace: it does not end in a digest",
        ),
        ("{}\n{}\n", "is no trace: it does not end in a digest"),
        (
            r#"{"schema":"stateraft-trace/9"}"#,
            "is no trace: the schema is stateraft-trace/9",
        ),
        (
            r#"{"trace":""#,
            ":1: the only line of this file is cut short",
        ),
        ("", ":1: there is no trace in this file"),
    ] {
        let (_dir, name) = file_with(text.as_bytes());
        let output = run(&["replay", &name]);
        let message = stderr(&output);
        assert_eq!(code(&output), 2, "{text}: {}", stdout(&output));
        assert!(message.contains(words), "{text}: {message}");
    }
}

#[test]
fn directories_are_refused_with_advice() {
    assert_usage_error(&["replay", "."], &[". is a directory: give a trace"]);
    assert_usage_error(&["linearize", "."], &[". is a directory: give a history"]);
}

#[test]
fn linearize_refuses_one_file_given_twice() {
    let line =
        r#"{"process":1,"op":{"get":{"key":"k"}},"invoke":1,"return":2,"result":{"absent":true}}"#;
    let (dir, name) = file_with(line.as_bytes());
    let other = dir.path().join("other").display().to_string();
    let dotted = dir.path().join("./input.jsonl").display().to_string();
    fs::hard_link(&name, &other).expect("a hard link");
    for twice in [&name, &other, &dotted] {
        assert_usage_error(&["linearize", &name, twice], &["the same file"]);
    }
    let copy = dir.path().join("copy");
    fs::copy(&name, &copy).expect("a copy");
    let copy = copy.display().to_string();
    assert_eq!(code(&run(&["linearize", &name, &copy])), 0);
}

#[test]
fn mutants_writes_no_file_unless_asked() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let output = program()
        .args(["mutants", "votes-without-comparing-logs"])
        .current_dir(dir.path())
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let files = fs::read_dir(dir.path()).expect("it can be listed").count();
    assert_eq!(files, 0);
    let several = run(&["mutants", "--trace", "x.jsonl"]);
    assert_eq!(code(&several), 2, "{}", stderr(&several));
}

/// Waits until a child handles a signal. The program prints nothing before it ends.
fn wait_for_handler(child: &Spawned, signal: libc::c_int) {
    let status = format!("/proc/{}/status", child.id());
    let deadline = Instant::now() + PATIENCE;
    let caught = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    };
    while !caught(&fs::read_to_string(&status).expect("it runs")) {
        assert!(Instant::now() < deadline, "no handler for {signal}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// `timeout` of coreutils signals its child, and then the process group of the child.
#[cfg(target_os = "linux")]
#[test]
fn two_signals_close_together_are_one_request() {
    let mut command = program();
    command
        .args(LARGE)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let child = Spawned::start(&mut command);
    wait_for_search(&child);
    // Two pending signals of one kind would be one.
    child.signal(libc::SIGTERM);
    child.signal(libc::SIGINT);
    let output = child.output();
    assert_eq!(code(&output), 3);
    assert!(stdout(&output).contains("interrupted"), "no verdict");
}

#[test]
fn second_request_ends_at_once_with_one_line() {
    let mut command = program();
    // Standard input that never ends delays the orderly end.
    command
        .args(["linearize", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Spawned::start(&mut command);
    let input = child.child().stdin.take();
    wait_for_handler(&child, libc::SIGTERM);
    child.signal(libc::SIGINT);
    thread::sleep(Duration::from_millis(1100));
    assert!(child.child().try_wait().expect("a child").is_none());
    child.signal(libc::SIGINT);
    let output = child.output();
    drop(input);
    assert_eq!(code(&output), 3);
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("second signal"), "{said}");
}

#[test]
fn sigterm_and_sighup_end_a_search_as_truncated() {
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let mut command = program();
        command
            .args(LARGE)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // Under `nohup`, the program would inherit that SIGHUP is ignored.
        // SAFETY: signal(2) is async-signal-safe, and the child has only this thread.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = Spawned::start(&mut command);
        wait_for_handler(&child, signal);
        child.signal(signal);
        let mut told = String::new();
        let mut out = child.stdout();
        out.read_to_string(&mut told).expect("it is text");
        assert_eq!(child.wait().code(), Some(3), "{told}");
        assert!(told.contains("interrupted"), "{told}");
    }
}
