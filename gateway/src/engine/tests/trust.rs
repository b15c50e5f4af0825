use causeway_certs::bundle::authority_digest;
use causeway_proto::limits::SESSIONS_PER_PEER;
use causeway_proto::model::{Bye, ByeReason, Revocation};

use super::*;

fn with_ca(cluster: &str, ca: &[u8]) -> TrustBundle {
    TrustBundle {
        authorities: vec![ca.to_vec()],
        ..bundle(&id(cluster))
    }
}

#[test]
fn who_was_cut_off_comes_back_only_with_another_ca() {
    let mut east = Host::new("east", &["west"], Restored::default());
    let mut trust = east.gateway.trust().clone();
    let mut now_trusts = |ca: Option<&[u8]>, revoked: Option<&[u8]>| {
        trust.bundles.clear();
        let ca = ca.map(|ca| (id("west"), with_ca("west", ca)));
        trust.bundles.extend(ca);
        let cut = revoked.and_then(|ca| authority_digest(&with_ca("west", ca)));
        let time = Timestamp(1);
        trust
            .revocations
            .extend(cut.map(|ca| (id("west"), Revocation { ca, time })));
        assert!(east.gateway.set_trust(trust.clone(), at(2_000)));
        east.work();
        east.gateway.members().len()
    };
    assert_eq!(now_trusts(Some(b"old"), None), 1);
    assert_eq!(now_trusts(None, Some(b"old")), 0);
    assert_eq!(now_trusts(Some(b"old"), None), 0);
    assert_eq!(now_trusts(Some(b"new"), None), 1);
    // It is met again, and stays a member.
    east.meet(1, "west", None);
    assert_eq!(east.sends(1), ["Hello", "Want"]);
    let mut trust = east.gateway.trust().clone();
    trust.bundles.insert(id("west"), with_ca("west", b"old"));
    assert!(east.gateway.set_trust(trust, at(2_000)));
    assert_eq!(east.sends(1), ["Bye"]);
    east.meet(2, "west", None);
    assert_eq!(east.sends(2), ["Hello", "Bye"]);
}

/// The peer of the first session ends it.
fn west_goes(east: &mut Host, reason: ByeReason) {
    let bye = Bye {
        reason,
        lease_ms: 0,
        message: "west goes".to_owned(),
    };
    let now = at(2_000);
    east.gateway
        .handle_frame(SessionId(1), Frame::Bye(bye), now);
    east.work();
}

/// Of its own will a peer ends both ways of trust; other ends of a session do not.
#[test]
fn who_takes_leave_is_trusted_no_longer() {
    for (reason, stays) in [(ByeReason::Left, false), (ByeReason::Shutdown, true)] {
        let mut east = Host::new("east", &["west", "south"], Restored::default());
        east.meet(1, "west", None);
        east.meet(2, "south", None);
        west_goes(&mut east, reason);
        let bundles = &east.gateway.trust().bundles;
        assert_eq!(bundles.contains_key(&id("west")), stays, "{reason:?}");
        assert!(bundles.contains_key(&id("south")));
        assert_eq!(east.gateway.trust().version, if stays { 1 } else { 2 });
    }
}

/// The leader alone decides who is trusted.
#[test]
fn a_follower_keeps_the_trust_of_its_leader_when_a_peer_takes_leave() {
    let leader = Host::new("east", &["west"], Restored::default());
    let restored = Restored {
        trust: Some(leader.gateway.trust().clone()),
        ..Restored::default()
    };
    let settings = Settings {
        gateway: "g1".parse().unwrap(),
        ..settings("east")
    };
    let keys = Box::new(NameKeys(id("east")));
    let mut east = Host {
        gateway: Gateway::new(settings, restored, keys, at(0)),
        stamps: Vec::new(),
        ends: Vec::new(),
        now: 2_000,
    };
    east.meet(1, "west", None);
    west_goes(&mut east, ByeReason::Left);
    assert_eq!(east.ends.len(), 1);
    assert_eq!(east.gateway.members().len(), 1);
}

#[test]
fn a_node_that_is_silent_for_long_is_forgotten() {
    let mut east = Host::new("east", &[], Restored::default());
    east.gateway.report(word_of("n7", 2_000), at(2_000));
    east.gateway.handle_timeout(at(2_000 + FORGOTTEN_MS - 1));
    assert_eq!(east.gateway.reports().len(), 1);
    east.gateway.handle_timeout(at(2_000 + FORGOTTEN_MS));
    assert!(east.gateway.reports().is_empty());
}

#[test]
fn sessions_of_one_peer_are_bounded() {
    let mut east = Host::new("east", &["west", "south"], Restored::default());
    let open = |east: &mut Host, session, peer| {
        let gateway = "g0".parse().unwrap();
        let session = SessionId(session);
        east.gateway
            .open_session(session, id(peer), gateway, false, at(2_000));
    };
    let most = u64::try_from(SESSIONS_PER_PEER).unwrap();
    for session in 0..=most {
        open(&mut east, session, "west");
    }
    assert_eq!(east.sends(most), ["Hello", "Bye"]);
    assert_eq!(east.sends(0), ["Hello"]);
    open(&mut east, most + 1, "south");
    assert_eq!(east.sends(most + 1), ["Hello"]);
}

/// A leader with other keys: nothing of what it says counts, and an operator learns why.
#[test]
fn what_is_not_signed_by_the_own_key_is_followed_in_nothing() {
    let mut west = Host::new("west", &["east"], Restored::default());
    west.work();
    west.disk_answers();
    let settings = Settings {
        gateway: "g1".parse().unwrap(),
        ..settings("east")
    };
    let nothing = Restored::default();
    let keys = Box::new(NameKeys(id("east")));
    let mut follower = Gateway::new(settings, nothing, keys, at(0));
    west.gateway.follower_up(follower.follow_hello(), at(2_000));
    let name: GatewayName = "g1".parse().unwrap();
    let state = west.gateway.poll_follow(&name, at(2_000)).unwrap();
    assert!(state.catalog.is_some() && state.allocations.is_some());
    assert!(!follower.follow(state, at(2_000)));
    assert_eq!(follower.allocations().epoch, 0);
    assert!(follower.publication().is_none() && follower.poll().is_none());
    follower.settle(at(2_000));
    let problems = follower.view().problems.iter();
    let told: Vec<String> = problems.map(ToString::to_string).collect();
    assert!(
        told[0].contains("not signed by this cluster's catalog key"),
        "{told:?}"
    );
}
