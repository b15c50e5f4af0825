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
fn finds(mesh: &Mesh, [cluster, kind, outcome, subject, advice]: [&str; 5]) {
    let what = format!("{cluster}: {kind} of {subject} {outcome}");
    wait::until(SEEN, &what, || {
        let (found, code) = mesh.operator("e1").doctor()?;
        let told = checks(&found);
        let fails = told.iter().any(|check| check[4] == "failed");
        anyhow::ensure!(code == Some(i32::from(fails)), "exit code {code:?}");
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

/// Each sort of check by each that can make it, at both ends.
fn nothing_is_left_out(mesh: &Mesh) {
    let (found, _) = mesh.operator("e1").doctor().unwrap();
    let all = checks(&found);
    let every = "UDP TCP session MTU clock certificate route rp_filter DNS agent";
    for cluster in ["east", "west"] {
        let of = all.iter().filter(|check| check[0] == cluster);
        let kinds: BTreeSet<&str> = of.map(|check| check[2].as_str()).collect();
        assert_eq!(kinds, every.split(' ').collect(), "{all:?}");
    }
    let places: BTreeSet<&str> = all.iter().map(|check| check[1].as_str()).collect();
    let nodes = ["e1", "w1", "w2"].into_iter();
    let expected = nodes.flat_map(|name| [format!("gateway {name}"), format!("node {name}")]);
    let expected: BTreeSet<String> = expected.collect();
    assert_eq!(places, expected.iter().map(String::as_str).collect());
    let nobody = mesh.operator("e1").run(&["doctor", "nobody"]);
    assert!(format!("{:#}", nobody.unwrap_err()).contains("nobody is not a peer"));
}

fn names_and_clocks(mesh: &Mesh) {
    let resolver = mesh.lab.path("w1").join("resolv.conf");
    let good = std::fs::read_to_string(&resolver).unwrap();
    std::fs::write(&resolver, "nameserver 127.0.0.9\n").unwrap();
    let todo = "forward clusterset.local";
    finds(mesh, ["west", "DNS", "failed", "127.0.0.9", todo]);
    std::fs::write(&resolver, good).unwrap();
    mesh.set_clock("west", 600).unwrap();
    finds(mesh, ["east", "clock", "failed", "west/w2", "NTP"]);
    finds(mesh, ["west", "clock", "failed", "east/e1", "NTP"]);
    mesh.set_clock("west", 0).unwrap();
}

/// The way back to one of west's gateways leads elsewhere, and the node does not take what comes so; then there is none.
fn ways_back(mesh: &Mesh) {
    let east = mesh.lab.netns("e1");
    let w1 = node("w1").unwrap().uplink;
    let at = format!("west/{w1}");
    east.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
    east.ip(&format!("route add {w1}/32 dev cni0\n")).unwrap();
    let todo = "net.ipv4.conf.eth0.rp_filter=2";
    finds(mesh, ["east", "rp_filter", "failed", &at, todo]);
    let todo = "is that gateway up";
    finds(mesh, ["east", "UDP", "failed", "west/w1", todo]);
    let none = format!("unreachable {w1}/32\n");
    east.ip(&format!("route replace {none}")).unwrap();
    finds(mesh, ["east", "route", "failed", &at, "ip route get"]);
    east.ip(&format!("route del {none}")).unwrap();
}

fn closed_ways(mesh: &Mesh) {
    let wan = mesh.lab.netns("wan");
    firewall::block_udp(&wan, TWO).unwrap();
    let todo = "let UDP through";
    finds(mesh, ["east", "UDP", "warning", "west/w1", todo]);
    finds(mesh, ["west", "UDP", "warning", "east/e1", todo]);
    finds(mesh, ["east", "session", "warning", "west/w1", todo]);
    firewall::unblock(&wan).unwrap();
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
    // What the other side has found is told again for a while.
    std::thread::sleep(Duration::from_secs(5));
    nothing_is_left_out(&mesh);
    names_and_clocks(&mesh);
    ways_back(&mesh);
    mesh.lab.processes.kill("agent-e1").unwrap();
    closed_ways(&mesh);
    let todo = "is the agent there up";
    finds(&mesh, ["east", "agent", "failed", "report", todo]);
    for gateway in ["gateway-w1", "gateway-w2"] {
        mesh.lab.processes.kill(gateway).unwrap();
    }
    let todo = "is that gateway up";
    finds(&mesh, ["east", "TCP", "failed", "west/w2", todo]);
    let todo = "run `causeway doctor` there";
    finds(&mesh, ["west", "session", "skipped", "west", todo]);
}
