//! What pods may do: no more than they need, whatever the values.

use serde_json::{Value, json};

use crate::chart::{Object, VALUES, helm, objects};

fn containers(pod: &Value) -> Vec<&Value> {
    let lists = [&pod["initContainers"], &pod["containers"]];
    lists
        .into_iter()
        .filter_map(Value::as_array)
        .flatten()
        .collect()
}

fn each_pod(mut look: impl FnMut(&str, &Object, &Value)) {
    let Some(helm) = helm() else { return };
    for values in VALUES {
        for (name, object) in &objects(&helm, values) {
            if let Some(pod) = object.pod() {
                look(&format!("{values}: {name}"), object, pod);
            }
        }
    }
}

#[test]
fn capabilities_are_the_agents_three_and_only_a_mount_is_privileged() {
    each_pod(|place, _, pod| {
        for container in containers(pod) {
            let name = container["name"].as_str().unwrap();
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true, "{place}: {name}");
            if name == "mount-bpffs" {
                continue;
            }
            assert_eq!(context["privileged"], Value::Null, "{place}: {name}");
            assert_eq!(
                context["allowPrivilegeEscalation"], false,
                "{place}: {name}"
            );
            assert_eq!(
                context["seccompProfile"]["type"], "RuntimeDefault",
                "{place}: {name}"
            );
            assert_eq!(
                context["capabilities"]["drop"],
                json!(["ALL"]),
                "{place}: {name}"
            );
            let added = match name {
                "agent" => json!(["BPF", "PERFMON", "NET_ADMIN"]),
                _ => Value::Null,
            };
            assert_eq!(context["capabilities"]["add"], added, "{place}: {name}");
            // Runtimes' own profile denies writes below /sys, and pins are there.
            let armour = match name {
                "agent" => json!({"type": "Unconfined"}),
                _ => Value::Null,
            };
            assert_eq!(context["appArmorProfile"], armour, "{place}: {name}");
        }
    });
}

#[test]
fn only_gateways_and_agents_have_the_nodes_network_and_directories() {
    each_pod(|place, object, pod| {
        let of_node = ["gateway", "agent"]
            .contains(&object.at("/metadata/labels/app.kubernetes.io~1component"));
        assert_eq!(pod["hostNetwork"] == true, of_node, "{place}");
        assert_eq!(pod["hostPID"], Value::Null, "{place}");
        let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
        let mounts = volumes
            .iter()
            .any(|volume| volume.get("hostPath").is_some());
        assert_eq!(mounts, of_node, "{place}");
        // Nobody in particular, or root without the means of root.
        let nobody = pod["securityContext"]["runAsNonRoot"] == true;
        assert_eq!(nobody, !of_node, "{place}");
        // The API server is the controllers' and the hooks' affair.
        assert_eq!(
            pod["automountServiceAccountToken"] == false,
            of_node,
            "{place}"
        );
    });
}

#[test]
fn everything_says_what_it_needs() {
    each_pod(|place, object, pod| {
        for container in containers(pod) {
            let requests = &container["resources"]["requests"];
            assert!(
                requests["cpu"].is_string() && requests["memory"].is_string(),
                "{place}"
            );
        }
        if !object.is_hook() {
            assert!(pod["priorityClassName"].is_string(), "{place}");
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(
                    pod["containers"][0][probe]["exec"].is_object(),
                    "{place}: {probe}"
                );
            }
        }
    });
}

#[test]
fn an_upgrade_changes_nothing_that_may_not_change() {
    each_pod(|place, object, _| {
        let selector = object.value.pointer("/spec/selector/matchLabels");
        for key in selector
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|map| map.keys())
        {
            let known = [
                "app.kubernetes.io/name",
                "app.kubernetes.io/component",
                "causeway.dev/gateway-set",
            ];
            assert!(
                known.contains(&key.as_str()),
                "{place}: {key} in a selector"
            );
        }
    });
}

#[test]
fn roles_name_what_they_allow() {
    let Some(helm) = helm() else { return };
    for values in VALUES {
        for (name, object) in objects(&helm, values) {
            for rule in object.value["rules"].as_array().into_iter().flatten() {
                let text = rule.to_string();
                assert!(!text.contains("\"*\""), "{values}: {name}: {text}");
            }
        }
    }
}
