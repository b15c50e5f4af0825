//! Shell: two clusters that export one service differently: the oldest export wins, ports are the union,
//! and each export says so.

use serde_json::{Value, json};

use crate::suite::case::{Case, case};
use crate::suite::expect::{Look, keeps};
use crate::suite::hope::{STAYS, first};
use crate::suite::kind::{EXPORT, IMPORT};
use crate::suite::scene::{BOTH, Scene, Side};
use crate::suite::seen::{self, Import, Port};
use crate::suite::wanted::{self, HELLO, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "conflicts.labels",
        "exported labels and annotations of the oldest export win",
        labels,
    )
    .specs(&[3]),
    case(
        "conflicts.ports-union",
        "ports are the union, and differing ones are a conflict",
        ports_union,
    )
    .specs(&[10]),
    case(
        "conflicts.ports",
        "of two ports of one name that of the oldest export wins",
        ports,
    )
    .specs(&[11]),
    case(
        "conflicts.type",
        "the oldest export says whether a service is headless",
        kind,
    )
    .specs(&[15]),
    case(
        "conflicts.session-affinity",
        "the oldest export says the session affinity",
        session_affinity,
    ),
    case(
        "conflicts.session-affinity-config",
        "the oldest export says the timeout of session affinity",
        session_affinity_config,
    ),
    case(
        "conflicts.internal-traffic-policy",
        "the oldest export says the internal traffic policy",
        internal_traffic_policy,
    ),
    case(
        "conflicts.traffic-distribution",
        "the oldest export says the traffic distribution",
        traffic_distribution,
    ),
    case(
        "conflicts.several",
        "several conflicts are told in one condition, and go when they are mended",
        several,
    ),
    case(
        "conflicts.one-leaves",
        "with two exporters, the import loses what only the one who leaves had",
        one_leaves,
    ),
    case(
        "conflicts.re-created",
        "an export made anew is the youngest, and loses",
        re_created,
    ),
];

/// East exports first and is older by the clock of its API server; then west.
fn both(scene: &Scene<'_>, objects: [&Service; 2], exports: [&Value; 2]) -> anyhow::Result<()> {
    for ((side, service), export) in BOTH.into_iter().zip(objects).zip(exports) {
        let place = scene.at(side);
        place.service(service)?;
        place.apply(export)?;
        place.import("anything", |_| true)?;
        scene.next_second();
    }
    Ok(())
}

fn plainly(scene: &Scene<'_>, east: &Service, west: &Service) -> anyhow::Result<()> {
    let export = wanted::export(HELLO);
    both(scene, [east, west], [&export, &export])
}

/// Each export tells the conflict, and who won.
fn told(scene: &Scene<'_>, reason: &str) -> anyhow::Result<()> {
    let winner = scene.east().id()?;
    for side in BOTH {
        let message = scene.at(side).condition("Conflict", "True", reason)?;
        anyhow::ensure!(
            message.contains(&winner),
            "a message that names the winner {winner}\n  seen: {message}"
        );
    }
    Ok(())
}

/// Both clusters see the same import.
fn alike(scene: &Scene<'_>, expected: &str, is: impl Fn(&Import) -> bool) -> anyhow::Result<()> {
    for side in BOTH {
        scene.at(side).import(expected, &is)?;
    }
    Ok(())
}

fn labels(scene: &Scene<'_>) -> anyhow::Result<()> {
    let export = |n: u8| {
        let label = json!({format!("dummy-label{n}"): "true"});
        let note = json!({format!("dummy-annotation{n}"): "true"});
        wanted::export_with(HELLO, &label, &note)
    };
    let service = Service::standard();
    both(scene, [&service, &service], [&export(1), &export(2)])?;
    told(scene, "LabelsConflict")?;
    told(scene, "AnnotationsConflict")?;
    alike(
        scene,
        "labels and annotations of the oldest only",
        |import| {
            let Import { metadata, .. } = import;
            metadata.labels.contains_key("dummy-label1")
                && metadata.annotations.contains_key("dummy-annotation1")
                && !metadata.labels.contains_key("dummy-label2")
                && !metadata.annotations.contains_key("dummy-annotation2")
        },
    )
}

fn port(name: &str, protocol: &str, port: u16) -> Port {
    Port {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        port,
        app_protocol: None,
    }
}

fn with_ports(ports: &[Value]) -> Service {
    Service::standard().with("ports", json!(ports))
}

fn has_ports(scene: &Scene<'_>, ports: Vec<Port>) -> anyhow::Result<()> {
    let ports = seen::sorted(ports);
    alike(
        scene,
        &format!("ports {}", seen::shown_ports(&ports)),
        |import| import.ports() == ports,
    )
}

fn ports_union(scene: &Scene<'_>) -> anyhow::Result<()> {
    let other = with_ports(&[
        wanted::port("tcp", "TCP", 42, 42),
        wanted::port("stcp", "SCTP", 142, 142),
    ]);
    plainly(scene, &Service::standard(), &other)?;
    told(scene, "PortConflict")?;
    has_ports(
        scene,
        vec![
            port("tcp", "TCP", 42),
            port("udp", "UDP", 42),
            port("stcp", "SCTP", 142),
        ],
    )
}

fn ports(scene: &Scene<'_>) -> anyhow::Result<()> {
    let other = with_ports(&[wanted::port("tcp", "TCP", 43, 43)]);
    plainly(scene, &Service::standard(), &other)?;
    told(scene, "PortConflict")?;
    has_ports(scene, vec![port("tcp", "TCP", 42), port("udp", "UDP", 42)])
}

