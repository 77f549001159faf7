//! `verify`: checks a certificate against the definition, without the search. The exit code is 0 if it is
//! accepted, 1 if a step of the model violates a property, 2 if the file cannot be read, and 3 if the
//! certificate is not valid or the verification is interrupted: no claim.

use super::{
    Exit,
    format::{grouped, time},
    interrupt::Interrupt,
    progress_bar,
};
use crate::{
    escape::escaped,
    interrupted::Interrupted,
    verify::{self, Origin, PropertyViolated, Verified},
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
        Err(error) if error.is::<PropertyViolated>() => {
            writeln!(out, "violated: {}", escaped(&format!("{error:#}")))?;
            Exit::Failed
        }
        // A damaged or foreign file says nothing about the protocol.
        Err(error) => {
            writeln!(
                out,
                "rejected, no claim: {}",
                escaped(&format!("{error:#}"))
            )?;
            Exit::Truncated
        }
    };
    out.flush()?;
    Ok(exit)
}

fn print(out: &mut impl Write, args: &Args, verified: &Verified) -> anyhow::Result<()> {
    let file = args.file.display().to_string();
    let accepted = match &verified.origin {
        Origin::Catalog => "accepted",
        Origin::Altered(_) => "accepted for altered bounds",
        Origin::Unknown => "accepted for bounds that are not in the catalog",
    };
    writeln!(out, "{accepted}: {}", escaped(&file))?;
    writeln!(out, "  scope        {}", verified.scope_description)?;
    writeln!(out, "  states       {}", grouped(verified.states))?;
    writeln!(out, "  transitions  {}", grouped(verified.transitions))?;
    writeln!(out, "  root hash    {}", verify::hex(&verified.root))?;
    writeln!(
        out,
        "These are exactly the reachable states within these bounds, and every property holds in each."
    )?;
    Ok(())
}
