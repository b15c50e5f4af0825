use std::collections::BTreeSet;

use causeway_proto::model::{
    Ack, ClusterSettings, Condition, Frame, GatewayAddress, Held, Hello, Liveness, Nack,
    NackReason, ServiceName, SnapshotBegin, SnapshotEnd, TrustBundle, Want,
};

mod carrying;
mod office;
mod silence;
mod trust;

use super::*;
use crate::samples::{NameKeys, at, bundle, export, exports, id};
use crate::session::VERSIONS;

fn settings(cluster: &str) -> Settings {
    Settings {
        cluster: id(cluster),
        cluster_set: "prod.example".parse().unwrap(),
        gateway: "g0".parse().unwrap(),
        node: "n0".parse().unwrap(),
        address: GatewayAddress {
            session: format!("{cluster}:7443"),
            tunnel: "192.168.0.1".parse().unwrap(),
        },
        leader: Some("g0".parse().unwrap()),
        instance: 1,
        random: [7; 32],
        shared: ClusterSettings {
            plain: true,
            mappings: vec!["242.0.0.0/8".parse().unwrap()],
            pod_prefixes: vec!["10.244.0.0/16".parse().unwrap()],
            ..ClusterSettings::default()
        },
        seed: None,
    }
}

/// What the agent of a node says when there is nothing to say.
fn word_of(node: &str, now: u64) -> Report {
    Report {
        node: node.parse().unwrap(),
        time: at(now).wall,
        programmed: None,
        drops: BTreeMap::new(),
        services: BTreeMap::new(),
        heard: BTreeMap::new(),
        pods: BTreeMap::new(),
        flows: Default::default(),
        hooks: BTreeMap::new(),
        problems: Vec::new(),
        checks: Vec::new(),
    }
}

/// A leader that trusts these and offers `shop/own`; its disk answers only when told to.
struct Host {
    gateway: Gateway,
    stamps: Vec<(u64, u64)>,
    ends: Vec<String>,
    now: u64,
}

impl Host {
    fn new(cluster: &str, trusts: &[&str], restored: Restored) -> Self {
        let keys = Box::new(NameKeys(id(cluster)));
        let mut gateway = Gateway::new(settings(cluster), restored, keys, at(0));
        let bundles = trusts.iter().map(|c| (id(c), bundle(&id(c))));
        let bundles: BTreeMap<ClusterId, TrustBundle> = bundles.collect();
        let trust = TrustState {
            bundles,
            ..TrustState::default()
        };
        assert!(gateway.set_trust(trust, at(0)));
        let mut host = Self {
            gateway,
            stamps: Vec::new(),
            ends: Vec::new(),
            now: 2_000,
        };
        host.offer(&["shop/own"]);
        host.gateway.handle_timeout(at(2_000));
        host
    }

    fn offer(&mut self, names: &[&str]) {
        let each = names.iter().map(|n| (*n, export(&["http:80/TCP"], &[1])));
        let publication = Publication {
            exports: exports(&each.collect::<Vec<_>>()),
            ..Publication::default()
        };
        assert!(self.gateway.publish(publication));
    }

    fn work(&mut self) {
        self.gateway.settle(at(self.now));
        while let Some(command) = self.gateway.poll() {
            match command {
                Command::Keep(Keep::Allocations(a)) => self.stamps.push((a.epoch, a.version)),
                Command::Closed { end, .. } => self.ends.push(end.to_string()),
                _ => {}
            }
        }
    }

    fn disk_answers(&mut self) {
        for (epoch, version) in std::mem::take(&mut self.stamps) {
            self.gateway.kept(epoch, version);
        }
        self.work();
    }

    fn whole(&self) -> CatalogDelta {
        self.gateway.catalog().own.snapshot().unwrap()
    }

    /// A session with `peer`, up.
    fn meet(&mut self, session: u64, peer: &str, held: Option<Held>) {
        self.meet_gateway(session, peer, "g0", held);
    }

    fn meet_gateway(&mut self, session: u64, peer: &str, gateway: &str, held: Option<Held>) {
        let (number, now) = (SessionId(session), at(self.now));
        let gateway: GatewayName = gateway.parse().unwrap();
        self.gateway
            .open_session(number, id(peer), gateway.clone(), true, now);
        let hello = Hello {
            cluster: id(peer),
            cluster_set: "prod.example".parse().unwrap(),
            gateway,
            versions: VERSIONS,
            features: BTreeSet::from([crate::session::PACKETS.to_owned()]),
            time: now.wall,
            number_for_you: None,
            plain_allowed: true,
            held,
            instance: 9,
        };
        self.gateway.handle_frame(number, Frame::Hello(hello), now);
    }

