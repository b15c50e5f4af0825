use causeway_proto::model::{PathStatus, Problem, ProblemKind};
use expect_test::{Expect, expect};

use super::*;
use crate::samples::id;
use crate::status::tests::view;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const DAY: u64 = 24 * 3_600_000;

fn session(gateway: &str) -> SessionStatus {
    SessionStatus {
        gateway: gateway.parse().unwrap(),
        transport: Transport::Quic,
        address: format!("192.0.2.1{}:7443", gateway.trim_start_matches('w')),
        dialled: true,
        since: Timestamp(NOW.0 - DAY / 2),
        version: 1,
        clock_skew_ms: 12,
        certificate_expires: Some(Timestamp(NOW.0 + DAY / 2)),
        path: Some(PathStatus {
            rtt_us: 830,
            sent: 4_000,
            lost: 3,
            mtu: 1_500,
            link_mtu: 1_500,
            connections: 1,
        }),
    }
}

fn facts(sessions: Vec<SessionStatus>) -> PeerFacts {
    PeerFacts {
        sessions,
        heard: Some(Timestamp(NOW.0 - 400)),
        ..PeerFacts::default()
    }
}

fn at(udp: bool, tcp: bool) -> Reached {
    let done = |is: bool| match is {
        true => Ok(Duration::from_micros(1_250)),
        false => Err("w1:7443: no answer".to_owned()),
    };
    Reached {
        address: "w1:7443".to_owned(),
        gateway: Some("w1".parse().unwrap()),
        udp: done(udp),
        tcp: done(tcp),
    }
}

fn text(checks: &[Check]) -> String {
    let lines = checks.iter().map(|check| {
        let Check {
            kind,
            subject,
            outcome,
            message,
            advice,
            ..
        } = check;
        format!("{outcome:?} {kind:?} {subject}: {message} [{advice}]\n")
    });
    lines.collect()
}

fn check(checks: &[Check], expected: Expect) {
    expected.assert_eq(&text(checks));
}

