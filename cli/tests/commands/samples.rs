//! A cluster `west` with a live peer `east` and a silent one `north`.

use std::collections::BTreeMap;

use causeway_proto::model::*;

/// 2026-09-21T14:13:20Z.
pub const NOW: u64 = 1_790_000_000_000;

fn at(secs_from_now: i64) -> Timestamp {
    Timestamp(NOW.saturating_add_signed(secs_from_now * 1000))
}

fn number(n: u16) -> PeerNumber {
    n.try_into().unwrap()
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn mapping() -> Mapping {
    Mapping {
        theirs: parse("10.244.0.0/16"),
        ours: parse("242.1.0.0/16"),
    }
}

pub fn peers() -> BTreeMap<ClusterId, PeerStatus> {
    let session = SessionStatus {
        gateway: parse("e1"),
        transport: Transport::Quic,
        address: "192.0.2.1:7443".into(),
        dialled: true,
        since: at(-3600),
        version: 1,
        clock_skew_ms: 12,
        certificate_expires: Some(at(80_000)),
        path: Some(PathStatus {
            rtt_us: 420,
            sent: 1_000,
            lost: 5,
            mtu: 1_400,
            link_mtu: 1_500,
            connections: 2,
        }),
    };
    let east = PeerStatus {
        number: number(1),
        our_number_there: Some(number(4)),
        liveness: Liveness::Live,
        age_ms: Some(400),
        held: Some(Revision {
            epoch: 1_789_990_000,
            number: 7,
        }),
        acknowledged: Some(Revision {
            epoch: 1_789_990_001,
            number: 12,
        }),
        sessions: vec![session],
        encryption: Encryption::Plain,
        mappings: vec![mapping()],
        gateways: vec![parse("192.0.2.1")],
        services: 2,
        certificate_expires: Some(at(80_000)),
        last_error: None,
    };
    let north = PeerStatus {
        number: number(2),
        our_number_there: None,
        liveness: Liveness::Withdrawn,
        age_ms: Some(240_000),
        held: Some(Revision {
            epoch: 1_789_000_000,
            number: 1,
        }),
        acknowledged: None,
        sessions: vec![],
        encryption: Encryption::Unavailable,
        mappings: vec![],
        gateways: vec![parse("192.0.2.7")],
        services: 0,
        certificate_expires: None,
        last_error: Some((at(-30), "dialling 192.0.2.7:7443: no answer in 5 s".into())),
    };
    BTreeMap::from([(parse("east"), east), (parse("north"), north)])
}

fn nodes() -> BTreeMap<NodeName, NodeStatus> {
    let w1 = NodeStatus {
        gateway: Some(parse("w1")),
        age_ms: Some(900),
        current: true,
        flows: 12,
        half_open: 1,
        pods: 3,
        hooks: BTreeMap::from([("cway0".into(), "tcx ingress".into())]),
        problems: vec![],
    };
    let w2 = NodeStatus {
        current: false,
        problems: vec![Problem {
            kind: ProblemKind::LimitReached,
            subject: "map backends".into(),
            message: "service shop/huge did not fit: 70000 of 65536 entries".into(),
        }],
        gateway: Some(parse("w2")),
        ..w1.clone()
    };
    let w3 = NodeStatus::default();
    BTreeMap::from([(parse("w1"), w1), (parse("w2"), w2), (parse("w3"), w3)])
}

fn conflict() -> Conflict {
    Conflict {
        field: ConflictField::SessionAffinity,
        winner: parse("east"),
        value: "None".into(),
        disagree: 1,
        of: 2,
    }
}

pub fn status() -> GatewayStatus {
    let condition = |kind: &str, status, reason: &str, message: &str| Condition {
        object: "ClusterPeer north".into(),
        kind: kind.into(),
        status,
        reason: reason.into(),
        message: message.into(),
    };
    GatewayStatus {
        cluster: parse("west"),
        cluster_set: parse("demo"),
        gateway: parse("w2"),
        version: "0.1.0".into(),
        time: at(0),
        started: at(-11_000),
        leader: None,
        epoch: 1_789_990_001,
        revision: Some(Revision {
            epoch: 1_789_990_001,
            number: 12,
        }),
        view: ViewRevision {
            instance: 77,
            number: 31,
        },
        frozen_since: Some(at(-240)),
        certificate_expires: Some(at(80_000)),
        ca_expires: Some(at(300_000_000)),
        peers: peers(),
        nodes: nodes(),
        services: ServiceCounts {
            exported: 2,
            imported: 3,
            stale: 1,
        },
        conflicts: BTreeMap::from([(parse("shop/catalog"), vec![conflict()])]),
        conditions: vec![
            condition(
                "Connected",
                ConditionStatus::True,
                "Connected",
                "one session",
            ),
            condition(
                "PacketsAllowed",
                ConditionStatus::False,
                "EncryptionUnavailable",
                "no packet passes: they must be encrypted",
            ),
        ],
        problems: vec![Problem {
            kind: ProblemKind::BadManifest,
            subject: "cart.yaml".into(),
            message: "line 7: unknown field `port`; the last good state stays".into(),
        }],
        drops: BTreeMap::from([
            ((parse("w1"), "UnlistedSource".into()), 3),
            ((parse("w1"), "SpoofedSource".into()), 0),
            ((parse("w2"), "NoFlow".into()), 17),
        ]),
        policy_enforced: false,
    }
}

pub fn services() -> BTreeMap<ServiceName, ServiceStatus> {
    let share = |ready, liveness| ShareStatus {
        vip: parse("241.0.0.9"),
        created: at(-86_400),
        ready,
        liveness,
    };
    let cart = ServiceStatus {
        headless: false,
        vip: Some(parse("241.0.0.5")),
        ports: vec![PortStatus {
            name: Some(parse("http")),
            protocol: Protocol::Tcp,
            port: 80,
            targets: BTreeMap::from([(parse("east"), 1), (parse("west"), 3)]),
        }],
        shares: BTreeMap::from([
            (parse("east"), share(1, Liveness::Live)),
            (parse("north"), share(2, Liveness::Withdrawn)),
            (parse("west"), share(3, Liveness::Live)),
        ]),
        endpoints: vec![],
        exported: true,
        stale: false,
        conflicts: vec![conflict()],
        counters: ServiceCounters {
            packets: 1200,
            bytes: 90_000,
            flows: 300,
            rejected: 0,
        },
    };
    let db = ServiceStatus {
        headless: true,
        vip: None,
        endpoints: vec![ImportEndpoint {
            cluster: parse("east"),
            hostname: "10-244-0-6".into(),
            address: parse("242.1.0.6"),
            ports: vec![(Protocol::Tcp, 5432, 5432)],
        }],
        ports: vec![PortStatus {
            port: 5432,
            targets: BTreeMap::new(),
            ..cart.ports[0].clone()
        }],
        shares: BTreeMap::from([(parse("east"), share(1, Liveness::Live))]),
        exported: false,
        stale: false,
        conflicts: vec![],
        counters: ServiceCounters::default(),
    };
    let gone = ServiceStatus {
        vip: Some(parse("241.0.0.6")),
        ports: vec![PortStatus {
            targets: BTreeMap::new(),
            ..cart.ports[0].clone()
        }],
        shares: BTreeMap::from([(parse("north"), share(0, Liveness::Withdrawn))]),
        exported: false,
        stale: true,
        conflicts: vec![],
        ..cart.clone()
    };
    BTreeMap::from([
        (parse("shop/cart"), cart),
        (parse("shop/db"), db),
        (parse("shop/gone"), gone),
    ])
}

pub fn resolution(name: &str, kind: &str) -> Resolution {
    let code = match name.split('.').next().unwrap() {
        "cart" => "NOERROR",
        "later" => "SERVFAIL",
        _ => "NXDOMAIN",
    };
    let record = DnsRecord {
        name: format!("{name}."),
        ttl_secs: 5,
        kind: kind.into(),
        data: "241.0.0.5".into(),
    };
    Resolution {
        name: format!("{name}."),
        kind: kind.into(),
        code: code.into(),
        records: if code == "NOERROR" {
            vec![record]
        } else {
            vec![]
        },
    }
}

pub fn meanings() -> Vec<Whois> {
    vec![Whois {
        kind: AddressKind::Mapped,
        cluster: parse("east"),
        address: parse("10.244.0.6"),
        service: None,
        namespace: Some(parse("shop")),
        name: None,
        node: None,
        identity: Some(IdentityNumber(7)),
        service_account: Some("client".into()),
    }]
}

pub fn preflight() -> Preflight {
    let offered = OfferedService {
        headless: false,
        ports: vec![],
    };
    Preflight {
        peer: JoinFacts {
            cluster: parse("east"),
            cluster_set: parse("demo"),
            versions: (1, 1),
            time: at(3),
            prefixes: vec![parse("10.244.0.0/16")],
            vips: vec![parse("241.0.0.0/16")],
            plain_allowed: true,
            services: BTreeMap::from([
                (parse("shop/cart"), offered.clone()),
                (parse("shop/db"), offered),
            ]),
        },
        findings: vec![
            Finding {
                severity: Severity::Note,
                subject: "prefixes".into(),
                message: "both clusters use 10.244.0.0/16; mappings keep them apart".into(),
            },
            Finding {
                severity: Severity::Warning,
                subject: "encryption".into(),
                message: "both sides say off: packets are plain and not authenticated".into(),
            },
        ],
        clock_skew_ms: 3_000,
        mappings: vec![mapping()],
    }
}

pub fn preflight_with(peer: &str) -> Preflight {
    let mut preflight = preflight();
    preflight.peer.cluster = parse(peer);
    preflight
}

pub fn preflight_refused() -> Preflight {
    let mut preflight = preflight();
    preflight.findings.push(Finding {
        severity: Severity::Refusal,
        subject: "cluster".into(),
        message: "both clusters are called east".into(),
    });
    preflight
}

/// Of this cluster, where all is well, and of west, where it is not.
pub fn diagnosis() -> Vec<Diagnosis> {
    let udp = Check::passed(
        CheckKind::Udp,
        "west/w1 at 192.0.2.11:7443",
        "answers in 1.2 ms",
    );
    let route = Check::passed(CheckKind::Route, "3 of 3 gateways", "this node has a route");
    let east = Diagnosis {
        cluster: "east".parse().unwrap(),
        checks: vec![udp.at("gateway e1"), route.at("node e1")],
    };
    let dns = Check::passed(
        CheckKind::Dns,
        "dns-version.clusterset.local by 10.96.0.10",
        "no reply within 3 s",
    );
    let dns = dns.but(Outcome::Failed, "let it forward clusterset.local");
    let again = Check::passed(
        CheckKind::Session,
        "this question",
        "it has not answered in time",
    );
    let again = again.but(Outcome::Skipped, "run `causeway doctor` there too");
    let west = Diagnosis {
        cluster: "west".parse().unwrap(),
        checks: vec![dns.at("gateway w1"), again.at("gateway w2")],
    };
    vec![east, west]
}
