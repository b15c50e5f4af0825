//! Shell: joining over a QUIC connection of its own ALPN: one HTTP/2 stream, one service, two calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::tls::{self, JOIN_EXPORTER};
use causeway_certs::token::{JoinToken, TokenError};
use causeway_proto::limits::GATEWAYS_PER_CLUSTER;
use causeway_proto::model::{
    ClusterId, ClusterSettings, ExportPort, ImportPort, JoinFacts, OfferedService, Preflight,
    Redeem, Redeemed, ServiceName, View,
};
use causeway_proto::wire::pb::join as pb;
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};

use super::{NotBelieved, OwnSide, accept, preflight, redeem, request};
use crate::app::{Core, NotLeader, OwnKeys, wall_clock};
use crate::config::Config;
use crate::session::VERSIONS;
use crate::transport::{DialError, Link, Transport};

/// A whole join, both calls: more than enough between any two places, and short for one who only holds the port open.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
/// Joins that are served at one time: who joins has proven nothing yet, and may hold a connection open.
const JOINS: usize = 64;
/// Facts name services; a thousand of them are some 100 KiB.
const MESSAGE_BYTES: usize = 4 << 20;

/// Both sides of joining, of one gateway.
#[derive(Debug, Clone)]
pub struct Joining {
    core: Core,
    config: Arc<Config>,
    keys: Arc<OwnKeys>,
    places: Arc<Semaphore>,
}

/// A join that was not done.
#[derive(Debug, thiserror::Error)]
pub enum JoinFailed {
    /// Not a token, or not one for us.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Our own TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// None of the gateways in the token can be reached, or none is who it should be.
    #[error("no gateway of {issuer} could be reached: {source}")]
    Dial {
        /// Who issued the token.
        issuer: ClusterId,
        /// From the last one.
        source: DialError,
    },
    /// No address in the token.
    #[error("the join token names no gateway of {0}; create another once one is configured")]
    NoGateway(ClusterId),
    /// Only the issuer's leader can do it.
    #[error("the gateway that answers says: {0}")]
    Elsewhere(String),
    /// The issuer said no.
    #[error("{0}")]
    Refused(String),
    /// The issuer is not who it should be.
    #[error(transparent)]
    NotBelieved(#[from] NotBelieved),
    /// What came is no reply.
    #[error("{0} sent what is no reply: {1}")]
    Reply(ClusterId, String),
    /// Nothing came in time.
    #[error("{0} did not answer within 20 s")]
    Timeout(ClusterId),
    /// We may not.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
}

/// What the service knows of its connection.
#[derive(Debug, Clone)]
struct Joiner {
    exporter: [u8; 32],
    from: SocketAddr,
}

impl Joining {
    /// Of one gateway; followers send joiners to the leader.
    #[must_use]
    pub fn new(core: Core, config: Arc<Config>, keys: Arc<OwnKeys>) -> Self {
        Self {
            core,
            config,
            keys,
            places: Arc::new(Semaphore::new(JOINS)),
        }
    }

    fn own_side(&self, peer: &ClusterId) -> Result<OwnSide, NotLeader> {
        let leading = self.core.leading();
        let authority = self.keys.authority().filter(|_| leading.leads);
        let authority = authority.ok_or_else(|| leading.not_leader())?;
        Ok(OwnSide {
            facts: facts(&self.config, &leading.shared, &self.core.view(), peer),
            bundle: authority.bundle(self.gateways(GATEWAYS_PER_CLUSTER), wall_clock()),
        })
    }

    /// Where gateways of this cluster take sessions and joins: this one first, then others of the catalog.
    #[must_use]
    pub fn gateways(&self, most: usize) -> Vec<String> {
        let own = self.config.advertise.session.clone();
        let facts = self.core.facts();
        let others = facts.gateways.iter().filter(|other| **other != own);
        [own.clone()]
            .into_iter()
            .chain(others.cloned())
            .take(most)
            .collect()
    }

