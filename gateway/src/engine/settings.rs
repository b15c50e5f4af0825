//! Pure: what a gateway is told when it starts: by its configuration, by chance and by its disk.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Allocations, Appointment, CatalogDelta, ClusterId, ClusterSet, ClusterSettings, GatewayAddress,
    GatewayName, NodeName, Prefix, Problem, Publication, TrustState,
};

use crate::allot::Pools;
use crate::merge::Facts;

/// What one gateway is told by its configuration, and what is drawn when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This cluster.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
    /// This gateway.
    pub gateway: GatewayName,
    /// Its node.
    pub node: NodeName,
    /// How peers reach it.
    pub address: GatewayAddress,
    /// The gateway that allots and signs; `None`: whom a controller appoints.
    pub leader: Option<GatewayName>,
    /// Drawn when the process starts.
    pub instance: u64,
    /// 32 random bytes, drawn when the process starts.
    pub random: [u8; 32],
    /// The same on every gateway of the cluster; where a controller appoints, its word takes their place.
    pub shared: ClusterSettings,
    /// In place of a drawn seed, for tests.
    pub seed: Option<[u8; 16]>,
}

/// What the disk has kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// What the controller published last.
    pub publication: Option<Publication>,
    /// Allocations.
    pub allocations: Option<Allocations>,
    /// Who is trusted.
    pub trust: Option<TrustState>,
    /// The own catalog, whole.
    pub own: Option<CatalogDelta>,
    /// Peers' catalogs, whole.
    pub peers: BTreeMap<ClusterId, CatalogDelta>,
    /// Who leads by a controller's last word; without state.
    pub appointment: Option<Appointment>,
    /// Whether the CA is on the disk too: without it nobody leads.
    pub authority: bool,
    /// What was wrong with it.
    pub problem: Option<Problem>,
}

/// The settings as the merge needs them.
pub(super) fn facts(settings: &Settings, members: &BTreeSet<ClusterId>) -> Facts {
    let shared = &settings.shared;
    let plain = members.iter().filter(|id| shared.plain_with(id));
    Facts {
        cluster: settings.cluster.clone(),
        cluster_set: settings.cluster_set.clone(),
        plain_with: plain.cloned().collect(),
        vip_pool: shared.vips.clone(),
        mapping_pool: shared.mappings.clone(),
        tunnel_port: shared.tunnel_port,
    }
}

/// Where addresses are taken from, beside these prefixes of the cluster's own.
pub(super) fn pools(shared: &ClusterSettings, own: Vec<Prefix>) -> Pools {
    let peers = shared.peers.iter();
    Pools {
        vips: shared.vips.clone(),
        mappings: shared.mappings.clone(),
        own,
        native: peers
            .map(|(id, peer)| (id.clone(), peer.native.clone()))
            .collect(),
    }
}
