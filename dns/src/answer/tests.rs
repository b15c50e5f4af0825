use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{Import, ImportEndpoint, ImportPort, SyncState, View, ViewRevision};
use expect_test::{Expect, expect};

use super::*;

mod laws;

fn import(headless: bool, vip: Option<&str>) -> Import {
    Import {
        headless,
        vip: vip.map(|vip| vip.parse().unwrap()),
        ..Import::default()
    }
}

fn port(name: &str, protocol: Protocol, port: u16) -> ImportPort {
    ImportPort {
        name: Some(name)
            .filter(|n| !n.is_empty())
            .map(|n| n.parse().unwrap()),
        protocol,
        port,
        app_protocol: None,
        targets: BTreeMap::new(),
    }
}

fn endpoint(cluster: &str, hostname: &str, address: &str, target: u16) -> ImportEndpoint {
    ImportEndpoint {
        cluster: cluster.parse().unwrap(),
        hostname: hostname.into(),
        address: address.parse().unwrap(),
        ports: vec![(Protocol::Tcp, 5432, target)],
    }
}

fn view(missing: &[&str]) -> View {
    let mut cart = import(false, Some("241.0.0.5"));
    cart.ports = vec![
        port("http", Protocol::Tcp, 80),
        port("quic", Protocol::Udp, 80),
        port("metrics", Protocol::Tcp, 9090),
        port("", Protocol::Tcp, 9999),
    ];
    let mut stale = import(false, Some("241.0.0.6"));
    stale.stale = true;
    let mut db = import(true, None);
    db.ports = vec![port("pg", Protocol::Tcp, 5432)];
    db.endpoints = vec![
        endpoint("east", "DB-0", "10.244.0.7", 15432),
        endpoint("west", "db-0", "242.1.0.7", 15432),
        endpoint("west", "db-0", "fd00::7", 15432),
        endpoint("west", "10-244-1-9", "242.1.1.9", 5432),
        endpoint("north.example", "db-0", "242.2.0.7", 5432),
    ];
    let mut down = import(true, None);
    down.ports = vec![port("pg", Protocol::Tcp, 5432)];
    let imports = [
        ("shop/cart", cart),
        ("shop/stale", stale),
        ("shop/db", db),
        ("shop/down", down),
        ("shop/full", import(false, None)),
    ];
    View {
        revision: ViewRevision {
            instance: 1,
            number: 7,
        },
        imports: imports.map(|(n, i)| (n.parse().unwrap(), i)).into(),
        namespaces: ["shop", "empty"].map(|n| n.parse().unwrap()).into(),
        sync: SyncState {
            local: !missing.contains(&"east"),
            missing: missing
                .iter()
                .filter(|c| **c != "east")
                .map(|c| c.parse().unwrap())
                .collect(),
        },
        ..View::empty("east".parse().unwrap(), "demo".parse().unwrap())
    }
}

fn ask(zone: &DnsZone, name: &str, kind: Kind, turn: u64) -> Answer {
    let labels = name.split('.').map(str::as_bytes);
    answer(zone, &Question::new(labels, kind, 3, turn))
}

/// Each question, `.svc.clusterset.local` added to names without the zone, with its answer.
fn check(missing: &[&str], questions: &[(&str, Kind)], expected: Expect) {
    let zone = DnsZone::of(&view(missing));
    let told: String = questions
        .iter()
        .map(|(name, kind)| {
            let whole = if name.contains("local") || name.contains("example.org") {
                (*name).to_owned()
            } else {
                format!("{name}.svc.clusterset.local")
            };
            format!("{name} {kind:?}: {}\n", ask(&zone, &whole, *kind, 0))
        })
        .collect();
    expected.assert_eq(&told);
}

