//! Shell: a few objects of one kind, followed: all of them, by name, whenever something changed. A watch that breaks is
//! begun anew, and until then what was known stays.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use causeway_certs::dial::causes;
use futures::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::api::Trouble;

/// The pause after a failure begins here, doubles, and stays at `PAUSE_MAX`.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// For ever. `told` gets all objects by name: first when they have been listed, then after each change.
pub async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    trouble: Trouble,
    mut told: impl FnMut(&BTreeMap<String, K>),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let (mut known, mut listing) = (BTreeMap::new(), BTreeMap::new());
    let mut pause = PAUSE;
    let mut events = Box::pin(watcher(api, config));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listing.clear(),
            Ok(Event::InitApply(object)) => {
                listing.insert(object.name_any(), object);
            }
            // What was deleted meanwhile shows only now.
            Ok(Event::InitDone) => {
                known = std::mem::take(&mut listing);
                trouble.over();
                pause = PAUSE;
                told(&known);
            }
            Ok(Event::Apply(object)) => {
                known.insert(object.name_any(), object);
                told(&known);
            }
            Ok(Event::Delete(object)) => {
                known.remove(&object.name_any());
                told(&known);
            }
            Err(error) => {
                // A watch that is too old is listed anew, as usual.
                if !matches!(error, watcher::Error::WatchError(_)) {
                    trouble.is(causes(&error));
                }
                tokio::time::sleep(pause).await;
                pause = PAUSE_MAX.min(pause.saturating_mul(2));
            }
        }
    }
}
