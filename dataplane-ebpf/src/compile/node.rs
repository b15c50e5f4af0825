//! Pure: the configuration, and the own cluster's nodes.

use causeway_abi::{
    Config, LAYOUT_VERSION, NodePlace, Source, SourceKey4, V6, config_flags, source_kind,
};
use causeway_proto::model::{Prefix, ProblemKind, View};

use super::{Compiler, Gateway, longest, wide};
use crate::image::{Lpm, Table};

/// What the tunnel adds to an inner IP packet: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 bytes.
pub const OVERHEAD: u16 = 50;
/// What a session adds: outer IPv4 20, UDP 8; QUIC's short header 13 at most, the frame's 9, its seal 16; 8 bytes of ours.
pub(super) const SESSION_OVERHEAD: u16 = 74;
/// IPv4 and TCP header without options.
const HEADERS: u16 = 40;

/// Base and mask of a pool that has no address.
const NOWHERE: (V6, V6) = (V6::new([255; 16]), V6::new([0; 16]));

impl Compiler<'_> {
    pub(super) fn config(&mut self) {
        let view = self.view;
        let gateway = view.gateways.values().any(|n| *n == self.facts.node);
        let native = outside(view).next().is_some();
        let mut flags = 0;
        if gateway {
            flags |= config_flags::GATEWAY;
        }
        if native {
            flags |= config_flags::NATIVE;
        }
        let [vips, vips6] = self.only(&view.vip_pool, "VIP pool");
        let (vip_base, vip_mask) = vips.unwrap_or(NOWHERE);
        let (vip6_base, vip6_mask) = vips6.unwrap_or(NOWHERE);
        let (mapping_low, mapping_high) = self.mapping_range();
        let [_, mapping6] = self.only(&six(&view.mapping_pool), "mapping pool");
        let (mapping6_base, mapping6_mask) = mapping6.unwrap_or(NOWHERE);
        self.image.config = Config {
            layout: LAYOUT_VERSION,
            flags,
            generation: view.revision.number,
            hash_seed: view.seed,
            node: wide(self.facts.outer),
            vip6_base,
            vip6_mask,
            mapping6_base,
            mapping6_mask,
            vip_base: vip_base.last_four(),
            vip_mask: vip_mask.last_four(),
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
            session_ifindex: match self.facts.gateway {
                Gateway::Absent => 0,
                Gateway::Away | Gateway::Carries(_) => self.facts.session,
            },
        };
    }

    /// Base and mask of the one prefix that a pool has of either family, IPv4 first.
    fn only(&mut self, pool: &[Prefix], what: &str) -> [Option<(V6, V6)>; 2] {
        [true, false].map(|v4| {
            let mut prefixes = pool.iter().filter(|prefix| prefix.base().is_v4() == v4);
            let first = prefixes.next()?;
            if prefixes.next().is_some() {
                let family = if v4 { "IPv4" } else { "IPv6" };
                self.problem(
                    ProblemKind::LimitReached,
                    what.to_owned(),
                    format!("the programs know one {family} prefix; what has an address from another is not served"),
                );
            }
            let host = u128::MAX.checked_shr(u32::from(first.bits())).unwrap_or(0);
            Some((wide(first.base()), V6::new((!host).to_be_bytes())))
        })
    }

    /// First and last address of the IPv4 mapping pool, which is one piece; nothing when it is empty.
    fn mapping_range(&mut self) -> ([u8; 4], [u8; 4]) {
        let mut ends: Vec<(u32, u32)> = self
            .view
            .mapping_pool
            .iter()
            .filter_map(|p| Some((p.base().v4()?, u32::from(p.family_len()))))
            .map(|(base, bits)| {
                let low = base.to_bits();
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
            for address in node.addresses.iter().filter_map(|a| a.v4()) {
                let source = Source {
                    kind: source_kind::OWN_NODE,
                    peer: 0,
                };
                let key = SourceKey4 {
                    address: address.octets(),
                };
                let entry = (key, source);
                over.put(Table::Sources, &mut image.sources, entry, name);
            }
            let Some(outer) = node.addresses.iter().find(|a| a.is_v4()) else {
                continue;
            };
            let place = NodePlace { node: wide(*outer) };
            let own = self.view.node_addresses.get(name);
            let own = own.map(|address| Lpm {
                bits: 128,
                data: wide(*address),
            });
            let prefixes = node.pod_prefixes.iter().map(|prefix| longest(*prefix));
            for key in prefixes.chain(own) {
                let entry = (key, place);
                over.put(Table::Places, &mut image.places, entry, name);
            }
        }
    }
}

/// Where the node's own processes go by the device of ours: both pools, and what is mapped outside of them.
#[must_use]
pub fn ways(view: &View) -> Vec<Prefix> {
    let pools = view.vip_pool.iter().chain(&view.mapping_pool).copied();
    pools.chain(outside(view)).collect()
}

/// Mapped, and not of the mapping pool: peers' `native` prefixes, and those from a pool that was configured before.
fn outside(view: &View) -> impl Iterator<Item = Prefix> {
    let peers = view.peers.values().flat_map(|peer| &peer.mappings);
    let ours = peers.chain(&view.self_map).map(|mapping| mapping.ours);
    ours.filter(|prefix| !inside(&view.mapping_pool, *prefix))
}

fn six(pool: &[Prefix]) -> Vec<Prefix> {
    let prefixes = pool.iter().copied();
    prefixes.filter(|prefix| !prefix.base().is_v4()).collect()
}

fn inside(pool: &[Prefix], prefix: Prefix) -> bool {
    pool.iter().any(|p| p.covers(prefix))
}
