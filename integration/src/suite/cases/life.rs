//! Shell: the life of an installation: upgraded, rolled back, taken away and put back, called otherwise,
//! and gone for good.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::suite::case::{Case, Turn, case};
use crate::suite::expect::{self, Look, within};
use crate::suite::hope::{CONDITIONS, first};
use crate::suite::install::{self, causeway, helm};
use crate::suite::kind::{
    CONFIG_MAP, EXPORT, IMPORT, LEASE, NAMESPACE, NODE, PEER, PROPERTY, SECRET, SLICE,
};
use crate::suite::scene::{BOTH, SYSTEM, Scene, Side};
use crate::suite::seen::{self, Slice};
use crate::suite::traffic::Traffic;
use crate::suite::wanted::{self, HELLO, Server, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "life.upgrade-and-rollback",
        "an upgrade and a rollback under traffic, without a failed request",
        upgrade_and_rollback,
    )
    .turn(Turn::Alone),
    case(
        "life.dotted-name",
        "a cluster id with a dot, in imports, slices and names",
        dotted_name,
    )
    .turn(Turn::Alone),
    case(
        "life.uninstall-and-back",
        "uninstalled, nothing is left on nodes; installed again, it is who it was",
        uninstall_and_back,
    )
    .turn(Turn::Last),
    case(
        "life.gone-for-good",
        "uninstalled with its state, nothing is left anywhere",
        gone_for_good,
    )
    .turn(Turn::Last),
];

/// Until withdrawn names are gone.
const GONE: Duration = Duration::from_secs(20);

fn plain() -> Service {
    Service::plain(&[
        wanted::port("tcp", "TCP", 80, 8080),
        wanted::port("udp", "UDP", 80, 8080),
    ])
}

fn to(scene: &Scene<'_>) -> String {
    format!("{}:80", scene.domain(HELLO))
}

fn upgrade_and_rollback(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (stage, east, west) = (scene.stage, scene.east(), scene.west());
    east.deploy(&plain(), 8080, 2)?;
    east.export()?;
    west.answers(&west.client()?, "tcp", &to(scene), 5, "east", |_| true)?;
    let mut clients = west.clients()?;
    clients.extend(west.host_clients()?);
    let traffic = Traffic::start(scene, &clients, &to(scene))?;
    // Something that makes every pod of ours new.
    let mut more = Vec::new();
    for part in ["gateway", "agent", "controller"] {
        more.push("--set-string".to_owned());
        more.push(format!("{part}.podAnnotations.e2e={}", stage.run));
    }
    let more: Vec<_> = more.iter().map(String::as_str).collect();
    for side in BOTH {
        install::install(stage, side, &more)?;
        scene.show(format_args!("{}: helm upgrade", scene.at(side)));
        traffic.goes_on()?;
    }
    for side in BOTH {
        let args = ["rollback", install::RELEASE, "--wait", "--timeout", "3m"];
        helm(stage, side, &args)?;
        install::ready(stage, side)?;
        scene.show(format_args!("{}: helm rollback", scene.at(side)));
        traffic.goes_on()?;
    }
    traffic.unharmed()
}

/// Takes an installation away with all that it knew.
fn forget(scene: &Scene<'_>, side: Side) -> anyhow::Result<()> {
    let stage = scene.stage;
    install::install(stage, side, &["--set", "uninstall.deleteState=true"])?;
    install::uninstall(stage, side)?;
    stage.cluster(side).delete(NAMESPACE, "", SYSTEM)?;
    let place = scene.at(side);
    within(
        CONDITIONS,
        &format!("{place}: no namespace {SYSTEM}"),
        || {
            Ok(match place.cluster.get(NAMESPACE, "", SYSTEM)? {
                None => Look::Yes(()),
                Some(_) => Look::No("it is there".to_owned()),
            })
        },
    )
}

/// Puts a cluster by another name in the west's place.
fn rename(scene: &Scene<'_>, name: &str) -> anyhow::Result<()> {
    let stage = scene.stage;
    let old = scene.west().id()?;
    causeway(stage, Side::West, &["leave"])?;
    forget(scene, Side::West)?;
    let set = format!("cluster.name={name}");
    install::install(stage, Side::West, &["--set", &set])?;
    install::pair(stage)?;
    scene.show(format_args!("west: {old} is called {name}"));
    Ok(())
}

