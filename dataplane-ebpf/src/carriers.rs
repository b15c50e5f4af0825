//! Pure: which own gateways carry packets, by the word of two of them. When the node of one dies its word stays what it was,
//! and the other's is soon that it carries nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use causeway_proto::model::{Carriers, View};

/// The View with those gateways that `second` names too; where there is none of them for a peer, as the View says.
#[must_use]
pub fn agreed(view: &Arc<View>, second: &Carriers) -> Arc<View> {
    let mut agreed = Arc::clone(view);
    for (id, peer) in &view.peers {
        let Some(named) = second.0.get(id) else {
            continue;
        };
        let both: BTreeSet<_> = peer.carried_by.intersection(named).cloned().collect();
        if both.is_empty() || both == peer.carried_by {
            continue;
        }
        if let Some(peer) = Arc::make_mut(&mut agreed).peers.get_mut(id) {
            peer.carried_by = both;
        }
    }
    agreed
}

#[cfg(test)]
mod tests {
    use causeway_proto::model::{Encryption, GatewayName, Liveness, PeerNumber, PeerView};

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<GatewayName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn view(carried_by: &[&str]) -> Arc<View> {
        let mut view = View::empty("west".parse().unwrap(), "test".parse().unwrap());
        let peer = PeerView {
            number: PeerNumber::try_from(7).unwrap(),
            our_number_there: None,
            mappings: Vec::new(),
            gateways: Vec::new(),
            silent_gateways: Vec::new(),
            carried_by: names(carried_by),
            mtu: None,
            nodes: Vec::new(),
            acknowledged_nodes: BTreeSet::new(),
            encryption: Encryption::Encrypted,
            liveness: Liveness::Live,
            heard: None,
        };
        view.peers.insert("east".parse().unwrap(), peer);
        Arc::new(view)
    }

    #[test]
    fn who_is_named_by_both_carries() {
        let says = |first: &[&str], second: &[&str]| {
            let second = Carriers([("east".parse().unwrap(), names(second))].into());
            let agreed = agreed(&view(first), &second);
            agreed.peers[&"east".parse().unwrap()].carried_by.clone()
        };
        assert_eq!(says(&["w1", "w2"], &["w2"]), names(&["w2"]), "w1 has died");
        assert_eq!(says(&["w1"], &["w1", "w2"]), names(&["w1"]), "w2 has died");
        assert_eq!(says(&["w1", "w2"], &["w1", "w2"]), names(&["w1", "w2"]));
        // They know of different ones at the moment: better one that may not than none.
        assert_eq!(says(&["w1"], &["w2"]), names(&["w1"]));
        assert_eq!(says(&["w1"], &[]), names(&["w1"]));
        let same = view(&["w1"]);
        assert!(Arc::ptr_eq(&agreed(&same, &Carriers::default()), &same));
    }
}
