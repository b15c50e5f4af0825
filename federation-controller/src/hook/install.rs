//! Shell: before an install and an upgrade: definitions of custom resources, the configuration of this cluster, and the
//! certificate that pods know the controller by, so that they find it when they start.

use std::path::Path;

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::Value;

use super::definitions::{Decision, VERSION, decide};
use super::refusal::{HookError, refused};
use super::site::{Look, Site};
use crate::cluster::pin::{self, NoPin};
use crate::crd::{self, CONFIGURATION, ClusterConfiguration, Custom};

/// Who owns the fields that hooks apply: the user's values.
const MANAGER: &str = "causeway-helm";
const ENROLMENT: &str = "Secret and ConfigMap causeway-enrolment";
/// Ours; it goes into each definition.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes or updates every definition, applies the configuration, and makes the enrolment certificate where there is none.
///
/// # Errors
/// When the file cannot be used or the API server refuses.
pub async fn run(site: &Site, configuration: &Path) -> anyhow::Result<()> {
    let wanted = read(configuration)?;
    for definition in crd::definitions()? {
        define(site, definition).await?;
    }
    apply(site, &wanted).await?;
    site.insist(
        async || match pin::ensure(&site.client, &site.namespace).await {
            Ok(_) => Ok(()),
            Err(NoPin::Kube(error)) => Err(refused("write", ENROLMENT)(error)),
            Err(error) => Err(HookError::Certificate(error)),
        },
    )
    .await?;
    tracing::info!("{ENROLMENT}: there");
    Ok(())
}

/// The configuration, as an object of which only what the file says is ours.
fn read(path: &Path) -> anyhow::Result<Value> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    let value: Value = serde_saphyr::from_str(&text).with_context(|| shown.to_string())?;
    let typed: ClusterConfiguration =
        serde_json::from_value(value.clone()).with_context(|| shown.to_string())?;
    if typed.metadata.name.as_deref() != Some(CONFIGURATION) {
        anyhow::bail!("{shown}: metadata.name must be {CONFIGURATION}");
    }
    Ok(value)
}

async fn define(site: &Site, mut wanted: CustomResourceDefinition) -> Result<(), HookError> {
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let what = format!("CustomResourceDefinition {name}");
    let api: Api<CustomResourceDefinition> = Api::all(site.client.clone());
    let found = site
        .insist(async || api.get_opt(&name).await.map_err(refused("get", &what)))
        .await?;
    let done = match decide(found.as_ref(), &wanted, OWN_VERSION)? {
        Decision::Create => "made",
        Decision::Update => "up to date",
        Decision::LeaveNewer(version) => {
            tracing::info!("{what}: left as it is, of the newer version {version}");
            return Ok(());
        }
        Decision::LeaveForeign(version) => {
            tracing::info!("{what}: somebody else's, used as it is by {version}");
            return Ok(());
        }
    };
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    annotations.insert(VERSION.to_owned(), OWN_VERSION.to_owned());
    let params = PatchParams::apply(MANAGER).force();
    site.insist(async || {
        let patch = Patch::Apply(&wanted);
        let answer = api.patch(&name, &params, &patch).await;
        answer.map(drop).map_err(refused("patch", &what))
    })
    .await?;
    site.wait(async || {
        let found = api.get_opt(&name).await.map_err(refused("get", &what))?;
        Ok(match found.as_ref().map(is_served) {
            Some(true) => Look::Done(()),
            _ => Look::Waiting(format!("the API server to serve {name}")),
        })
    })
    .await?;
    tracing::info!("{what}: {done}");
    Ok(())
}

fn is_served(definition: &CustomResourceDefinition) -> bool {
    let status = definition.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut all = conditions.into_iter().flatten();
    all.any(|c| c.type_ == "Established" && c.status == "True")
}

async fn apply(site: &Site, wanted: &Value) -> Result<(), HookError> {
    let version = ClusterConfiguration::VERSIONS.first().copied();
    let (api, _) = site.custom::<ClusterConfiguration>(version.unwrap_or_default());
    let what = format!("{} {CONFIGURATION}", ClusterConfiguration::KIND);
    let params = PatchParams::apply(MANAGER).force();
    site.wait(async || {
        let answer = api
            .patch(CONFIGURATION, &params, &Patch::Apply(wanted))
            .await;
        match answer {
            Ok(_) => Ok(Look::Done(())),
            // A kind is served a moment after its definition says so.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Look::Waiting(format!(
                "the API server to know {}",
                ClusterConfiguration::KIND
            ))),
            Err(error) => Err(refused("patch", &what)(error)),
        }
    })
    .await?;
    tracing::info!("{what}: applied");
    Ok(())
}
