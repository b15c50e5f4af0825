use causeway_proto::model::{
    Affinity, Allocations, CatalogDelta, Export, Liveness, Locality, LossPolicy, PeerNumber,
    ProblemKind, TrustState,
};
use expect_test::{Expect, expect};

mod bounds;
mod conditions;
mod laws;
mod peers;

use super::*;
use crate::allot::{PeerWants, Pools, allot};
use crate::catalog::{Local, Own, parts};
use crate::samples::{NameKeys, at, bundle, export, exports, id, service};

/// One cluster: what it offers and whether it allows plain packets to everybody.
#[derive(Debug, Clone)]
struct Cluster {
    name: &'static str,
    services: Vec<(String, Export)>,
    plain: bool,
}

fn cluster(name: &'static str, services: &[(&str, Export)]) -> Cluster {
    let services = services.iter().map(|(n, e)| ((*n).to_owned(), e.clone()));
    Cluster {
        name,
        services: services.collect(),
        plain: true,
    }
}

const ALL: [&str; 4] = ["east", "north", "south", "west"];

impl Cluster {
    fn exports(&self) -> Exports {
        let services: Vec<_> = self
            .services
            .iter()
            .map(|(n, e)| (n.as_str(), e.clone()))
            .collect();
        exports(&services)
    }

    /// What it signs, with `allocations`.
    fn cut(&self, allocations: &Allocations) -> Own {
        let everybody: BTreeSet<ClusterId> = ALL.iter().map(|c| id(c)).collect();
        let (none, nobody, trust) = (BTreeMap::new(), BTreeSet::new(), TrustState::default());
        let local = Local {
            exports: &self.exports(),
            allocations,
            trust: &trust,
            gateways: &none,
            prefixes: &["10.244.0.0/16".parse().unwrap()],
            plain_with: if self.plain { &everybody } else { &nobody },
            introductions: &BTreeMap::new(),
        };
        let mut own = Own::new(id(self.name));
        let content = parts(local, &BTreeMap::new());
        let keys = NameKeys(id(self.name));
        own.cut(content, &BTreeMap::new(), 1, at(0), &keys);
        own
    }

    /// As a peer: its VIPs are its own matter, and it has numbered us.
    fn catalog(&self) -> CatalogDelta {
        let exports = self.exports();
        let peers = ALL.iter().map(|c| (id(c), PeerWants::default())).collect();
        let pools = pools();
        let (allocations, _) = allot(
            &exports,
            &peers,
            &Allocations::default(),
            &pools,
            at(0).wall,
            &[1; 32],
        );
        self.cut(&allocations).snapshot().unwrap()
    }
}

fn pools() -> Pools {
    Pools {
        vips: vec!["241.0.0.0/16".parse().unwrap()],
        mappings: vec!["242.0.0.0/8".parse().unwrap()],
        own: vec!["10.244.0.0/16".parse().unwrap()],
        native: BTreeMap::new(),
    }
}

/// East among its peers.
struct World {
    catalog: Catalog,
    publication: Publication,
    allocations: Allocations,
    plain: bool,
}

impl World {
    fn new(own: &Cluster, peers: &[&Cluster]) -> Self {
        let mut catalog = Catalog::new(id(own.name));
        let members = peers.iter().map(|p| id(p.name)).collect();
        catalog.keep_only(&members, at(0));
        for peer in peers {
            let from = id(peer.name);
            let keys = NameKeys(id(own.name));
            catalog
                .apply(&from, &bundle(&from), &peer.catalog(), &keys)
                .unwrap();
        }
        let publication = Publication {
            exports: own.exports(),
            ..Publication::default()
        };
        let mut world = Self {
            catalog,
            publication,
            allocations: Allocations::default(),
            plain: own.plain,
        };
        world.allot();
        world.catalog.own = own.cut(&world.allocations);
        world
    }

    fn allot(&mut self) {
        let wants = self.catalog.peers().iter().map(|(id, peer)| {
            let services = peer.namespaces().flat_map(|n| n.services.keys().cloned());
            let wants = PeerWants {
                prefixes: vec!["10.244.0.0/16".parse().unwrap()],
                services: services.collect(),
            };
            (id.clone(), wants)
        });
        let (next, problems) = allot(
            &self.publication.exports,
            &wants.collect(),
            &self.allocations,
            &pools(),
            at(0).wall,
            &[1; 32],
        );
        assert_eq!(problems, []);
        self.allocations = next;
    }

