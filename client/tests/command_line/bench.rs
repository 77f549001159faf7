//! The load generator and the histories it writes.

use crate::{
    run,
    support::{Manner, start},
};
use std::net::SocketAddr;

#[test]
fn bench_measures_each_combination_and_counts_only_answers() {
    let at = start(Manner::Whole);
    let run = run(
        at,
        "-o json bench --clients 1,8 --value-size 16 --ops put,get --keys 20 --seconds 1 --warm-up 10ms",
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.collect();
    let what = lines
        .iter()
        .map(|line| (line["op"].as_str(), line["clients"].as_u64()));
    let (put, get) = (Some("put"), Some("get"));
    let expected = [
        (put, Some(1)),
        (put, Some(8)),
        (get, Some(1)),
        (get, Some(8)),
    ];
    assert_eq!(Vec::from_iter(what), expected);
    for line in &lines {
        assert!(line["operations"].as_u64() > Some(0), "{line}");
        assert!(
            line["p50_us"].as_f64() <= line["p999_us"].as_f64(),
            "{line}"
        );
        assert_eq!(line["unknown"], 0, "{line}");
    }
    let args = "bench --clients 1 --value-size 16 --ops put --seconds 1 --warm-up 10ms";
    let table = run_table(at, args);
    assert!(table.contains("ops/s"), "{table}");
}

fn run_table(at: SocketAddr, arguments: &str) -> String {
    let run = run(at, arguments);
    assert_eq!(run.code, Some(0), "{run:?}");
    run.out
}

#[test]
fn bench_at_a_pace_skips_what_no_client_is_free_for() {
    let at = start(Manner::Silent);
    let bench = "bench --every 5ms --clients 1 --value-size 16 --ops put --seconds 1 --warm-up 1ms";
    let run = run(at, &format!("--timeout 300ms -o json {bench}"));
    assert_eq!(run.code, Some(0), "{run:?}");
    let line: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(line["operations"], 0, "{line}");
    assert!(line["skipped"].as_u64() > Some(0), "{line}");
    assert!(line["unavailable"].as_u64() > Some(0), "{line}");
}

#[test]
fn history_holds_operations_of_every_kind_one_at_a_time_for_each_process() {
    let at = start(Manner::Whole);
    let name = format!("raft-client-history-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    let path = file.to_str().unwrap();
    let arguments = format!("bench --history {path} --clients 4 --seconds 1 --warm-up 10ms");
    let first = run(at, &arguments);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""));
    let text = std::fs::read_to_string(&file).unwrap();
    // The checker does not know the keys of the first run.
    let second = run(at, &arguments);
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(second.err.starts_with("warning: the key \""), "{second:?}");
    std::fs::remove_file(file).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    let mut values = std::collections::BTreeSet::new();
    let mut last = std::collections::BTreeMap::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (kind, op) = line["op"].as_object().unwrap().iter().next().unwrap();
        kinds.insert(kind.clone());
        if let Some(value) = op.get("value") {
            assert!(values.insert(value.to_string()), "a value twice: {line}");
        }
        let (invoke, end) = (line["invoke"].as_u64(), line["return"].as_u64());
        assert!(invoke <= end, "{line}");
        let before = last.insert(line["process"].as_u64(), end);
        assert!(before <= Some(invoke), "{line}");
    }
    let all = ["cas", "delete", "get", "increment", "put"];
    assert_eq!(Vec::from_iter(kinds), all);
    assert_eq!(last.len(), 4);
}
