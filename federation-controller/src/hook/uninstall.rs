//! Shell: before an uninstall: processes stop, every node is cleaned, what was written goes. In this order, so that
//! nobody writes again what was removed. Pairing outlives it unless told otherwise: whoever installs anew is
//! known to the peers.

mod nodes;
mod objects;

use std::path::PathBuf;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use super::dns::{self, CoreDns};
use super::label;
use super::refusal::{HookError, refused};
use super::site::{Look, Site, labelled};

const CONTROLLERS: &str = "app.kubernetes.io/name=causeway,app.kubernetes.io/component=controller";
const GATEWAYS: &str = "app.kubernetes.io/name=causeway,app.kubernetes.io/component=gateway";
const AGENTS: &str = "app.kubernetes.io/name=causeway,app.kubernetes.io/component=agent";

/// How much goes.
#[derive(Debug, clap::Args)]
pub struct What {
    /// Change of the agents' DaemonSet that makes them clean their node and wait, as a strategic merge patch in YAML
    #[arg(long, value_name = "FILE")]
    clean: PathBuf,
    /// Leave CoreDNS alone
    #[arg(long)]
    keep_coredns: bool,
    /// Remove CA, pairing and allotments too: peers have to be joined anew
    #[arg(long)]
    delete_state: bool,
    /// Remove the custom resources' definitions that are ours, and with them every object of them
    #[arg(long)]
    delete_definitions: bool,
}

/// Takes everything back that Helm does not know of.
///
/// # Errors
/// When a node could not be cleaned or the API server refuses; what was done stays done, and another run goes on.
pub async fn run(site: &Site, what: &What, coredns: &CoreDns) -> anyhow::Result<()> {
    let patch = nodes::read(&what.clean)?;
    stop_controllers(site).await?;
    if !what.keep_coredns {
        dns::put_back(site, coredns).await?;
    }
    stop_gateways(site).await?;
    nodes::clean(site, &patch).await?;
    objects::remove(site, what.delete_state).await?;
    label::take_back(site).await?;
    if what.delete_definitions {
        objects::remove_definitions(site).await?;
    }
    Ok(())
}

async fn stop_controllers(site: &Site) -> Result<(), HookError> {
    let api: Api<Deployment> = Api::namespaced(site.client.clone(), &site.namespace);
    let found = site
        .insist(async || {
            let listed = api.list(&labelled(CONTROLLERS)).await;
            listed.map_err(refused("list", "deployments"))
        })
        .await?;
    let none = json!({"spec": {"replicas": 0}});
    for name in found.iter().filter_map(|d| d.metadata.name.as_deref()) {
        site.insist(async || site.merge(&api, "Deployment", name, &none).await)
            .await?;
    }
    gone(site, CONTROLLERS).await?;
    tracing::info!("controllers: stopped");
    Ok(())
}

async fn stop_gateways(site: &Site) -> Result<(), HookError> {
    let api: Api<DaemonSet> = Api::namespaced(site.client.clone(), &site.namespace);
    let found = site
        .insist(async || {
            let listed = api.list(&labelled(GATEWAYS)).await;
            listed.map_err(refused("list", "daemonsets"))
        })
        .await?;
    for name in found.iter().filter_map(|d| d.metadata.name.as_deref()) {
        site.insist(
            async || match api.delete(name, &DeleteParams::background()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                answer => {
                    let what = format!("DaemonSet {name}");
                    answer.map(drop).map_err(refused("delete", &what))
                }
            },
        )
        .await?;
    }
    gone(site, GATEWAYS).await?;
    tracing::info!("gateways: stopped");
    Ok(())
}

/// Waits until no pod of the selector is left, but for those whose node cannot tell.
async fn gone(site: &Site, selector: &str) -> Result<(), HookError> {
    let api: Api<Pod> = Api::namespaced(site.client.clone(), &site.namespace);
    let silent = nodes::silent(site).await?;
    site.wait(async || {
        let pods = api
            .list(&labelled(selector))
            .await
            .map_err(refused("list", "pods"))?;
        let mut left: Vec<_> = pods
            .iter()
            .filter(|pod| !nodes::of(pod).is_some_and(|node| silent.contains(node)))
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        left.sort();
        Ok(if left.is_empty() {
            Look::Done(())
        } else {
            Look::Waiting(format!("pods to end: {}", left.join(", ")))
        })
    })
    .await
}
