//! Pure: what an API server says, in the few words that cases ask about.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The cluster that a slice of ours speaks of.
pub const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";
/// The imported service that a slice of ours belongs to.
pub const MCS_SERVICE: &str = "multicluster.kubernetes.io/service-name";
/// What makes kube-proxy and CoreDNS take a slice for a Service's own.
pub const OWN_SERVICE: &str = "kubernetes.io/service-name";
/// Who keeps a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// An object read into one of the types below.
pub fn read<T: for<'a> Deserialize<'a>>(value: &Value) -> anyhow::Result<T> {
    Ok(T::deserialize(value)?)
}

/// The part of an object that all have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Unique in its namespace
    pub name: String,
    /// Never the same again
    pub uid: String,
    /// Changes with every write
    pub resource_version: String,
    /// When it was made
    pub creation_timestamp: String,
    /// When its deletion was asked for
    pub deletion_timestamp: Option<String>,
    /// Who must agree to its deletion
    pub finalizers: Vec<String>,
    /// By key
    pub labels: BTreeMap<String, String>,
    /// By key
    pub annotations: BTreeMap<String, String>,
    /// With whom it goes
    pub owner_references: Vec<Owner>,
}

/// With whom an object goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    /// Kind of the owner
    pub kind: String,
    /// Its name
    pub name: String,
    /// Whether it is the one that keeps it
    pub controller: bool,
}

/// One condition of a status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// `Valid`, `Ready`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False`, `Unknown`
    pub status: String,
    /// One word, or several joined by commas
    pub reason: String,
    /// For people
    pub message: String,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition {
            kind,
            status,
            reason,
            message,
        } = self;
        write!(f, "{kind}={status}/{reason} ({message})")
    }
}

/// The conditions of any object.
#[must_use]
pub fn conditions(object: &Value) -> Vec<Condition> {
    object
        .pointer("/status/conditions")
        .and_then(|list| Vec::deserialize(list).ok())
        .unwrap_or_default()
}

/// One condition of an object.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> Option<Condition> {
    conditions(object).into_iter().find(|c| c.kind == kind)
}

/// All conditions in one line.
#[must_use]
pub fn shown(conditions: &[Condition]) -> String {
    if conditions.is_empty() {
        return "no conditions".to_owned();
    }
    let all = conditions.iter().map(Condition::to_string);
    all.collect::<Vec<_>>().join(", ")
}

/// A port of a Service or of an import.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// Empty for none
    pub name: String,
    /// Empty for TCP
    pub protocol: String,
    /// As clients dial it
    pub port: u16,
    /// What is spoken on it
    pub app_protocol: Option<String>,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.name, self.protocol, self.port)
    }
}

/// A service of the clusterset.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Import {
    /// Name, labels
    pub metadata: Metadata,
    /// What it is
    pub spec: ImportSpec,
    /// From whom it is
    pub status: ImportStatus,
}

/// `spec` of an import.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImportSpec {
    /// `ClusterSetIP` or `Headless`
    #[serde(rename = "type")]
    pub kind: String,
    /// At most one of each family
    pub ips: Vec<String>,
    /// `IPv4`, `IPv6`, as `ips`
    pub ip_families: Vec<String>,
    /// The union of the exporters'
    pub ports: Vec<Port>,
    /// `None` or `ClientIP`
    pub session_affinity: Option<String>,
    /// Its timeout
    pub session_affinity_config: Option<Value>,
    /// `Cluster` or `Local`
    pub internal_traffic_policy: Option<String>,
    /// `PreferClose`, ...
    pub traffic_distribution: Option<String>,
}

/// `status` of an import.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ImportStatus {
    /// Who exports it
    pub clusters: Vec<ImportCluster>,
    /// How it stands
    pub conditions: Vec<Condition>,
}

/// One exporter.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ImportCluster {
    /// Its cluster id
    pub cluster: String,
}

impl Import {
    /// Ports in one order.
    #[must_use]
    pub fn ports(&self) -> Vec<Port> {
        sorted(self.spec.ports.clone())
    }

    /// Exporters in one order.
    #[must_use]
    pub fn clusters(&self) -> Vec<String> {
        let all = self.status.clusters.iter().map(|c| c.cluster.clone());
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    }
}

