//! Pure: ClusterPeer: one other cluster that this one trusts, or is to join.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GROUP;
use super::define::{Custom, conditions};

/// Another cluster of the clusterset; its name is that cluster's id. The controller makes one for each cluster that
/// is trusted, so `kubectl get clusterpeers` shows how each of them stands. To join a cluster, make one with
/// `spec.joinTokenSecretRef`; to cut one off, set `spec.revoked`. Deleting one changes nothing: while the cluster is
/// trusted it comes back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPeer {
    /// Its name is the peer's cluster id.
    #[serde(default)]
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// What is wanted of it.
    #[serde(default)]
    #[schemars(with = "Option<ClusterPeerSpec>")]
    pub spec: ClusterPeerSpec,
    /// How it stands. Written by the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ClusterPeerStatus>,
}

/// What is wanted of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPeerSpec {
    /// The join token that `causeway token create` gave in the other cluster, in a Secret of the namespace that
    /// Causeway runs in. It is redeemed once, while there is no trust; the Secret can be deleted after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_secret_ref: Option<TokenSecretRef>,
    /// Cut the cluster off: its sessions end at once and it can not come back with the identity that it has. To take
    /// it back, set this to false and join it with a new token, after it has got a new CA.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in it.
    #[serde(default = "token_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn token_key() -> String {
    "token".to_owned()
}

/// How a peer stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPeerStatus {
    /// `Joined`: it is trusted; when not, why. `Connected`: it is heard and its catalog is held. `PacketsAllowed`:
    /// both sides agree on whether packets are encrypted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// In one word: `Joining`, `Connecting` (trusted, its catalog has not come yet), `Connected`, `Suspect` (sessions
    /// silent, packets not), `Silent` (its share is withdrawn), `Refused` (no trust; see the condition `Joined`),
    /// `Revoked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Open sessions between this cluster's gateways and its.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub sessions: Vec<PeerSession>,
    /// Revision of its catalog that is held here, `EPOCH.NUMBER`, as of `observedTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_revision: Option<String>,
    /// Revision of this cluster's catalog that it has acknowledged, `EPOCH.NUMBER`, as of `observedTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_revision: Option<String>,
    /// When it was last heard. Only there while it is silent: a peer that is Connected was heard within the last
    /// three seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub last_heard_time: Option<Time>,
    /// How packets go: `Encrypted` by the sessions of the gateways, or `Plain` (not authenticated, both sides say `off`);
    /// `Unavailable`: they must be encrypted, and the peer cannot, so no packet passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// Where its pods' and nodes' prefixes appear in this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub mappings: Vec<PeerMapping>,
    /// Outer addresses of its gateways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub gateways: Vec<String>,
    /// Services that it exports, as of `observedTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub services: Option<i32>,
    /// When the certificate ends that ends first of those behind the sessions; they are renewed long before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub certificate_expiry_time: Option<Time>,
    /// What went wrong last with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// When revisions and counts were read. They are written at most once a minute unless something else changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub observed_time: Option<Time>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerSession {
    /// This cluster's gateway.
    pub gateway: String,
    /// The peer's gateway.
    pub peer_gateway: String,
    /// `QUIC`.
    pub transport: String,
    /// The other end, `ADDRESS:PORT`.
    pub address: String,
    /// When it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub since: Option<Time>,
}

/// Where a prefix of the peer appears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerMapping {
    /// In the peer's own numbering.
    pub theirs: String,
    /// In this cluster.
    pub here: String,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub time: Option<Time>,
    /// What.
    pub message: String,
}

pub(super) fn time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "format": "date-time"})
}

impl Custom for ClusterPeer {
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = &["v1alpha1"];
    const KIND: &'static str = "ClusterPeer";
    const PLURAL: &'static str = "clusterpeers";
    const SHORT_NAMES: &'static [&'static str] = &["cpeer"];
    const NAMESPACED: bool = false;
    const OURS: bool = true;
    const DEFAULTS: bool = true;
    const STATUS: bool = true;
    const COLUMNS: &'static [(&'static str, &'static str, &'static str, &'static str)] = &[
        ("Phase", "string", ".status.phase", "How it stands"),
        (
            "Heard",
            "date",
            ".status.lastHeardTime",
            "When it was last heard, if it is silent",
        ),
        (
            "Encryption",
            "string",
            ".status.encryption",
            "How packets go",
        ),
        (
            "Services",
            "integer",
            ".status.services",
            "Services that it exports",
        ),
        (
            "-Held",
            "string",
            ".status.heldRevision",
            "Revision of its catalog that is held",
        ),
        (
            "-Mapping",
            "string",
            ".status.mappings[*].here",
            "Where its addresses appear here",
        ),
        (
            "-Certificate",
            "string",
            ".status.certificateExpiryTime",
            "When the first of its certificates in use ends",
        ),
        (
            "-Reason",
            "string",
            ".status.conditions[?(@.status==\"False\")].reason",
            "Of the conditions that do not hold",
        ),
        ("Age", "date", ".metadata.creationTimestamp", ""),
    ];
    const RULES: &'static [(&'static str, &'static str)] = &[(
        r"self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$') && size(self.metadata.name) < 128",
        "the name must be a cluster id: one DNS label, or two joined by a dot, under 128 characters",
    )];

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
