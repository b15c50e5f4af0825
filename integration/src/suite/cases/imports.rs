//! Shell: exports make imports, and imports say what exports said.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::suite::case::{Case, case};
use crate::suite::expect::{self, Look, keeps};
use crate::suite::hope::STAYS;
use crate::suite::kind::{IMPORT, SERVICE};
use crate::suite::scene::{BOTH, Scene};
use crate::suite::seen::{self, Import};
use crate::suite::wanted::{self, HELLO, Service};

/// The cases of this file.
pub const CASES: &[Case] = &[
    case(
        "imports.last-export",
        "an import lives as long as anybody exports the service",
        last_export,
    )
    .specs(&[1]),
    case(
        "imports.labels",
        "an import carries exported labels and annotations, and no others",
        labels,
    )
    .specs(&[2]),
    case(
        "imports.clusterset-ip",
        "a ClusterIP service is imported as ClusterSetIP in each cluster, and gone after",
        clusterset_ip,
    )
    .specs(&[4]),
    case(
        "imports.session-affinity",
        "an import has the session affinity of the export",
        session_affinity,
    )
    .specs(&[5]),
    case(
        "imports.internal-traffic-policy",
        "an import has the internal traffic policy of the export",
        internal_traffic_policy,
    )
    .specs(&[6]),
    case(
        "imports.traffic-distribution",
        "an import has the traffic distribution of the export",
        traffic_distribution,
    )
    .specs(&[7]),
    case(
        "imports.ips",
        "an import has an address of each family",
        ips,
    )
    .specs(&[8]),
    case(
        "imports.ports",
        "an import has the ports of the export",
        ports,
    )
    .specs(&[9]),
    case(
        "imports.headless",
        "a headless service is imported as Headless in each cluster, and gone after",
        headless,
    )
    .specs(&[12]),
    case(
        "imports.headless-no-ip",
        "a headless import has no address",
        headless_no_ip,
    )
    .specs(&[13]),
    case(
        "exports.external-name",
        "an ExternalName service is not valid to export",
        external_name,
    )
    .specs(&[14]),
];

fn hello(scene: &Scene<'_>, service: &Service) -> anyhow::Result<()> {
    scene.east().service(service)?;
    scene.east().export()
}

fn any(_: &Import) -> bool {
    true
}

fn last_export(scene: &Scene<'_>) -> anyhow::Result<()> {
    hello(scene, &Service::standard())?;
    scene.east().import("anything", any)?;
    scene.west().service(&Service::standard())?;
    scene.west().export()?;
    scene.west().condition("Ready", "True", "")?;
    scene.east().import_stays()?;
    scene.east().unexport()?;
    scene.east().import_stays()?;
    scene.west().unexport()?;
    scene.east().no_import()?;
    scene.west().no_import()
}

fn labels(scene: &Scene<'_>) -> anyhow::Result<()> {
    let marks = json!({"dummy-label": "true"});
    let notes = json!({"dummy-annotation": "true"});
    let mut service = Service::standard().named(HELLO);
    let mut export = wanted::export_with(HELLO, &marks, &notes);
    for (object, word) in [(&mut service, "service"), (&mut export, "export")] {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let own = json!({format!("own-of-{word}"): "true"});
            metadata.insert("labels".to_owned(), own.clone());
            metadata.insert("annotations".to_owned(), own);
        }
    }
    scene.east().apply(&service)?;
    scene.east().apply(&export)?;
    for side in BOTH {
        let import = scene
            .at(side)
            .import("the exported label and annotation", |import| {
                let has = |map: &std::collections::BTreeMap<String, String>, key: &str| {
                    map.get(key).is_some_and(|value| value == "true")
                };
                has(&import.metadata.labels, "dummy-label")
                    && has(&import.metadata.annotations, "dummy-annotation")
            })?;
        for word in ["own-of-service", "own-of-export"] {
            let (labels, notes) = (&import.metadata.labels, &import.metadata.annotations);
            let held = labels.contains_key(word) || notes.contains_key(word);
            expect::now(&format!("import carries {word}"), false, held)?;
        }
    }
    Ok(())
}

fn clusterset_ip(scene: &Scene<'_>) -> anyhow::Result<()> {
    hello(scene, &Service::standard())?;
    comes_and_goes(scene, "ClusterSetIP")
}

fn headless(scene: &Scene<'_>) -> anyhow::Result<()> {
    hello(scene, &Service::standard().headless())?;
    comes_and_goes(scene, "Headless")
}

