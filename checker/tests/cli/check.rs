//! Searches, their limits, and the advice that follows them.

use crate::{
    BUGGY, LARGE, SMALL, assert_usage_error, code, directory, json_lines, run, run_in, run_with,
    stderr, stdout, trace_in, words,
};
use model::system::Reduction;
use serde_json::{Value, json};
use std::{path::Path, process::Output};

#[test]
fn check_small_scope_is_exhausted() {
    let output = run(SMALL);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for word in [
        "elections",
        "exhausted",
        // This scope records no operations, so Linearizability is not checked.
        "17/17",
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
    let grown = "check --scope elections --terms 1 --crashes any --threads 2 --no-symmetry";
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
    let smaller = "check --scope crashes --terms 2 --entries 1 --crashes 1 --threads 1";
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
    let text = stdout(&output);
    assert!(text.contains("exhausted"));
    assert!(
        text.contains("enabled features of the deployed programs"),
        "{text}"
    );
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
    assert_eq!(lines[0]["disabled_features"][0], "pre-vote");
    assert_eq!(lines[0]["properties"]["hold"], 17);
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
    for engine in ["built-in", "stateright"] {
        let limits = ["--max-states", "1000", "--engine", engine];
        let output = run(&[&["check", "--scope", "elections"], &limits[..]].concat());
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        let text = stdout(&output);
        for word in ["truncated", "--max-states", "no claim"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!text.contains("16/16"), "{text}");
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
    for engine in ["built-in", "stateright"] {
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
    for engine in ["built-in", "stateright"] {
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
    "elections --terms 2 --crashes any",
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
    "crashes --terms 1 --entries 0 --crashes any",
    "crashes --terms 1 --entries 0 --crashes any --servers 2 --no-reduction",
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
        let own = counts("built-in", "1");
        assert_eq!(own, counts("built-in", "3"), "{bounds:?}");
        assert_eq!(own, counts("stateright", "2"), "{bounds:?}");
    }
}

/// Each reduction can be disabled by its name. The verdict is the same, and no state is lost.
#[test]
fn check_without_one_reduction_has_the_same_verdict_and_no_fewer_states() {
    let scope = |options: &[&str]| {
        let bounds = [
            "check",
            "--servers",
            "2",
            "--terms",
            "1",
            "--entries",
            "1",
            "--crashes",
            "1",
            "--json",
        ];
        let output = run(&[&bounds[..], options].concat());
        assert_eq!(code(&output), 0, "{options:?}: {}", stderr(&output));
        json_lines(&output).remove(0)
    };
    let all = scope(&[]);
    assert_eq!(all["disabled_reductions"], json!([]));
    let states = |scope: &Value| scope["states"].as_u64().expect("a count");
    let mut grown = 0;
    for name in Reduction::NAMES {
        let without = scope(&["--without-reduction", name]);
        assert_eq!(without["disabled_reductions"], json!([name]));
        assert_eq!(without["verdict"], all["verdict"], "{name}");
        assert!(states(&without) >= states(&all), "{name}");
        grown += u32::from(states(&without) > states(&all));
    }
    assert!(grown >= 5, "only {grown} reductions have an effect");
    let plain = scope(&["--without-reduction", "drop_dead", "--no-symmetry"]);
    assert_eq!(
        plain["disabled_reductions"],
        json!(["drop_dead", "symmetry"])
    );
}

#[test]
fn scopes_lists_names_bounds_and_witnesses() {
    let text = stdout(&run(&["scopes"]));
    for word in [
        "elections-4: ",
        "4 servers",
        "disabled: pre-vote, check-quorum, replication",
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
        assert!(scope["disabled_features"].is_array());
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
    for engine in ["built-in", "stateright-dfs", "stateright-bfs"] {
        let of_engine = runs.iter().find(|run| run["engine"] == engine);
        let run = of_engine.expect("every engine is measured");
        assert!(run["states"].as_u64().expect("a count") > 0);
        assert!(run["cpu_seconds"].as_f64().expect("a time") > 0.0);
    }
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
    assert!(trace_in(&directory.path().join(file)).violation.is_none());
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
fn check_progress_without_verdict_is_truncated() {
    let output = run(&[SMALL, &["--progress", "--servers", "1"]].concat());
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stdout(&output).contains("progress needs at least two servers"));
}
