//! The command, its exit codes and its errors.

use crate::{Files, sample, sealed};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output},
};

fn program(arguments: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_raft-checker"))
        .arg("replay")
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn program_ends_with_the_code_of_its_verdict() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |files: &Files| -> Vec<String> {
        let mut paths = Vec::new();
        for (file, lines) in &files.0 {
            let path = directory.path().join(file);
            fs::write(&path, sealed(lines)).expect("written");
            paths.push(path.display().to_string());
        }
        paths
    };
    let told = |output: &Output| {
        let (out, err) = (&output.stdout, &output.stderr);
        String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
    };
    let files = sample();
    let paths = write(&files);
    let output = program(&paths);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).starts_with("accepted\n"), "{}", told(&output));
    assert!(
        told(&output).contains("are within the bounds of 3 servers")
            && told(&output).contains("These bounds were exhausted now: "),
        "{}",
        told(&output)
    );

    let mut value: Value = serde_json::from_str(&files.0["node-2"][4]).expect("JSON");
    value["step"] = 77.into();
    let output = program(&write(&files.altered("node-2", 4, &value)));
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("node-2:5: "), "{}", told(&output));

    value["step"] = "77".into();
    let output = program(&write(&files.altered("node-2", 4, &value)));
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("node-2:5: "), "{}", told(&output));

    let output = program(&[]);
    assert_eq!(output.status.code(), Some(2));
    let output = program(&["/nowhere".into()]);
    assert_eq!(output.status.code(), Some(2));

    let mut json = write(&files);
    json.push("--json".into());
    let output = program(&json);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["verdict"], "accepted");
    assert_eq!(report["inside"]["search"], "exhausted");
    let inside = report["inside"]["steps"].as_u64();
    assert!(inside.is_some_and(|steps| steps > 0), "{report}");
    json.push("--no-search".into());
    let output = program(&json);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["inside"]["search"], "not searched");
    assert_eq!(report["inside"]["steps"].as_u64(), inside);
}
