//! Shell: the leading gateway, while this controller is active: it gets what is published, and says what follows; and the
//! joins and revocations that ClusterPeers ask for go to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::{self, GatewayAt, Patience, causes};
use causeway_certs::enrolment::CallError;
use causeway_proto::limits::VIEW_BYTES;
use causeway_proto::model::{ClusterId, GatewayStatus, Publication, View, WatchScope};
use causeway_proto::wire::pb::admin::admin_client::AdminClient;
use causeway_proto::wire::pb::admin::{JoinRequest, RevokeRequest};
use causeway_proto::wire::pb::local::WatchRequest;
use causeway_proto::wire::pb::status::GetStatusRequest;
use causeway_proto::wire::pb::status::status_client::StatusClient;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::api::{REQUEST, in_time, missing};
use crate::crd::ClusterPeerSpec;
use crate::lead::order::LeaderLink;
use crate::link;
use crate::peer::Joining;

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    // Followers have to acknowledge what is published first.
    answer: Duration::from_secs(30),
};
/// The pause after a connection that ended.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the gateway's status is asked for.
const STATUS: Duration = Duration::from_secs(2);
/// How often it is looked whether a join is asked for.
const LOOK: Duration = Duration::from_millis(500);
/// The pause after a join that did not work.
const AGAIN: Duration = Duration::from_secs(10);
/// How long there may be no word of a leader before people are told.
const SILENT: Duration = Duration::from_secs(15);

/// What the leader says.
#[derive(Debug)]
pub enum Told {
    /// What follows from what all clusters offer.
    View(Arc<View>),
    /// How it is.
    Status(Box<GatewayStatus>),
    /// Why nothing is heard; `None`: something is.
    Trouble(Option<String>),
    /// What became of a join.
    Joining(ClusterId, Option<Joining>),
}

/// What all tasks need.
#[derive(Clone)]
pub struct Leading {
    /// Of the API server.
    pub client: Client,
    /// Where Secrets with tokens are.
    pub namespace: String,
    /// What is to be published.
    pub publications: watch::Receiver<Arc<Publication>>,
    /// What ClusterPeers ask for and is not so yet.
    pub asked: watch::Receiver<BTreeMap<ClusterId, ClusterPeerSpec>>,
    /// What the leader says goes there.
    pub told: mpsc::Sender<Told>,
}

impl Leading {
    /// With whichever gateway leads, for ever.
    pub async fn run(self, mut leader: watch::Receiver<Option<LeaderLink>>) {
        let mut tasks = JoinSet::new();
        loop {
            tasks.shutdown().await;
            let link = leader.borrow_and_update().clone();
            match link {
                Some(link) => {
                    tasks.spawn(self.clone().publish(link.clone()));
                    tasks.spawn(self.clone().watch(link.clone()));
                    tasks.spawn(self.clone().status(link.clone()));
                    tasks.spawn(self.clone().join(link));
                }
                None => {
                    tasks.spawn(self.clone().nobody());
                }
            }
            if leader.changed().await.is_err() {
                return;
            }
        }
    }

    async fn nobody(self) {
        tokio::time::sleep(SILENT).await;
        let why = "no gateway leads; are there pods of the gateway, and do they run?";
        let _ = self.told.send(Told::Trouble(Some(why.to_owned()))).await;
    }

