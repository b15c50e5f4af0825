use std::collections::BTreeSet;

use causeway_proto::model::{
    Address, Encryption, Identity, IdentityNumber, Import, ImportPort, ImportShare, Liveness,
    Mapping, PeerNumber, Protocol, SyncState, ViewRevision, Workload,
};
use expect_test::{Expect, expect};

use super::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn peer() -> PeerView {
    PeerView {
        number: PeerNumber::try_from(7).unwrap(),
        our_number_there: None,
        mappings: vec![Mapping {
            theirs: "10.244.0.0/16".parse().unwrap(),
            ours: "242.1.0.0/16".parse().unwrap(),
        }],
        gateways: vec![address("192.0.2.11")],
        nodes: vec![address("192.0.2.11"), address("192.0.2.12")],
        silent_gateways: Vec::new(),
        carried_by: BTreeSet::new(),
        mtu: None,
        acknowledged_nodes: BTreeSet::new(),
        encryption: Encryption::Plain,
        liveness: Liveness::Live,
        heard: Some(Timestamp(900)),
    }
}

fn import() -> Import {
    let share = ImportShare {
        number: PeerNumber::try_from(7).unwrap(),
        vip: address("241.0.0.9"),
        created: Timestamp(1),
        ready: 3,
        liveness: Liveness::Live,
        ports: [(Protocol::Tcp, 80)].into(),
    };
    Import {
        vip: Some(address("241.0.0.5")),
        ports: vec![ImportPort {
            name: None,
            protocol: Protocol::Tcp,
            port: 80,
            app_protocol: None,
            targets: BTreeMap::from([(share.number, 4)]),
        }],
        shares: BTreeMap::from([("west".parse().unwrap(), share)]),
        ..Import::default()
    }
}

pub fn view() -> View {
    let identity = Identity {
        namespace: "shop".parse().unwrap(),
        service_account: "web".to_owned(),
        labels: BTreeMap::new(),
    };
    View {
        revision: ViewRevision {
            instance: 1,
            number: 4,
        },
        imports: BTreeMap::from([("shop/cart".parse().unwrap(), import())]),
        peers: BTreeMap::from([("west".parse().unwrap(), peer())]),
        namespaces: BTreeSet::from(["shop".parse().unwrap()]),
        workloads: BTreeMap::from([(
            address("10.244.0.6"),
            (IdentityNumber(3), Some("e1".parse().unwrap())),
        )]),
        identities: BTreeMap::from([(IdentityNumber(3), identity)]),
        self_map: vec![Mapping {
            theirs: "10.244.0.0/16".parse().unwrap(),
            ours: "242.0.0.0/16".parse().unwrap(),
        }],
        sync: SyncState {
            local: true,
            missing: BTreeSet::new(),
        },
        ..View::empty("east".parse().unwrap(), "demo".parse().unwrap())
    }
}

pub fn facts() -> Facts {
    let workload = Workload {
        namespace: "shop".parse().unwrap(),
        name: "web-0".to_owned(),
        service_account: "web".to_owned(),
        labels: BTreeMap::new(),
        node: Some("e1".parse().unwrap()),
    };
    let exports = Exports {
        workloads: BTreeMap::from([(address("10.244.0.6"), workload)]),
        ..Exports::default()
    };
    let report = Report {
        node: "e1".parse().unwrap(),
        time: Timestamp(800),
        programmed: Some(view().revision),
        drops: BTreeMap::from([("NoFlow".to_owned(), 2)]),
        services: BTreeMap::from([(
            "shop/cart".parse().unwrap(),
            ServiceCounters {
                packets: 5,
                ..ServiceCounters::default()
            },
        )]),
        heard: BTreeMap::new(),
        pods: BTreeMap::new(),
        flows: (3, 1),
        hooks: BTreeMap::new(),
        problems: Vec::new(),
        checks: Vec::new(),
    };
    Facts {
        exports: Arc::new(exports),
        reports: Arc::new(BTreeMap::from([("e1".parse().unwrap(), report)])),
        ..Facts::default()
    }
}

fn check_whois(asked: &str, expect: Expect) {
    let lines = whois(&view(), &facts(), address(asked))
        .into_iter()
        .map(|w| {
            let parts = [
                w.service.map(|s| s.to_string()),
                w.namespace.map(|n| n.to_string()),
                w.name,
                w.node.map(|n| n.to_string()),
                w.identity.map(|i| format!("identity {i}")),
            ];
            let parts: Vec<_> = parts.into_iter().flatten().collect();
            format!(
                "{:?} of {} {} {}\n",
                w.kind,
                w.cluster,
                w.address,
                parts.join(" ")
            )
        });
    expect.assert_eq(&lines.collect::<String>());
}

#[test]
fn addresses() {
    check_whois(
        "241.0.0.5",
        expect![[r#"
        Vip of east 241.0.0.5 shop/cart
    "#]],
    );
    check_whois(
        "242.1.3.9",
        expect![[r#"
        Mapped of west 10.244.3.9 
    "#]],
    );
    check_whois(
        "242.0.0.6",
        expect![[r#"
        SelfMapped of east 10.244.0.6 shop web-0 e1 identity 3
    "#]],
    );
    check_whois(
        "10.244.0.6",
        expect![[r#"
        Workload of east 10.244.0.6 shop web-0 e1 identity 3
    "#]],
    );
    check_whois(
        "192.0.2.11",
        expect![[r#"
        Gateway of west 192.0.2.11 
    "#]],
    );
    check_whois(
        "192.0.2.12",
        expect![[r#"
        PeerNode of west 192.0.2.12 
    "#]],
    );
    check_whois("8.8.8.8", expect![""]);
}

#[test]
fn one_screen() {
    let status = gateway(&"e1".parse().unwrap(), &view(), &facts(), Timestamp(1000));
    assert_eq!(status.services.imported, 1);
    assert_eq!(status.drops.values().sum::<u64>(), 2);
    let west = &status.peers[&"west".parse().unwrap()];
    assert_eq!((west.age_ms, west.services), (Some(100), 1));
    let node = &status.nodes[&"e1".parse().unwrap()];
    assert!(node.current);
    assert_eq!((node.age_ms, node.flows), (Some(200), 3));
}

#[test]
fn services_name_the_clusters_of_their_weights() {
    let name: ServiceName = "shop/cart".parse().unwrap();
    let all = services(&view(), &facts(), Some(&name));
    let cart = &all[&name];
    assert_eq!(cart.ports[0].targets[&"west".parse().unwrap()], 4);
    assert_eq!(cart.counters.packets, 5);
    let other = "shop/none".parse().unwrap();
    assert!(services(&view(), &facts(), Some(&other)).is_empty());
}

#[test]
fn names() {
    let found = resolve(&view(), "shop/cart", "").unwrap();
    assert_eq!(found.name, "cart.shop.svc.clusterset.local");
    assert_eq!((found.code.as_str(), found.records.len()), ("NOERROR", 1));
    assert_eq!(found.records[0].data, "241.0.0.5");
    let absent = resolve(&view(), "nope.shop.svc.clusterset.local.", "A").unwrap();
    assert_eq!(absent.code, "NXDOMAIN");
    assert!(resolve(&view(), "shop/cart", "MX").is_none());
}
