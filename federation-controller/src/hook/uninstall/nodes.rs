//! Shell: the agents clean their nodes and stay until all have.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::Value;

use super::AGENTS;
use crate::hook::refusal::{HookError, refused};
use crate::hook::site::{Look, Site, labelled};

/// On the pods of agents that clean; the patch sets it.
const CLEANING: &str = "causeway.dev/cleaning";

/// The patch of the agents' DaemonSet.
pub fn read(path: &Path) -> anyhow::Result<Value> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    serde_saphyr::from_str(&text).with_context(|| shown.to_string())
}

/// Nodes whose kubelet is silent: nothing can be stopped or cleaned there.
pub async fn silent(site: &Site) -> Result<BTreeSet<String>, HookError> {
    let api: Api<Node> = Api::all(site.client.clone());
    let nodes = site
        .insist(async || {
            let listed = api.list(&ListParams::default()).await;
            listed.map_err(refused("list", "nodes"))
        })
        .await?;
    let is_ready = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
        let mut all = conditions.into_iter().flatten();
        all.any(|c| c.type_ == "Ready" && c.status == "True")
    };
    let silent = nodes.iter().filter(|node| !is_ready(node));
    Ok(silent
        .filter_map(|node| node.metadata.name.clone())
        .collect())
}

/// The node that a pod is on.
pub fn of(pod: &Pod) -> Option<&String> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref())
}

/// Has every node with an agent cleaned.
pub async fn clean(site: &Site, patch: &Value) -> Result<(), HookError> {
    let sets: Api<DaemonSet> = Api::namespaced(site.client.clone(), &site.namespace);
    let found = site
        .insist(async || {
            let listed = sets.list(&labelled(AGENTS)).await;
            listed.map_err(refused("list", "daemonsets"))
        })
        .await?;
    let names: Vec<_> = found
        .iter()
        .filter_map(|d| d.metadata.name.as_deref())
        .collect();
    if names.is_empty() {
        tracing::warn!("agents: no DaemonSet is left that could clean the nodes");
        return Ok(());
    }
    let mut nodes: BTreeSet<String> = agents(site).await?.iter().filter_map(of).cloned().collect();
    for node in silent(site).await? {
        if nodes.remove(&node) {
            tracing::warn!(
                "node {node} is not ready and stays as it is; when it is back, remove \
                 /sys/fs/bpf/causeway on it or restart it"
            );
        }
    }
    for name in names {
        let what = format!("DaemonSet {name}");
        site.insist(async || {
            let patch = Patch::Strategic(patch);
            let answer = sets.patch(name, &PatchParams::default(), &patch).await;
            answer.map(drop).map_err(refused("patch", &what))
        })
        .await?;
    }
    site.wait(async || {
        let pods = agents(site).await?;
        let clean: BTreeSet<_> = pods
            .iter()
            .filter(|pod| is_clean(pod))
            .filter_map(of)
            .collect();
        let left: Vec<_> = nodes
            .iter()
            .filter(|node| !clean.contains(node))
            .cloned()
            .collect();
        Ok(if left.is_empty() {
            Look::Done(())
        } else {
            Look::Waiting(format!(
                "agents to clean {} (kubectl -n {} logs -l {AGENTS})",
                left.join(", "),
                site.namespace
            ))
        })
    })
    .await?;
    tracing::info!("nodes: {} clean", nodes.len());
    Ok(())
}

async fn agents(site: &Site) -> Result<Vec<Pod>, HookError> {
    let api: Api<Pod> = Api::namespaced(site.client.clone(), &site.namespace);
    let pods = site
        .insist(async || {
            let listed = api.list(&labelled(AGENTS)).await;
            listed.map_err(refused("list", "pods"))
        })
        .await?;
    Ok(pods.items)
}

/// A pod that cleans is ready when nothing is left.
fn is_clean(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut all = conditions.into_iter().flatten();
    annotations.is_some_and(|a| a.contains_key(CLEANING))
        && pod.metadata.deletion_timestamp.is_none()
        && all.any(|c| c.type_ == "Ready" && c.status == "True")
}