    async fn publish(mut self, link: LeaderLink) {
        let mut said = None;
        loop {
            let mut published = false;
            let ended = async {
                let client = dial::local(&at(&link), Some(&link.identity.tls), PATIENCE).await?;
                link::over(client, &mut self.publications, &mut published).await
            };
            if let Err(error) = ended.await {
                let why = causes(error.as_ref());
                if published || said.as_ref() != Some(&why) {
                    tracing::warn!(gateway = %link.gateway, "exports are not taken: {why}");
                }
                said = Some(why);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn watch(self, link: LeaderLink) {
        loop {
            let error = self.views(&link).await.err();
            let why = error.map(|e| causes(e.as_ref())).unwrap_or_default();
            tracing::debug!(gateway = %link.gateway, "the View ended: {why}");
            let trouble = format!("gateway {} does not answer: {why}", link.gateway);
            let _ = self.told.send(Told::Trouble(Some(trouble))).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn views(&self, link: &LeaderLink) -> Result<(), CallError> {
        let mut client = dial::local(&at(link), Some(&link.identity.tls), PATIENCE).await?;
        let request = WatchRequest::from(&WatchScope::Controller);
        let mut views = client.watch(request).await?.into_inner();
        while let Some(reply) = views.message().await? {
            let view = reply.view.ok_or("a View is missing")?;
            self.told
                .send(Told::View(Arc::new(view.try_into()?)))
                .await?;
            self.told.send(Told::Trouble(None)).await?;
        }
        Err("the stream has ended".into())
    }

    async fn status(self, link: LeaderLink) {
        loop {
            if let Err(error) = self.statuses(&link).await {
                tracing::debug!(gateway = %link.gateway, "no status: {}", causes(error.as_ref()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn statuses(&self, link: &LeaderLink) -> Result<(), CallError> {
        let client = StatusClient::new(channel(link).await?);
        let mut client = client.max_decoding_message_size(VIEW_BYTES);
        loop {
            let status = client.get_status(GetStatusRequest {}).await?.into_inner();
            let status = Box::new(GatewayStatus::try_from(status)?);
            self.told.send(Told::Status(status)).await?;
            tokio::time::sleep(STATUS).await;
        }
    }

    async fn join(self, link: LeaderLink) {
        loop {
            let asked = self.asked.borrow().clone();
            let mut pause = LOOK;
            for (id, spec) in asked {
                if let Err((reason, why)) = self.ask(&link, &id, &spec).await {
                    tracing::warn!(peer = %id, reason, "{why}");
                    pause = AGAIN;
                    let refused = Joining::Refused(reason, why);
                    let _ = self.told.send(Told::Joining(id, Some(refused))).await;
                } else {
                    let _ = self.told.send(Told::Joining(id, None)).await;
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One join or revocation.
    async fn ask(
        &self,
        link: &LeaderLink,
        id: &ClusterId,
        spec: &ClusterPeerSpec,
    ) -> Result<(), (&'static str, String)> {
        let unreached = |error: CallError| ("GatewayUnreachable", causes(error.as_ref()));
        let channel = channel(link).await.map_err(unreached)?;
        let mut admin = AdminClient::new(channel);
        let refused = |status: tonic::Status| ("Refused", status.message().to_owned());
        if spec.revoked {
            let peer = id.to_string();
            admin
                .revoke(RevokeRequest { peer })
                .await
                .map_err(refused)?;
            return Ok(());
        }
        let token = self.token(spec).await?;
        let dry_run = false;
        let request = JoinRequest { token, dry_run };
        let reply = admin.join(request).await.map_err(refused)?.into_inner();
        if reply.joined {
            return Ok(());
        }
        let why =
            "the pre-flight found clashes; `causeway join --dry-run` with this token tells them";
        Err(("Refused", why.to_owned()))
    }

    async fn token(&self, spec: &ClusterPeerSpec) -> Result<String, (&'static str, String)> {
        let Some(reference) = &spec.join_token_secret_ref else {
            return Err((
                "TokenMissing",
                "there is no Secret to read it from".to_owned(),
            ));
        };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = in_time(REQUEST, secrets.get(&reference.name)).await;
        let found = missing(found).map_err(|error| ("TokenMissing", causes(&error)))?;
        let place = format!("{}/{}", self.namespace, reference.name);
        let secret =
            found.ok_or_else(|| ("TokenMissing", format!("there is no Secret {place}")))?;
        let data = secret.data.unwrap_or_default();
        let value = data.get(&reference.key);
        let text = value.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        let text = text.map(|text| text.trim().to_owned());
        text.filter(|text| !text.is_empty()).ok_or_else(|| {
            let why = format!(
                "Secret {place} has no token under the key {}",
                reference.key
            );
            ("TokenMissing", why)
        })
    }
}

fn at(link: &LeaderLink) -> GatewayAt {
    GatewayAt::Tcp(link.address.clone())
}

async fn channel(link: &LeaderLink) -> Result<Channel, CallError> {
    Ok(dial::channel(&at(link), Some(&link.identity.tls), PATIENCE).await?)
}
