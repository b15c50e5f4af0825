//! Shell: bad input and odd moments: what cannot be exported is refused with a word, what changes is
//! followed, what goes leaves nothing.

use std::time::Duration;

use serde_json::json;

use crate::suite::case::{Case, Need, Turn, case};
use crate::suite::expect::{self, Look, within};
use crate::suite::hope::{CONDITIONS, first};
use crate::suite::kind::{EXPORT, IMPORT, NAMESPACE, SERVICE, SLICE};
use crate::suite::scene::{BOTH, Scene, Side};
use crate::suite::seen::{self, Import};
use crate::suite::wanted::{self, HELLO, Server, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "exports.no-service",
        "an export without its Service says so, and is taken up when the Service comes",
        no_service,
    ),
    case(
        "exports.type-changes",
        "a Service that changes its type or ports while it is exported is followed",
        type_changes,
    ),
    case(
        "exports.namespace-goes",
        "an export goes with its namespace, and nothing holds the namespace",
        namespace_goes,
    ),
    case(
        "exports.no-selector",
        "hand-made slices are served on a node with an agent, and refused elsewhere",
        no_selector,
    ),
    case(
        "exports.old-version",
        "the standard's older version is served too",
        old_version,
    ),
    case(
        "imports.namespace-later",
        "an import appears when its namespace is made later",
        namespace_later,
    )
    .bare(),
    case(
        "imports.by-hand",
        "an import or slice that somebody edits or deletes is put back",
        by_hand,
    ),
    case(
        "exports.deleted-while-apart",
        "an export that goes while the other side is away is gone when that comes back",
        deleted_while_apart,
    )
    .needs(&[Need::Ground])
    .turn(Turn::Alone),
    case(
        "exports.thousand",
        "a thousand exports at once arrive, and go",
        thousand,
    )
    .turn(Turn::Alone),
];

fn no_service(scene: &Scene<'_>) -> anyhow::Result<()> {
    let east = scene.east();
    east.export()?;
    let message = east.condition("Valid", "False", "NoService")?;
    anyhow::ensure!(
        message.contains(HELLO),
        "a message that names the Service\n  seen: {message}"
    );
    east.event("ServiceExport", "NoService")?;
    east.import_stays_away()?;
    east.service(&Service::standard())?;
    east.condition("Valid", "True", "Valid")?;
    scene.west().import("anything", |_| true)?;
    east.delete(SERVICE, HELLO)?;
    east.condition("Valid", "False", "NoService")?;
    scene.west().no_import()
}

fn type_changes(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    east.service(&Service::standard())?;
    east.export()?;
    west.import("two ports", |i| i.spec.ports.len() == 2)?;
    let more = |port: u16| {
        json!([
            wanted::port("tcp", "TCP", 42, 42),
            wanted::port("more", "TCP", port, 42)
        ])
    };
    for port in [4242, 4343] {
        east.service(&Service::standard().with("ports", more(port)))?;
        west.import(&format!("port {port} in place of another"), |import| {
            let ports: Vec<_> = import.ports().iter().map(|p| p.port).collect();
            ports == [port, 42]
        })?;
    }
    for kind in ["NodePort", "LoadBalancer", "ClusterIP"] {
        east.service(&Service::standard().with("type", json!(kind)))?;
        east.condition("Valid", "True", "Valid")?;
        west.import("type ClusterSetIP", |i| i.spec.kind == "ClusterSetIP")?;
    }
    // Kubernetes lets no Service become headless: it is made anew.
    for (service, kind) in [
        (Service::standard().headless(), "Headless"),
        (Service::standard(), "ClusterSetIP"),
    ] {
        east.delete(SERVICE, HELLO)?;
        east.service(&service)?;
        west.import(&format!("type {kind}"), |i| i.spec.kind == kind)?;
    }
    east.delete(SERVICE, HELLO)?;
    east.service(&Service::external_name())?;
    east.condition("Valid", "False", "InvalidServiceType")?;
    west.no_import()
}

