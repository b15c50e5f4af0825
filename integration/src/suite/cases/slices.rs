//! Shell: the EndpointSlices of imports.

use std::collections::BTreeSet;

use crate::suite::case::{Case, case};
use crate::suite::clients::Client;
use crate::suite::expect::{self, Look, within};
use crate::suite::hope::{CONDITIONS, SLICES, first};
use crate::suite::kind::SLICE;
use crate::suite::scene::{BOTH, Scene, Side};
use crate::suite::seen::{self, MANAGED_BY, MCS_SERVICE, SOURCE_CLUSTER, Slice};
use crate::suite::wanted::{HELLO, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "slices.labels",
        "an export makes a slice with the standard's labels in each cluster, and none after",
        labels,
    )
    .specs(&[16]),
    case(
        "slices.one-per-cluster",
        "one slice for each exporter, with that cluster's address in our view",
        one_per_cluster,
    ),
    case(
        "slices.headless",
        "slices of a headless service have the ready backends, and follow them",
        headless,
    ),
];

/// What the API server's own controller calls itself.
const KUBERNETES: &str = "endpointslice-controller.k8s.io";

fn labels(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene.east().service(&Service::standard())?;
    scene.east().export()?;
    let source = scene.east().id()?;
    let mut names = Vec::new();
    for side in BOTH {
        let place = scene.at(side);
        let import = place.import("anything", |_| true)?;
        let slices = place.slices("one", |all| all.len() == 1)?;
        let slice = first(&slices, "slice")?;
        let label = |key: &str| slice.metadata.labels.get(key).cloned().unwrap_or_default();
        expect::now(MCS_SERVICE, HELLO.to_owned(), label(MCS_SERVICE))?;
        expect::now(SOURCE_CLUSTER, source.clone(), label(SOURCE_CLUSTER))?;
        let manager = label(MANAGED_BY);
        anyhow::ensure!(
            !manager.is_empty() && manager != KUBERNETES,
            "{MANAGED_BY} of our own\n  seen: {manager:?}"
        );
        let owner = slice.metadata.owner_references.iter();
        let mut owner =
            owner.filter(|o| o.kind == "ServiceImport" && o.name == import.metadata.name);
        let owned = owner.next().is_some_and(|owner| !owner.controller);
        expect::now("owned by the import, not as its controller", true, owned)?;
        names.push((side, slice.metadata.name.clone()));
    }
    scene.east().unexport()?;
    for (side, name) in names {
        let place = scene.at(side);
        within(CONDITIONS, &format!("{place}: no slice {name}"), || {
            Ok(match place.get(SLICE, &name)? {
                None => Look::Yes(()),
                Some(_) => Look::No("it is there".to_owned()),
            })
        })?;
    }
    Ok(())
}

fn one_per_cluster(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        scene.at(side).deploy(&Service::standard(), 42, 1)?;
        scene.at(side).export()?;
    }
    let mut ids = vec![scene.east().id()?, scene.west().id()?];
    ids.sort();
    for side in BOTH {
        let place = scene.at(side);
        let wanted = format!("one ready of each of {}", ids.join(", "));
        let slices = place.slices(&wanted, |all| {
            let mut sources: Vec<_> = all.iter().filter_map(Slice::source).collect();
            sources.sort_unstable();
            sources == ids && all.iter().all(|s| s.ready().len() == 1)
        })?;
        for slice in &slices {
            let ports = seen::shown_ports(&seen::sorted(slice.ports.clone()));
            expect::now(
                "ports of a slice",
                "[tcp TCP/42, udp UDP/42]".to_owned(),
                ports,
            )?;
        }
        let addresses: BTreeSet<_> = slices.iter().flat_map(Slice::ready).collect();
        expect::now("addresses, one of each cluster", 2, addresses.len())?;
        let client = place.client()?;
        for slice in &slices {
            reaches_its_own(scene, side, &client, slice)?;
        }
    }
    scene.west().unexport()?;
    let east = scene.east().id()?;
    for side in BOTH {
        scene.at(side).slices("only the one who stays", |all| {
            all.iter().filter_map(Slice::source).eq([east.as_str()])
        })?;
    }
    Ok(())
}

/// Who dials a slice's address reaches the slice's source cluster, over both protocols, whatever is nearer.
fn reaches_its_own(
    scene: &Scene<'_>,
    side: Side,
    client: &Client,
    slice: &Slice,
) -> anyhow::Result<()> {
    let ready = slice.ready();
    let to = format!("{}:42", first(&ready, "address")?);
    let source = slice.source().unwrap_or_default();
    let from = if scene.east().id()? == source {
        &scene.east().cluster.context
    } else {
        &scene.west().cluster.context
    };
    let place = scene.at(side);
    for protocol in ["tcp", "udp"] {
        place.answers(client, protocol, &to, 5, from, |t| t.is_all_of(from))?;
    }
    Ok(())
}

fn headless(scene: &Scene<'_>) -> anyhow::Result<()> {
    let service = Service::standard().headless();
    scene.east().deploy(&service, 42, 2)?;
    scene.east().export()?;
    for count in [2, 1] {
        if count == 1 {
            scene.east().scale(1)?;
        }
        for side in BOTH {
            scene
                .at(side)
                .slices(&format!("{count} ready addresses"), |all| {
                    all.iter().flat_map(Slice::ready).count() == count
                })?;
        }
    }
    scene.step(format_args!(
        "slices followed within {} s, on both sides as {:?}",
        SLICES.as_secs(),
        Side::East
    ));
    Ok(())
}
