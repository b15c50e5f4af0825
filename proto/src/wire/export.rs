//! Pure: Exports and what several messages share.

use std::collections::{BTreeMap, BTreeSet};

use super::field::{
    Code, Fault, InvalidWire, Read, address, at_most, code, contradiction, identity_number, labels,
    list, map, maybe, name, need, one, port, small, text,
};
use super::pb::model as pb;
use crate::limits;
use crate::model::{
    Address, Affinity, Endpoint, EndpointPort, Export, ExportPort, Exports, Identity,
    IdentityNumber, InternalTrafficPolicy, IpFamily, Locality, Mapping, Namespace, Node, NodeName,
    Prefix, Protocol, Revision, ServiceName, Timestamp, ViewRevision, Workload,
};

pub(super) fn addresses(items: &[Address]) -> Vec<Vec<u8>> {
    items.iter().map(|a| a.bytes().to_vec()).collect()
}

pub(super) fn text_of<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}

pub(super) fn texts<'a, T: ToString + 'a>(items: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    items.into_iter().map(ToString::to_string).collect()
}

impl From<&Prefix> for pb::Prefix {
    fn from(p: &Prefix) -> Self {
        Self {
            base: p.base().bytes().to_vec(),
            bits: p.bits().into(),
        }
    }
}

impl TryFrom<pb::Prefix> for Prefix {
    type Error = InvalidWire;
    fn try_from(p: pb::Prefix) -> Read<Self> {
        let base = one("base", p.base, address)?;
        // Above 255 is above 128 too.
        let bits = u8::try_from(p.bits).unwrap_or(u8::MAX);
        Self::new(base, bits).map_err(|e| Fault::Prefix(e).into())
    }
}

impl From<&Mapping> for pb::Mapping {
    fn from(m: &Mapping) -> Self {
        Self {
            theirs: Some((&m.theirs).into()),
            ours: Some((&m.ours).into()),
        }
    }
}

impl TryFrom<pb::Mapping> for Mapping {
    type Error = InvalidWire;
    fn try_from(m: pb::Mapping) -> Read<Self> {
        let theirs: Prefix = need("theirs", m.theirs, TryFrom::try_from)?;
        let ours: Prefix = need("ours", m.ours, TryFrom::try_from)?;
        if theirs.bits() != ours.bits() {
            return Err(contradiction("maps prefixes of different lengths"));
        }
        Ok(Self { theirs, ours })
    }
}

impl From<Revision> for pb::Revision {
    fn from(r: Revision) -> Self {
        Self {
            epoch: r.epoch,
            number: r.number,
        }
    }
}

impl From<pb::Revision> for Revision {
    fn from(r: pb::Revision) -> Self {
        Self {
            epoch: r.epoch,
            number: r.number,
        }
    }
}

impl From<ViewRevision> for pb::ViewRevision {
    fn from(r: ViewRevision) -> Self {
        Self {
            instance: r.instance,
            number: r.number,
        }
    }
}

impl From<pb::ViewRevision> for ViewRevision {
    fn from(r: pb::ViewRevision) -> Self {
        Self {
            instance: r.instance,
            number: r.number,
        }
    }
}

impl From<Affinity> for pb::Affinity {
    fn from(a: Affinity) -> Self {
        let client_ip_secs = match a {
            Affinity::None => 0,
            Affinity::ClientIp { timeout_secs } => timeout_secs,
        };
        Self { client_ip_secs }
    }
}

impl TryFrom<pb::Affinity> for Affinity {
    type Error = InvalidWire;
    fn try_from(a: pb::Affinity) -> Read<Self> {
        match a.client_ip_secs {
            0 => Ok(Self::None),
            timeout_secs @ 1..=86_400 => Ok(Self::ClientIp { timeout_secs }),
            more => Err(InvalidWire::from(Fault::Range {
                got: more.into(),
                rule: "1 to 86400 seconds",
            })
            .within("client_ip_secs")),
        }
    }
}

impl From<&ExportPort> for pb::ExportPort {
    fn from(p: &ExportPort) -> Self {
        Self {
            name: text_of(p.name.as_ref()),
            protocol: p.protocol.code(),
            port: p.port.into(),
            app_protocol: p.app_protocol.clone(),
        }
    }
}

impl TryFrom<pb::ExportPort> for ExportPort {
    type Error = InvalidWire;
    fn try_from(p: pb::ExportPort) -> Read<Self> {
        Ok(Self {
            name: maybe("name", p.name, name)?,
            protocol: one("protocol", p.protocol, code)?,
            port: one("port", p.port, port)?,
            app_protocol: maybe("app_protocol", p.app_protocol, text)?,
        })
    }
}

/// Ports of one service: each (protocol, port) and each name once.
pub(super) fn service_ports(items: Vec<pb::ExportPort>) -> Read<Vec<ExportPort>> {
    let ports: Vec<ExportPort> =
        list("ports", limits::PORTS_PER_SERVICE, items, TryFrom::try_from)?;
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for port in &ports {
        let named_twice = port.name.as_ref().is_some_and(|n| !names.insert(n));
        if named_twice || !numbers.insert((port.protocol, port.port)) {
            return Err(contradiction("repeats a port or its name").within("ports"));
        }
    }
    Ok(ports)
}

