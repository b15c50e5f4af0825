//! Shell: what is listed and watched, each kind by itself; what comes goes to the mirror. A watch that breaks is begun anew,
//! and until then what was known stays. A kind that is not served yet is asked for again.

use std::time::Duration;

use causeway_certs::dial::causes;
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc;

use super::api::{REQUEST, Trouble, Troubles, in_time};
use super::items::{item, place, uid};
use crate::mirror::{Change, Item, Source};

/// The pause after a failure begins here, doubles, and stays at `PAUSE_MAX`.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A watch of which nothing bad is heard for so long works: kube gives up connecting after 30 s.
const CALM: Duration = Duration::from_secs(40);
/// Objects of one answer to a list.
const PAGE: u32 = 500;

/// Why a kind cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// Asking did not work.
    #[error(transparent)]
    Asked(#[from] kube::Error),
    /// Its definition is missing, or has none of our versions.
    #[error(
        "the API server does not serve {plural}.{group}; install its CustomResourceDefinition (helm upgrade does)"
    )]
    Absent {
        /// Of the kind.
        group: &'static str,
        /// Of the kind.
        plural: &'static str,
    },
}

/// How the API server serves a kind.
///
/// # Errors
/// When it does not, or does not say.
pub async fn served(client: &Client, source: Source) -> Result<ApiResource, NotServed> {
    let (group, versions, kind, plural) = place(source);
    let resource = |version: &str| ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: match group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        },
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    if let ([only], "" | "discovery.k8s.io") = (versions, group) {
        return Ok(resource(only));
    }
    for version in versions {
        let api = format!("{group}/{version}");
        let listed = client.list_api_group_resources(&api);
        let listed = super::api::missing(in_time(REQUEST, listed).await)?;
        let mut resources = listed.into_iter().flat_map(|list| list.resources);
        if resources.any(|served| served.name == plural) {
            return Ok(resource(version));
        }
    }
    Err(NotServed::Absent { group, plural })
}

/// Follows a source for ever. `known` hears how it is served.
pub async fn reflect(
    client: Client,
    source: Source,
    changes: mpsc::Sender<Change>,
    known: impl Fn(ApiResource),
    troubles: Troubles,
) {
    let (_, _, _, plural) = place(source);
    let trouble = troubles.of(plural);
    let mut pause = PAUSE;
    let resource = loop {
        match served(&client, source).await {
            Ok(resource) => break resource,
            Err(error) => trouble.is(causes(&error)),
        }
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause.saturating_mul(2));
    };
    known(resource.clone());
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    follow(api, source, &resource, &changes, &trouble).await;
}

async fn follow(
    api: Api<DynamicObject>,
    source: Source,
    resource: &ApiResource,
    changes: &mpsc::Sender<Change>,
    trouble: &Trouble,
) {
    let config = watcher::Config::default().page_size(PAGE);
    let mut events = Box::pin(watcher(api, config));
    // While there is one, it is not known whether the API server answers.
    let mut listing = None::<Vec<Item>>;
    let mut pause = PAUSE;
    loop {
        let event = match tokio::time::timeout(CALM, events.next()).await {
            Ok(Some(event)) => Some(event),
            Ok(None) => return,
            Err(_) => None,
        };
        // A watch that begins again says nothing of it, and a list is announced before it is asked for.
        let works = match &event {
            Some(event) => matches!(event, Ok(event) if !matches!(event, Event::Init)),
            None => listing.is_none(),
        };
        if works {
            trouble.over();
            pause = PAUSE;
        }
        let Some(event) = event else { continue };
        let change = match event {
            Ok(Event::Init) => {
                listing = Some(Vec::new());
                None
            }
            Ok(Event::InitApply(object)) => {
                let items = item(source, value(object, resource));
                listing.get_or_insert_default().extend(items);
                None
            }
            Ok(Event::InitDone) => {
                let items = listing.take().unwrap_or_default();
                Some(Change::Listed(source, items))
            }
            Ok(Event::Apply(object)) => {
                item(source, value(object, resource)).map(|item| Change::Put(source, item))
            }
            Ok(Event::Delete(object)) => {
                let object = value(object, resource);
                let uid = uid(&object).to_owned();
                item(source, object).map(|item| Change::Gone(source, item.key, uid))
            }
            Err(error) => {
                // A watch that is too old is listed anew, as usual.
                if !matches!(error, watcher::Error::WatchError(_)) {
                    trouble.is(causes(&error));
                }
                tokio::time::sleep(pause).await;
                pause = PAUSE_MAX.min(pause.saturating_mul(2));
                None
            }
        };
        if let Some(change) = change
            && changes.send(change).await.is_err()
        {
            return;
        }
    }
}

/// Lists leave out what kind their objects are.
pub(super) fn value(object: DynamicObject, resource: &ApiResource) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.insert("apiVersion".to_owned(), resource.api_version.clone().into());
        fields.insert("kind".to_owned(), resource.kind.clone().into());
    }
    value
}

#[cfg(test)]
mod tests;
