//! Shell: the rules that a node's CNI and kube-proxy bring, each with a counter; counters on the
//! wire of the wan that are not our own; and the reading of counters.

use std::fmt::Write;
use std::process::Stdio;

use anyhow::{Context, bail};

use super::netns::Netns;
use super::topology::{Node, POD_CIDR, Topology};

/// Packets that the CNI's rule gave the node's address.
pub const MASQUERADED: &str = "masqueraded";
/// Packets that kube-proxy's rule dropped.
pub const INVALID: &str = "invalid";

/// What the `bridge` plugin with `ipMasq` and kube-proxy in nftables mode put on a node.
pub fn node(node: &Node, netns: &Netns) -> anyhow::Result<()> {
    let own = node.pod_prefix();
    netns.nft(&format!(
        "table ip cni {{
  counter {MASQUERADED} {{}}
  chain postrouting {{
    type nat hook postrouting priority srcnat
    ip saddr {own} ip daddr != {POD_CIDR} ip daddr != 224.0.0.0/4 counter name {MASQUERADED} masquerade
  }}
}}
table ip kube-proxy {{
  counter {INVALID} {{}}
  chain filter-forward {{
    type filter hook forward priority filter
    ct state invalid counter name {INVALID} drop
  }}
}}
"
    ))
}

/// What a tunnel packet between two nodes is; names of counters are `<kind>-<from>-<to>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Towards a backend
    Request,
    /// Back to a client
    Reply,
    /// A probe of the path
    Probe,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Reply => "reply",
            Kind::Probe => "probe",
        }
    }

    /// Bits of the VNI, counted from the start of the UDP header: 8 bytes of UDP, 4 of VXLAN, then number
    /// (12 bits), direction, first, reply, passed on, probe.
    fn rule(self) -> &'static str {
        match self {
            Kind::Request => "@th,110,1 0 @th,112,1 0",
            Kind::Reply => "@th,110,1 1 @th,112,1 0",
            Kind::Probe => "@th,112,1 1",
        }
    }
}

/// Tunnel packets so large that they must have crossed both devices whole, in one piece of 64 KiB.
pub const SUPER: &str = "super";

/// Larger than what a session says of itself but for a handshake: packets within it.
const LARGE: u32 = 1300;

/// UDP and TCP port of sessions between gateways.
const SESSION_PORT: u16 = 7443;

/// Counts tunnel packets on the switch between the nodes, by pair and kind.
pub fn watch_wire(wan: &Netns, topology: Topology, tunnel_port: u16) -> anyhow::Result<()> {
    let mut counters = String::new();
    let mut chains = String::new();
    let mut rules = String::new();
    writeln!(counters, "  counter {SUPER} {{}}")?;
    writeln!(
        rules,
        "    udp dport {tunnel_port} meta length > 60000 counter name {SUPER}"
    )?;
    for (from, to) in topology.pairs() {
        let sealed = sealed_name(from.name, to.name);
        writeln!(counters, "  counter {sealed} {{}}")?;
        writeln!(
            rules,
            "    ip saddr {} ip daddr {} udp dport {SESSION_PORT} meta length > {LARGE} counter name {sealed}",
            from.uplink, to.uplink
        )?;
        let name = unsealed_name(from.name, to.name);
        writeln!(counters, "  counter {name} {{}}")?;
        writeln!(
            chains,
            "  chain {name} {{\n    udp dport {SESSION_PORT} return\n    tcp dport {SESSION_PORT} return\n    \
             tcp sport {SESSION_PORT} return\n    counter name {name}\n  }}"
        )?;
        writeln!(
            rules,
            "    ip saddr {} ip daddr {} jump {name}",
            from.uplink, to.uplink
        )?;
        for kind in [Kind::Request, Kind::Reply, Kind::Probe] {
            let name = counter_name(kind, from.name, to.name);
            writeln!(counters, "  counter {name} {{}}")?;
            writeln!(
                rules,
                "    ip saddr {} ip daddr {} udp dport {tunnel_port} {} counter name {name}",
                from.uplink,
                to.uplink,
                kind.rule()
            )?;
        }
    }
    wan.nft(&format!(
        "table bridge wire {{\n{counters}{chains}  chain forward {{\n    type filter hook forward priority 0\n{rules}  }}\n}}\n"
    ))
}

fn counter_name(kind: Kind, from: &str, to: &str) -> String {
    format!("{}-{from}-{to}", kind.name())
}

