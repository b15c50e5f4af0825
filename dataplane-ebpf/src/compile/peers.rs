//! Pure: ways to peers, who of them may send, and whose addresses are whose.

use causeway_abi::{
    MapIn, MapOut, Route, Source, SourceKey4, V6, limits::ROUTE_GATEWAYS, map_in_prefix,
    route_flags, source_kind,
};
use causeway_proto::model::{
    Address, ClusterId, Encryption, GatewayName, Mapping, NodeName, PeerNumber, PeerView,
    ProblemKind,
};

use super::node::{OVERHEAD, SESSION_OVERHEAD};
use super::{Compiler, Gateway, longest, wide};
use crate::image::{Lpm, MapInKey, Table};

impl Compiler<'_> {
    pub(super) fn peers(&mut self) {
        for mapping in &self.view.self_map {
            self.mapping(PeerNumber::OWN, *mapping, &"the self-map");
        }
        for (id, peer) in &self.view.peers {
            for mapping in &peer.mappings {
                self.mapping(peer.number, *mapping, id);
            }
            // Plain packets only where both sides' configuration allows them. Of a peer whose packets are encrypted no outer
            // source is listed.
            match peer.encryption {
                Encryption::Plain => {
                    self.sources(id, peer);
                    self.route(id, peer, 0);
                }
                Encryption::Encrypted => self.route(id, peer, route_flags::SESSION),
                Encryption::Unavailable => {}
            }
        }
    }

    fn mapping(&mut self, peer: PeerNumber, mapping: Mapping, what: &dyn std::fmt::Display) {
        let bits = u32::from(mapping.theirs.family_len());
        let key = MapInKey {
            peer: u32::from(peer.number()).to_be_bytes(),
            address: wide(mapping.theirs.base()),
        };
        let map_in = MapIn {
            base: wide(mapping.ours.base()),
            bits,
        };
        let map_out = MapOut {
            base: wide(mapping.theirs.base()),
            bits,
            peer: peer.number(),
            reserved: 0,
        };
        let (image, over) = (&mut self.image, &mut self.overflow);
        let inward = Lpm {
            bits: map_in_prefix(u32::from(mapping.theirs.bits())),
            data: key,
        };
        over.put(Table::MapIn, &mut image.map_in, (inward, map_in), what);
        let outward = longest(mapping.ours);
        over.put(Table::MapOut, &mut image.map_out, (outward, map_out), what);
    }

    /// Gateways may send all, other nodes replies only. An address that somebody has already is a
    /// mistake somewhere: the packet could not be told apart.
    fn sources(&mut self, id: &ClusterId, peer: &PeerView) {
        let gateways = peer
            .gateways
            .iter()
            .map(|a| (*a, source_kind::PEER_GATEWAY));
        let nodes = peer
            .nodes
            .iter()
            .filter(|a| !peer.gateways.contains(a))
            .map(|a| (*a, source_kind::PEER_NODE));
        for (outer, kind) in gateways.chain(nodes) {
            let Some(address) = outer.v4() else { continue };
            let key = SourceKey4 {
                address: address.octets(),
            };
            let source = Source {
                kind,
                peer: peer.number.number(),
            };
            let other = self.image.sources.get(&key).is_some_and(|s| *s != source);
            if other || outer == self.facts.outer {
                self.problem(
                    ProblemKind::PeerFault,
                    format!("peer {id}"),
                    format!("its outer address {outer} belongs to another node already"),
                );
                continue;
            }
            self.overflow.put(
                Table::Sources,
                &mut self.image.sources,
                (key, source),
                &outer,
            );
        }
    }

    fn route(&mut self, id: &ClusterId, peer: &PeerView, mut flags: u16) {
        let Some(their_number) = peer.our_number_there else {
            return;
        };
        let (own, known) = self.other_gateways(peer);
        if flags & route_flags::SESSION != 0 && self.gateway_takes(peer, known) {
            flags |= route_flags::HERE;
        }
        let heard = |gateway: &&Address| !peer.silent_gateways.contains(gateway);
        let heard = peer.gateways.iter().filter(heard).copied().collect();
        let (peer_gateways, peer_gateway_count) = gateways(heard);
        let (own_gateways, own_gateway_count) = gateways(own);
        if peer.acknowledged_nodes.contains(&self.facts.node) {
            flags |= route_flags::DIRECT_REPLY;
        }
        let route = Route {
            their_number: their_number.number(),
            flags,
            peer_gateway_count,
            own_gateway_count,
            peer_gateways,
            own_gateways,
            mtu: self.route_mtu(peer),
            reserved: 0,
        };
        let entry = (u32::from(peer.number.number()), route);
        let routes = &mut self.image.routes;
        self.overflow.put(Table::Routes, routes, entry, id);
    }
}

impl Compiler<'_> {
    /// What goes in one piece by a session, and before that between two nodes of ours. Where no session has told yet, as if
    /// its path were like this node's uplink.
    fn route_mtu(&self, peer: &PeerView) -> u16 {
        if peer.encryption != Encryption::Encrypted {
            return 0;
        }
        let by_session = self.facts.mtu.saturating_sub(SESSION_OVERHEAD);
        let by_tunnel = self.facts.mtu.saturating_sub(OVERHEAD);
        peer.mtu.unwrap_or(by_session).min(by_tunnel)
    }

    /// Gateways of other nodes that carry packets to it, and true; all of them, and false, where none is known to.
    fn other_gateways(&self, peer: &PeerView) -> (Vec<Address>, bool) {
        let all = self.view.gateways.iter();
        let others = all.filter(|(_, node)| **node != self.facts.node);
        let carry = others.clone();
        let carry = carry.filter(|(name, _)| peer.carried_by.contains(*name));
        let outer = |(_, node): (&GatewayName, &NodeName)| self.outer(node);
        let carry: Vec<Address> = carry.filter_map(outer).collect();
        if carry.is_empty() || peer.encryption == Encryption::Plain {
            (others.filter_map(outer).collect(), false)
        } else {
            (carry, true)
        }
    }

    /// Whether this node's gateway is given packets to it. Where no other one is known to take them they may as well wait here
    /// for a session.
    fn gateway_takes(&self, peer: &PeerView, others: bool) -> bool {
        self.facts.session != 0
            && match &self.facts.gateway {
                Gateway::Absent => false,
                Gateway::Away => !others,
                Gateway::Carries(peers) => !others || peers.contains(&peer.number.number()),
            }
    }
}

/// The first few in order of address, so that nodes with the same View agree.
fn gateways(mut all: Vec<Address>) -> ([V6; ROUTE_GATEWAYS], u16) {
    all.retain(|a| a.is_v4());
    all.sort_unstable();
    all.dedup();
    let mut chosen = [V6::default(); ROUTE_GATEWAYS];
    let mut count = 0;
    for (slot, address) in chosen.iter_mut().zip(all) {
        *slot = wide(address);
        count += 1;
    }
    (chosen, count)
}
