use causeway_proto::model::{Revocation, Timestamp};

use super::*;
use crate::samples::id;

fn bundle(cluster: &str, ca: &str) -> TrustBundle {
    TrustBundle {
        cluster: id(cluster),
        authorities: vec![ca.as_bytes().to_vec()],
        catalog_key: vec![1],
        gateways: vec![format!("{cluster}:7443")],
    }
}

/// East, paired with these.
fn east(peers: &[&str]) -> TrustState {
    let all = peers.iter().chain(&["east"]);
    TrustState {
        bundles: all.map(|peer| (id(peer), bundle(peer, peer))).collect(),
        ..TrustState::default()
    }
}

/// What a peer says: whom it vouches for, with which CA, and whom it has cut off.
fn part_of(vouches: &[(&str, &str)], revokes: &[&str]) -> ClusterPart {
    let introduction = |(cluster, ca): &(&str, &str)| {
        let TrustBundle {
            mut authorities,
            catalog_key,
            gateways,
            ..
        } = bundle(cluster, ca);
        let introduction = Introduction {
            ca: authorities.remove(0),
            catalog_key,
            gateways,
        };
        (id(cluster), introduction)
    };
    let revocation = |cluster: &&str| {
        let ca = authority_digest(&bundle(cluster, cluster)).unwrap();
        let time = Timestamp(1);
        (id(cluster), Revocation { ca, time })
    };
    ClusterPart {
        introductions: vouches.iter().map(introduction).collect(),
        revocations: revokes.iter().map(revocation).collect(),
        ..ClusterPart::default()
    }
}

struct East {
    trust: TrustState,
    only: Option<BTreeSet<ClusterId>>,
}

impl East {
    fn paired(peers: &[&str]) -> Self {
        Self {
            trust: east(peers),
            only: None,
        }
    }

    /// Hears these; who is a peer then, with the one that vouches for it, and what is wrong.
    fn hears(&mut self, said: &[(&str, ClusterPart)]) -> (String, Vec<String>) {
        let names: Vec<_> = said.iter().map(|(by, _)| id(by)).collect();
        let parts = names.iter().zip(said).map(|(by, (_, part))| (by, part));
        let check = |bundle: &TrustBundle| match bundle.authorities.first() {
            Some(ca) if ca == b"forged" => Err("the CA is that of another".to_owned()),
            _ => Ok(()),
        };
        let said = Said {
            own: &id("east"),
            only: self.only.as_ref(),
            parts: parts.collect(),
            check: &check,
        };
        let (next, problems) = introduced(&self.trust, &said);
        let (again, _) = introduced(&next, &said);
        assert_eq!(again, next, "it comes to rest");
        self.trust = next;
        let peers = self.trust.bundles.keys().filter(|id| id.as_str() != "east");
        let peers = peers.map(|id| match self.trust.introduced.get(id) {
            Some(by) => format!("{id} by {by}"),
            None => id.to_string(),
        });
        let problems = problems.iter().map(ToString::to_string);
        (peers.collect::<Vec<_>>().join(", "), problems.collect())
    }
}

#[test]
fn who_is_vouched_for_is_a_peer_while_somebody_does() {
    let mut east = East::paired(&["west", "south"]);
    let north = part_of(&[("north", "north"), ("east", "east")], &[]);
    let none = || part_of(&[], &[]);
    let (peers, problems) = east.hears(&[("west", north.clone()), ("south", none())]);
    assert_eq!(peers, "north by west, south, west");
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(east.trust.bundles[&id("north")].gateways, ["north:7443"]);
    // Another one vouches too, and then it alone.
    let both = [("west", north.clone()), ("south", north.clone())];
    assert_eq!(east.hears(&both).0, "north by west, south, west");
    let other = [("west", none()), ("south", north.clone())];
    assert_eq!(east.hears(&other).0, "north by south, south, west");
    // What its voucher says is not held at the moment.
    assert_eq!(
        east.hears(&[("west", none())]).0,
        "north by south, south, west"
    );
    assert_eq!(
        east.hears(&[("west", none()), ("south", none())]).0,
        "south, west"
    );
}

#[test]
fn it_is_one_hop_deep() {
    let mut east = East::paired(&["west"]);
    let west = || ("west", part_of(&[("north", "north")], &[]));
    assert_eq!(east.hears(&[west()]).0, "north by west, west");
    let north = || ("north", part_of(&[("far", "far")], &["west"]));
    assert_eq!(east.hears(&[west(), north()]).0, "north by west, west");
    let vouched: Vec<_> = paired(&east.trust, &id("east"))
        .map(|(id, _)| id.as_str().to_owned())
        .collect();
    assert_eq!(vouched, ["west"], "east itself vouches for those alone");
    // Paired by a token it may.
    east.trust.introduced.clear();
    assert_eq!(
        east.hears(&[west(), north()]).0,
        "far by north, north, west"
    );
}

