//! What a change, a loss and an end make of what is there.

use super::*;

/// A server that has the import and slice of `cart`.
fn server() -> Server {
    let mut view = view();
    view.imports.insert(service("cart"), cart());
    let mut server = Server::default();
    settle(&mut server, &view, &["shop"]);
    server
}

fn settle(server: &mut Server, view: &View, namespaces: &[&str]) {
    let namespaces = namespaces.iter().map(|n| (*n).to_owned()).collect();
    for _ in 0..5 {
        let sight = server.sight();
        let schema = Schema::default();
        let known = Known {
            view,
            sight: &sight,
            namespaces: &namespaces,
            schema: &schema,
        };
        let mut wants = Wants::default();
        wanted(&known, "shop", "cart", &mut wants);
        let groups = BTreeSet::from([Group::Import("shop".into(), "cart".into())]);
        for write in plan(&sight, &groups, &wants, Timestamp(0)) {
            server.execute(&write).unwrap();
        }
    }
}

#[test]
fn the_last_export_goes() {
    let mut server = server();
    assert_eq!(server.targets().len(), 2);
    settle(&mut server, &view(), &["shop"]);
    assert!(server.targets().is_empty());
}

/// A gateway that lost its disk knows nothing of west yet.
#[test]
fn a_cluster_that_never_synced_takes_nothing_away() {
    let mut server = server();
    let mut view = view();
    view.sync.missing.insert(cluster("west"));
    settle(&mut server, &view, &["shop"]);
    assert_eq!(server.targets().len(), 2);
    view.sync.missing.clear();
    settle(&mut server, &view, &["shop"]);
    assert!(server.targets().is_empty());
}

#[test]
fn an_own_export_that_the_leader_does_not_know_yet() {
    let mut view = view();
    view.imports.insert(
        service("cart"),
        Import {
            shares: [(cluster("east"), share(0, 1, Liveness::Live))].into(),
            ..cart()
        },
    );
    let mut server = Server::default();
    settle(&mut server, &view, &["shop"]);
    view.imports.clear();
    view.sync.local = false;
    settle(&mut server, &view, &["shop"]);
    assert_eq!(server.targets().len(), 2);
}

#[test]
fn a_namespace_that_ends_is_left_alone() {
    let mut server = server();
    let before = server.changed;
    settle(&mut server, &view(), &[]);
    assert_eq!((server.targets().len(), server.changed), (2, before));
    server.delete(&Target::new(Kind::ServiceImport, "shop", "cart"));
    let mut view = view();
    view.imports.insert(service("cart"), cart());
    settle(&mut server, &view, &[]);
    assert_eq!(server.targets().len(), 1, "nothing is made in it");
    settle(&mut server, &view, &["shop"]);
    assert_eq!(
        server.targets().len(),
        2,
        "a namespace that comes gets its imports"
    );
}

fn many(count: u8) -> Import {
    let one = |n: u8| {
        endpoint_at(
            "west",
            &format!("web-{n}"),
            &format!("242.1.{}.{n}", n / 100),
            &[(Protocol::Tcp, 80, 8080)],
        )
    };
    headless((0..count).map(one).collect())
}

fn slices_of(import: &Import) -> BTreeMap<Target, Wanted> {
    slices_in(&view(), import)
}

fn slices_in(view: &View, import: &Import) -> BTreeMap<Target, Wanted> {
    let target = Target::new(Kind::ServiceImport, "shop", "cart");
    slices::of(view, &service("cart"), import, &target)
}

/// Each cluster's slice has an address of that cluster's; one whose pool has no mapping yet has the import's.
#[test]
fn a_slice_holds_its_clusters_vip_as_it_appears_here() {
    let mut view = view();
    view.self_map = vec![mapping("241.0.0.0/16", "242.3.0.0/16")];
    let mut west = peer(Encryption::Plain);
    west.mappings = vec![
        mapping("10.244.0.0/16", "242.1.0.0/16"),
        mapping("241.0.0.0/16", "242.2.0.0/16"),
    ];
    view.peers = [
        (cluster("north"), peer(Encryption::Plain)),
        (cluster("west"), west),
    ]
    .into();
    let mut import = cart();
    let clusters = ["east", "north", "west"];
    import.shares = clusters
        .map(|id| (cluster(id), share(1, 1, Liveness::Live)))
        .into();
    let addresses: Vec<_> = slices_in(&view, &import)
        .into_values()
        .map(|wanted| wanted.body.unwrap()["endpoints"][0]["addresses"][0].clone())
        .collect();
    assert_eq!(addresses, ["242.3.9.9", "241.0.0.1", "242.2.9.9"]);
}

/// A port of the union that another cluster alone has is not in this one's slice; who has none has no slice.
#[test]
fn a_slice_holds_the_ports_that_its_cluster_takes_dials_to() {
    let mut import = cart();
    let mut north = share(2, 1, Liveness::Live);
    north.ports.remove(&(Protocol::Tcp, 80));
    let mut south = north.clone();
    south.ports.clear();
    import.shares.insert(cluster("north"), north);
    import.shares.insert(cluster("south"), south);
    let ports = |wanted: Wanted| -> Vec<String> {
        let ports = wanted.body.unwrap()["ports"].as_array().unwrap().clone();
        ports.iter().map(|p| p["port"].to_string()).collect()
    };
    let of_each: Vec<_> = slices_of(&import).into_values().map(ports).collect();
    assert_eq!(of_each, [vec!["53"], vec!["80", "53"]]);
}

fn mapping(theirs: &str, ours: &str) -> Mapping {
    let (theirs, ours) = (theirs.parse().unwrap(), ours.parse().unwrap());
    Mapping { theirs, ours }
}

#[test]
fn at_most_a_hundred_endpoints_in_a_slice_and_one_changes_one() {
    let sizes = |slices: &BTreeMap<Target, Wanted>| -> Vec<usize> {
        let size = |w: &Wanted| {
            w.body.as_ref().unwrap()["endpoints"]
                .as_array()
                .unwrap()
                .len()
        };
        slices.values().map(size).collect()
    };
    assert_eq!(sizes(&slices_of(&many(100))), [100]);
    let before = slices_of(&many(240));
    assert_eq!(sizes(&before).iter().sum::<usize>(), 240);
    assert!(
        sizes(&before).iter().all(|size| *size <= 100),
        "{:?}",
        sizes(&before)
    );
    let mut import = many(240);
    import.endpoints.remove(17);
    let after = slices_of(&import);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    let changed = before
        .iter()
        .filter(|(target, wanted)| after[*target] != **wanted);
    assert_eq!(changed.count(), 1);
}
