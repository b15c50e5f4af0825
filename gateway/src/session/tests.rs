use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::PARTS;
use causeway_proto::model::{
    Allocations, Allotted, CatalogDelta, PartKey, SnapshotBegin, SnapshotEnd, Timestamp, TrustState,
};

mod laws;

use super::*;
use crate::catalog::{Catalog, Local, Own, parts};
use crate::samples::{NameKeys, at, bundle, export, exports, id};

fn hello(cluster: &str, held: Option<Held>) -> Hello {
    Hello {
        cluster: id(cluster),
        cluster_set: "prod.example".parse().unwrap(),
        gateway: "g0".parse().unwrap(),
        versions: VERSIONS,
        features: BTreeSet::new(),
        time: Timestamp(0),
        number_for_you: None,
        plain_allowed: true,
        held,
        instance: 1,
    }
}

/// One side: its catalog and its session with the other.
struct Side {
    name: &'static str,
    peer: &'static str,
    catalog: Catalog,
    session: Session,
    acknowledged: Option<Held>,
    end: Option<End>,
}

impl Side {
    fn new(name: &'static str, peer: &'static str) -> Self {
        let mut catalog = Catalog::new(id(name));
        catalog.keep_only(&BTreeSet::from([id(peer)]), at(0));
        Self {
            name,
            peer,
            session: Session::new(hello(name, None), id(peer), "g0".parse().unwrap(), at(0)),
            catalog,
            acknowledged: None,
            end: None,
        }
    }

    fn reopen(&mut self, now: Now) {
        let held = self.catalog.peers()[&id(self.peer)].held();
        let gateway = "g0".parse().unwrap();
        self.session = Session::new(hello(self.name, held), id(self.peer), gateway, now);
        self.end = None;
    }

    fn offer(&mut self, services: &[(&str, &[u8])]) {
        let services: Vec<_> = services
            .iter()
            .map(|(name, hosts)| (*name, export(&["http:80/TCP"], hosts)))
            .collect();
        let exports = exports(&services);
        let mut allocations = Allocations::default();
        for (n, name) in exports.services.keys().enumerate() {
            let value = format!("241.0.0.{}", n + 1).parse().unwrap();
            let vip = Allotted { value, freed: None };
            allocations.vips.insert(name.clone(), vip);
        }
        let (none, trust, nobody) = (BTreeMap::new(), TrustState::default(), BTreeSet::new());
        let local = Local {
            exports: &exports,
            allocations: &allocations,
            trust: &trust,
            gateways: &none,
            prefixes: &[],
            plain_with: &nobody,
            introductions: &BTreeMap::new(),
        };
        let content = parts(local, &self.catalog.own.contents());
        let keys = NameKeys(id(self.name));
        let own = &mut self.catalog.own;
        own.cut(content, &BTreeMap::new(), 1, at(0), &keys);
    }

    fn act(&mut self) {
        let keys = NameKeys(id(self.name));
        let peer = id(self.peer);
        while let Some(output) = self.session.poll_output() {
            let result = match output {
                Output::Apply(delta) => self.catalog.apply(&peer, &bundle(&peer), &delta, &keys),
                Output::ApplyHeader(header) => {
                    self.catalog
                        .apply_header(&peer, &bundle(&peer), &header, &keys)
                }
                Output::Acknowledged(held) => {
                    self.acknowledged = Some(held);
                    continue;
                }
                Output::Closed(end) => {
                    self.end = Some(end);
                    continue;
                }
                _ => continue,
            };
            self.session.applied(result);
        }
        self.session.serve(&self.catalog.own);
    }

    fn theirs(&self) -> Vec<String> {
        let peer = &self.catalog.peers()[&id(self.peer)];
        let services = peer.namespaces().flat_map(|n| n.services.keys());
        services.map(ToString::to_string).collect()
    }

    fn sends(&mut self) -> Vec<&'static str> {
        let frames = std::iter::from_fn(|| self.session.poll_frame());
        frames.map(|f| f.name()).collect()
    }
}

