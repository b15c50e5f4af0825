//! Pure: what one cluster offers, as its controller derived it from Kubernetes objects.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Address, Namespace, NodeName, PortName, Prefix, Protocol, ServiceName, Timestamp, Zone,
};

/// All that this cluster offers: value 2 of the five.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exports {
    /// Accepted exports only; refused ones are conditions.
    pub services: BTreeMap<ServiceName, Export>,
    /// Pods (or machines) by address: what identity needs.
    pub workloads: BTreeMap<Address, Workload>,
    /// Namespaces that exist here, with their labels.
    pub namespaces: BTreeMap<Namespace, BTreeMap<String, String>>,
    /// Nodes by name.
    pub nodes: BTreeMap<NodeName, Node>,
}

/// One service offered by this cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Creation time of the ServiceExport: the oldest wins a conflict.
    pub created: Timestamp,
    /// A Service with `clusterIP: None`.
    pub headless: bool,
    /// At most `limits::PORTS_PER_SERVICE`; unique by (protocol, port) and by name.
    pub ports: Vec<ExportPort>,
    /// Session affinity.
    pub affinity: Affinity,
    /// `internalTrafficPolicy` of the Service.
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// `trafficDistribution` of the Service, as written.
    pub traffic_distribution: Option<String>,
    /// Families in the Service's order, at most two.
    pub ip_families: Vec<IpFamily>,
    /// `spec.exportedLabels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.exportedAnnotations`.
    pub annotations: BTreeMap<String, String>,
    /// Where clients of this cluster are sent.
    pub locality: Locality,
    /// What peers do when this cluster falls silent.
    pub on_loss: LossPolicy,
    /// Weight of this cluster among those that offer the service; 0 takes no new flows.
    pub weight: u16,
    /// Backends; at most `limits::ENDPOINTS_PER_SERVICE`.
    pub endpoints: Vec<Endpoint>,
}

/// A port that clients dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExportPort {
    /// The Service port's name, if it has one.
    pub name: Option<PortName>,
    /// Transport.
    pub protocol: Protocol,
    /// The number that clients dial, 1 to 65535.
    pub port: u16,
    /// `appProtocol` of the Service, as written.
    pub app_protocol: Option<String>,
}

/// One backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// In this cluster's numbering.
    pub address: Address,
    /// The endpoint's own hostname, if it has one.
    pub hostname: Option<String>,
    /// The node that it runs on; without one nothing can be delivered.
    pub node: Option<NodeName>,
    /// Topology zone.
    pub zone: Option<Zone>,
    /// Whether it takes new flows.
    pub state: EndpointState,
    /// For each port of the service that it serves, the number behind it.
    pub ports: Vec<EndpointPort>,
}

/// Whether an endpoint takes flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndpointState {
    /// Takes new flows.
    Ready,
    /// Terminating but serving: keeps the flows that it has.
    Draining,
    /// Takes nothing.
    NotReady,
}

/// The port behind a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointPort {
    /// Transport.
    pub protocol: Protocol,
    /// The service's port.
    pub port: u16,
    /// The endpoint's port.
    pub target: u16,
}

/// Session affinity of a service.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum Affinity {
    /// Each connection for itself.
    #[default]
    None,
    /// By the client's address, for so long after its last packet.
    ClientIp {
        /// Seconds, 1 to 86400.
        timeout_secs: u32,
    },
}

/// `internalTrafficPolicy`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum InternalTrafficPolicy {
    /// Any endpoint.
    #[default]
    Cluster,
    /// Endpoints of the client's node.
    Local,
}

/// An address family, in Kubernetes' spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpFamily {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

/// Which clusters a client's new connections go to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum Locality {
    /// The client's own cluster while it has a ready endpoint, others only when it has none.
    #[default]
    LocalFirst,
    /// All clusters by their weight and ready endpoints.
    Spread,
}

/// What peers do with a cluster's share when it falls silent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum LossPolicy {
    /// Out of the rings when the lease ends.
    #[default]
    Withdraw,
    /// Kept for ever.
    Keep,
    /// Kept, but used only where nobody else is left.
    FailoverOnly,
}

/// A pod, or a machine outside Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Workload {
    /// Its namespace.
    pub namespace: Namespace,
    /// The pod's name.
    pub name: String,
    /// Its service account.
    pub service_account: String,
    /// Allow-listed labels only.
    pub labels: BTreeMap<String, String>,
    /// Where it runs.
    pub node: Option<NodeName>,
}

/// A node of this cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Node {
    /// Addresses on the underlay (InternalIP), outer addresses of its tunnel packets.
    pub addresses: Vec<Address>,
    /// Prefixes of its pods (`spec.podCIDRs`).
    pub pod_prefixes: Vec<Prefix>,
    /// Topology zone.
    pub zone: Option<Zone>,
}

impl Export {
    /// How many endpoints take new flows.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.endpoints
            .iter()
            .filter(|e| e.state == EndpointState::Ready)
            .count()
    }
}

impl fmt::Display for ExportPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}:")?;
        }
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} created={}",
            if self.headless {
                "Headless"
            } else {
                "ClusterSetIP"
            },
            self.created.0
        )?;
        for port in &self.ports {
            write!(f, " {port}")?;
        }
        for e in &self.endpoints {
            let node = e.node.as_ref().map_or("-", NodeName::as_str);
            write!(f, "\n  {} on {node} {:?}", e.address, e.state)?;
            for p in &e.ports {
                write!(f, " {}>{}", p.port, p.target)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, export) in &self.services {
            writeln!(f, "export {name} {export}")?;
        }
        for (address, w) in &self.workloads {
            writeln!(
                f,
                "workload {address} {}/{} as {}",
                w.namespace, w.name, w.service_account
            )?;
        }
        for (name, node) in &self.nodes {
            let list = |v: Vec<String>| v.join(",");
            let addresses = list(node.addresses.iter().map(ToString::to_string).collect());
            let prefixes = list(node.pod_prefixes.iter().map(ToString::to_string).collect());
            writeln!(f, "node {name} at {addresses} pods {prefixes}")?;
        }
        Ok(())
    }
}
