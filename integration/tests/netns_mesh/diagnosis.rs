//! `causeway doctor`: what is wrong between two clusters, found from one place.

use std::collections::BTreeSet;
use std::time::Duration;

use causeway_integration::demo::mesh::Mesh;
use causeway_integration::lab::topology::{TWO, node};
use causeway_integration::lab::{self, firewall, wait};
use serde_json::Value;

use crate::{alone, pair};

/// A change is noticed by sessions within seconds, and by an agent's next look within ten.
const SEEN: Duration = Duration::from_secs(40);

/// What was found: cluster, place, kind, subject, outcome, advice.
fn checks(found: &Value) -> Vec<[String; 6]> {
    let mut all = Vec::new();
    for cluster in found["clusters"].as_array().unwrap() {
        for check in cluster["checks"].as_array().unwrap() {
            let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
            let of = |key| text(check, key);
            let name = text(cluster, "cluster");
            let rest = ["place", "kind", "subject", "outcome", "advice"].map(of);
            let [place, kind, subject, outcome, advice] = rest;
            all.push([name, place, kind, subject, outcome, advice]);
        }
    }
    all
}

/// Until east's doctor says that in that cluster a check of that kind ended so, at a subject with those words, and what to do.
fn finds(mesh: &Mesh, cluster: &str, kind: &str, outcome: &str, (subject, advice): (&str, &str)) {
    let what = format!("{cluster}: {kind} of {subject} {outcome}");
    wait::until(SEEN, &what, || {
        let (found, code) = mesh.operator("e1").doctor()?;
        let fails = checks(&found).iter().any(|check| check[4] == "failed");
        anyhow::ensure!(code == Some(i32::from(fails)), "exit code {code:?}");
        let told = checks(&found);
        Ok(told.iter().any(|[of, _, sort, at, end, todo]| {
            [of, sort, end] == [cluster, kind, outcome]
                && at.contains(subject)
                && todo.contains(advice)
        }))
    })
    .unwrap();
}

/// All is well: everything is looked at, at both ends.
fn is_well(mesh: &Mesh) {
    let mut bad = Vec::new();
    let well = wait::until(SEEN, "all to be well", || {
        let (found, code) = mesh.operator("e1").doctor()?;
        bad = checks(&found);
        bad.retain(|check| check[4] != "ok");
        Ok(bad.is_empty() && code == Some(0))
    });
    assert!(well.is_ok(), "{bad:?}");
}

#[test]
fn both_ends_are_diagnosed_from_one_place() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::new("t-doctor", None).unwrap();
    mesh.clocks = true;
    pair(&mut mesh);
    is_well(&mesh);
    std::thread::sleep(Duration::from_secs(5));
    let (found, _) = mesh.operator("e1").doctor().unwrap();
    let all = checks(&found);
    let kinds = |cluster: &str| -> BTreeSet<&str> {
        let of = all.iter().filter(|check| check[0] == cluster);
        of.map(|check| check[2].as_str()).collect()
    };
    let every = [
        "UDP",
        "TCP",
        "session",
        "MTU",
        "clock",
        "certificate",
        "route",
        "rp_filter",
        "DNS",
        "agent",
    ];
    for cluster in ["east", "west"] {
        assert_eq!(kinds(cluster), every.into(), "{all:?}");
    }
    let places: BTreeSet<&str> = all.iter().map(|check| check[1].as_str()).collect();
    let expected = [
        "gateway e1",
        "gateway w1",
        "gateway w2",
        "node e1",
        "node w1",
        "node w2",
    ];
    assert_eq!(places, expected.into());
    let nobody = mesh.operator("e1").run(&["doctor", "nobody"]).unwrap_err();
    assert!(format!("{nobody:#}").contains("nobody is not a peer"));

    let resolver = mesh.lab.path("w1").join("resolv.conf");
    let good = std::fs::read_to_string(&resolver).unwrap();
    std::fs::write(&resolver, "nameserver 127.0.0.9\n").unwrap();
    finds(
        &mesh,
        "west",
        "DNS",
        "failed",
        ("127.0.0.9", "forward clusterset.local"),
    );
    std::fs::write(&resolver, good).unwrap();

    mesh.set_clock("west", 600).unwrap();
    finds(&mesh, "east", "clock", "failed", ("west/w2", "NTP"));
    finds(&mesh, "west", "clock", "failed", ("east/e1", "NTP"));
    mesh.set_clock("west", 0).unwrap();

    // The way back to one of west's gateways leads elsewhere, and the node does not take what comes so.
    let east = mesh.lab.netns("e1");
    let w1 = node("w1").unwrap().uplink;
    east.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
    east.ip(&format!("route add {w1}/32 dev cni0\n")).unwrap();
    let at = format!("west/{w1}");
    finds(
        &mesh,
        "east",
        "rp_filter",
        "failed",
        (&at, "net.ipv4.conf.eth0.rp_filter=2"),
    );
    finds(
        &mesh,
        "east",
        "UDP",
        "failed",
        ("west/w1", "is that gateway up"),
    );
    east.ip(&format!("route replace unreachable {w1}/32\n"))
        .unwrap();
    finds(&mesh, "east", "route", "failed", (&at, "ip route get"));
    east.ip(&format!("route del unreachable {w1}/32\n"))
        .unwrap();

    mesh.lab.processes.kill("agent-e1").unwrap();
    let wan = mesh.lab.netns("wan");
    firewall::block_udp(&wan, TWO).unwrap();
    for (cluster, at) in [("east", "west/w1"), ("west", "east/e1")] {
        finds(&mesh, cluster, "UDP", "warning", (at, "let UDP through"));
    }
    finds(
        &mesh,
        "east",
        "session",
        "warning",
        ("west/w1", "let UDP through"),
    );
    firewall::unblock(&wan).unwrap();

    finds(
        &mesh,
        "east",
        "agent",
        "failed",
        ("report", "is the agent there up"),
    );
    for gateway in ["w1", "w2"] {
        mesh.lab
            .processes
            .kill(&format!("gateway-{gateway}"))
            .unwrap();
    }
    finds(
        &mesh,
        "east",
        "TCP",
        "failed",
        ("west/w2", "is that gateway up"),
    );
    finds(
        &mesh,
        "west",
        "session",
        "skipped",
        ("west", "run `causeway doctor` there"),
    );
}
