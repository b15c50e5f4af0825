//! Shell: two bare clusters become one clusterset, as users do it, and come apart again.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::suite::case::{Case, Turn, case};
use crate::suite::expect::{self, Look, within};
use crate::suite::hope::{CONDITIONS, NAMES};
use crate::suite::install::{self, causeway};
use crate::suite::kind::{NAMESPACE, PEER, SECRET};
use crate::suite::scene::{BOTH, SYSTEM, Scene, Side};
use crate::suite::seen;
use crate::suite::wanted::{self, HELLO, Service};

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
        "pairing.revoke",
        "a peer that is cut off is out within seconds, and comes back only by a new identity",
        revoke,
    )
    .turn(Turn::Alone),
    case(
        "pairing.leave-and-join-by-objects",
        "a cluster takes leave, and joins again by a Secret and a ClusterPeer",
        leave_and_join,
    )
    .turn(Turn::Alone),
    case(
        "pairing.pre-flight",
        "what would clash is shown before a token is redeemed",
        pre_flight,
    )
    .turn(Turn::Alone),
];

/// From two bare clusters to an answer.
const MINUTE: Duration = Duration::from_secs(60);
/// A peer that was cut off answers no longer than this.
const OUT: Duration = Duration::from_secs(10);

fn plain() -> Service {
    Service::plain(&[wanted::port("tcp", "TCP", 80, 8080)])
}

fn bare(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    for side in BOTH {
        if install::is_installed(stage, side)? {
            scene.show(format_args!("{}: uninstall", scene.at(side)));
            // State goes too, as on a cluster that never had any.
            install::install(stage, side, &["--set", "uninstall.deleteState=true"])?;
            install::uninstall(stage, side)?;
            stage.cluster(side).delete(NAMESPACE, "", SYSTEM)?;
            gone(scene, side)?;
        }
    }
    Ok(())
}

fn gone(scene: &Scene<'_>, side: Side) -> anyhow::Result<()> {
    let cluster = scene.stage.cluster(side);
    within(
        CONDITIONS,
        &format!("{}: no namespace {SYSTEM}", cluster.context),
        || {
            Ok(match cluster.get(NAMESPACE, "", SYSTEM)? {
                None => Look::Yes(()),
                Some(_) => Look::No("it is there".to_owned()),
            })
        },
    )
}

fn first_answer(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    bare(scene)?;
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

/// Takes a peer back that was cut off or that left: it gets a new identity, and joins.
fn back(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    install::uninstall(stage, Side::East)?;
    stage.east.delete(NAMESPACE, "", SYSTEM)?;
    gone(scene, Side::East)?;
    install::install(stage, Side::East, &[])?;
    install::pair(stage)
}

fn revoke(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    serving(scene)?;
    let east = scene.east().id()?;
    causeway(stage, Side::West, &["revoke", &east])?;
    withdrawn(scene)?;
    phase(scene, Side::West, &east, "Revoked")?;
    // The one who was cut off joins in vain while it is who it was.
    let token = install::token(stage, Side::West)?;
    let refused = causeway(stage, Side::East, &["join", &token]);
    scene.step(format_args!("joining with the old identity: {refused:?}"));
    expect::now("joins with the old identity", false, refused.is_ok())?;
    install::install(stage, Side::East, &["--set", "uninstall.deleteState=true"])?;
    let piece = json!({"spec": {"revoked": false}});
    stage.west.merge(PEER, "", &east, "", &piece)?;
    back(scene)?;
    answers(scene)
}

fn leave_and_join(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    serving(scene)?;
    let (east, west) = (scene.east().id()?, scene.west().id()?);
    causeway(stage, Side::West, &["leave"])?;
    withdrawn(scene)?;
    for (side, peer) in [(Side::East, &west), (Side::West, &east)] {
        let cluster = stage.cluster(side);
        let what = format!(
            "{}: no ClusterPeer {peer}, or one not joined",
            cluster.context
        );
        within(CONDITIONS, &what, || {
            let Some(object) = cluster.get(PEER, "", peer)? else {
                return Ok(Look::Yes(()));
            };
            let joined = seen::condition(&object, "Joined").is_some_and(|c| c.status == "True");
            Ok(if joined {
                Look::No(seen::shown(&seen::conditions(&object)))
            } else {
                Look::Yes(())
            })
        })?;
    }
    // The same as objects, for GitOps.
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
    answers(scene)?;
    system.delete(SECRET, "join-east")?;
    // A ClusterPeer deleted by hand comes back while the cluster is trusted.
    system.delete(PEER, &east)?;
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))
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