#[test]
fn a_peer_that_is_well() {
    let facts = facts(vec![session("w1")]);
    let found = peer(&id("west"), &view(), &facts, &[at(true, true)], NOW);
    check(
        &found,
        expect![[r#"
        Passed Session west: live, heard 400 ms ago []
        Passed Udp west/w1 at w1:7443: answers in 1.2 ms []
        Passed Tcp west/w1 at w1:7443: answers in 1.2 ms []
        Passed Session west/w1 at 192.0.2.11:7443: by QUIC, round trip 0.8 ms, 3 of 4000 packets lost []
        Passed Mtu west/w1 at 192.0.2.11:7443: packets of up to 1500 bytes []
        Passed Clock west/w1 at 192.0.2.11:7443: its clock is 0.0 s ahead []
        Passed Certificate west/w1 at 192.0.2.11:7443: its certificate holds for 720 more minutes []
    "#]],
    );
}

#[test]
fn what_is_closed_and_what_that_means() {
    let dialled = |udp, tcp, up| {
        let has = if up { vec![session("w1")] } else { Vec::new() };
        let found = peer(&id("west"), &view(), &facts(has), &[at(udp, tcp)], NOW);
        let of = |c: &&Check| matches!(c.kind, CheckKind::Udp | CheckKind::Tcp);
        let ends = found.iter().filter(of).map(|check| check.outcome);
        ends.collect::<Vec<_>>()
    };
    use Outcome::{Failed, Passed, Warned};
    assert_eq!(dialled(true, true, false), [Passed, Passed]);
    assert_eq!(dialled(false, true, true), [Warned, Passed]);
    assert_eq!(dialled(true, false, true), [Passed, Warned]);
    // Behind a translator: it has dialled us.
    assert_eq!(dialled(false, false, true), [Warned, Warned]);
    assert_eq!(dialled(false, false, false), [Failed, Failed]);
}

#[test]
fn sessions_tell_of_path_clock_and_certificate() {
    let mut bad = session("w1");
    bad.transport = Transport::Tcp;
    bad.clock_skew_ms = -400_000;
    bad.certificate_expires = Some(Timestamp(NOW.0 + DAY / 5));
    let mut narrow = session("w2");
    narrow.clock_skew_ms = 2_500;
    narrow.path = Some(PathStatus {
        mtu: 1_280,
        link_mtu: 1_500,
        ..narrow.path.unwrap()
    });
    let found = peer(&id("west"), &view(), &facts(vec![bad, narrow]), &[], NOW);
    check(
        &found,
        expect![[r#"
        Passed Session west: live, heard 400 ms ago []
        Warned Session west/w1 at 192.0.2.11:7443: by TCP, round trip 0.8 ms, 3 of 4000 packets lost [let UDP through to it: QUIC is tried again within 20 s]
        Passed Mtu west/w1 at 192.0.2.11:7443: packets of up to 1500 bytes []
        Failed Clock west/w1 at 192.0.2.11:7443: its clock is 400.0 s behind [let both clusters' nodes take their time from NTP: beyond five minutes new certificates are refused]
        Warned Certificate west/w1 at 192.0.2.11:7443: its certificate holds for 288 more minutes [it was not renewed in time: see that gateway's log, and whether it reaches its leader]
        Passed Session west/w2 at 192.0.2.12:7443: by QUIC, round trip 0.8 ms, 3 of 4000 packets lost []
        Warned Mtu west/w2 at 192.0.2.12:7443: packets of up to 1280 bytes [something on the way takes less than the 1500 bytes of the first link, or drops large packets: TCP is cut to fit, so all works, slower]
        Warned Clock west/w2 at 192.0.2.12:7443: its clock is 2.5 s ahead [let both clusters' nodes take their time from NTP]
        Passed Certificate west/w2 at 192.0.2.12:7443: its certificate holds for 720 more minutes []
    "#]],
    );
}

#[test]
fn a_peer_that_is_not_held_or_not_heard() {
    let mut nothing = facts(Vec::new());
    nothing.last_error = Some((NOW, "w1:7443: refused".to_owned()));
    let mut found = peer(&id("north"), &view(), &nothing, &[], NOW);
    let mut silent = view();
    silent.peers.get_mut(&id("west")).unwrap().liveness = Liveness::Withdrawn;
    found.extend(peer(&id("west"), &silent, &nothing, &[], NOW));
    let mut barred = view();
    barred.peers.get_mut(&id("west")).unwrap().encryption = Encryption::Unavailable;
    found.extend(peer(&id("west"), &barred, &nothing, &[], NOW));
    check(
        &found,
        expect![[r#"
        Failed Session north: its catalog is not held yet; last error: w1:7443: refused [the checks below say which way to it is closed]
        Failed Session west: withdrawn; last error: w1:7443: refused [nothing is heard of it: are its gateways up, and is any way below open?]
        Failed Session west: packets must be encrypted, and it cannot take them so [upgrade it, or set `encryption: off` in both clusters]
    "#]],
    );
}

#[test]
fn agents_tell_of_their_nodes() {
    let report = |node: &str, age: u64| Report {
        node: node.parse().unwrap(),
        time: Timestamp(NOW.0 - age),
        ..crate::status::tests::facts()
            .reports
            .values()
            .next()
            .unwrap()
            .clone()
    };
    let mut told = report("e1", 700);
    told.problems = vec![Problem {
        kind: ProblemKind::BadObject,
        subject: "node e1 uplink".to_owned(),
        message: "name it".to_owned(),
    }];
    let way = |to: &str| {
        Check::passed(CheckKind::ReversePath, to, "dropped").but(Outcome::Failed, "set it")
    };
    told.checks = vec![way("west/192.0.2.1"), way("north/192.0.2.7"), way("eth0")];
    let silent = report("e2", 11_000);
    let mut facts = Facts::default();
    let reports = [told, silent].map(|report| (report.node.clone(), report));
    facts.reports = std::sync::Arc::new(reports.into());
    let mut view = view();
    let north = view.peers[&id("west")].clone();
    view.peers.insert(id("north"), north);
    let (all, one) = (None, Some(id("west")));
    let count = |only: &Option<ClusterId>| {
        let found = own(&"e1".parse().unwrap(), &view, &facts, only.as_ref(), NOW);
        assert!(found.iter().all(|check| check.place.starts_with("node e")));
        found
    };
    assert_eq!(count(&all).len(), count(&one).len() + 1);
    let told: Vec<_> = count(&one).into_iter().filter(is_for_peers).collect();
    assert_eq!(told.len(), count(&one).len() - 1, "no problem is told");
    check(
        &count(&one),
        expect![[r#"
        Passed Agent report: 0.7 s ago []
        Failed Agent BadObject node e1 uplink: reported [name it]
        Failed ReversePath west/192.0.2.1: dropped [set it]
        Failed ReversePath eth0: dropped [set it]
        Failed Agent report: 11.0 s ago [is the agent there up? What it has programmed goes on, and takes up no change]
    "#]],
    );
}

#[test]
fn a_peers_words_move_no_cursor() {
    let check = Check::passed(CheckKind::Udp, "a\u{1b}[2Jb", "c\nd").at("e\u{9b}f");
    let Check {
        place,
        subject,
        message,
        ..
    } = printable(check);
    assert_eq!([place, subject, message], ["e?f", "a?[2Jb", "c?d"]);
}
