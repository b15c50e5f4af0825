//! Shell: the links between hosts: a switch that all are plugged into, and this machine's own plug.

use anyhow::Context;
use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::lab::journal::{Entry, Journal};
use crate::lab::netns::{Netns, ip};
use crate::lab::network;
use crate::lab::topology::OUTSIDE;

use super::shape::Worker;

/// Each name of a namespace begins with it.
const PREFIX: &str = "cway-e2e-";
/// This machine's device on the switch.
const PLUG: &str = "cway-e2e";
/// This machine's address on it.
const MACHINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 253);
/// Where this machine finds the hosts and the switch: narrower than the documentation's prefix, which some virtual machines
/// have on their own uplink.
const HOSTS: [&str; 3] = ["192.0.2.8/29", "192.0.2.16/28", "192.0.2.252/30"];
/// What one link carries.
const MTU: u32 = 1500;
/// The table of the switch that cuts clusters off.
const CUT: &str = "cut";

/// The network namespace of a host, or `wan`.
#[must_use]
pub fn netns(name: &str) -> Netns {
    Netns::named(format!("{PREFIX}{name}"))
}

/// The switch, with an address that hosts take for the way to the world, and a plug for this machine so that people
/// reach the API servers.
pub fn switch(journal: &mut Journal) -> anyhow::Result<()> {
    let wan = netns("wan");
    journal.write(&Entry::Netns(wan.name().to_owned()))?;
    wan.create()?;
    network::wan(&wan)?;
    let peer = format!("p-{PLUG}");
    ip(&[
        "link",
        "add",
        PLUG,
        "type",
        "veth",
        "peer",
        "name",
        &peer,
        "netns",
        wan.name(),
    ])
    .context("this machine's plug")?;
    wan.ip(&format!("link set {peer} master wan up\n"))?;
    ip(&["addr", "add", &format!("{MACHINE}/32"), "dev", PLUG])?;
    ip(&["link", "set", PLUG, "up"])?;
    let source = MACHINE.to_string();
    HOSTS
        .iter()
        .try_for_each(|hosts| ip(&["route", "add", hosts, "dev", PLUG, "src", &source]))
}

/// Takes this machine's plug out, if it is in.
pub fn unplug() {
    let _ = ip(&["link", "delete", PLUG]);
}

/// Plugs a host into the switch.
pub fn plug(host: &Netns, name: &str, address: Ipv4Addr) -> anyhow::Result<()> {
    let wan = netns("wan");
    let port = format!("w-{name}");
    ip(&[
        "link",
        "add",
        &port,
        "netns",
        wan.name(),
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        host.name(),
    ])?;
    wan.ip(&format!("link set {port} mtu {MTU} master wan up\n"))?;
    let mut lines = String::new();
    writeln!(lines, "link set eth0 mtu {MTU} up")?;
    writeln!(lines, "addr add {address}/24 dev eth0")?;
    writeln!(lines, "route add default via {OUTSIDE}")?;
    host.ip(&lines)?;
    host.sysctl("net/ipv4/ip_forward", "1")?;
    // As kubelet wants it: what crosses a bridge is seen by the host's rules too.
    if host.has_sysctl("net/bridge/bridge-nf-call-iptables")? {
        host.sysctl("net/bridge/bridge-nf-call-iptables", "1")?;
    }
    Ok(())
}

/// The way to another worker's pods.
pub fn route(from: &Netns, to: &Worker) -> anyhow::Result<()> {
    from.ip(&format!(
        "route replace {} via {}\n",
        to.pod_cidr(),
        to.address
    ))
}

/// The node's rule for what its pods send out of the cluster: it bears the node's address, as with the usual CNIs.
/// Its counter tells what it met.
pub fn masquerade(host: &Netns, own: &str, cluster: &str) -> anyhow::Result<()> {
    host.nft(&format!(
        "table ip cni {{
  counter masqueraded {{}}
  chain postrouting {{
    type nat hook postrouting priority srcnat
    ip saddr {own} ip daddr != {cluster} ip daddr != 224.0.0.0/4 counter name masqueraded masquerade
  }}
}}
"
    ))
}

/// Drops on the switch what goes between two groups of addresses, in place of what was cut before.
pub fn cut(ones: &[Ipv4Addr], others: &[Ipv4Addr]) -> anyhow::Result<()> {
    heal()?;
    let set = |all: &[Ipv4Addr]| {
        let words: Vec<_> = all.iter().map(Ipv4Addr::to_string).collect();
        format!("{{ {} }}", words.join(", "))
    };
    let (ones, others) = (set(ones), set(others));
    netns("wan").nft(&format!(
        "table bridge {CUT} {{
  chain forward {{
    type filter hook forward priority 0
    ip saddr {ones} ip daddr {others} drop
    ip saddr {others} ip daddr {ones} drop
  }}
}}
"
    ))
}

/// Takes every cut back.
pub fn heal() -> anyhow::Result<()> {
    // Made first, so that there is one to delete.
    netns("wan").nft(&format!(
        "table bridge {CUT} {{}}\ndelete table bridge {CUT}\n"
    ))
}
