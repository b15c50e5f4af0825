//! Pure: which of this cluster's gateways carry packets to which peers, as they tell each other by way of the leader: agents
//! give packets to those that do. One that leaves says so by carrying none; one that is silent is taken to carry none.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{Carries, GatewayName, Node, NodeName, OwnGateway};

use super::Gateway;
use crate::now::Now;

impl Gateway {
    /// What this gateway carries.
    #[must_use]
    pub fn carries(&self) -> &Carries {
        &self.carries
    }

    /// The same, by the peers' numbers here.
    pub fn carries_to(&mut self, carried: &BTreeMap<u16, u16>) {
        let peers = self.ledger.in_force().peers.iter();
        let each = peers.filter_map(|(id, allotted)| {
            let mtu = carried.get(&allotted.value.number.number())?;
            Some((id.clone(), *mtu))
        });
        let carries: Carries = each.collect();
        self.dirty |= carries != self.carries;
        self.carries = carries;
    }

    /// These peers, by their numbers here, were heard at most `age_ms` ago by the way that packets go: the second evidence of
    /// life of those whose packets are encrypted.
    pub fn data_heard(&mut self, numbers: &BTreeSet<u16>, age_ms: u64, now: Now) {
        let allotted = &self.ledger.in_force().peers;
        for (id, peer) in allotted {
            if numbers.contains(&peer.value.number.number())
                && let Some(peer) = self.catalog.peer_mut(id)
            {
                let before = peer.life.liveness(now);
                peer.life.packet(age_ms, now);
                self.dirty |= peer.life.liveness(now) != before;
            }
        }
    }

    /// This gateway stops soon: peers better send by another.
    pub fn leave_soon(&mut self, now: Now) {
        for (session, _) in self.sessions.values_mut() {
            session.leave_soon(now);
        }
    }

    /// A follower's word.
    pub fn follower_carries(&mut self, name: &GatewayName, carries: Carries) {
        if self.is_leader() {
            self.carried_by(name, carries);
        }
    }

    /// Another gateway of this cluster says nothing: the leader to a follower, or a follower to the leader.
    pub fn gateway_quiet(&mut self, name: &GatewayName) {
        self.carried_by(name, Carries::new());
    }

    fn carried_by(&mut self, name: &GatewayName, carries: Carries) {
        if let Some(gateway) = self.gateways.get_mut(name) {
            self.dirty |= gateway.carries != carries;
            gateway.carries = carries;
        }
    }

    /// Own gateways: as they or the leader told, else a gateway runs where its outer address is.
    pub(super) fn gateways(&self) -> BTreeMap<GatewayName, OwnGateway> {
        let mut all = BTreeMap::new();
        let publication = self.publication.iter();
        let known: Vec<_> = publication.flat_map(|p| &p.exports.nodes).collect();
        for (name, address) in self.own_gateways() {
            let there = |(_, node): &&(&NodeName, &Node)| node.addresses.contains(&address.tunnel);
            let node = known.iter().find(there).map(|(node, _)| (*node).clone());
            let found = node.map(|node| OwnGateway {
                node,
                carries: Carries::new(),
            });
            let gateway = self.gateways.get(&name).cloned().or(found);
            all.extend(gateway.map(|gateway| (name, gateway)));
        }
        let me = OwnGateway {
            node: self.settings.node.clone(),
            carries: self.carries.clone(),
        };
        all.insert(self.settings.gateway.clone(), me);
        all
    }
}
