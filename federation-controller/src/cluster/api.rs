//! Shell: one request to the API server: bounded in time, absent objects told apart, and its failure said once, where
//! people look.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use causeway_certs::dial::causes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;

/// How long one request may take: renewals of a Lease have to fit several times into what it holds.
pub const REQUEST: Duration = Duration::from_secs(4);

/// The answer, or that there was none in time.
///
/// # Errors
/// As the request, or a timeout.
pub async fn in_time<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(
            format!("no answer within {} s", limit.as_secs_f32()).into(),
        )),
    }
}

/// `None` where there is no such object.
///
/// # Errors
/// Every other error.
pub fn missing<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether somebody else wrote first: the object exists already, is gone, or is another by now.
#[must_use]
pub fn overtaken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

/// Name and labels of an object that we make.
#[must_use]
pub fn metadata(name: &str) -> ObjectMeta {
    let labels = ["app.kubernetes.io/name", "app.kubernetes.io/managed-by"];
    let labels = labels.map(|key| (key.to_owned(), "causeway".to_owned()));
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(BTreeMap::from(labels)),
        ..ObjectMeta::default()
    }
}

/// What does not work now: subject to message.
#[derive(Debug, Clone, Default)]
pub struct Troubles(watch::Sender<BTreeMap<String, String>>);

impl Troubles {
    /// One subject's part.
    #[must_use]
    pub fn of(&self, subject: &str) -> Trouble {
        Trouble {
            all: self.clone(),
            subject: subject.to_owned(),
        }
    }

    /// All of them, and their changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.0.subscribe()
    }
}

/// What does not work with one subject. The same is logged once until something works.
#[derive(Debug)]
pub struct Trouble {
    all: Troubles,
    subject: String,
}

impl Trouble {
    /// It works, or why not.
    pub fn outcome<E: std::error::Error + 'static>(&self, result: &Result<(), E>) {
        match result {
            Ok(()) => self.over(),
            Err(error) => self.is(causes(error)),
        }
    }

    /// It does not work.
    pub fn is(&self, message: String) {
        self.all.0.send_if_modified(|all| {
            let new = all.get(&self.subject) != Some(&message);
            if new {
                tracing::warn!("{}: {message}", self.subject);
                all.insert(self.subject.clone(), message);
            }
            new
        });
    }

    /// There is nothing any more that could work.
    pub fn forget(&self) {
        self.all
            .0
            .send_if_modified(|all| all.remove(&self.subject).is_some());
    }

    /// It works.
    pub fn over(&self) {
        self.all.0.send_if_modified(|all| {
            let was = all.remove(&self.subject).is_some();
            if was {
                tracing::info!("{}: works again", self.subject);
            }
            was
        });
    }
}