fn namespace_goes(scene: &Scene<'_>) -> anyhow::Result<()> {
    let east = scene.east();
    for side in BOTH {
        scene.at(side).service(&Service::standard())?;
        scene.at(side).export()?;
    }
    let id = scene.west().id()?;
    scene
        .west()
        .import("both exporters", |i| i.clusters().len() == 2)?;
    // A namespace that is on its way out takes nothing new: writing into it fails for ever.
    east.cluster.delete(NAMESPACE, "", &scene.namespace)?;
    let what = format!("{east}: no namespace {}", scene.namespace);
    within(CONDITIONS, &what, || {
        Ok(match east.cluster.get(NAMESPACE, "", &scene.namespace)? {
            None => Look::Yes(()),
            Some(value) => Look::No(seen::shown(&seen::conditions(&value))),
        })
    })?;
    scene
        .west()
        .import("one exporter", |import| import.clusters() == [id.clone()])?;
    scene.west().unexport()?;
    scene.west().no_import()
}

fn no_selector(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    let server = Server::on(&east.cluster.context, 8080);
    east.apply(&server.pod("by-hand"))?;
    let pods = east.pods("by-hand", 1)?;
    let pod = first(&pods, "pod")?;
    let service = Service::plain(&[wanted::port("tcp", "TCP", 80, 8080)]).without("selector");
    east.service(&service)?;
    let slice =
        |address: &str, node: Option<&str>| wanted::slice_by_hand(HELLO, address, 8080, node);
    east.apply(&slice(&pod.status.pod_ip, Some(&pod.spec.node_name)))?;
    east.export()?;
    let to = format!("{}:80", scene.domain(HELLO));
    let client = west.client()?;
    let name = format!("{}/by-hand", east.cluster.context);
    west.answers(&client, "tcp", &to, 3, &name, |t| t.by.contains_key(&name))?;
    // An address of no pod, as people put it who want to export something outside of the cluster.
    east.apply(&slice("192.0.2.254", None))?;
    let what = format!("{east}: a condition or event that names 192.0.2.254");
    within(CONDITIONS, &what, || {
        let export = east.must_get(EXPORT, HELLO)?;
        let conditions = seen::shown(&seen::conditions(&export));
        let refused = conditions.contains("192.0.2.254");
        Ok(if refused {
            Look::Yes(())
        } else {
            Look::No(conditions)
        })
    })?;
    within(CONDITIONS, "nobody answers", || {
        let tally = client.dial_in_vain(scene.stage, "tcp", &to, 2)?;
        Ok(Look::when(tally.answered() == 0, tally))
    })
    .map(|_| ())
}

fn old_version(scene: &Scene<'_>) -> anyhow::Result<()> {
    let old = "multicluster.x-k8s.io/v1alpha1";
    let east = scene.east();
    east.service(&Service::standard())?;
    east.export()?;
    for side in BOTH {
        let place = scene.at(side);
        place.import("anything", |_| true)?;
        let import: Import = seen::read(&place.must_get(IMPORT.of(old), HELLO)?)?;
        expect::now("ports in v1alpha1", 2, import.spec.ports.len())?;
    }
    let export = east.must_get(EXPORT.of(old), HELLO)?;
    let valid = seen::condition(&export, "Valid").is_some_and(|c| c.status == "True");
    expect::now("valid in v1alpha1", true, valid)
}

fn namespace_later(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    east.make()?;
    east.service(&Service::standard())?;
    east.export()?;
    east.import("an address", |i| !i.spec.ips.is_empty())?;
    west.import_stays_away()?;
    west.make()?;
    west.import("an address", |i| !i.spec.ips.is_empty())?;
    let own = east.id()?;
    west.import(&format!("exported by {own}"), |i| {
        i.clusters() == [own.as_str()]
    })?;
    Ok(())
}

fn by_hand(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    east.service(&Service::standard())?;
    east.export()?;
    // Spec and status are two writes.
    let import = west.import("an address and who exports it", |i| {
        !i.spec.ips.is_empty() && !i.clusters().is_empty()
    })?;
    let same =
        |now: &Import| now.spec == import.spec && now.status.clusters == import.status.clusters;
    let edits = [
        ("", json!({"spec": {"ips": ["241.0.255.254"]}})),
        (
            "",
            json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}]}}),
        ),
        (
            "/status",
            json!({"status": {"clusters": [{"cluster": "nobody"}]}}),
        ),
    ];
    for (part, piece) in edits {
        scene.step(format_args!("{west}: edit the import: {piece}"));
        west.cluster
            .merge(IMPORT, &west.namespace, HELLO, part, &piece)?;
        west.import("what it was", same)?;
    }
    west.delete(IMPORT, HELLO)?;
    west.import("what it was", same)?;
    let slices = west.slices("one", |all| all.len() == 1)?;
    let slice = first(&slices, "slice")?;
    west.delete(SLICE, &slice.metadata.name)?;
    west.slices("the one that was there, made anew", |all| {
        all.iter()
            .any(|now| now.metadata.uid != slice.metadata.uid && now.endpoints == slice.endpoints)
    })
    .map(|_| ())
}

