//! `verify`: checks a certificate against the definition, without the search.

use super::{
    Exit,
    format::{grouped, time},
    interrupt::Interrupt,
    progress_bar,
};
use crate::{
    escape::escaped,
    interrupted::Interrupted,
    verify::{self, Verified},
};
use anyhow::Context;
use std::{
    io::{self, Write},
    path::PathBuf,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Certificate written by `check --certificate FILE`
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::install()?;
    let verified = progress_bar::watch_line(
        "verify",
        || {},
        |elapsed| format!("{} · {}", args.file.display(), time(elapsed)),
        || verify::verify_file(&args.file, interrupt.flag()),
    );
    let mut out = io::stdout().lock();
    let exit = match verified {
        Ok(verified) => {
            print(&mut out, args, &verified)?;
            Exit::Passed
        }
        Err(error) if error.chain().any(|cause| cause.is::<Interrupted>()) => {
            let file = args.file.display().to_string();
            writeln!(out, "interrupted: no claim about {}", escaped(&file))?;
            Exit::Truncated
        }
        // A file that cannot be read was not checked.
        Err(error) if error.chain().any(|cause| cause.is::<io::Error>()) => {
            return Err(error).context("give a certificate that can be read");
        }
        Err(error) => {
            writeln!(out, "rejected: {}", escaped(&format!("{error:#}")))?;
            Exit::Failed
        }
    };
    out.flush()?;
    Ok(exit)
}

fn print(out: &mut impl Write, args: &Args, verified: &Verified) -> anyhow::Result<()> {
    writeln!(
        out,
        "accepted: {}",
        escaped(&args.file.display().to_string())
    )?;
    writeln!(out, "  scope        {}", verified.scope_description)?;
    writeln!(out, "  states       {}", grouped(verified.states))?;
    writeln!(out, "  transitions  {}", grouped(verified.transitions))?;
    writeln!(out, "  root hash    {}", verify::hex(&verified.root))?;
    writeln!(
        out,
        "These are exactly the reachable states of the scope, and every property holds in each."
    )?;
    Ok(())
}
