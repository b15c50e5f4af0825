//! Pure: the EndpointSlices of an import, for those who read them: one source cluster each. They never carry the
//! label by which kube-proxy would take them for a Service's.
//!
//! Of a service with an address of its own each source cluster has one, and it holds that cluster's VIP as it appears
//! here and the ports that it takes dials to: who dials one reaches that cluster alone. Of a headless one they hold the
//! endpoints as they are dialled from here.

use std::collections::BTreeMap;

use causeway_proto::model::{
    Address, ClusterId, Import, ImportEndpoint, ImportPort, ImportShare, Liveness, Protocol,
    ServiceName, View,
};
use serde_json::{Value, json};

use super::labels::{is_host, is_qualified};
use super::usable_family;
use crate::seen::{SERVICE_LABEL, SOURCE_LABEL};
use crate::want::{Kind, MANAGED_BY, MARK, Target, Wanted};

/// Whose slices these are, to Kubernetes' own controllers.
const MANAGER_LABEL: (&str, &str) = (
    "endpointslice.kubernetes.io/managed-by",
    "controller.causeway.dev",
);
/// Whoever sets it, it would make a Service's endpoints of an import's.
const SERVICE_NAME: &str = "/metadata/labels/kubernetes.io~1service-name";
/// Endpoints of one slice: what Kubernetes' own controller puts in one.
const ENDPOINTS: usize = 100;
/// Parts of a slice's endpoints at most: enough for the most endpoints that an import has.
const PARTS: u64 = 4096;
/// Ports of one slice: Kubernetes' own bound.
const PORTS: usize = 100;

/// The slices of this import; none of a cluster that is silent, or that has none of its ports.
pub(super) fn of(
    view: &View,
    service: &ServiceName,
    import: &Import,
    owner: &Target,
) -> BTreeMap<Target, Wanted> {
    let mut slices = BTreeMap::new();
    let mut add = |cluster: &ClusterId, part: String, is_v4, ports, endpoints| {
        let wanted = slice(service, cluster, is_v4, ports, endpoints, owner);
        let name = name(service, cluster, &part);
        let namespace = service.namespace.as_str();
        slices.insert(Target::new(Kind::EndpointSlice, namespace, &name), wanted);
    };
    if import.headless {
        for (part, endpoints) in parts(import) {
            let ports = import.ports.iter().filter_map(|p| {
                let serves = |(proto, port, _): &&(Protocol, u16, u16)| {
                    (*proto, *port) == (p.protocol, p.port)
                };
                let target = part.ports.iter().find(serves)?.2;
                Some(port(p, target))
            });
            let ports = ports.take(PORTS).collect();
            let endpoints = endpoints.iter().map(|e| endpoint(e)).collect();
            let label = format!("{} {:?} {}", part.is_v4, part.ports, part.number);
            add(part.cluster, label, part.is_v4, ports, endpoints);
        }
    } else if let Some(vip) = import.vip.filter(|_| usable_family(import).is_some()) {
        for (cluster, share) in &import.shares {
            if share.liveness != Liveness::Withdrawn {
                let takes = |p: &&ImportPort| share.ports.contains(&(p.protocol, p.port));
                let ports = import.ports.iter().filter(takes).take(PORTS);
                let ports: Vec<Value> = ports.map(|p| port(p, p.port)).collect();
                if ports.is_empty() {
                    continue;
                }
                let address = seen_as(view, cluster, share.vip).unwrap_or(vip);
                let endpoints = vec![of_share(address, share)];
                add(cluster, String::new(), address.is_v4(), ports, endpoints);
            }
        }
    }
    slices
}

/// A cluster's VIP as it appears here; `None` while there is no mapping for it: then the import's own address serves.
fn seen_as(view: &View, cluster: &ClusterId, theirs: Address) -> Option<Address> {
    let mappings = match view.peers.get(cluster) {
        Some(peer) => &peer.mappings,
        None => &view.self_map,
    };
    mappings.iter().find_map(|m| m.to_ours(theirs))
}