    fn view(&self, now: Now) -> View {
        let everybody: BTreeSet<ClusterId> = ALL.iter().map(|c| id(c)).collect();
        let facts = Facts {
            cluster: self.catalog.own.cluster.clone(),
            cluster_set: "prod.example".parse().unwrap(),
            plain_with: if self.plain {
                everybody
            } else {
                BTreeSet::new()
            },
            vip_pool: pools().vips,
            mapping_pool: pools().mappings,
            tunnel_port: 7472,
        };
        let known = Known {
            facts: &facts,
            catalog: &self.catalog,
            publication: Some(&self.publication),
            allocations: &self.allocations,
            gateways: &BTreeMap::new(),
            introduced: &BTreeMap::new(),
            frozen_since: None,
            problems: &[],
            revision: ViewRevision::default(),
        };
        merge(&known, now)
    }
}

/// Where new flows go: `80/TCP: east*1 west*2`.
fn targets(view: &View, name: &str) -> Vec<String> {
    let mut names: BTreeMap<PeerNumber, &str> =
        BTreeMap::from([(PeerNumber::OWN, view.cluster.as_str())]);
    names.extend(view.peers.iter().map(|(id, p)| (p.number, id.as_str())));
    let import = &view.imports[&service(name)];
    let ports = import.ports.iter().map(|p| {
        let to: Vec<String> = p
            .targets
            .iter()
            .map(|(n, weight)| format!("{}*{weight}", names[n]))
            .collect();
        let label = p.name.as_ref().map_or("", |n| n.as_str());
        format!("{label}:{}/{}: {}", p.port, p.protocol, to.join(" "))
    });
    ports.collect()
}

fn aged(mut export: Export, created: u64) -> Export {
    export.created = Timestamp(created);
    export
}

fn check(view: &View, name: &str, expected: &Expect) {
    let mut text = targets(view, name).join("\n");
    text.push('\n');
    for conflict in view.conflicts.get(&service(name)).into_iter().flatten() {
        text.push_str(&format!("{conflict}\n"));
    }
    expected.assert_eq(&text);
}

