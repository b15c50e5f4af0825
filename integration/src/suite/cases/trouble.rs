//! Shell: API servers that go away, controllers that die, fight or may not write: what is there stays, and
//! what is wanted comes.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::suite::case::{Case, Need, Turn, case};
use crate::suite::expect::{self, Look, keeps, within};
use crate::suite::hope::{CONDITIONS, STAYS, first};
use crate::suite::install;
use crate::suite::kind::{CLUSTER_ROLE, DEFINITION, EXPORT, IMPORT, LEASE, POD};
use crate::suite::scene::{BOTH, SYSTEM, Scene, Side};
use crate::suite::seen::{self, Import, Pod};
use crate::suite::traffic::Traffic;
use crate::suite::wanted::{self, HELLO, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "trouble.api-server-away",
        "an API server that goes and comes changes nothing, and work goes on after",
        api_server_away,
    )
    .needs(&[Need::Ground])
    .turn(Turn::Alone),
    case(
        "trouble.controller-killed",
        "controllers killed while exports come and go: what is wanted comes",
        controller_killed,
    )
    .needs(&[Need::Ground])
    .turn(Turn::Alone),
    case(
        "trouble.two-controllers",
        "a controller that wakes up and still believes to lead harms nothing",
        two_controllers,
    )
    .needs(&[Need::Ground])
    .turn(Turn::Alone),
    case(
        "trouble.narrow-roles",
        "a controller that may not write says which verb on what it lacks",
        narrow_roles,
    )
    .turn(Turn::Alone),
    case(
        "trouble.no-definitions",
        "definitions that are missing are waited for, and taken up",
        no_definitions,
    )
    .turn(Turn::Alone),
    case(
        "trouble.etcd-lost",
        "a cluster whose etcd is lost is still the one that its peers trust",
        etcd_lost,
    )
    .needs(&[Need::Ground])
    .turn(Turn::Alone),
];

/// How long an API server is away: less than Kubernetes itself waits for word from a node before it takes the node's
/// pods out of every Service.
const AWAY: Duration = Duration::from_secs(10);
/// How long what failed may take to be tried again.
const AGAIN: Duration = Duration::from_secs(60);

fn plain() -> Service {
    Service::plain(&[
        wanted::port("tcp", "TCP", 80, 8080),
        wanted::port("udp", "UDP", 80, 8080),
    ])
}

fn to(scene: &Scene<'_>) -> String {
    format!("{}:80", scene.domain(HELLO))
}

/// A service of the east that the west uses.
fn serving(scene: &Scene<'_>) -> anyhow::Result<Import> {
    let west = scene.west();
    scene.east().deploy(&plain(), 8080, 2)?;
    scene.east().export()?;
    let import = west.import("an address", |i| !i.spec.ips.is_empty())?;
    west.answers(&west.client()?, "tcp", &to(scene), 5, "east", |_| true)?;
    Ok(import)
}

/// A service more, exported now, arrives on the other side.
fn one_more(scene: &Scene<'_>, side: Side, name: &str) -> anyhow::Result<()> {
    let place = scene.at(side);
    place.apply(&plain().named(name))?;
    place.apply(&wanted::export(name))?;
    let other = scene.at(side.other());
    other
        .import_of(name, AGAIN, "an address", |i| !i.spec.ips.is_empty())
        .map(|_| ())
}

fn api_server_away(scene: &Scene<'_>) -> anyhow::Result<()> {
    let before = serving(scene)?;
    let traffic = Traffic::start(scene, &scene.west().clients()?, &to(scene))?;
    for side in BOTH {
        let context = &scene.stage.cluster(side).context;
        scene.show(format_args!(
            "{context}: no API server for {} s",
            AWAY.as_secs()
        ));
        scene.stage.ground.kill_api(context)?;
        std::thread::sleep(AWAY);
        scene.stage.ground.start_api(context)?;
        one_more(scene, side, &format!("after-{context}"))?;
    }
    traffic.unharmed()?;
    let after: Import = seen::read(&scene.west().must_get(IMPORT, HELLO)?)?;
    expect::now("uid of the import", before.metadata.uid, after.metadata.uid)?;
    expect::now(
        "addresses of the import",
        format!("{:?}", before.spec.ips),
        format!("{:?}", after.spec.ips),
    )
}

