//! Pure: ServiceImport, of the MCS API.

use k8s_openapi::api::core::v1::SessionAffinityConfig;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::define::{Custom, conditions};
use super::{MCS_GROUP, MCS_VERSIONS};

/// A service that clusters of the clusterset export, as it is used from this one. Only the controller writes it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceImport {
    /// Name, exported labels and annotations.
    #[serde(default)]
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// The service as clients see it.
    #[serde(default)]
    #[schemars(with = "Option<ServiceImportSpec>")]
    pub spec: ServiceImportSpec,
    /// Who exports it, and whether it can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ServiceImportStatus>,
}

/// The service as clients see it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["ports", "type"]))]
pub struct ServiceImportSpec {
    /// The union of all exports' ports: first by name, then by protocol and port; the older export's form of a port
    /// is taken.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<ServicePort>,
    /// Addresses for it in this cluster, one for each of `ipFamilies`, in their order. Empty for `Headless`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 2))]
    pub ips: Vec<String>,
    /// Whether it has an address of its own.
    #[serde(default, rename = "type")]
    pub kind: ServiceImportType,
    /// `ClientIP` or `None` (default), by the oldest export. Not used for `Headless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<String>,
    /// Of `ClientIP`, by the oldest export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "affinity_config")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// `IPv4` and `IPv6`, those that `ips` are of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 2))]
    pub ip_families: Vec<String>,
    /// `Cluster` (default) or `Local`: whether only endpoints on the client's node are used; by the oldest export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_traffic_policy: Option<String>,
    /// Which endpoints are preferred, such as `PreferClose`; by the oldest export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<String>,
}

fn affinity_config(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "properties": {"clientIP": {
            "type": "object",
            "description": "Of affinity by the client's address.",
            "properties": {"timeoutSeconds": {
                "type": "integer",
                "format": "int32",
                "description": "Seconds for which a client stays, 1 to 86400. Default 10800.",
            }},
        }},
    })
}

/// Whether the service has an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceImportType {
    /// It has, and connections to it are balanced.
    #[default]
    ClusterSetIP,
    /// It has none: its name leads to the endpoints' own addresses.
    Headless,
}

/// A port of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// A DNS label, unique in the service; may be absent if there is only one port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `TCP` (default), `UDP` or `SCTP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// What is spoken on it, for those who can make use of it: an IANA service name, or a prefixed name such as
    /// `kubernetes.io/h2c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// What clients dial, 1 to 65535.
    pub port: i32,
}

/// Who exports a service, and whether it can be used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceImportStatus {
    /// The clusters that export it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"]))]
    pub clusters: Vec<ClusterStatus>,
    /// `Ready`: the service can be used from this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Whether there are EndpointSlices for it, labelled `multicluster.kubernetes.io/service-name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_slice_objects: Option<EndpointSliceObjects>,
}

/// A cluster that exports a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Its id.
    pub cluster: String,
}

/// Whether there are EndpointSlices for an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EndpointSliceObjects {
    /// There are.
    Present,
    /// There are none.
    Absent,
}

impl Custom for ServiceImport {
    const GROUP: &'static str = MCS_GROUP;
    const VERSIONS: &'static [&'static str] = &MCS_VERSIONS;
    const KIND: &'static str = "ServiceImport";
    const PLURAL: &'static str = "serviceimports";
    const SHORT_NAMES: &'static [&'static str] = &["svcim", "svcimport"];
    const NAMESPACED: bool = true;
    const OURS: bool = false;
    const DEFAULTS: bool = false;
    const STATUS: bool = true;
    const COLUMNS: &'static [(&'static str, &'static str, &'static str, &'static str)] = &[
        (
            "Type",
            "string",
            ".spec.type",
            "The type of this ServiceImport",
        ),
        (
            "IP",
            "string",
            ".spec.ips",
            "The VIP for this ServiceImport",
        ),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ];
    const RULES: &'static [(&'static str, &'static str)] = &[];

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
