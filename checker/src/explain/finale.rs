//! The end of an explanation: the violated property, and all servers side by side with the relevant parts
//! marked.

use super::{Explanation, changes, words};
use crate::{plural::counted, trace::Trace};
use model::{
    Entry, Log, LogIndex, NodeId,
    system::{Process, Property, Server, System, Violation, properties::linearizability},
};

/// Describes the end of a trace.
pub(super) fn describe(trace: &Trace, explanation: &mut Explanation) {
    let end = &trace.end();
    explanation.line("");
    let marks = match &trace.violation {
        Some(violation) => {
            explanation.paragraph(
                "",
                0,
                &format!("{} is violated: {}.", violation.property, violation.cause),
            );
            Marks::new(trace, violation, end)
        }
        None => {
            explanation.line("No property is violated.");
            Marks::default()
        }
    };
    explanation.line("");
    let servers: Vec<&Server> = end.processes.iter().filter_map(Process::server).collect();
    for line in states(&servers, &marks) {
        explanation.line(&line);
    }
    let rows = logs(&servers, end);
    if rows.iter().any(|row| !row.entries.is_empty()) {
        explanation.line("");
        for line in grid(&rows, &marks) {
            explanation.line(&line);
        }
    }
    if !end.history.operations.is_empty() {
        explanation.line("");
        explanation.line("  operations, as observed by the clients");
        for operation in linearizability::describe(&end.history.operations) {
            explanation.paragraph("  ", 6, &operation);
        }
    }
}

/// The servers and the entry that the violation refers to.
#[derive(Default)]
struct Marks {
    servers: Vec<u64>,
    index: Option<usize>,
}

impl Marks {
    /// The servers and the entry of the cause; for Log Matching, the first index where the
    /// two logs differ. If the cause names no server, it refers to the server of the last step.
    fn new(trace: &Trace, violation: &Violation, end: &System) -> Self {
        let servers = violation.cause.servers().into_iter();
        let mut servers: Vec<u64> = servers.map(NodeId::get).collect();
        if servers.is_empty()
            && let Some(last) = trace.steps.last()
            && let Some(server) = end.processes[last.action.process].server()
        {
            servers.push(server.id.get());
        }
        let mut index = violation.cause.index().map(|index| index.get() as usize);
        if violation.property == Property::LogMatching
            && let [one, other] = servers.as_slice()
        {
            let log = |id: u64| {
                let mut all = end.processes.iter().filter_map(Process::server);
                let server = all.find(|server| server.id.get() == id);
                server.map_or_else(Log::default, |server| {
                    Log::after(server.base(), server.log().to_vec())
                })
            };
            let (one, other) = (log(*one), log(*other));
            let first = one.base().index.max(other.base().index).next().get();
            let last = one.last_index().min(other.last_index()).get();
            index = (first..=last)
                .find(|index| one.get(LogIndex::new(*index)) != other.get(LogIndex::new(*index)))
                .map(|index| index as usize);
        }
        let about_entries = matches!(
            violation.property,
            Property::LogMatching
                | Property::LeaderCompleteness
                | Property::StateMachineSafety
                | Property::MatchIsDurable
                | Property::CommitIsDurable
                | Property::CommitsOwnTerm
        );
        Self {
            servers,
            index: index.filter(|_| about_entries),
        }
    }
}

/// A line for each server.
fn states(servers: &[&Server], marks: &Marks) -> Vec<String> {
    let mut lines = vec!["  server  role       term  vote  commit  durable  on disk".to_owned()];
    for server in servers {
        let id = server.id.get();
        let disk = match &server.running {
            Some(running) if running.unsynced.is_empty() => "everything".into(),
            _ => format!(
                "term {}, vote {}, {}",
                server.disk.hard_state.current_term,
                changes::vote(server.disk.hard_state.voted_for),
                counted(server.disk.last_index().get(), "entry")
            ),
        };
        let mut line = match &server.running {
            Some(running) => {
                let raft = &running.raft;
                format!(
                    "  {id:<6}  {:<9}  {:>4}  {:>4}  {:>6}  {:>7}  {disk:<9}",
                    changes::role(raft),
                    raft.current_term().to_string(),
                    changes::vote(raft.voted_for()),
                    raft.commit_index().to_string(),
                    raft.durable_index().to_string(),
                )
            }
            None => format!(
                "  {id:<6}  {:<9}  {:>4}  {:>4}  {:>6}  {:>7}  {disk:<9}",
                "down", "-", "-", "-", "-"
            ),
        };
        if marks.servers.contains(&id) {
            line += "  <--";
        }
        lines.push(line);
    }
    lines
}

