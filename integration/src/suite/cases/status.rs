//! Shell: what people see with `kubectl`, without any tool of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::suite::case::{Case, Turn, case};
use crate::suite::expect::{self, Look, within};
use crate::suite::hope::CONDITIONS;
use crate::suite::install::{causeway_json, helm};
use crate::suite::kind::{CONFIGURATION, PEER, POD, PROPERTY};
use crate::suite::scene::{BOTH, CLUSTER_ID, Place, Scene};
use crate::suite::seen::{self, Pod};
use crate::suite::wanted::{HELLO, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "status.peers",
        "`kubectl get clusterpeers` shows how each peer stands",
        peers,
    ),
    case(
        "status.configuration",
        "the cluster-wide configuration says who leads and that it is in force",
        configuration,
    ),
    case(
        "status.properties",
        "a cluster says its id and its clusterset",
        properties,
    ),
    case(
        "status.explain",
        "`kubectl explain` tells what each field means",
        explain,
    ),
    case(
        "status.export",
        "an export that is fine says so, in conditions that name nobody else",
        export,
    ),
    case(
        "status.pods",
        "our pods are ready, and none has restarted",
        pods,
    ),
    case(
        "status.command-line",
        "`causeway status` says the same by nothing but a kubeconfig",
        command_line,
    ),
    case(
        "status.doctor",
        "`causeway doctor` finds nothing wrong at either end, names asked by pods' own resolver included",
        doctor,
    ),
    case("status.helm-test", "`helm test` is content", helm_test).turn(Turn::Alone),
    case(
        "status.quiet",
        "nothing is written while nothing changes",
        quiet,
    )
    .turn(Turn::Alone),
];

fn doctor(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let place = scene.at(side);
        let what = format!("{place}: causeway doctor: all is well");
        let found = within(CONDITIONS, &what, || {
            Ok(match causeway_json(scene.stage, side, &["doctor"]) {
                Ok(found) if found.get("skipped") == Some(&0.into()) => Look::Yes(found),
                Ok(found) => Look::No(found.to_string()),
                Err(error) => Look::No(format!("{error:#}")),
            })
        })?;
        let kinds = found.to_string();
        for kind in ["UDP", "TCP", "MTU", "rp_filter", "DNS", "agent"] {
            let kind = format!("\"kind\":\"{kind}\"");
            let count = kinds.matches(&kind).count();
            anyhow::ensure!(count >= 2, "{place}: {kind} at both ends\n  seen: {kinds}");
        }
    }
    Ok(())
}

/// A ClusterPeer that tells all; just after a join gateways are still to be asked.
fn told(place: &Place<'_>, other: &str) -> anyhow::Result<Value> {
    let what = format!("{place}: ClusterPeer {other} tells all");
    within(CONDITIONS, &what, || {
        let peer = place.cluster.get(PEER, "", other)?;
        let peer = peer.with_context(|| format!("{place}: no ClusterPeer {other}"))?;
        let untold = |pointer: &&str| peer.pointer(pointer).is_none_or(Value::is_null);
        let pointers = [
            "/status/sessions/0/gateway",
            "/status/sessions/0/transport",
            "/status/heldRevision",
            "/status/encryption",
            "/status/mappings/0/here",
            "/status/certificateExpiryTime",
        ];
        Ok(match pointers.into_iter().find(untold) {
            Some(pointer) => Look::No(format!("no {pointer} in {peer}")),
            None => Look::Yes(peer),
        })
    })
}

fn peers(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let (place, other) = (scene.at(side), scene.at(side.other()).id()?);
        let peer = told(&place, &other)?;
        for kind in ["Joined", "Connected"] {
            let seen = seen::condition(&peer, kind).map(|c| c.status);
            let seen = seen.unwrap_or_default();
            expect::now(&format!("{place}: {kind}"), "True".to_owned(), seen)?;
        }
        let table = place.cluster.kubectl(&["get", "clusterpeers"])?;
        scene.step(&table);
        for word in ["PHASE", "ENCRYPTION", &other, "Connected"] {
            anyhow::ensure!(
                table.contains(word),
                "{place}: a table with {word}\n{table}"
            );
        }
        let all = place.cluster.kubectl(&["get", "causeway"])?;
        anyhow::ensure!(
            all.contains(&other),
            "{place}: `kubectl get causeway`\n{all}"
        );
    }
    Ok(())
}

