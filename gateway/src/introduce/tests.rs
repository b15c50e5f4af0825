use causeway_proto::model::{Revocation, Succession, Timestamp};

use super::*;
use crate::samples::id;

fn bundle(cluster: &str, ca: &str) -> TrustBundle {
    TrustBundle {
        cluster: id(cluster),
        authorities: vec![ca.as_bytes().to_vec()],
        catalog_key: vec![1],
        gateways: vec![format!("{cluster}:7443")],
        succession: None,
    }
}

/// With a CA that took over from that one, while both are taken.
fn after(cluster: &str, ca: &str, former: &str) -> TrustBundle {
    let former = former.as_bytes().to_vec();
    TrustBundle {
        authorities: vec![ca.as_bytes().to_vec(), former.clone()],
        succession: Some(Succession {
            former,
            cross: Vec::new(),
        }),
        ..bundle(cluster, ca)
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
    let introduction = |(cluster, ca): &(&str, &str)| (id(cluster), bundle(cluster, ca));
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
        let (next, problems) = heard(&self.trust, &said);
        let (again, _) = heard(&next, &said);
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

/// What a peer says of those bundles; itself, or others.
fn says(bundles: &[TrustBundle]) -> ClusterPart {
    let named = bundles.iter().map(|b| (b.cluster.clone(), b.clone()));
    ClusterPart {
        introductions: named.collect(),
        ..ClusterPart::default()
    }
}

impl East {
    fn ca_of(&self, cluster: &str) -> Vec<&str> {
        let bundle = self.trust.bundles.get(&id(cluster)).unwrap();
        let authorities = bundle.authorities.iter();
        authorities
            .map(|ca| std::str::from_utf8(ca).unwrap())
            .collect()
    }
}

#[test]
fn a_peer_itself_says_that_another_ca_took_over() {
    let mut east = East::paired(&["west"]);
    let (_, problems) = east.hears(&[("west", says(&[after("west", "new", "west")]))]);
    assert_eq!(
        (east.ca_of("west"), problems.len()),
        (vec!["new", "west"], 0)
    );
    // The former is no more taken once west says so.
    let mut over = after("west", "new", "west");
    over.authorities.truncate(1);
    east.hears(&[("west", says(std::slice::from_ref(&over)))]);
    assert_eq!(east.ca_of("west"), ["new"]);
    // And the next, but nothing that did not come from the one that is known, or that is not proven.
    for (ca, former, why) in [
        (
            "other",
            "west",
            "did not take over from the one that is known",
        ),
        ("forged", "new", "the CA is that of another"),
    ] {
        let said = east.hears(&[("west", says(&[after("west", ca, former)]))]);
        assert!(said.1[0].contains(why), "{said:?}");
        assert_eq!(east.ca_of("west"), ["new"]);
    }
    east.hears(&[("west", says(&[after("west", "newer", "new")]))]);
    assert_eq!(east.ca_of("west"), ["newer", "new"]);
}

#[test]
fn introductions_bear_a_takeover_that_not_all_have_heard_of() {
    let new = || says(&[after("far", "new", "far")]);
    let old = || says(&[bundle("far", "far")]);
    let mut east = East::paired(&["north", "west"]);
    // The latest one that proves that it came from the other.
    let said = east.hears(&[("north", old()), ("west", new())]);
    assert_eq!(said, ("far by west, north, west".to_owned(), Vec::new()));
    assert_eq!(east.ca_of("far"), ["new", "far"]);
    // It stays whatever the vouchers have heard of, and their word changes no CA.
    let said = east.hears(&[("north", old()), ("west", old())]);
    assert_eq!(said, ("far by west, north, west".to_owned(), Vec::new()));
    assert_eq!(east.ca_of("far"), ["new", "far"]);
    let mut east = East::paired(&["west"]);
    east.hears(&[("west", old())]);
    let said = east.hears(&[("west", new())]);
    assert_eq!(said, ("far by west, west".to_owned(), Vec::new()));
    assert_eq!(east.ca_of("far"), ["far"]);
    // Its own word does.
    east.hears(&[("west", new()), ("far", new())]);
    assert_eq!(east.ca_of("far"), ["new", "far"]);
}

#[test]
fn cut_off_by_a_peer_before_the_takeover_is_cut_off_after() {
    let mut east = East::paired(&["north", "west"]);
    let vouches = says(&[after("far", "new", "far")]);
    let said = east.hears(&[("north", part_of(&[], &["far"])), ("west", vouches)]);
    assert_eq!(said.0, "north, west");
}
