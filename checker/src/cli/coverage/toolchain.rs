//! The programs of a coverage run: cargo, the instrumented programs that it builds, and the LLVM tools.
//!
//! rustc instruments a crate if it is compiled with `-C instrument-coverage`. Cargo has no stable option
//! that sets this flag for one crate, so this program is also the wrapper of rustc in that build
//! (`RUSTC_WORKSPACE_WRAPPER`). It instruments the core, and each program that links it, because the
//! flag also links the runtime that writes the counters. The engine stays uninstrumented: it would be the
//! slower part of the search, and its lines do not matter here.

use anyhow::{Context as _, bail, ensure};
use program::output;
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::BTreeSet,
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// Set while this program is the wrapper of rustc.
const WRAPPER: &str = "STATERAFT_COVERAGE_WRAPPER";
/// The crate of the core, and the program that searches its scopes.
const INSTRUMENTED: [&str; 2] = ["model", "raft_checker"];
/// The package of the core.
pub(super) const CORE: &str = "stateraft-model";

/// Runs rustc, if cargo started this program as its wrapper. Does not return unless rustc cannot start.
pub fn rustc_wrapper() -> Option<ExitCode> {
    env::var_os(WRAPPER)?;
    let mut arguments = env::args_os().skip(1);
    let mut rustc = Command::new(arguments.next()?);
    let arguments: Vec<OsString> = arguments.collect();
    if is_instrumented(&arguments) {
        rustc.arg("-Cinstrument-coverage");
    }
    let error = rustc.args(arguments).exec();
    output::error(format_args!("cannot start rustc: {error}"));
    Some(ExitCode::FAILURE)
}

fn is_instrumented(arguments: &[OsString]) -> bool {
    let name = arguments.iter().skip_while(|one| *one != "--crate-name");
    let name = name.skip(1).find_map(|name| name.to_str());
    let is_test = arguments.iter().any(|one| one == "--test");
    is_test || name.is_some_and(|name| INSTRUMENTED.contains(&name))
}

/// See the module.
pub(super) struct Toolchain {
    cargo: OsString,
    wrapper: PathBuf,
    /// The root of the repository.
    pub(super) root: PathBuf,
    /// The folder of the instrumented build.
    target: PathBuf,
    /// The folder of the LLVM tools that belong to rustc.
    tools: PathBuf,
}

