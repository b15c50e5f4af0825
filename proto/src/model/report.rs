//! Pure: what an agent tells its gateway.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Address, Check, ClusterId, NodeName, Problem, ServiceName, Timestamp, ViewRevision};

/// One agent's word about its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node; must be the one in the agent's certificate.
    pub node: NodeName,
    /// When, by the node's clock.
    pub time: Timestamp,
    /// The View that its kernel holds.
    pub programmed: Option<ViewRevision>,
    /// Dropped packets by reason's name, since the maps were made.
    pub drops: BTreeMap<String, u64>,
    /// Counters by service.
    pub services: BTreeMap<ServiceName, ServiceCounters>,
    /// When packets of each peer were last heard here: the second evidence of life.
    pub heard: BTreeMap<ClusterId, Timestamp>,
    /// Local pods that have a port.
    pub pods: BTreeMap<Address, String>,
    /// Entries in the flow table and in the half-open one.
    pub flows: (u64, u64),
    /// Which hooks are in use, by device.
    pub hooks: BTreeMap<String, String>,
    /// What did not fit or is wrong on this node.
    pub problems: Vec<Problem>,
    /// Its ways to gateways.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// Counters of one service on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceCounters {
    /// Packets from clients.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Flows begun.
    pub flows: u64,
    /// Refused because nobody was ready.
    pub rejected: u64,
}