fn kind(scene: &Scene<'_>) -> anyhow::Result<()> {
    plainly(scene, &Service::standard(), &Service::standard().headless())?;
    told(scene, "TypeConflict")?;
    alike(scene, "type ClusterSetIP", |import| {
        import.spec.kind == "ClusterSetIP"
    })
}

fn session_affinity(scene: &Scene<'_>) -> anyhow::Result<()> {
    let other = Service::standard()
        .without("sessionAffinityConfig")
        .with("sessionAffinity", json!("None"));
    plainly(scene, &Service::standard(), &other)?;
    told(scene, "SessionAffinityConflict")?;
    alike(scene, "ClientIP affinity", |import| {
        import.spec.session_affinity.as_deref() == Some("ClientIP")
    })
}

fn session_affinity_config(scene: &Scene<'_>) -> anyhow::Result<()> {
    let other = Service::standard().with(
        "sessionAffinityConfig",
        json!({"clientIP": {"timeoutSeconds": 20}}),
    );
    plainly(scene, &Service::standard(), &other)?;
    told(scene, "SessionAffinityConfigConflict")?;
    let config = json!({"clientIP": {"timeoutSeconds": 10}});
    alike(scene, "a timeout of 10 s", |import| {
        import.spec.session_affinity_config.as_ref() == Some(&config)
    })
}

fn internal_traffic_policy(scene: &Scene<'_>) -> anyhow::Result<()> {
    let policy = |word: &str| Service::standard().with("internalTrafficPolicy", json!(word));
    plainly(scene, &policy("Cluster"), &policy("Local"))?;
    told(scene, "InternalTrafficPolicyConflict")?;
    alike(scene, "internalTrafficPolicy Cluster", |import| {
        import.spec.internal_traffic_policy.as_deref() == Some("Cluster")
    })
}

fn traffic_distribution(scene: &Scene<'_>) -> anyhow::Result<()> {
    let close = Service::standard().with("trafficDistribution", json!("PreferClose"));
    plainly(scene, &close, &Service::standard())?;
    told(scene, "TrafficDistributionConflict")?;
    alike(scene, "trafficDistribution PreferClose", |import| {
        import.spec.traffic_distribution.as_deref() == Some("PreferClose")
    })
}

fn several(scene: &Scene<'_>) -> anyhow::Result<()> {
    let other = with_ports(&[wanted::port("tcp", "TCP", 43, 43)])
        .without("sessionAffinityConfig")
        .with("sessionAffinity", json!("None"))
        .with("trafficDistribution", json!("PreferClose"));
    plainly(scene, &Service::standard(), &other)?;
    for reason in [
        "PortConflict",
        "SessionAffinityConflict",
        "TrafficDistributionConflict",
    ] {
        told(scene, reason)?;
    }
    scene.west().event("ServiceExport", "Conflict")?;
    let mended = Service::standard().with("trafficDistribution", Value::Null);
    scene.west().service(&mended)?;
    for side in BOTH {
        scene
            .at(side)
            .condition("Conflict", "False", "NoConflicts")?;
    }
    Ok(())
}

fn one_leaves(scene: &Scene<'_>) -> anyhow::Result<()> {
    let other = with_ports(&[
        wanted::port("tcp", "TCP", 42, 42),
        wanted::port("more", "TCP", 4242, 42),
    ]);
    plainly(scene, &Service::standard(), &other)?;
    let (east, west) = (scene.east().id()?, scene.west().id()?);
    alike(scene, "both exporters", |import| {
        import.clusters() == [east.clone(), west.clone()]
    })?;
    told(scene, "PortConflict")?;
    let address = address(scene, Side::West)?;
    scene.west().unexport()?;
    alike(scene, "one exporter", |import| {
        import.clusters() == [east.clone()]
    })?;
    has_ports(scene, vec![port("tcp", "TCP", 42), port("udp", "UDP", 42)])?;
    scene.east().condition("Conflict", "False", "NoConflicts")?;
    keeps(STAYS, "west's address of the service", || {
        let now = self::address(scene, Side::West)?;
        Ok(Look::when(now == address, now))
    })
}

fn address(scene: &Scene<'_>, side: Side) -> anyhow::Result<String> {
    let import: Import = seen::read(&scene.at(side).must_get(IMPORT, HELLO)?)?;
    first(&import.spec.ips, "address of the import").cloned()
}

fn re_created(scene: &Scene<'_>) -> anyhow::Result<()> {
    let close = Service::standard().with("trafficDistribution", json!("PreferClose"));
    plainly(scene, &Service::standard(), &close)?;
    told(scene, "TrafficDistributionConflict")?;
    alike(scene, "no trafficDistribution", |import| {
        import.spec.traffic_distribution.is_none()
    })?;
    scene.east().unexport()?;
    scene.next_second();
    scene.east().export()?;
    let times: Vec<_> = BOTH
        .into_iter()
        .map(|side| {
            let export = scene.at(side).must_get(EXPORT, HELLO)?;
            seen::read::<Import>(&export).map(|e| e.metadata.creation_timestamp)
        })
        .collect::<Result<_, _>>()?;
    scene.step(format_args!("made at {}", times.join(" and ")));
    alike(
        scene,
        "trafficDistribution of west's export, now the oldest",
        |import| import.spec.traffic_distribution.as_deref() == Some("PreferClose"),
    )?;
    let winner = scene.west().id()?;
    let message = scene
        .east()
        .condition("Conflict", "True", "TrafficDistributionConflict")?;
    anyhow::ensure!(
        message.contains(&winner),
        "a message that names the winner {winner}\n  seen: {message}"
    );
    Ok(())
}
