//! Shell: connections between pods of both clusters, and those that must not be.

use std::collections::BTreeSet;

use crate::suite::case::{Case, Need, case};
use crate::suite::expect::{self, Look, keeps, within};
use crate::suite::hope::{NAMES, STAYS, first};
use crate::suite::kind::{NODE, POD, SERVICE};
use crate::suite::scene::{BOTH, Place, Scene};
use crate::suite::seen::Port;
use crate::suite::wanted::{self, HELLO, Server, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "reach.not-exported",
        "a service that is not exported answers nobody by its clusterset name",
        not_exported,
    )
    .specs(&[23]),
    case(
        "reach.exported",
        "an exported service answers in each cluster, over TCP and UDP",
        exported,
    )
    .specs(&[24]),
    case(
        "reach.only-exporter",
        "a service of two clusters that one exports is answered by that one",
        only_exporter,
    )
    .specs(&[25]),
    case(
        "reach.same-port-name",
        "of two ports of one name, only the winner's cluster answers on it",
        same_port_name,
    )
    .specs(&[26]),
    case(
        "reach.different-port-name",
        "each port is answered by the cluster that has it",
        different_port_name,
    )
    .specs(&[27]),
    case(
        "reach.every-node",
        "pods on each node reach pods on each node of the other cluster",
        every_node,
    )
    .needs(&[Need::Nodes]),
    case(
        "reach.host-network",
        "pods on a node's own network reach services of the other cluster",
        host_network,
    ),
    case(
        "reach.host-network-backend",
        "pods on a node's own network are reached from the other cluster",
        host_network_backend,
    ),
    case(
        "reach.node-process",
        "processes of a node reach services of the other cluster",
        node_process,
    )
    .needs(&[Need::Ground]),
    case(
        "reach.bulk",
        "many full packets arrive as they were sent, both ways",
        bulk,
    ),
    case(
        "reach.affinity",
        "ClientIP affinity keeps a client with one backend",
        affinity,
    ),
    case(
        "reach.backends",
        "backends that come, go and are not ready are followed",
        backends,
    ),
    case(
        "reach.own-cluster",
        "without a word local backends are asked first, and the other cluster's after them",
        own_cluster,
    ),
    case(
        "reach.in-cluster",
        "Services, pods and nodes of one cluster reach each other as without us",
        in_cluster,
    ),
    case(
        "reach.no-other-way",
        "pods of the other cluster are reached by what is exported and by nothing else",
        no_other_way,
    ),
];

fn to(scene: &Scene<'_>, port: u16) -> String {
    format!("{}:{port}", scene.domain(HELLO))
}

fn plain(port: u16, target: u16) -> Service {
    Service::plain(&[
        wanted::port("tcp", "TCP", port, target),
        wanted::port("udp", "UDP", port, target),
    ])
}

fn not_exported(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene.east().deploy(&Service::standard(), 42, 1)?;
    for side in BOTH {
        for client in scene.at(side).clients()? {
            let tally = client.dial_in_vain(scene.stage, "tcp", &to(scene, 42), 10)?;
            expect::now("answers", 0, tally.answered())?;
        }
    }
    Ok(())
}

fn exported(scene: &Scene<'_>) -> anyhow::Result<()> {
    let east = scene.east();
    east.deploy(&Service::standard(), 42, 1)?;
    east.export()?;
    for side in BOTH {
        let place = scene.at(side);
        for client in place.clients()? {
            for protocol in ["tcp", "udp"] {
                let from = &east.cluster.context;
                place.answers(&client, protocol, &to(scene, 42), 5, from, |t| {
                    t.is_all_of(from)
                })?;
            }
        }
    }
    Ok(())
}

fn only_exporter(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        scene.at(side).deploy(&Service::standard(), 42, 1)?;
    }
    scene.east().export()?;
    by(scene, 42, &scene.east())
}

/// All answers on a port are of that cluster, wherever they are asked for.
fn by(scene: &Scene<'_>, port: u16, server: &Place<'_>) -> anyhow::Result<()> {
    let context = &server.cluster.context;
    for side in BOTH {
        let place = scene.at(side);
        let client = place.client()?;
        place.answers(&client, "tcp", &to(scene, port), 10, context, |t| {
            t.is_all_of(context)
        })?;
    }
    Ok(())
}

