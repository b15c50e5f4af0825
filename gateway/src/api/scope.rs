//! Pure: as much of a View as one watcher needs.

use std::collections::BTreeSet;

use causeway_proto::model::{Carriers, NodeName, View, WatchScope};

/// The part of `view` that is in scope.
#[must_use]
pub fn scope(view: &View, scope: &WatchScope) -> View {
    match scope {
        WatchScope::Whole => view.clone(),
        WatchScope::Controller => {
            let mut part = view.clone();
            part.workloads.clear();
            part.identities.clear();
            part.seed = [0; 16];
            part
        }
        WatchScope::Node(node) => of_node(view, node),
    }
}

/// Which own gateways carry packets to which peers.
#[must_use]
pub fn carriers(view: &View) -> Carriers {
    let peers = view.peers.iter();
    let each = peers.map(|(id, peer)| (id.clone(), peer.carried_by.clone()));
    Carriers(each.collect())
}

/// No labels, no other node's workloads, no identity that is not used there, nothing that only people read.
fn of_node(view: &View, node: &NodeName) -> View {
    let mut part = view.clone();
    part.workloads
        .retain(|_, (_, on)| on.as_ref() == Some(node));
    let used: BTreeSet<_> = part.workloads.values().map(|(number, _)| *number).collect();
    part.identities.retain(|number, _| used.contains(number));
    for identity in part.identities.values_mut() {
        identity.labels.clear();
    }
    for import in part.imports.values_mut() {
        import.labels.clear();
        import.annotations.clear();
    }
    part.namespaces.clear();
    part.conflicts.clear();
    part.conditions.clear();
    part.problems.clear();
    part
}