impl From<&EndpointPort> for pb::PortTarget {
    fn from(p: &EndpointPort) -> Self {
        Self::from(&(p.protocol, p.port, p.target))
    }
}

impl TryFrom<pb::PortTarget> for EndpointPort {
    type Error = InvalidWire;
    fn try_from(p: pb::PortTarget) -> Read<Self> {
        let (protocol, port, target) = p.try_into()?;
        Ok(Self {
            protocol,
            port,
            target,
        })
    }
}

impl From<&(Protocol, u16, u16)> for pb::PortTarget {
    fn from((protocol, port, target): &(Protocol, u16, u16)) -> Self {
        Self {
            protocol: protocol.code(),
            port: (*port).into(),
            target: (*target).into(),
        }
    }
}

impl TryFrom<pb::PortTarget> for (Protocol, u16, u16) {
    type Error = InvalidWire;
    fn try_from(p: pb::PortTarget) -> Read<Self> {
        Ok((
            one("protocol", p.protocol, code)?,
            one("port", p.port, port)?,
            one("target", p.target, port)?,
        ))
    }
}

/// What ServiceTraits holds, flat in several structs of the model.
pub(super) struct Traits {
    pub(super) affinity: Affinity,
    pub(super) internal_traffic_policy: InternalTrafficPolicy,
    pub(super) traffic_distribution: Option<String>,
    pub(super) ip_families: Vec<IpFamily>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) locality: Locality,
}

impl TryFrom<pb::ServiceTraits> for Traits {
    type Error = InvalidWire;
    fn try_from(t: pb::ServiceTraits) -> Read<Self> {
        Ok(Self {
            affinity: need("affinity", t.affinity, TryFrom::try_from)?,
            internal_traffic_policy: one(
                "internal_traffic_policy",
                t.internal_traffic_policy,
                code,
            )?,
            traffic_distribution: maybe("traffic_distribution", t.traffic_distribution, text)?,
            ip_families: list("ip_families", 2, t.ip_families, code)?,
            labels: one("labels", t.labels, labels)?,
            annotations: one("annotations", t.annotations, labels)?,
            locality: one("locality", t.locality, code)?,
        })
    }
}

macro_rules! traits_of {
    ($value:expr) => {{
        let value = $value;
        $crate::wire::pb::model::ServiceTraits {
            affinity: Some(value.affinity.into()),
            internal_traffic_policy: value.internal_traffic_policy.code(),
            traffic_distribution: value.traffic_distribution.clone(),
            ip_families: value.ip_families.iter().map(|f| f.code()).collect(),
            labels: value.labels.clone(),
            annotations: value.annotations.clone(),
            locality: value.locality.code(),
        }
    }};
}
pub(super) use traits_of;

