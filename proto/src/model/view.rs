//! Pure: what the merge gives: all that this cluster's agents, DNS and controller need. Value 4 of the five.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Address, Affinity, ClusterId, ClusterSet, Condition, Conflict, EndpointState, GatewayName,
    IdentityNumber, InternalTrafficPolicy, IpFamily, Locality, Mapping, Namespace, Node, NodeName,
    PeerNumber, PortName, Prefix, Problem, Protocol, ServiceName, Timestamp,
};

/// Orders the Views of one gateway instance; says nothing about another's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ViewRevision {
    /// Drawn when the gateway starts.
    pub instance: u64,
    /// Counts its Views.
    pub number: u64,
}

/// Immutable; one `watch` in a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Of the gateway that made it.
    pub revision: ViewRevision,
    /// This cluster.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
    /// Imports by name, own services included.
    pub imports: BTreeMap<ServiceName, Import>,
    /// What this cluster exports, with what its second stage needs.
    pub exports: BTreeMap<ServiceName, OwnExport>,
    /// Clashes by service.
    pub conflicts: BTreeMap<ServiceName, Vec<Conflict>>,
    /// Peers by id.
    pub peers: BTreeMap<ClusterId, PeerView>,
    /// This cluster's nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Addresses of the nodes' own processes, from the VIP pool.
    pub node_addresses: BTreeMap<NodeName, Address>,
    /// Nodes that run a gateway, with the gateway's name.
    pub gateways: BTreeMap<GatewayName, NodeName>,
    /// Namespaces that exist here.
    pub namespaces: BTreeSet<Namespace>,
    /// Own workloads by address: identity number and node. An agent's scope holds its own node's only.
    pub workloads: BTreeMap<Address, (IdentityNumber, Option<NodeName>)>,
    /// Own identities by number.
    pub identities: BTreeMap<IdentityNumber, Identity>,
    /// This cluster's own pods as they appear to its own pods behind a VIP.
    pub self_map: Vec<Mapping>,
    /// Pool of VIPs and node addresses.
    pub vip_pool: Vec<Prefix>,
    /// Pool of mappings, in one piece per family.
    pub mapping_pool: Vec<Prefix>,
    /// Secret of this cluster that keys endpoint names and flow hashes; the leader's.
    pub seed: [u8; 16],
    /// UDP port of tunnel packets, the same in the whole clusterset.
    pub tunnel_port: u16,
    /// What may not be known yet.
    pub sync: SyncState,
    /// Since when there has been no leader.
    pub frozen_since: Option<Timestamp>,
    /// What did not fit or was refused.
    pub problems: Vec<Problem>,
    /// Conditions of exports and peers.
    pub conditions: Vec<Condition>,
}

