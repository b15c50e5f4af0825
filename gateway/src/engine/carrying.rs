//! Pure: which of this cluster's gateways carry packets to which peers, as they tell each other by way of the leader: agents
//! give packets to those that do. One that leaves says so by carrying none; one that is silent is taken to carry none.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{ClusterId, GatewayName, Node, NodeName, OwnGateway};

use super::Gateway;
use crate::now::Now;

impl Gateway {
    /// Peers that this gateway has a session with by which packets go.
    #[must_use]
    pub fn carries(&self) -> &BTreeSet<ClusterId> {
        &self.carries
    }

    /// The same, by their numbers here.
    pub fn carries_to(&mut self, numbers: &BTreeSet<u16>) {
        let peers = self.ledger.in_force().peers.iter();
        let carried =
            peers.filter(|(_, allotted)| numbers.contains(&allotted.value.number.number()));
        let carries: BTreeSet<ClusterId> = carried.map(|(id, _)| id.clone()).collect();
        self.dirty |= carries != self.carries;
        self.carries = carries;
    }

    /// This gateway stops soon: peers better send by another.
    pub fn leave_soon(&mut self, now: Now) {
        for (session, _) in self.sessions.values_mut() {
            session.leave_soon(now);
        }
    }

    /// A follower's word.
    pub fn follower_carries(&mut self, name: &GatewayName, carries: BTreeSet<ClusterId>) {
        if self.is_leader() {
            self.carried_by(name, carries);
        }
    }

    /// Another gateway of this cluster says nothing: the leader to a follower, or a follower to the leader.
    pub fn gateway_quiet(&mut self, name: &GatewayName) {
        self.carried_by(name, BTreeSet::new());
    }

    fn carried_by(&mut self, name: &GatewayName, carries: BTreeSet<ClusterId>) {
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
                carries: BTreeSet::new(),
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
