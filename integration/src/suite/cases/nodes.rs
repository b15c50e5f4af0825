//! Shell: nodes that come, go, are drained, and are lost with all that is on them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::suite::case::{Case, Need, Turn, case};
use crate::suite::expect::{self, Look, within};
use crate::suite::hope::{CONDITIONS, first};
use crate::suite::install;
use crate::suite::kind::{CONFIGURATION, IMPORT, LEASE, NODE, POD};
use crate::suite::scene::{BOTH, Place, Scene, Side};
use crate::suite::seen::{self, Import, Pod};
use crate::suite::traffic::Traffic;
use crate::suite::wanted::{self, HELLO, Server, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "nodes.added-and-removed",
        "a node that is added takes part, and one that is removed leaves nothing",
        added_and_removed,
    )
    .needs(&[Need::Ground])
    .turn(Turn::Alone),
    case(
        "nodes.gateway-drained",
        "a gateway node is drained without a failed request",
        gateway_drained,
    )
    .needs(&[Need::Nodes])
    .turn(Turn::Alone),
    case(
        "nodes.leader-lost",
        "the leader's node is lost with its disk: the cluster goes on as who it was",
        leader_lost,
    )
    .needs(&[Need::Ground, Need::Nodes])
    .turn(Turn::Alone),
];

/// Until a new node serves.
const ADDED: Duration = Duration::from_secs(60);
/// Until another gateway leads.
const ELECTED: Duration = Duration::from_secs(40);
/// The longest that traffic may stand still when a gateway's node dies without a word: a client's try of five seconds that was
/// under way, and a second one where that began before the peer had noticed (three seconds without a beat, sent each second).
const GAP: Duration = Duration::from_secs(12);

fn plain() -> Service {
    Service::plain(&[
        wanted::port("tcp", "TCP", 80, 8080),
        wanted::port("udp", "UDP", 80, 8080),
    ])
}

fn to(scene: &Scene<'_>) -> String {
    format!("{}:80", scene.domain(HELLO))
}

fn added_and_removed(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (stage, east, west) = (scene.stage, scene.east(), scene.west());
    let ground = &stage.ground;
    east.deploy(&plain(), 8080, 1)?;
    east.export()?;
    let node = ground.add_node(&west.cluster.context)?;
    scene.show(format_args!("west: node {node} is added"));
    let outcome = on_new_node(scene, &node);
    ground.remove_node(&west.cluster.context, &node)?;
    // Some may have been made there.
    stage.clients.forget();
    outcome?;
    scene.show(format_args!("west: node {node} is removed"));
    install::ready(stage, Side::West)?;
    west.answers(&west.client()?, "tcp", &to(scene), 5, "east", |_| true)
        .map(|_| ())
}

fn on_new_node(scene: &Scene<'_>, node: &str) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    let client = west.own_client("asks", Some(node))?;
    within(ADDED, &format!("west: a pod on {node} is answered"), || {
        let tally = client.dial(scene.stage, "tcp", &to(scene), 5)?;
        Ok(Look::when(tally.is_whole(), tally))
    })?;
    // And a backend there is reached from the other side.
    west.service(&plain())?;
    let server = Server::on(&west.cluster.context, 8080).at(node);
    west.apply(&server.deployment(HELLO, 1))?;
    west.pods(HELLO, 1)?;
    east.unexport()?;
    west.export()?;
    let context = &west.cluster.context;
    within(ADDED, &format!("east: answered by a pod on {node}"), || {
        let tally = east.client()?.dial(scene.stage, "tcp", &to(scene), 5)?;
        Ok(Look::when(tally.is_all_of(context), tally))
    })?;
    east.export()?;
    west.unexport()?;
    Ok(())
}

/// The gateway that leads one side, which has the name of its node.
fn leader(place: &Place<'_>) -> anyhow::Result<String> {
    let system = place.scene.system(place.side);
    let lease = system.must_get(LEASE, "causeway-leader")?;
    let holder = lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str);
    let holder = holder.with_context(|| format!("{place}: no leader"))?;
    Ok(holder.to_owned())
}

fn epoch(place: &Place<'_>) -> anyhow::Result<i64> {
    let object = place.cluster.get(CONFIGURATION, "", "default")?;
    let object = object.context("no ClusterConfiguration")?;
    let epoch = object.pointer("/status/epoch").and_then(Value::as_i64);
    epoch.with_context(|| format!("{place}: no epoch"))
}

/// Another gateway leads than that one.
fn led_by_another(place: &Place<'_>, than: &str) -> anyhow::Result<String> {
    within(
        ELECTED,
        &format!("{place}: another leader than {than}"),
        || {
            let now = leader(place)?;
            Ok(Look::when(now != than, now))
        },
    )
}

