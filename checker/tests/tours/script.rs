//! The contents of a tour: its texts, and the events between them in their written form.

use anyhow::{Context, Result, bail, ensure};
use checker::trace::Trace;
use model::{
    Address, ClientId, Envelope, Message, NodeId, ProxyId, RequestId,
    mutant::Mutant,
    system::{
        Action, Local, Properties, Property, Reduction, Scope, System,
        scope::{Bound, BoundValue},
    },
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A tour.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tour {
    pub(crate) name: String,
    pub(crate) title: Words,
    pub(crate) summary: Words,
    pub(crate) parts: Vec<Part>,
}

/// One run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The file of the trace, without its extension.
    pub(crate) trace: String,
    #[serde(default)]
    pub(crate) title: Option<Words>,
    /// A scope of the catalog.
    pub(crate) scope: String,
    /// Bounds in place of its own, as on the command line.
    #[serde(default)]
    pub(crate) bounds: BTreeMap<String, BoundValue>,
    /// `split` makes every sync and restart a step of its own.
    #[serde(default)]
    pub(crate) steps: Option<String>,
    #[serde(default)]
    pub(crate) mutant: Option<String>,
    /// The only property to check. A run ends at a violation, and another property may be violated
    /// earlier.
    #[serde(default)]
    pub(crate) only_property: Option<String>,
    pub(crate) cards: Vec<Card>,
}

/// Some events, and their explanation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    /// The events; empty for the first card.
    #[serde(rename = "do", default)]
    pub(crate) events: Vec<String>,
    pub(crate) head: Words,
    pub(crate) text: Words,
    /// The elements to highlight: processes, or messages as in `deliver`.
    #[serde(default)]
    pub(crate) look: Vec<String>,
    /// The assertions that must hold after it.
    #[serde(default)]
    pub(crate) shows: Vec<String>,
    /// The sources: `raft 5.2`, `thesis 6.3`.
    #[serde(default)]
    pub(crate) cites: Vec<String>,
}

/// A text in both languages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    en: String,
    es: String,
}

impl Words {
    pub(crate) fn check(&self, what: &str) -> Result<()> {
        for (language, text) in [("English", &self.en), ("Spanish", &self.es)] {
            ensure!(!text.trim().is_empty(), "{what} is missing in {language}");
            ensure!(text.len() < 700, "{what} is too long in {language}");
        }
        ensure!(
            self.en != self.es || self.en.len() < 12,
            "{what} is not translated: {}",
            self.en
        );
        Ok(())
    }
}

/// The scope of a part.
pub(crate) fn scope(part: &Part) -> Result<Scope> {
    let mut scope = Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == part.scope)
        .with_context(|| format!("there is no scope {}", part.scope))?;
    for (bound, value) in &part.bounds {
        let found = Bound::named(bound).with_context(|| format!("there is no bound {bound}"))?;
        found.replace(&mut scope, *value)?;
    }
    match part.steps.as_deref() {
        None => {}
        Some("split") => scope.reduction = Reduction::NONE,
        Some(other) => bail!("steps cannot be {other}: leave it out, or write split"),
    }
    if let Some(name) = &part.mutant {
        let found = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        scope.mutant = Some(*found.with_context(|| format!("there is no mutant {name}"))?);
    }
    if let Some(name) = &part.only_property {
        let found = Property::ALL
            .iter()
            .find(|property| property.name() == name);
        let property = found.with_context(|| format!("there is no property {name}"))?;
        scope.properties = Properties::only(*property);
    }
    scope.validate()?;
    Ok(scope)
}

/// All events of a part, in order.
pub(crate) fn actions(part: &Part) -> Result<Vec<Action>> {
    let scope = scope(part)?;
    let mut trace = Trace::run(&scope, &[])?;
    for (place, card) in part.cards.iter().enumerate() {
        for text in &card.events {
            let told = || format!("card {place}, {text:?}");
            let mut actions = trace.actions();
            actions.push(action(text, &trace).with_context(told)?);
            trace = Trace::run(&scope, &actions).with_context(told)?;
        }
    }
    Ok(trace.actions())
}