/// Tunnel packets of a kind that crossed the wan from one node to another.
pub fn on_wire(wan: &Netns, kind: Kind, from: &str, to: &str) -> anyhow::Result<u64> {
    counter(wan, &counter_name(kind, from, to))
}

fn sealed_name(from: &str, to: &str) -> String {
    format!("sealed-{from}-{to}")
}

/// Large packets of sessions between gateways that crossed the wan from one node to another.
pub fn on_sessions(wan: &Netns, from: &str, to: &str) -> anyhow::Result<u64> {
    counter(wan, &sealed_name(from, to))
}

fn unsealed_name(from: &str, to: &str) -> String {
    format!("unsealed-{from}-{to}")
}

/// IPv4 packets that crossed the wan from one node to another and are none of a session between gateways.
pub fn unsealed(wan: &Netns, from: &str, to: &str) -> anyhow::Result<u64> {
    counter(wan, &unsealed_name(from, to))
}

/// Lets no UDP between clusters through, until [`unblock`].
pub fn block_udp(wan: &Netns, topology: Topology) -> anyhow::Result<()> {
    let between = topology.pairs();
    let between = between.filter(|(from, to)| from.cluster != to.cluster);
    block_between(wan, between, "ip protocol udp drop")
}

/// Has the switch do that with packets from the first to the second of each pair, until [`unblock`].
pub fn block_between(
    wan: &Netns,
    pairs: impl Iterator<Item = (Node, Node)>,
    action: &str,
) -> anyhow::Result<()> {
    let mut rules = String::new();
    for (from, to) in pairs {
        let (from, to) = (from.uplink, to.uplink);
        writeln!(rules, "    ip saddr {from} ip daddr {to} {action}")?;
    }
    block(wan, &rules)
}

/// Lets everything through again.
pub fn unblock(wan: &Netns) -> anyhow::Result<()> {
    wan.nft("delete table bridge blocked\n")
}

/// Lets no session go by UDP.
pub fn block_quic(wan: &Netns) -> anyhow::Result<()> {
    block_session_port(wan, &["udp"])
}

/// Lets no session through, until [`unblock`]; tunnel packets pass.
pub fn block_sessions(wan: &Netns) -> anyhow::Result<()> {
    block_session_port(wan, &["udp", "tcp"])
}

fn block_session_port(wan: &Netns, protocols: &[&str]) -> anyhow::Result<()> {
    let mut rules = String::new();
    for protocol in protocols {
        writeln!(rules, "    {protocol} dport {SESSION_PORT} drop")?;
    }
    block(wan, &rules)
}

/// One set of rules at a time.
fn block(wan: &Netns, rules: &str) -> anyhow::Result<()> {
    wan.nft(&format!(
        "table bridge blocked {{\n  chain forward {{\n    type filter hook forward priority 10\n{rules}  }}\n}}\n"
    ))
}

/// Puts a node's sessions behind a translator of ports, as its site's router may be one: from outside they come from `port`,
/// answers to that reach it, and nobody can begin one with it. A call again is what such a router does when it has forgotten.
pub fn translate_sessions(node: &Netns, port: u16) -> anyhow::Result<()> {
    // Without conntrack, which would remember the port before.
    node.nft(&format!(
        "table ip translator
delete table ip translator
table ip translator {{
  chain in {{
    type filter hook prerouting priority -301
    iifname eth0 udp dport {SESSION_PORT} drop
    iifname eth0 tcp dport {SESSION_PORT} drop
    iifname eth0 udp dport {port} notrack udp dport set {SESSION_PORT}
  }}
  chain out {{
    type filter hook output priority -301
    oifname eth0 udp sport {SESSION_PORT} notrack
  }}
  chain leave {{
    type filter hook postrouting priority 300
    oifname eth0 udp sport {SESSION_PORT} udp sport set {port}
  }}
}}
"
    ))
}

/// Packets that a named counter of a namespace has seen.
pub fn counter(netns: &Netns, name: &str) -> anyhow::Result<u64> {
    let mut command = netns.command("nft");
    let output = command
        .args(["-j", "list", "counters"])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("counters of {}", netns.name()))?;
    let objects = value
        .get("nftables")
        .and_then(|list| list.as_array())
        .into_iter()
        .flatten();
    let found = objects
        .filter_map(|object| object.get("counter"))
        .find(|counter| counter.get("name").and_then(|n| n.as_str()) == Some(name));
    match found
        .and_then(|counter| counter.get("packets"))
        .and_then(serde_json::Value::as_u64)
    {
        Some(packets) => Ok(packets),
        None => bail!("{} has no counter {name}", netns.name()),
    }
}
