//! The paths of the programs under test. The programs are beside the tests, built with the same
//! profile.
//!
//! Cargo builds the programs of a package only for tests of that package, so programs of other
//! packages may be missing or out of date. In that case they are built, once per process.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

const PACKAGES: [&str; 4] = ["node", "proxy", "client", "checker"];

/// Returns the path of a program, such as `raft-node`.
///
/// # Panics
/// If a required build fails.
pub fn path(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(prepare).join(name)
}

fn prepare() -> PathBuf {
    let test = env::current_exe().expect("the path of this test is not known");
    // target/PROFILE/deps/TEST
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests lie in target")
        .to_owned();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the root of the workspace");
    if !is_current(root, &profile) {
        build(root, &profile);
    }
    profile
}

/// Whether all programs exist and are newer than their sources.
fn is_current(root: &Path, profile: &Path) -> bool {
    let built = PACKAGES.iter().map(|package| {
        let program = profile.join(format!("raft-{package}"));
        fs::metadata(program).and_then(|data| data.modified()).ok()
    });
    let Some(oldest) = built.min().flatten() else {
        return false;
    };
    let sources = [
        "history",
        "model",
        "program",
        "status",
        "transport",
        "ui",
        "web",
    ]
    .iter()
    .chain(&PACKAGES);
    sources
        .flat_map(|package| ["src", "assets"].map(|part| root.join(package).join(part)))
        .map(|part| youngest(&part))
        .all(|young| young <= oldest)
}

fn youngest(directory: &Path) -> SystemTime {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let times = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return youngest(&path);
        }
        let modified = entry.metadata().and_then(|data| data.modified());
        modified.unwrap_or(SystemTime::UNIX_EPOCH)
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn build(root: &Path, profile: &Path) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["build", "--quiet", "--bins"]);
    for package in PACKAGES {
        command.args(["--package", &format!("stateraft-{package}")]);
    }
    let name = profile
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a profile has a name");
    let name = if name == "debug" { "dev" } else { name };
    command.args(["--profile", name]);
    command
        .arg("--target-dir")
        .arg(profile.parent().expect("a profile lies in target"));
    let status = command.status().expect("cargo cannot be run");
    assert!(status.success(), "the programs cannot be built: {status}");
}