#[test]
fn clusterset_ip() {
    check(
        &[],
        &[
            ("cart.shop", Kind::A),
            ("CART.Shop", Kind::A),
            ("cart.shop", Kind::Aaaa),
            ("cart.shop", Kind::Srv),
            ("cart.shop", Kind::Any),
            ("cart.shop", Kind::Txt),
            ("_http._tcp.cart.shop", Kind::Srv),
            ("_quic._udp.cart.shop", Kind::Srv),
            ("_quic._tcp.cart.shop", Kind::Srv),
            ("_http._tcp.cart.shop", Kind::A),
            ("_tcp.cart.shop", Kind::Srv),
            ("_sctp.cart.shop", Kind::Srv),
            ("_http._icmp.cart.shop", Kind::Srv),
            ("http._tcp.cart.shop", Kind::Srv),
            ("stale.shop", Kind::A),
            ("full.shop", Kind::A),
        ],
        expect![[r#"
            cart.shop A: NoError
              A 241.0.0.5
            CART.Shop A: NoError
              A 241.0.0.5
            cart.shop Aaaa: NoError +SOA
            cart.shop Srv: NoError
              SRV 80 cart.shop.svc.clusterset.local.
              SRV 9090 cart.shop.svc.clusterset.local.
              SRV 9999 cart.shop.svc.clusterset.local.
              with cart.shop.svc.clusterset.local. A 241.0.0.5
            cart.shop Any: NoError
              A 241.0.0.5
            cart.shop Txt: NoError +SOA
            _http._tcp.cart.shop Srv: NoError
              SRV 80 cart.shop.svc.clusterset.local.
              with cart.shop.svc.clusterset.local. A 241.0.0.5
            _quic._udp.cart.shop Srv: NoError
              SRV 80 cart.shop.svc.clusterset.local.
              with cart.shop.svc.clusterset.local. A 241.0.0.5
            _quic._tcp.cart.shop Srv: NxDomain +SOA
            _http._tcp.cart.shop A: NoError +SOA
            _tcp.cart.shop Srv: NoError +SOA
            _sctp.cart.shop Srv: NxDomain +SOA
            _http._icmp.cart.shop Srv: NxDomain +SOA
            http._tcp.cart.shop Srv: NxDomain +SOA
            stale.shop A: NoError
              A 241.0.0.6
            full.shop A: ServFail
        "#]],
    );
}

#[test]
fn headless() {
    check(
        &[],
        &[
            ("db.shop", Kind::A),
            ("db.shop", Kind::Aaaa),
            ("db.shop", Kind::Srv),
            ("_pg._tcp.db.shop", Kind::Srv),
            ("db-0.east.db.shop", Kind::A),
            ("db-0.west.db.shop", Kind::A),
            ("db-0.west.db.shop", Kind::Aaaa),
            ("db-0.west.db.shop", Kind::Srv),
            ("10-244-1-9.west.db.shop", Kind::A),
            ("db-0.north.example.db.shop", Kind::A),
            ("down.shop", Kind::A),
            ("_pg._tcp.down.shop", Kind::Srv),
        ],
        expect![[r#"
            db.shop A: NoError
              A 10.244.0.7
              A 242.2.0.7
              A 242.1.1.9
              A 242.1.0.7
            db.shop Aaaa: NoError
              AAAA fd00::7
            db.shop Srv: NoError
              SRV 15432 db-0.east.db.shop.svc.clusterset.local.
              SRV 5432 db-0.north.example.db.shop.svc.clusterset.local.
              SRV 5432 10-244-1-9.west.db.shop.svc.clusterset.local.
              SRV 15432 db-0.west.db.shop.svc.clusterset.local.
              with db-0.east.db.shop.svc.clusterset.local. A 10.244.0.7
              with db-0.north.example.db.shop.svc.clusterset.local. A 242.2.0.7
              with 10-244-1-9.west.db.shop.svc.clusterset.local. A 242.1.1.9
              with db-0.west.db.shop.svc.clusterset.local. A 242.1.0.7
              with db-0.west.db.shop.svc.clusterset.local. AAAA fd00::7
            _pg._tcp.db.shop Srv: NoError
              SRV 15432 db-0.east.db.shop.svc.clusterset.local.
              SRV 5432 db-0.north.example.db.shop.svc.clusterset.local.
              SRV 5432 10-244-1-9.west.db.shop.svc.clusterset.local.
              SRV 15432 db-0.west.db.shop.svc.clusterset.local.
              with db-0.east.db.shop.svc.clusterset.local. A 10.244.0.7
              with db-0.north.example.db.shop.svc.clusterset.local. A 242.2.0.7
              with 10-244-1-9.west.db.shop.svc.clusterset.local. A 242.1.1.9
              with db-0.west.db.shop.svc.clusterset.local. A 242.1.0.7
              with db-0.west.db.shop.svc.clusterset.local. AAAA fd00::7
            db-0.east.db.shop A: NoError
              A 10.244.0.7
            db-0.west.db.shop A: NoError
              A 242.1.0.7
            db-0.west.db.shop Aaaa: NoError
              AAAA fd00::7
            db-0.west.db.shop Srv: NoError +SOA
            10-244-1-9.west.db.shop A: NoError
              A 242.1.1.9
            db-0.north.example.db.shop A: NoError
              A 242.2.0.7
            down.shop A: NxDomain +SOA
            _pg._tcp.down.shop Srv: NxDomain +SOA
        "#]],
    );
}

#[test]
fn what_must_not_exist() {
    check(
        &[],
        &[
            ("west.cart.shop", Kind::A),
            ("west.db.shop", Kind::A),
            ("north.example.db.shop", Kind::A),
            ("db-1.west.db.shop", Kind::A),
            ("db-0.south.db.shop", Kind::A),
            ("db-0.west.cart.shop", Kind::A),
            ("x.db-0.north.example.db.shop", Kind::A),
            ("_pg._tcp.db-0.west.db.shop", Kind::Srv),
            ("absent.shop", Kind::A),
            ("cart.absent", Kind::A),
            ("absent", Kind::A),
            ("b_d.shop", Kind::A),
            ("x.clusterset.local", Kind::A),
            ("x.dns-version.clusterset.local", Kind::Txt),
        ],
        expect![[r#"
            west.cart.shop A: NxDomain +SOA
            west.db.shop A: NxDomain +SOA
            north.example.db.shop A: NxDomain +SOA
            db-1.west.db.shop A: NxDomain +SOA
            db-0.south.db.shop A: NxDomain +SOA
            db-0.west.cart.shop A: NxDomain +SOA
            x.db-0.north.example.db.shop A: NxDomain +SOA
            _pg._tcp.db-0.west.db.shop Srv: NxDomain +SOA
            absent.shop A: NxDomain +SOA
            cart.absent A: NxDomain +SOA
            absent A: NxDomain +SOA
            b_d.shop A: NxDomain +SOA
            x.clusterset.local A: NxDomain +SOA
            x.dns-version.clusterset.local Txt: NxDomain +SOA
        "#]],
    );
}

#[test]
fn the_zone_itself() {
    check(
        &[],
        &[
            ("clusterset.local", Kind::Soa),
            ("clusterset.local", Kind::A),
            ("dns-version.clusterset.local", Kind::Txt),
            ("dns-version.clusterset.local", Kind::A),
            ("svc.clusterset.local", Kind::A),
            ("shop.svc.clusterset.local", Kind::A),
            ("cart.shop.svc.cluster.local", Kind::A),
            ("local", Kind::A),
            ("www.example.org", Kind::A),
        ],
        expect![[r#"
            clusterset.local Soa: NoError
              SOA clusterset.local.
            clusterset.local A: NoError +SOA
            dns-version.clusterset.local Txt: NoError
              TXT "1.0.0"
            dns-version.clusterset.local A: NoError +SOA
            svc.clusterset.local A: NoError +SOA
            shop.svc.clusterset.local A: NoError +SOA
            cart.shop.svc.cluster.local A: Refused
            local A: Refused
            www.example.org A: Refused
        "#]],
    );
}

/// A cluster that has not told yet takes the certainty from what it could still say, from nothing else.
#[test]
fn a_missing_peer() {
    check(
        &["west"],
        &[
            ("cart.shop", Kind::A),
            ("cart.shop", Kind::Aaaa),
            ("cart.shop", Kind::Srv),
            ("db.shop", Kind::Aaaa),
            ("absent.shop", Kind::A),
            ("cart.empty", Kind::A),
            ("empty", Kind::A),
            ("x.west.cart.empty", Kind::A),
            ("cart.absent", Kind::A),
            ("absent", Kind::A),
            ("x.west.cart.absent", Kind::A),
            ("down.shop", Kind::A),
            ("_grpc._tcp.cart.shop", Kind::Srv),
            ("_grpc._icmp.cart.shop", Kind::Srv),
            ("db-1.west.db.shop", Kind::A),
            ("db-1.east.db.shop", Kind::A),
            ("db-1.south.absent.shop", Kind::A),
            ("west.db.shop", Kind::A),
            ("b_d.shop", Kind::A),
            ("x.clusterset.local", Kind::A),
        ],
        expect![[r#"
            cart.shop A: NoError
              A 241.0.0.5
            cart.shop Aaaa: NoError +SOA
            cart.shop Srv: NoError
              SRV 80 cart.shop.svc.clusterset.local.
              SRV 9090 cart.shop.svc.clusterset.local.
              SRV 9999 cart.shop.svc.clusterset.local.
              with cart.shop.svc.clusterset.local. A 241.0.0.5
            db.shop Aaaa: NoError
              AAAA fd00::7
            absent.shop A: ServFail
            cart.empty A: ServFail
            empty A: ServFail
            x.west.cart.empty A: ServFail
            cart.absent A: NxDomain +SOA
            absent A: NxDomain +SOA
            x.west.cart.absent A: NxDomain +SOA
            down.shop A: ServFail
            _grpc._tcp.cart.shop Srv: ServFail
            _grpc._icmp.cart.shop Srv: NxDomain +SOA
            db-1.west.db.shop A: ServFail
            db-1.east.db.shop A: NxDomain +SOA
            db-1.south.absent.shop A: NxDomain +SOA
            west.db.shop A: NxDomain +SOA
            b_d.shop A: NxDomain +SOA
            x.clusterset.local A: NxDomain +SOA
        "#]],
    );
}

#[test]
fn the_own_controller_is_missing() {
    check(
        &["east"],
        &[
            ("cart.shop", Kind::A),
            ("absent.shop", Kind::A),
            ("cart.absent", Kind::A),
            ("db-1.east.db.shop", Kind::A),
            ("db-1.west.db.shop", Kind::A),
        ],
        expect![[r#"
            cart.shop A: NoError
              A 241.0.0.5
            absent.shop A: ServFail
            cart.absent A: ServFail
            db-1.east.db.shop A: ServFail
            db-1.west.db.shop A: NxDomain +SOA
        "#]],
    );
}

#[test]
fn names_that_do_not_fit_are_left_out_and_told() {
    let mut view = view(&[]);
    let long = "x".repeat(63);
    let name = "l".repeat(40);
    let mut service = import(true, None);
    service.ports = vec![port(&long, Protocol::Tcp, 5432)];
    let cluster = format!("{long}.{}", "y".repeat(63));
    service.endpoints = vec![
        endpoint(&cluster, &long, "242.3.0.1", 5432),
        endpoint("west", "ok", "242.1.0.1", 5432),
        endpoint("west", &"z".repeat(64), "242.1.0.2", 5432),
        endpoint("west", "a.b", "242.1.0.3", 5432),
    ];
    view.imports
        .insert(format!("shop/{name}").parse().unwrap(), service);
    let zone = DnsZone::of(&view);
    assert_eq!(zone.problems.len(), 4, "{:?}", zone.problems);
    expect![[r#"
        NoError
          A 242.1.0.3
          A 242.1.0.1
          A 242.1.0.2
          A 242.3.0.1
        NoError
          SRV 5432 ok.west.llllllllllllllllllllllllllllllllllllllll.shop.svc.clusterset.local.
          with ok.west.llllllllllllllllllllllllllllllllllllllll.shop.svc.clusterset.local. A 242.1.0.1"#]].assert_eq(
        &[Kind::A, Kind::Srv]
            .map(|kind| {
                ask(&zone, &format!("{name}.shop.svc.clusterset.local"), kind, 0).to_string()
            })
            .join("\n"),
    );
    let gone = format!("_{long}._tcp.{name}.shop.svc.clusterset.local");
    assert_eq!(ask(&zone, &gone, Kind::Srv, 0).code, Code::NxDomain);
}

fn many(n: u16) -> DnsZone {
    let mut view = view(&[]);
    let mut service = import(true, None);
    service.ports = vec![port("pg", Protocol::Tcp, 5432)];
    service.endpoints = (0..n)
        .map(|i| {
            endpoint(
                "west",
                &format!("h{i}"),
                &format!("242.1.{}.{}", i >> 8, i & 255),
                5432,
            )
        })
        .collect();
    view.imports.insert("shop/many".parse().unwrap(), service);
    DnsZone::of(&view)
}

#[test]
fn many_endpoints_turn_and_are_limited() {
    let name = "many.shop.svc.clusterset.local";
    let zone = many(3);
    let firsts: BTreeSet<String> = (0..3)
        .map(|turn| ask(&zone, name, Kind::A, turn).records[0].to_string())
        .collect();
    assert_eq!(firsts.len(), 3);
    let zone = many(1500);
    let sorted = |turn| {
        let mut records = ask(&zone, name, Kind::A, turn).records;
        records.sort();
        records
    };
    assert_eq!(sorted(0).len(), HOSTS_PER_ANSWER);
    assert_eq!(sorted(0), sorted(7), "one client keeps its subset");
    let srv = ask(&zone, name, Kind::Srv, 0);
    assert_eq!(srv.records.len(), SRV_PER_ANSWER);
    assert_eq!(srv.additional.len(), SRV_PER_ANSWER);
}