/// A row of the grid of logs.
struct Row<'a> {
    name: String,
    server: Option<u64>,
    /// The number of entries that a snapshot covers.
    covered: usize,
    entries: Vec<&'a Entry>,
    commit: usize,
}

/// The logs, the disks that differ from them, and the entries ever committed.
fn logs<'a>(servers: &[&'a Server], end: &'a System) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for server in servers {
        let id = server.id.get();
        rows.push(Row {
            name: format!("server {id}"),
            server: Some(id),
            covered: server.base().index.get() as usize,
            entries: server.log().iter().collect(),
            commit: changes::commit(server).map_or(0, |index| index.get() as usize),
        });
        if server.disk.log != server.log() || server.disk.base() != server.base() {
            rows.push(Row {
                name: "  its disk".into(),
                server: Some(id),
                covered: server.disk.base().index.get() as usize,
                entries: server.disk.log.iter().collect(),
                commit: 0,
            });
        }
    }
    let committed = &end.history.committed;
    if !committed.is_empty() {
        rows.push(Row {
            name: "ever committed".into(),
            server: None,
            covered: 0,
            entries: committed.iter().map(|committed| &committed.entry).collect(),
            commit: 0,
        });
    }
    rows
}

/// The rows, with one column for each index. Brackets mark the entries of the violation, and a star
/// marks the entries that the server knows to be committed.
fn grid(rows: &[Row<'_>], marks: &Marks) -> Vec<String> {
    let cell = |row: &Row<'_>, position: usize| {
        let Some(position) = position.checked_sub(row.covered) else {
            return "in snapshot".to_owned();
        };
        let Some(entry) = row.entries.get(position) else {
            return "-".to_owned();
        };
        let position = position + row.covered;
        let star = if position < row.commit { " *" } else { "" };
        format!("{}{star}", words::entry(entry))
    };
    let marked = |row: &Row<'_>, position: usize| {
        marks.index == Some(position + 1)
            && row
                .server
                .is_none_or(|id| marks.servers.is_empty() || marks.servers.contains(&id))
    };
    let columns = rows.iter().map(|row| row.covered + row.entries.len());
    let columns = columns.max().unwrap_or(0);
    let columns = columns.max(marks.index.unwrap_or(0));
    let widths: Vec<usize> = (0..columns)
        .map(|position| {
            let cells = rows.iter().map(|row| cell(row, position).chars().count());
            cells.max().unwrap_or(1)
        })
        .collect();
    let mut head = format!("  {:<14}", "log");
    for (position, width) in widths.iter().enumerate() {
        head += &format!("   {:<width$} ", position + 1);
    }
    let mut lines = vec![head];
    for row in rows {
        let mut line = format!("  {:<14}", row.name);
        for (position, width) in widths.iter().enumerate() {
            let (open, close) = if marked(row, position) {
                ('[', ']')
            } else {
                (' ', ' ')
            };
            let text = cell(row, position) + &close.to_string();
            line += &format!("  {open}{text:<width$}", width = width + 1);
        }
        lines.push(line);
    }
    let mut legend = Vec::new();
    if rows.iter().any(|row| row.commit > 0) {
        legend.push("* committed at that server");
    }
    if marks.index.is_some() {
        legend.push("[ ] the violation");
    }
    if !legend.is_empty() {
        lines.push(format!("  ({})", legend.join("; ")));
    }
    lines
}
