//! Shell: two bare clusters become one clusterset, as users do it, and come apart again.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::suite::case::{Case, Turn, case};
use crate::suite::expect::{self, Look, within};
use crate::suite::hope::{CONDITIONS, NAMES};
use crate::suite::install::{self, causeway};
use crate::suite::kind::{PEER, SECRET};
use crate::suite::scene::{BOTH, Scene, Side};
use crate::suite::seen::{self, Slice};
use crate::suite::wanted::{self, HELLO, Server, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "pairing.first-answer",
        "from two bare clusters to a request answered across within a minute",
        first_answer,
    )
    .turn(Turn::First)
    .bare(),
    case("pairing.token-once", "a token is good once", token_once).turn(Turn::Alone),
    case(
        "pairing.leave-and-join-by-objects",
        "a cluster takes leave, and joins by a Secret and a ClusterPeer, with a dot in its id",
        leave_and_join,
    )
    .turn(Turn::Last),
    case(
        "pairing.revoke",
        "a peer that is cut off is out within seconds, and joins in vain as who it was",
        revoke,
    )
    .turn(Turn::Last),
    case(
        "pairing.pre-flight",
        "what would clash is shown before a token is redeemed",
        pre_flight,
    )
    .turn(Turn::Alone),
];

/// Name of the StatefulSet, its service and its export.
const SET: &str = "set";
/// From two bare clusters to an answer.
const MINUTE: Duration = Duration::from_secs(60);
/// A peer that was cut off answers no longer than this.
const OUT: Duration = Duration::from_secs(10);

fn plain() -> Service {
    Service::plain(&[wanted::port("tcp", "TCP", 80, 8080)])
}

fn first_answer(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    install::bare(stage)?;
    // What users have before: a service, and pods that want it.
    for side in BOTH {
        scene.at(side).make()?;
    }
    let east = scene.east();
    east.deploy(&plain(), 8080, 1)?;
    let client = scene.west().client()?;
    let start = scene.elapsed();
    scene.show("two bare clusters; the clock runs");
    for side in BOTH {
        install::install(stage, side, &[])?;
        scene.show(format_args!("{}: helm install", scene.at(side)));
    }
    let token = install::token(stage, Side::East)?;
    scene.show("east: causeway token create");
    causeway(stage, Side::West, &["join", &token])?;
    scene.show("west: causeway join TOKEN");
    east.export()?;
    scene.show(format_args!("east: kubectl apply, ServiceExport {HELLO}"));
    let to = format!("{}:80", scene.domain(HELLO));
    within(MINUTE, &format!("west: an answer of {to}"), || {
        let tally = client.dial(stage, "tcp", &to, 1)?;
        Ok(Look::when(tally.is_whole(), tally))
    })?;
    let took = scene.elapsed().saturating_sub(start);
    scene.show(format_args!("west: {to} answers"));
    anyhow::ensure!(
        took < MINUTE,
        "from two bare clusters to an answer: expected under 60 s\n  seen: {:.1} s",
        took.as_secs_f64()
    );
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))
}

fn token_once(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    let token = install::token(stage, Side::East)?;
    // They are paired already: joining again renews the trust, and burns the token.
    causeway(stage, Side::West, &["join", &token])?;
    let again = causeway(stage, Side::West, &["join", &token]);
    let why = again.err().context("a token was taken twice")?;
    scene.step(format_args!("a second time: {why:#}"));
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))
}

/// A service of the east that answers in the west.
fn serving(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene.east().deploy(&plain(), 8080, 1)?;
    scene.east().export()?;
    answers(scene)
}

fn answers(scene: &Scene<'_>) -> anyhow::Result<()> {
    let west = scene.west();
    let to = format!("{}:80", scene.domain(HELLO));
    west.answers(&west.client()?, "tcp", &to, 3, "east", |_| true)
        .map(|_| ())
}

/// The service of the east has no name in the west, and the peer's part of it is gone.
fn withdrawn(scene: &Scene<'_>) -> anyhow::Result<()> {
    let start = scene.elapsed();
    scene.west().no_import()?;
    let took = scene.elapsed().saturating_sub(start);
    scene.step(format_args!("withdrawn after {:.1} s", took.as_secs_f64()));
    anyhow::ensure!(took < OUT, "withdrawn within {OUT:?}\n  seen: {took:?}");
    let client = scene.west().client()?;
    let to = format!("{}:80", scene.domain(HELLO));
    within(NAMES, "west: no answer", || {
        let tally = client.dial_in_vain(scene.stage, "tcp", &to, 1)?;
        Ok(Look::when(tally.answered() == 0, tally))
    })
    .map(|_| ())
}

fn phase(scene: &Scene<'_>, side: Side, peer: &str, phase: &str) -> anyhow::Result<()> {
    let place = scene.at(side);
    let what = format!("{place}: ClusterPeer {peer} in phase {phase}");
    within(CONDITIONS, &what, || {
        let Some(object) = place.cluster.get(PEER, "", peer)? else {
            return Ok(Look::No("no such ClusterPeer".to_owned()));
        };
        let seen = object.pointer("/status/phase").and_then(Value::as_str);
        Ok(if seen == Some(phase) {
            Look::Yes(())
        } else {
            let conditions = seen::shown(&seen::conditions(&object));
            Look::No(format!("{seen:?}, {conditions}"))
        })
    })
}

