//! Shell: names of the zone `clusterset.local`, asked by pods through their own name server.

use serde_json::json;

use crate::suite::case::{Case, Need, case};
use crate::suite::expect::{self, Look, keeps, within};
use crate::suite::hope::{NAMES, STAYS, first};
use crate::suite::kind::{SERVICE, SLICE};
use crate::suite::said::Reply;
use crate::suite::scene::{BOTH, Place, Scene, Side};
use crate::suite::seen::{self, Slice};
use crate::suite::wanted::{HELLO, Server, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "names.clusterset-ip",
        "the name of a service is its clusterset address",
        clusterset_ip,
    )
    .specs(&[17]),
    case(
        "names.srv",
        "a service record for each named port, one on the bare name",
        srv,
    )
    .specs(&[18]),
    case(
        "names.cluster-local",
        "names of cluster.local are the cluster's own, and answered as before",
        cluster_local,
    )
    .specs(&[19]),
    case(
        "names.headless",
        "a headless name has the addresses of all ready backends, and no such name without",
        headless,
    )
    .specs(&[20]),
    case(
        "names.headless-native",
        "with prefixes of their own, a headless name has the backends' own addresses",
        headless_native,
    )
    .specs(&[20])
    .needs(&[Need::DistinctCidr]),
    case(
        "names.stateful-set",
        "each pod of a StatefulSet has a name of its own, and it answers there",
        stateful_set,
    )
    .specs(&[21]),
    case(
        "names.headless-srv",
        "service records of a headless service name each backend by its address",
        headless_srv,
    )
    .specs(&[22]),
    case(
        "names.none",
        "no name for what is not exported, nor for a cluster's share of a service",
        none,
    ),
    case("names.version", "the zone says its version", version),
];

/// What an answer may be held for.
const TTL_MAX: u32 = 5;

fn has_addresses(addresses: &[String]) -> impl Fn(&Reply) -> bool + '_ {
    move |reply| reply.code == "NOERROR" && reply.addresses() == addresses
}

fn clusterset_ip(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene.east().service(&Service::standard())?;
    scene.east().export()?;
    for side in BOTH {
        let place = scene.at(side);
        let import = place.import("an address", |i| !i.spec.ips.is_empty())?;
        for client in place.clients()? {
            let name = scene.domain(HELLO);
            let wanted = format!("the address {:?}", import.spec.ips);
            let is = has_addresses(&import.spec.ips);
            let reply = place.resolves(&client, &name, "A", &wanted, is)?;
            let held = reply
                .records
                .iter()
                .map(|r| r.ttl)
                .max()
                .unwrap_or_default();
            anyhow::ensure!(
                held <= TTL_MAX,
                "held for at most {TTL_MAX} s\n  seen: {held}"
            );
        }
    }
    Ok(())
}

fn srv(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene.east().service(&Service::standard())?;
    scene.east().export()?;
    let domain = scene.domain(HELLO);
    for side in BOTH {
        let place = scene.at(side);
        let client = place.client()?;
        let wanted = [(42, domain.clone())];
        for name in [
            domain.clone(),
            format!("_tcp._tcp.{domain}"),
            format!("_udp._udp.{domain}"),
        ] {
            place.resolves(&client, &name, "SRV", "one record, port 42", |reply| {
                reply.services() == wanted
            })?;
        }
        let name = format!("_other._tcp.{domain}");
        place.resolves(&client, &name, "SRV", "no such name", |reply| {
            reply.code == "NXDOMAIN"
        })?;
    }
    Ok(())
}

fn cluster_local(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        scene.at(side).service(&Service::standard())?;
    }
    scene.east().export()?;
    scene
        .west()
        .import("an address", |i| !i.spec.ips.is_empty())?;
    for side in BOTH {
        let place = scene.at(side);
        let service = place.must_get(SERVICE, HELLO)?;
        let own = service.pointer("/spec/clusterIP").and_then(|a| a.as_str());
        let own = [own.unwrap_or_default().to_owned()];
        let name = format!("{HELLO}.{}.svc.cluster.local", scene.namespace);
        let client = place.client()?;
        let is = has_addresses(&own);
        let wanted = format!("the cluster's own address {own:?} only");
        place.resolves(&client, &name, "A", &wanted, is)?;
        let name = format!("nobody.{}.svc.cluster.local", scene.namespace);
        place.resolves(&client, &name, "A", "no such name", |r| {
            r.code == "NXDOMAIN"
        })?;
    }
    Ok(())
}

fn headless(scene: &Scene<'_>) -> anyhow::Result<()> {
    let service = Service::standard().headless();
    scene.east().deploy(&service, 42, 2)?;
    scene.east().export()?;
    let name = scene.domain(HELLO);
    for side in BOTH {
        let place = scene.at(side);
        let client = place.client()?;
        let reply = place.resolves(&client, &name, "A", "two addresses", |reply| {
            reply.code == "NOERROR" && reply.addresses().len() == 2
        })?;
        let mut pods = std::collections::BTreeSet::new();
        for address in reply.addresses() {
            let to = format!("{address}:42");
            let tally = place.answers(&client, "tcp", &to, 2, "one backend", |tally| {
                tally.is_all_of(&scene.east().cluster.context) && tally.by.len() == 1
            })?;
            pods.extend(tally.by.into_keys());
        }
        expect::now("backends behind both addresses", 2, pods.len())?;
    }
    scene.east().scale(0)?;
    for side in BOTH {
        let place = scene.at(side);
        place.resolves(&place.client()?, &name, "A", "no such name", |reply| {
            reply.code == "NXDOMAIN"
        })?;
    }
    Ok(())
}