fn strict(scene: &Scene<'_>, name: &str) -> anyhow::Result<()> {
    let other = Service::standard().with(
        "ports",
        serde_json::json!([wanted::port(name, "TCP", 4242, 42)]),
    );
    scene.east().deploy(&Service::standard(), 42, 1)?;
    scene.east().export()?;
    scene.east().import("anything", |_| true)?;
    scene.next_second();
    scene.west().deploy(&other, 42, 1)?;
    scene.west().export()?;
    scene.east().condition("Conflict", "True", "PortConflict")?;
    Ok(())
}

fn same_port_name(scene: &Scene<'_>) -> anyhow::Result<()> {
    strict(scene, "tcp")?;
    by(scene, 42, &scene.east())?;
    for side in BOTH {
        let client = scene.at(side).client()?;
        let tally = client.dial_in_vain(scene.stage, "tcp", &to(scene, 4242), 3)?;
        expect::now("answers on the loser's port", 0, tally.answered())?;
    }
    Ok(())
}

fn different_port_name(scene: &Scene<'_>) -> anyhow::Result<()> {
    strict(scene, "tcp2")?;
    by(scene, 42, &scene.east())?;
    by(scene, 4242, &scene.west())?;
    let east = scene.east().id()?;
    scene
        .west()
        .slices("each with its cluster's ports", |all| {
            all.len() == 2
                && all.iter().all(|slice| {
                    let mut ports: Vec<_> = slice.ports.iter().map(Port::to_string).collect();
                    ports.sort_unstable();
                    let has: &[&str] = match slice.source() == Some(&east) {
                        true => &["tcp TCP/42", "udp UDP/42"],
                        false => &["tcp2 TCP/4242"],
                    };
                    ports == has
                })
        })?;
    Ok(())
}

fn every_node(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let place = scene.at(side);
        let nodes = place.clients()?.len();
        let pods = place.deploy(&plain(80, 8080), 8080, u32::try_from(nodes)?)?;
        let held: BTreeSet<_> = pods.iter().map(|p| p.spec.node_name.clone()).collect();
        expect::now("nodes with a backend", nodes, held.len())?;
    }
    // One direction after the other, since a service of both would be answered at home.
    for side in BOTH {
        let server = scene.at(side);
        let context = server.cluster.context.clone();
        server.export()?;
        let client_side = scene.at(side.other());
        for client in client_side.clients()? {
            for protocol in ["tcp", "udp"] {
                let wanted = format!("{context}, each backend");
                let tally =
                    client_side.answers(&client, protocol, &to(scene, 80), 20, &wanted, |t| {
                        t.is_all_of(&context) && t.by.len() == t.nodes.len() && t.by.len() > 1
                    })?;
                expect::now(
                    "addresses under which the client is seen",
                    1,
                    tally.clients.len(),
                )?;
            }
        }
        server.unexport()?;
        client_side.no_import()?;
    }
    Ok(())
}

fn host_network(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let server = scene.at(side);
        server.deploy(&plain(80, 8080), 8080, 2)?;
        server.export()?;
        let context = server.cluster.context.clone();
        let place = scene.at(side.other());
        for client in place.host_clients()? {
            for protocol in ["tcp", "udp"] {
                place.answers(&client, protocol, &to(scene, 80), 10, &context, |t| {
                    t.is_all_of(&context)
                })?;
            }
        }
        server.unexport()?;
        place.no_import()?;
    }
    Ok(())
}

/// A port of nodes that nobody else uses.
const HOST_PORT: u16 = 28180;

fn host_network_backend(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    let node = first(&east.clients()?, "client")?.node.clone();
    let server = Server {
        host: true,
        ..Server::on(&east.cluster.context, HOST_PORT).at(&node)
    };
    east.apply(&server.deployment(HELLO, 1))?;
    east.service(&plain(80, HOST_PORT))?;
    east.pods(HELLO, 1)?;
    east.export()?;
    for client in west.clients()? {
        for protocol in ["tcp", "udp"] {
            west.answers(&client, protocol, &to(scene, 80), 5, "east", |t| {
                t.is_whole()
            })?;
        }
    }
    Ok(())
}

