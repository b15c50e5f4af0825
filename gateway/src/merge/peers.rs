//! Pure: each peer as agents and operators see it, and whether packets may pass.

use std::collections::BTreeMap;

use causeway_proto::model::{
    ClusterId, Condition, ConditionStatus, Encryption, GatewayName, Liveness, PeerView,
};

use super::Known;
use crate::catalog::PeerCatalog;
use crate::now::Now;

pub(super) fn views(
    known: &Known<'_>,
    now: Now,
    conditions: &mut Vec<Condition>,
) -> BTreeMap<ClusterId, PeerView> {
    let mut views = BTreeMap::new();
    for (id, peer) in known.catalog.peers() {
        let allotted = known.allocations.peers.get(id);
        let liveness = peer.life.liveness(now);
        let encryption = agreed(known, id, peer);
        let silent = peer.silent_gateways(now);
        conditions.push(connected(id, peer, liveness, silent.keys()));
        conditions.push(packets(id, encryption));
        conditions.extend(known.introduced.get(id).map(|by| introduced(id, by)));
        let Some(allotted) = allotted else {
            continue;
        };
        let part = peer.cluster_part();
        let told = part.and_then(|p| p.numbers.get(&known.facts.cluster).copied());
        let view = PeerView {
            number: allotted.value.number,
            our_number_there: told.or(peer.number_there),
            mappings: allotted.value.mappings.clone(),
            gateways: part.map_or_else(Vec::new, |p| {
                p.gateways.values().map(|g| g.tunnel).collect()
            }),
            silent_gateways: silent.into_values().collect(),
            carried_by: carriers(known, id).map(|(name, _)| name.clone()).collect(),
            mtu: carriers(known, id).map(|(_, mtu)| mtu).min(),
            nodes: part.map_or_else(Vec::new, |p| p.nodes.values().flatten().copied().collect()),
            acknowledged_nodes: peer.acknowledged_nodes(),
            encryption,
            liveness,
            heard: peer.life.heard(),
        };
        views.insert(id.clone(), view);
    }
    views
}

/// Own gateways that have a session for packets to it, and what goes there in one piece.
fn carriers<'a>(
    known: &Known<'a>,
    id: &'a ClusterId,
) -> impl Iterator<Item = (&'a GatewayName, u16)> {
    let carry = known.gateways.iter();
    carry.filter_map(|(name, gateway)| Some((name, *gateway.carries.get(id)?)))
}

/// Plain only where both say so; never silently.
fn agreed(known: &Known<'_>, id: &ClusterId, peer: &PeerCatalog) -> Encryption {
    let ours = known.facts.plain_with.contains(id);
    let part = peer.cluster_part();
    let theirs = part.map(|p| p.plain_with.contains(&known.facts.cluster));
    match (ours, theirs) {
        (true, Some(true)) => Encryption::Plain,
        _ if peer.takes_packets == Some(false) => Encryption::Unavailable,
        _ => Encryption::Encrypted,
    }
}

fn condition(id: &ClusterId, kind: &str, holds: bool, reason: &str, message: String) -> Condition {
    Condition {
        object: format!("ClusterPeer {id}"),
        kind: kind.to_owned(),
        status: if holds {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: reason.to_owned(),
        message,
    }
}

fn connected<'a>(
    id: &ClusterId,
    peer: &PeerCatalog,
    liveness: Liveness,
    silent: impl Iterator<Item = &'a GatewayName>,
) -> Condition {
    let (holds, reason, message) = match (&peer.fault, liveness) {
        (Some(fault), _) => (false, "PeerFault", fault.clone()),
        (None, Liveness::Live) if peer.held().is_none() => (
            false,
            "NeverSynced",
            "its catalog has not arrived yet".to_owned(),
        ),
        (None, Liveness::Live) => (true, "Live", avoided(silent)),
        (None, Liveness::Suspect) => {
            let message = "its sessions are silent, its packets are not: new flows avoid it";
            (false, "Suspect", message.to_owned())
        }
        (None, Liveness::Withdrawn) => {
            let message = "silent: its share is withdrawn; check its gateways and the way there";
            (false, "Silent", message.to_owned())
        }
    };
    condition(id, "Connected", holds, reason, message)
}

/// Which of its gateways get no packets, if any.
fn avoided<'a>(silent: impl Iterator<Item = &'a GatewayName>) -> String {
    let silent: Vec<&str> = silent.map(GatewayName::as_str).collect();
    match silent.as_slice() {
        [] => String::new(),
        [one] => format!("its gateway {one} is silent: packets go to its others"),
        several => {
            let several = several.join(", ");
            format!("its gateways {several} are silent: packets go to its others")
        }
    }
}

fn introduced(id: &ClusterId, by: &ClusterId) -> Condition {
    let message = format!("no token has paired it: {by} vouches for it");
    condition(id, "Introduced", true, "Vouched", message)
}

fn packets(id: &ClusterId, encryption: Encryption) -> Condition {
    let (reason, message) = match encryption {
        Encryption::Plain => ("Plain", "plain, packets not authenticated"),
        Encryption::Encrypted => ("Encrypted", "encrypted and authenticated"),
        Encryption::Unavailable => (
            "EncryptionUnavailable",
            "no packet passes: they must be encrypted, and its gateways cannot take them so; upgrade it",
        ),
    };
    let message = message.to_owned();
    condition(id, "PacketsAllowed", encryption.passes(), reason, message)
}