#[test]
fn an_impostor_takes_no_known_name() {
    let mut east = East::paired(&["west", "south"]);
    let (peers, problems) =
        east.hears(&[("west", part_of(&[("south", "evil"), ("east", "evil")], &[]))]);
    assert_eq!(peers, "south, west");
    assert_eq!(east.trust.bundles[&id("south")].authorities, [b"south"]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[1].contains("peer west: cluster south: vouches for another CA"));
    // A name that was introduced is as good.
    east.hears(&[("south", part_of(&[("north", "north")], &[]))]);
    let evil = ("west", part_of(&[("north", "evil")], &[]));
    let (peers, problems) =
        east.hears(&[("south", part_of(&[("north", "north")], &[])), evil.clone()]);
    assert_eq!(peers, "north by south, south, west");
    assert_eq!(east.trust.bundles[&id("north")].authorities, [b"north"]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    // Two tell of one that is not known yet: nobody knows which is right.
    let mut east = East::paired(&["west", "south"]);
    let (peers, problems) = east.hears(&[("south", part_of(&[("north", "north")], &[])), evil]);
    assert_eq!(peers, "south, west");
    assert!(problems[0].contains("neither is taken"), "{problems:?}");
    let (peers, problems) = east.hears(&[("west", part_of(&[("north", "forged")], &[]))]);
    assert_eq!(peers, "south, west");
    assert!(problems[0].contains("cluster north: the CA is that of another"));
}

#[test]
fn it_loses_to_revocations() {
    let mut east = East::paired(&["west", "south"]);
    let north = || ("west", part_of(&[("north", "north")], &[]));
    assert_eq!(east.hears(&[north()]).0, "north by west, south, west");
    // Another peer has cut it off, and says so.
    let cut = || ("south", part_of(&[], &["north"]));
    assert_eq!(east.hears(&[north(), cut()]).0, "south, west");
    assert_eq!(east.hears(&[north()]).0, "north by west, south, west");
    // This cluster has: for good, with whatever CA it is introduced again.
    let ca = authority_digest(&bundle("north", "north")).unwrap();
    let time = Timestamp(1);
    east.trust
        .revocations
        .insert(id("north"), Revocation { ca, time });
    assert_eq!(east.hears(&[north()]).0, "south, west");
    assert_eq!(
        east.hears(&[("west", part_of(&[("north", "new")], &[]))]).0,
        "south, west"
    );
    // One that a token has paired stays, whoever else has cut it off.
    assert_eq!(
        east.hears(&[("west", part_of(&[], &["south"]))]).0,
        "south, west"
    );
    // Whose voucher is cut off goes with it.
    let mut east = East::paired(&["west", "south"]);
    east.hears(&[north()]);
    let west = east.trust.bundles.remove(&id("west")).unwrap();
    let ca = authority_digest(&west).unwrap();
    east.trust
        .revocations
        .insert(id("west"), Revocation { ca, time });
    assert_eq!(east.hears(&[north()]).0, "south");
}

#[test]
fn who_took_leave_comes_back_by_a_token_alone() {
    let mut east = East::paired(&["west", "north"]);
    let said = || [("west", part_of(&[("north", "north")], &[]))];
    part(&mut east.trust, &id("north"));
    assert_eq!(east.hears(&said()).0, "west");
    // As a join does it.
    let north = bundle("north", "north");
    east.trust.bundles.insert(id("north"), north);
    east.trust.parted.remove(&id("north"));
    assert_eq!(east.hears(&said()).0, "north, west");
    for n in 0..PEERS + 5 {
        part(&mut east.trust, &id(&format!("x{n}")));
    }
    assert_eq!(east.trust.parted.len(), PEERS);
}

#[test]
fn a_cluster_may_limit_or_refuse_it() {
    let mut east = East::paired(&["west"]);
    let said = || [("west", part_of(&[("north", "north"), ("far", "far")], &[]))];
    east.only = Some([id("far")].into());
    assert_eq!(east.hears(&said()).0, "far by west, west");
    east.only = Some(BTreeSet::new());
    assert_eq!(east.hears(&said()).0, "west");
    east.only = None;
    assert_eq!(east.hears(&said()).0, "far by west, north by west, west");
}

#[test]
fn a_flood_of_invented_clusters_is_bounded() {
    let names: Vec<String> = (0..2 * INTRODUCTIONS).map(|n| format!("x{n}")).collect();
    let invented: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), n.as_str())).collect();
    let mut east = East::paired(&["west"]);
    let (_, problems) = east.hears(&[("west", part_of(&invented, &[]))]);
    assert_eq!(east.trust.introduced.len(), INTRODUCTIONS);
    assert!(
        problems[0].contains("vouches for 512 clusters; 256 are looked at"),
        "{problems:?}"
    );
    // Several together fill no more than the peers that there can be.
    let vouchers: Vec<String> = (0..8).map(|n| format!("v{n}")).collect();
    let vouchers: Vec<&str> = vouchers.iter().map(String::as_str).collect();
    let mut east = East::paired(&vouchers);
    let said: Vec<_> = vouchers
        .iter()
        .enumerate()
        .map(|(n, by)| {
            let own: Vec<String> = (0..INTRODUCTIONS).map(|x| format!("y{n}-{x}")).collect();
            let own: Vec<(&str, &str)> = own.iter().map(|n| (n.as_str(), n.as_str())).collect();
            (*by, part_of(&own, &[]))
        })
        .collect();
    let (_, problems) = east.hears(&said);
    assert_eq!(east.trust.bundles.len(), PEERS);
    assert!(
        problems[0].contains("1000 peers are the most"),
        "{problems:?}"
    );
}
