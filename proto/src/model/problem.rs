//! Pure: what went wrong with part of a good input, clashes between clusters, and how both are told.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ClusterId;

/// A bad part of a good input, or what did not fit; the rest stays in force.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// What sort.
    pub kind: ProblemKind,
    /// The object's name: `ServiceExport shop/cart`, `peer west`, `map backends`.
    pub subject: String,
    /// What is wrong and what to check, in a sentence.
    pub message: String,
}

/// Sorts of problem; the names appear in status, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProblemKind {
    /// A manifest that cannot be read; the last good state stays.
    BadManifest,
    /// An object that contradicts another or refers to none.
    BadObject,
    /// An address pool has nothing left.
    PoolFull,
    /// A map or list bound is reached.
    LimitReached,
    /// A peer said what it may not say.
    PeerFault,
    /// An object that the API server refuses to take.
    NotWritten,
    /// The two sides' configuration does not agree.
    PeerDisagrees,
    /// An address outside the prefixes that should hold it.
    OutsidePrefix,
    /// The clock jumped.
    ClockJumped,
    /// No leader; what is held stays in force.
    Frozen,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.kind, self.subject, self.message)
    }
}

/// What two exports of one service disagree on (KEP-1645).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConflictField {
    /// Reason `PortConflict`.
    Port,
    /// Reason `TypeConflict`.
    Type,
    /// Reason `SessionAffinityConflict`.
    SessionAffinity,
    /// Reason `SessionAffinityConfigConflict`.
    SessionAffinityConfig,
    /// Reason `AnnotationsConflict`.
    Annotations,
    /// Reason `LabelsConflict`.
    Labels,
    /// Reason `InternalTrafficPolicyConflict`.
    InternalTrafficPolicy,
    /// Reason `TrafficDistributionConflict`.
    TrafficDistribution,
    /// Reason `IPFamilyConflict`.
    IpFamily,
}

impl ConflictField {
    /// The reason in the condition.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Port => "PortConflict",
            Self::Type => "TypeConflict",
            Self::SessionAffinity => "SessionAffinityConflict",
            Self::SessionAffinityConfig => "SessionAffinityConfigConflict",
            Self::Annotations => "AnnotationsConflict",
            Self::Labels => "LabelsConflict",
            Self::InternalTrafficPolicy => "InternalTrafficPolicyConflict",
            Self::TrafficDistribution => "TrafficDistributionConflict",
            Self::IpFamily => "IPFamilyConflict",
        }
    }
}

/// A clash on one field of one service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conflict {
    /// The field.
    pub field: ConflictField,
    /// Whose value is used: the oldest export's.
    pub winner: ClusterId,
    /// That value, as text.
    pub value: String,
    /// How many clusters say otherwise.
    pub disagree: u32,
    /// How many offer the service.
    pub of: u32,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Conflicting {}. Using {:?} from oldest service export in {:?}. {}/{} clusters disagree.",
            self.field.reason().trim_end_matches("Conflict"),
            self.value,
            self.winner.as_str(),
            self.disagree,
            self.of
        )
    }
}

/// Kubernetes' three states of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known yet.
    Unknown,
}

/// One condition of one object, in Kubernetes' form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Condition {
    /// `ServiceExport shop/cart`, `ClusterPeer west`.
    pub object: String,
    /// `Valid`, `Ready`, `Conflict`, `Connected`, `PacketsAllowed`.
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word, CamelCase.
    pub reason: String,
    /// A sentence.
    pub message: String,
}
