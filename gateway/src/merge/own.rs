//! Pure: what the own second stage needs: exports with their ring generations, workloads, identities.

use std::collections::BTreeMap;

use causeway_proto::model::{
    Address, Allocations, EndpointState, Export, Exports, Identity, IdentityNumber, NodeName,
    OwnExport, OwnHeadless, ServiceName,
};

use crate::allot::identity_of;

pub(super) fn exports(
    exports: &Exports,
    allocations: &Allocations,
) -> BTreeMap<ServiceName, OwnExport> {
    let with_vip = exports.services.iter().filter_map(|(name, export)| {
        let vip = allocations.vips.get(name)?.value;
        let rings = allocations.rings.get(name);
        let port = |p: &causeway_proto::model::ExportPort| {
            let key = (p.protocol, p.port);
            Some((key, rings?.get(&key)?.clone()))
        };
        let own = OwnExport {
            vip,
            headless: export.headless,
            ports: export.ports.iter().filter_map(port).collect(),
            headless_endpoints: headless(export),
            affinity: export.affinity,
        };
        Some((name.clone(), own))
    });
    with_vip.collect()
}

fn headless(export: &Export) -> Vec<OwnHeadless> {
    if !export.headless {
        return Vec::new();
    }
    let there = export
        .endpoints
        .iter()
        .filter(|e| e.state != EndpointState::NotReady);
    let mut found: Vec<OwnHeadless> = there
        .filter_map(|e| {
            Some(OwnHeadless {
                address: e.address,
                node: e.node.clone()?,
                ports: e.ports.iter().map(|p| (p.protocol, p.target)).collect(),
                state: e.state,
            })
        })
        .collect();
    found.sort();
    found
}

pub(super) fn node_addresses(
    exports: &Exports,
    allocations: &Allocations,
) -> BTreeMap<NodeName, Address> {
    let held = allocations.nodes.iter();
    held.filter(|(node, _)| exports.nodes.contains_key(node))
        .map(|(node, held)| (node.clone(), held.value))
        .collect()
}

pub(super) fn workloads(
    exports: &Exports,
    allocations: &Allocations,
) -> BTreeMap<Address, (IdentityNumber, Option<NodeName>)> {
    let numbers: BTreeMap<&Identity, IdentityNumber> = allocations
        .identities
        .iter()
        .map(|(number, held)| (&held.value, *number))
        .collect();
    let each = exports.workloads.iter().map(|(address, workload)| {
        let number = numbers.get(&identity_of(workload)).copied();
        let number = number.unwrap_or(IdentityNumber::UNKNOWN);
        (*address, (number, workload.node.clone()))
    });
    each.collect()
}

pub(super) fn identities(allocations: &Allocations) -> BTreeMap<IdentityNumber, Identity> {
    let in_use = allocations.identities.iter();
    in_use
        .filter(|(_, held)| held.freed.is_none())
        .map(|(number, held)| (*number, held.value.clone()))
        .collect()
}
