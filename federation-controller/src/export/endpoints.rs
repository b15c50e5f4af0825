//! Pure: EndpointSlices to the endpoints of an export.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits;
use causeway_proto::model::{
    Address, Endpoint, EndpointPort, EndpointState, ExportPort, Exports, Node, NodeName,
    ProblemKind, ServiceName, Zone,
};
use k8s_openapi::api::discovery::v1::{self as discovery, EndpointSlice};

use super::Problems;
use super::service::protocol;
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

/// The endpoints of one service, sorted by address.
pub(super) fn of(
    slices: Option<&Vec<(&Key, &EndpointSlice)>>,
    exports: &Exports,
    service: &ServiceName,
    ports: &[ExportPort],
    problems: &mut Problems,
) -> Vec<Endpoint> {
    let mut found: BTreeMap<Address, Endpoint> = BTreeMap::new();
    for (key, slice) in slices.into_iter().flatten() {
        for endpoint in of_slice(exports, key, slice, ports, problems) {
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
    all.take(limits::ENDPOINTS_PER_SERVICE).collect()
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
    exports: &Exports,
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
        .filter_map(|given| endpoint(exports, &subject, given, &targets, problems))
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
    exports: &Exports,
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
    let workload = exports.workloads.get(&address);
    let named = given.node_name.as_deref().filter(|name| !name.is_empty());
    let node = match named {
        Some(name) => problems.parse(slice, name.parse::<NodeName>()),
        None => workload.and_then(|workload| workload.node.clone()),
    };
    let mut state = state(given);
    let place = node.as_ref().and_then(|name| exports.nodes.get(name));
    match &node {
        None => {
            let message = format!(
                "endpoint {address} has no nodeName: it cannot be delivered to and counts as not ready"
            );
            problems.bad(slice, message);
            state = EndpointState::NotReady;
        }
        Some(name) if place.is_none() => {
            let message =
                format!("endpoint {address} is on node {name}, of which there is no Node");
            problems.bad(slice, message);
        }
        Some(_) => {}
    }
    let at_place = place.is_some_and(|place| holds(place, address));
    if !at_place && !is_placed(exports, address) {
        let message = format!(
            "endpoint {address} lies in no Node's podCIDRs and is no Node's address, so peers cannot map it"
        );
        problems.add(ProblemKind::OutsidePrefix, slice, message);
    }
    let own_zone = given.zone.as_deref().filter(|zone| !zone.is_empty());
    let zone = own_zone.and_then(|zone| problems.parse(slice, zone.parse::<Zone>()));
    Some(Endpoint {
        address,
        hostname: given.hostname.clone().filter(|name| !name.is_empty()),
        zone: zone.or_else(|| place.and_then(|place| place.zone.clone())),
        node,
        state,
        ports: targets.to_vec(),
    })
}

/// Without a word about prefixes nothing can be said against an address.
fn is_placed(exports: &Exports, address: Address) -> bool {
    let mut nodes = exports.nodes.values();
    let silent = nodes.clone().all(|node| node.pod_prefixes.is_empty());
    silent || nodes.any(|node| holds(node, address))
}

fn holds(node: &Node, address: Address) -> bool {
    node.addresses.contains(&address) || node.pod_prefixes.iter().any(|p| p.contains(address))
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
