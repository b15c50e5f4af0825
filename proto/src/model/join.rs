//! Pure: what two clusters tell each other when one redeems the other's join token, and what was found.

use std::collections::BTreeMap;

use super::{
    ClusterId, ClusterSet, Digest, ExportPort, Mapping, Prefix, ServiceName, Timestamp, TrustBundle,
};

/// What one side is, so that both see beforehand what would clash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinFacts {
    /// Its name.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
    /// Oldest and newest version of the federation protocol that it speaks.
    pub versions: (u16, u16),
    /// Its wall clock.
    pub time: Timestamp,
    /// Its pods' prefixes, in its own numbering.
    pub prefixes: Vec<Prefix>,
    /// Its VIPs' and nodes' prefixes, as its catalog tells them.
    pub vips: Vec<Prefix>,
    /// Whether it says `encryption: off` towards the other.
    pub plain_allowed: bool,
    /// What it exports.
    pub services: BTreeMap<ServiceName, OfferedService>,
}

/// As much of an export as a clash needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedService {
    /// Whether it is headless.
    pub headless: bool,
    /// What clients dial.
    pub ports: Vec<ExportPort>,
}

/// The joiner's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeem {
    /// Which token.
    pub token: Digest,
    /// Keyed by the token's secret, over what binds it to this connection.
    pub proof: [u8; 32],
    /// Tell findings only; the token stays whole.
    pub dry_run: bool,
    /// The joiner.
    pub facts: JoinFacts,
    /// The joiner's bundle, on a dry run too, so that the issuer can tell what would clash.
    pub bundle: Option<TrustBundle>,
}

/// The issuer's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeemed {
    /// That it too knows the secret.
    pub proof: [u8; 32],
    /// The issuer.
    pub facts: JoinFacts,
    /// What it found; one refusal and nothing was done.
    pub findings: Vec<Finding>,
    /// The issuer's bundle; `None` on a dry run or a refusal.
    pub bundle: Option<TrustBundle>,
}

/// Something that an operator should know before joining.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What about: `clock`, `service shop/cart`, `encryption`.
    pub subject: String,
    /// A sentence.
    pub message: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Joining goes on, something will not be as one may expect.
    Warning,
    /// Joining is refused.
    Refusal,
}

/// What the joiner shows its operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// The issuer.
    pub peer: JoinFacts,
    /// Found by either side.
    pub findings: Vec<Finding>,
    /// The peer's clock minus ours, in milliseconds.
    pub clock_skew_ms: i64,
    /// How the peer's prefixes would appear here.
    pub mappings: Vec<Mapping>,
}

impl Preflight {
    /// Whether a finding refuses the join.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.findings
            .iter()
            .any(|f| f.severity == Severity::Refusal)
    }
}

/// Roles of this cluster's own processes that `causeway enroll` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnrolRole {
    /// On every node.
    Agent,
    /// On gateway nodes.
    Gateway,
    /// Beside the leader.
    Controller,
    /// A person.
    Operator,
}
