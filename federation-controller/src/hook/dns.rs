//! Shell: CoreDNS is told to ask Causeway for the clusterset's zone, and put back when Causeway goes.

use std::net::IpAddr;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::Api;
use serde_json::json;

use super::corefile::{ZONE, with_forward, without_forward};
use super::refusal::{HookError, refused};
use super::site::{Look, Site};

/// On CoreDNS' pods: a change of it makes new pods, which read the new file at once.
const FORWARDS: &str = "causeway.dev/clusterset-dns";

/// Where CoreDNS is.
#[derive(Debug, Clone, clap::Args)]
pub struct CoreDns {
    /// Namespace of CoreDNS
    #[arg(id = "coredns-namespace", long, default_value = "kube-system")]
    namespace: String,
    /// ConfigMap that holds its Corefile
    #[arg(id = "coredns-configmap", long, default_value = "coredns")]
    configmap: String,
    /// Key of the Corefile in it
    #[arg(id = "coredns-key", long, default_value = "Corefile")]
    key: String,
    /// Deployment whose pods are made anew, so that they take the change at once; empty: it is left to CoreDNS
    #[arg(id = "coredns-deployment", long, default_value = "coredns")]
    deployment: String,
}

impl CoreDns {
    fn what(&self) -> String {
        format!("ConfigMap {}/{}", self.namespace, self.configmap)
    }

    fn configmaps(&self, site: &Site) -> Api<ConfigMap> {
        Api::namespaced(site.client.clone(), &self.namespace)
    }
}

/// Forwards the zone to the Service of that name. A CoreDNS that does not come up with it gets its file back.
///
/// # Errors
/// When CoreDNS is not where it is said to be, its file cannot take the block, or the API server refuses.
pub async fn forward(site: &Site, at: &CoreDns, service: &str) -> Result<(), HookError> {
    let server = address(site, service).await?;
    let before = write(site, at, Some(server)).await?;
    let Err(error) = restart(site, at, Some(server)).await else {
        tracing::info!("{ZONE}: CoreDNS asks {server} (Service {service})");
        return Ok(());
    };
    if before {
        tracing::warn!(
            "CoreDNS does not come up with the forward of {ZONE}; putting its file back"
        );
        write(site, at, None).await?;
        annotate(site, at, None).await?;
    }
    Err(error)
}

/// Takes the block out.
///
/// # Errors
/// When its file holds half a block or the API server refuses.
pub async fn put_back(site: &Site, at: &CoreDns) -> Result<(), HookError> {
    match write(site, at, None).await {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(HookError::Absent { what, .. }) => {
            tracing::info!("{what} is not there, so nothing is to be put back");
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    restart(site, at, None).await?;
    tracing::info!("{ZONE}: CoreDNS is as it was");
    Ok(())
}

/// The Service's cluster address.
async fn address(site: &Site, service: &str) -> Result<IpAddr, HookError> {
    let api: Api<Service> = Api::namespaced(site.client.clone(), &site.namespace);
    let what = format!("Service {}/{service}", site.namespace);
    let found = site
        .insist(async || api.get_opt(service).await.map_err(refused("get", &what)))
        .await?;
    let address = found
        .and_then(|service| service.spec)
        .and_then(|spec| spec.cluster_ip);
    address
        .and_then(|address| address.parse().ok())
        .ok_or(HookError::Absent {
            what: format!("a cluster address of {what}"),
            advice: "the chart makes that Service; look at it with kubectl",
        })
}

/// Writes the file with or without the block; false when it was so already.
async fn write(site: &Site, at: &CoreDns, server: Option<IpAddr>) -> Result<bool, HookError> {
    let api = at.configmaps(site);
    let what = at.what();
    site.insist(async || {
        let found = api.get_opt(&at.configmap).await.map_err(refused("get", &what))?;
        let text = found.as_ref().and_then(|map| map.data.as_ref()).and_then(|data| data.get(&at.key));
        let (Some(map), Some(text)) = (&found, text) else {
            return Err(HookError::Absent {
                what: format!("{what}, key {}", at.key),
                advice: "say where CoreDNS is by the values below `dns.coredns`, or install with \
                         `dns.coredns.forward=false` and forward clusterset.local to Service causeway-dns yourself",
            });
        };
        let wanted = match server {
            Some(server) => with_forward(text, server),
            None => without_forward(text),
        };
        let place = format!("{what}, key {}", at.key);
        let wanted = wanted.map_err(|source| HookError::Corefile { what: place, source })?;
        if wanted == *text {
            return Ok(false);
        }
        // The version makes a write of somebody else's in between a conflict, and we look again.
        let version = map.metadata.resource_version.as_deref();
        let change = json!({"metadata": {"resourceVersion": version}, "data": {&at.key: wanted}});
        site.merge(&api, "ConfigMap", &at.configmap, &change).await?;
        tracing::info!("{what}: written");
        Ok(true)
    })
    .await
}

/// Makes CoreDNS' pods anew and waits until they serve.
async fn restart(site: &Site, at: &CoreDns, server: Option<IpAddr>) -> Result<(), HookError> {
    if at.deployment.is_empty() || !annotate(site, at, server).await? {
        tracing::info!("CoreDNS takes its new file when it looks next, within two minutes");
        return Ok(());
    }
    let api: Api<Deployment> = Api::namespaced(site.client.clone(), &at.namespace);
    let what = format!("Deployment {}/{}", at.namespace, at.deployment);
    site.wait(async || {
        let found = api
            .get(&at.deployment)
            .await
            .map_err(refused("get", &what))?;
        Ok(if is_rolled_out(&found) {
            Look::Done(())
        } else {
            Look::Waiting(format!("{what} to bring up pods with the new file"))
        })
    })
    .await
}

/// Marks the pods' template; false when there is no such Deployment.
async fn annotate(site: &Site, at: &CoreDns, server: Option<IpAddr>) -> Result<bool, HookError> {
    let api: Api<Deployment> = Api::namespaced(site.client.clone(), &at.namespace);
    let what = format!("Deployment {}/{}", at.namespace, at.deployment);
    let mark = server.map(|server| server.to_string());
    let annotations = json!({"metadata": {"annotations": {FORWARDS: mark}}});
    let change = json!({"spec": {"template": annotations}});
    site.insist(async || {
        let found = api
            .get_opt(&at.deployment)
            .await
            .map_err(refused("get", &what))?;
        if found.is_none() {
            tracing::warn!("{what} does not exist; name it by `dns.coredns.deployment`");
            return Ok(false);
        }
        site.merge(&api, "Deployment", &at.deployment, &change)
            .await?;
        Ok(true)
    })
    .await
}

fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let Some(status) = &deployment.status else {
        return false;
    };
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
}
