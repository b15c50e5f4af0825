//! Shell: the gateway that leads a Kubernetes cluster, reached with nothing but a kubeconfig: a token of ServiceAccount
//! `causeway-operator` is shown to the active controller, which gives an operator's certificate for it; with that the
//! leader is called. Both are reached by port-forwards through the API server. Nothing is left on this machine.

mod direct;
mod forward;
mod kubeconfig;
mod place;
mod pods;

use std::error::Error as _;
use std::time::Duration;

use causeway_certs::dial::{
    GatewayAt, NotIssued, Patience, channel_through, enrol_over, enrolment_over, passes,
};
use causeway_certs::enrolment::{EnrolError, Member};
use causeway_certs::name::Role;
use causeway_certs::tls::Pin;
use causeway_proto::limits::VIEW_BYTES;
use causeway_proto::model::GatewayStatus;
use causeway_proto::wire::pb::status::GetStatusRequest;
use causeway_proto::wire::pb::status::status_client::StatusClient;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::client::UpgradeConnectionError;
use kube::{Api, Client, Error};
use tonic::transport::Channel;

use crate::channel::{nonsense, refusal};
use crate::failure::{Failure, Kind};
use crate::progress::Progress;
use forward::Forward;
use kubeconfig::causes;
use place::{ACCOUNT, Asked, ENROLMENT, FORWARD, LEASES, PIN, PODS, Place, TOKEN};
use pods::{CONTROLLER_LEASE, LEADER_LEASE, Nobody, OURS};

pub use kubeconfig::{Wanted, is_there};

/// Whom the token is for.
const AUDIENCE: &str = "causeway";
/// The shortest that an API server gives.
const TOKEN_SECS: i64 = 600;
/// The controller's enrolment service.
const ENROLMENT_PORT: u16 = 7445;
/// The gateways' local service.
const LOCAL_PORT: u16 = 7444;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Which gateway will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The one that leads, since only it changes anything.
    Leader,
    /// That one, else any: there may be something to find out.
    Any,
}

/// Why an attempt came to nothing.
enum Stop {
    /// It would be the same again.
    Now(Failure),
    /// It may be otherwise in a moment: somebody starts, or takes another's place.
    Perhaps(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Now(failure)
    }
}