fn comes_and_goes(scene: &Scene<'_>, kind: &str) -> anyhow::Result<()> {
    scene.east().condition("Valid", "True", "Valid")?;
    scene.east().condition("Ready", "True", "")?;
    let own = scene.east().id()?;
    for side in BOTH {
        scene
            .at(side)
            .import(&format!("type {kind}, exported by {own}"), |import| {
                import.spec.kind == kind && import.clusters() == [own.clone()]
            })?;
    }
    scene.east().unexport()?;
    BOTH.into_iter()
        .try_for_each(|side| scene.at(side).no_import())
}

fn session_affinity(scene: &Scene<'_>) -> anyhow::Result<()> {
    hello(scene, &Service::standard())?;
    let config = json!({"clientIP": {"timeoutSeconds": 10}});
    for side in BOTH {
        scene
            .at(side)
            .import("ClientIP affinity of 10 s", |import| {
                import.spec.session_affinity.as_deref() == Some("ClientIP")
                    && import.spec.session_affinity_config.as_ref() == Some(&config)
            })?;
    }
    Ok(())
}

fn internal_traffic_policy(scene: &Scene<'_>) -> anyhow::Result<()> {
    let service = Service::standard().with("internalTrafficPolicy", json!("Cluster"));
    hello(scene, &service)?;
    for side in BOTH {
        scene
            .at(side)
            .import("internalTrafficPolicy Cluster", |import| {
                import.spec.internal_traffic_policy.as_deref() == Some("Cluster")
            })?;
    }
    Ok(())
}

fn traffic_distribution(scene: &Scene<'_>) -> anyhow::Result<()> {
    let service = Service::standard().with("trafficDistribution", json!("PreferClose"));
    hello(scene, &service)?;
    for side in BOTH {
        scene
            .at(side)
            .import("trafficDistribution PreferClose", |import| {
                import.spec.traffic_distribution.as_deref() == Some("PreferClose")
            })?;
    }
    Ok(())
}

fn ips(scene: &Scene<'_>) -> anyhow::Result<()> {
    hello(scene, &Service::standard())?;
    for side in BOTH {
        let import = scene
            .at(side)
            .import("an address of each family", |import| {
                !import.spec.ips.is_empty()
                    && import.spec.ips.len() == import.spec.ip_families.len()
            })?;
        for (text, family) in import.spec.ips.iter().zip(&import.spec.ip_families) {
            let address: IpAddr = text.parse()?;
            let seen = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            expect::now(&format!("family of {text}"), family.as_str(), seen)?;
        }
        // It stays as long as the import does.
        let first = import.spec.ips;
        keeps(STAYS, &format!("the addresses {first:?}"), || {
            let now: Import = seen::read(&scene.at(side).must_get(IMPORT, HELLO)?)?;
            Ok(if now.spec.ips == first {
                Look::Yes(())
            } else {
                Look::No(format!("{:?}", now.spec.ips))
            })
        })?;
    }
    Ok(())
}

fn ports(scene: &Scene<'_>) -> anyhow::Result<()> {
    let mut service = Service::standard();
    let ports = json!([
        {"name": "tcp", "protocol": "TCP", "port": 42, "appProtocol": "http"},
        {"name": "udp", "protocol": "UDP", "port": 42},
    ]);
    service = service.with("ports", ports);
    hello(scene, &service)?;
    let wanted = scene.east().service_ports()?;
    for side in BOTH {
        scene
            .at(side)
            .import(&format!("ports {}", seen::shown_ports(&wanted)), |import| {
                import.ports() == wanted
            })?;
    }
    Ok(())
}

fn headless_no_ip(scene: &Scene<'_>) -> anyhow::Result<()> {
    hello(scene, &Service::standard().headless())?;
    scene.east().import("anything", any)?;
    scene.west().import("anything", any)?;
    keeps(STAYS, "no address of a headless import", || {
        for side in BOTH {
            let import: Import = seen::read(&scene.at(side).must_get(IMPORT, HELLO)?)?;
            if !import.spec.ips.is_empty() {
                return Ok(Look::No(format!("{:?}", import.spec.ips)));
            }
        }
        Ok(Look::Yes(()))
    })
}

fn external_name(scene: &Scene<'_>) -> anyhow::Result<()> {
    hello(scene, &Service::external_name())?;
    let east = scene.east();
    east.condition("Valid", "False", "InvalidServiceType")?;
    east.event("ServiceExport", "InvalidServiceType")?;
    east.import_stays_away()?;
    // It becomes one that can be exported, and then is.
    east.delete(SERVICE, HELLO)?;
    east.condition("Valid", "False", "NoService")?;
    east.service(&Service::standard())?;
    east.condition("Valid", "True", "Valid")?;
    scene.west().import("anything", any).map(|_| ())
}
