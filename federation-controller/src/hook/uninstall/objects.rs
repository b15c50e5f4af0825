//! Shell: what the controller wrote goes: objects that carry its mark, its conditions, its leases and Secrets.

use futures::{TryStreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::crd::{
    self, ClusterConfiguration, ClusterPeer, ClusterProperty, Custom, ServiceExport, ServiceImport,
};
use crate::hook::definitions::{is_ours, served};
use crate::hook::refusal::{HookError, refused};
use crate::hook::site::{Look, Site, labelled};

/// On everything that the controller writes in other people's namespaces.
const MARK: &str = "causeway.dev/managed-by=causeway";
/// On everything that it writes in its own.
const OWN: &str = "app.kubernetes.io/managed-by=causeway";
/// Who owns the conditions on ServiceExports.
const MANAGER: &str = "causeway-controller";
/// Names of Secrets that pairing lives in.
const STATE: [&str; 2] = ["causeway-ca", "causeway-state-"];
/// What a failed hook and a failed test leave for their logs.
const FAILED_JOBS: [&str; 2] = ["causeway-hook-install", "causeway-hook-dns"];
const FAILED_TEST: &str = "causeway-hook-test";
/// Deletions at once.
const AT_ONCE: usize = 16;

/// Removes all that was written; pairing only when asked for.
pub async fn remove(site: &Site, state: bool) -> Result<(), HookError> {
    marked::<ServiceImport>(site, MARK).await?;
    marked_slices(site).await?;
    conditions(site).await?;
    marked::<ClusterProperty>(site, MARK).await?;
    marked::<ClusterPeer>(site, MARK).await?;
    marked::<ClusterConfiguration>(site, "").await?;
    own::<Lease>(site, "leases", |_| true).await?;
    own::<ConfigMap>(site, "configmaps", |_| true).await?;
    let goes = |name: &str| state || !STATE.iter().any(|kept| name.starts_with(kept));
    own::<Secret>(site, "secrets", goes).await?;
    failures(site).await?;
    if !state {
        tracing::info!(
            "pairing is kept: Secrets causeway-ca and causeway-state-* in {}, and each gateway's directory",
            site.namespace
        );
    }
    Ok(())
}

/// The definitions that are ours, and every object of them.
pub async fn remove_definitions(site: &Site) -> Result<(), HookError> {
    let api: Api<CustomResourceDefinition> = Api::all(site.client.clone());
    for definition in crd::definitions()? {
        let name = definition.metadata.name.unwrap_or_default();
        let what = format!("CustomResourceDefinition {name}");
        let found = site
            .insist(async || api.get_opt(&name).await.map_err(refused("get", &what)))
            .await?;
        if !found.as_ref().is_some_and(is_ours) {
            continue;
        }
        delete(site, &api, &what, &name).await?;
        site.wait(async || {
            let found = api.get_opt(&name).await.map_err(refused("get", &what))?;
            Ok(match found {
                None => Look::Done(()),
                Some(_) => Look::Waiting(format!("the objects of {name} to go")),
            })
        })
        .await?;
        tracing::info!("{what}: removed");
    }
    Ok(())
}

/// The version by which objects of a kind can be reached; None when there is no such kind here.
async fn reached<K: Custom>(site: &Site) -> Result<Option<String>, HookError> {
    let api: Api<CustomResourceDefinition> = Api::all(site.client.clone());
    let name = format!("{}.{}", K::PLURAL, K::GROUP);
    let what = format!("CustomResourceDefinition {name}");
    let found = site
        .insist(async || api.get_opt(&name).await.map_err(refused("get", &what)))
        .await?;
    let all = crd::definitions()?;
    let wanted = all
        .iter()
        .find(|d| d.metadata.name.as_deref() == Some(&name));
    Ok(found
        .zip(wanted)
        .and_then(|(found, wanted)| served(&found, wanted)))
}

async fn marked<K: Custom>(site: &Site, selector: &str) -> Result<(), HookError> {
    let Some(version) = reached::<K>(site).await? else {
        return Ok(());
    };
    let (all, resource) = site.custom::<K>(&version);
    let objects = list(site, &all, K::PLURAL, selector).await?;
    let count = objects.len();
    stream::iter(objects.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, async |object| {
            let api: Api<DynamicObject> = match object.namespace() {
                Some(namespace) => Api::namespaced_with(site.client.clone(), &namespace, &resource),
                None => all.clone(),
            };
            let what = format!("{} {}", K::KIND, object.name_any());
            delete(site, &api, &what, &object.name_any()).await
        })
        .await?;
    tracing::info!("{}: {count} removed", K::PLURAL);
    Ok(())
}

async fn marked_slices(site: &Site) -> Result<(), HookError> {
    let all: Api<EndpointSlice> = Api::all(site.client.clone());
    let objects = list(site, &all, "endpointslices", MARK).await?;
    let count = objects.len();
    stream::iter(objects.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, async |object| {
            let namespace = object.namespace().unwrap_or_default();
            let api: Api<EndpointSlice> = Api::namespaced(site.client.clone(), &namespace);
            let what = format!("EndpointSlice {namespace}/{}", object.name_any());
            delete(site, &api, &what, &object.name_any()).await
        })
        .await?;
    tracing::info!("endpointslices: {count} removed");
    Ok(())
}

/// ServiceExports are their users'; what we said on them is ours.
async fn conditions(site: &Site) -> Result<(), HookError> {
    let Some(version) = reached::<ServiceExport>(site).await? else {
        return Ok(());
    };
    let (all, resource) = site.custom::<ServiceExport>(&version);
    let exports = list(site, &all, ServiceExport::PLURAL, "").await?;
    let told = exports.into_iter().filter(|export| {
        let mut fields = export.managed_fields().iter();
        fields.any(|field| field.manager.as_deref() == Some(MANAGER))
    });
    let told: Vec<_> = told.collect();
    let count = told.len();
    let params = PatchParams::apply(MANAGER).force();
    stream::iter(told.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, async |export| {
            let (namespace, name) = (export.namespace().unwrap_or_default(), export.name_any());
            let api: Api<DynamicObject> =
                Api::namespaced_with(site.client.clone(), &namespace, &resource);
            let nothing = json!({
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": name},
            });
            let what = format!("ServiceExport {namespace}/{name} (status)");
            site.insist(async || {
                let answer = api
                    .patch_status(&name, &params, &Patch::Apply(&nothing))
                    .await;
                match answer {
                    Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                    answer => answer.map(drop).map_err(refused("patch", &what)),
                }
            })
            .await
        })
        .await?;
    tracing::info!("serviceexports: conditions of {count} removed");
    Ok(())
}

async fn failures(site: &Site) -> Result<(), HookError> {
    let jobs: Api<Job> = Api::namespaced(site.client.clone(), &site.namespace);
    for name in FAILED_JOBS {
        delete(site, &jobs, &format!("Job {name}"), name).await?;
    }
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), &site.namespace);
    delete(site, &pods, &format!("Pod {FAILED_TEST}"), FAILED_TEST).await
}

/// Marked objects of a kind in our own namespace, those that `goes`.
async fn own<K>(site: &Site, plural: &str, goes: impl Fn(&str) -> bool) -> Result<(), HookError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(site.client.clone(), &site.namespace);
    for object in list(site, &api, plural, OWN).await? {
        let name = object.name_any();
        if goes(&name) {
            delete(site, &api, &format!("{plural} {name}"), &name).await?;
            tracing::info!("{plural}: {name} removed");
        }
    }
    Ok(())
}

async fn list<K>(
    site: &Site,
    api: &Api<K>,
    plural: &str,
    selector: &str,
) -> Result<Vec<K>, HookError>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let params = match selector {
        "" => ListParams::default(),
        selector => labelled(selector),
    };
    site.insist(async || {
        let listed = api.list(&params).await.map_err(refused("list", plural))?;
        Ok(listed.items)
    })
    .await
}

async fn delete<K>(site: &Site, api: &Api<K>, what: &str, name: &str) -> Result<(), HookError>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    site.insist(
        async || match api.delete(name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            answer => answer.map(drop).map_err(refused("delete", what)),
        },
    )
    .await
}