fn configuration(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let place = scene.at(side);
        let what = format!("{place}: ClusterConfiguration with a leader, in force");
        within(CONDITIONS, &what, || {
            let object = place.cluster.get(CONFIGURATION, "", "default")?;
            let object = object.unwrap_or_default();
            let leader = object.pointer("/status/leader").and_then(Value::as_str);
            let good = leader.is_some_and(|l| !l.is_empty())
                && seen::condition(&object, "Applied").is_some_and(|c| c.status == "True");
            Ok(if good {
                Look::Yes(())
            } else {
                Look::No(crate::suite::hope::shown(&object))
            })
        })?;
    }
    Ok(())
}

fn properties(scene: &Scene<'_>) -> anyhow::Result<()> {
    let mut sets = Vec::new();
    for side in BOTH {
        let cluster = scene.at(side).cluster;
        for name in [CLUSTER_ID, "clusterset.k8s.io"] {
            let object = cluster.get(PROPERTY, "", name)?.unwrap_or_default();
            let value = object.pointer("/spec/value").and_then(Value::as_str);
            let value = value.with_context(|| format!("{}: no {name}", cluster.context))?;
            sets.push(value.to_owned());
        }
    }
    let [first, set, second, other] = sets.as_slice() else {
        anyhow::bail!("four properties");
    };
    anyhow::ensure!(first != second, "two ids\n  seen: {first} twice");
    expect::now("clusterset", set, other)
}

fn explain(scene: &Scene<'_>) -> anyhow::Result<()> {
    for path in [
        "clusterpeer.spec",
        "clusterpeer.status.phase",
        "clusterconfiguration.spec.peers",
        "serviceexport.status.conditions",
        "serviceimport.spec.ips",
    ] {
        let text = scene.east().cluster.kubectl(&["explain", path])?;
        anyhow::ensure!(
            text.contains("DESCRIPTION:") && !text.contains("<empty>"),
            "`kubectl explain {path}` with a description\n{text}"
        );
    }
    Ok(())
}

fn export(scene: &Scene<'_>) -> anyhow::Result<()> {
    let east = scene.east();
    east.service(&Service::standard())?;
    east.export()?;
    east.condition("Valid", "True", "Valid")?;
    east.condition("Ready", "True", "")?;
    east.condition("Conflict", "False", "NoConflicts")?;
    scene.west().import("condition Ready", |import| {
        let mut all = import.status.conditions.iter();
        all.any(|c| c.kind == "Ready" && c.status == "True" && c.reason == "Ready")
    })?;
    let table = scene.west().cluster.kubectl(&[
        "get",
        "serviceimports",
        "--namespace",
        &scene.namespace,
    ])?;
    anyhow::ensure!(table.contains(HELLO), "a table of imports\n{table}");
    Ok(())
}

fn pods(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let system = scene.system(side);
        let found = system.list(POD, "app.kubernetes.io/name=causeway")?;
        let parts: std::collections::BTreeSet<_> = found
            .iter()
            .filter_map(|p| p.pointer("/metadata/labels/app.kubernetes.io~1component"))
            .filter_map(Value::as_str)
            .collect();
        for part in ["agent", "controller", "gateway"] {
            anyhow::ensure!(
                parts.contains(part),
                "{system}: a pod of {part}\n  seen: {parts:?}"
            );
        }
        for value in &found {
            let pod: Pod = seen::read(value)?;
            let over = pod.status.phase == "Succeeded";
            let how = seen::shown(&pod.status.conditions);
            let name = &pod.metadata.name;
            anyhow::ensure!(
                over || pod.is_ready(),
                "{system}: {name} is ready\n  seen: {how}"
            );
            let restarts = value.pointer("/status/containerStatuses/0/restartCount");
            let restarts = restarts.and_then(Value::as_i64).unwrap_or_default();
            expect::now(&format!("{system}: restarts of {name}"), 0, restarts)?;
        }
    }
    Ok(())
}

