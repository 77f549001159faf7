//! The interactive prompt, with a line history. It accepts the commands of the command line, and uses
//! one client that keeps its session.

use super::{Exit, Global, input, operation::Operation, output};
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use client::Client;
use program::output::note;
use rustyline::{DefaultEditor, error::ReadlineError};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

const HELP: &str = "\
get KEY                    put KEY VALUE              delete KEY [--version N]
scan [PREFIX] [--limit N]  incr KEY [BY]              cas KEY VALUE --version N|--absent|--present
transfer SERVER            help [COMMAND]             exit (or Ctrl-D)
quotes keep spaces: put k \"two words\"";

/// The maximum size of a history file in bytes.
const HISTORY_LIMIT: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(crate) struct Repl {
    /// The file for the line history; the default is .raft_history in the home directory
    #[arg(long, env = "RAFT_HISTORY_FILE", value_name = "FILE")]
    history_file: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(multicall = true, disable_help_subcommand = true)]
struct PromptLine {
    #[command(subcommand)]
    command: PromptCommand,
}

#[derive(Debug, Subcommand)]
enum PromptCommand {
    #[command(flatten)]
    Operation(Operation),
    /// Show the commands
    Help {
        /// The command to explain
        command: Option<String>,
    },
    /// Quit
    #[command(alias = "quit")]
    Exit,
}

impl Repl {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let client = global.connect().await?;
        let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".raft_history"));
        let history = self.history_file.or_else(home);
        let mut editor = DefaultEditor::new().context("cannot read lines from this terminal")?;
        if let Some(history) = &history
            && is_history(history)
        {
            // The file does not exist at the first use.
            let _ = editor.load_history(history);
        }
        loop {
            let read = input::read(move || {
                let line = editor.readline("raft> ");
                (editor, line)
            });
            let line;
            (editor, line) = read.await?;
            let line = match line {
                Ok(line) => line,
                // Ctrl-C discards the line, Ctrl-D ends the session.
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error).context("cannot read the next line"),
            };
            if line.trim().is_empty() {
                continue;
            }
            let _ = editor.add_history_entry(&line);
            if !run_line(&line, &client, global).await {
                break;
            }
        }
        if let Some(history) = &history
            && let Err(error) = editor.save_history(history)
        {
            note(format_args!(
                "the history was not saved to {}: {error}",
                history.display()
            ));
        }
        Ok(Exit::Done)
    }
}

/// Whether the file is safe to read completely. A device may have no end, and a line may have any
/// length.
fn is_history(path: &Path) -> bool {
    let file = fs::metadata(path);
    file.is_ok_and(|file| file.is_file() && file.len() <= HISTORY_LIMIT)
}

/// Executes a line. Returns whether to continue.
async fn run_line(line: &str, client: &Client, global: &Global) -> bool {
    let command = match parse(line) {
        Ok(command) => command,
        Err(complaint) => {
            note(complaint);
            return true;
        }
    };
    let operation = match command {
        PromptCommand::Exit => return false,
        PromptCommand::Help { command: None } => {
            // Help is not a result: if it cannot be printed, the prompt continues.
            let _ = output::print_line(&HELP);
            return true;
        }
        PromptCommand::Help {
            command: Some(command),
        } => {
            let asked = PromptLine::try_parse_from([command.as_str(), "--help"]);
            if let Err(answer) = asked {
                let _ = output::print_line(&answer.render());
            }
            return true;
        }
        PromptCommand::Operation(Operation::Put { key, value: None }) => {
            note(format_args!("the value is missing: put {key} VALUE"));
            return true;
        }
        PromptCommand::Operation(operation) => operation,
    };
    let done = match operation.run(client, global.consistency, None).await {
        Ok(reply) => reply.show(global.output, &mut std::io::stdout().lock()),
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        output::print_error(global.output, Exit::from_error(&error), &error);
    }
    true
}

fn parse(line: &str) -> Result<PromptCommand, String> {
    let Some(words) = shlex::split(line) else {
        return Err("a quote is open: close it, or write \\\" for a quote itself".to_owned());
    };
    match PromptLine::try_parse_from(words) {
        Ok(line) => Ok(line.command),
        Err(error) => Err(format!("{}\n`help` lists the commands.", error.render())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_with_quotes() {
        let Ok(PromptCommand::Operation(Operation::Put { key, value })) =
            parse("put k 'two words'")
        else {
            panic!("not understood");
        };
        assert_eq!((key.as_str(), value.as_deref()), ("k", Some("two words")));
        assert!(matches!(parse("quit"), Ok(PromptCommand::Exit)));
        assert!(matches!(parse("help get"), Ok(PromptCommand::Help { .. })));
    }

    #[test]
    fn history_is_a_file_with_an_end() {
        assert!(!is_history(Path::new("/dev/zero")));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(!is_history(root));
        assert!(!is_history(&root.join("none")));
        assert!(is_history(&root.join("Cargo.toml")));
    }

    #[test]
    fn complaints_say_what_to_do() {
        let complaint = parse("gett k").unwrap_err();
        assert!(complaint.contains("'get'"), "{complaint}");
        assert!(complaint.contains("`help`"), "{complaint}");
        let complaint = parse("put 'k").unwrap_err();
        assert!(complaint.contains("close it"), "{complaint}");
    }
}
