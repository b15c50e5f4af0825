//! Shell: the enrolment service: a certificate for whoever holds a service account token of ours. Anybody in the cluster
//! can connect, so everything is bounded, and nothing is believed but the API server's review.
//!
//! It fails closed: without a review there is no certificate, and the caller is told to come again.

mod bounded;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::ca::Authority;
use causeway_certs::name::{PeerName, Role};
use causeway_certs::{serve, tls::PinnedServer};
use causeway_proto::model::{
    ClusterId, ClusterSet, Enrolled, IssuedCertificate, LeaderState, Namespace, NodeName, Offer,
    TokenEnrolReply, TokenEnrolment,
};
use causeway_proto::wire::InvalidWire;
use causeway_proto::wire::pb::enrolment as pb;
use causeway_proto::wire::pb::enrolment::enrolment_server::Enrolment;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::clock::Clock;
use crate::recovery::Recovery;
use crate::review::{Holder, Pod, Review, beginning, holder};

pub use bounded::Bounded;

/// Requests at one time; more are told to come again.
const REQUESTS: usize = 512;
/// Tokens under review at one time: the API server should not feel a whole fleet that starts.
const REVIEWS: usize = 32;
/// How long a request waits for its review to begin.
const QUEUE: Duration = Duration::from_secs(5);
/// How long a gateway waits for the CA to be made: its next question finds it then.
const MAKING: Duration = Duration::from_secs(4);

/// Why nobody could say whose a token is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token cannot be reviewed now: {0}")]
pub struct Unreviewed(pub String);

/// Who reviews tokens: the API server.
pub trait Reviewer: Send + Sync + 'static {
    /// What it says of a token.
    fn review(&self, token: &str) -> impl Future<Output = Result<Review, Unreviewed>> + Send;

    /// The node of a running pod; `None` when there is no such pod.
    fn node_of(
        &self,
        pod: &Pod,
    ) -> impl Future<Output = Result<Option<NodeName>, Unreviewed>> + Send;
}

/// Which cluster this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// This cluster.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
}

/// The CA, and whose it is.
#[derive(Debug)]
pub struct Issuing {
    /// Signs.
    pub authority: Authority,
    /// Whose.
    pub home: Home,
}

/// Whether there is a CA.
#[derive(Debug, Clone)]
pub enum Standing {
    /// Here.
    Ready(Arc<Issuing>),
    /// Not known to this controller, which is the active one, and why.
    Absent(String, Option<Home>),
    /// Not known to this controller, which is not the active one.
    Standby,
}

/// Who connected.
#[derive(Debug, Clone, Copy)]
struct From(Option<SocketAddr>);

/// What answers requests.
pub struct Service<R> {
    reviewer: R,
    namespace: Namespace,
    standing: watch::Receiver<Standing>,
    recovery: watch::Sender<Recovery>,
    /// Local services of the gateways, `HOST:PORT`.
    gateways: watch::Receiver<Vec<String>>,
    clock: Clock,
    requests: Semaphore,
    reviews: Semaphore,
}

impl<R: Reviewer> Service<R> {
    /// Answers with the CA of `standing`; what gateways say while there is none goes to `recovery`.
    pub fn new(
        reviewer: R,
        namespace: Namespace,
        standing: watch::Receiver<Standing>,
        recovery: watch::Sender<Recovery>,
        gateways: watch::Receiver<Vec<String>>,
        clock: Clock,
    ) -> Self {
        Self {
            reviewer,
            namespace,
            standing,
            recovery,
            gateways,
            clock,
            requests: Semaphore::new(REQUESTS),
            reviews: Semaphore::new(REVIEWS),
        }
    }

    fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Whose the token is, and that what is asked for is its own.
    async fn granted(&self, token: &str, asked: &str, from: From) -> Result<Role, Status> {
        let place = tokio::time::timeout(QUEUE, self.reviews.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(Status::unavailable("too many tokens are under review"));
        };
        let review = self.reviewer.review(token).await.map_err(unavailable)?;
        let refused = |refusal: &dyn std::error::Error| {
            let (user, asked) = (beginning(&review.user), beginning(asked));
            tracing::warn!(from = ?from.0, user, asked, "certificate refused: {refusal}");
            Status::permission_denied(refusal.to_string())
        };
        let mut holder: Holder =
            holder(&review, &self.namespace).map_err(|refusal| refused(&refusal))?;
        if let Some(pod) = holder.pod_to_look_up() {
            holder.node = self.reviewer.node_of(pod).await.map_err(unavailable)?;
        }
        holder.grant(asked).map_err(|refusal| refused(&refusal))
    }

    /// The CA; without one, a gateway's part in getting it.
    async fn issuing(
        &self,
        role: &Role,
        held_epoch: Option<u64>,
    ) -> Result<Option<Arc<Issuing>>, Status> {
        match (self.standing(), role) {
            (Standing::Ready(issuing), _) => return Ok(Some(issuing)),
            (Standing::Standby, _) => return Err(standby()),
            (Standing::Absent(..), Role::Gateway(gateway)) => {
                let now = self.clock.mono_ms();
                let mut wanted = false;
                self.recovery.send_modify(|recovery| {
                    wanted = recovery.asked(gateway, held_epoch.is_some(), now);
                });
                if wanted {
                    return Ok(None);
                }
            }
            (Standing::Absent(why, _), _) => return Err(Status::unavailable(why)),
        }
        let mut standing = self.standing.clone();
        let made = standing.wait_for(|standing| !matches!(standing, Standing::Absent(..)));
        let _ = tokio::time::timeout(MAKING, made).await;
        match self.standing() {
            Standing::Ready(issuing) => Ok(Some(issuing)),
            Standing::Standby => Err(standby()),
            Standing::Absent(why, _) => Err(Status::unavailable(why)),
        }
    }

