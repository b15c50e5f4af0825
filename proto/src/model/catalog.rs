//! Pure: what a cluster tells its peers: parts, the signed header over them, and a change to both (value 3).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Address, Affinity, ClusterId, ExportPort, GatewayName, Identity, IdentityNumber,
    InternalTrafficPolicy, IpFamily, Locality, LossPolicy, Namespace, NodeName, PeerNumber, Prefix,
    Protocol, Revision, ServiceName, Timestamp, TrustBundle, Zone,
};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is signed: cut only when content changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whose.
    pub cluster: ClusterId,
    /// Where the catalog stands.
    pub revision: Revision,
    /// When it was cut, by the leader's clock.
    pub time: Timestamp,
    /// Digest of the signed bytes before; zero for the first of a cluster.
    pub previous: Digest,
    /// Merkle root over the salted digests of all parts, sorted by key (RFC 6962 form).
    pub root: Digest,
    /// How many parts there are.
    pub parts: u32,
}

/// The bytes as signed and received, beside what they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHeader {
    /// What they say.
    pub header: Header,
    /// As signed.
    pub bytes: Vec<u8>,
    /// By the cluster's catalog key.
    pub signature: Vec<u8>,
}

/// Names a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PartKey {
    /// The cluster-wide part, which goes to everyone.
    Cluster,
    /// One namespace.
    Namespace(Namespace),
}

impl fmt::Display for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Namespace(n) => write!(f, "namespace {n}"),
        }
    }
}

/// A part's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Cluster-wide.
    Cluster(ClusterPart),
    /// Of one namespace.
    Namespace(NamespacePart),
}

/// Where a part stands in the tree, so that it can be checked without the others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartProof {
    /// Position among the parts sorted by key.
    pub index: u32,
    /// Siblings from leaf to root.
    pub path: Vec<Digest>,
}

/// A part as its digest covers it; whoever relays it passes on these bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPart {
    /// Which part; must be what the bytes say.
    pub key: PartKey,
    /// Hides its content from who sees only digests.
    pub salt: [u8; 16],
    /// The encoded [`Part`], at most `limits::PART_BYTES`.
    pub bytes: Vec<u8>,
    /// Where it stands under the header's root.
    pub proof: PartProof,
}

/// What everyone learns of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterPart {
    /// Its gateways.
    pub gateways: BTreeMap<GatewayName, GatewayAddress>,
    /// Outer addresses of its nodes.
    pub nodes: BTreeMap<NodeName, Vec<Address>>,
    /// Prefixes of its pods, then of its VIPs and nodes, in its own numbering; mapped in this order.
    pub prefixes: Vec<Prefix>,
    /// Whether it allows plain packets (`encryption: off`), by peer; a peer not listed is refused.
    pub plain_with: BTreeSet<ClusterId>,
    /// How it numbers its peers.
    pub numbers: BTreeMap<ClusterId, PeerNumber>,
    /// Clusters cut off for good.
    pub revocations: BTreeMap<ClusterId, Revocation>,
    /// Members that it vouches for, and itself once its CA was rolled over.
    pub introductions: BTreeMap<ClusterId, TrustBundle>,
}

/// How a gateway is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayAddress {
    /// `HOST:PORT` for sessions.
    pub session: String,
    /// Outer address of its tunnel packets.
    pub tunnel: Address,
}

/// A cluster cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Digest of the CA that is refused.
    pub ca: Digest,
    /// When.
    pub time: Timestamp,
}

/// What peers may know of one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacePart {
    /// Which.
    pub namespace: Namespace,
    /// Exported services by name.
    pub services: BTreeMap<ServiceName, ServiceOffer>,
    /// Identities in use there.
    pub identities: BTreeMap<IdentityNumber, Identity>,
}

/// One exported service as peers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceOffer {
    /// Creation time of the export.
    pub created: Timestamp,
    /// Its VIP in the exporter's numbering.
    pub vip: Address,
    /// Whether it is headless.
    pub headless: bool,
    /// What clients dial.
    pub ports: Vec<ExportPort>,
    /// Ready endpoints by zone; the empty zone is unknown.
    pub ready: BTreeMap<Option<Zone>, u32>,
    /// Identities behind it.
    pub backend_identities: BTreeSet<IdentityNumber>,
    /// Headless only, ready ones.
    pub endpoints: Vec<HeadlessEndpoint>,
    /// Affinity.
    pub affinity: Affinity,
    /// `internalTrafficPolicy`.
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// `trafficDistribution`.
    pub traffic_distribution: Option<String>,
    /// Families.
    pub ip_families: Vec<IpFamily>,
    /// Exported labels.
    pub labels: BTreeMap<String, String>,
    /// Exported annotations.
    pub annotations: BTreeMap<String, String>,
    /// Locality.
    pub locality: Locality,
    /// What to do when this cluster is silent.
    pub on_loss: LossPolicy,
    /// Weight among clusters.
    pub weight: u16,
}

/// A headless endpoint in its owner's numbering.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeadlessEndpoint {
    /// Its address.
    pub address: Address,
    /// Its own hostname.
    pub hostname: Option<String>,
    /// (protocol, service port, target port).
    pub ports: Vec<(Protocol, u16, u16)>,
}

/// A change of one cluster's public state: value 3 of the five. With `from: None` it replaces everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogDelta {
    /// Held before, if this is a change to it.
    pub from: Option<Revision>,
    /// What holds afterwards.
    pub header: SignedHeader,
    /// Changed parts as signed.
    pub parts: Vec<SignedPart>,
    /// Parts that are gone.
    pub removed: Vec<PartKey>,
}

impl Part {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> PartKey {
        match self {
            Self::Cluster(_) => PartKey::Cluster,
            Self::Namespace(n) => PartKey::Namespace(n.namespace.clone()),
        }
    }
}

impl ServiceOffer {
    /// Ready endpoints in all zones.
    #[must_use]
    pub fn ready_total(&self) -> u32 {
        self.ready.values().fold(0, |sum, n| sum.saturating_add(*n))
    }
}

impl fmt::Display for CatalogDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.header.header.cluster, self.header.header.revision
        )?;
        match self.from {
            Some(from) => write!(f, " after {from}")?,
            None => write!(f, " whole")?,
        }
        for part in &self.parts {
            write!(f, " +{} ({} bytes)", part.key, part.bytes.len())?;
        }
        self.removed.iter().try_for_each(|key| write!(f, " -{key}"))
    }
}