fn node_process(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    east.deploy(&plain(80, 8080), 8080, 1)?;
    east.export()?;
    let import = west.import("an address", |i| !i.spec.ips.is_empty())?;
    let to = format!("{}:80", first(&import.spec.ips, "address")?);
    let tools = scene.stage.ground.tools()?;
    let tools = tools.to_string_lossy();
    for client in west.clients()? {
        for protocol in ["tcp", "udp"] {
            let what = format!("a process of {} is answered over {protocol}", client.node);
            within(NAMES, &what, || {
                let args = [&tools, "dial", "--proto", protocol, "--count", "5", &to];
                Ok(match scene.stage.ground.on_node(&client.node, &args) {
                    Ok(_) => Look::Yes(()),
                    Err(error) => Look::No(format!("{error:#}")),
                })
            })?;
        }
    }
    Ok(())
}

/// More than any buffer on the way.
const BULK: u64 = 8 * 1024 * 1024;

fn bulk(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    east.deploy(&plain(80, 8080), 8080, 1)?;
    east.export()?;
    let client = west.client()?;
    west.answers(&client, "tcp", &to(scene, 80), 1, "an answer", |_| true)?;
    let said = client.fetch(scene.stage, &to(scene, 80), BULK)?;
    let good = |key: &str| said.get(key).and_then(serde_json::Value::as_bool) == Some(true);
    anyhow::ensure!(
        good("down") && good("up"),
        "{BULK} bytes down and up, equal\n  seen: {said}"
    );
    Ok(())
}

fn affinity(scene: &Scene<'_>) -> anyhow::Result<()> {
    let east = scene.east();
    east.deploy(&Service::standard(), 42, 3)?;
    east.export()?;
    let west = scene.west();
    for client in west.clients()? {
        west.answers(&client, "tcp", &to(scene, 42), 20, "one backend", |tally| {
            tally.by.len() == 1
        })?;
    }
    Ok(())
}

fn backends(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    let pods = east.deploy(&plain(80, 8080), 8080, 2)?;
    east.export()?;
    let client = west.client()?;
    let count = |n: usize| format!("{n} backends");
    west.answers(&client, "tcp", &to(scene, 80), 20, &count(2), |t| {
        t.by.len() == 2
    })?;
    let pod = &first(&pods, "backend")?.metadata.name;
    scene.step(format_args!("{pod} is not ready"));
    let set = |ready: &str| {
        let pairs = [("set", ready)];
        east.cluster
            .ask(&east.namespace, pod, 8080, "ready", &pairs)
    };
    set("false")?;
    let gone = format!("{}/{pod}", east.cluster.context);
    west.answers(&client, "tcp", &to(scene, 80), 20, "the ready one", |t| {
        !t.by.contains_key(&gone)
    })?;
    set("true")?;
    west.answers(&client, "tcp", &to(scene, 80), 20, &count(2), |t| {
        t.by.len() == 2
    })?;
    east.scale(3)?;
    west.answers(&client, "tcp", &to(scene, 80), 30, &count(3), |t| {
        t.by.len() == 3
    })?;
    east.scale(0)?;
    within(NAMES, "west: nobody left, so refused at once", || {
        let tally = client.dial_in_vain(scene.stage, "tcp", &to(scene, 80), 3)?;
        let refused = tally.failures.get("refused").copied() == Some(3);
        Ok(Look::when(refused, tally))
    })?;
    east.scale(1)?;
    west.answers(&client, "tcp", &to(scene, 80), 10, &count(1), |t| {
        t.by.len() == 1
    })
    .map(|_| ())
}

fn own_cluster(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        scene.at(side).deploy(&plain(80, 8080), 8080, 1)?;
        scene.at(side).export()?;
    }
    for side in BOTH {
        let place = scene.at(side);
        let context = &place.cluster.context;
        let other = &scene.at(side.other()).cluster.context;
        let client = place.client()?;
        place.answers(&client, "tcp", &to(scene, 80), 10, context, |t| {
            t.is_all_of(context)
        })?;
        place.scale(0)?;
        place.answers(&client, "tcp", &to(scene, 80), 10, other, |t| {
            t.is_all_of(other)
        })?;
        place.scale(1)?;
        place.answers(&client, "tcp", &to(scene, 80), 10, context, |t| {
            t.is_all_of(context)
        })?;
    }
    Ok(())
}