    fn hears(&mut self, session: u64, whole: CatalogDelta) {
        let (number, now) = (SessionId(session), at(self.now));
        let revision = whole.header.header.revision;
        let header = whole.header;
        let mut frames = vec![Frame::SnapshotBegin(SnapshotBegin { header })];
        frames.extend(whole.parts.into_iter().map(Frame::SnapshotPart));
        frames.push(Frame::SnapshotEnd(SnapshotEnd { revision }));
        for frame in frames {
            self.gateway.handle_frame(number, frame, now);
        }
        self.work();
    }

    fn sends(&mut self, session: u64) -> Vec<&'static str> {
        let frames = std::iter::from_fn(|| self.gateway.poll_frame(SessionId(session)));
        frames.map(|f| f.name()).collect()
    }

    fn imports(&self) -> Vec<String> {
        let names = self.gateway.view().imports.keys();
        names.map(ServiceName::to_string).collect()
    }

    fn connected(&self, peer: &str) -> String {
        self.connection(peer).reason.clone()
    }

    fn connection(&self, peer: &str) -> &Condition {
        let object = format!("ClusterPeer {peer}");
        let mut found = self.gateway.view().conditions.iter();
        let found = found.find(|c| c.object == object && c.kind == "Connected");
        found.unwrap()
    }
}

/// A peer's catalog with these services.
fn told_by(peer: &str, names: &[&str]) -> CatalogDelta {
    let mut host = Host::new(peer, &["east"], Restored::default());
    host.offer(names);
    host.work();
    host.disk_answers();
    host.whole()
}

#[test]
fn nothing_is_told_before_it_is_kept() {
    let mut east = Host::new("east", &["west"], Restored::default());
    east.meet(1, "west", None);
    let want = Frame::Want(Want::Snapshot);
    east.gateway.handle_frame(SessionId(1), want, at(2_000));
    east.work();
    assert!(east.gateway.catalog().own.held().is_none());
    assert!(east.imports().is_empty());
    assert_eq!(east.sends(1), ["Hello", "Want"]);
    east.disk_answers();
    assert_eq!(east.imports(), ["shop/own"]);
    assert_eq!(
        east.sends(1),
        [
            "SnapshotBegin",
            "SnapshotPart",
            "SnapshotPart",
            "SnapshotEnd"
        ]
    );
    // With a follower its word is needed, too.
    let mut follower = Gateway::new(
        Settings {
            gateway: "g1".parse().unwrap(),
            ..settings("east")
        },
        Restored::default(),
        Box::new(NameKeys(id("east"))),
        at(0),
    );
    let name: GatewayName = "g1".parse().unwrap();
    east.gateway.follower_up(follower.follow_hello(), at(2_000));
    east.offer(&["shop/own", "shop/new"]);
    east.work();
    east.disk_answers();
    assert_eq!(east.imports(), ["shop/own"]);
    let state = east.gateway.poll_follow(&name, at(2_000)).unwrap();
    let sequence = state.sequence;
    assert!(east.gateway.poll_follow(&name, at(2_000)).is_none());
    assert!(follower.follow(state, at(2_000)));
    east.gateway.follower_ack(&name, sequence);
    east.work();
    assert_eq!(east.imports(), ["shop/new", "shop/own"]);
    // The follower serves what the leader has signed.
    let state = east.gateway.poll_follow(&name, at(2_000)).unwrap();
    assert!(follower.follow(state, at(2_000)));
    assert_eq!(
        follower.catalog().own.snapshot(),
        east.gateway.catalog().own.snapshot()
    );
    assert!(!follower.publish(Publication::default()));
}

