//! `scopes`: lists the scopes.

use super::{Exit, verdict::BoundsJson};
use model::system::{Scope, Witness};
use serde::Serialize;
use std::io::{self, Write};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object per scope, each on a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ScopeJson<'a> {
    scope: &'a str,
    summary: &'a str,
    bounds: BoundsJson,
    witnesses: Vec<&'static str>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    for scope in Scope::catalogue() {
        let witnesses: Vec<_> = scope.expected.iter().copied().map(Witness::name).collect();
        if args.json {
            let json = ScopeJson {
                scope: &scope.name,
                summary: scope.summary,
                bounds: BoundsJson::of(&scope),
                witnesses,
            };
            serde_json::to_writer(&mut out, &json)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}: {}", scope.name, scope.summary)?;
            writeln!(out, "    bounds: {}", bounds(&scope))?;
            writeln!(out, "    must reach: {}", witnesses.join(", "))?;
        }
    }
    out.flush()?;
    Ok(Exit::Passed)
}

fn bounds(scope: &Scope) -> String {
    let count = |number: u64, one: &str, several: &str| {
        let word = if number == 1 { one } else { several };
        format!("{number} {word}")
    };
    [
        count(scope.servers, "server", "servers"),
        count(scope.terms, "term", "terms"),
        count(scope.budget.entries.into(), "entry", "entries"),
        count(scope.budget.reads.into(), "read", "reads"),
        count(scope.budget.crashes.into(), "crash", "crashes"),
        count(scope.budget.snapshots.into(), "snapshot", "snapshots"),
        format!("{} in a batch", scope.batch),
        count(scope.attempts.into(), "attempt", "attempts"),
        count(scope.plans.len() as u64, "client", "clients"),
    ]
    .join(", ")
}