    async fn certify(
        &self,
        request: &TokenEnrolment,
        from: From,
    ) -> Result<TokenEnrolReply, Status> {
        let role = self.granted(&request.token, &request.role, from).await?;
        let Some(issuing) = self.issuing(&role, request.held_epoch).await? else {
            tracing::info!(%role, "asked for the cluster's state, which this controller has lost");
            return Ok(TokenEnrolReply::WantState);
        };
        let Home {
            cluster,
            cluster_set,
        } = issuing.home.clone();
        let name = PeerName::new(cluster.clone(), cluster_set.clone(), role);
        let name = name.map_err(|error| Status::internal(error.to_string()))?;
        let chain = issuing
            .authority
            .issue(&request.csr, &name, self.clock.wall());
        let chain = chain.map_err(|error| {
            tracing::warn!(from = ?from.0, %name, "certificate refused: {error}");
            Status::invalid_argument(error.to_string())
        })?;
        tracing::info!(from = ?from.0, %name, "certificate issued");
        Ok(TokenEnrolReply::Enrolled(Enrolled {
            certificate: IssuedCertificate {
                chain,
                authorities: issuing.authority.certificates(self.clock.wall()),
            },
            cluster,
            cluster_set,
            gateways: self.gateways.borrow().clone(),
        }))
    }

    async fn take(&self, offer: Offer, from: From) -> Result<(), Status> {
        let Role::Gateway(gateway) = self.granted(&offer.token, &offer.role, from).await? else {
            return Err(Status::permission_denied(
                "only gateways hold the cluster's state",
            ));
        };
        let home = match self.standing() {
            // Somebody else's offer was taken, or it was never lost.
            Standing::Ready(_) => return Ok(()),
            Standing::Standby => return Err(standby()),
            Standing::Absent(why, None) => return Err(Status::unavailable(why)),
            Standing::Absent(_, Some(home)) => home,
        };
        let (epoch, now) = (offer.epoch, self.clock.mono_ms());
        let authority = offer.state.authority.as_ref();
        tracing::info!(%gateway, epoch, authority = authority.is_some(), "the cluster's state is offered");
        let Home {
            cluster,
            cluster_set,
        } = &home;
        let check = |m| Authority::from_material(m, cluster, cluster_set, self.clock.wall());
        if let Some(Err(error)) = authority.map(check) {
            tracing::warn!(%gateway, "what it offers is of no use: {error}");
            self.recovery
                .send_modify(|recovery| recovery.strange(&gateway, now));
            return Err(Status::failed_precondition(error.to_string()));
        }
        let state: LeaderState = offer.state;
        self.recovery
            .send_modify(|recovery| recovery.offered(&gateway, epoch, state, now));
        Ok(())
    }
}

fn unavailable(error: Unreviewed) -> Status {
    tracing::warn!("{error}");
    Status::unavailable(error.to_string())
}

fn standby() -> Status {
    Status::unavailable("this controller is not the active one and has read no CA yet; ask again")
}

fn invalid(error: InvalidWire) -> Status {
    Status::invalid_argument(error.to_string())
}

fn from<T>(request: &Request<T>) -> From {
    request.extensions().get().copied().unwrap_or(From(None))
}

#[tonic::async_trait]
impl<R: Reviewer> Enrolment for Service<R> {
    async fn enroll(
        &self,
        request: Request<pb::TokenEnrollRequest>,
    ) -> Result<Response<pb::TokenEnrollReply>, Status> {
        let Ok(_place) = self.requests.try_acquire() else {
            return Err(Status::unavailable("too many ask at one time"));
        };
        let from = from(&request);
        let request = TokenEnrolment::try_from(request.into_inner()).map_err(invalid)?;
        let reply = self.certify(&request, from).await?;
        Ok(Response::new((&reply).into()))
    }

    async fn offer(
        &self,
        request: Request<pb::OfferRequest>,
    ) -> Result<Response<pb::OfferReply>, Status> {
        let from = from(&request);
        let offer = Offer::try_from(request.into_inner()).map_err(invalid)?;
        self.take(offer, from).await?;
        Ok(Response::new(pb::OfferReply {}))
    }
}

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// Key and certificate do not belong together.
    #[error("TLS: {0}")]
    Tls(#[from] causeway_certs::rustls::Error),
    /// The server ended.
    #[error(transparent)]
    Server(#[from] tonic::transport::Error),
}

/// Serves on that port, presenting the pinned certificate, until dropped.
///
/// # Errors
/// When it cannot.
pub async fn run<R: Reviewer>(
    listener: TcpListener,
    server: &PinnedServer,
    service: Arc<Service<R>>,
) -> Result<(), NotServed> {
    let connections = serve::tls(listener, server.config()?, |stream| {
        Ok(From(stream.get_ref().0.peer_addr().ok()))
    });
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .max_concurrent_streams(16)
        .add_service(Bounded::new(service))
        .serve_with_incoming(ReceiverStream::new(connections));
    Ok(server.await?)
}

#[cfg(test)]
mod tests;
