//! Mount namespaces: mounts that are invisible to the rest of the machine.
//!
//! A sleeping process holds a mount namespace; processes that are started in it see its mounts, as
//! long as it lives. This requires root. Without root the test is skipped with a message; with `CI`
//! set it fails.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// A mount namespace. Dropping it removes the namespace and its mounts, unless processes in it still
/// use them.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// Creates a namespace, or returns `None` without the permission for it.
    ///
    /// # Panics
    /// If `CI` is set and the permission is missing.
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

    /// The prefix of a command that runs it inside. The command keeps its process id.
    pub fn entry(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        let words = ["nsenter", "--mount", "--target", &target, "--"];
        Vec::from(words.map(str::to_owned))
    }

    /// Runs a shell command inside, and returns its output.
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