/// Our controllers of one side.
fn controllers(scene: &Scene<'_>, side: Side) -> anyhow::Result<Vec<Pod>> {
    let found = scene
        .system(side)
        .list(POD, "app.kubernetes.io/component=controller")?;
    found.iter().map(seen::read).collect()
}

/// Rounds of churn.
const ROUNDS: usize = 6;
/// Exports that come and go in each.
const CHURN: usize = 10;

fn controller_killed(scene: &Scene<'_>) -> anyhow::Result<()> {
    serving(scene)?;
    let traffic = Traffic::start(scene, &scene.west().clients()?, &to(scene))?;
    let east = scene.east();
    for round in 0..ROUNDS {
        for n in 0..CHURN {
            let name = format!("c{n}");
            // Each is there after every other round, and changed in between.
            let port = u16::try_from(1000_usize.saturating_add(round))?;
            let service = Service::plain(&[wanted::port("tcp", "TCP", port, 8080)]);
            east.cluster.apply(&east.namespace, &service.named(&name))?;
            if (round.saturating_add(n)).is_multiple_of(2) {
                east.cluster
                    .apply(&east.namespace, &wanted::export(&name))?;
            } else {
                east.cluster.delete(EXPORT, &east.namespace, &name)?;
            }
            // Pods of both sides, at another moment of each round.
            if n == round {
                for side in BOTH {
                    kill_controllers(scene, side, round)?;
                }
            }
        }
    }
    let last = ROUNDS.saturating_sub(1);
    let wanted = (0..CHURN).filter(|n| last.saturating_add(*n).is_multiple_of(2));
    let mut wanted: Vec<_> = wanted.map(|n| format!("c{n}")).collect();
    wanted.push(HELLO.to_owned());
    wanted.sort();
    let port = u16::try_from(1000_usize.saturating_add(last))?;
    for side in BOTH {
        let place = scene.at(side);
        within(
            AGAIN,
            &format!("{place}: imports {}", wanted.join(", ")),
            || {
                let found = place.list(IMPORT, "")?;
                let all: Vec<Import> = found.iter().map(seen::read).collect::<Result<_, _>>()?;
                let mut names: Vec<_> = all.iter().map(|i| i.metadata.name.clone()).collect();
                names.sort();
                let old = all.iter().find(|i| {
                    i.metadata.name != HELLO && i.spec.ports.iter().any(|p| p.port != port)
                });
                Ok(match old {
                    Some(import) => Look::No(format!(
                        "{} with {}",
                        import.metadata.name,
                        seen::shown_ports(&import.spec.ports)
                    )),
                    None if names == wanted => Look::Yes(()),
                    None => Look::No(names.join(", ")),
                })
            },
        )?;
    }
    traffic.unharmed()?;
    BOTH.into_iter()
        .try_for_each(|side| install::ready(scene.stage, side))
}

fn kill_controllers(scene: &Scene<'_>, side: Side, round: usize) -> anyhow::Result<()> {
    // Those that run: to end one that never started shows nothing.
    let what = format!("{}: a controller that is ready", scene.at(side));
    let all = within(AGAIN, &what, || {
        let ready = controllers(scene, side)?.into_iter().filter(Pod::is_ready);
        let ready: Vec<_> = ready.collect();
        Ok(if ready.is_empty() {
            Look::No("none".to_owned())
        } else {
            Look::Yes(ready)
        })
    })?;
    // All of them in each third round, else the first.
    let count = if round.is_multiple_of(3) {
        all.len()
    } else {
        1
    };
    for pod in all.iter().take(count) {
        let name = &pod.metadata.name;
        scene.step(format_args!("{}: kill {name}", scene.at(side)));
        signal(scene, pod, "-KILL")?;
        // Away with what is left of it, so that the next one starts without a back-off.
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{name}");
        let body = br#"{"gracePeriodSeconds":1}"#;
        let cluster = scene.stage.cluster(side);
        cluster.call("DELETE", &path, "application/json", body)?;
    }
    Ok(())
}

