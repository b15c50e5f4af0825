//! Pure: what a gateway tells an operator.

use std::collections::BTreeMap;

use super::{
    Address, ClusterId, ClusterSet, Condition, Conflict, Encryption, GatewayName, IdentityNumber,
    ImportEndpoint, Liveness, Mapping, Namespace, NodeName, PeerNumber, PortName, Problem,
    Protocol, Revision, ServiceCounters, ServiceName, Timestamp, ViewRevision,
};

/// How one gateway sees its cluster and its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayStatus {
    /// This cluster.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
    /// The gateway that answers.
    pub gateway: GatewayName,
    /// Of the software.
    pub version: String,
    /// Its wall clock.
    pub time: Timestamp,
    /// When the process started.
    pub started: Timestamp,
    /// The leader, while there is one.
    pub leader: Option<GatewayName>,
    /// The newest epoch known.
    pub epoch: u64,
    /// Of the own catalog; `None` before the first.
    pub revision: Option<Revision>,
    /// Of this gateway's newest View.
    pub view: ViewRevision,
    /// Since when there has been no leader.
    pub frozen_since: Option<Timestamp>,
    /// When this gateway's own certificate ends.
    pub certificate_expires: Option<Timestamp>,
    /// When the cluster's CA ends.
    pub ca_expires: Option<Timestamp>,
    /// Peers by id.
    pub peers: BTreeMap<ClusterId, PeerStatus>,
    /// Own nodes by name.
    pub nodes: BTreeMap<NodeName, NodeStatus>,
    /// How many services there are.
    pub services: ServiceCounts,
    /// Clashes by service.
    pub conflicts: BTreeMap<ServiceName, Vec<Conflict>>,
    /// Conditions of exports and peers.
    pub conditions: Vec<Condition>,
    /// What did not fit or was refused.
    pub problems: Vec<Problem>,
    /// Dropped packets by node and reason's name.
    pub drops: BTreeMap<(NodeName, String), u64>,
    /// Whether verdicts of policy are enforced by this version.
    pub policy_enforced: bool,
}

/// How many services a View has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceCounts {
    /// Exported by this cluster.
    pub exported: u32,
    /// Imports, own ones included.
    pub imported: u32,
    /// Of them, those with nobody left.
    pub stale: u32,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its number here.
    pub number: PeerNumber,
    /// Our number there, once it told us.
    pub our_number_there: Option<PeerNumber>,
    /// Whether it is alive.
    pub liveness: Liveness,
    /// Milliseconds since it was last heard, by either evidence.
    pub age_ms: Option<u64>,
    /// What we hold of its catalog.
    pub held: Option<Revision>,
    /// What it has acknowledged of ours.
    pub acknowledged: Option<Revision>,
    /// Live sessions.
    pub sessions: Vec<SessionStatus>,
    /// Whether packets may pass, and how.
    pub encryption: Encryption,
    /// Its prefixes as they appear here.
    pub mappings: Vec<Mapping>,
    /// Outer addresses of its gateways.
    pub gateways: Vec<Address>,
    /// How many services it offers.
    pub services: u32,
    /// When the first of the certificates behind the sessions ends.
    pub certificate_expires: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<(Timestamp, String)>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// The peer's gateway.
    pub gateway: GatewayName,
    /// What carries it.
    pub transport: Transport,
    /// The other end, `ADDRESS:PORT`.
    pub address: String,
    /// Whether we dialled.
    pub dialled: bool,
    /// When it was opened.
    pub since: Timestamp,
    /// The protocol version in use.
    pub version: u16,
    /// Their clock minus ours, in milliseconds.
    pub clock_skew_ms: i64,
    /// When the certificate that opened it ends, and the session with it.
    pub certificate_expires: Option<Timestamp>,
    /// Its path, where the connection tells.
    pub path: Option<PathStatus>,
}

