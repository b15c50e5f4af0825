//! Shell: the cluster's CA in the Secret `causeway-ca`: made once, put back when it is deleted while the active controller
//! has it, and replaced only by one that took over from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::ca::{Authority, CaError, from_fields, to_fields};
use causeway_certs::cert::fingerprint;
use causeway_certs::dial::causes;
use causeway_proto::model::{Digest, LeaderState};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use tokio::sync::watch;

use super::api::{REQUEST, Trouble, Troubles, in_time, metadata, missing, overtaken};
use super::keeper::Keeper;
use super::lease::Activity;
use crate::clock::Clock;
use crate::enrolment::{Home, Issuing, Standing};
use crate::recovery::{Decision, Recovery};

/// The Secret.
pub const NAME: &str = "causeway-ca";
/// How often it is looked whether the Secret is still there.
const LOOK: Duration = Duration::from_secs(30);
/// How often it is looked whether it is there at last.
const SOON: Duration = Duration::from_secs(1);

/// Why there is no CA.
#[derive(Debug, thiserror::Error)]
enum NoCa {
    /// The API server.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// Another cluster's, or something else.
    #[error(
        "Secret {NAME}: {0}; put the right one back, or delete it to start anew, which needs pairing again"
    )]
    Content(CaError),
    /// It cannot be made.
    #[error(transparent)]
    Making(CaError),
    /// What gateways hold is not stored, so it would be lost.
    #[error("the cluster's state that gateways offered is not stored: {0}")]
    State(String),
}

/// The task.
pub struct Authorities {
    secrets: Api<Secret>,
    home: watch::Receiver<Option<Home>>,
    activity: watch::Receiver<Activity>,
    recovery: watch::Receiver<Recovery>,
    unwanted: watch::Receiver<Option<Digest>>,
    keeper: Keeper,
    standing: watch::Sender<Standing>,
    trouble: Trouble,
    clock: Clock,
}

impl Authorities {
    /// Ready to [`run`](Self::run).
    #[expect(clippy::too_many_arguments, reason = "each is one neighbour")]
    pub fn new(
        client: Client,
        namespace: &str,
        home: watch::Receiver<Option<Home>>,
        activity: watch::Receiver<Activity>,
        recovery: watch::Receiver<Recovery>,
        unwanted: watch::Receiver<Option<Digest>>,
        keeper: Keeper,
        troubles: &Troubles,
        clock: Clock,
    ) -> (Self, watch::Receiver<Standing>) {
        let (standing, known) = watch::channel(Standing::Standby);
        let authorities = Self {
            secrets: Api::namespaced(client, namespace),
            home,
            activity,
            recovery,
            unwanted,
            keeper,
            standing,
            trouble: troubles.of("Secret causeway-ca"),
            clock,
        };
        (authorities, known)
    }

    /// For ever.
    pub async fn run(mut self) {
        loop {
            self.activity.borrow_and_update();
            self.recovery.borrow_and_update();
            self.unwanted.borrow_and_update();
            let home = self.home.borrow_and_update().clone();
            let pause = match home {
                None => {
                    self.absent("there is no ClusterConfiguration default, so it is not known which cluster this is", None);
                    LOOK
                }
                Some(home) => match self.look(&home).await {
                    Ok(pause) => {
                        self.trouble.over();
                        pause
                    }
                    Err(error) => {
                        let why = causes(&error);
                        self.absent(&why, Some(&home));
                        self.trouble.is(why);
                        SOON
                    }
                },
            };
            let woken = tokio::time::timeout(pause, async {
                tokio::select! {
                    changed = self.home.changed() => changed,
                    changed = self.activity.changed() => changed,
                    changed = self.recovery.changed() => changed,
                    changed = self.unwanted.changed() => changed,
                }
            });
            if let Ok(Err(_)) = woken.await {
                return;
            }
        }
    }

    fn active(&self) -> bool {
        self.activity.borrow().term().is_some()
    }

    /// There is none to give out; one that is known stays.
    fn absent(&self, why: &str, home: Option<&Home>) {
        let next = if self.active() {
            Standing::Absent(why.to_owned(), home.cloned())
        } else {
            Standing::Standby
        };
        self.standing.send_if_modified(|standing| {
            if matches!(standing, Standing::Ready(_)) {
                return false;
            }
            *standing = next;
            true
        });
    }

    fn known(&self) -> Option<Arc<Issuing>> {
        match &*self.standing.borrow() {
            Standing::Ready(issuing) => Some(issuing.clone()),
            _ => None,
        }
    }

