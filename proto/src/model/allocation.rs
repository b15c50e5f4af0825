//! Pure: what the leader alone gives out, keeps over restarts, and shares with the other gateways.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Address, BackendPort, ClusterId, Identity, IdentityNumber, Mapping, NodeName, PartKey,
    PeerNumber, Protocol, ServiceName, Timestamp,
};

/// Every number that leaves a process. Sticky: what stays keeps its number, what is freed rests before reuse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allocations {
    /// One per leadership; never falls back.
    pub epoch: u64,
    /// Counts changes within the epoch.
    pub version: u64,
    /// Addresses of services, exported and imported.
    pub vips: BTreeMap<ServiceName, Allotted<Address>>,
    /// Addresses of nodes: by these their own processes are clients of the clusterset.
    pub nodes: BTreeMap<NodeName, Allotted<Address>>,
    /// Numbers and mappings of peers.
    pub peers: BTreeMap<ClusterId, Allotted<PeerAllotment>>,
    /// Own pods as seen by own pods behind a VIP.
    pub self_map: Vec<Mapping>,
    /// Identity numbers; one per distinct identity.
    pub identities: BTreeMap<IdentityNumber, Allotted<Identity>>,
    /// Ring generations of own exports' ports, by (protocol, service port).
    pub rings: BTreeMap<ServiceName, BTreeMap<(Protocol, u16), BackendPort>>,
    /// Keys endpoint names and flow hashes.
    pub seed: [u8; 16],
    /// Salt of each part's digest.
    pub salts: BTreeMap<PartKey, [u8; 16]>,
}

/// Something given out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allotted<T> {
    /// What.
    pub value: T,
    /// Since when nobody wants it; it rests before reuse.
    pub freed: Option<Timestamp>,
}

/// What a peer is given here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerAllotment {
    /// Its number, 1 to 4095.
    pub number: PeerNumber,
    /// Our prefixes for its own.
    pub mappings: Vec<Mapping>,
}
