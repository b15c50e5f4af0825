//! Pure: ClusterConfiguration: what holds for the whole of this cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GROUP;
use super::define::{Custom, conditions};

/// A prefix in CIDR form.
const CIDR: &str = "^[0-9a-fA-F:.]+/[0-9]{1,3}$";
/// A cluster id.
const CLUSTER_ID: &str =
    r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$";
/// A clusterset's name.
const CLUSTER_SET: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// How this cluster takes part in its clusterset. There is one, named `default`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterConfiguration {
    /// Its name is `default`.
    #[serde(default)]
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ClusterConfigurationSpec,
    /// How this cluster stands. Written by the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ClusterConfigurationStatus>,
}

/// How this cluster takes part in its clusterset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.peers) || !self.peers.exists(p, p.cluster == self.cluster)",
    "message": "peers: a cluster is no peer of itself",
    "fieldPath": ".peers",
}]))]
pub struct ClusterConfigurationSpec {
    /// This cluster's id, for good: one DNS label, or two joined by a dot. Unique in the clusterset.
    #[schemars(
        length(min = 1, max = 127),
        regex(pattern = CLUSTER_ID),
        extend("x-kubernetes-validations" = [{
            "rule": "self == oldSelf",
            "message": "a cluster keeps its id for good: leave the clusterset, uninstall and install anew to change it",
        }])
    )]
    pub cluster: String,
    /// The clusterset that it belongs to, the same in all its members, for good. A DNS subdomain.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = CLUSTER_SET),
        extend("x-kubernetes-validations" = [{
            "rule": "self == oldSelf",
            "message": "a cluster stays in its clusterset for good: leave it, uninstall and install anew to change it",
        }])
    )]
    pub cluster_set: String,
    /// Whether packets between clusters must be encrypted.
    #[serde(default)]
    pub encryption: EncryptionSetting,
    /// Prefixes of this cluster's pods, such as `10.244.0.0/16`, beside those that Nodes name in `spec.podCIDRs`.
    /// Needed where pods get their addresses from elsewhere. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 43), regex(pattern = CIDR)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub pod_prefixes: Vec<String>,
    /// Address pools. None of them may be in use anywhere in this cluster or around it.
    #[serde(default)]
    pub pools: Pools,
    /// UDP port of tunnel packets, the same in the whole clusterset.
    #[serde(default = "tunnel_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub tunnel_port: i32,
    /// Which clusters become peers because a peer vouches for them, without a token of their own.
    #[serde(default)]
    pub introductions: Introductions,
    /// What differs for single peers. At most 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"]))]
    pub peers: Vec<ConfiguredPeer>,
}

/// Whether packets between clusters must be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncryptionSetting {
    /// Never plain.
    #[default]
    Required,
    /// Plain where the peer says so too; such packets are not authenticated.
    Off,
}

/// Clusters that peers vouch for. An introduction only adds a cluster that is not known yet, and never one that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Introductions {
    /// Who is taken.
    #[serde(default)]
    pub accept: Accept,
    /// Ids of the clusters that are taken with `Listed`. At most 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        inner(length(max = 127), regex(pattern = CLUSTER_ID)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub clusters: Vec<String>,
}

/// Which clusters that peers vouch for are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Accept {
    /// Each that any peer vouches for.
    #[default]
    All,
    /// Those in `clusters` alone.
    Listed,
    /// None: each peer needs a token.
    None,
}

/// Address pools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pools {
    /// Addresses that services of the clusterset and this cluster's nodes get here.
    #[serde(default = "vips")]
    #[schemars(
        length(min = 1, max = 8),
        inner(length(max = 43), regex(pattern = CIDR)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub vips: Vec<String>,
    /// Prefixes under which other clusters' pods appear here.
    #[serde(default = "mappings")]
    #[schemars(
        length(max = 64),
        inner(length(max = 43), regex(pattern = CIDR)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub mappings: Vec<String>,
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            vips: vips(),
            mappings: mappings(),
        }
    }
}

fn vips() -> Vec<String> {
    vec!["241.0.0.0/16".to_owned()]
}

fn mappings() -> Vec<String> {
    ["242.0.0.0/7", "244.0.0.0/6", "248.0.0.0/6"]
        .map(str::to_owned)
        .to_vec()
}

fn tunnel_port() -> i32 {
    i32::from(causeway_proto::model::TUNNEL_PORT)
}

/// What differs for one peer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfiguredPeer {
    /// The peer's cluster id.
    #[schemars(length(min = 1, max = 127), regex(pattern = CLUSTER_ID))]
    pub cluster: String,
    /// In place of `spec.encryption`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionSetting>,
    /// What the peer has in these prefixes is used here as it is, without a mapping. They must mean nothing else here.
    /// Decided when the peer first names an address range; one that is mapped by then stays mapped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 43), regex(pattern = CIDR)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub native: Vec<String>,
}

/// How this cluster stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterConfigurationStatus {
    /// `Applied`: the settings are in force on the gateways; when not, what to change. `Led`: a gateway leads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The gateway that cuts revisions, allots and signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Counts changes of the leader and never falls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,
    /// This cluster's gateways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub gateways: Vec<GatewayState>,
    /// What is wrong and what to check, the first by name. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub problems: Vec<ReportedProblem>,
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayState {
    /// Its name, which is its node's.
    pub name: String,
    /// `ADDRESS:PORT` of its service for this cluster's own processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether it obeys the controller.
    pub ready: bool,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedProblem {
    /// What sort, such as `BadObject` or `PoolFull`.
    pub kind: String,
    /// What about, such as `ServiceExport shop/cart`.
    pub subject: String,
    /// What is wrong and what to check.
    pub message: String,
}

impl Custom for ClusterConfiguration {
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = &["v1alpha1"];
    const KIND: &'static str = "ClusterConfiguration";
    const PLURAL: &'static str = "clusterconfigurations";
    const SHORT_NAMES: &'static [&'static str] = &["ccfg"];
    const NAMESPACED: bool = false;
    const OURS: bool = true;
    const DEFAULTS: bool = true;
    const STATUS: bool = true;
    const COLUMNS: &'static [(&'static str, &'static str, &'static str, &'static str)] = &[
        ("Cluster", "string", ".spec.cluster", "This cluster's id"),
        (
            "ClusterSet",
            "string",
            ".spec.clusterSet",
            "The clusterset that it belongs to",
        ),
        (
            "Leader",
            "string",
            ".status.leader",
            "The gateway that leads",
        ),
        (
            "Encryption",
            "string",
            ".spec.encryption",
            "Whether packets between clusters must be encrypted",
        ),
        (
            "-Epoch",
            "integer",
            ".status.epoch",
            "Counts changes of the leader",
        ),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ];
    const RULES: &'static [(&'static str, &'static str)] = &[(
        "self.metadata.name == 'default'",
        "there is one ClusterConfiguration, named default",
    )];

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
