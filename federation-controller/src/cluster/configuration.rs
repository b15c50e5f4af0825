//! Shell: ClusterConfiguration `default`: what it says, and the part of its status about leader and gateways.

use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::causes;
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::api::{REQUEST, Trouble, Troubles, in_time, missing};
use super::lease::Activity;
use crate::clock::Clock;
use crate::crd::{CONFIGURATION, ClusterConfiguration, Custom};
use crate::enrolment::{Home, Standing};
use crate::lead::board::Board;
use crate::lead::order::Order;
use crate::lead::settings::{Settings, home, settings};
use crate::lead::told::{Facts, PATIENCE_MS, status};

/// Field manager of what is written here; the rest of the status is another's.
pub const MANAGER: &str = "causeway-controller-authority";
/// Between two writes of the status.
const PAUSE: Duration = Duration::from_secs(1);
/// After a write that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct Configured {
    /// As it is.
    pub object: Arc<ClusterConfiguration>,
    /// Which cluster this is.
    pub home: Home,
    /// What gateways are told.
    pub settings: Settings,
}

fn resource() -> ApiResource {
    let version = ClusterConfiguration::VERSIONS.first().copied();
    let kind = GroupVersionKind::gvk(
        ClusterConfiguration::GROUP,
        version.unwrap_or_default(),
        ClusterConfiguration::KIND,
    );
    ApiResource::from_gvk_with_plural(&kind, ClusterConfiguration::PLURAL)
}

/// Keeps `configured` up to date, for ever. Who deletes the configuration changes nothing.
pub async fn follow(
    client: Client,
    configured: &watch::Sender<Option<Configured>>,
    troubles: &Troubles,
) {
    let resource = resource();
    let objects = Api::<DynamicObject>::all_with(client, &resource);
    let config = watcher::Config::default().fields("metadata.name=default");
    let trouble = troubles.of("ClusterConfiguration default");
    let mut events = Box::pin(watcher::watcher(objects, config));
    while let Some(event) = events.next().await {
        let object = match event {
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => object,
            Ok(watcher::Event::InitDone) => {
                if configured.borrow().is_none() {
                    trouble.is("there is none; it says which cluster this is".to_owned());
                }
                continue;
            }
            Ok(_) => continue,
            Err(error) => {
                if !matches!(error, watcher::Error::WatchError(_)) {
                    trouble.is(causes(&error));
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if object.metadata.name.as_deref() != Some(CONFIGURATION) {
            continue;
        }
        match read(object) {
            Ok(next) => {
                trouble.over();
                configured.send_replace(Some(next));
            }
            Err(why) => trouble.is(why),
        }
    }
}

fn read(object: DynamicObject) -> Result<Configured, String> {
    let mut value = object.data;
    let metadata = serde_json::to_value(&object.metadata).map_err(|e| e.to_string())?;
    if let Value::Object(fields) = &mut value {
        fields.insert("metadata".to_owned(), metadata);
    }
    let object: ClusterConfiguration = serde_json::from_value(value).map_err(|e| e.to_string())?;
    let home = home(&object.spec).map_err(|error| error.to_string())?;
    let settings = settings(&object.spec, &home);
    Ok(Configured {
        object: Arc::new(object),
        home,
        settings,
    })
}

/// What the status is made of.
pub struct Telling {
    /// The configuration as it is.
    pub configured: watch::Receiver<Option<Configured>>,
    /// Whether this controller writes.
    pub activity: watch::Receiver<Activity>,
    /// The gateways.
    pub board: watch::Receiver<Board>,
    /// Who leads.
    pub orders: watch::Receiver<Option<Arc<Order>>>,
    /// Whether there is a CA.
    pub standing: watch::Receiver<Standing>,
    /// Tells times.
    pub clock: Clock,
}

impl Telling {
    /// Keeps the status up to date while this controller is active, for ever.
    pub async fn run(mut self, client: Client, troubles: &Troubles) {
        let resource = resource();
        let objects = Api::<DynamicObject>::all_with(client, &resource);
        let trouble = troubles.of("status of ClusterConfiguration default");
        let mut active_since = None;
        loop {
            let now = self.clock.mono_ms();
            if self.activity.borrow_and_update().term().is_none() {
                active_since = None;
            } else {
                active_since = active_since.or(Some(now));
            }
            let mut pause = PAUSE;
            if let Some(since) = active_since
                && let Some(wanted) = self.wanted(now.saturating_sub(since))
                && write(&objects, &resource, wanted, &trouble).await.is_err()
            {
                pause = AGAIN;
            }
            // What comes meanwhile is told together.
            tokio::time::sleep(pause).await;
            if !self.woken().await {
                return;
            }
        }
    }

    fn wanted(&mut self, active_ms: u64) -> Option<Value> {
        let board = self.board.borrow_and_update();
        let order = self.orders.borrow_and_update();
        let configured = self.configured.borrow_and_update();
        let configured = configured.as_ref()?;
        if order.is_none() && active_ms < PATIENCE_MS {
            return None;
        }
        let standing = self.standing.borrow_and_update();
        let no_authority = match &*standing {
            Standing::Absent(why, _) => Some(why.as_str()),
            Standing::Ready(_) | Standing::Standby => None,
        };
        let facts = Facts {
            board: &board,
            order: order.as_deref(),
            wrong: configured.settings.wrong.as_deref(),
            no_authority,
        };
        status(&configured.object, &facts, self.clock.wall())
    }

    async fn woken(&mut self) -> bool {
        let changed = tokio::time::timeout(AGAIN, async {
            tokio::select! {
                changed = self.configured.changed() => changed,
                changed = self.activity.changed() => changed,
                changed = self.board.changed() => changed,
                changed = self.orders.changed() => changed,
                changed = self.standing.changed() => changed,
            }
        });
        !matches!(changed.await, Ok(Err(_)))
    }
}

async fn write(
    objects: &Api<DynamicObject>,
    resource: &ApiResource,
    status: Value,
    trouble: &Trouble,
) -> Result<(), kube::Error> {
    let body = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": CONFIGURATION},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&body);
    let written = in_time(
        REQUEST,
        objects.patch_status(CONFIGURATION, &params, &patch),
    )
    .await;
    // It was deleted meanwhile: there is nothing to tell.
    let written = missing(written).map(|_| ());
    trouble.outcome(&written);
    written
}
