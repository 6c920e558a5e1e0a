//! Names of nodes and hosts for people. A plan otherwise identifies nodes and hosts by number.
use super::{Plan, Role};
use actors::id::{HostId, NodeId};

impl Plan {
    /// The name of a node for people, made of its role and its host's name, for example `peer gpu[0]`.
    pub fn called(&self, node: NodeId) -> String {
        let Some(placed) = self.nodes.get(node.0 as usize) else { return node.to_string() };
        let role = match placed.role {
            Role::Orchestrator => return "the orchestrator".to_owned(),
            Role::Bootstrap => return "the bootstrap node".to_owned(),
            Role::Peer { .. } => "peer",
            Role::Client => "client",
        };
        let host = &self.host(placed.host).name;
        // The name of a host group may already begin with the role.
        let name = if host.starts_with(role) { host.clone() } else { format!("{role} {host}") };
        // Several nodes with the same role on one host are numbered from 0, as in routes: `box/1` is the second node.
        let before = self.nodes[..node.0 as usize].iter().filter(|other| other.host == placed.host);
        match before.filter(|other| other.role.node_role() == placed.role.node_role()).count() {
            0 => name,
            count => format!("{name}/{count}"),
        }
    }

    /// Returns `text` with numbers of nodes and hosts replaced by names. The numbers are written as `node 4`,
    /// `NodeId(4)` or `HostId(2)` in errors, events and outcomes, which have no access to the plan.
    pub fn in_words(&self, text: &str) -> String {
        let mut words = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, kind)) =
            KINDS.iter().filter_map(|kind| Some((rest.find(kind.before)?, kind))).min_by_key(|found| found.0)
        {
            let (before, from) = rest.split_at(at);
            words.push_str(before);
            let number = &from[kind.before.len()..];
            let digits = number.bytes().take_while(u8::is_ascii_digit).count();
            let name = number[..digits].parse().ok().and_then(|id| self.name(kind, id));
            // `node 4` at the end of a longer word, as in `anode 4`, is not a match.
            let within = before.ends_with(|c: char| c.is_alphanumeric());
            match name.filter(|_| !within && number[digits..].starts_with(kind.after)) {
                Some(name) => {
                    words.push_str(&name);
                    rest = &number[digits + kind.after.len()..];
                }
                None => {
                    words.push_str(kind.before);
                    rest = number;
                }
            }
        }
        words + rest
    }

    fn name(&self, kind: &Kind, id: u32) -> Option<String> {
        match kind.of {
            Of::Nodes => self.nodes.get(id as usize).map(|_| self.called(NodeId(id))),
            Of::Hosts => self.hosts.get(id as usize).map(|_| self.host(HostId(id)).name.clone()),
        }
    }
}

/// A notation in which texts contain the number of a node or host, such as `NodeId(4)`.
struct Kind {
    of: Of,
    before: &'static str,
    after: &'static str,
}

enum Of {
    Nodes,
    Hosts,
}

const KINDS: [Kind; 3] = [
    Kind { of: Of::Nodes, before: "node ", after: "" },
    Kind { of: Of::Nodes, before: "NodeId(", after: ")" },
    Kind { of: Of::Hosts, before: "HostId(", after: ")" },
];
