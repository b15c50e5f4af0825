//! Shell: links, addresses and routes of the wan, of nodes and of pods; the mount that pins need.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::netns::{Netns, ip};
use super::topology::{Node, OUTSIDE, Pod, STRAY, STRAY_GATEWAY};

/// Of every link; the tunnel's overhead has to fit below it.
const MTU: u32 = 1500;

/// The bridge that joins the nodes, and the world outside of them.
pub fn wan(netns: &Netns) -> anyhow::Result<()> {
    let mut lines = String::new();
    writeln!(lines, "link add wan mtu {MTU} type bridge")?;
    writeln!(lines, "addr add {OUTSIDE}/24 dev wan")?;
    writeln!(lines, "link set wan up")?;
    netns.ip(&lines)?;
    // The wan is a switch: no firewall of a host has a say in it.
    if netns.has_sysctl("net/bridge/bridge-nf-call-iptables")? {
        netns.sysctl("net/bridge/bridge-nf-call-iptables", "0")?;
    }
    Ok(())
}

/// Uplink, bridge, forwarding, and a route to the pods of each other node of the cluster.
pub fn node(node: &Node, others: &[Node], netns: &Netns, wan: &Netns) -> anyhow::Result<()> {
    let port = format!("wan-{}", node.name);
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
        netns.name(),
    ])?;
    wan.ip(&format!("link set {port} mtu {MTU} master wan up\n"))?;
    let mut lines = String::new();
    writeln!(lines, "link set eth0 mtu {MTU} up")?;
    writeln!(lines, "addr add {}/24 dev eth0", node.uplink)?;
    // An address of its own, as the plugin gives it: else it would take that of some port, and change with them.
    let [a, b, c, d] = node.bridge().octets();
    let mac = format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    writeln!(lines, "link add cni0 address {mac} mtu {MTU} type bridge")?;
    writeln!(lines, "addr add {}/24 dev cni0", node.bridge())?;
    writeln!(lines, "link set cni0 up")?;
    writeln!(lines, "route add default via {OUTSIDE}")?;
    for other in others
        .iter()
        .filter(|other| other.cluster == node.cluster && other.name != node.name)
    {
        writeln!(
            lines,
            "route add {} via {}",
            other.pod_prefix(),
            other.uplink
        )?;
    }
    netns.ip(&lines)?;
    netns.sysctl("net/ipv4/ip_forward", "1")?;
    // As kubelet wants it: what crosses the bridge is seen by the host's rules too.
    if netns.has_sysctl("net/bridge/bridge-nf-call-iptables")? {
        netns.sysctl("net/bridge/bridge-nf-call-iptables", "1")?;
    }
    Ok(())
}

/// Something on a node that is no pod: a network of its own behind the node's forwarding.
pub fn stray(host: &Netns, netns: &Netns) -> anyhow::Result<()> {
    let (host_name, name) = (host.name(), netns.name());
    let link = ["link", "add", "stray", "netns", host_name, "type", "veth"];
    ip(&[&link[..], &["peer", "name", "eth0", "netns", name]].concat())?;
    let (own, gateway) = (STRAY, STRAY_GATEWAY);
    netns.ip(&format!(
        "link set eth0 mtu {MTU} up\naddr add {own}/24 dev eth0\nroute add default via {gateway}\n"
    ))?;
    host.ip(&format!(
        "link set stray mtu {MTU} up\naddr add {gateway}/24 dev stray\n"
    ))
}

/// The pair of devices by which a pod is on its node.
fn port(pod: &Pod, host: &Netns, netns: &Netns) -> anyhow::Result<String> {
    let (port, host, pod) = (pod.port(), host.name(), netns.name());
    let near = ["link", "add", &port, "netns", host, "type", "veth"];
    let far = ["peer", "name", "eth0", "netns", pod];
    ip(&[&near[..], &far].concat())?;
    Ok(port)
}

/// A link to the pod and a route to it alone, as the `ptp` plugin makes it.
pub fn routed_pod(node: &Node, pod: &Pod, host: &Netns, netns: &Netns) -> anyhow::Result<()> {
    let port = port(pod, host, netns)?;
    let (own, gateway) = (pod.address, node.bridge());
    netns.ip(&format!(
        "link set eth0 mtu {MTU} up\naddr add {own}/32 dev eth0\nroute add {gateway}/32 dev eth0\n\
         route add default via {gateway}\n"
    ))?;
    host.ip(&format!(
        "link set {port} mtu {MTU} up\naddr add {gateway}/32 dev {port}\nroute add {own}/32 dev {port}\n"
    ))
}

/// A link from the bridge into the pod, as the `bridge` plugin makes it.
pub fn pod(node: &Node, pod: &Pod, host: &Netns, netns: &Netns) -> anyhow::Result<()> {
    let port = port(pod, host, netns)?;
    let mut lines = String::new();
    writeln!(lines, "link set eth0 mtu {MTU} up")?;
    writeln!(lines, "addr add {}/24 dev eth0", pod.address)?;
    writeln!(lines, "route add default via {}", node.bridge())?;
    netns.ip(&lines)?;
    host.ip(&format!("link set {port} mtu {MTU} master cni0 up\n"))
}

/// Mounts the file system of pinned programs and maps, unless it is there.
pub fn mount_bpf(place: &Path) -> anyhow::Result<()> {
    if statfs(place)
        .with_context(|| format!("looking at {}", place.display()))?
        .filesystem_type()
        == BPF_FS_MAGIC
    {
        return Ok(());
    }
    mount(
        Some("bpf"),
        place,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("mounting {}", place.display()))
}

/// Mounts a disk of so many MiB, in memory.
pub fn mount_small(place: &Path, mib: u32) -> anyhow::Result<()> {
    let options = format!("size={mib}m,mode=0700");
    mount(
        Some("tmpfs"),
        place,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .with_context(|| format!("mounting {}", place.display()))
}