#[test]
fn clashing_ports_are_united_and_traffic_goes_where_the_port_is() {
    let east = cluster(
        "east",
        &[(
            "shop/cart",
            aged(export(&["http:80/TCP", "dns:53/UDP"], &[1]), 5),
        )],
    );
    let west = cluster(
        "west",
        &[(
            "shop/cart",
            aged(
                export(&["http:8080/TCP", "web:80/TCP", "dns:53/UDP"], &[1]),
                3,
            ),
        )],
    );
    let view = World::new(&east, &[&west]).view(at(0));
    check(
        &view,
        "shop/cart",
        &expect![[r#"
            web:80/TCP: east*1 west*1
            http:8080/TCP: west*1
            dns:53/UDP: east*1 west*1
            Conflicting Port. Using "dns:53/UDP, http:8080/TCP, web:80/TCP" from oldest service export in "west". 1/2 clusters disagree.
        "#]],
    );
    let shares = view.imports[&service("shop/cart")].shares.iter();
    let ports = shares.map(|(id, share)| {
        let ports = share
            .ports
            .iter()
            .map(|(protocol, port)| format!("{port}/{protocol}"));
        format!("{id}: {}", ports.collect::<Vec<_>>().join(" "))
    });
    let ports: Vec<String> = ports.collect();
    assert_eq!(
        ports,
        ["east: 80/TCP 53/UDP", "west: 80/TCP 8080/TCP 53/UDP"]
    );
    let told: Vec<String> = view
        .conditions
        .iter()
        .filter(|c| c.object == "ServiceExport shop/cart")
        .map(|c| format!("{} {:?} {}", c.kind, c.status, c.reason))
        .collect();
    assert_eq!(told, ["Conflict True PortConflict", "Ready True Exported"]);
}

#[test]
fn the_oldest_wins_the_rest_and_everywhere_the_same() {
    let mut first = aged(export(&["http:80/TCP"], &[1]), 5);
    first.headless = true;
    first.labels.insert("tier".to_owned(), "gold".to_owned());
    let mut second = aged(export(&["http:80/TCP"], &[1, 2]), 6);
    second.affinity = Affinity::ClientIp { timeout_secs: 10 };
    second.traffic_distribution = Some("PreferSameZone".to_owned());
    let mut third = aged(second.clone(), 7);
    third.affinity = Affinity::ClientIp { timeout_secs: 20 };
    let east = cluster("east", &[("shop/cart", third)]);
    let north = cluster("north", &[("shop/cart", second.clone())]);
    let west = cluster("west", &[("shop/cart", first.clone())]);
    let all = [&east, &north, &west];
    let mut seen = BTreeSet::new();
    for own in all {
        let peers: Vec<&Cluster> = all.into_iter().filter(|c| c.name != own.name).collect();
        let view = World::new(own, &peers).view(at(0));
        let import = &view.imports[&service("shop/cart")];
        assert!(import.headless && import.vip.is_none());
        assert_eq!(import.labels, first.labels);
        // Only the headless one has endpoints to name.
        let clusters: Vec<&str> = import
            .endpoints
            .iter()
            .map(|e| e.cluster.as_str())
            .collect();
        assert_eq!(clusters, ["west"]);
        seen.insert(format!("{:?}", view.conflicts));
    }
    assert_eq!(seen.len(), 1);
    let view = World::new(&east, &[&north, &west]).view(at(0));
    check(
        &view,
        "shop/cart",
        &expect![[r#"
            http:80/TCP: 
            Conflicting Type. Using "Headless" from oldest service export in "west". 2/3 clusters disagree.
            Conflicting SessionAffinity. Using "None" from oldest service export in "west". 2/3 clusters disagree.
            Conflicting Labels. Using "tier=gold" from oldest service export in "west". 2/3 clusters disagree.
            Conflicting TrafficDistribution. Using "" from oldest service export in "west". 2/3 clusters disagree.
        "#]],
    );
    // The same age: the smaller name wins. Timeouts are compared where both have one.
    second.created = Timestamp(7);
    let north = cluster("north", &[("shop/cart", second)]);
    let view = World::new(&east, &[&north]).view(at(0));
    check(
        &view,
        "shop/cart",
        &expect![[r#"
            http:80/TCP: east*1 north*1
            Conflicting SessionAffinityConfig. Using "20 s" from oldest service export in "east". 1/2 clusters disagree.
        "#]],
    );
}

#[test]
fn local_first_fails_over_and_comes_back() {
    let offer = |hosts: &[u8], locality| {
        let mut offer = export(&["http:80/TCP"], hosts);
        offer.locality = locality;
        offer
    };
    let west = cluster(
        "west",
        &[("shop/cart", offer(&[1, 2, 3, 4], Locality::Spread))],
    );
    let view = |hosts: &[u8], locality| {
        let east = cluster("east", &[("shop/cart", offer(hosts, locality))]);
        targets(&World::new(&east, &[&west]).view(at(0)), "shop/cart")
    };
    assert_eq!(view(&[1, 2], Locality::LocalFirst), ["http:80/TCP: east*1"]);
    assert_eq!(view(&[], Locality::LocalFirst), ["http:80/TCP: west*1"]);
    assert_eq!(
        view(&[1, 2], Locality::Spread),
        ["http:80/TCP: east*1 west*2"]
    );
    // Weights of the user count; none takes no new flows.
    let mut heavy = offer(&[1], Locality::Spread);
    heavy.weight = 6;
    let east = cluster("east", &[("shop/cart", heavy.clone())]);
    let shown = targets(&World::new(&east, &[&west]).view(at(0)), "shop/cart");
    assert_eq!(shown, ["http:80/TCP: east*3 west*2"]);
    heavy.weight = 0;
    heavy.locality = Locality::LocalFirst;
    let east = cluster("east", &[("shop/cart", heavy)]);
    let shown = targets(&World::new(&east, &[&west]).view(at(0)), "shop/cart");
    assert_eq!(shown, ["http:80/TCP: west*1"]);
}

#[test]
fn silence_is_borne_as_the_export_says() {
    let offer = |on_loss| {
        let mut offer = export(&["http:80/TCP"], &[1]);
        offer.on_loss = on_loss;
        offer
    };
    let services = [
        ("shop/withdraw", offer(LossPolicy::Withdraw)),
        ("shop/keep", offer(LossPolicy::Keep)),
        ("shop/failover", offer(LossPolicy::FailoverOnly)),
    ];
    let (west, south) = (cluster("west", &services), cluster("south", &services));
    let mut world = World::new(&cluster("east", &[]), &[&south, &west]);
    let shown = |world: &World, ms: u64| -> Vec<String> {
        let view = world.view(at(ms));
        let names = ["shop/withdraw", "shop/keep", "shop/failover"];
        let each = names.map(|n| targets(&view, n).join(""));
        each.map(|t| t.trim_start_matches("http:80/TCP: ").to_owned())
            .to_vec()
    };
    let both = "south*1 west*1".to_owned();
    assert_eq!(shown(&world, 0), vec![both.clone(); 3]);
    // West's packets flow, its sessions are silent; south is well.
    for second in 1..=12 {
        let now = at(second * 1_000);
        world.catalog.peer_mut(&id("south")).unwrap().life.beat(now);
        world
            .catalog
            .peer_mut(&id("west"))
            .unwrap()
            .life
            .packet(0, now);
    }
    let suspect = world.view(at(5_000));
    assert_eq!(suspect.peers[&id("west")].liveness, Liveness::Suspect);
    assert_eq!(shown(&world, 5_000), ["south*1", &both, "south*1"]);
    assert_eq!(shown(&world, 12_000), ["south*1", &both, "south*1"]);
    assert!(!world.view(at(12_000)).imports[&service("shop/withdraw")].stale);
    // Everybody is silent: name and address stay, connections are rejected or go where it says.
    let before = world.view(at(0)).imports[&service("shop/withdraw")].vip;
    assert_eq!(shown(&world, 40_000), ["", &both, &both]);
    let view = world.view(at(40_000));
    assert!(view.imports.values().all(|i| i.stale));
    assert_eq!(view.imports[&service("shop/withdraw")].vip, before);
}

#[test]
fn headless_endpoints_appear_under_our_prefixes() {
    let mut db = export(&["pg:5432/TCP"], &[7, 9]);
    db.headless = true;
    db.endpoints[0].hostname = Some("db-0".to_owned());
    let mut outside = db.endpoints[1].clone();
    outside.address = "10.9.0.1".parse().unwrap();
    let mut far = db.clone();
    far.endpoints.push(outside);
    let east = cluster("east", &[("shop/db", db)]);
    let west = cluster("west", &[("shop/db", far)]);
    let mut world = World::new(&east, &[&west]);
    let view = world.view(at(0));
    let shown = |view: &View| -> Vec<String> {
        let endpoints = view.imports[&service("shop/db")].endpoints.iter();
        endpoints
            .map(|e| format!("{}.{} {}", e.hostname, e.cluster, e.address))
            .collect()
    };
    assert_eq!(
        shown(&view),
        [
            "10-244-0-9.east 10.244.0.9",
            "db-0.east 10.244.0.7",
            "10-244-0-9.west 242.1.0.9",
            "db-0.west 242.1.0.7"
        ]
    );
    assert_eq!(view.problems.len(), 1);
    assert_eq!(view.problems[0].kind, ProblemKind::OutsidePrefix);
    // Out of the answers at once when withdrawn.
    world.catalog.peer_mut(&id("west")).unwrap().life.leave();
    assert_eq!(shown(&world.view(at(0))).len(), 2);
}

#[test]
fn imports_are_where_the_namespace_is_and_the_offer_has_an_address() {
    let offer = export(&["http:80/TCP"], &[1]);
    let west = cluster(
        "west",
        &[("shop/cart", offer.clone()), ("pay/card", offer.clone())],
    );
    let mut world = World::new(&cluster("east", &[("shop/own", offer)]), &[&west]);
    let names = |view: &View| {
        view.imports
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let view = world.view(at(0));
    assert_eq!(names(&view), ["shop/cart", "shop/own"]);
    assert!(view.sync.local && view.sync.missing.is_empty());
    // Nothing of an export is told, or shown here, before its address is in force.
    world.allocations.vips = BTreeMap::new();
    let view = world.view(at(0));
    assert_eq!(names(&view), ["shop/cart"]);
    assert!(view.exports.is_empty());
    assert_eq!(view.imports[&service("shop/cart")].vip, None);
    let ready = view.conditions.iter().find(|c| c.kind == "Ready").unwrap();
    assert_eq!(ready.reason, "Pending");
    // A peer that never spoke.
    world
        .catalog
        .keep_only(&BTreeSet::from([id("west"), id("south")]), at(0));
    let missing = world.view(at(0)).sync.missing;
    assert_eq!(missing, BTreeSet::from([id("south")]));
}