/// Ports in one order, whoever listed them.
#[must_use]
pub fn sorted(mut ports: Vec<Port>) -> Vec<Port> {
    for port in &mut ports {
        if port.protocol.is_empty() {
            port.protocol.push_str("TCP");
        }
    }
    ports.sort();
    ports
}

/// Ports in one line.
#[must_use]
pub fn shown_ports(ports: &[Port]) -> String {
    let all = ports.iter().map(Port::to_string);
    format!("[{}]", all.collect::<Vec<_>>().join(", "))
}

/// Addresses behind a service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Slice {
    /// Name, labels
    pub metadata: Metadata,
    /// `IPv4` or `IPv6`
    pub address_type: String,
    /// With their readiness
    #[serde(deserialize_with = "or_nothing")]
    pub endpoints: Vec<Endpoint>,
    /// Of all endpoints
    #[serde(deserialize_with = "or_nothing")]
    pub ports: Vec<Port>,
}

/// Kubernetes writes an empty list of a slice as null.
fn or_nothing<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// One address, or several of one backend.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Of one family
    pub addresses: Vec<String>,
    /// Whether it takes traffic
    pub conditions: EndpointConditions,
    /// Name of its own
    pub hostname: Option<String>,
    /// Where it runs
    pub node_name: Option<String>,
}

/// Whether an endpoint takes traffic.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Absent counts as yes
    pub ready: Option<bool>,
}

impl Endpoint {
    /// Whether it takes traffic.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions.ready.unwrap_or(true)
    }
}

impl Slice {
    /// The cluster that it speaks of, if it is of an import.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        let label = self.metadata.labels.get(SOURCE_CLUSTER);
        label.map(String::as_str)
    }

    /// Addresses that take traffic, in one order.
    #[must_use]
    pub fn ready(&self) -> Vec<String> {
        let ready = self.endpoints.iter().filter(|e| e.is_ready());
        let mut all: Vec<_> = ready.flat_map(|e| e.addresses.clone()).collect();
        all.sort();
        all
    }
}

/// A pod, as far as cases ask.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Name, labels
    pub metadata: Metadata,
    /// Where it is
    pub spec: PodSpec,
    /// How it is
    pub status: PodStatus,
}

/// `spec` of a pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Empty while nobody has placed it
    pub node_name: String,
    /// Their names
    pub containers: Vec<Named>,
}

/// Something with a name.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    /// That name
    pub name: String,
}

/// `status` of a pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Running`, ...
    pub phase: String,
    /// Empty until it has one
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// `Ready` among them
    pub conditions: Vec<Condition>,
}

impl Pod {
    /// Runs, takes traffic, and is not on its way out.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let ready = |c: &Condition| c.kind == "Ready" && c.status == "True";
        self.status.conditions.iter().any(ready) && self.metadata.deletion_timestamp.is_none()
    }
}

/// Why a Deployment or DaemonSet is not yet what is wanted of it.
#[must_use]
pub fn unready(object: &Value) -> Option<String> {
    let number = |pointer| object.pointer(pointer).and_then(Value::as_i64);
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.unwrap_or_default();
    if number("/metadata/generation") != number("/status/observedGeneration") {
        return Some(format!("{name} has not been looked at"));
    }
    let one_each = number("/status/desiredNumberScheduled");
    let (wanted, updated, ready) = match one_each {
        Some(wanted) => (
            wanted,
            number("/status/updatedNumberScheduled"),
            number("/status/numberAvailable"),
        ),
        None => (
            number("/spec/replicas").unwrap_or(1),
            number("/status/updatedReplicas"),
            number("/status/availableReplicas"),
        ),
    };
    let (updated, ready) = (updated.unwrap_or_default(), ready.unwrap_or_default());
    // Of a Deployment the old ones count too, until they are gone.
    let all = number("/status/replicas").filter(|_| one_each.is_none());
    let fine = updated == wanted && ready == wanted && all.is_none_or(|all| all == wanted);
    (!fine).then(|| format!("{name}: {ready} ready, {updated} new, of {wanted}"))
}

#[cfg(test)]
mod tests;
