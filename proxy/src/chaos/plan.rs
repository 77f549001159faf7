//! The fault plans of the transport that correspond to a set of active faults: pure functions.

use super::{
    active::ActiveFaults,
    api::{CLIENTS, LinkEnd, LinkFault, PROXY, Targets},
};
use model::{Address, NodeId};
use transport::{Delay, Plan, Rule, Side};

/// The plan that the embedded servers share.
pub(super) fn server_plan(active: &ActiveFaults) -> Plan {
    let mut rules = isolation_rules(active);
    for ((from, to), active) in &active.links {
        if let (LinkEnd::Node(from), LinkEnd::Node(to)) = (from, to) {
            rules.push(Rule {
                from: server(*from),
                to: server(*to),
                ..active.fault.rule()
            });
        }
    }
    Plan { seed: 0, rules }
}

/// The plan of the proxy's socket.
pub(super) fn proxy_plan(active: &ActiveFaults, targets: &Targets) -> Plan {
    let mut rules = isolation_rules(active);
    let proxy = Some(Address::Proxy(targets.proxy));
    let mut client_rules = Vec::new();
    for ((from, to), active) in &active.links {
        let rule = active.fault.rule();
        match (*from, *to) {
            (LinkEnd::Node(id), PROXY) => rules.push(Rule {
                from: server(id),
                to: proxy,
                side: Side::Receive,
                ..rule
            }),
            (PROXY, LinkEnd::Node(id)) => rules.push(Rule {
                from: proxy,
                to: server(id),
                ..rule
            }),
            // Each client has its own id and may call the proxy by any id. So clients are all
            // peers that no earlier rule matches. A cut rule would affect both directions.
            (CLIENTS, PROXY) => client_rules.push(Rule {
                side: Side::Receive,
                ..cut_to_loss(rule)
            }),
            (PROXY, CLIENTS) => client_rules.push(cut_to_loss(rule)),
            _ => {}
        }
    }
    // Rules without effect, so that the rules of the clients do not match servers.
    for id in &targets.servers {
        let unaffected = |from, to, side| Rule {
            from,
            to,
            side,
            ..Rule::default()
        };
        rules.push(unaffected(server(*id), None, Side::Receive));
        rules.push(unaffected(None, server(*id), Side::Send));
    }
    rules.extend(client_rules);
    Plan { seed: 0, rules }
}

/// The rules of isolated servers. They precede all other rules.
fn isolation_rules(active: &ActiveFaults) -> Vec<Rule> {
    let isolated = active.isolated.keys();
    let rules = isolated.map(|id| Rule::isolate(Address::Node(NodeId::new(*id))));
    rules.flatten().collect()
}

impl LinkFault {
    fn rule(self) -> Rule {
        Rule {
            cut: self.cut,
            drop: self.drop,
            duplicate: self.duplicate,
            reorder: self.reorder,
            delay: self
                .delay_ms
                .map(|[min_ms, max_ms]| Delay { min_ms, max_ms }),
            ..Rule::default()
        }
    }
}

/// Converts a cut, which affects both directions, to a loss of 100 % in one direction.
fn cut_to_loss(mut rule: Rule) -> Rule {
    if std::mem::take(&mut rule.cut) {
        rule.drop = 1.0;
    }
    rule
}

fn server(id: u64) -> Option<Address> {
    Some(Address::Node(NodeId::new(id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ProxyId;

    #[test]
    fn rules_of_clients_follow_the_rules_of_servers() {
        let targets = Targets::new((1..=3).map(NodeId::new), ProxyId::new(7), false);
        let cut = LinkFault {
            cut: true,
            ..LinkFault::default()
        };
        let mut active = ActiveFaults::default();
        active.set_link(LinkEnd::Node(1), PROXY, cut, None);
        active.set_link(CLIENTS, PROXY, cut, None);
        active.set_link(PROXY, CLIENTS, cut, None);
        let rules = proxy_plan(&active, &targets).rules;
        let proxy = Some(Address::Proxy(ProxyId::new(7)));
        assert_eq!(
            (rules[0].from, rules[0].to, rules[0].cut),
            (server(1), proxy, true)
        );
        // The last two rules match the clients: all peers that the earlier rules do not match.
        let [.., to, from] = &rules[..] else {
            panic!("{rules:?}");
        };
        assert_eq!((to.from, to.to, to.side), (None, None, Side::Send));
        assert_eq!(
            (from.side, from.drop, from.cut),
            (Side::Receive, 1.0, false)
        );
        assert_eq!(rules.len(), 1 + 6 + 2);
    }
}
