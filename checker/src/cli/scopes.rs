//! `scopes`: lists the scopes.

use super::{
    Exit,
    verdict::{BoundsJson, disabled_features},
};
use crate::plural::{bounded, counted};
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
    disabled_features: Vec<&'static str>,
    witnesses: Vec<&'static str>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    for scope in Scope::catalog() {
        let witnesses: Vec<_> = scope.expected.iter().copied().map(Witness::name).collect();
        if args.json {
            let json = ScopeJson {
                scope: &scope.name,
                summary: scope.summary,
                bounds: BoundsJson::new(&scope),
                disabled_features: disabled_features(&scope),
                witnesses,
            };
            serde_json::to_writer(&mut out, &json)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}: {}", scope.name, scope.summary)?;
            writeln!(out, "    bounds: {}", bounds(&scope))?;
            writeln!(
                out,
                "    disabled: {}",
                disabled_features(&scope).join(", ")
            )?;
            writeln!(out, "    must reach: {}", witnesses.join(", "))?;
        }
    }
    out.flush()?;
    Ok(Exit::Passed)
}

fn bounds(scope: &Scope) -> String {
    let budget = &scope.budget;
    let restarts = [
        (budget.client_crashes, "client crash"),
        (budget.proxy_crashes, "proxy crash"),
        (budget.transfers, "leadership transfer"),
    ];
    let restarts = restarts.into_iter().filter(|(limit, _)| !limit.is_never());
    let mut bounds = vec![
        counted(scope.servers, "server"),
        counted(scope.terms, "term"),
        counted(scope.budget.entries.into(), "entry"),
        counted(scope.budget.reads.into(), "read"),
        bounded(scope.budget.crashes.into(), "crash"),
        bounded(scope.budget.snapshots.into(), "snapshot"),
        format!("{} per batch", scope.batch),
        counted(scope.attempts.into(), "attempt"),
        counted(scope.plans.len() as u64, "client"),
    ];
    bounds.extend(restarts.map(|(limit, what)| bounded(limit.into(), what)));
    bounds.join(", ")
}