/// `timeout 1`, `deliver Vote 2 1`: parses an event, which may refer to messages of the trace so far.
fn action(text: &str, trace: &Trace) -> Result<Action> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (address, local) = match words.as_slice() {
        ["timeout", "client"] => (address("client")?, Local::ClientTimeout),
        ["timeout", "proxy", id, "ask", server] => (
            address("proxy")?,
            Local::ProxyTimeout {
                client: ClientId::new(1),
                id: RequestId::new(id.parse()?),
                ask: node(server)?,
            },
        ),
        ["timeout", who] => (address(who)?, Local::ElectionTimeout),
        ["heartbeat", who] => (address(who)?, Local::HeartbeatTimeout),
        ["quorum", who] => (address(who)?, Local::QuorumTimeout),
        ["propose", who] => (address(who)?, Local::Propose),
        ["read", who] => (address(who)?, Local::Read),
        ["sync", who] => (address(who)?, Local::Sync),
        ["crash", who] => (address(who)?, Local::Crash),
        ["restart", who] => (address(who)?, Local::Restart),
        ["invoke", who] => (address(who)?, Local::Invoke),
        ["deliver", rest @ ..] => {
            let (rest, ask) = match rest {
                [rest @ .., "ask", server] => (rest, Some(node(server)?)),
                rest => (rest, None),
            };
            let envelope = message(rest, trace)?;
            (envelope.to, Local::Deliver { envelope, ask })
        }
        _ => bail!("no event is written like this"),
    };
    let process = place(&trace.start(), address)?;
    Ok(Action { process, local })
}

/// `Vote 2 1`: the newest message of this kind on this channel; `Vote 2 1 #1` the oldest, and so on.
pub(crate) fn message(words: &[&str], trace: &Trace) -> Result<Envelope> {
    let (kind, from, to, number) = match words {
        [kind, from, to] => (kind, from, to, None),
        [kind, from, to, number] => {
            let digits = number
                .strip_prefix('#')
                .context("write #1 for the oldest")?;
            (kind, from, to, Some(digits.parse::<usize>()?))
        }
        _ => bail!("a message is written KIND FROM TO"),
    };
    let (from, to) = (address(from)?, address(to)?);
    let mut found: Vec<&Envelope> = Vec::new();
    for envelope in trace.steps.iter().flat_map(|step| &step.sent) {
        let fits = envelope.from == from && envelope.to == to;
        if fits && name(&envelope.message) == *kind {
            // A retransmitted message is the newest again.
            found.retain(|known| number.is_some() || *known != envelope);
            if !found.contains(&envelope) {
                found.push(envelope);
            }
        }
    }
    let found = match number {
        None => found.last(),
        Some(number) => found.get(number.wrapping_sub(1)),
    };
    let found = found.with_context(|| format!("no {kind} went from {from} to {to}"))?;
    Ok((*found).clone())
}

/// The name of a kind of message in the tours.
fn name(message: &Message) -> &'static str {
    match message {
        Message::RequestVoteRequest(_) => "RequestVote",
        Message::RequestVoteResponse(_) => "Vote",
        Message::AppendEntriesRequest(_) => "AppendEntries",
        Message::AppendEntriesResponse(_) => "Acknowledgement",
        Message::ClientRequest(_) => "Request",
        Message::ClientResponse(_) => "Response",
        _ => "Other",
    }
}

fn address(text: &str) -> Result<Address> {
    Ok(match text {
        "proxy" => Address::Proxy(ProxyId::new(1)),
        "client" => Address::Client(ClientId::new(1)),
        server => Address::Node(node(server)?),
    })
}

fn node(text: &str) -> Result<NodeId> {
    let number = text.parse();
    let number = number.with_context(|| format!("{text} is no server, proxy or client"))?;
    Ok(NodeId::new(number))
}

fn place(system: &System, address: Address) -> Result<usize> {
    let mut processes = system.processes.iter();
    let found = processes.position(|process| process.address() == address);
    found.with_context(|| format!("the scope has no {address}"))
}