fn dotted_name(scene: &Scene<'_>) -> anyhow::Result<()> {
    let dotted = "west.example";
    let plain_name = scene.west().id()?;
    rename(scene, dotted)?;
    let outcome = as_dotted(scene, dotted);
    rename(scene, &plain_name)?;
    outcome
}

fn as_dotted(scene: &Scene<'_>, dotted: &str) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    let server = Server::on(&west.cluster.context, 42);
    west.service(&Service::standard().headless())?;
    west.apply(&server.stateful_set(HELLO, 1))?;
    west.pods(HELLO, 1)?;
    west.export()?;
    for side in BOTH {
        let place = scene.at(side);
        place.import(dotted, |import| import.clusters() == [dotted])?;
        place.slices(&format!("of {dotted}"), |all| {
            all.iter().filter_map(Slice::source).eq([dotted])
        })?;
        let client = place.client()?;
        let name = format!("{HELLO}-0.{dotted}.{}", scene.domain(HELLO));
        place.resolves(&client, &name, "A", "one address", |r| {
            r.addresses().len() == 1
        })?;
        let domain = scene.domain(HELLO);
        place.resolves(&client, &domain, "SRV", &name, |reply| {
            reply.services() == [(42, name.clone())]
        })?;
        place.answers(&client, "tcp", &format!("{name}:42"), 3, "west", |_| true)?;
        for share in [dotted, "example"] {
            let name = format!("{share}.{domain}");
            place.resolves(&client, &name, "A", "no such name", |r| {
                r.code == "NXDOMAIN"
            })?;
        }
    }
    let table = east.cluster.kubectl(&["get", "clusterpeers"])?;
    anyhow::ensure!(table.contains(dotted), "a ClusterPeer {dotted}\n{table}");
    Ok(())
}

/// What of ours a node may hold, by the command that shows it; each line that names us is told.
const TRACES: [(&str, &[&str]); 8] = [
    ("devices", &["ip", "-o", "link"]),
    ("routes", &["ip", "-4", "route", "show", "table", "all"]),
    (
        "routes of IPv6",
        &["ip", "-6", "route", "show", "table", "all"],
    ),
    ("rules", &["ip", "rule"]),
    ("pins", &["find", "/sys/fs/bpf"]),
    ("netfilter", &["nft", "list", "ruleset"]),
    ("state", &["find", "/var/lib/causeway", "-type", "f"]),
    ("sockets", &["find", "/run/causeway", "-type", "s"]),
];

