//! Shell: one write to the API server, and what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_certs::dial::causes;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::api::{REQUEST, in_time, missing, overtaken};
use super::reflect::value;
use crate::plan::{Action, Tiding, Write};
use crate::seen::Seen;
use crate::want::{Kind, MANAGER, Target};

/// The pause after a failure of no known length.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of a write.
#[derive(Debug)]
pub enum Outcome {
    /// The object as it is now; `None`: gone.
    Done(Option<Seen>),
    /// Somebody else wrote first; the watch will say what.
    Overtaken,
    /// It did not work: why, and when to try again.
    Failed(String, Duration),
}

/// Writes to the kinds that are served.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    served: BTreeMap<Kind, ApiResource>,
    events: Recorder,
}

impl Writer {
    /// Through this client.
    #[must_use]
    pub fn new(client: Client, events: Recorder) -> Self {
        Self {
            client,
            served: BTreeMap::new(),
            events,
        }
    }

    /// How a kind is served.
    pub fn serves(&mut self, kind: Kind, resource: ApiResource) {
        self.served.insert(kind, resource);
    }

    /// Carries it out.
    pub async fn execute(&self, write: &Write) -> Outcome {
        let Some(resource) = self.served.get(&write.target.kind) else {
            return Outcome::Failed("its kind is not served".to_owned(), PAUSE);
        };
        let answer = in_time(REQUEST, self.request(write, resource)).await;
        match answer {
            Ok(after) => {
                let uid = after.as_ref().map(|o| super::items::uid(o).to_owned());
                for tiding in &write.tidings {
                    self.tell(&write.target, resource, uid.as_deref(), tiding)
                        .await;
                }
                let seen = after.and_then(|object| Seen::of(write.target.kind, object));
                Outcome::Done(seen.map(|(_, seen)| seen))
            }
            Err(error) if overtaken(&error) => Outcome::Overtaken,
            Err(error) => Outcome::Failed(causes(&error), wait(&error)),
        }
    }

    async fn request(
        &self,
        write: &Write,
        resource: &ApiResource,
    ) -> Result<Option<Value>, kube::Error> {
        let target = &write.target;
        let api: Api<DynamicObject> = match target.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, resource),
        };
        let apply = PatchParams::apply(MANAGER).force();
        let object = match &write.action {
            Action::Apply(body) => {
                let body = addressed(body, target, resource);
                api.patch(&target.name, &apply, &Patch::Apply(body)).await?
            }
            Action::ApplyStatus(body) => {
                let body = addressed(body, target, resource);
                api.patch_status(&target.name, &apply, &Patch::Apply(body))
                    .await?
            }
            Action::Remove { version, paths } => {
                let removals = paths.iter();
                let removals = removals.map(|path| json!({"op": "remove", "path": path}));
                let patch = patch(version, removals)?;
                api.patch(&target.name, &ours(), &patch).await?
            }
            Action::PutStatus {
                version,
                path,
                value,
            } => {
                let put = json!({"op": "replace", "path": path, "value": value});
                let patch = patch(version, std::iter::once(put))?;
                api.patch_status(&target.name, &ours(), &patch).await?
            }
            Action::Delete { uid, version } => {
                let only = DeleteParams::default().preconditions(Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: Some(version.clone()),
                });
                missing(api.delete(&target.name, &only).await)?;
                return Ok(None);
            }
        };
        Ok(Some(value(object, resource)))
    }

    /// People are told where they look; that it did not work is no trouble.
    async fn tell(
        &self,
        target: &Target,
        resource: &ApiResource,
        uid: Option<&str>,
        tiding: &Tiding,
    ) {
        let about = ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            name: Some(target.name.clone()),
            namespace: Some(target.namespace.clone()).filter(|n| !n.is_empty()),
            uid: uid.map(str::to_owned),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: match tiding.warning {
                true => EventType::Warning,
                false => EventType::Normal,
            },
            reason: tiding.reason.clone(),
            note: Some(tiding.note.chars().take(1000).collect()),
            action: tiding.action.clone(),
            secondary: None,
        };
        if let Err(error) = in_time(REQUEST, self.events.publish(&event, &about)).await {
            tracing::debug!(%target, "no event: {}", causes(&error));
        }
    }
}