fn revoke(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    serving(scene)?;
    let east = scene.east().id()?;
    // It needs no word of the other side; where that can be shown, it is cut off meanwhile.
    let apart = stage.ground.facts().ground;
    if apart {
        stage.ground.cut(&stage.east.context)?;
    }
    let outcome = causeway(stage, Side::West, &["revoke", &east])
        .and_then(|_| withdrawn(scene))
        .and_then(|()| gone(scene, Side::West, &east));
    if apart {
        stage.ground.heal(&stage.east.context)?;
    }
    outcome?;
    // An object that somebody writes says so as long as it stands.
    let peer = json!({"apiVersion": "causeway.dev/v1alpha1", "kind": "ClusterPeer",
        "metadata": {"name": east}, "spec": {"revoked": true}});
    let system = scene.system(Side::West);
    system.apply(&peer)?;
    let said = phase(scene, Side::West, &east, "Revoked");
    // As long as it stands, it undoes every new pairing.
    system.delete(PEER, &east)?;
    said?;
    // The one who was cut off joins in vain while it is who it was.
    let token = install::token(stage, Side::West)?;
    let refused = causeway(stage, Side::East, &["join", &token]);
    scene.step(format_args!("joining with the old identity: {refused:?}"));
    expect::now("joins with the old identity", false, refused.is_ok())
}

/// A cluster id of two labels, as the standard allows.
const DOTTED: &str = "west.example";

fn leave_and_join(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    serving(scene)?;
    let (east, west) = (scene.east().id()?, scene.west().id()?);
    causeway(stage, Side::West, &["leave"])?;
    withdrawn(scene)?;
    for (side, peer) in [(Side::East, &west), (Side::West, &east)] {
        gone(scene, side, peer)?;
    }
    scene.show("west: causeway leave");
    install::forget(stage, Side::West)?;
    let name = format!("cluster.name={DOTTED}");
    install::install(stage, Side::West, &["--set", &name])?;
    scene.show(format_args!("west: installed anew as {DOTTED}"));
    // The same as a join on the command line, as objects, for GitOps.
    let token = install::token(stage, Side::East)?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "join-east"}, "stringData": {"token": token}});
    let peer = json!({"apiVersion": "causeway.dev/v1alpha1", "kind": "ClusterPeer",
        "metadata": {"name": east}, "spec": {"joinTokenSecretRef": {"name": "join-east"}}});
    let system = scene.system(Side::West);
    system.apply(&secret)?;
    system.apply(&peer)?;
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))?;
    scene.show("west: joined by a Secret and a ClusterPeer");
    answers(scene)?;
    dotted(scene)?;
    system.delete(SECRET, "join-east")?;
    // A ClusterPeer deleted by hand comes back while the cluster is trusted.
    system.delete(PEER, &east)?;
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))
}

/// An object that a peering has made goes with it.
fn gone(scene: &Scene<'_>, side: Side, peer: &str) -> anyhow::Result<()> {
    let place = scene.at(side);
    let what = format!("{place}: no ClusterPeer {peer}");
    within(CONDITIONS, &what, || {
        Ok(match place.cluster.get(PEER, "", peer)? {
            None => Look::Yes(()),
            Some(object) => Look::No(seen::shown(&seen::conditions(&object))),
        })
    })
}

/// A cluster id with a dot, in imports, slices and names.
fn dotted(scene: &Scene<'_>) -> anyhow::Result<()> {
    let west = scene.west();
    let server = Server::on(&west.cluster.context, 42);
    west.apply(
        &Service::standard()
            .headless()
            .with("selector", json!({"app": SET}))
            .named(SET),
    )?;
    west.apply(&server.stateful_set(SET, 1))?;
    west.pods(SET, 1)?;
    west.apply(&wanted::export(SET))?;
    for side in BOTH {
        let place = scene.at(side);
        place.import_of(SET, CONDITIONS, DOTTED, |i| i.clusters() == [DOTTED])?;
        place.slices_of(SET, &format!("of {DOTTED}"), |all| {
            all.iter().filter_map(Slice::source).eq([DOTTED])
        })?;
        let (client, domain) = (place.client()?, scene.domain(SET));
        let name = format!("{SET}-0.{DOTTED}.{domain}");
        place.resolves(&client, &name, "A", "one address", |r| {
            r.addresses().len() == 1
        })?;
        place.resolves(&client, &domain, "SRV", &name, |reply| {
            reply.services() == [(42, name.clone())]
        })?;
        place.answers(&client, "tcp", &format!("{name}:42"), 3, "west", |_| true)?;
        for share in [DOTTED, "example"] {
            let name = format!("{share}.{domain}");
            place.resolves(&client, &name, "A", "no such name", |r| {
                r.code == "NXDOMAIN"
            })?;
        }
    }
    Ok(())
}

fn pre_flight(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    let other = plain().with("ports", json!([wanted::port("tcp", "TCP", 81, 8080)]));
    for (side, service) in [(Side::East, &plain()), (Side::West, &other)] {
        scene.at(side).service(service)?;
        scene.at(side).export()?;
    }
    let token = install::token(stage, Side::East)?;
    let shown = causeway(stage, Side::West, &["join", "--dry-run", &token])?;
    scene.step(format_args!("dry run: {shown}"));
    let service = format!("{}/{HELLO}", scene.namespace);
    for word in [&scene.east().id()?, &service] {
        anyhow::ensure!(
            shown.contains(word.as_str()),
            "a pre-flight that names {word}\n  seen: {shown}"
        );
    }
    // A cluster does not join itself.
    let own = causeway(stage, Side::East, &["join", "--dry-run", &token]);
    scene.step(format_args!("its own token: {own:?}"));
    expect::now("a cluster joins itself", false, own.is_ok())?;
    // The token is still whole.
    causeway(stage, Side::West, &["join", &token])?;
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))
}
