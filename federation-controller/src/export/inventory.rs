//! Pure: what there is beside services: nodes, namespaces, workloads.

use std::collections::{BTreeMap, BTreeSet};

use super::Problems;
use crate::objects::{Objects, PodFacts};
use causeway_proto::limits;
use causeway_proto::model::{
    Address, Namespace, Node, NodeName, Prefix, ProblemKind, Workload, Zone,
};

/// Labels of pods that make identities. Others would make one per pod or per rollout
/// (`pod-template-hash`, versions), or tell peers what is none of their business.
pub const IDENTITY_LABELS: &[&str] = &[
    "app",
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/name",
    "app.kubernetes.io/part-of",
    "component",
    "k8s-app",
    "role",
    "tier",
];
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn nodes(objects: &Objects, problems: &mut Problems) -> BTreeMap<NodeName, Node> {
    let mut nodes = BTreeMap::new();
    for (name, object) in &objects.nodes {
        let subject = format!("Node {name}");
        let Some(name) = problems.parse(&subject, name.parse::<NodeName>()) else {
            continue;
        };
        let status = object.status.iter().flat_map(|s| s.addresses.iter());
        let internal = status.flatten().filter(|a| a.type_ == "InternalIP");
        let addresses: Vec<Address> = internal
            .filter_map(|a| problems.parse(&subject, a.address.parse()))
            .collect();
        if addresses.is_empty() {
            problems.bad(
                subject.as_str(),
                "has no address of type InternalIP in its status; nothing can be tunnelled to it",
            );
        }
        let spec = object.spec.clone().unwrap_or_default();
        let listed = spec.pod_cidrs.unwrap_or_default();
        let prefixes: BTreeSet<String> = listed.into_iter().chain(spec.pod_cidr).collect();
        let pod_prefixes = prefixes
            .iter()
            .filter_map(|p| problems.parse(&subject, p.parse::<Prefix>()))
            .collect();
        let labels = object.metadata.labels.as_ref();
        let zone = labels
            .and_then(|labels| labels.get(ZONE_LABEL))
            .and_then(|zone| problems.parse(&subject, zone.parse::<Zone>()));
        let node = Node {
            addresses,
            pod_prefixes,
            zone,
        };
        nodes.insert(name, node);
    }
    if nodes.len() > limits::NODES_PER_CLUSTER {
        let message = format!(
            "has {} nodes, {} are the most; the last by name are left out",
            nodes.len(),
            limits::NODES_PER_CLUSTER
        );
        problems.add(ProblemKind::LimitReached, "cluster", message);
        nodes = nodes.into_iter().take(limits::NODES_PER_CLUSTER).collect();
    }
    nodes
}

/// Those that are declared, and those that something stands in: an API server would have refused objects
/// in a namespace that does not exist.
pub(super) fn namespaces(
    objects: &Objects,
    problems: &mut Problems,
) -> BTreeMap<Namespace, BTreeMap<String, String>> {
    let keys = [
        objects.services.keys().collect::<Vec<_>>(),
        objects.slices.keys().collect(),
        objects.pods.keys().collect(),
        objects.exports.keys().collect(),
    ];
    let used = keys.iter().flatten().map(|(namespace, _)| namespace);
    let names: BTreeSet<&String> = objects.namespaces.keys().chain(used).collect();
    let mut namespaces = BTreeMap::new();
    for name in names {
        let subject = format!("Namespace {name}");
        let Some(parsed) = problems.parse(&subject, name.parse::<Namespace>()) else {
            continue;
        };
        let declared = objects.namespaces.get(name);
        let mut labels = declared
            .and_then(|n| n.metadata.labels.clone())
            .unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), name.clone());
        namespaces.insert(parsed, problems.labels(&subject, labels));
    }
    namespaces
}

/// Pods by address.
pub(super) fn workloads(objects: &Objects, problems: &mut Problems) -> BTreeMap<Address, Workload> {
    let mut workloads: BTreeMap<Address, Workload> = BTreeMap::new();
    for ((namespace, name), pod) in &objects.pods {
        let subject = format!("Pod {namespace}/{name}");
        if pod.addresses.is_empty() {
            continue;
        }
        let Some(namespace) = problems.parse(&subject, namespace.parse()) else {
            continue;
        };
        let workload = workload(&subject, namespace, name, pod, problems);
        for address in &pod.addresses {
            let Some(address) = problems.parse(&subject, address.parse()) else {
                continue;
            };
            if let Some(other) = workloads.get(&address) {
                let message = format!(
                    "has the address {address} of Pod {}/{} too, which keeps it",
                    other.namespace, other.name
                );
                problems.bad(subject.as_str(), message);
            } else {
                workloads.insert(address, workload.clone());
            }
        }
    }
    workloads
}

fn workload(
    subject: &str,
    namespace: Namespace,
    name: &str,
    pod: &PodFacts,
    problems: &mut Problems,
) -> Workload {
    let account = pod.service_account.clone();
    let node = pod.node.as_ref();
    Workload {
        namespace,
        name: name.to_owned(),
        service_account: account.unwrap_or_else(|| "default".to_owned()),
        labels: pod.labels.clone(),
        node: node.and_then(|node| problems.parse(subject, node.parse())),
    }
}