/// A program that cargo built.
#[derive(Deserialize)]
pub(super) struct Program {
    target: Target,
    pub(super) executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Program {
    /// Whether it is this test program of the core: `lib` for the unit tests, or an integration test.
    pub(super) fn is_test(&self, name: &str) -> bool {
        let is_kind = |kind: &str| self.target.kind.iter().any(|one| one == kind);
        match name {
            "lib" => is_kind("lib") && self.target.name == INSTRUMENTED[0],
            _ => is_kind("test") && self.target.name == name,
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

impl Toolchain {
    /// Finds cargo, the repository and the LLVM tools.
    ///
    /// # Errors
    /// If one of them is missing; the message contains the remedy.
    pub(super) fn find() -> anyhow::Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut metadata = Command::new(&cargo);
        metadata.args(["metadata", "--no-deps", "--format-version", "1", "--locked"]);
        let metadata = output_of(&mut metadata).context(
            "the sources of Stateraft are missing: change to the directory of its repository",
        )?;
        let Metadata {
            workspace_root: root,
            target_directory,
            packages,
        } = serde_json::from_slice(&metadata)?;
        ensure!(
            packages.iter().any(|package| package.name == CORE),
            "the sources of Stateraft are missing: change to the directory of its repository"
        );
        let mut libraries = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        libraries
            .args(["--print", "target-libdir"])
            .current_dir(&root);
        let libraries = String::from_utf8(output_of(&mut libraries)?)?;
        let tools = Path::new(libraries.trim()).with_file_name("bin");
        ensure!(
            tools.join("llvm-cov").exists() && tools.join("llvm-profdata").exists(),
            "{} does not contain llvm-cov and llvm-profdata: run `rustup component add llvm-tools`",
            tools.display()
        );
        Ok(Self {
            cargo,
            wrapper: env::current_exe().context("cannot find the file of this program")?,
            root,
            target: target_directory.join("coverage"),
            tools,
        })
    }

    /// Builds the instrumented checker and returns its file.
    pub(super) fn build_checker(&self) -> anyhow::Result<PathBuf> {
        let programs = self.cargo(&["build", "--bin", "raft-checker"])?;
        let mut files = programs.into_iter().filter_map(|one| one.executable);
        files
            .next_back()
            .context("cargo reported no file of raft-checker")
    }

    /// Builds the programs of these tests. A test is named by its program and its path in it.
    pub(super) fn build_tests(&self, tests: &BTreeSet<&str>) -> anyhow::Result<Vec<Program>> {
        let programs = tests
            .iter()
            .filter_map(|test| Some(test.split_once("::")?.0));
        let programs: BTreeSet<&str> = programs.collect();
        if programs.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = vec!["test", "--no-run"];
        for program in programs {
            match program {
                "lib" => arguments.push("--lib"),
                name => arguments.extend(["--test", name]),
            }
        }
        self.cargo(&arguments)
    }

    /// Runs cargo for the core and the checker together: a test program then contains the core with the
    /// same features, and cargo compiles it once.
    fn cargo(&self, arguments: &[&str]) -> anyhow::Result<Vec<Program>> {
        let mut command = Command::new(&self.cargo);
        command
            .args(arguments)
            .args(["--locked", "--release", "--package", CORE])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "0")
            .env("RUSTC_WORKSPACE_WRAPPER", &self.wrapper)
            .env(WRAPPER, "1")
            // These cost more time to compile than a minute of searching gains.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        if arguments.contains(&"raft-checker") {
            command.args(["--package", "stateraft-checker"]);
        }
        command.arg("--message-format=json-render-diagnostics");
        let messages = String::from_utf8(output_of(&mut command)?)?;
        // Other messages have other fields, and libraries have no executable.
        let programs = messages.lines().map(serde_json::from_str::<Program>);
        let programs = programs.filter_map(Result::ok);
        Ok(programs.filter(|one| one.executable.is_some()).collect())
    }

    /// An empty folder for the counters of one run.
    pub(super) fn counters(&self, run: &str) -> anyhow::Result<PathBuf> {
        let folder = self.target.join("counters").join(run);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// Reads the counters that runs of one program wrote to these folders.
    pub(super) fn export<T: DeserializeOwned>(
        &self,
        program: &Path,
        folders: &[PathBuf],
    ) -> anyhow::Result<T> {
        let Some(first) = folders.first() else {
            bail!("no run wrote counters");
        };
        let merged = first.with_extension("profdata");
        let mut merge = Command::new(self.tools.join("llvm-profdata"));
        merge.args(["merge", "--sparse", "--output"]).arg(&merged);
        for folder in folders {
            for file in fs::read_dir(folder)? {
                merge.arg(file?.path());
            }
        }
        output_of(&mut merge)?;
        let mut export = Command::new(self.tools.join("llvm-cov"));
        export
            .args([
                "export",
                "--skip-branches",
                "--skip-expansions",
                "--instr-profile",
            ])
            .args([merged.as_os_str(), program.as_os_str()]);
        serde_json::from_slice(&output_of(&mut export)?)
            .context("the output of llvm-cov is unreadable")
    }
}

/// The variable with the name of a program's file of counters.
pub(super) fn counters_file(folder: &Path) -> (&'static str, PathBuf) {
    ("LLVM_PROFILE_FILE", folder.join("%p.profraw"))
}

/// The standard output of a program that must succeed. Its standard error is that of this program.
fn output_of(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let name = Path::new(command.get_program());
    let name = name.file_name().unwrap_or(OsStr::new("a program"));
    let name = name.to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = output.with_context(|| format!("cannot start {name}: install it"))?;
    ensure!(output.status.success(), "{name} failed: {}", output.status);
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_and_programs_are_instrumented_and_the_engine_is_not() {
        for (arguments, expected) in [
            ("--crate-name model --crate-type lib", true),
            ("--crate-name raft_checker --crate-type bin", true),
            ("--crate-name step --test", true),
            ("--crate-name checker --crate-type lib", false),
            ("--crate-name build_script_build --crate-type bin", false),
            ("- --print cfg", false),
        ] {
            let words: Vec<OsString> = arguments.split(' ').map(OsString::from).collect();
            assert_eq!(is_instrumented(&words), expected, "{arguments}");
        }
    }
}
