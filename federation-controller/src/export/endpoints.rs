//! Pure: EndpointSlices to the endpoints of an export.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits;
use causeway_proto::model::{
    Address, Endpoint, EndpointPort, EndpointState, Export, ExportPort, Exports, NodeName,
    ProblemKind, ServiceName, Zone,
};
use k8s_openapi::api::discovery::v1::{self as discovery, EndpointSlice};

use super::service::protocol;
use super::{Problems, prefixes};
use crate::objects::{Key, Objects};

/// Which Service a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Slices that an implementation of this API wrote for imports: no endpoints of this cluster.
const SOURCE_LABEL: &str = "multicluster.kubernetes.io/source-cluster";

fn label<'a>(slice: &'a EndpointSlice, key: &str) -> Option<&'a str> {
    let labels = slice.metadata.labels.as_ref()?;
    labels.get(key).map(String::as_str)
}

/// Slices by the Service that they belong to.
pub(super) type Slices<'a> = BTreeMap<Key, Vec<(&'a Key, &'a EndpointSlice)>>;

/// Those of Services that exist here; the others are problems.
pub(super) fn by_service<'a>(objects: &'a Objects, problems: &mut Problems) -> Slices<'a> {
    let mut slices = Slices::new();
    for (key, slice) in &objects.slices {
        let subject = format!("EndpointSlice {}/{}", key.0, key.1);
        if label(slice, SOURCE_LABEL).is_some() {
            continue;
        }
        let Some(service) = label(slice, SERVICE_LABEL) else {
            let message =
                format!("has no label {SERVICE_LABEL}, so it belongs to no Service; left out");
            problems.bad(subject, message);
            continue;
        };
        let owner = (key.0.clone(), service.to_owned());
        if objects.services.contains_key(&owner) {
            slices.entry(owner).or_default().push((key, slice));
        } else {
            let message = format!("its Service {}/{service} does not exist; left out", key.0);
            problems.bad(subject, message);
        }
    }
    slices
}

/// Where endpoints may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) objects: &'a Objects,
    pub(super) exports: &'a Exports,
}

/// Endpoints that nothing can be delivered to, by address: reason and sentence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Unreachable(BTreeMap<Address, (&'static str, String)>);

/// Of them, how many are named.
const NAMED: usize = 3;

impl Unreachable {
    /// Reason and message of a condition.
    pub(crate) fn told(&self) -> Option<(&'static str, String)> {
        let (reason, _) = self.0.values().next()?;
        let sentences = self.0.values().map(|(_, sentence)| sentence.as_str());
        let mut message = sentences.take(NAMED).collect::<Vec<_>>().join(" ");
        let more = self.0.len().saturating_sub(NAMED);
        if more > 0 {
            message.push_str(&format!(" And {more} more endpoints."));
        }
        Some((reason, message))
    }

    /// Whether the export has no other endpoints.
    pub(crate) fn are_all(&self, export: &Export) -> bool {
        let mut endpoints = export.endpoints.iter();
        endpoints.all(|endpoint| self.0.contains_key(&endpoint.address))
    }
}

/// The endpoints of one service, sorted by address, and those that are not ready because nothing can be delivered to
/// them.
pub(super) fn of(
    slices: Option<&Vec<(&Key, &EndpointSlice)>>,
    place: &Place<'_>,
    service: &ServiceName,
    ports: &[ExportPort],
    headless: bool,
    problems: &mut Problems,
) -> (Vec<Endpoint>, Unreachable) {
    let mut found: BTreeMap<Address, Endpoint> = BTreeMap::new();
    let mut unreachable = Unreachable::default();
    for (key, slice) in slices.into_iter().flatten() {
        for mut endpoint in of_slice(key, slice, ports, problems) {
            let subject = format!("EndpointSlice {}/{}", key.0, key.1);
            if let Some((kind, reason, why)) = place.settle(&mut endpoint) {
                let address = endpoint.address;
                problems.add(kind, subject.as_str(), format!("endpoint {address} {why}"));
                // Behind a VIP an endpoint's own address is seen by nobody.
                if headless || kind != ProblemKind::OutsidePrefix {
                    let sentence = format!("Endpoint {address} of {subject} {why}.");
                    unreachable.0.insert(address, (reason, sentence));
                }
            }
            match found.get_mut(&endpoint.address) {
                Some(known) => join(known, endpoint),
                None => {
                    found.insert(endpoint.address, endpoint);
                }
            }
        }
    }
    if found.len() > limits::ENDPOINTS_PER_SERVICE {
        let message = format!(
            "has {} endpoints, {} are the most; the last by address are left out",
            found.len(),
            limits::ENDPOINTS_PER_SERVICE
        );
        problems.add(
            ProblemKind::LimitReached,
            format!("Service {service}"),
            message,
        );
    }
    let all = found.into_values();
    (
        all.take(limits::ENDPOINTS_PER_SERVICE).collect(),
        unreachable,
    )
}

