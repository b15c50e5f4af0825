use causeway_proto::model::EndpointState;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const PORTS: [&[&str]; 5] = [
    &["http:80/TCP"],
    &["http:8080/TCP"],
    &["web:80/TCP"],
    &["http:80/TCP", "web:8080/TCP"],
    &["http:80/UDP", "x:80/TCP"],
];

fn offers() -> impl Strategy<Value = Vec<(String, Export)>> {
    let offer = (
        select(vec!["shop/a", "shop/b"]),
        select(PORTS.to_vec()),
        0..4u64,
        vec((1..6u8, any::<bool>()), 0..4),
        (any::<bool>(), any::<bool>(), 0..3u16),
        select(vec![
            LossPolicy::Withdraw,
            LossPolicy::Keep,
            LossPolicy::FailoverOnly,
        ]),
    );
    let made = offer.prop_map(
        |(name, ports, created, hosts, (headless, spread, weight), on_loss)| {
            let mut offer = aged(
                export(ports, &hosts.iter().map(|h| h.0).collect::<Vec<_>>()),
                created,
            );
            for (endpoint, (_, ready)) in offer.endpoints.iter_mut().zip(&hosts) {
                if !ready {
                    endpoint.state = EndpointState::NotReady;
                }
            }
            offer.headless = headless;
            offer.weight = weight;
            offer.on_loss = on_loss;
            if !spread {
                offer.locality = Locality::LocalFirst;
            }
            (name.to_owned(), offer)
        },
    );
    vec(made, 0..3)
}

fn clusters() -> impl Strategy<Value = Vec<Cluster>> {
    (vec(offers(), 4), vec(any::<bool>(), 4)).prop_map(|(offers, plain)| {
        let each = ALL.iter().zip(offers).zip(plain);
        each.map(|((name, services), plain)| Cluster {
            name,
            services,
            plain,
        })
        .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever was heard first: the View is the same.
    #[test]
    fn order_free(all in clusters(), turn in 0..3usize) {
        let mut peers: Vec<&Cluster> = all[1..].iter().collect();
        let view = World::new(&all[0], &peers).view(at(0));
        peers.rotate_left(turn);
        peers.swap(0, turn);
        prop_assert_eq!(World::new(&all[0], &peers).view(at(0)), view);
    }

    /// A cluster that is taken out was never there, but for what rests.
    #[test]
    fn removing_is_never_having_had(all in clusters()) {
        let peers: Vec<&Cluster> = all[1..].iter().collect();
        let mut with = World::new(&all[0], &peers);
        let without = World::new(&all[0], &peers[..2]);
        let members = BTreeSet::from([id("north"), id("south")]);
        with.catalog.keep_only(&members, at(0));
        // Places of what stays are the same: both were allotted in one order.
        let mut view = with.view(at(0));
        let mut never = without.view(at(0));
        for view in [&mut view, &mut never] {
            for import in view.imports.values_mut() {
                import.vip = None;
                for endpoint in &mut import.endpoints {
                    endpoint.address = "0.0.0.0".parse().unwrap();
                }
            }
            for peer in view.peers.values_mut() {
                peer.mappings.clear();
            }
            view.seed = [0; 16];
        }
        prop_assert_eq!(view, never);
    }

    /// In every cluster the same winner, the same ports, the same conflicts.
    #[test]
    fn same_everywhere(all in clusters()) {
        let mut seen: BTreeMap<ServiceName, BTreeSet<String>> = BTreeMap::new();
        for own in &all {
            let peers: Vec<&Cluster> = all.iter().filter(|c| c.name != own.name).collect();
            let view = World::new(own, &peers).view(at(0));
            for (name, import) in &view.imports {
                let ports: Vec<_> = import
                    .ports
                    .iter()
                    .map(|p| (p.name.clone(), p.protocol, p.port))
                    .collect();
                let conflicts = view.conflicts.get(name);
                let shares: Vec<_> = import.shares.keys().collect();
                let said = format!("{} {ports:?} {conflicts:?} {shares:?}", import.headless);
                seen.entry(name.clone()).or_default().insert(said);
            }
        }
        for (name, said) in seen {
            prop_assert_eq!(said.len(), 1, "{}: {:#?}", name, said);
        }
    }

    /// New flows go only to who is there, exposes the port and is ready; while there is such a one, somewhere.
    #[test]
    fn targets_can_take_flows(all in clusters(), silent in 0..40_000u64, takes: bool) {
        let peers: Vec<&Cluster> = all[1..].iter().collect();
        let mut world = World::new(&all[0], &peers);
        let north = world.catalog.peer_mut(&id("north")).unwrap();
        north.life.beat(at(silent));
        north.takes_packets = Some(takes);
        let view = world.view(at(silent));
        for (name, import) in &view.imports {
            let mut names: BTreeMap<PeerNumber, ClusterId> = BTreeMap::from([(PeerNumber::OWN, id("east"))]);
            names.extend(view.peers.iter().map(|(id, p)| (p.number, id.clone())));
            for port in &import.ports {
                for (number, weight) in &port.targets {
                    prop_assert!(*weight > 0 && !import.headless);
                    let cluster = all.iter().find(|c| id(c.name) == names[number]).unwrap();
                    let exports = cluster.exports();
                    let export = &exports.services[name];
                    prop_assert!(export.ready() > 0 && export.weight > 0);
                    prop_assert!(export.ports.iter().any(|p| (p.protocol, p.port) == (port.protocol, port.port)));
                    if *number != PeerNumber::OWN {
                        let encrypted = takes || names[number] != id("north");
                        prop_assert!(encrypted || (all[0].plain && cluster.plain));
                        let withdrawn = view.peers[&names[number]].liveness == Liveness::Withdrawn;
                        prop_assert!(!withdrawn || export.on_loss != LossPolicy::Withdraw);
                    }
                }
            }
        }
    }
}