/// Signals the process of that pod of a controller.
fn signal(scene: &Scene<'_>, pod: &Pod, name: &str) -> anyhow::Result<()> {
    let (this, node) = (&pod.metadata.name, &pod.spec.node_name);
    // Nodes may share their processes' numbers, and a node may run both controllers: only this pod's is meant. The
    // name of a process is cut off after fifteen characters.
    let script = format!(
        "for p in $(pgrep -x causeway-contro); do grep -qz '^POD_NAME={this}$' /proc/$p/environ \
         && kill {name} $p && echo $p; done; true"
    );
    let told = scene.stage.ground.on_node(node, &["sh", "-c", &script])?;
    anyhow::ensure!(
        !told.trim().is_empty(),
        "{this}: no process of it on {node}"
    );
    Ok(())
}

/// The pod that holds the Lease of controllers.
fn active(scene: &Scene<'_>, side: Side) -> anyhow::Result<String> {
    let lease = scene.system(side).must_get(LEASE, "causeway-controller")?;
    let holder = lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str);
    let pod = holder.and_then(|h| h.rsplit_once('_')).map(|(pod, _)| pod);
    pod.map(str::to_owned).context("nobody holds the Lease")
}

/// Longer than a Lease lasts that nobody renews.
const LEASE_LOST: Duration = Duration::from_secs(40);

fn two_controllers(scene: &Scene<'_>) -> anyhow::Result<()> {
    let before = serving(scene)?;
    let traffic = Traffic::start(scene, &scene.west().clients()?, &to(scene))?;
    let first_one = active(scene, Side::West)?;
    let all = controllers(scene, Side::West)?;
    let pod = all.iter().find(|p| p.metadata.name == first_one);
    let pod = pod.with_context(|| format!("no pod {first_one}"))?;
    let node = &pod.spec.node_name;
    scene.step(format_args!("{first_one} on {node} is stopped where it is"));
    signal(scene, pod, "-STOP")?;
    let outcome = (|| {
        within(LEASE_LOST, "west: another controller is active", || {
            let now = active(scene, Side::West)?;
            Ok(Look::when(now != first_one, now))
        })?;
        one_more(scene, Side::East, "meanwhile")
    })();
    signal(scene, pod, "-CONT")?;
    let second = outcome.and_then(|()| active(scene, Side::West))?;
    scene.step(format_args!("{first_one} goes on; {second} is active"));
    keeps(
        STAYS * 2,
        "west: the second stays active, and the import as it was",
        || {
            let now = active(scene, Side::West)?;
            let import: Import = seen::read(&scene.west().must_get(IMPORT, HELLO)?)?;
            let same = now == second && import.spec == before.spec;
            Ok(Look::when(same, now))
        },
    )?;
    one_more(scene, Side::East, "after")?;
    one_more(scene, Side::West, "back")?;
    traffic.unharmed()
}

fn narrow_roles(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (cluster, place) = (&scene.stage.west, scene.west());
    let roles = cluster.list(CLUSTER_ROLE, "", "app.kubernetes.io/name=causeway")?;
    let writes = |rule: &Value| {
        let has = |key: &str, word: &str| {
            let list = rule.get(key).and_then(Value::as_array);
            list.is_some_and(|list| list.iter().any(|v| v == word))
        };
        has("resources", "serviceimports") && has("verbs", "patch")
    };
    let rules = |role: &Value| role.get("rules").and_then(Value::as_array).cloned();
    let role = roles
        .iter()
        .find(|role| rules(role).is_some_and(|rules| rules.iter().any(writes)))
        .context("no ClusterRole that may patch serviceimports")?;
    let name = role.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.context("a role without a name")?;
    let narrow: Vec<_> = rules(role)
        .unwrap_or_default()
        .into_iter()
        .filter(|rule| !writes(rule))
        .collect();
    scene.step(format_args!("{name} without the rule that writes imports"));
    cluster.merge(CLUSTER_ROLE, "", name, "", &json!({"rules": narrow}))?;
    let outcome = (|| {
        scene.east().service(&plain())?;
        scene.east().export()?;
        within(AGAIN, "west: a word about patch and serviceimports", || {
            let word = |text: &str| text.contains("patch") && text.contains("serviceimports");
            let configuration = cluster.kubectl(&["get", "ccfg", "default", "-o", "json"])?;
            let mut said = vec![configuration];
            for pod in controllers(scene, Side::West)? {
                for container in &pod.spec.containers {
                    said.push(cluster.log(SYSTEM, &pod.metadata.name, &container.name, 60));
                }
            }
            let [status, logs @ ..] = said.as_slice() else {
                return Ok(Look::No("nothing".to_owned()));
            };
            let told = (word(status), logs.iter().any(|log| word(log)));
            Ok(if told == (true, true) {
                Look::Yes(())
            } else {
                Look::No(format!(
                    "in the configuration's status {}, in the log {}",
                    told.0, told.1
                ))
            })
        })
    })();
    let whole = json!({"rules": rules(role)});
    cluster.merge(CLUSTER_ROLE, "", name, "", &whole)?;
    outcome?;
    place
        .import_of(HELLO, AGAIN, "an address", |i| !i.spec.ips.is_empty())
        .map(|_| ())
}