    /// Reads it; makes it where this is the active controller and it is time. Says when to look again.
    async fn look(&mut self, home: &Home) -> Result<Duration, NoCa> {
        if let Some((found, version)) = self.read(home).await? {
            let next = self.next(&found.authority)?;
            self.ready(found);
            return match next {
                Some(next) => self.replace(home, version, &next).await,
                None => Ok(LOOK),
            };
        }
        let known = self.known();
        if !self.active() {
            self.absent("", None);
            return Ok(SOON);
        }
        if let Some(issuing) = known {
            tracing::warn!("Secret {NAME} is gone; it is put back");
            return self.create(home, &issuing.authority).await;
        }
        let decision = self.recovery.borrow().decide(self.clock.mono_ms());
        let (state, authority) = match decision {
            Decision::Wait(_, waiting) => {
                self.absent(&waiting.to_string(), Some(home));
                return Ok(SOON);
            }
            Decision::Adopt(state) => (state, "the one that a gateway has kept"),
            Decision::New(state) => (state, "a new one"),
        };
        let now = self.clock.wall();
        let (cluster, cluster_set) = (&home.cluster, &home.cluster_set);
        let made = match &state.authority {
            Some(material) => Authority::from_material(material, cluster, cluster_set, now),
            None => Authority::create(cluster, cluster_set, now),
        };
        let made = made.map_err(NoCa::Making)?;
        // The state first: once there is a CA, nobody asks the gateways again.
        if state.allocations.is_some() || state.trust.is_some() {
            let rest = LeaderState {
                authority: None,
                ..state
            };
            self.keeper.keep(rest).await.map_err(NoCa::State)?;
        }
        tracing::info!(%cluster, "the cluster's CA is {authority}");
        self.create(home, &made).await
    }

    /// The one that takes over, where it is time or an operator wants it.
    fn next(&self, present: &Authority) -> Result<Option<Authority>, NoCa> {
        let now = self.clock.wall();
        let unwanted = Some(fingerprint(present.certificate())) == *self.unwanted.borrow();
        if !self.active() || !(unwanted || present.is_due(now)) {
            return Ok(None);
        }
        match present.rotate(now) {
            // Asked again while gateways take it up.
            Err(CaError::Overlap(_)) => Ok(None),
            made => made.map(Some).map_err(NoCa::Making),
        }
    }

    /// A Secret that cannot be changed is deleted and made anew. Whoever finds none in between puts back the one before.
    async fn replace(
        &self,
        home: &Home,
        version: Option<String>,
        next: &Authority,
    ) -> Result<Duration, NoCa> {
        tracing::info!("another CA takes over from the one in Secret {NAME}");
        let delete = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: version,
                uid: None,
            }),
            ..DeleteParams::default()
        };
        missing(in_time(REQUEST, self.secrets.delete(NAME, &delete)).await)?;
        self.create(home, next).await
    }

    async fn create(&self, home: &Home, authority: &Authority) -> Result<Duration, NoCa> {
        let post = PostParams::default();
        let secret = secret(authority);
        match in_time(REQUEST, self.secrets.create(&post, &secret)).await {
            Ok(_) => (),
            Err(error) if overtaken(&error) => (),
            Err(error) => return Err(error.into()),
        }
        // What is stored counts, whoever stored it.
        match self.read(home).await? {
            Some((found, _)) => {
                self.ready(found);
                Ok(LOOK)
            }
            None => Ok(SOON),
        }
    }

    /// With the version of the Secret.
    async fn read(&self, home: &Home) -> Result<Option<(Issuing, Option<String>)>, NoCa> {
        let found = missing(in_time(REQUEST, self.secrets.get(NAME)).await)?;
        let Some(secret) = found else { return Ok(None) };
        let version = secret.metadata.resource_version;
        let data = secret.data.unwrap_or_default();
        let field = |name: &str| data.get(name).map(|bytes| bytes.0.as_slice());
        let material = from_fields(field).map_err(NoCa::Content)?;
        let (cluster, set) = (&home.cluster, &home.cluster_set);
        let authority = Authority::from_material(&material, cluster, set, self.clock.wall());
        let issuing = Issuing {
            authority: authority.map_err(NoCa::Content)?,
            home: home.clone(),
        };
        Ok(Some((issuing, version)))
    }

    fn ready(&self, found: Issuing) {
        self.standing.send_if_modified(|standing| {
            if let Standing::Ready(known) = standing {
                if known.home == found.home
                    && known.authority.material() == found.authority.material()
                {
                    return false;
                }
                let succession = found.authority.material().succession.as_ref();
                if succession.is_some_and(|s| *s.former == **known.authority.certificate()) {
                    tracing::info!("the CA that took over is used from now on");
                } else {
                    tracing::warn!(
                        "Secret {NAME} holds another CA than before: that one is used from now on"
                    );
                }
            }
            *standing = Standing::Ready(Arc::new(found));
            true
        });
    }
}

fn secret(authority: &Authority) -> Secret {
    let fields = to_fields(authority.material());
    let fields = fields
        .iter()
        .map(|(name, text)| ((*name).to_owned(), ByteString(text.as_bytes().to_vec())));
    Secret {
        metadata: metadata(NAME),
        data: Some(fields.collect::<BTreeMap<_, _>>()),
        immutable: Some(true),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests;
