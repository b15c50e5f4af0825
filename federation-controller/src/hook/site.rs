//! Shell: the API server as hooks see it: how long to insist, how to wait, and a line for each step.

use std::time::Duration;

use kube::Client;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, api::ListParams};
use tokio::time::Instant;

use super::refusal::{HookError, refused};
use crate::crd::Custom;

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(300);

/// Where a hook works, and until when.
pub struct Site {
    /// To the API server.
    pub client: Client,
    /// The release's namespace.
    pub namespace: String,
    patience: Duration,
    until: Instant,
}

/// What a look found.
pub enum Look<T> {
    /// What was waited for.
    Done(T),
    /// Not yet; what is waited for.
    Waiting(String),
}

impl Site {
    /// A hook that starts now and may take as long as `patience`.
    #[must_use]
    pub fn new(client: Client, namespace: String, patience: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the shell's clock")]
        let now = Instant::now();
        let until = now + patience;
        Self {
            client,
            namespace,
            patience,
            until,
        }
    }

    fn is_late(&self) -> bool {
        #[expect(clippy::disallowed_methods, reason = "the shell's clock")]
        let now = Instant::now();
        now >= self.until
    }

    /// Asks again while the answer is one that passes.
    ///
    /// # Errors
    /// The last answer, when it does not pass or time is up.
    pub async fn insist<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, HookError>,
    ) -> Result<T, HookError> {
        let mut told = false;
        loop {
            match ask().await {
                Err(error) if error.passes() && !self.is_late() => {
                    if !told {
                        tracing::warn!("{error}; trying again");
                        told = true;
                    }
                    tokio::time::sleep(LOOK).await;
                }
                answer => return answer,
            }
        }
    }

    /// Looks until it is done, telling what is waited for whenever that changes.
    ///
    /// # Errors
    /// When a look fails for good or time is up.
    pub async fn wait<T>(
        &self,
        look: impl AsyncFn() -> Result<Look<T>, HookError>,
    ) -> Result<T, HookError> {
        let mut told = String::new();
        loop {
            let what = match self.insist(&look).await? {
                Look::Done(found) => return Ok(found),
                Look::Waiting(what) => what,
            };
            if self.is_late() {
                let after = self.patience;
                return Err(HookError::TooLate { after, what });
            }
            if told != what {
                tracing::info!("waiting: {what}");
                told = what;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Objects of one of the custom kinds, in all namespaces, by the given version of its group.
    #[must_use]
    pub fn custom<K: Custom>(&self, version: &str) -> (Api<DynamicObject>, ApiResource) {
        let kind = GroupVersionKind::gvk(K::GROUP, version, K::KIND);
        let resource = ApiResource::from_gvk_with_plural(&kind, K::PLURAL);
        (Api::all_with(self.client.clone(), &resource), resource)
    }

    /// Changes `name` by a merge of `change` into it.
    ///
    /// # Errors
    /// When the API server does not let us.
    pub async fn merge<K>(
        &self,
        api: &Api<K>,
        kind: &str,
        name: &str,
        change: &serde_json::Value,
    ) -> Result<(), HookError>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let params = PatchParams::default();
        let patch = Patch::Merge(change);
        let answer = api.patch(name, &params, &patch).await;
        answer
            .map(drop)
            .map_err(refused("patch", &format!("{kind} {name}")))
    }
}

/// Those that carry a label, or all.
#[must_use]
pub fn labelled(selector: &str) -> ListParams {
    ListParams::default().labels(selector)
}
