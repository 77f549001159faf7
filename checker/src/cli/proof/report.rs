//! The answers of the solvers as tables and as JSON.

use super::{
    super::{Exit, format::counted_grouped},
    Answered,
};
use crate::solver::Answer;
use comfy_table::{Table, presets};
use model::system::spec::{
    Mutation, Outcome, Protocol,
    smt::{Expected, INITIAL, KEEPS_FACTS, SAFETY, STATES, STEPS, VACUITY},
};
use serde::Serialize;
use std::{io::Write, time::Duration};

/// Prints the answers of one solver.
pub(super) fn tables(
    out: &mut impl Write,
    protocol: &Protocol,
    mutations: &[Mutation],
    title: &str,
    answered: &[&Answered<'_>],
) -> anyhow::Result<()> {
    let (variants, own): (Vec<&Answered<'_>>, Vec<_>) =
        answered.iter().partition(|one| one.mutation.is_some());
    lemmas(out, protocol, title, &own)?;
    others(out, &own)?;
    if own.iter().any(|one| one.group == STATES) {
        samples(out, protocol, &own)?;
    }
    if !mutations.is_empty() {
        print_mutations(out, mutations, &variants)?;
    }
    Ok(())
}

/// The seconds until an expected answer, or the other answer.
fn cell(one: &Answered<'_>) -> String {
    match one.agrees() {
        Some(true) => format!("{:.2}", one.took.as_secs_f64()),
        Some(false) => one.answer.to_string().to_uppercase(),
        None => one.answer.to_string(),
    }
}

/// The queries of each lemma.
fn lemmas(
    out: &mut impl Write,
    protocol: &Protocol,
    title: &str,
    answered: &[&Answered<'_>],
) -> anyhow::Result<()> {
    let find = |group: &str, query: &str| {
        let mut all = answered.iter();
        all.find(|one| one.group == group && one.query == query)
    };
    let columns: Vec<&str> = std::iter::once(INITIAL)
        .chain(protocol.actions.iter().map(|action| action.name))
        .collect();
    let mut table = new_table();
    table.set_header(std::iter::once("lemma").chain(columns.iter().copied()));
    let lemmas = protocol.lemmas.iter().map(|lemma| lemma.name);
    for lemma in lemmas.chain([KEEPS_FACTS]) {
        let cells = columns
            .iter()
            .map(|group| find(group, lemma).map(|one| cell(one)));
        let cells = cells.map(Option::unwrap_or_default);
        table.add_row(std::iter::once(lemma.to_owned()).chain(cells));
    }
    writeln!(
        out,
        "{title}: seconds of each query without a counterexample"
    )?;
    writeln!(out, "{table}")?;
    Ok(())
}

/// The queries of the consequences, and those against a vacuous proof.
fn others(out: &mut impl Write, answered: &[&Answered<'_>]) -> anyhow::Result<()> {
    let mut table = new_table();
    table.set_header(["group", "query", "expected", "answer", "seconds"]);
    for group in [SAFETY, VACUITY] {
        for one in answered.iter().filter(|one| one.group == group) {
            table.add_row([
                one.group.to_owned(),
                one.query.clone(),
                one.expected.to_string(),
                one.answer.to_string(),
                format!("{:.2}", one.took.as_secs_f64()),
            ]);
        }
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// The queries of explicit steps, one row for each action, and of states.
fn samples(
    out: &mut impl Write,
    protocol: &Protocol,
    answered: &[&Answered<'_>],
) -> anyhow::Result<()> {
    let mut table = new_table();
    table.set_header(["sample", "sat", "unsat", "otherwise", "seconds"]);
    let actions = protocol.actions.iter();
    let actions = actions.map(|action| (STEPS, action.name, format!("{}-", action.name)));
    for (group, name, prefix) in actions.chain([(STATES, STATES, String::new())]) {
        let is_own = |one: &&&Answered<'_>| one.group == group && one.query.starts_with(&prefix);
        let own: Vec<_> = answered.iter().filter(is_own).collect();
        let count = |expected| {
            let as_expected =
                |one: &&&&Answered<'_>| one.expected == expected && one.agrees() == Some(true);
            own.iter().filter(as_expected).count()
        };
        let (sat, unsat) = (count(Expected::Sat), count(Expected::Unsat));
        let took: Duration = own.iter().map(|one| one.took).sum();
        table.add_row([
            name.to_owned(),
            sat.to_string(),
            unsat.to_string(),
            (own.len() - sat - unsat).to_string(),
            format!("{:.2}", took.as_secs_f64()),
        ]);
    }
    writeln!(out, "Samples whose answer is as expected")?;
    writeln!(out, "{table}")?;
    Ok(())
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table
}

fn print_mutations(
    out: &mut impl Write,
    mutations: &[Mutation],
    answered: &[&Answered<'_>],
) -> anyhow::Result<()> {
    let mut table = new_table();
    table.set_header(["variant", "verdict", "rejected by, or reason", "seconds"]);
    let mut confirmed = 0;
    for mutation in mutations {
        let is_own = |one: &&&Answered<'_>| {
            one.mutation
                .is_some_and(|other| other.name == mutation.name)
        };
        let own: Vec<_> = answered.iter().filter(is_own).collect();
        let is_confirmed = !own.is_empty() && own.iter().all(|one| one.agrees() == Some(true));
        let is_unknown = own.iter().any(|one| one.agrees().is_none());
        confirmed += usize::from(is_confirmed);
        let (verdict, text) = match mutation.outcome {
            Outcome::Found(group, query) => ("found", format!("{group} {query}")),
            Outcome::Harmless(reason) => ("harmless", reason.to_owned()),
        };
        let verdict = match mutation.outcome {
            _ if is_confirmed => verdict,
            _ if is_unknown => "unknown",
            Outcome::Found(..) => "SURVIVED",
            Outcome::Harmless(_) => "HARMFUL",
        };
        let took: Duration = own.iter().map(|one| one.took).sum();
        let seconds = format!("{:.2}", took.as_secs_f64());
        table.add_row([mutation.name.clone(), verdict.to_owned(), text, seconds]);
    }
    writeln!(out, "{table}")?;
    writeln!(
        out,
        "{confirmed} of {} as expected.",
        counted_grouped(mutations.len() as u64, "variant")
    )?;
    Ok(())
}

#[derive(Serialize)]
struct QueryJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    solver: String,
    /// The wrong variant of the protocol, if it is one.
    mutation: Option<&'a str>,
    group: &'a str,
    query: &'a str,
    expected: String,
    answer: Answer,
    seconds: f64,
}

#[derive(Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    exit_code: u8,
    queries: usize,
    /// Answers as expected.
    agreeing: usize,
    /// Other answers.
    contradicting: usize,
    /// No answer.
    unknown: usize,
    seconds: f64,
}

/// Prints a line for each query, and a summary.
pub(super) fn json(
    out: &mut impl Write,
    answered: &[Answered<'_>],
    exit: Exit,
    took: Duration,
) -> anyhow::Result<()> {
    for one in answered {
        let json = QueryJson {
            kind: "query",
            solver: one.solver.to_string(),
            mutation: one.mutation.map(|mutation| mutation.name.as_str()),
            group: one.group,
            query: &one.query,
            expected: one.expected.to_string(),
            answer: one.answer,
            seconds: one.took.as_secs_f64(),
        };
        serde_json::to_writer(&mut *out, &json)?;
        writeln!(out)?;
    }
    let count = |wanted| answered.iter().filter(|one| one.agrees() == wanted).count();
    let summary = Summary {
        kind: "summary",
        exit_code: exit.code(),
        queries: answered.len(),
        agreeing: count(Some(true)),
        contradicting: count(Some(false)),
        unknown: count(None),
        seconds: took.as_secs_f64(),
    };
    serde_json::to_writer(&mut *out, &summary)?;
    writeln!(out)?;
    Ok(())
}
