//! Shell: the life of an installation: upgraded, rolled back, taken away and put back, called otherwise,
//! and gone for good.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::suite::case::{Case, Turn, case};
use crate::suite::clients::Client;
use crate::suite::expect::{self, Look, within};
use crate::suite::hope::{CONDITIONS, first};
use crate::suite::install::{self, helm};
use crate::suite::kind::{CONFIG_MAP, EXPORT, IMPORT, LEASE, NODE, PEER, PROPERTY, SECRET, SLICE};
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
        "life.ca-rotated",
        "another CA takes over in both clusters under traffic, without a failed request",
        ca_rotated,
    )
    .turn(Turn::Alone),
    case(
        "life.uninstall-and-back",
        "uninstalled, nothing is left on nodes; installed again, it is who it was",
        uninstall_and_back,
    )
    .turn(Turn::Last),
];

/// The last one: two bare clusters are left.
pub const END: &[Case] = &[case(
    "life.gone-for-good",
    "uninstalled with its state, nothing is left anywhere",
    gone_for_good,
)
.turn(Turn::Last)];

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

/// From each of west's nodes, pods and processes alike, to a service of east's.
fn traffic<'a>(scene: &'a Scene<'a>) -> anyhow::Result<Traffic<'a>> {
    let (west, east) = (scene.west(), scene.east());
    east.deploy(&plain(), 8080, 2)?;
    east.export()?;
    west.answers(&west.client()?, "tcp", &to(scene), 5, "east", |_| true)?;
    let mut clients = west.clients()?;
    clients.extend(west.host_clients()?);
    Traffic::start(scene, &clients, &to(scene))
}

/// Makes every pod of those parts new, by something in them that is another.
fn make_new(scene: &Scene<'_>, side: Side, parts: &[&str]) -> anyhow::Result<()> {
    let run = &scene.stage.run;
    let set = |part: &&str| format!("{part}.podAnnotations.e2e={run}-{}", parts.len());
    let sets: Vec<_> = parts.iter().map(set).collect();
    let more = sets.iter().flat_map(|set| ["--set-string", set]);
    let more: Vec<_> = more.collect();
    install::install(scene.stage, side, &more)
}