/// Lines that show something of ours on a node, by what they show.
fn traces(scene: &Scene<'_>, node: &str) -> BTreeMap<&'static str, Vec<String>> {
    let mut all = BTreeMap::new();
    for (what, command) in TRACES {
        // A directory that is not there is as good as an empty one.
        let text = scene.stage.ground.on_node(node, command);
        let text = text.unwrap_or_default();
        let ours: Vec<_> = text
            .lines()
            .filter(|l| is_ours(l))
            .map(str::to_owned)
            .collect();
        if !ours.is_empty() {
            all.insert(what, ours);
        }
    }
    all
}

/// Our names, and the addresses that the chart sets aside for us.
fn is_ours(line: &str) -> bool {
    let address = |word: &str| {
        let first = word.split(['.', '/']).next().unwrap_or_default();
        word.matches('.').count() == 3
            && first.parse::<u8>().is_ok_and(|n| (241..=251).contains(&n))
    };
    line.contains("causeway") || line.contains("cway") || line.split_whitespace().any(address)
}

/// None of it is on any node; kube-proxy may need a moment for its part.
fn no_traces(scene: &Scene<'_>, side: Side, state: bool) -> anyhow::Result<()> {
    if !scene.stage.ground.facts().ground {
        return Ok(());
    }
    let place = scene.at(side);
    within(
        CONDITIONS,
        &format!("{place}: nothing of ours on nodes"),
        || {
            let mut left = Vec::new();
            for node in place.cluster.list(NODE, "", "")? {
                let name = node.pointer("/metadata/name").and_then(Value::as_str);
                let name = name.unwrap_or_default();
                for (what, lines) in traces(scene, name) {
                    if !(state && what == "state") {
                        left.push(format!("{name}: {what}: {}", lines.join("; ")));
                    }
                }
            }
            Ok(if left.is_empty() {
                Look::Yes(())
            } else {
                Look::No(left.join("\n    "))
            })
        },
    )
}

/// CoreDNS is as it was before us.
fn dns_is_back(scene: &Scene<'_>, side: Side) -> anyhow::Result<()> {
    let place = scene.at(side);
    let corefile = place.cluster.get(CONFIG_MAP, "kube-system", "coredns")?;
    let text = corefile.unwrap_or_default().to_string();
    anyhow::ensure!(
        !text.contains("clusterset.local"),
        "{place}: a Corefile without clusterset.local\n  seen: {text}"
    );
    let client = place.client()?;
    place
        .resolves(
            &client,
            "kubernetes.default.svc.cluster.local",
            "A",
            "an address",
            |r| r.addresses().len() == 1,
        )
        .map(|_| ())
}

/// No object of ours, and none that waits for somebody who is gone.
fn no_objects(scene: &Scene<'_>, side: Side, state: bool) -> anyhow::Result<()> {
    let place = scene.at(side);
    let mut left = Vec::new();
    let labels = [
        "causeway.dev/managed-by=causeway",
        "app.kubernetes.io/name=causeway",
    ];
    for kind in [IMPORT, SLICE, PROPERTY, PEER, LEASE, CONFIG_MAP, SECRET] {
        if state && matches!(kind.name, "Secret" | "ClusterPeer") {
            continue;
        }
        for label in labels {
            for object in place.cluster.list(kind, "", label).unwrap_or_default() {
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                left.push(format!("{} {}", kind.name, name.unwrap_or_default()));
            }
        }
    }
    for export in place.cluster.list(EXPORT, "", "")? {
        let export: Slice = seen::read(&export)?;
        if !export.metadata.finalizers.is_empty() {
            left.push(format!("finalizers of {}", export.metadata.name));
        }
    }
    let left = left.join(", ");
    anyhow::ensure!(
        left.is_empty(),
        "{place}: no object of ours\n  seen: {left}"
    );
    Ok(())
}

/// A service of each side, exported.
fn exported(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        scene.at(side).deploy(&plain(), 8080, 1)?;
    }
    scene.east().export()?;
    let west = scene.west();
    west.answers(&west.client()?, "tcp", &to(scene), 5, "east", |_| true)
        .map(|_| ())
}

fn uninstall_and_back(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (stage, west) = (scene.stage, scene.west());
    exported(scene)?;
    let before = west.import("an address", |i| !i.spec.ips.is_empty())?;
    install::uninstall(stage, Side::West)?;
    scene.show("west: helm uninstall");
    no_traces(scene, Side::West, true)?;
    no_objects(scene, Side::West, true)?;
    dns_is_back(scene, Side::West)?;
    // The other side has withdrawn its share, and stands.
    let client = west.client()?;
    within(GONE, "west: no answer", || {
        let tally = client.dial_in_vain(stage, "tcp", &to(scene), 1)?;
        Ok(Look::when(tally.answered() == 0, tally))
    })?;
    install::install(stage, Side::West, &[])?;
    scene.show("west: helm install");
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))?;
    west.answers(&client, "tcp", &to(scene), 5, "east", |_| true)?;
    let after = west.import("an address", |i| !i.spec.ips.is_empty())?;
    expect::now(
        "address of the import",
        first(&before.spec.ips, "address")?,
        first(&after.spec.ips, "address")?,
    )
}

fn gone_for_good(scene: &Scene<'_>) -> anyhow::Result<()> {
    exported(scene)?;
    for side in BOTH {
        forget(scene, side)?;
        scene.show(format_args!("{}: helm uninstall", scene.at(side)));
        no_traces(scene, side, false)?;
        no_objects(scene, side, false)?;
        dns_is_back(scene, side)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_told_from_others() {
        assert!(is_ours("unreachable 241.0.0.0/16 metric 4278198272"));
        assert!(is_ours("242.0.0.0/7 dev cway1 scope link"));
        assert!(is_ours("7: cway0: <BROADCAST,UP>"));
        assert!(is_ours("/sys/fs/bpf/causeway/v3/flows"));
        assert!(!is_ours("10.244.0.0/24 dev cni0 proto kernel"));
        assert!(!is_ours("broadcast 10.244.0.255 dev cni0"));
        assert!(!is_ours("2: eth0: mtu 1500 qdisc noqueue 242"));
    }
}
