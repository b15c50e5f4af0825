use causeway_proto::limits::{
    IMPORT_ENDPOINTS, IMPORT_PORTS, IMPORTS, NODE_ADDRESSES, PORTS_PER_SERVICE, PROBLEMS,
};
use causeway_proto::model::{Address, ImportEndpoint, Part, PartKey, Problem};
use causeway_proto::wire::Encoded;

use super::super::{bounds, import};
use super::*;

fn told(view: &View) -> String {
    let lines = view.problems.iter().map(ToString::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

/// What agents and operators can read.
fn fits(view: &View) {
    assert_eq!(View::from_bytes(&view.to_bytes()).as_ref(), Ok(view));
}

fn small() -> View {
    let east = cluster("east", &[("shop/cart", export(&["http:80/TCP"], &[1]))]);
    let west = cluster("west", &[("shop/cart", export(&["http:80/TCP"], &[1]))]);
    World::new(&east, &[&west]).view(at(0))
}

#[test]
fn whatever_peers_offer_together_can_be_read() {
    let mut view = small();
    let before = view.clone();
    bounds::keep(&mut view);
    assert_eq!(view, before);
    fits(&view);

    let address = |n: usize| Address::from(std::net::Ipv4Addr::from_bits(0xf200_0000 + n as u32));
    let endpoint = |n| ImportEndpoint {
        cluster: id("west"),
        hostname: "x".to_owned(),
        address: address(n),
        ports: BTreeSet::new().into_iter().collect(),
    };
    if let Some(cart) = view.imports.get_mut(&service("shop/cart")) {
        cart.endpoints = (0..IMPORT_ENDPOINTS + 3).map(endpoint).collect();
    }
    if let Some(west) = view.peers.get_mut(&id("west")) {
        west.nodes = (0..NODE_ADDRESSES + 4).map(address).collect();
    }
    bounds::keep(&mut view);
    fits(&view);
    let cart = small().imports[&service("shop/cart")].clone();
    let many = (0..=IMPORTS).map(|n| (service(&format!("shop/s{n:06}")), cart.clone()));
    view.imports.extend(many);
    bounds::keep(&mut view);
    assert_eq!(view.imports.len(), IMPORTS);
    let told = told(&view);
    for what in [
        "View: 2 services are left out",
        "service shop/cart: 3 endpoints",
        "peer west: 4 addresses of nodes",
    ] {
        assert!(told.contains(what), "{what}\n{told}");
    }
}

#[test]
fn words_are_bounded_too() {
    let mut view = small();
    let condition = view.conditions[0].clone();
    let long = "ä".repeat(100_000);
    view.conditions = vec![condition; PROBLEMS + 5];
    view.conditions[0].message.clone_from(&long);
    let problem = |n: usize| Problem {
        kind: ProblemKind::BadObject,
        subject: format!("{n}"),
        message: long.clone(),
    };
    view.problems = (0..PROBLEMS + 7).map(problem).collect();
    bounds::keep(&mut view);
    fits(&view);
    // The condition that was told took a place as well.
    let last = view.problems.last().unwrap().to_string();
    assert!(last.contains("View: 9 problems are left out"), "{last}");
}

/// A conflict shows what the oldest export says, which may be a peer's very long annotation.
#[test]
fn a_conflict_over_something_long_can_be_read() {
    let mut theirs = aged(export(&["http:80/TCP"], &[1]), 1);
    theirs
        .annotations
        .insert("note".to_owned(), "x".repeat(200 << 10));
    let east = cluster(
        "east",
        &[("shop/cart", aged(export(&["http:80/TCP"], &[1]), 5))],
    );
    let west = cluster("west", &[("shop/cart", theirs)]);
    fits(&World::new(&east, &[&west]).view(at(0)));
}

#[test]
fn ports_of_the_oldest_exports_stay() {
    let offered = |n: usize| {
        let port = |p: usize| format!("p{n}-{p}:{}/TCP", 1 + n * PORTS_PER_SERVICE + p);
        let ports: Vec<String> = (0..PORTS_PER_SERVICE).map(port).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        (format!("shop/s{n}"), export(&ports, &[1]))
    };
    let west = Cluster {
        name: "west",
        services: (0..5).map(offered).collect(),
        plain: true,
    };
    let own = west.catalog();
    let key = PartKey::Namespace("shop".parse().unwrap());
    let part = own.parts.iter().find(|p| p.key == key).unwrap();
    let Ok(Part::Namespace(part)) = Part::from_bytes(&part.bytes) else {
        panic!("no namespace");
    };
    let name = id("west");
    let offers = part.services.values().map(|offer| import::Offer {
        cluster: &name,
        number: PeerNumber::OWN,
        liveness: Liveness::Live,
        reachable: true,
        mappings: None,
        offer,
    });
    let offers: Vec<import::Offer<'_>> = offers.collect();
    let (ports, over) = import::union(&offers);
    assert_eq!((ports.len(), over), (IMPORT_PORTS, PORTS_PER_SERVICE));
    assert_eq!(ports.last().unwrap().port as usize, IMPORT_PORTS);
}
