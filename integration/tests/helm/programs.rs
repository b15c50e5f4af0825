//! The programs take the configurations and the arguments that the chart gives them.

use std::path::Path;

use causeway_controller::config::OnKubernetes;
use causeway_controller::crd::ClusterConfiguration;
use causeway_controller::hook::Hook;
use causeway_gateway::config::Config;
use clap::{Command, Subcommand};
use serde_json::Value;

use crate::chart::{VALUES, file, helm, objects};

#[test]
fn configurations_are_taken() {
    let Some(helm) = helm() else { return };
    for values in VALUES {
        let objects = objects(&helm, values);
        let gateways = &objects["ConfigMap causeway-system/causeway-gateway"].value["data"];
        for key in gateways.as_object().unwrap().keys() {
            let text = file(&objects, "causeway-gateway", key);
            let config = Config::parse(Path::new(key), &text, |_| None);
            config.unwrap_or_else(|error| panic!("{values}: {error}\n{text}"));
        }
        let text = file(&objects, "causeway-agent", "agent.yaml");
        let config = causeway_dataplane::config::parse(&text, |_| None);
        let config = config.unwrap_or_else(|error| panic!("{values}: {error}\n{text}"));
        assert_eq!(config.contradiction(), None);
        let text = file(&objects, "causeway-controller", "controller.yaml");
        let config = OnKubernetes::parse("controller.yaml", &text, |_| None);
        config.unwrap_or_else(|error| panic!("{values}: {error}\n{text}"));
    }
}

/// One port in the gateway's configuration, in its pod and in the Service that Prometheus goes by; or none anywhere.
#[test]
fn metrics_are_shown_where_they_are_read() {
    let Some(helm) = helm() else { return };
    for values in VALUES {
        let objects = objects(&helm, values);
        let named = |list: &Value| {
            let ports = list.as_array().cloned().unwrap_or_default();
            ports.into_iter().find(|port| port["name"] == "metrics")
        };
        let service = objects.get("Service causeway-system/causeway-metrics");
        let read = service
            .and_then(|service| named(&service.value["spec"]["ports"]))
            .and_then(|port| port["targetPort"].as_u64());
        let sets = objects.values().filter(|object| {
            object.at("/kind") == "DaemonSet" && object.at("/metadata/name") != "causeway-agent"
        });
        for set in sets {
            let ports = &set.pod().unwrap()["containers"][0]["ports"];
            let open = named(ports).and_then(|port| port["containerPort"].as_u64());
            assert_eq!(open, read, "{values}: {}", set.name());
        }
        let gateways = &objects["ConfigMap causeway-system/causeway-gateway"].value["data"];
        for key in gateways.as_object().unwrap().keys() {
            let text = file(&objects, "causeway-gateway", key);
            let config = Config::parse(Path::new(key), &text, |_| None).unwrap();
            let shown = config.listen.metrics.map(|at| u64::from(at.port()));
            assert_eq!(shown, read, "{values}: {key}");
        }
        let monitored = objects.contains_key("ServiceMonitor causeway-system/causeway");
        assert_eq!(monitored, values == "monitored", "{values}");
    }
}

/// As the hook is given it by these values.
fn configuration(helm: &Path, values: &str) -> ClusterConfiguration {
    let objects = objects(helm, values);
    let text = file(&objects, "causeway-hook-install", "configuration.yaml");
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn the_cluster_is_configured_as_usual() {
    let Some(helm) = helm() else { return };
    let usual = configuration(&helm, "default");
    assert_eq!(usual.metadata.name.as_deref(), Some("default"));
    expect_test::expect![[r#"
        ClusterConfigurationSpec {
            cluster: "east",
            cluster_set: "causeway",
            encryption: Required,
            pod_prefixes: [],
            pools: Pools {
                vips: [
                    "241.0.0.0/16",
                ],
                mappings: [
                    "242.0.0.0/7",
                    "244.0.0.0/6",
                    "248.0.0.0/6",
                ],
            },
            tunnel_port: 7472,
            introductions: Introductions {
                accept: All,
                clusters: [],
            },
            peers: [],
        }
    "#]]
    .assert_debug_eq(&usual.spec);
}

#[test]
fn the_cluster_is_configured_as_the_values_say() {
    let Some(helm) = helm() else { return };
    expect_test::expect![[r#"
        ClusterConfigurationSpec {
            cluster: "east.example",
            cluster_set: "shop-fleet",
            encryption: Off,
            pod_prefixes: [
                "10.8.0.0/16",
            ],
            pools: Pools {
                vips: [
                    "241.0.0.0/16",
                ],
                mappings: [
                    "242.0.0.0/7",
                    "244.0.0.0/6",
                    "248.0.0.0/6",
                ],
            },
            tunnel_port: 7472,
            introductions: Introductions {
                accept: All,
                clusters: [],
            },
            peers: [
                ConfiguredPeer {
                    cluster: "west",
                    encryption: Some(
                        Required,
                    ),
                    native: [
                        "10.9.0.0/16",
                    ],
                },
            ],
        }
    "#]]
    .assert_debug_eq(&configuration(&helm, "node-port").spec);
}

#[test]
fn hooks_know_their_arguments() {
    let Some(helm) = helm() else { return };
    let mut seen = Vec::new();
    for values in VALUES {
        for (name, object) in objects(&helm, values) {
            let Some(pod) = object.pod().filter(|_| object.is_hook()) else {
                continue;
            };
            let args = pod["containers"][0]["args"].as_array().unwrap();
            let words = args.iter().filter_map(Value::as_str).map(str::to_owned);
            let command = Hook::augment_subcommands(Command::new("hook"));
            let words = std::iter::once("hook".to_owned()).chain(words);
            let parsed = command.try_get_matches_from(words);
            let parsed = parsed.unwrap_or_else(|error| panic!("{values}: {name}: {error}"));
            seen.extend(parsed.subcommand_name().map(str::to_owned));
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["dns", "install", "test", "uninstall"]);
}