/// A path between two gateways, as a connection has found it, counted from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathStatus {
    /// Round trip, in microseconds.
    pub rtt_us: u64,
    /// Packets that were sent.
    pub sent: u64,
    /// Of these, lost ones; over TCP those that were sent again.
    pub lost: u64,
    /// Bytes of the largest IP packet that the path is known to take.
    pub mtu: u16,
    /// Bytes of the largest that its first link takes. The path's is less where something on it is narrower.
    pub link_mtu: u16,
    /// Connections that packets go by, the session's own among them.
    pub connections: u16,
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP, where UDP is blocked.
    Tcp,
}

/// One node of this cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// The gateway that runs there.
    pub gateway: Option<GatewayName>,
    /// Milliseconds since its agent's last report.
    pub age_ms: Option<u64>,
    /// Whether its kernel holds the newest View.
    pub current: bool,
    /// Entries in its flow table.
    pub flows: u64,
    /// Entries in its half-open table.
    pub half_open: u64,
    /// Local pods that have a port.
    pub pods: u32,
    /// Which hooks are in use, by device.
    pub hooks: BTreeMap<String, String>,
    /// What is wrong there.
    pub problems: Vec<Problem>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Whether it is headless.
    pub headless: bool,
    /// This cluster's address for it.
    pub vip: Option<Address>,
    /// What clients dial, and where new flows go.
    pub ports: Vec<PortStatus>,
    /// Who offers it.
    pub shares: BTreeMap<ClusterId, ShareStatus>,
    /// Headless only.
    pub endpoints: Vec<ImportEndpoint>,
    /// Whether this cluster exports it.
    pub exported: bool,
    /// Nobody is left.
    pub stale: bool,
    /// Clashes between the exports.
    pub conflicts: Vec<Conflict>,
    /// Sums over this cluster's nodes.
    pub counters: ServiceCounters,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// Its name.
    pub name: Option<PortName>,
    /// Transport.
    pub protocol: Protocol,
    /// What clients dial.
    pub port: u16,
    /// Weights of the clusters that new flows go to.
    pub targets: BTreeMap<ClusterId, u32>,
}

/// One cluster's share of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareStatus {
    /// Its VIP in its own numbering.
    pub vip: Address,
    /// When its export was created.
    pub created: Timestamp,
    /// Ready endpoints.
    pub ready: u32,
    /// Whether new flows may go there.
    pub liveness: Liveness,
}

/// How this gateway's DNS answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// As asked, fully qualified.
    pub name: String,
    /// `A`, `SRV`, ...
    pub kind: String,
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL`.
    pub code: String,
    /// The answer and what goes beside it.
    pub records: Vec<DnsRecord>,
}

/// One record as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// Its owner name.
    pub name: String,
    /// Seconds.
    pub ttl_secs: u32,
    /// `A`, `SRV`, ...
    pub kind: String,
    /// As in a zone file.
    pub data: String,
}

/// One meaning of an address here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whois {
    /// What it is.
    pub kind: AddressKind,
    /// Whose.
    pub cluster: ClusterId,
    /// In its owner's numbering.
    pub address: Address,
    /// The service, of a VIP.
    pub service: Option<ServiceName>,
    /// The workload's namespace.
    pub namespace: Option<Namespace>,
    /// The workload's or gateway's name.
    pub name: Option<String>,
    /// Where it runs.
    pub node: Option<NodeName>,
    /// Its identity in its owner's numbering.
    pub identity: Option<IdentityNumber>,
    /// Its service account.
    pub service_account: Option<String>,
}

/// What an address is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// Of a service.
    Vip,
    /// A peer's pod or node, in our numbering.
    Mapped,
    /// A pod of ours as pods of ours see it behind a VIP.
    SelfMapped,
    /// A pod of ours.
    Workload,
    /// A node of ours.
    Node,
    /// Outer address of a peer's gateway.
    Gateway,
    /// Outer address of a peer's node.
    PeerNode,
}