impl From<&Endpoint> for pb::Endpoint {
    fn from(e: &Endpoint) -> Self {
        Self {
            address: e.address.bytes().to_vec(),
            hostname: e.hostname.clone(),
            node: text_of(e.node.as_ref()),
            zone: text_of(e.zone.as_ref()),
            state: e.state.code(),
            ports: e.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Endpoint> for Endpoint {
    type Error = InvalidWire;
    fn try_from(e: pb::Endpoint) -> Read<Self> {
        Ok(Self {
            address: one("address", e.address, address)?,
            hostname: maybe("hostname", e.hostname, text)?,
            node: maybe("node", e.node, name)?,
            zone: maybe("zone", e.zone, name)?,
            state: one("state", e.state, code)?,
            ports: list(
                "ports",
                limits::PORTS_PER_SERVICE,
                e.ports,
                TryFrom::try_from,
            )?,
        })
    }
}

impl From<(&ServiceName, &Export)> for pb::Export {
    fn from((service, e): (&ServiceName, &Export)) -> Self {
        Self {
            service: service.to_string(),
            created_ms: e.created.0,
            headless: e.headless,
            ports: e.ports.iter().map(Into::into).collect(),
            traits: Some(traits_of!(e)),
            on_loss: e.on_loss.code(),
            weight: e.weight.into(),
            endpoints: e.endpoints.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Export> for (ServiceName, Export) {
    type Error = InvalidWire;
    fn try_from(e: pb::Export) -> Read<Self> {
        let traits: Traits = need("traits", e.traits, TryFrom::try_from)?;
        let export = Export {
            created: Timestamp(e.created_ms),
            headless: e.headless,
            ports: service_ports(e.ports)?,
            affinity: traits.affinity,
            internal_traffic_policy: traits.internal_traffic_policy,
            traffic_distribution: traits.traffic_distribution,
            ip_families: traits.ip_families,
            labels: traits.labels,
            annotations: traits.annotations,
            locality: traits.locality,
            on_loss: one("on_loss", e.on_loss, code)?,
            weight: one("weight", e.weight, |n| small(n, "a weight of 0 to 65535"))?,
            endpoints: list(
                "endpoints",
                limits::ENDPOINTS_PER_SERVICE,
                e.endpoints,
                TryFrom::try_from,
            )?,
        };
        Ok((one("service", e.service, name)?, export))
    }
}

impl From<(&Address, &Workload)> for pb::Workload {
    fn from((address, w): (&Address, &Workload)) -> Self {
        Self {
            address: address.bytes().to_vec(),
            namespace: w.namespace.to_string(),
            name: w.name.clone(),
            service_account: w.service_account.clone(),
            labels: w.labels.clone(),
            node: text_of(w.node.as_ref()),
        }
    }
}

impl TryFrom<pb::Workload> for (Address, Workload) {
    type Error = InvalidWire;
    fn try_from(w: pb::Workload) -> Read<Self> {
        let workload = Workload {
            namespace: one("namespace", w.namespace, name)?,
            name: one("name", w.name, text)?,
            service_account: one("service_account", w.service_account, text)?,
            labels: one("labels", w.labels, labels)?,
            node: maybe("node", w.node, name)?,
        };
        Ok((one("address", w.address, address)?, workload))
    }
}

impl From<(&NodeName, &Node)> for pb::Node {
    fn from((name, n): (&NodeName, &Node)) -> Self {
        Self {
            name: name.to_string(),
            addresses: addresses(&n.addresses),
            pod_prefixes: n.pod_prefixes.iter().map(Into::into).collect(),
            zone: text_of(n.zone.as_ref()),
        }
    }
}

impl TryFrom<pb::Node> for (NodeName, Node) {
    type Error = InvalidWire;
    fn try_from(n: pb::Node) -> Read<Self> {
        let max = limits::PREFIXES_PER_CLUSTER;
        let node = Node {
            addresses: list("addresses", max, n.addresses, address)?,
            pod_prefixes: list("pod_prefixes", max, n.pod_prefixes, TryFrom::try_from)?,
            zone: maybe("zone", n.zone, name)?,
        };
        Ok((one("name", n.name, name)?, node))
    }
}

impl From<(&Namespace, &BTreeMap<String, String>)> for pb::NamespaceLabels {
    fn from((namespace, labels): (&Namespace, &BTreeMap<String, String>)) -> Self {
        Self {
            namespace: namespace.to_string(),
            labels: labels.clone(),
        }
    }
}

impl TryFrom<pb::NamespaceLabels> for (Namespace, BTreeMap<String, String>) {
    type Error = InvalidWire;
    fn try_from(n: pb::NamespaceLabels) -> Read<Self> {
        Ok((
            one("namespace", n.namespace, name)?,
            one("labels", n.labels, labels)?,
        ))
    }
}

impl From<&Exports> for pb::Exports {
    fn from(e: &Exports) -> Self {
        Self {
            services: e.services.iter().map(Into::into).collect(),
            workloads: e.workloads.iter().map(Into::into).collect(),
            namespaces: e.namespaces.iter().map(Into::into).collect(),
            nodes: e.nodes.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Exports> for Exports {
    type Error = InvalidWire;
    fn try_from(e: pb::Exports) -> Read<Self> {
        let each = TryFrom::try_from;
        Ok(Self {
            services: map("services", limits::SERVICES, e.services, TryFrom::try_from)?,
            workloads: map("workloads", limits::WORKLOADS, e.workloads, each)?,
            namespaces: map("namespaces", limits::PARTS, e.namespaces, TryFrom::try_from)?,
            nodes: map(
                "nodes",
                limits::NODES_PER_CLUSTER,
                e.nodes,
                TryFrom::try_from,
            )?,
        })
    }
}

impl From<&Identity> for pb::Identity {
    fn from(i: &Identity) -> Self {
        Self {
            namespace: i.namespace.to_string(),
            service_account: i.service_account.clone(),
            labels: i.labels.clone(),
        }
    }
}

impl TryFrom<pb::Identity> for Identity {
    type Error = InvalidWire;
    fn try_from(i: pb::Identity) -> Read<Self> {
        Ok(Self {
            namespace: one("namespace", i.namespace, name)?,
            service_account: one("service_account", i.service_account, text)?,
            labels: one("labels", i.labels, labels)?,
        })
    }
}

impl From<(&IdentityNumber, &Identity)> for pb::NumberedIdentity {
    fn from((number, identity): (&IdentityNumber, &Identity)) -> Self {
        Self {
            number: number.0.into(),
            identity: Some(identity.into()),
        }
    }
}

impl TryFrom<pb::NumberedIdentity> for (IdentityNumber, Identity) {
    type Error = InvalidWire;
    fn try_from(i: pb::NumberedIdentity) -> Read<Self> {
        Ok((
            one("number", i.number, identity_number)?,
            need("identity", i.identity, TryFrom::try_from)?,
        ))
    }
}

/// `HOST:PORT` of gateways.
pub(super) fn dial_addresses(field: &str, items: Vec<String>) -> Read<Vec<String>> {
    at_most(field, items.len(), limits::GATEWAYS_PER_CLUSTER)?;
    list(field, limits::GATEWAYS_PER_CLUSTER, items, text)
}