fn no_definitions(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    let before = serving(scene)?;
    let traffic = Traffic::start(scene, &scene.west().clients()?, &to(scene))?;
    let name = "serviceimports.multicluster.x-k8s.io";
    scene.show(format_args!("west: no definition {name}"));
    stage.west.delete(DEFINITION, "", name)?;
    within(CONDITIONS, "west: the definition is gone", || {
        Ok(match stage.west.get(DEFINITION, "", name)? {
            None => Look::Yes(()),
            Some(_) => Look::No("it is there".to_owned()),
        })
    })?;
    // They start without it, and say so.
    for pod in controllers(scene, Side::West)? {
        stage.west.delete(POD, SYSTEM, &pod.metadata.name)?;
    }
    within(
        AGAIN,
        "west: a controller that misses serviceimports",
        || {
            let mut said = String::new();
            for pod in controllers(scene, Side::West)? {
                for container in &pod.spec.containers {
                    said.push_str(
                        &stage
                            .west
                            .log(SYSTEM, &pod.metadata.name, &container.name, 60),
                    );
                }
            }
            let told = said.lines().any(|l| {
                let l = l.to_lowercase();
                l.contains("serviceimport") && (l.contains("warn") || l.contains("error"))
            });
            Ok(if told {
                Look::Yes(())
            } else {
                Look::No(format!("{} lines that do not", said.lines().count()))
            })
        },
    )?;
    install::install(stage, Side::West, &[])?;
    let after = scene
        .west()
        .import_of(HELLO, AGAIN, "an address", |i| !i.spec.ips.is_empty())?;
    expect::now(
        "addresses of the import, made anew",
        format!("{:?}", before.spec.ips),
        format!("{:?}", after.spec.ips),
    )?;
    traffic.unharmed()
}

/// Until a cluster with an empty etcd has nodes and pods again.
const ANEW: Duration = Duration::from_secs(120);

fn etcd_lost(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    serving(scene)?;
    one_more(scene, Side::West, "of-west")?;
    let of_west: Import = seen::read(&scene.east().must_get(IMPORT, "of-west")?)?;
    let context = &stage.west.context;
    scene.show(format_args!("{context}: etcd is lost"));
    stage.ground.lose_etcd(context)?;
    stage.clients.forget();
    install::install(stage, Side::West, &[])?;
    scene.show(format_args!("{context}: helm install"));
    // Nobody pairs: the gateways' disks still know who this cluster is.
    within(ANEW, "west: connected without a new token", || {
        Ok(match install::connected(stage, Side::West) {
            Ok(()) => Look::Yes(()),
            Err(error) => Look::No(format!("{error:#}")),
        })
    })?;
    install::connected(stage, Side::East)?;
    scene.west().make()?;
    let west = scene.west();
    west.answers(&west.client()?, "tcp", &to(scene), 5, "east", |_| true)?;
    one_more(scene, Side::West, "of-west")?;
    let now: Import = seen::read(&scene.east().must_get(IMPORT, "of-west")?)?;
    expect::now(
        "east's address of a service of west, exported anew",
        first(&of_west.spec.ips, "address")?,
        first(&now.spec.ips, "address")?,
    )
}