/// A channel to the leader, as operator `user`.
///
/// # Errors
/// When the API server, the controller or the leader refuses, or there is none of them for as long as `timeout`.
pub async fn channel(
    wanted: Wanted<'_>,
    need: Need,
    user: Option<&str>,
    timeout: Duration,
    progress: Progress,
) -> Result<Channel, Failure> {
    let (client, place) = kubeconfig::client(wanted).await?;
    progress.step(&format!("{}: {}", place.name(), place.server));
    let way = Way {
        client,
        place,
        need,
        user: place::operator(user),
        patience: Patience::both(timeout),
        progress,
    };
    let mut last: Option<Failure> = None;
    let trying = async {
        loop {
            match way.attempt().await {
                Ok(channel) => return Ok(channel),
                Err(Stop::Now(failure)) => return Err(failure),
                Err(Stop::Perhaps(failure)) => {
                    if last.as_ref() != Some(&failure) {
                        progress.say(&format!("waiting: {}", failure.what));
                    }
                    last = Some(failure);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(timeout, trying).await {
        Ok(done) => done,
        Err(_) => Err(last.unwrap_or_else(|| way.place.unreached("no answer in time"))),
    }
}

struct Way {
    client: Client,
    place: Place,
    need: Need,
    user: String,
    patience: Patience,
    progress: Progress,
}

/// What the API server knows.
struct Seen {
    token: String,
    pin: Pin,
    controller: String,
    leader: (String, String),
}

impl Way {
    async fn attempt(&self) -> Result<Channel, Stop> {
        let seen = self.look().await?;
        let (gateway, pod) = &seen.leader;
        self.progress.step(&format!(
            "controller {}, leader {gateway} in pod {pod}",
            seen.controller
        ));
        let (mut to_controller, to_leader) = tokio::try_join!(
            self.forward(&seen.controller, ENROLMENT_PORT),
            self.forward(pod, LOCAL_PORT)
        )?;
        self.progress.step("streams to both are open");
        let member = match self.enrol(&mut to_controller, &seen).await {
            Ok(member) => member,
            Err(stop) => return Err(told(stop, to_controller).await),
        };
        let role = member.home().role;
        self.progress.step(&format!("certificate of {role}"));
        let channel = self.lead(to_leader, &member).await?;
        self.asked(&channel, gateway).await?;
        Ok(channel)
    }

    /// All that the API server is asked, at one time.
    async fn look(&self) -> Result<Seen, Stop> {
        let (token, pin, active, leader, pods) = tokio::join!(
            self.token(),
            self.pin(),
            self.lease(CONTROLLER_LEASE),
            self.lease(LEADER_LEASE),
            self.pods()
        );
        // What is missing where nothing is installed is not worth a word of its own.
        let pods = pods?;
        if pods.is_empty() {
            return Err(self.nobody(&Nobody::NotInstalled));
        }
        let (active, leader) = (active?, leader?);
        let token = token?;
        let pin = pin?;
        let controller = pods::controller(active.as_ref(), &pods);
        let leader = match pods::leader(leader.as_ref(), &pods) {
            Err(nobody) if self.need == Need::Any => {
                let any = pods::gateway(&pods).ok_or(nobody.clone());
                self.progress
                    .say(&format!("{nobody}: asking another gateway"));
                any
            }
            leader => leader,
        };
        Ok(Seen {
            token,
            pin,
            controller: controller.map_err(|e| self.nobody(&e))?,
            leader: leader.map_err(|e| self.nobody(&e))?,
        })
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.place.namespace)
    }

    fn failed(&self, asked: Asked) -> impl Fn(Error) -> Failure {
        move |error| match &error {
            Error::Api(status) => self.place.refused(asked, status.code, &status.message),
            Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
                let word = status.canonical_reason().unwrap_or("refused");
                self.place.refused(asked, status.as_u16(), word)
            }
            // Its own words say no more than its source's.
            other => match other.source() {
                Some(source) => self.place.unreached(&causes(source)),
                None => self.place.unreached(&causes(other)),
            },
        }
    }

    fn nobody(&self, nobody: &Nobody) -> Stop {
        let what = format!(
            "namespace {} of {}: {nobody}",
            self.place.namespace,
            self.place.name()
        );
        let failure = Failure::new(Kind::Unreachable, what, nobody.check(&self.place.kubectl()));
        if nobody.passes() {
            Stop::Perhaps(failure)
        } else {
            Stop::Now(failure)
        }
    }

    async fn token(&self) -> Result<String, Failure> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![AUDIENCE.to_owned()],
                expiration_seconds: Some(TOKEN_SECS),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let accounts = self.api::<ServiceAccount>();
        let params = PostParams::default();
        let reply = accounts.create_token_request(ACCOUNT, &params, &request);
        let reply = reply.await.map_err(self.failed(TOKEN))?;
        let status = reply.status.filter(|status| !status.token.is_empty());
        let status =
            status.ok_or_else(|| Failure::refused("the API server gave an empty token"))?;
        Ok(status.token)
    }

    async fn pin(&self) -> Result<Pin, Failure> {
        let map = self.api::<ConfigMap>().get(PIN).await;
        let map = map.map_err(self.failed(ENROLMENT))?;
        let text = map.data.unwrap_or_default().remove("ca.crt");
        Pin::from_pem(&text.unwrap_or_default()).map_err(|e| {
            let what = format!("ConfigMap {PIN}, key ca.crt: {e}");
            let check = "the active controller puts it right: does one run?";
            Failure::new(Kind::Refused, what, check)
        })
    }

    async fn lease(&self, name: &str) -> Result<Option<Lease>, Failure> {
        let lease = self.api::<Lease>().get_opt(name).await;
        lease.map_err(self.failed(LEASES))
    }

    async fn pods(&self) -> Result<Vec<Pod>, Failure> {
        let params = ListParams::default().labels(OURS);
        let pods = self.api::<Pod>().list(&params).await;
        Ok(pods.map_err(self.failed(PODS))?.items)
    }

    async fn forward(&self, pod: &str, port: u16) -> Result<Forward, Stop> {
        let opened = Forward::open(&self.api(), pod, port).await;
        opened.map_err(|error| {
            let passes = match &error {
                Error::Api(status) => status.code == 404 || status.code >= 500,
                _ => false,
            };
            let failure = self.failed(FORWARD)(error);
            if passes {
                Stop::Perhaps(failure)
            } else {
                Stop::Now(failure)
            }
        })
    }

    async fn enrol(&self, forward: &mut Forward, seen: &Seen) -> Result<Member, Stop> {
        let at = GatewayAt::Tcp(forward.at());
        let client = enrolment_over(&at, forward.stream(), &seen.pin, self.patience).await;
        let mut client = client.map_err(|e| silent("controller", &e))?;
        let name = self.user.parse().map_err(Failure::refused)?;
        let role = Role::Operator(name);
        let enrolled = enrol_over(&mut client, &at, &role, &seen.token).await;
        enrolled.map_err(|e| not_enrolled(&e))
    }

    /// Its first answer: who may not ask learns so only now, and who is to lead may not have heard of it yet.
    async fn asked(&self, channel: &Channel, gateway: &str) -> Result<(), Stop> {
        let mut client = StatusClient::new(channel.clone()).max_decoding_message_size(VIEW_BYTES);
        let reply = client.get_status(GetStatusRequest {}).await;
        let reply = reply.map_err(|status| match refusal(&status) {
            failure if failure.kind == Kind::Unreachable => Stop::Perhaps(failure),
            failure => Stop::Now(failure),
        })?;
        let status = GatewayStatus::try_from(reply.into_inner());
        let status = status.map_err(|e| nonsense(&e))?;
        let version = &status.version;
        self.progress
            .step(&format!("gateway {gateway} answers, version {version}"));
        let leads = status.leader.as_ref() == Some(&status.gateway);
        if leads || self.need == Need::Any {
            return Ok(());
        }
        Err(Stop::Perhaps(not_yet(gateway, &status)))
    }

    async fn lead(&self, mut forward: Forward, member: &Member) -> Result<Channel, Stop> {
        let at = GatewayAt::Tcp(forward.at());
        let channel = channel_through(&at, forward.stream(), &member.tls, self.patience).await;
        match channel {
            Ok(channel) => Ok(channel),
            Err(e) => Err(told(silent("gateway", &e), forward).await),
        }
    }
}

fn not_yet(gateway: &str, status: &GatewayStatus) -> Failure {
    let leader = match &status.leader {
        Some(leader) => format!("it follows {leader}"),
        None => "it knows of no leader".to_owned(),
    };
    Failure::new(
        Kind::Unreachable,
        format!("gateway {gateway} is to lead and does not yet: {leader}"),
        "what do the logs of the active controller and of that gateway say?",
    )
}

fn silent(who: &str, why: &(dyn std::error::Error + 'static)) -> Stop {
    let what = format!("the {who} does not answer: {}", causes(why));
    let check = format!("is that pod ready, and what does the {who}'s log say?");
    Stop::Perhaps(Failure::new(Kind::Unreachable, what, check))
}

fn not_enrolled(error: &EnrolError) -> Stop {
    let why = match error {
        EnrolError::Call { source, .. } => match source.downcast_ref::<NotIssued>() {
            Some(not_issued) => causes(not_issued),
            None => source.to_string(),
        },
        other => causes(other),
    };
    let what = format!("the controller gives no operator's certificate: {why}");
    if passes(error) {
        let check = "the controller's log says what it waits for";
        return Stop::Perhaps(Failure::new(Kind::Unreachable, what, check));
    }
    let check = "is the controller's version that of this command, and its service account allowed to create tokenreviews?";
    Stop::Now(Failure::new(Kind::Refused, what, check))
}

/// With what the kubelet says, which knows better why a stream broke.
async fn told(stop: Stop, forward: Forward) -> Stop {
    let at = forward.at();
    match (stop, forward.word().await) {
        (Stop::Perhaps(failure), Some(word)) => {
            let what = format!(
                "pod {at} is not reached through the API server: {}",
                word.trim()
            );
            Stop::Perhaps(Failure { what, ..failure })
        }
        (stop, _) => stop,
    }
}