fn command_line(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let other = scene.at(side.other()).id()?;
        let peers = causeway_json(scene.stage, side, &["peers"])?;
        let text = peers.to_string();
        anyhow::ensure!(
            text.contains(&other),
            "`causeway peers` with {other}\n{text}"
        );
    }
    Ok(())
}

fn helm_test(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let said = helm(scene.stage, side, &["test", "causeway", "--timeout", "1m"])?;
        scene.step(&said);
    }
    Ok(())
}

/// How long nothing is to be written.
const QUIET: Duration = Duration::from_secs(15);
/// What our controller writes besides Leases, as the API server's metrics name it.
const WRITTEN: [&str; 9] = [
    "serviceimports",
    "serviceexports",
    "endpointslices",
    "clusterpeers",
    "clusterconfigurations",
    "clusterproperties",
    "secrets",
    "configmaps",
    "events",
];

fn quiet(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        scene.at(side).service(&Service::standard())?;
        scene.at(side).export()?;
        scene.at(side).condition("Ready", "True", "")?;
    }
    scene
        .east()
        .import("both exporters", |i| i.clusters().len() == 2)?;
    // What came before may still echo; from the first quiet stretch on there is nothing.
    let metrics = |side| scene.at(side).cluster.text("/metrics");
    let counts = || BOTH.map(|side| metrics(side).map(|text| writes(&text)));
    within(
        QUIET * 4,
        &format!("no write in {} s", QUIET.as_secs()),
        || {
            let before = counts();
            std::thread::sleep(QUIET);
            let mut seen = Vec::new();
            for ((side, before), after) in BOTH.into_iter().zip(before).zip(counts()) {
                let news = news(&before?, &after?).into_iter();
                seen.extend(news.map(|news| format!("{}: {news}", scene.at(side))));
            }
            Ok(if seen.is_empty() {
                Look::Yes(())
            } else {
                Look::No(seen.join(", "))
            })
        },
    )
}

/// Writes of the kinds above that an API server has counted, by verb and resource.
fn writes(metrics: &str) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    let counts = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("apiserver_request_total{")?;
        let (labels, count) = rest.rsplit_once("} ")?;
        let label = |key: &str| {
            let (_, rest) = labels.split_once(&format!("{key}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let (verb, resource) = (label("verb")?, label("resource")?);
        let write = matches!(verb, "APPLY" | "PATCH" | "PUT" | "POST" | "DELETE");
        let ours = WRITTEN.contains(&resource);
        let count: f64 = count.trim().parse().ok()?;
        // Whole numbers, in the form that Prometheus gives them.
        (write && ours).then(|| (format!("{verb} {resource}"), count.round() as u64))
    });
    for (what, count) in counts {
        *all.entry(what).or_default() += count;
    }
    all
}

/// What has been written since.
fn news(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<String> {
    let grown = after.iter().filter_map(|(what, count)| {
        let more = count.saturating_sub(before.get(what).copied().unwrap_or(0));
        (more > 0).then(|| format!("{more} {what}"))
    });
    grown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted() {
        let metrics = "# HELP x\n\
            apiserver_request_total{code=\"200\",component=\"apiserver\",resource=\"serviceimports\",verb=\"APPLY\"} 12\n\
            apiserver_request_total{code=\"200\",resource=\"endpointslices\",verb=\"DELETE\"} 1.5e+01\n\
            apiserver_request_total{code=\"200\",resource=\"leases\",verb=\"PUT\"} 900\n\
            apiserver_request_total{code=\"200\",resource=\"serviceimports\",verb=\"LIST\"} 7\n";
        let mut before = writes(metrics);
        let kinds = ["APPLY serviceimports", "DELETE endpointslices"].map(str::to_owned);
        assert_eq!(before, kinds.into_iter().zip([12, 15]).collect());
        let after = before.clone();
        before.insert("APPLY serviceimports".to_owned(), 10);
        assert_eq!(news(&before, &after), ["2 APPLY serviceimports"]);
    }
}