/// Of an object of this version only.
fn patch(version: &str, operations: impl Iterator<Item = Value>) -> Result<Patch<()>, kube::Error> {
    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
    let all: Vec<Value> = std::iter::once(test).chain(operations).collect();
    let patch = serde_json::from_value(all.into()).map_err(kube::Error::SerdeError)?;
    Ok(Patch::Json(patch))
}

fn ours() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// With what it is and where.
fn addressed(body: &Value, target: &Target, resource: &ApiResource) -> Value {
    let mut body = body.clone();
    if let Value::Object(fields) = &mut body {
        fields.insert("apiVersion".to_owned(), resource.api_version.clone().into());
        fields.insert("kind".to_owned(), resource.kind.clone().into());
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Value::Object(metadata) = metadata {
            metadata.insert("name".to_owned(), target.name.clone().into());
            if !target.namespace.is_empty() {
                metadata.insert("namespace".to_owned(), target.namespace.clone().into());
            }
        }
    }
    body
}

/// As long as the API server asks for.
fn wait(error: &kube::Error) -> Duration {
    let kube::Error::Api(status) = error else {
        return PAUSE;
    };
    let asked = status.details.as_ref().map(|d| d.retry_after_seconds);
    let asked = asked.map_or(0, u64::from);
    PAUSE.max(Duration::from_secs(asked))
}

#[cfg(test)]
mod tests {
    use kube::core::response::Status;
    use kube::runtime::events::Reporter;

    use super::*;
    use crate::cluster::fake::{Fake, Fault};

    fn writer(fake: &Fake) -> Writer {
        let reporter = Reporter {
            controller: MANAGER.into(),
            instance: None,
        };
        let mut writer = Writer::new(fake.client(), Recorder::new(fake.client(), reporter));
        let resource = ApiResource {
            group: "multicluster.x-k8s.io".into(),
            version: "v1beta1".into(),
            api_version: "multicluster.x-k8s.io/v1beta1".into(),
            kind: "ServiceImport".into(),
            plural: "serviceimports".into(),
        };
        writer.serves(Kind::ServiceImport, resource);
        writer
    }

    fn write() -> Write {
        Write {
            target: Target::new(Kind::ServiceImport, "shop", "cart"),
            action: Action::Apply(json!({"spec": {"type": "ClusterSetIP"}})),
            tidings: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_became_of_it() {
        let fake = Fake::new();
        let writer = writer(&fake);
        let done = writer.execute(&write()).await;
        assert!(matches!(done, Outcome::Done(Some(_))), "{done:?}");
        for (fault, expected) in [
            (Fault::Refused(409), None),
            (Fault::Refused(404), None),
            (Fault::Refused(403), Some("so the test wants it")),
            (Fault::Refused(429), Some("so the test wants it")),
            (Fault::Refused(500), Some("so the test wants it")),
            (Fault::Lost, Some("connection reset")),
        ] {
            fake.faults(move |_| Some(fault));
            match (writer.execute(&write()).await, expected) {
                (Outcome::Overtaken, None) => {}
                (Outcome::Failed(why, pause), Some(expected)) => {
                    assert!(why.contains(expected), "{fault:?}: {why}");
                    assert_eq!(pause, PAUSE);
                }
                (other, _) => panic!("{fault:?}: {other:?}"),
            }
        }
        let mut other = write();
        other.target.kind = Kind::ClusterPeer;
        let unserved = writer.execute(&other).await;
        assert!(matches!(unserved, Outcome::Failed(..)), "{unserved:?}");
    }

    #[test]
    fn it_waits_as_long_as_it_is_asked_to() {
        for (asked, expected) in [(0, PAUSE), (7, Duration::from_secs(7))] {
            let status = json!({
                "status": "Failure", "code": 429, "details": {"retryAfterSeconds": asked},
            });
            let status: Status = serde_json::from_value(status).unwrap();
            assert_eq!(wait(&kube::Error::Api(status.boxed())), expected);
        }
    }
}