fn upgrade_and_rollback(scene: &Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    let traffic = traffic(scene)?;
    for side in BOTH {
        make_new(scene, side, &["gateway", "agent", "controller"])?;
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

/// The CA in a cluster's Secret, and whether it took over from another one.
fn ca(scene: &Scene<'_>, side: Side) -> anyhow::Result<(Value, bool)> {
    let place = scene.at(side);
    let secret = place.cluster.get(SECRET, SYSTEM, "causeway-ca")?;
    let secret = secret.with_context(|| format!("{place}: no Secret causeway-ca"))?;
    let field = |name: &str| secret.pointer(&format!("/data/{name}"));
    let ca = field("ca.crt").cloned().unwrap_or_default();
    Ok((ca, field("former.crt").is_some()))
}

fn ca_rotated(scene: &Scene<'_>) -> anyhow::Result<()> {
    let traffic = traffic(scene)?;
    for side in BOTH {
        let place = scene.at(side);
        let (before, rotated) = ca(scene, side)?;
        // In clusters that were kept from an earlier run the former may be in use still.
        if !rotated {
            let said = install::causeway(scene.stage, side, &["ca", "rotate"])?;
            let (after, rotated) = ca(scene, side)?;
            anyhow::ensure!(
                rotated && after != before && said.contains("are taken until"),
                "{place}: another CA in the Secret\n  seen: {said}"
            );
        }
        let again = install::causeway(scene.stage, side, &["ca", "rotate"]);
        let again = again
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        anyhow::ensure!(
            again.contains("can be rotated again after that"),
            "{place}: no second takeover while the first lasts\n  seen: {again}"
        );
        traffic.goes_on()?;
    }
    // All that was known before is asked for again, of the CA that took over.
    for side in BOTH {
        make_new(scene, side, &["gateway", "controller"])?;
        traffic.goes_on()?;
    }
    traffic.unharmed()
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
    ("sockets", &["find", "/var/lib/causeway", "-type", "s"]),
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
    ["causeway", "cway"].iter().any(|name| line.contains(name))
        || line.split_whitespace().any(address)
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
    let (client, local) = beside(scene)?;
    let mut with = times(scene, &client, &local)?;
    install::uninstall(stage, Side::West)?;
    scene.show("west: helm uninstall");
    no_traces(scene, Side::West, true)?;
    no_objects(scene, Side::West, true)?;
    dns_is_back(scene, Side::West)?;
    let without = times(scene, &client, &local)?;
    // The other side has withdrawn its share, and stands.
    within(GONE, "west: no answer", || {
        let tally = client.dial_in_vain(stage, "tcp", &to(scene), 1)?;
        Ok(Look::when(tally.answered() == 0, tally))
    })?;
    install::install(stage, Side::West, &[])?;
    scene.show("west: helm install");
    BOTH.into_iter()
        .try_for_each(|side| install::connected(stage, side))?;
    west.answers(&client, "tcp", &to(scene), 5, "east", |_| true)?;
    with.extend(times(scene, &client, &local)?);
    alike(scene, with, without)?;
    let after = west.import("an address", |i| !i.spec.ips.is_empty())?;
    expect::now(
        "address of the import",
        first(&before.spec.ips, "address")?,
        first(&after.spec.ips, "address")?,
    )
}

/// Bytes of one measured transfer, each way.
const MEASURED: u64 = 32 * 1024 * 1024;
/// Transfers before and after something.
const TRANSFERS: usize = 6;

/// A client of the west and a server on another node, if there is one: traffic that is none of ours.
fn beside(scene: &Scene<'_>) -> anyhow::Result<(Client, String)> {
    let west = scene.west();
    let clients = west.clients()?;
    let (first, last) = (first(&clients, "client")?, clients.last());
    let node = last.map(|c| c.node.clone()).unwrap_or_default();
    let server = Server::on(&west.cluster.context, 8080).at(&node);
    west.apply(&server.pod("local"))?;
    let pods = west.pods("local", 1)?;
    let address = &self::first(&pods, "pod")?.status.pod_ip;
    Ok((first.clone(), format!("{address}:8080")))
}

/// Seconds of some transfers.
fn times(scene: &Scene<'_>, client: &Client, to: &str) -> anyhow::Result<Vec<f64>> {
    let one = |_| {
        let start = scene.elapsed();
        let said = client.fetch(scene.stage, to, MEASURED)?;
        let whole = ["down", "up"]
            .iter()
            .all(|k| said.get(k) == Some(&Value::Bool(true)));
        anyhow::ensure!(whole, "{MEASURED} bytes down and up, equal\n  seen: {said}");
        Ok(scene.elapsed().saturating_sub(start).as_secs_f64())
    };
    (0..TRANSFERS).map(one).collect()
}

/// Two sets of times differ by no more than each of them differs in itself.
fn alike(scene: &Scene<'_>, with: Vec<f64>, without: Vec<f64>) -> anyhow::Result<()> {
    let ([low, middle, high], [other_low, other, other_high]) =
        (quartiles(with), quartiles(without));
    scene.show(format_args!(
        "2 x {} MiB within a cluster: {middle:.3} s ({low:.3} to {high:.3}) with us, \
         {other:.3} s ({other_low:.3} to {other_high:.3}) without",
        MEASURED >> 20
    ));
    let spread = (high - low).max(other_high - other_low);
    anyhow::ensure!(
        (middle - other).abs() <= spread,
        "in-cluster transfers alike with us and without\n  seen: {middle:.3} s and {other:.3} s, spread {spread:.3} s"
    );
    Ok(())
}

/// First quartile, median, third quartile.
fn quartiles(mut times: Vec<f64>) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    let at = |part: usize| {
        let index = times.len().saturating_sub(1).saturating_mul(part) / 4;
        times.get(index).copied().unwrap_or_default()
    };
    [at(1), at(2), at(3)]
}

fn gone_for_good(scene: &Scene<'_>) -> anyhow::Result<()> {
    // They need not be paired any more; each has something of its own to leave behind.
    for side in BOTH {
        let place = scene.at(side);
        place.service(&plain())?;
        place.export()?;
        place.import("an address", |i| !i.spec.ips.is_empty())?;
    }
    for side in BOTH {
        install::forget(scene.stage, side)?;
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
    fn quartiles_are_of_sorted_times() {
        assert_eq!(quartiles(vec![5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(Vec::new()), [0.0; 3]);
    }

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
