//! Pure: what processes of one cluster tell each other beside Views and Reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{
    Allocations, CatalogDelta, ClusterId, Condition, Digest, Exports, GatewayAddress, GatewayName,
    NodeName, Problem, Report, Timestamp, TrustState,
};

/// What a controller publishes, whole, whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publication {
    /// What the cluster offers.
    pub exports: Exports,
    /// Conditions that the controller found by itself.
    pub conditions: Vec<Condition>,
    /// Bad parts of its input.
    pub problems: Vec<Problem>,
}

/// What a follower tells the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowRequest {
    /// First.
    Hello(FollowHello),
    /// The state of this sequence number is on the follower's disk.
    Ack(u64),
    /// From an agent that reports to the follower.
    Report(Report),
    /// Peers that the follower carries packets to, see [`OwnGateway::carries`]: when it changes, and as a sign of life.
    Carries(Carries),
}

/// Who follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowHello {
    /// Its name; must be the one in its certificate.
    pub gateway: GatewayName,
    /// The highest epoch that it has ever seen, of itself or from peers: a leader's must be higher.
    pub epoch: u64,
    /// Drawn when the process started.
    pub instance: u64,
    /// The node that it runs on.
    pub node: NodeName,
    /// How peers reach it.
    pub address: GatewayAddress,
    /// The allocations that it holds: a leader that has lost its state takes them up again.
    pub allocations: Option<Allocations>,
    /// Likewise whom it trusts.
    pub trust: Option<TrustState>,
}

/// What the leader alone writes. What is `None` has not changed since the state before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowState {
    /// Counts on one connection, from 1; acknowledged by the follower.
    pub sequence: u64,
    /// The leader.
    pub leader: GatewayName,
    /// Its epoch.
    pub epoch: u64,
    /// Its wall clock.
    pub time: Timestamp,
    /// What the controller published last.
    pub publication: Option<Publication>,
    /// Every number that leaves a process.
    pub allocations: Option<Allocations>,
    /// Who is trusted and who is cut off.
    pub trust: Option<TrustState>,
    /// The own catalog, whole.
    pub catalog: Option<CatalogDelta>,
    /// Reports of other nodes that changed.
    pub reports: Vec<Report>,
    /// All gateways of the cluster, always.
    pub gateways: BTreeMap<GatewayName, OwnGateway>,
}

/// A gateway of this cluster, as its gateways tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnGateway {
    /// The node that it runs on.
    pub node: NodeName,
    /// None while it leaves or is silent.
    pub carries: Carries,
}

/// Peers that a gateway has a session with by which packets go: bytes of the largest inner packet that goes in one piece, by
/// what QUIC has found out about the path.
pub type Carries = BTreeMap<ClusterId, u16>;

/// Own gateways that have a session for packets to each peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carriers(pub BTreeMap<ClusterId, BTreeSet<GatewayName>>);

/// How much of the View a watcher gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchScope {
    /// What the agent of this node needs.
    Node(NodeName),
    /// What the controller needs.
    Controller,
    /// All of it.
    Whole,
}

/// A request for the first certificate, by a one-time file. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Which enrolment: digest of its secret.
    pub id: Digest,
    /// The secret itself; the connection is pinned and encrypted.
    pub secret: Vec<u8>,
    /// Certificate signing request, DER, at most `limits::CERTIFICATE_BYTES`.
    pub csr: Vec<u8>,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A certificate as issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// CA certificates of this cluster, DER, the newest first.
    pub authorities: Vec<Vec<u8>>,
}