impl View {
    /// Of a cluster that knows of nothing and has no pools: what a View is before anything is put into it.
    #[must_use]
    pub fn empty(cluster: ClusterId, cluster_set: ClusterSet) -> Self {
        Self {
            revision: ViewRevision::default(),
            cluster,
            cluster_set,
            imports: BTreeMap::new(),
            exports: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            peers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            node_addresses: BTreeMap::new(),
            gateways: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            workloads: BTreeMap::new(),
            identities: BTreeMap::new(),
            self_map: Vec::new(),
            vip_pool: Vec::new(),
            mapping_pool: Vec::new(),
            seed: [0; 16],
            tunnel_port: 0,
            sync: SyncState::default(),
            frozen_since: None,
            problems: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

/// What may not be known yet, so that DNS answers SERVFAIL rather than NXDOMAIN.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SyncState {
    /// Whether the own controller's Exports have ever been seen.
    pub local: bool,
    /// Peers that have never synced; state read from disk counts as synced.
    pub missing: BTreeSet<ClusterId>,
}

/// One service as seen after merge.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Import {
    /// By the oldest export.
    pub headless: bool,
    /// This cluster's address for it; `None` for headless ones, or when the pool is full.
    pub vip: Option<Address>,
    /// Union of all clusters' ports.
    pub ports: Vec<ImportPort>,
    /// Who offers it.
    pub shares: BTreeMap<ClusterId, ImportShare>,
    /// Headless only: endpoints in our view of their addresses, ready ones.
    pub endpoints: Vec<ImportEndpoint>,
    /// By the oldest export.
    pub affinity: Affinity,
    /// By the oldest export.
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// By the oldest export.
    pub traffic_distribution: Option<String>,
    /// By the oldest export.
    pub ip_families: Vec<IpFamily>,
    /// By the oldest export.
    pub labels: BTreeMap<String, String>,
    /// By the oldest export.
    pub annotations: BTreeMap<String, String>,
    /// By the own export, else the oldest.
    pub locality: Locality,
    /// Everybody who offered it is silent: name and VIP stay, connections are rejected.
    pub stale: bool,
}

/// A port of an import and where its new flows go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPort {
    /// The port's name.
    pub name: Option<PortName>,
    /// Transport.
    pub protocol: Protocol,
    /// What clients dial.
    pub port: u16,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
    /// Members of the ring over clusters with their weight (above 0), locality and liveness already applied;
    /// `PeerNumber::OWN` is this cluster. Empty: connections are rejected.
    pub targets: BTreeMap<PeerNumber, u32>,
}

/// One cluster's share of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportShare {
    /// That cluster's number here; `OWN` for this one.
    pub number: PeerNumber,
    /// Its VIP in its own numbering.
    pub vip: Address,
    /// When its export was created.
    pub created: Timestamp,
    /// Ready endpoints.
    pub ready: u32,
    /// Whether new flows may go there.
    pub liveness: Liveness,
    /// The import's ports that it takes dials to; others of the union are other clusters' alone.
    pub ports: BTreeSet<(Protocol, u16)>,
}

/// A headless endpoint as seen from here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImportEndpoint {
    /// Where it is.
    pub cluster: ClusterId,
    /// Its own hostname, else its address in its owner's numbering with dashes.
    pub hostname: String,
    /// Our view of its address: what DNS answers and clients dial.
    pub address: Address,
    /// The service's ports that it serves: (protocol, service port, target port).
    pub ports: Vec<(Protocol, u16, u16)>,
}

/// One own export, for the second stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnExport {
    /// Allotted when it was accepted, whatever its type.
    pub vip: Address,
    /// Whether it is headless.
    pub headless: bool,
    /// By (protocol, service port).
    pub ports: BTreeMap<(Protocol, u16), BackendPort>,
    /// Headless: which endpoints may be dialled by their own address.
    pub headless_endpoints: Vec<OwnHeadless>,
    /// Affinity.
    pub affinity: Affinity,
}

/// One port of an own export: what `ring(&[Generation])` needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackendPort {
    /// Newest first, at most `limits::GENERATIONS`; an empty newest one rejects.
    pub generations: Vec<Generation>,
    /// Out of the ring, but keeping the flows that they have.
    pub draining: Vec<Member>,
}

/// The members of a ring at one time. The leader's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Counts per port; never reused.
    pub number: u32,
    /// Slots of the ring: 251, 1021, 4093, 16381 or 65537. Never shrinks from one generation to the next.
    pub slots: u32,
    /// Sorted by key.
    pub members: Vec<Member>,
}

/// What names a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointKey {
    /// In this cluster's numbering.
    pub address: Address,
    /// Transport.
    pub protocol: Protocol,
    /// The endpoint's port.
    pub port: u16,
}

/// A backend in a ring.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub key: EndpointKey,
    /// Where it runs.
    pub node: NodeName,
    /// 1 to 65535.
    pub weight: u16,
}

/// A headless endpoint of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnHeadless {
    /// Its address.
    pub address: Address,
    /// Where it runs.
    pub node: NodeName,
    /// Target ports that are exported.
    pub ports: Vec<(Protocol, u16)>,
    /// Whether it takes new flows.
    pub state: EndpointState,
}