#[test]
fn who_tells_two_stories_is_closed_and_shown_and_the_first_one_stays() {
    let (one, other) = (
        told_by("west", &["shop/one"]),
        told_by("west", &["shop/other"]),
    );
    assert_eq!(one.header.header.revision, other.header.header.revision);
    let mut east = Host::new("east", &["west"], Restored::default());
    east.meet(1, "west", None);
    east.hears(1, one);
    east.disk_answers();
    east.disk_answers();
    assert_eq!(east.imports(), ["shop/one", "shop/own"]);
    assert_eq!(east.connected("west"), "Live");
    east.meet(2, "west", None);
    east.hears(2, other);
    assert!(
        east.ends
            .iter()
            .any(|e| e.contains("peer's fault: tells two stories")),
        "{:?}",
        east.ends
    );
    assert!(east.sends(2).ends_with(&["Nack", "Bye"]));
    assert_eq!(east.imports(), ["shop/one", "shop/own"]);
    assert_eq!(east.connected("west"), "PeerFault");
}

#[test]
fn who_speaks_for_a_third_is_not_heard() {
    let mut east = Host::new("east", &["west", "south"], Restored::default());
    east.meet(1, "south", None);
    east.hears(1, told_by("west", &["shop/one"]));
    east.disk_answers();
    assert_eq!(east.ends, ["peer's fault: south speaks for west"]);
    assert_eq!(east.imports(), ["shop/own"]);
    assert_eq!(east.connected("south"), "PeerFault");
    assert_eq!(east.connected("west"), "NeverSynced");
    // Who is no member is told so and has no session.
    east.meet(2, "north", None);
    east.work();
    assert!(east.ends[1].contains("no member"));
    assert_eq!(east.sends(2), ["Hello", "Bye"]);
}

#[test]
fn what_a_peer_refuses_is_shown_until_it_takes_something() {
    let mut east = Host::new("east", &["west"], Restored::default());
    east.work();
    east.disk_answers();
    east.meet(1, "west", None);
    let held = east.gateway.catalog().own.held().unwrap();
    let nack = Frame::Nack(Nack {
        revision: held.revision,
        reason: NackReason::BadSignature,
        message: "not signed by the catalog key".to_owned(),
    });
    east.gateway.handle_frame(SessionId(1), nack, at(2_000));
    east.work();
    let told = |east: &Host| {
        let mut problems = east.gateway.view().problems.iter();
        problems.any(|p| p.message.contains("refuses our revision"))
    };
    assert!(told(&east));
    let ack = Frame::Ack(Ack { held });
    east.gateway.handle_frame(SessionId(1), ack, at(2_000));
    east.work();
    assert!(!told(&east));
}

#[test]
fn what_cannot_be_read_ends_the_session_alone() {
    let mut east = Host::new("east", &["west"], Restored::default());
    east.meet(1, "west", None);
    east.hears(1, told_by("west", &["shop/one"]));
    east.disk_answers();
    east.disk_answers();
    let why = "a frame of 2097152 bytes; at most 1048576";
    east.gateway.handle_garbage(SessionId(1), why, at(2_000));
    east.work();
    assert!(east.ends[0].contains(why));
    assert_eq!(east.imports(), ["shop/one", "shop/own"]);
    let peer = &east.gateway.view().peers[&id("west")];
    assert_eq!(peer.liveness, Liveness::Live);
}

#[test]
fn after_a_restart_all_is_there_at_once_in_a_higher_epoch() {
    let mut east = Host::new("east", &["west"], Restored::default());
    east.meet(1, "west", None);
    east.hears(1, told_by("west", &["shop/one"]));
    east.disk_answers();
    east.disk_answers();
    let catalog = east.gateway.catalog();
    let restored = Restored {
        publication: east.gateway.publication().cloned(),
        allocations: Some(east.gateway.allocations().clone()),
        trust: Some(east.gateway.trust().clone()),
        own: catalog.own.snapshot(),
        peers: BTreeMap::from([(id("west"), catalog.peers()[&id("west")].snapshot().unwrap())]),
        ..Restored::default()
    };
    let before = east.gateway.view().clone();
    let mut again = Host::new("east", &["west"], restored);
    again.work();
    let view = again.gateway.view();
    assert_eq!(view.imports, before.imports);
    assert_eq!(
        view.peers[&id("west")].mappings,
        before.peers[&id("west")].mappings
    );
    assert!(view.sync.local && view.sync.missing.is_empty());
    // Nothing is cut in the old epoch: what was said last there may not be on disk.
    assert_eq!(again.whole().header, east.whole().header);
    again.disk_answers();
    let (old, new) = (east.whole().header.header, again.whole().header.header);
    assert!(new.revision.epoch > old.revision.epoch);
    assert_ne!(new.previous, Default::default());
}
