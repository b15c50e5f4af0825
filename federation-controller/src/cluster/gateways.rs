//! Shell: the gateways' pods and nodes, as the API server knows them, and a stream to each pod while this controller is
//! active.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::GatewayName;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::Troubles;
use super::follow::follow;
use super::lease::Activity;
use crate::clock::Clock;
use crate::lead::board::{Board, Place};
use crate::lead::call::{self, Calls};

/// Gateways' pods.
pub const PODS: &str = "app.kubernetes.io/name=causeway,app.kubernetes.io/component=gateway";
/// Their nodes.
pub const NODES: &str = "causeway.dev/gateway=true";
/// Of the local service, where the pod does not name it.
const PORT: u16 = 7444;
/// Name of that port in the pod.
const PORT_NAME: &str = "local";

/// Keeps `board` up to date, for ever.
pub async fn watch(
    client: Client,
    namespace: &str,
    board: &watch::Sender<Board>,
    troubles: &Troubles,
    clock: Clock,
) {
    let config = |labels| watcher::Config::default().labels(labels);
    let pods = follow(
        Api::<Pod>::namespaced(client.clone(), namespace),
        config(PODS),
        troubles.of("pods of gateways"),
        |pods| {
            let places = places(pods.values());
            let now = clock.mono_ms();
            board.send_if_modified(|board| board.placed(places, now));
        },
    );
    let nodes = follow(
        Api::<Node>::all(client),
        config(NODES),
        troubles.of("nodes of gateways"),
        |nodes| {
            let unschedulable = |node: &&Node| {
                let spec = node.spec.as_ref();
                spec.and_then(|spec| spec.unschedulable).unwrap_or(false)
            };
            let cordoned = nodes.values().filter(unschedulable);
            let names = cordoned.filter_map(|node| node.metadata.name.as_deref()?.parse().ok());
            let names: BTreeSet<GatewayName> = names.collect();
            board.send_if_modified(|board| board.cordoned(names));
        },
    );
    tokio::join!(pods, nodes);
}

/// By gateway, which is called as its node. Of two pods on one node the one that stays counts.
fn places<'a>(pods: impl Iterator<Item = &'a Pod>) -> BTreeMap<GatewayName, Place> {
    let mut places = BTreeMap::<GatewayName, Place>::new();
    for (name, place) in pods.filter_map(place) {
        let better = places.get(&name).is_none_or(|other| other.terminating);
        if better {
            places.insert(name, place);
        }
    }
    places
}

fn place(pod: &Pod) -> Option<(GatewayName, Place)> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return None;
    }
    let name = spec.node_name.as_deref()?.parse().ok()?;
    let ip = status.pod_ip.as_deref()?;
    let ports = spec
        .containers
        .iter()
        .flat_map(|c| c.ports.iter().flatten());
    let named = ports
        .into_iter()
        .find(|port| port.name.as_deref() == Some(PORT_NAME));
    let port = named.and_then(|port| u16::try_from(port.container_port).ok());
    let port = port.unwrap_or(PORT);
    let conditions = status.conditions.iter().flatten();
    let place = Place {
        address: match ip.contains(':') {
            true => format!("[{ip}]:{port}"),
            false => format!("{ip}:{port}"),
        },
        ready: conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
    };
    Some((name, place))
}

/// A stream to each gateway while this controller is active; for ever.
pub async fn call(calls: Calls, mut activity: watch::Receiver<Activity>, troubles: Troubles) {
    let mut board = calls.board.subscribe();
    let mut streams = BTreeMap::<(GatewayName, String), Stream>::new();
    loop {
        let active = activity.borrow_and_update().term().is_some();
        let places: BTreeSet<_> = board
            .borrow_and_update()
            .places()
            .filter(|_| active)
            .map(|(name, place)| (name.clone(), place.address.clone()))
            .collect();
        streams.retain(|key, _| places.contains(key));
        for (name, address) in places {
            let start = || {
                let trouble = troubles.of(&format!("gateway {name}"));
                let stream = call::run(calls.clone(), name.clone(), address.clone(), trouble);
                Stream(tokio::spawn(stream))
            };
            streams
                .entry((name.clone(), address.clone()))
                .or_insert_with(start);
        }
        let changed = tokio::select! {
            changed = board.changed() => changed,
            changed = activity.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Ends with its owner.
struct Stream(JoinHandle<()>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn gateways_are_called_as_their_nodes() {
        let pod = |node: &str, ip: &str, ready: &str, more: serde_json::Value| {
            let mut pod = json!({
                "metadata": {"name": "p"},
                "spec": {"nodeName": node, "containers": [{"name": "gateway", "ports": [
                    {"name": "session", "containerPort": 7443},
                    {"name": "local", "containerPort": 7544},
                ]}]},
                "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
            });
            for (key, value) in more.as_object().into_iter().flatten() {
                pod["metadata"][key] = value.clone();
            }
            serde_json::from_value::<Pod>(pod).unwrap()
        };
        let gone = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let mut failed = pod("w5", "192.0.2.5", "False", json!({}));
        failed.status.as_mut().unwrap().phase = Some("Failed".into());
        let pods = [
            pod("w1", "192.0.2.1", "True", json!({})),
            pod("w1", "192.0.2.1", "True", gone.clone()),
            pod("w2.example.org", "2001:db8::2", "False", json!({})),
            pod("w3", "192.0.2.3", "True", gone),
            pod("W4_", "192.0.2.4", "True", json!({})),
            failed,
            Pod::default(),
        ];
        let places = places(pods.iter());
        expect![[r#"
            {
                GatewayName(
                    "w1",
                ): Place {
                    address: "192.0.2.1:7544",
                    ready: true,
                    terminating: false,
                },
                GatewayName(
                    "w2.example.org",
                ): Place {
                    address: "[2001:db8::2]:7544",
                    ready: false,
                    terminating: false,
                },
                GatewayName(
                    "w3",
                ): Place {
                    address: "192.0.2.3:7544",
                    ready: true,
                    terminating: true,
                },
            }"#]]
        .assert_eq(&format!("{places:#?}"));
    }
}