/// A peer as this cluster's agents and operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its number here.
    pub number: PeerNumber,
    /// Our number there, once it told us.
    pub our_number_there: Option<PeerNumber>,
    /// Its prefixes of pods, of VIPs and of nodes as they appear here.
    pub mappings: Vec<Mapping>,
    /// Outer addresses of its gateways.
    pub gateways: Vec<Address>,
    /// Of those that have fallen silent while others are heard: packets go to the others.
    pub silent_gateways: Vec<Address>,
    /// Own gateways that have a session for packets to it. Empty: none is known to.
    pub carried_by: BTreeSet<GatewayName>,
    /// Bytes of the largest inner packet that goes by any of them in one piece; `None`: not known.
    pub mtu: Option<u16>,
    /// Outer addresses of its nodes: replies may come straight from them.
    pub nodes: Vec<Address>,
    /// Nodes of ours that it has acknowledged: they may reply straight to its gateways.
    pub acknowledged_nodes: BTreeSet<NodeName>,
    /// How packets go.
    pub encryption: Encryption,
    /// Whether it is alive.
    pub liveness: Liveness,
    /// When it was last heard, by either evidence.
    pub heard: Option<Timestamp>,
}

/// How packets go between this cluster and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Encryption {
    /// Both sides say `off`: plain, packets not authenticated.
    Plain,
    /// In datagrams of the gateways' sessions: one of the two requires it, or the other's word is not known.
    Encrypted,
    /// They must be encrypted, and the peer's gateways take no such datagrams: no packet passes.
    Unavailable,
}

impl Encryption {
    /// Whether packets pass at all.
    #[must_use]
    pub fn passes(self) -> bool {
        self != Self::Unavailable
    }
}

/// Whether a cluster is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Liveness {
    /// Heard.
    Live,
    /// Its sessions are silent, its packets are not: new flows avoid it.
    Suspect,
    /// Silent: out of the rings.
    Withdrawn,
}

/// A workload as policy sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its service account.
    pub service_account: String,
    /// Allow-listed labels.
    pub labels: BTreeMap<String, String>,
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "view of {} in {}", self.cluster, self.cluster_set)?;
        for (id, peer) in &self.peers {
            write!(
                f,
                "peer {id} number {} {:?} {:?}",
                peer.number, peer.liveness, peer.encryption
            )?;
            for mapping in &peer.mappings {
                write!(f, " {mapping}")?;
            }
            writeln!(f)?;
        }
        for (name, import) in &self.imports {
            write!(
                f,
                "import {name} {}",
                if import.headless {
                    "Headless"
                } else {
                    "ClusterSetIP"
                }
            )?;
            if let Some(vip) = import.vip {
                write!(f, " {vip}")?;
            }
            writeln!(f, "{}", if import.stale { " stale" } else { "" })?;
            for port in &import.ports {
                write!(f, "  {}/{} to", port.port, port.protocol)?;
                for (number, weight) in &port.targets {
                    write!(f, " {number}*{weight}")?;
                }
                writeln!(f)?;
            }
            for e in &import.endpoints {
                writeln!(f, "  {}.{} {}", e.hostname, e.cluster, e.address)?;
            }
        }
        for (name, export) in &self.exports {
            writeln!(f, "export {name} {}", export.vip)?;
            for ((protocol, port), backends) in &export.ports {
                for g in &backends.generations {
                    write!(
                        f,
                        "  {port}/{protocol} generation {} of {} slots:",
                        g.number, g.slots
                    )?;
                    for m in &g.members {
                        write!(f, " {}:{}@{}", m.key.address, m.key.port, m.node)?;
                    }
                    writeln!(f)?;
                }
            }
        }
        for (service, conflicts) in &self.conflicts {
            for conflict in conflicts {
                writeln!(f, "conflict {service} {conflict}")?;
            }
        }
        for problem in &self.problems {
            writeln!(f, "problem {problem}")?;
        }
        Ok(())
    }
}