/// Frames go to and fro until nobody has any; the number of frames.
fn talk(a: &mut Side, b: &mut Side, now: Now) -> usize {
    let mut count = 0;
    loop {
        a.act();
        b.act();
        let (from_a, from_b) = (a.session.poll_frame(), b.session.poll_frame());
        if from_a.is_none() && from_b.is_none() {
            return count;
        }
        count += 1;
        assert!(count < 1000, "they never stop");
        if let Some(frame) = from_a {
            b.session.handle(frame, now);
        }
        if let Some(frame) = from_b {
            a.session.handle(frame, now);
        }
    }
}

fn pair() -> (Side, Side) {
    let (mut east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    talk(&mut east, &mut west, at(0));
    assert!(east.session.is_up() && west.session.is_up());
    (east, west)
}

#[test]
fn both_learn_all_whoever_had_it_first() {
    let (mut east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    east.offer(&[("shop/cart", &[1])]);
    talk(&mut east, &mut west, at(0));
    assert_eq!(west.theirs(), ["shop/cart"]);
    west.offer(&[("shop/db", &[1]), ("pay/card", &[])]);
    east.offer(&[("shop/cart", &[])]);
    talk(&mut east, &mut west, at(10));
    assert_eq!(east.theirs(), ["pay/card", "shop/db"]);
    assert_eq!(east.acknowledged, east.catalog.own.held());
    assert_eq!(west.acknowledged, west.catalog.own.held());
    assert_eq!(talk(&mut east, &mut west, at(20)), 0);
}

#[test]
fn what_is_held_is_not_sent_again() {
    let (mut east, mut west) = pair();
    east.offer(&[("shop/cart", &[1]), ("pay/card", &[])]);
    talk(&mut east, &mut west, at(0));
    east.offer(&[("shop/cart", &[])]);
    east.reopen(at(100));
    west.reopen(at(100));
    let (a, b) = (east.session.poll_frame(), west.session.poll_frame());
    west.session.handle(a.unwrap(), at(100));
    east.session.handle(b.unwrap(), at(100));
    west.act();
    east.session
        .handle(west.session.poll_frame().unwrap(), at(100));
    east.act();
    assert_eq!(east.sends(), ["Want", "Delta"]);
    // Up to date: only the header, as an answer.
    east.reopen(at(200));
    west.reopen(at(200));
    let west_holds = east.catalog.own.held();
    east.session
        .handle(Frame::Hello(hello("west", None)), at(200));
    east.session
        .handle(Frame::Want(Want::Since(west_holds.unwrap())), at(200));
    east.act();
    assert_eq!(east.sends(), ["Hello", "Want", "Header"]);
    assert_eq!(east.acknowledged, west_holds);
}

#[test]
fn changes_coalesce_while_one_is_under_way() {
    let (mut east, mut west) = pair();
    east.offer(&[("shop/cart", &[1])]);
    talk(&mut east, &mut west, at(0));
    for n in 0..50u8 {
        let hosts: &[u8] = if n % 2 == 0 { &[] } else { &[1] };
        east.offer(&[("shop/cart", hosts)]);
        east.act();
    }
    // One Delta is under way; the next one is made when it is answered.
    assert_eq!(east.sends(), ["Delta"]);
    east.reopen(at(1));
    west.reopen(at(1));
    assert!(talk(&mut east, &mut west, at(1)) < 10);
    let held = west.catalog.peers()[&id("east")].held();
    assert_eq!(held, east.catalog.own.held());
}

fn fault(frames: Vec<Frame>) -> String {
    let (mut east, _) = pair();
    for frame in frames {
        east.session.handle(frame, at(1));
    }
    east.act();
    match east.end.take() {
        Some(End::PeerFault(why)) => {
            assert_eq!(east.sends().last(), Some(&"Bye"));
            why
        }
        other => panic!("{other:?}"),
    }
}

fn snapshot(services: &[(&str, &[u8])]) -> (SnapshotBegin, Vec<Frame>, SnapshotEnd) {
    let mut west = Side::new("west", "east");
    west.offer(services);
    let whole = west.catalog.own.snapshot().unwrap();
    let revision = whole.header.header.revision;
    (
        SnapshotBegin {
            header: whole.header,
        },
        whole.parts.into_iter().map(Frame::SnapshotPart).collect(),
        SnapshotEnd { revision },
    )
}

#[test]
fn who_breaks_the_protocol_is_told_and_left() {
    let (begin, parts, end) = snapshot(&[("shop/cart", &[1]), ("pay/card", &[])]);
    let begin_frame = Frame::SnapshotBegin(begin.clone());
    let end_frame = Frame::SnapshotEnd(end);
    let whole = |parts: &[Frame]| -> Vec<Frame> {
        let mut all = vec![begin_frame.clone()];
        all.extend(parts.to_vec());
        all.push(end_frame.clone());
        all
    };
    assert_eq!(
        fault(vec![Frame::Hello(hello("west", None))]),
        "a second Hello"
    );
    assert_eq!(
        fault(whole(&parts[1..])),
        "a truncated Snapshot: 2 of 3 parts"
    );
    let twice = [parts[0].clone(), parts[0].clone()];
    assert_eq!(fault(whole(&twice)), "a Snapshot with cluster twice");
    assert_eq!(fault(vec![parts[0].clone()]), "a part outside a Snapshot");
    assert_eq!(fault(vec![end_frame.clone()]), "the end of no Snapshot");
    let header = Frame::Header(begin.header.clone());
    let inside = fault(vec![begin_frame.clone(), header]);
    assert!(inside.starts_with("a change inside a Snapshot"));
    let mut many = begin.clone();
    many.header.header.parts = u32::MAX;
    assert!(fault(vec![Frame::SnapshotBegin(many)]).contains("at most 10000"));
    let mut other_end = whole(&parts);
    other_end.pop();
    let revision = Default::default();
    other_end.push(Frame::SnapshotEnd(SnapshotEnd { revision }));
    assert_eq!(fault(other_end), "the end of another Snapshot");
    let mut from_nothing = CatalogDelta {
        from: None,
        header: begin.header.clone(),
        parts: Vec::new(),
        removed: Vec::new(),
    };
    assert!(fault(vec![Frame::Delta(from_nothing.clone())]).contains("from nothing"));
    // Signed by somebody else.
    from_nothing.from = Some(begin.header.header.revision);
    from_nothing.header.signature[0] ^= 1;
    assert!(fault(vec![Frame::Delta(from_nothing)]).contains("not signed by the catalog key"));
}

#[test]
fn garbage_of_the_transport_is_the_peers_fault() {
    let (mut east, _) = pair();
    east.session
        .handle_garbage("a frame of 2097152 bytes; at most 1048576");
    east.act();
    assert!(matches!(&east.end, Some(End::PeerFault(why)) if why.contains("2097152")));
    assert_eq!(east.sends(), ["Bye"]);
    // Nothing counts after that.
    east.session.handle(Frame::Want(Want::Snapshot), at(2));
    assert_eq!(
        (east.session.poll_output(), east.session.poll_timeout()),
        (None, None)
    );
}

#[test]
fn whose_matter_an_end_is() {
    let meet = |change: &dyn Fn(&mut Hello)| {
        let mut east = Side::new("east", "west");
        let mut theirs = hello("west", None);
        change(&mut theirs);
        east.session.handle(Frame::Hello(theirs), at(0));
        east.act();
        let sent = east.sends();
        east.end.map(|end| {
            assert_eq!(sent, ["Hello", "Bye"]);
            end.to_string()
        })
    };
    assert_eq!(meet(&|_| {}), None);
    assert_eq!(
        meet(&|h| h.cluster = id("south")).unwrap(),
        "peer's fault: says it is south/g0, its certificate west/g0"
    );
    assert_eq!(
        meet(&|h| h.gateway = "g1".parse().unwrap()).unwrap(),
        "peer's fault: says it is west/g1, its certificate west/g0"
    );
    assert_eq!(
        meet(&|h| h.versions = (2, 3)).unwrap(),
        "incompatible: it speaks versions 2 to 3, this gateway 1 to 1"
    );
    assert_eq!(
        meet(&|h| h.cluster_set = "test.example".parse().unwrap()).unwrap(),
        "incompatible: it is in clusterset test.example, this is prod.example"
    );
    let mut east = Side::new("east", "west");
    east.session.handle(Frame::Want(Want::Snapshot), at(0));
    east.act();
    assert_eq!(
        east.end,
        Some(End::PeerFault("Want before Hello".to_owned()))
    );
    let mut east = Side::new("east", "west");
    east.session.handle_lost("connection reset");
    east.act();
    assert_eq!(east.end, Some(End::Local("connection reset".to_owned())));
}

#[test]
fn beats_each_second_and_silence_ends_it() {
    let (mut east, mut west) = pair();
    east.offer(&[("shop/cart", &[1])]);
    let newest = east.catalog.own.held();
    for second in 1..=5 {
        let now = at(second * 1_000);
        assert_eq!(east.session.poll_timeout(), Some(now.mono_ms));
        east.session.handle_timeout(newest, now);
        let Some(Frame::Beat(beat)) = east.session.poll_frame() else {
            panic!("no beat");
        };
        assert_eq!(beat.newest, newest.map(|h| h.digest));
        // West hears that there is something that it never got, and asks.
        west.session.handle(Frame::Beat(beat), now);
        west.act();
        let expected: &[&str] = if second == 3 { &["Want"] } else { &[] };
        assert_eq!(west.sends(), expected, "{second}");
    }
    for second in 6..=10 {
        east.session.handle_timeout(newest, at(second * 1_000));
    }
    east.act();
    assert!(matches!(&east.end, Some(End::Local(why)) if why.contains("lease")));
    // One that never says Hello.
    let mut alone = Side::new("east", "west");
    assert_eq!(alone.session.poll_timeout(), Some(5_000));
    alone.session.handle_timeout(None, at(5_000));
    alone.act();
    assert_eq!(alone.end, Some(End::Local("no Hello came".to_owned())));
}

#[test]
fn what_never_fits_ends_it() {
    let (mut east, mut west) = pair();
    west.offer(&[("shop/cart", &[1])]);
    let mut whole = west.catalog.own.snapshot().unwrap();
    whole.parts[1].salt[3] ^= 1;
    for _ in 0..4 {
        let header = whole.header.clone();
        let revision = header.header.revision;
        east.session
            .handle(Frame::SnapshotBegin(SnapshotBegin { header }), at(1));
        for part in whole.parts.clone() {
            east.session.handle(Frame::SnapshotPart(part), at(1));
        }
        east.session
            .handle(Frame::SnapshotEnd(SnapshotEnd { revision }), at(1));
        east.act();
    }
    assert_eq!(east.sends(), ["Want", "Want", "Want", "Bye"]);
    assert!(matches!(&east.end, Some(End::PeerFault(why)) if why.contains("does not fit")));
    assert!(east.theirs().is_empty());
}

#[test]
fn who_leaves_soon_says_so_at_once_and_in_every_beat() {
    let (mut east, mut west) = pair();
    assert!(!west.session.is_leaving());
    east.session.leave_soon(at(300));
    for now in [300, 1_300, 2_300] {
        assert_eq!(east.session.poll_timeout(), Some(now));
        east.session.handle_timeout(None, at(now));
        let Some(Frame::Beat(beat)) = east.session.poll_frame() else {
            panic!("no beat");
        };
        west.session.handle(Frame::Beat(beat), at(now));
        assert!(west.session.is_leaving() && !east.session.is_leaving());
    }
}

#[test]
fn a_full_queue_closes_the_session() {
    let (mut east, _) = pair();
    for second in 1..3_000 {
        let now = at(second * 1_000);
        east.session.handle(
            Frame::Beat(Beat {
                newest: None,
                time: now.wall,
                leaving: false,
            }),
            now,
        );
        east.session.handle_timeout(None, now);
    }
    east.act();
    assert!(matches!(&east.end, Some(End::Local(why)) if why.contains("too slowly")));
    assert_eq!(east.sends(), ["Bye"]);
}

/// It asks for ever other parts and reads nothing.
#[test]
fn what_is_asked_for_is_bounded() {
    let (mut east, _) = pair();
    east.offer(&[("shop/cart", &[1])]);
    east.act();
    for batch in 0..4 {
        let key = |n| PartKey::Namespace(format!("n{batch}-{n}").parse().unwrap());
        let keys = (0..PARTS - 1).map(key).collect();
        east.session.handle(Frame::Want(Want::Parts(keys)), at(1));
        east.act();
        assert!(east.session.serving.asked() <= PARTS);
    }
    let sent = east.sends();
    assert_eq!(sent.first(), Some(&"SnapshotBegin"), "{sent:?}");
}

#[test]
fn nothing_is_served_of_nothing() {
    let (mut east, _) = pair();
    east.session.handle(Frame::Want(Want::Snapshot), at(1));
    east.session.serve(&Own::new(id("east")));
    assert!(east.sends().is_empty());
}