/// Longer than a silent peer keeps its share.
const APART: Duration = Duration::from_secs(12);

fn deleted_while_apart(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    let ground = &scene.stage.ground;
    for name in ["goes", "stays"] {
        east.apply(&Service::standard().named(name))?;
        east.apply(&wanted::export(name))?;
        west.import_of(name, CONDITIONS, "anything", |_| true)?;
    }
    ground.cut(&east.cluster.context)?;
    let outcome = (|| {
        east.delete(EXPORT, "goes")?;
        std::thread::sleep(APART);
        // Nobody said that it is no longer exported: the name and its address stay.
        west.must_get(IMPORT, "stays").map(|_| ())
    })();
    ground.heal(&east.cluster.context)?;
    outcome?;
    within(CONDITIONS * 2, "west: no import of what went", || {
        Ok(match west.get(IMPORT, "goes")? {
            None => Look::Yes(()),
            Some(_) => Look::No("it is there".to_owned()),
        })
    })?;
    west.import_of("stays", CONDITIONS, "its exporter", |i| {
        i.clusters().len() == 1
    })?;
    Ok(())
}

/// Exports of one namespace.
const MANY: usize = 1000;
/// Until all have arrived, or gone.
const ALL: Duration = Duration::from_secs(120);
/// Who writes them.
const WRITERS: usize = 4;

fn thousand(scene: &Scene<'_>) -> anyhow::Result<()> {
    let (east, west) = (scene.east(), scene.west());
    let start = scene.elapsed();
    let numbers: Vec<_> = (0..MANY).collect();
    std::thread::scope(|scope| {
        let parts = numbers.chunks(MANY.div_ceil(WRITERS));
        let writers: Vec<_> = parts
            .map(|part| {
                let east = &east;
                scope.spawn(move || {
                    part.iter().try_for_each(|n| {
                        let name = format!("s{n}");
                        let service = Service::standard().named(&name);
                        east.cluster.apply(&east.namespace, &service)?;
                        let export = wanted::export(&name);
                        east.cluster.apply(&east.namespace, &export).map(|_| ())
                    })
                })
            })
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| match writer.join() {
                Ok(result) => result,
                Err(_) => anyhow::bail!("a writer fell over"),
            })
    })?;
    scene.show(format_args!("{MANY} exports are made"));
    count(scene, Side::West, MANY)?;
    let took = scene.elapsed().saturating_sub(start);
    scene.show(format_args!(
        "{MANY} imports, {:.1} s in all",
        took.as_secs_f64()
    ));
    let import: Import = seen::read(&west.must_get(IMPORT, "s999")?)?;
    let name = scene.domain("s999");
    west.resolves(&west.client()?, &name, "A", "its address", |reply| {
        reply.addresses() == import.spec.ips
    })?;
    for side in BOTH {
        let place = scene.at(side);
        place.cluster.delete(NAMESPACE, "", &place.namespace)?;
    }
    within(ALL, "both namespaces are gone", || {
        for side in BOTH {
            let place = scene.at(side);
            if place
                .cluster
                .get(NAMESPACE, "", &place.namespace)?
                .is_some()
            {
                return Ok(Look::No(format!("{place}: it is there")));
            }
        }
        Ok(Look::Yes(()))
    })
}

fn count(scene: &Scene<'_>, side: Side, wanted: usize) -> anyhow::Result<()> {
    let place = scene.at(side);
    within(ALL, &format!("{place}: {wanted} imports"), || {
        let found = place.list(IMPORT, "")?.len();
        Ok(if found == wanted {
            Look::Yes(())
        } else {
            Look::No(found.to_string())
        })
    })
}