/// Endpoints that go into one slice together.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part<'a> {
    cluster: &'a ClusterId,
    is_v4: bool,
    ports: &'a [(Protocol, u16, u16)],
    number: u64,
}

/// Endpoints of one cluster, family and set of ports, spread by their addresses over as many slices as it takes: an
/// endpoint that comes or goes changes one slice.
fn parts(import: &Import) -> BTreeMap<Part<'_>, Vec<&ImportEndpoint>> {
    let mut alike: BTreeMap<Part<'_>, Vec<&ImportEndpoint>> = BTreeMap::new();
    for e in &import.endpoints {
        let part = Part {
            cluster: &e.cluster,
            is_v4: e.address.is_v4(),
            ports: &e.ports,
            number: 0,
        };
        alike.entry(part).or_default().push(e);
    }
    let mut parts = BTreeMap::new();
    for (part, endpoints) in alike {
        let mut count = 1;
        let spread = loop {
            let mut spread: BTreeMap<u64, Vec<&ImportEndpoint>> = BTreeMap::new();
            for e in &endpoints {
                let number = hash(&e.address.bytes()) % count;
                spread.entry(number).or_default().push(e);
            }
            let fits = spread.values().all(|part| part.len() <= ENDPOINTS);
            if fits || count >= PARTS {
                break spread;
            }
            count *= 2;
        };
        for (number, mut endpoints) in spread {
            endpoints.truncate(ENDPOINTS);
            let number = count.saturating_add(number);
            parts.insert(Part { number, ..part }, endpoints);
        }
    }
    parts
}

/// FNV-1a: the same in every process and version, which names of objects must be.
fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    // The last bytes differ most, and FNV leaves them in the low bits only.
    hash ^ (hash >> 29)
}

fn name(service: &ServiceName, cluster: &ClusterId, part: &str) -> String {
    let number = hash(format!("{cluster} {part}").as_bytes());
    format!("{}-{cluster}-{:08x}", service.name(), number & 0xffff_ffff)
}

fn slice(
    service: &ServiceName,
    cluster: &ClusterId,
    is_v4: bool,
    ports: Vec<Value>,
    endpoints: Vec<Value>,
    owner: &Target,
) -> Wanted {
    let labels = [
        (SERVICE_LABEL, service.name()),
        (SOURCE_LABEL, cluster.as_str()),
        MANAGER_LABEL,
        MARK,
        MANAGED_BY,
    ];
    Wanted {
        body: Some(json!({
            "metadata": {"labels": BTreeMap::from(labels)},
            "addressType": if is_v4 { "IPv4" } else { "IPv6" },
            "ports": ports,
            "endpoints": endpoints,
        })),
        absent: vec![SERVICE_NAME],
        owner: Some(owner.clone()),
        ..Wanted::default()
    }
}

fn port(port: &ImportPort, number: u16) -> Value {
    let name = port.name.as_ref().map_or("", |name| name.as_str());
    let mut fields = json!({"name": name, "protocol": port.protocol.to_string(), "port": number});
    let spoken = port.app_protocol.as_ref().filter(|text| is_qualified(text));
    if let (Value::Object(fields), Some(spoken)) = (&mut fields, spoken) {
        fields.insert("appProtocol".to_owned(), json!(spoken));
    }
    fields
}

fn conditions(ready: bool) -> Value {
    json!({"ready": ready, "serving": ready, "terminating": false})
}

fn of_share(address: Address, share: &ImportShare) -> Value {
    json!({"addresses": [address.to_string()], "conditions": conditions(share.ready > 0)})
}

fn endpoint(endpoint: &ImportEndpoint) -> Value {
    let mut fields = json!({
        "addresses": [endpoint.address.to_string()],
        "conditions": conditions(true),
    });
    if let (Value::Object(fields), true) = (&mut fields, is_host(&endpoint.hostname)) {
        fields.insert("hostname".to_owned(), json!(endpoint.hostname));
    }
    fields
}
