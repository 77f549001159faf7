//! The real program: contradictory settings are rejected with advice, before any file is written.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Runs a server that cannot start. Returns its exit code and its output.
fn refused(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-node"));
    // The environment of the test run must not matter.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RAFT_") {
            command.env_remove(name);
        }
    }
    command
        .args(["--id=1", "--data-dir"])
        .arg(dir.join("data"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that starts or hangs all the same must not hold up the tests.
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn peers_with_one_address_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let peers = "--peer=1=127.0.0.1:7151,2=127.0.0.1:7152,3=127.0.0.1:7152";
    let (code, said) = refused(dir.path(), &["--listen=127.0.0.1:7151", peers]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("servers 2 and 3 have the same address"),
        "{said}"
    );
    assert!(!dir.path().join("data").exists());
}

#[test]
fn peers_that_are_not_hosts_and_ports_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (peer, says) in [
        ("2=::1:7000", "put brackets around an IPv6 address"),
        ("2=a b:7000", "is not HOST:PORT"),
        ("2=:7000", "is not HOST:PORT"),
        ("2=host:0", "port 0 cannot be reached"),
        ("2=host:99999", "is not HOST:PORT"),
        ("2", "not of the form ID=HOST:PORT"),
    ] {
        let arguments = [
            "--listen=127.0.0.1:7151",
            "--peer=1=127.0.0.1:7151",
            "--peer",
        ];
        let (code, said) = refused(dir.path(), &[&arguments[..], &[peer]].concat());
        assert_eq!(code, Some(2), "{peer}: {said}");
        assert!(said.contains(says), "{peer}: {said}");
        assert!(!dir.path().join("data").exists());
    }
}

#[test]
fn own_entry_elsewhere_than_it_listens_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for own in ["10.0.0.1:7151", "127.0.0.1:7152", "localhost:7152"] {
        let peers = format!("--peer=1={own},2=127.0.0.1:7153");
        let (code, said) = refused(dir.path(), &["--listen=127.0.0.1:7151", &peers]);
        assert_eq!(code, Some(1), "{own}: {said}");
        assert!(
            said.contains("but it listens at 127.0.0.1:7151"),
            "{own}: {said}"
        );
        assert!(!dir.path().join("data").exists());
    }
}

fn write_key(path: &Path) {
    let key = transport::Key::generate().unwrap();
    std::fs::write(path, key.to_text()).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn client_key_needs_another_cluster_key() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["key", "linked", "copied"].map(|name| dir.path().join(name));
    write_key(&paths[0]);
    std::os::unix::fs::symlink("key", &paths[1]).unwrap();
    std::fs::copy(&paths[0], &paths[2]).unwrap();
    let [key, linked, copied] = paths.each_ref().map(|path| path.to_str().unwrap());
    let own = ["--listen=127.0.0.1:7151", "--peer=1=127.0.0.1:7151"];
    for (keys, wanted, advice) in [
        (
            &["--client-key-file", key][..],
            2,
            "--client-key-file needs --key-file",
        ),
        (
            &["--client-key-file", key, "--key-file", key],
            2,
            "name the same key",
        ),
        (
            &["--client-key-file", key, "--key-file", linked],
            2,
            "name the same key",
        ),
        (
            &["--client-key-file", key, "--key-file", copied],
            1,
            "name the same key",
        ),
    ] {
        let (code, said) = refused(dir.path(), &[&own[..], keys].concat());
        assert_eq!(code, Some(wanted), "{keys:?}: {said}");
        assert!(said.contains(advice), "{keys:?}: {said}");
        assert!(said.contains("raft-node keygen"), "{said}");
    }
    assert!(!dir.path().join("data").exists());
}

#[test]
fn special_files_are_refused_in_a_data_directory_and_as_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let own = ["--listen=127.0.0.1:7151", "--peer=1=127.0.0.1:7151"];
    std::fs::create_dir(&data).unwrap();
    for name in ["metadata", "metadata.new", "lock", "log-0000000001.wal"] {
        let path = data.join(name);
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let (code, said) = refused(dir.path(), &own);
        assert_eq!(code, Some(1), "{name}: {said}");
        let advice = format!("{name} is not a regular file");
        assert!(said.contains(&advice), "{said}");
        std::fs::remove_file(&path).unwrap();
    }
    let key = dir.path().join("key");
    write_key(&key);
    for option in ["--http-token-file", "--key-file", "--client-key-file"] {
        let mut given = vec![option, "/dev/zero"];
        if option == "--client-key-file" {
            given.extend(["--key-file", key.to_str().unwrap()]);
        }
        let (code, said) = refused(dir.path(), &[&own[..], &given].concat());
        assert_eq!(code, Some(1), "{option}: {said}");
        let advice = "neither a regular file nor a pipe";
        assert!(said.contains(advice), "{option}: {said}");
    }
}

#[test]
fn log_of_an_older_version_is_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/log-0000000001.wal"), "RAFT-WAL").unwrap();
    let (code, said) = refused(
        dir.path(),
        &["--listen=127.0.0.1:0", "--peer=1=127.0.0.1:7151"],
    );
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("an older version wrote it"), "{said}");
    assert!(said.contains("A lost disk"), "{said}");
}
