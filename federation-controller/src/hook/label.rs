//! Shell: marks nodes as gateways when nobody has.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use super::gateways::{Candidate, Choice, choose};
use super::refusal::{HookError, refused};
use super::site::{Site, labelled};

/// What marks a node as a gateway.
pub const LABEL: &str = "causeway.dev/gateway";
/// Says that it was this hook that marked it, so that uninstalling takes back no label of somebody else's.
const BY_HOOK: &str = "causeway.dev/gateway-chosen";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Marks up to `count` nodes if none is.
///
/// # Errors
/// When the API server refuses.
pub async fn run(site: &Site, count: usize) -> Result<(), HookError> {
    let api: Api<Node> = Api::all(site.client.clone());
    let nodes = site
        .insist(async || {
            let listed = api.list(&ListParams::default()).await;
            listed.map_err(refused("list", "nodes"))
        })
        .await?;
    let candidates: Vec<Candidate> = nodes.iter().map(candidate).collect();
    let chosen = match choose(&candidates, count) {
        Choice::Made(names) => {
            tracing::info!("gateways: {} (labelled {LABEL} already)", names.join(", "));
            return Ok(());
        }
        Choice::Mark(names) => names,
    };
    for name in &chosen {
        mark(site, &api, name, Some("true")).await?;
        tracing::info!("gateways: {name} labelled {LABEL}=true");
    }
    if chosen.len() < count {
        tracing::warn!("gateways: {} nodes, {count} were asked for", chosen.len());
    }
    Ok(())
}

/// Takes back the labels that this hook gave.
///
/// # Errors
/// When the API server refuses.
pub async fn take_back(site: &Site) -> Result<(), HookError> {
    let api: Api<Node> = Api::all(site.client.clone());
    let nodes = site
        .insist(async || {
            let listed = api.list(&labelled(LABEL)).await;
            listed.map_err(refused("list", "nodes"))
        })
        .await?;
    for node in nodes {
        let annotations = node.metadata.annotations.as_ref();
        if let (Some(name), true) = (
            &node.metadata.name,
            annotations.is_some_and(|a| a.contains_key(BY_HOOK)),
        ) {
            mark(site, &api, name, None).await?;
            tracing::info!("gateways: {name} no longer labelled");
        }
    }
    Ok(())
}

async fn mark(
    site: &Site,
    api: &Api<Node>,
    name: &str,
    value: Option<&str>,
) -> Result<(), HookError> {
    let change = json!({"metadata": {"labels": {LABEL: value}, "annotations": {BY_HOOK: value}}});
    site.insist(async || site.merge(api, "node", name, &change).await)
        .await
}

fn candidate(node: &Node) -> Candidate {
    let label = |key: &str| {
        let labels = node.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let spec = node.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_ref());
    let against = |effect: &str| effect == "NoSchedule" || effect == "NoExecute";
    Candidate {
        name: node.metadata.name.clone().unwrap_or_default(),
        marked: label(LABEL) == Some("true"),
        ready: conditions
            .into_iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True"),
        open: spec.is_none_or(|spec| spec.unschedulable != Some(true))
            && !taints
                .into_iter()
                .flatten()
                .any(|taint| against(&taint.effect)),
        zone: label(ZONE).unwrap_or_default().to_owned(),
    }
}
