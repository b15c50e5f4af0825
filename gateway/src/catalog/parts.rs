//! Pure: from exports and allocations to what peers may know of this cluster, part by part.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::NODES_PER_CLUSTER;
use causeway_proto::model::{
    Address, Allocations, ClusterId, ClusterPart, EndpointPort, EndpointState, Export, Exports,
    GatewayAddress, GatewayName, HeadlessEndpoint, Identity, IdentityNumber, Namespace,
    NamespacePart, Part, PartKey, Prefix, ServiceName, ServiceOffer, TrustBundle, TrustState, Zone,
};

use crate::allot::identity_of;

/// What the leader makes its parts from.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    /// What the controller offers.
    pub exports: &'a Exports,
    /// What is in force, acknowledged.
    pub allocations: &'a Allocations,
    /// Whom this cluster trusts and whom it has cut off.
    pub trust: &'a TrustState,
    /// Own gateways.
    pub gateways: &'a BTreeMap<GatewayName, GatewayAddress>,
    /// Own prefixes.
    pub prefixes: &'a [Prefix],
    /// Peers towards which plain packets are allowed.
    pub plain_with: &'a BTreeSet<ClusterId>,
    /// Peers that it vouches for.
    pub introductions: &'a BTreeMap<ClusterId, TrustBundle>,
}

/// All parts. `before` are those of the last revision: ready counts move only when they have moved far.
#[must_use]
pub fn parts(local: Local<'_>, before: &BTreeMap<PartKey, Part>) -> BTreeMap<PartKey, Part> {
    let mut namespaces: BTreeMap<Namespace, NamespacePart> = BTreeMap::new();
    let numbers = numbers(local.allocations);
    for (name, export) in &local.exports.services {
        let Some(vip) = local.allocations.vips.get(name) else {
            continue;
        };
        let key = PartKey::Namespace(name.namespace.clone());
        let old = match before.get(&key) {
            Some(Part::Namespace(part)) => part.services.get(name),
            _ => None,
        };
        let offer = offer(export, vip.value, local.exports, &numbers, old);
        let part = namespaces
            .entry(name.namespace.clone())
            .or_insert_with(|| empty(name));
        part.services.insert(name.clone(), offer);
    }
    for (number, held) in &local.allocations.identities {
        if held.freed.is_none()
            && let Some(part) = namespaces.get_mut(&held.value.namespace)
        {
            part.identities.insert(*number, held.value.clone());
        }
    }
    let parts = namespaces.into_iter();
    let mut all: BTreeMap<PartKey, Part> = parts
        .map(|(name, part)| (PartKey::Namespace(name), Part::Namespace(part)))
        .collect();
    all.insert(PartKey::Cluster, Part::Cluster(cluster(local)));
    all
}

fn empty(name: &ServiceName) -> NamespacePart {
    NamespacePart {
        namespace: name.namespace.clone(),
        services: BTreeMap::new(),
        identities: BTreeMap::new(),
    }
}

fn numbers(allocations: &Allocations) -> BTreeMap<&Identity, IdentityNumber> {
    let in_use = allocations
        .identities
        .iter()
        .filter(|(_, h)| h.freed.is_none());
    in_use.map(|(n, h)| (&h.value, *n)).collect()
}

fn cluster(local: Local<'_>) -> ClusterPart {
    let nodes = local.exports.nodes.iter().take(NODES_PER_CLUSTER);
    let peers = local.allocations.peers.iter();
    ClusterPart {
        gateways: local.gateways.clone(),
        nodes: nodes
            .map(|(n, node)| (n.clone(), node.addresses.clone()))
            .collect(),
        prefixes: local.prefixes.to_vec(),
        plain_with: local.plain_with.clone(),
        numbers: peers
            .filter(|(_, p)| p.freed.is_none())
            .map(|(id, p)| (id.clone(), p.value.number))
            .collect(),
        revocations: local.trust.revocations.clone(),
        introductions: local.introductions.clone(),
    }
}

fn offer(
    export: &Export,
    vip: Address,
    exports: &Exports,
    numbers: &BTreeMap<&Identity, IdentityNumber>,
    before: Option<&ServiceOffer>,
) -> ServiceOffer {
    let usable = |e: &&causeway_proto::model::Endpoint| {
        e.state == EndpointState::Ready && e.node.is_some() && !e.ports.is_empty()
    };
    let mut ready: BTreeMap<Option<Zone>, u32> = BTreeMap::new();
    for endpoint in export.endpoints.iter().filter(usable) {
        let count = ready.entry(endpoint.zone.clone()).or_default();
        *count = count.saturating_add(1);
    }
    for (zone, count) in &mut ready {
        let old = before.and_then(|offer| offer.ready.get(zone));
        *count = coarse(old.copied().unwrap_or(0), *count);
    }
    let identities = export.endpoints.iter().filter_map(|e| {
        let workload = exports.workloads.get(&e.address)?;
        numbers.get(&identity_of(workload)).copied()
    });
    let mut endpoints: Vec<HeadlessEndpoint> = Vec::new();
    if export.headless {
        endpoints.extend(export.endpoints.iter().filter(usable).map(headless));
        endpoints.sort();
    }
    ServiceOffer {
        created: export.created,
        vip,
        headless: export.headless,
        ports: export.ports.clone(),
        ready,
        backend_identities: identities.collect(),
        endpoints,
        affinity: export.affinity,
        internal_traffic_policy: export.internal_traffic_policy,
        traffic_distribution: export.traffic_distribution.clone(),
        ip_families: export.ip_families.clone(),
        labels: export.labels.clone(),
        annotations: export.annotations.clone(),
        locality: export.locality,
        on_loss: export.on_loss,
        weight: export.weight,
    }
}

/// The form in which a headless endpoint is told.
pub(crate) fn headless(endpoint: &causeway_proto::model::Endpoint) -> HeadlessEndpoint {
    let port = |p: &EndpointPort| (p.protocol, p.port, p.target);
    HeadlessEndpoint {
        address: endpoint.address,
        hostname: endpoint.hostname.clone(),
        ports: endpoint.ports.iter().map(port).collect(),
    }
}

/// A ready count in powers of two, which stays until the true one is a quarter outside its range: one endpoint
/// more or less is mostly no news. Only none and some are always told apart.
fn coarse(before: u32, count: u32) -> u32 {
    if count == 0 {
        return 0;
    }
    let low = before.saturating_sub(before / 4);
    let high = before.saturating_mul(2).saturating_add(before / 2);
    if before > 0 && (low..=high).contains(&count) {
        return before;
    }
    1u32.checked_shl(count.ilog2()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_coarse_and_sticky() {
        let steps: Vec<u32> = [3, 4, 5, 6, 3, 2, 1, 0, 1, 5, 9, 10, 11]
            .iter()
            .scan(0, |held, count| {
                *held = coarse(*held, *count);
                Some(*held)
            })
            .collect();
        assert_eq!(steps, [2, 2, 2, 4, 4, 2, 1, 0, 1, 4, 4, 4, 8]);
        assert_eq!(coarse(0, u32::MAX), 1 << 31);
    }
}