fn gateway_drained(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    // Backends and clients stand on the other node of each side: pods of a drained node are gone anyway.
    for side in BOTH {
        let place = scene.at(side);
        let leads = leader(&place)?;
        let other = other_node(&place, &leads)?;
        let server = Server::on(&place.cluster.context, 8080).at(&other);
        place.apply(&server.deployment(HELLO, 1))?;
        place.service(&plain())?;
        place.pods(HELLO, 1)?;
    }
    scene.east().export()?;
    let west = scene.west();
    let clients = staying(&west)?;
    west.answers(
        first(&clients, "client")?,
        "tcp",
        &to(scene),
        5,
        "east",
        |_| true,
    )?;
    let traffic = Traffic::start(scene, &clients, &to(scene))?;
    for side in BOTH {
        let place = scene.at(side);
        let node = leader(&place)?;
        scene.show(format_args!("{place}: drain {node}, which leads"));
        let args = [
            "drain",
            &node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--force",
            // All but the pods of tests.
            "--pod-selector=!app",
            "--timeout=60s",
        ];
        let outcome = place.cluster.kubectl(&args).and_then(|_| {
            // A drain leaves DaemonSets; a gateway goes when its node's label does.
            label(&place, &node, Value::Null)?;
            led_by_another(&place, &node)?;
            traffic.goes_on()
        });
        place.cluster.kubectl(&["uncordon", &node])?;
        label(&place, &node, json!("true"))?;
        outcome?;
        install::ready(stage, side)?;
    }
    traffic.unharmed()
}

fn label(place: &Place<'_>, node: &str, value: Value) -> anyhow::Result<()> {
    let piece = json!({"metadata": {"labels": {"causeway.dev/gateway": value}}});
    place.cluster.merge(NODE, "", node, "", &piece).map(|_| ())
}

fn other_node(place: &Place<'_>, than: &str) -> anyhow::Result<String> {
    let clients = place.clients()?;
    let other = clients.into_iter().find(|c| c.node != than);
    other.map(|c| c.node).context("no other node")
}

/// Clients that are not on the leader's node.
fn staying(place: &Place<'_>) -> anyhow::Result<Vec<crate::suite::clients::Client>> {
    let leads = leader(place)?;
    let mut clients = place.clients()?;
    clients.retain(|client| client.node != leads);
    Ok(clients)
}

/// The controllers stand on two nodes, as they were installed, though a drain may have driven them together.
fn spread(place: &Place<'_>) -> anyhow::Result<()> {
    let system = place.scene.system(place.side);
    within(ELECTED, "controllers on two nodes", || {
        let found = system.list(POD, "app.kubernetes.io/component=controller")?;
        let pods: Vec<Pod> = found.iter().map(seen::read).collect::<Result<_, _>>()?;
        let ready: Vec<_> = pods.iter().filter(|pod| pod.is_ready()).collect();
        let nodes: BTreeSet<_> = ready.iter().map(|pod| &pod.spec.node_name).collect();
        if let (2.., 1, Some(one)) = (ready.len(), nodes.len(), ready.first()) {
            system.delete(POD, &one.metadata.name)?;
        }
        Ok(Look::when(nodes.len() > 1, ready.len()))
    })
    .map(|_| ())
}

fn leader_lost(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (stage, east, west) = (scene.stage, scene.east(), scene.west());
    let lost = leader(&west)?;
    let other = other_node(&west, &lost)?;
    let before = epoch(&west)?;
    spread(&west)?;
    east.deploy(&plain(), 8080, 1)?;
    east.export()?;
    let server = Server::on(&west.cluster.context, 8080).at(&other);
    west.apply(&plain().named("of-west"))?;
    west.apply(&wanted::export("of-west"))?;
    west.apply(&server.deployment("other", 1))?;
    let of_west = east.import_of("of-west", CONDITIONS, "an address", |i| {
        !i.spec.ips.is_empty()
    })?;
    let clients = staying(&west)?;
    let client = first(&clients, "client")?;
    west.answers(client, "tcp", &to(scene), 5, "east", |_| true)?;
    // By address: half of the cluster's DNS is on the lost node, and asked until Kubernetes gives the node up.
    let import = west.import_of(HELLO, CONDITIONS, "an address", |i| !i.spec.ips.is_empty())?;
    let address = first(&import.spec.ips, "address")?;
    let traffic = Traffic::start(scene, &clients, &format!("{address}:80"))?;
    scene.show(format_args!(
        "west: node {lost}, which leads, is lost with its disk"
    ));
    stage.ground.lose_node(&west.cluster.context, &lost)?;
    let outcome = (|| {
        let now = led_by_another(&west, &lost)?;
        scene.show(format_args!("west: {now} leads"));
        traffic.goes_on()?;
        within(CONDITIONS, "west: a higher epoch", || {
            let now = epoch(&west)?;
            Ok(Look::when(now > before, now))
        })?;
        let after: Import = seen::read(&east.must_get(IMPORT, "of-west")?)?;
        expect::now(
            "uid of east's import",
            &of_west.metadata.uid,
            &after.metadata.uid,
        )?;
        // Nobody pairs, and what is exported now still arrives.
        west.apply(&plain().named("later"))?;
        west.apply(&wanted::export("later"))?;
        east.import_of("later", CONDITIONS, "an address", |i| {
            !i.spec.ips.is_empty()
        })
        .map(|_| ())
    })();
    let back = stage.ground.add_node(&west.cluster.context)?;
    stage.clients.forget();
    outcome?;
    let gap = traffic.resumed(GAP)?.as_secs_f32();
    scene.show(format_args!(
        "west: node {back} is there again, empty; no client waited longer than {gap:.1} s"
    ));
    label(&west, &back, json!("true"))?;
    install::ready(stage, Side::West)?;
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))?;
    west.answers(client, "tcp", &to(scene), 5, "east", |_| true)
        .map(|_| ())
}