    /// Serves one connection that was accepted with the join's ALPN, until it is over.
    pub async fn serve(self, link: Link) {
        let from = link.remote();
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(%from, "more than {JOINS} joins at one time");
            return link.close("too many joins at one time; try again in a minute");
        };
        let Some(exporter) = link.export_keying(JOIN_EXPORTER, &[]) else {
            return link.close("no exporter");
        };
        let serving = async {
            let Some(stream) = link.accept(Joiner { exporter, from }).await else {
                return;
            };
            let once = futures::stream::once(async { Ok::<_, std::io::Error>(stream) });
            let service = pb::join_server::JoinServer::new(self)
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES);
            let served = Server::builder()
                .max_concurrent_streams(1)
                .add_service(service)
                .serve_with_incoming(once);
            if let Err(error) = served.await {
                tracing::debug!(%from, %error, "join ended");
            }
            // No further stream is taken; the one that is there is served until the joiner is done.
            link.closed().await;
        };
        let _ = tokio::time::timeout(JOIN_TIMEOUT, serving).await;
        link.close("join is over");
    }

    /// Redeems a token: a dry run first, then, unless that was all that was asked for or something stands in the way, for
    /// good. True when both clusters now hold each other's CA.
    ///
    /// # Errors
    /// When it was not done for a reason that is no finding.
    pub async fn join(
        &self,
        transport: &Transport,
        text: &str,
        dry_run: bool,
    ) -> Result<(bool, Preflight), JoinFailed> {
        let token = JoinToken::decode(text)?;
        token.verify(&self.config.cluster, &self.config.clusterset, wall_clock())?;
        let own = self.own_side(&token.issuer)?;
        let done = self.redeem_at(transport, &token, &own, dry_run);
        let timeout = |_| JoinFailed::Timeout(token.issuer.clone());
        tokio::time::timeout(JOIN_TIMEOUT, done)
            .await
            .map_err(timeout)?
    }

    async fn redeem_at(
        &self,
        transport: &Transport,
        token: &JoinToken,
        own: &OwnSide,
        dry_run: bool,
    ) -> Result<(bool, Preflight), JoinFailed> {
        let config = Arc::new(tls::join_client(token)?);
        let mut last = JoinFailed::NoGateway(token.issuer.clone());
        for gateway in &token.gateways {
            let dialled = transport.dial(gateway, Arc::clone(&config), false).await;
            let done = match dialled {
                Ok(link) => {
                    let done = self.redeem_on(&link, token, own, dry_run).await;
                    link.close("done");
                    done
                }
                Err(source) => Err(JoinFailed::Dial {
                    issuer: token.issuer.clone(),
                    source,
                }),
            };
            match done {
                // The leader of the issuer may be another gateway by now.
                Err(error @ (JoinFailed::Dial { .. } | JoinFailed::Elsewhere(_))) => last = error,
                decided => return decided,
            }
        }
        Err(last)
    }

    async fn redeem_on(
        &self,
        link: &Link,
        token: &JoinToken,
        own: &OwnSide,
        dry_run: bool,
    ) -> Result<(bool, Preflight), JoinFailed> {
        let broken = || JoinFailed::Refused("the connection has no exporter".to_owned());
        let exporter = link.export_keying(JOIN_EXPORTER, &[]).ok_or_else(broken)?;
        let unreached = |source| JoinFailed::Dial {
            issuer: token.issuer.clone(),
            source,
        };
        let channel = link.channel().await.map_err(unreached)?;
        let mut call = Call {
            client: pb::join_client::JoinClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES),
            issuer: &token.issuer,
        };
        let read = async |reply: &Redeemed| {
            let (peer, trust) = (&reply.facts, self.core.trust());
            let prefixes = [peer.prefixes.as_slice(), &peer.vips].concat();
            let foretold = self.core.foretell(&peer.cluster, &prefixes).await?;
            let now = wall_clock();
            let found = preflight(&trust, token, own, &exporter, reply, foretold, now)?;
            Ok::<_, JoinFailed>(found)
        };
        let reply = call.redeem(&request(token, own, &exporter, true)).await?;
        let found = read(&reply).await?;
        if dry_run || found.refused() {
            return Ok((false, found));
        }
        let reply = call.redeem(&request(token, own, &exporter, false)).await?;
        let found = read(&reply).await?;
        if found.refused() {
            return Ok((false, found));
        }
        let taking = token.clone();
        let taken =
            self.core.change_trust(
                move |trust, now| match accept(trust, &taking, &reply, now) {
                    Ok(next) => {
                        *trust = next;
                        (true, Ok(()))
                    }
                    Err(e) => (false, Err(e)),
                },
            );
        taken.await??;
        tracing::info!(peer = %token.issuer, "joined");
        Ok((true, found))
    }
}