impl Place<'_> {
    /// Fills in where the endpoint is. One that nothing can be delivered to is not ready: kind, reason and why.
    fn settle(&self, endpoint: &mut Endpoint) -> Option<(ProblemKind, &'static str, String)> {
        let address = endpoint.address;
        if endpoint.node.is_none() {
            let workload = self.exports.workloads.get(&address);
            let of_pod = workload.and_then(|workload| workload.node.clone());
            endpoint.node = of_pod.or_else(|| self.node_of(address));
        }
        let not_ready = |endpoint: &mut Endpoint| endpoint.state = EndpointState::NotReady;
        let Some(name) = endpoint.node.clone() else {
            not_ready(endpoint);
            let why = "is of no pod and no node of this cluster and has no nodeName, so nothing can be delivered to it; \
                       only endpoints on this cluster's nodes can be exported";
            return Some((ProblemKind::BadObject, "NoNode", why.to_owned()));
        };
        let Some(node) = self.exports.nodes.get(&name) else {
            not_ready(endpoint);
            let why = format!("is on node {name}, of which there is no Node; check its nodeName");
            return Some((ProblemKind::BadObject, "NoNode", why));
        };
        endpoint.zone = endpoint.zone.take().or_else(|| node.zone.clone());
        let agents = self.objects.agents.as_ref();
        if agents.is_some_and(|agents| !agents.contains(&name)) {
            not_ready(endpoint);
            let why = format!(
                "is on node {name}, which runs no agent, so nothing can be delivered to it; check the pods of the \
                 agent's DaemonSet and whether it tolerates the node's taints"
            );
            return Some((ProblemKind::BadObject, "NodeWithoutAgent", why));
        }
        let placed = node.addresses.contains(&address)
            || prefixes::holds(self.objects, self.exports, address);
        (!placed).then(|| {
            let why = "lies in no prefix of this cluster's pods or nodes, so peers cannot map it; add its prefix to \
                       spec.podPrefixes of ClusterConfiguration default";
            (
                ProblemKind::OutsidePrefix,
                "OutsidePodPrefixes",
                why.to_owned(),
            )
        })
    }

    fn node_of(&self, address: Address) -> Option<NodeName> {
        let mut nodes = self.exports.nodes.iter();
        let (name, _) = nodes.find(|(_, node)| node.addresses.contains(&address))?;
        Some(name.clone())
    }
}

/// One address in two slices, which hold different ports, or overlap while one replaces the other: the
/// union, and where they differ what the better state says, whichever comes first.
fn join(known: &mut Endpoint, mut other: Endpoint) {
    let rank = |endpoint: &Endpoint| match endpoint.state {
        EndpointState::Ready => 0,
        EndpointState::Draining => 1,
        EndpointState::NotReady => 2,
    };
    if rank(&other) < rank(known) {
        std::mem::swap(known, &mut other);
    }
    known.hostname = known.hostname.take().or(other.hostname);
    known.node = known.node.take().or(other.node);
    known.zone = known.zone.take().or(other.zone);
    for port in other.ports {
        let same = |p: &EndpointPort| (p.protocol, p.port) == (port.protocol, port.port);
        if !known.ports.iter().any(same) {
            known.ports.push(port);
        }
    }
    known.ports.sort_unstable();
}

fn of_slice(
    key: &Key,
    slice: &EndpointSlice,
    ports: &[ExportPort],
    problems: &mut Problems,
) -> Vec<Endpoint> {
    let subject = format!("EndpointSlice {}/{}", key.0, key.1);
    if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
        let message = format!(
            "addressType {:?} is not IPv4 or IPv6; left out",
            slice.address_type
        );
        problems.bad(subject, message);
        return Vec::new();
    }
    let targets = targets(&subject, slice, ports, problems);
    let endpoints = slice.endpoints.iter();
    endpoints
        .filter_map(|given| endpoint(&subject, given, &targets, problems))
        .collect()
}

/// For each port of the service that the slice's ports name, the number behind it.
fn targets(
    subject: &str,
    slice: &EndpointSlice,
    ports: &[ExportPort],
    problems: &mut Problems,
) -> Vec<EndpointPort> {
    let mut targets = BTreeSet::new();
    for given in slice.ports.iter().flatten() {
        let name = given.name.as_deref().filter(|name| !name.is_empty());
        let Some(protocol) = problems.parse(subject, protocol(given.protocol.as_deref())) else {
            continue;
        };
        let number = given.port.and_then(|port| u16::try_from(port).ok());
        let Some(target) = number.filter(|port| *port > 0) else {
            let message = format!(
                "port {} has no number from 1 to 65535; left out",
                name.unwrap_or("without a name")
            );
            problems.bad(subject, message);
            continue;
        };
        // A port that the Service does not have is another controller's business.
        let named = ports.iter().filter(|port| {
            port.protocol == protocol && port.name.as_ref().map(|n| n.as_str()) == name
        });
        targets.extend(named.map(|port| EndpointPort {
            protocol,
            port: port.port,
            target,
        }));
    }
    targets.into_iter().collect()
}

fn endpoint(
    slice: &str,
    given: &discovery::Endpoint,
    targets: &[EndpointPort],
    problems: &mut Problems,
) -> Option<Endpoint> {
    // All addresses of an endpoint are fungible, and consumers use the first (EndpointSlice API).
    let Some(first) = given.addresses.first() else {
        problems.bad(slice, "has an endpoint without an address; left out");
        return None;
    };
    let address: Address = problems.parse(slice, first.parse())?;
    let node = given.node_name.as_deref().filter(|name| !name.is_empty());
    let zone = given.zone.as_deref().filter(|zone| !zone.is_empty());
    Some(Endpoint {
        address,
        hostname: given.hostname.clone().filter(|name| !name.is_empty()),
        zone: zone.and_then(|zone| problems.parse(slice, zone.parse::<Zone>())),
        node: node.and_then(|name| problems.parse(slice, name.parse::<NodeName>())),
        state: state(given),
        ports: targets.to_vec(),
    })
}

/// A condition that is absent counts as `ready`; `serving` absent means what `ready` says.
fn state(given: &discovery::Endpoint) -> EndpointState {
    let conditions = given.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    match (ready, serving, conditions.terminating) {
        (true, ..) => EndpointState::Ready,
        (false, true, Some(true)) => EndpointState::Draining,
        _ => EndpointState::NotReady,
    }
}
