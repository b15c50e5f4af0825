//! Pure: every meaning that an address has here.

use causeway_proto::model::{
    Address, AddressKind, ClusterId, Identity, IdentityNumber, NodeName, PeerView, View, Whois,
};

use super::Facts;

struct Finder<'a> {
    view: &'a View,
    facts: &'a Facts,
}

fn bare(kind: AddressKind, cluster: &ClusterId, address: Address) -> Whois {
    Whois {
        kind,
        cluster: cluster.clone(),
        address,
        service: None,
        namespace: None,
        name: None,
        node: None,
        identity: None,
        service_account: None,
    }
}

/// What is known of `address`; empty when it means nothing here.
#[must_use]
pub fn whois(view: &View, facts: &Facts, address: Address) -> Vec<Whois> {
    let finder = Finder { view, facts };
    let mut found = finder.services(address);
    found.extend(finder.own(address));
    for (cluster, peer) in &view.peers {
        found.extend(finder.peer(cluster, peer, address));
    }
    found
}

impl Finder<'_> {
    fn services(&self, address: Address) -> Vec<Whois> {
        let of_import = |(name, import): (&_, &causeway_proto::model::Import)| {
            (import.vip == Some(address)).then(|| Whois {
                service: Some(Clone::clone(name)),
                ..bare(AddressKind::Vip, &self.view.cluster, address)
            })
        };
        self.view.imports.iter().filter_map(of_import).collect()
    }

    fn own(&self, address: Address) -> Vec<Whois> {
        let own = &self.view.cluster;
        let mut found: Vec<_> = self
            .workload(AddressKind::Workload, address)
            .into_iter()
            .collect();
        for mapping in &self.view.self_map {
            if let Some(theirs) = mapping.to_theirs(address) {
                let known = self.workload(AddressKind::SelfMapped, theirs);
                found.push(known.unwrap_or_else(|| bare(AddressKind::SelfMapped, own, theirs)));
            }
        }
        for (node, facts) in &self.view.nodes {
            if facts.addresses.contains(&address) {
                found.push(Whois {
                    name: Some(node.to_string()),
                    node: Some(node.clone()),
                    ..bare(AddressKind::Node, own, address)
                });
            }
        }
        found
    }

    fn workload(&self, kind: AddressKind, address: Address) -> Option<Whois> {
        let (number, node): (IdentityNumber, Option<NodeName>) =
            self.view.workloads.get(&address)?.clone();
        let identity: Option<&Identity> = self.view.identities.get(&number);
        let workload = self.facts.exports.workloads.get(&address);
        Some(Whois {
            namespace: identity.map(|i| i.namespace.clone()),
            name: workload.map(|w| w.name.clone()),
            node,
            identity: Some(number),
            service_account: identity.map(|i| i.service_account.clone()),
            ..bare(kind, &self.view.cluster, address)
        })
    }

    fn peer(&self, cluster: &ClusterId, peer: &PeerView, address: Address) -> Vec<Whois> {
        let mut found = Vec::new();
        let mapped = peer.mappings.iter().find_map(|m| m.to_theirs(address));
        if let Some(theirs) = mapped {
            // A headless endpoint is all that a peer tells of single addresses.
            let endpoints = self.view.imports.iter().find_map(|(service, import)| {
                let endpoint = import.endpoints.iter().find(|e| e.address == address)?;
                Some((service.clone(), endpoint.hostname.clone()))
            });
            let (service, name) = endpoints.unzip();
            found.push(Whois {
                namespace: service.as_ref().map(|s| s.namespace.clone()),
                service,
                name,
                ..bare(AddressKind::Mapped, cluster, theirs)
            });
        }
        if peer.gateways.contains(&address) {
            found.push(bare(AddressKind::Gateway, cluster, address));
        } else if peer.nodes.contains(&address) {
            found.push(bare(AddressKind::PeerNode, cluster, address));
        }
        found
    }
}