struct Call<'a> {
    client: pb::join_client::JoinClient<Channel>,
    issuer: &'a ClusterId,
}

impl Call<'_> {
    async fn redeem(&mut self, request: &Redeem) -> Result<Redeemed, JoinFailed> {
        let reply = self.client.redeem(pb::RedeemRequest::from(request)).await;
        let reply = reply.map_err(|status| match status.code() {
            Code::Unavailable => JoinFailed::Elsewhere(status.message().to_owned()),
            _ => JoinFailed::Refused(status.message().to_owned()),
        })?;
        Redeemed::try_from(reply.into_inner())
            .map_err(|e| JoinFailed::Reply(self.issuer.clone(), e.to_string()))
    }
}

#[tonic::async_trait]
impl pb::join_server::Join for Joining {
    async fn redeem(
        &self,
        request: Request<pb::RedeemRequest>,
    ) -> Result<Response<pb::RedeemReply>, Status> {
        let joiner = request.extensions().get::<Joiner>().cloned();
        let joiner = joiner.ok_or_else(|| Status::unauthenticated("not a join's connection"))?;
        let request = Redeem::try_from(request.into_inner()).map_err(crate::api::invalid)?;
        let cluster = request.facts.cluster.clone();
        let unavailable = |e: NotLeader| Status::unavailable(e.to_string());
        let own = self.own_side(&cluster).map_err(unavailable)?;
        let decided = self.core.change_trust(move |trust, now| {
            match redeem(trust, &own, &request, &joiner.exporter, now) {
                Ok(mut outcome) => match outcome.trust.take() {
                    Some(next) => {
                        *trust = next;
                        (true, Ok(outcome.reply))
                    }
                    None => (false, Ok(outcome.reply)),
                },
                Err(refusal) => (false, Err(refusal)),
            }
        });
        // Answered when the burnt token is on disk, and held by a follower where there is one.
        let decided = decided.await.map_err(unavailable)?;
        match decided {
            Ok(reply) => {
                if reply.bundle.is_some() {
                    tracing::info!(peer = %cluster, from = %joiner.from, "joined by token");
                }
                Ok(Response::new((&reply).into()))
            }
            Err(refusal) => {
                tracing::warn!(from = %joiner.from, %refusal, "join refused");
                Err(Status::permission_denied(refusal.to_string()))
            }
        }
    }
}

/// What this cluster is, for `peer`.
fn facts(config: &Config, shared: &ClusterSettings, view: &View, peer: &ClusterId) -> JoinFacts {
    let nodes = view
        .nodes
        .values()
        .flat_map(|node| node.pod_prefixes.iter());
    let mut prefixes: Vec<_> = shared.pod_prefixes.iter().chain(nodes).copied().collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes.truncate(causeway_proto::limits::PREFIXES_PER_CLUSTER);
    JoinFacts {
        cluster: config.cluster.clone(),
        cluster_set: config.clusterset.clone(),
        versions: VERSIONS,
        time: wall_clock(),
        prefixes,
        vips: crate::allot::told_vips(&shared.vips),
        plain_allowed: shared.plain_with(peer),
        services: view
            .exports
            .keys()
            .filter_map(|name| Some((name.clone(), offered(view, name)?)))
            .take(causeway_proto::limits::SERVICES)
            .collect(),
    }
}

/// The own ports of a service, with the names that its import has kept.
fn offered(view: &View, name: &ServiceName) -> Option<OfferedService> {
    let own = view.exports.get(name)?;
    let all = view.imports.get(name).map(|i| i.ports.as_slice());
    let is_own = |p: &&ImportPort| own.ports.contains_key(&(p.protocol, p.port));
    let ports = all.unwrap_or_default().iter().filter(is_own);
    Some(OfferedService {
        headless: own.headless,
        ports: ports
            .map(|p| ExportPort {
                name: p.name.clone(),
                protocol: p.protocol,
                port: p.port,
                app_protocol: p.app_protocol.clone(),
            })
            .collect(),
    })
}
