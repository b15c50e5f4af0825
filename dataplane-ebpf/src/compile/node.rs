//! Pure: the configuration, this node's ports and pods, and the own cluster's nodes.

use std::collections::BTreeMap;

use causeway_abi::{
    Config, LAYOUT_VERSION, NodePlace, Pod, Port, Source, SourceKey4, config_flags, source_kind,
};
use causeway_proto::model::{Address, Prefix, ProblemKind};

use super::{Compiler, v4, v4_prefix};
use crate::image::{Lpm, Table};

/// What the tunnel adds to an inner IP packet: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 bytes.
pub const OVERHEAD: u16 = 50;
/// IPv4 and TCP header without options.
const HEADERS: u16 = 40;

impl Compiler<'_> {
    pub(super) fn config(&mut self) {
        let view = self.view;
        let gateway = view.gateways.values().any(|n| *n == self.facts.node);
        let native = view
            .peers
            .values()
            .flat_map(|peer| &peer.mappings)
            .chain(&view.self_map)
            .any(|m| m.ours.base().is_v4() && !inside(&view.mapping_pool, m.ours));
        let mut flags = 0;
        if gateway {
            flags |= config_flags::GATEWAY;
        }
        if native {
            flags |= config_flags::NATIVE;
        }
        let mut vips = view.vip_pool.iter().filter_map(|p| v4_prefix(*p));
        let (vip_base, bits) = vips.next().unwrap_or(([255; 4], 32));
        if vips.next().is_some() {
            self.problem(
                ProblemKind::LimitReached,
                "VIP pool".to_owned(),
                "the programs know one IPv4 prefix; services with a VIP from another are not served".to_owned(),
            );
        }
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits));
        let (mapping_low, mapping_high) = self.mapping_range();
        self.image.config = Config {
            layout: LAYOUT_VERSION,
            flags,
            generation: view.revision.number,
            hash_seed: view.seed,
            node: self.facts.outer.bytes(),
            vip_base,
            vip_mask: mask.unwrap_or(0).to_be_bytes(),
            mapping_low,
            mapping_high,
            tunnel_ifindex: self.facts.tunnel,
            faults: self.facts.faults,
            tunnel_port: view.tunnel_port.to_be_bytes(),
            mss: if self.facts.clamp {
                self.facts.mtu.saturating_sub(OVERHEAD + HEADERS)
            } else {
                0
            },
            reserved: [0; 4],
        };
    }

    /// First and last address of the mapping pool, which is one piece; nothing when it is empty.
    fn mapping_range(&mut self) -> ([u8; 4], [u8; 4]) {
        let mut ends: Vec<(u32, u32)> = self
            .view
            .mapping_pool
            .iter()
            .filter_map(|p| v4_prefix(*p))
            .map(|(base, bits)| {
                let low = u32::from_be_bytes(base);
                (low, low | u32::MAX.checked_shr(bits).unwrap_or(0))
            })
            .collect();
        ends.sort_unstable();
        let pieces = ends.windows(2).all(
            |w| matches!(w, [(_, high), (low, _)] if Some(*low) == high.checked_add(1) || low <= high),
        );
        if !pieces {
            self.problem(
                ProblemKind::BadObject,
                "mapping pool".to_owned(),
                "its prefixes do not join; what lies between them is taken for it".to_owned(),
            );
        }
        match (ends.first(), ends.iter().map(|(_, high)| *high).max()) {
            (Some((low, _)), Some(high)) => (low.to_be_bytes(), high.to_be_bytes()),
            _ => ([255; 4], [0; 4]),
        }
    }

    /// Ports whose address the View confirms. A second claim to an address is refused: the port that
    /// has it keeps it.
    pub(super) fn ports(&mut self) {
        let mut owners: BTreeMap<Address, u32> = BTreeMap::new();
        let had = |ifindex: &u32, address: Address| {
            let port = self.held.image.ports.get(ifindex);
            port.is_some_and(|port| port.address == address.bytes())
        };
        let mut problems = Vec::new();
        for (ifindex, port) in &self.facts.ports {
            let Some(address) = port.addresses.iter().copied().find(|a| self.confirmed(*a)) else {
                problems.push((
                    format!("port {}", port.name),
                    "no address of its pod is that of a known workload on this node".to_owned(),
                ));
                continue;
            };
            let holder = owners.entry(address).or_insert(*ifindex);
            if holder != ifindex {
                if had(ifindex, address) {
                    *holder = *ifindex;
                }
                problems.push((
                    format!("port {}", port.name),
                    format!("another port claims {address} too; the older one has it"),
                ));
            }
        }
        for (subject, message) in problems {
            self.problem(ProblemKind::BadObject, subject, message);
        }
        for (address, ifindex) in owners {
            self.port(address, ifindex);
        }
    }

    fn confirmed(&self, address: Address) -> bool {
        let workload = self.view.workloads.get(&address);
        address.is_v4()
            && workload
                .is_some_and(|(_, node)| node.as_ref().is_none_or(|node| *node == self.facts.node))
    }

    fn port(&mut self, address: Address, ifindex: u32) {
        let (Some(port), Some(key)) = (self.facts.ports.get(&ifindex), v4(address)) else {
            return;
        };
        let identity = self.view.workloads.get(&address).map_or(0, |(id, _)| id.0);
        let entry = Port {
            address: address.bytes(),
            identity,
            pod_mac: port.pod_mac,
            host_mac: port.host_mac,
            reserved: [0; 2],
        };
        let pod = Pod {
            ifindex,
            pod_mac: port.pod_mac,
            host_mac: port.host_mac,
        };
        let (image, over) = (&mut self.image, &mut self.overflow);
        if over.put(Table::Ports, &mut image.ports, (ifindex, entry), &port.name)
            && over.put(Table::Pods, &mut image.pods, (key, pod), &port.name)
        {
            self.pods.insert(address, ifindex);
        }
    }

    /// Where the other nodes of this cluster are, and that they may send.
    pub(super) fn nodes(&mut self) {
        let own = self.view.nodes.get(&self.facts.node);
        if own.is_none_or(|node| !node.addresses.contains(&self.facts.outer)) {
            self.problem(
                ProblemKind::BadObject,
                format!("node {}", self.facts.node),
                format!(
                    "its outer address {} is none that the cluster lists for it; others refuse its packets",
                    self.facts.outer
                ),
            );
        }
        for (name, node) in &self.view.nodes {
            if *name == self.facts.node {
                continue;
            }
            let (image, over) = (&mut self.image, &mut self.overflow);
            for address in node.addresses.iter().filter_map(|a| v4(*a)) {
                let source = Source {
                    kind: source_kind::OWN_NODE,
                    peer: 0,
                };
                let entry = (SourceKey4 { address }, source);
                over.put(Table::Sources, &mut image.sources, entry, name);
            }
            let Some(outer) = node.addresses.iter().find(|a| a.is_v4()) else {
                continue;
            };
            let place = NodePlace {
                node: outer.bytes(),
            };
            for (data, bits) in node.pod_prefixes.iter().filter_map(|p| v4_prefix(*p)) {
                let entry = (Lpm { bits, data }, place);
                over.put(Table::Places, &mut image.places, entry, name);
            }
        }
    }
}

fn inside(pool: &[Prefix], prefix: Prefix) -> bool {
    pool.iter()
        .any(|p| p.contains(prefix.base()) && p.bits() <= prefix.bits())
}
