//! Pure: which prefixes this cluster's pods have: by configuration, by `spec.podCIDRs` of its Nodes, and where neither
//! says anything by the addresses that pods have.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::PREFIXES_PER_CLUSTER;
use causeway_proto::model::{Address, Exports, NodeName, Prefix, ProblemKind};

use super::Problems;
use crate::objects::Objects;

/// What is taken for the prefix of an address, narrowest first, in bits of 128: /24, /20, /16 of IPv4; of IPv6 as
/// many.
const WIDTHS: [[u8; 2]; 3] = [[120, 64], [116, 56], [112, 48]];
/// Pods that are named.
const NAMED: usize = 3;

/// Whether anybody has said which prefixes pods have.
fn is_told(objects: &Objects, exports: &Exports) -> bool {
    let mut nodes = exports.nodes.values();
    !objects.pod_prefixes.is_empty() || nodes.any(|node| !node.pod_prefixes.is_empty())
}

/// Where nobody has said it, the prefixes of the addresses that a node's pods have are its.
pub(super) fn fill_in(objects: &Objects, exports: &mut Exports) {
    if is_told(objects, exports) {
        return;
    }
    let mut found: BTreeMap<NodeName, BTreeSet<Prefix>> = BTreeMap::new();
    for widths in WIDTHS {
        found.clear();
        for (address, workload) in &exports.workloads {
            let node = workload.node.as_ref();
            let node = node.filter(|node| exports.nodes.contains_key(*node));
            if let (Some(node), Some(prefix)) = (node, around(*address, widths)) {
                found.entry(node.clone()).or_default().insert(prefix);
            }
        }
        let all: BTreeSet<&Prefix> = found.values().flatten().collect();
        if all.len() <= PREFIXES_PER_CLUSTER {
            break;
        }
    }
    for (name, prefixes) in found {
        if let Some(node) = exports.nodes.get_mut(&name) {
            node.pod_prefixes = prefixes.into_iter().collect();
        }
    }
}

fn around(address: Address, [v4, v6]: [u8; 2]) -> Option<Prefix> {
    let bits = if address.is_v4() { v4 } else { v6 };
    let mask = u128::MAX << (128u32.saturating_sub(u32::from(bits)));
    let base = u128::from_be_bytes(address.bytes()) & mask;
    Prefix::new(Address::from_bytes(base.to_be_bytes()), bits).ok()
}

/// Whether peers can map the address.
pub(super) fn holds(objects: &Objects, exports: &Exports, address: Address) -> bool {
    let nodes = exports.nodes.values();
    let of_nodes = nodes.flat_map(|node| &node.pod_prefixes);
    let mut all = objects.pod_prefixes.iter().chain(of_nodes);
    // Without a word about prefixes nothing can be said against an address.
    !is_told(objects, exports) || all.any(|prefix| prefix.contains(address))
}

/// Pods that peers cannot map.
pub(super) fn judge(objects: &Objects, exports: &Exports, problems: &mut Problems) {
    let outside = exports.workloads.iter();
    let outside = outside.filter(|(address, _)| !holds(objects, exports, **address));
    let mut count = 0usize;
    let mut named = Vec::new();
    for (address, workload) in outside {
        count = count.saturating_add(1);
        if named.len() < NAMED {
            named.push(format!(
                "{}/{} {address}",
                workload.namespace, workload.name
            ));
        }
    }
    if count > 0 {
        let message = format!(
            "pods with addresses outside the prefixes of this cluster's pods: {count} ({}{}); they cannot talk to other \
             clusters; add their prefixes to spec.podPrefixes of ClusterConfiguration default",
            named.join(", "),
            if count > NAMED { ", ..." } else { "" }
        );
        problems.add(ProblemKind::OutsidePrefix, "cluster", message);
    }
}