/// Addresses of the ready backends of the Service, as its own cluster has them, with the names they give.
fn backends(place: &Place<'_>, count: usize) -> anyhow::Result<Vec<(String, String)>> {
    let what = format!("{place}: {count} backends of {HELLO}");
    within(NAMES, &what, || {
        let label = format!("{}={HELLO}", seen::OWN_SERVICE);
        let mut all = Vec::new();
        for slice in place.list(SLICE, &label)? {
            let slice: Slice = seen::read(&slice)?;
            for endpoint in slice.endpoints.iter().filter(|e| e.is_ready()) {
                for address in &endpoint.addresses {
                    let dashed = address.replace(['.', ':'], "-");
                    let name = endpoint.hostname.clone().unwrap_or(dashed);
                    all.push((address.clone(), name));
                }
            }
        }
        all.sort();
        Ok(if all.len() == count {
            Look::Yes(all)
        } else {
            Look::No(format!("{all:?}"))
        })
    })
}

fn headless_native(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene
        .east()
        .deploy(&Service::standard().headless(), 42, 2)?;
    scene.east().export()?;
    let own: Vec<_> = backends(&scene.east(), 2)?;
    let own: Vec<_> = own.into_iter().map(|(address, _)| address).collect();
    for side in BOTH {
        let place = scene.at(side);
        let wanted = format!("the backends' own addresses {own:?}");
        let is = has_addresses(&own);
        place.resolves(&place.client()?, &scene.domain(HELLO), "A", &wanted, is)?;
        // A node's own processes have their way there too.
        let to = format!("{}:42", scene.domain(HELLO));
        for client in [place.clients()?, place.host_clients()?].concat() {
            place.answers(&client, "tcp", &to, 5, "east", |t| t.is_whole())?;
        }
    }
    Ok(())
}

fn stateful_set(scene: &Scene<'_>) -> anyhow::Result<()> {
    let east = scene.east();
    let server = Server::on(&east.cluster.context, 42);
    east.service(&Service::standard().headless())?;
    east.apply(&server.stateful_set(HELLO, 2))?;
    east.pods(HELLO, 2)?;
    east.export()?;
    for side in BOTH {
        let place = scene.at(side);
        let slices = place.slices("two ready endpoints, each with a name", |all| {
            let endpoints: Vec<_> = all.iter().flat_map(|s| &s.endpoints).collect();
            endpoints.len() == 2
                && endpoints
                    .iter()
                    .all(|e| e.is_ready() && e.hostname.is_some())
        })?;
        let client = place.client()?;
        let cluster = first(&slices, "slice")?.source().unwrap_or_default();
        for endpoint in slices.iter().flat_map(|s| &s.endpoints) {
            let host = endpoint.hostname.as_deref().unwrap_or_default();
            let name = format!("{host}.{cluster}.{}", scene.domain(HELLO));
            let wanted = format!("{:?}", endpoint.addresses);
            place.resolves(
                &client,
                &name,
                "A",
                &wanted,
                has_addresses(&endpoint.addresses),
            )?;
            let pod = format!("{}/{host}", east.cluster.context);
            place.answers(&client, "tcp", &format!("{name}:42"), 2, &pod, |tally| {
                tally.by.len() == 1 && tally.by.contains_key(&pod)
            })?;
        }
    }
    Ok(())
}

fn headless_srv(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene
        .east()
        .deploy(&Service::standard().headless(), 42, 2)?;
    scene.east().export()?;
    let own = backends(&scene.east(), 2)?;
    let (cluster, domain) = (scene.east().id()?, scene.domain(HELLO));
    let targets = own
        .iter()
        .map(|(_, host)| (42, format!("{host}.{cluster}.{domain}")));
    let mut targets: Vec<_> = targets.collect();
    targets.sort();
    for side in BOTH {
        let place = scene.at(side);
        let client = place.client()?;
        // On the bare name, equal port and target of TCP and UDP are one record.
        for name in [domain.clone(), format!("_tcp._tcp.{domain}")] {
            let wanted = format!("{targets:?}");
            place.resolves(&client, &name, "SRV", &wanted, |reply| {
                reply.services() == targets
            })?;
        }
        for (_, target) in &targets {
            place.resolves(&client, target, "A", "one address", |reply| {
                reply.addresses().len() == 1
            })?;
        }
    }
    Ok(())
}

fn none(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        scene.at(side).service(&Service::standard())?;
    }
    let name = scene.domain(HELLO);
    for side in BOTH {
        let place = scene.at(side);
        let client = place.client()?;
        let what = format!("{place}: {name} does not exist");
        keeps(STAYS, &what, || {
            let reply = client.lookup(scene.stage, &name, "A")?;
            Ok(Look::when(reply.code == "NXDOMAIN", reply))
        })?;
    }
    scene.east().export()?;
    let cluster = scene.east().id()?;
    for side in BOTH {
        let place = scene.at(side);
        let client = place.client()?;
        place.resolves(&client, &name, "A", "an address", |r| {
            !r.addresses().is_empty()
        })?;
        let share = format!("{cluster}.{name}");
        place.resolves(&client, &share, "A", "no such name", |r| {
            r.code == "NXDOMAIN"
        })?;
    }
    scene.east().unexport()?;
    for side in [Side::West, Side::East] {
        let place = scene.at(side);
        place.resolves(&place.client()?, &name, "A", "no such name again", |r| {
            r.code == "NXDOMAIN"
        })?;
    }
    Ok(())
}

fn version(scene: &Scene<'_>) -> anyhow::Result<()> {
    for side in BOTH {
        let place = scene.at(side);
        let name = "dns-version.clusterset.local";
        let wanted = json!("1.0.0").to_string();
        place.resolves(&place.client()?, name, "TXT", &wanted, |reply| {
            reply.records.iter().any(|r| r.data == wanted)
        })?;
    }
    Ok(())
}
