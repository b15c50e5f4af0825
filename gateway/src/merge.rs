//! Pure: from all catalogs, the own exports and allocations to the [`View`], by the rules of the MCS API
//! (KEP-1645). A function of its input alone: the same whatever came first, and a cluster that is taken out was
//! never there. In: what is known, and when. Out: the View. It keeps nothing.

mod bounds;
mod choice;
mod conflict;
mod import;
mod own;
mod peers;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{
    Allocations, ClusterId, ClusterSet, Condition, ConditionStatus, Conflict, Exports, GatewayName,
    OwnGateway, Prefix, Problem, Publication, ServiceName, SyncState, Timestamp, View,
    ViewRevision,
};

use crate::catalog::Catalog;
use crate::now::Now;

/// What configuration says, the same on all gateways of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// This cluster.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
    /// Peers towards which plain packets are allowed.
    pub plain_with: BTreeSet<ClusterId>,
    /// Pool of VIPs.
    pub vip_pool: Vec<Prefix>,
    /// Pool of mappings.
    pub mapping_pool: Vec<Prefix>,
    /// UDP port of tunnel packets.
    pub tunnel_port: u16,
}

/// All that a View is made of.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Configuration.
    pub facts: &'a Facts,
    /// Every cluster's public state.
    pub catalog: &'a Catalog,
    /// What the own controller published; `None`: never seen.
    pub publication: Option<&'a Publication>,
    /// What is in force.
    pub allocations: &'a Allocations,
    /// Own gateways.
    pub gateways: &'a BTreeMap<GatewayName, OwnGateway>,
    /// Peers that another vouches for, and which.
    pub introduced: &'a BTreeMap<ClusterId, ClusterId>,
    /// Since when there has been no leader.
    pub frozen_since: Option<Timestamp>,
    /// What is wrong elsewhere in this gateway.
    pub problems: &'a [Problem],
    /// The View's own number.
    pub revision: ViewRevision,
}

/// The View at `now`.
#[must_use]
pub fn merge(known: &Known<'_>, now: Now) -> View {
    let nothing = Exports::default();
    let exports = known.publication.map_or(&nothing, |p| &p.exports);
    let mut problems = known.problems.to_vec();
    problems.extend(known.publication.iter().flat_map(|p| p.problems.clone()));
    let mut conditions = Vec::new();
    conditions.extend(published_conditions(known.publication, exports));
    let peers = peers::views(known, now, &mut conditions);
    let mut conflicts: BTreeMap<ServiceName, Vec<Conflict>> = BTreeMap::new();
    let mut imports = BTreeMap::new();
    for (name, offers) in import::offers(known, exports, &peers) {
        let (import, found) = import::merge(known, &name, &offers, &mut problems);
        if !found.is_empty() {
            conflicts.insert(name.clone(), found);
        }
        imports.insert(name, import);
    }
    for name in exports.services.keys() {
        let published = imports.contains_key(name);
        conditions.extend(export_conditions(name, published, conflicts.get(name)));
    }
    problems.sort();
    problems.dedup();
    conditions.sort();
    let missing = known.catalog.peers().iter();
    let missing = missing.filter(|(_, peer)| peer.held().is_none());
    let mut view = View {
        revision: known.revision,
        cluster: known.facts.cluster.clone(),
        cluster_set: known.facts.cluster_set.clone(),
        imports,
        exports: own::exports(exports, known.allocations),
        conflicts,
        peers,
        nodes: exports.nodes.clone(),
        node_addresses: own::node_addresses(exports, known.allocations),
        gateways: known
            .gateways
            .iter()
            .map(|(name, own)| (name.clone(), own.node.clone()))
            .collect(),
        namespaces: exports.namespaces.keys().cloned().collect(),
        workloads: own::workloads(exports, known.allocations),
        identities: own::identities(known.allocations),
        self_map: known.allocations.self_map.clone(),
        vip_pool: known.facts.vip_pool.clone(),
        mapping_pool: known.facts.mapping_pool.clone(),
        seed: known.allocations.seed,
        tunnel_port: known.facts.tunnel_port,
        sync: SyncState {
            local: known.publication.is_some(),
            missing: missing.map(|(id, _)| id.clone()).collect(),
        },
        frozen_since: known.frozen_since,
        problems,
        conditions,
    };
    bounds::keep(&mut view);
    view
}

/// The controller's, but for what is better known here of that which is exported.
fn published_conditions(publication: Option<&Publication>, exports: &Exports) -> Vec<Condition> {
    let exported: BTreeSet<String> = exports.services.keys().map(object).collect();
    let published = publication.iter().flat_map(|p| &p.conditions);
    let better = |c: &&Condition| c.kind != "Valid" && exported.contains(&c.object);
    published.filter(|c| !better(c)).cloned().collect()
}

fn object(export: &ServiceName) -> String {
    format!("ServiceExport {export}")
}

/// `Ready` and `Conflict` of one own ServiceExport; `Valid` is the controller's.
fn export_conditions(
    name: &ServiceName,
    published: bool,
    conflicts: Option<&Vec<Conflict>>,
) -> [Condition; 2] {
    let condition = |kind: &str, holds: bool, reason: String, message: String| Condition {
        object: object(name),
        kind: kind.to_owned(),
        status: if holds {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason,
        message,
    };
    let ready = if published {
        let message = "in the catalog that peers get".to_owned();
        condition("Ready", true, "Exported".to_owned(), message)
    } else {
        let message = "no address for it yet, or the pool is full".to_owned();
        condition("Ready", false, "Pending".to_owned(), message)
    };
    let conflict = match conflicts {
        Some(found) => {
            let reasons: Vec<&str> = found.iter().map(|c| c.field.reason()).collect();
            let messages: Vec<String> = found.iter().map(ToString::to_string).collect();
            condition("Conflict", true, reasons.join(","), messages.join(" "))
        }
        None => condition("Conflict", false, "NoConflicts".to_owned(), String::new()),
    };
    [ready, conflict]
}