fn in_cluster(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let place = scene.at(side);
        let context = &place.cluster.context;
        let service = plain(80, 8080).with("type", serde_json::json!("NodePort"));
        let pods = place.deploy(&service, 8080, 2)?;
        let object = place.must_get(SERVICE, HELLO)?;
        let node_port = object.pointer("/spec/ports/0/nodePort").cloned();
        let node_port = node_port.unwrap_or_default();
        let mut clients = place.clients()?;
        clients.extend(place.host_clients()?);
        for client in &clients {
            let mut all = vec![format!("{HELLO}.{}.svc.cluster.local:80", scene.namespace)];
            all.extend(pods.iter().map(|p| format!("{}:8080", p.status.pod_ip)));
            for to in &all {
                for protocol in ["tcp", "udp"] {
                    place.answers(client, protocol, to, 3, context, |t| t.is_all_of(context))?;
                }
            }
            for node in place.cluster.list(NODE, "", "")? {
                let addresses = node.pointer("/status/addresses").cloned();
                let addresses = addresses.unwrap_or_default();
                let own = addresses.as_array().into_iter().flatten();
                let mut own = own.filter(|a| a.get("type").is_some_and(|t| t == "InternalIP"));
                let address = own.next().and_then(|a| a.get("address")?.as_str());
                let to = format!("{}:{node_port}", address.unwrap_or_default());
                place.answers(client, "tcp", &to, 2, context, |t| t.is_all_of(context))?;
            }
        }
        // Pods see each other's own addresses: nothing of ours is in between.
        let first_pod = first(&pods, "backend")?;
        let client = first(&clients, "client")?;
        let to = format!("{}:8080", first_pod.status.pod_ip);
        let own = place
            .cluster
            .get(POD, &client.namespace, &client.pod)?
            .unwrap_or_default();
        let own = own.pointer("/status/podIP").and_then(|a| a.as_str());
        place.answers(client, "tcp", &to, 2, "the client's own address", |t| {
            t.clients.iter().map(String::as_str).eq(own)
        })?;
    }
    Ok(())
}

fn no_other_way(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    // Two ports are served, one is exported.
    let server = Server {
        tcp: vec![8080, 9090],
        ..Server::on(&east.cluster.context, 8080)
    };
    east.apply(&server.deployment(HELLO, 1))?;
    east.service(&Service::plain(&[wanted::port("tcp", "TCP", 80, 8080)]).headless())?;
    east.pods(HELLO, 1)?;
    let other = server.deployment("other", 1);
    east.apply(&other)?;
    let other = first(&east.pods("other", 1)?, "pod")?.status.pod_ip.clone();
    east.export()?;
    let client = west.client()?;
    let reply = west.resolves(&client, &scene.domain(HELLO), "A", "an address", |reply| {
        reply.addresses().len() == 1
    })?;
    let exported = first(&reply.addresses(), "address")?.clone();
    west.answers(
        &client,
        "tcp",
        &format!("{exported}:8080"),
        3,
        "the backend",
        |_| true,
    )?;
    let tally = client.dial_in_vain(scene.stage, "tcp", &format!("{exported}:9090"), 3)?;
    expect::now(
        "answers on a port that is not exported",
        0,
        tally.answered(),
    )?;
    // The same distance beside the exported address lies the pod that nobody exports.
    let hidden = beside(&exported, &other)?;
    scene.step(format_args!("the hidden pod {other} would be {hidden}"));
    keeps(STAYS / 2, "no answer of a pod that is not exported", || {
        let tally = client.dial_in_vain(scene.stage, "tcp", &format!("{hidden}:8080"), 1)?;
        Ok(Look::when(tally.answered() == 0, tally))
    })
}

/// A pod's address under the mapping that the other address shows: prefixes are /16 here.
fn beside(mapped: &str, pod: &str) -> anyhow::Result<String> {
    let mapped: std::net::Ipv4Addr = mapped.parse()?;
    let pod: std::net::Ipv4Addr = pod.parse()?;
    let ([a, b, ..], [.., c, d]) = (mapped.octets(), pod.octets());
    Ok(std::net::Ipv4Addr::new(a, b, c, d).to_string())
}
