//! File systems of a test's own: mounts that nobody else on the machine sees.
//!
//! A process that sleeps holds a mount namespace; what is started in it sees the mounts made there,
//! as long as it lives. That takes the rights of root. Who has not got them is told that the test was
//! skipped; with `CI` set that is a failure.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// A mount namespace. Dropped, it and all that was mounted in it are gone, but for what processes
/// in it still use.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A new one, or none where this user may not make one.
    ///
    /// # Panics
    /// With `CI` set, if there is none.
    pub fn new() -> Option<Self> {
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-c", "echo ready; exec sleep infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok();
        let said = holder.as_mut().and_then(|holder| {
            let mut line = String::new();
            let output = BufReader::new(holder.stdout.take()?).read_line(&mut line);
            output.ok().map(|_| line)
        });
        match (holder, said.as_deref()) {
            (Some(holder), Some("ready\n")) => Some(Self { holder }),
            (mut holder, _) => {
                if let Some(holder) = &mut holder {
                    let _ = holder.kill();
                    let _ = holder.wait();
                }
                assert!(
                    env::var_os("CI").is_none(),
                    "no mount namespace can be made: run this as root, with util-linux"
                );
                eprintln!("  skipped: no mount namespace can be made by this user");
                None
            }
        }
    }

    /// What a command is to begin with to run inside. It keeps its process number.
    pub fn entry(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        let words = ["nsenter", "--mount", "--target", &target, "--"];
        Vec::from(words.map(str::to_owned))
    }

    /// Runs a line of shell inside, and returns what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn shell(&self, line: &str) -> String {
        let entry = self.entry();
        let output = Command::new(&entry[0])
            .args(&entry[1..])
            .args(["sh", "-c", line])
            .output()
            .expect("nsenter does not start");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
