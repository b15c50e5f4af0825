//! Shell: the admin service, and certificates for our own processes: each call is a decision that runs on the core.

use std::sync::Arc;
use std::time::Duration;

use causeway_certs::Secret;
use causeway_certs::ca::Authority;
use causeway_certs::cert::{fingerprint, serial};
use causeway_certs::enrolment::{Enrolment as EnrolmentFile, Home};
use causeway_certs::name::Call;
use causeway_certs::token::{DEFAULT_TTL_MS, JoinToken};
use causeway_proto::model::{
    ClusterId, EnrolRole, Enrolment, IssuedCertificate, Preflight, Timestamp, TrustState,
};
use causeway_proto::wire::pb::{admin as pb, join, local};
use tonic::{Request, Response, Status};

use super::{ENROLMENT_MS, NotDone, expiry, open_enrolment, open_token, revoke, role};
use crate::api::{Calling, Signer, check, invalid};
use crate::app::{Core, Input, OwnKeys, wall_clock};
use crate::config::Config;
use crate::enroll::{self, NotEnrolled};
use crate::join::link::{JoinFailed, Joining};
use crate::transport::Transport;

/// Gateways that a join token names: a token is a line that people copy.
const TOKEN_GATEWAYS: usize = 3;
/// How long a controller has for making another CA.
const ROTATION: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const ROTATION_LOOK: Duration = Duration::from_millis(100);

fn refused(error: impl std::fmt::Display) -> Status {
    Status::failed_precondition(error.to_string())
}

/// On the leader, which has the CA.
fn leads(core: &Core, keys: &OwnKeys) -> Result<Arc<Authority>, Status> {
    let leading = core.leading();
    let authority = keys.authority().filter(|_| leading.leads);
    authority.ok_or_else(|| refused(leading.not_leader()))
}

/// What an operator may ask for.
#[derive(Debug, Clone)]
pub struct AdminService {
    core: Core,
    config: Arc<Config>,
    keys: Arc<OwnKeys>,
    joining: Joining,
    transport: Transport,
}

impl AdminService {
    /// Of one gateway.
    #[must_use]
    pub fn new(core: Core, config: Arc<Config>, keys: Arc<OwnKeys>, transport: Transport) -> Self {
        let joining = Joining::new(core.clone(), Arc::clone(&config), Arc::clone(&keys));
        Self {
            core,
            config,
            keys,
            joining,
            transport,
        }
    }

    fn check<T>(&self, request: &Request<T>, call: &Call) -> Result<Calling, Status> {
        check(request, &self.config.cluster, call)
    }

    /// A decision that gives the next state, or a reason not to.
    async fn change<F>(&self, decide: F) -> Result<(), Status>
    where
        F: FnOnce(&TrustState, Timestamp) -> Result<TrustState, NotDone> + Send + 'static,
    {
        let changed = self
            .core
            .change_trust(move |trust, now| match decide(trust, now) {
                Ok(next) => {
                    *trust = next;
                    (true, Ok(()))
                }
                Err(e) => (false, Err(e)),
            });
        changed.await.map_err(refused)?.map_err(refused)
    }
}

#[tonic::async_trait]
impl pb::admin_server::Admin for AdminService {
    async fn create_token(
        &self,
        request: Request<pb::CreateTokenRequest>,
    ) -> Result<Response<pb::CreateTokenReply>, Status> {
        self.check(&request, &Call::Admin)?;
        let authority = leads(&self.core, &self.keys)?;
        let (ttl, for_cluster) = request.into_inner().try_into().map_err(invalid)?;
        let for_cluster: Option<ClusterId> = for_cluster;
        let token = JoinToken {
            gateways: self.joining.gateways(TOKEN_GATEWAYS),
            cluster_set: self.config.clusterset.clone(),
            issuer: self.config.cluster.clone(),
            pin: fingerprint(authority.certificate()),
            secret: Secret::random().map_err(refused)?,
            expires: expiry(ttl, DEFAULT_TTL_MS, wall_clock()).map_err(invalid)?,
            for_cluster,
        };
        let text = token.encode().to_string();
        let expires_ms = token.expires.0;
        self.change(move |trust, now| open_token(trust, &token, now))
            .await?;
        Ok(Response::new(pb::CreateTokenReply {
            token: text,
            expires_ms,
        }))
    }

    async fn join(
        &self,
        request: Request<pb::JoinRequest>,
    ) -> Result<Response<pb::JoinReply>, Status> {
        self.check(&request, &Call::Membership)?;
        let asked = request.into_inner();
        let done = self
            .joining
            .join(&self.transport, &asked.token, asked.dry_run);
        let (joined, preflight) = done.await.map_err(|e| match e {
            JoinFailed::Token(e) => invalid(e),
            JoinFailed::Dial { .. } | JoinFailed::Timeout(_) => Status::unavailable(e.to_string()),
            e => refused(e),
        })?;
        let preflight: &Preflight = &preflight;
        Ok(Response::new(pb::JoinReply {
            joined,
            preflight: Some(join::Preflight::from(preflight)),
        }))
    }

    async fn enroll(
        &self,
        request: Request<pb::EnrollRequest>,
    ) -> Result<Response<pb::EnrollReply>, Status> {
        self.check(&request, &Call::Admin)?;
        let authority = leads(&self.core, &self.keys)?;
        let asked: (EnrolRole, String, Option<u64>) =
            request.into_inner().try_into().map_err(invalid)?;
        let (kind, name, ttl) = asked;
        let role = role(kind, &name).map_err(invalid)?;
        let gateway = self.config.advertise.local.clone().ok_or_else(|| {
            refused("advertise.local is not configured: HOST:PORT where other processes reach this gateway's local service")
        })?;
        let secret = Secret::random().map_err(refused)?;
        let expires = expiry(ttl, ENROLMENT_MS, wall_clock()).map_err(invalid)?;
        let file = EnrolmentFile {
            home: Home::new(
                self.config.cluster.clone(),
                self.config.clusterset.clone(),
                &role,
                &authority.certificates(wall_clock()),
                vec![gateway],
            ),
            secret: secret.clone(),
            expires,
        };
        let text = file.render().map_err(refused)?.to_string();
        self.change(move |trust, now| open_enrolment(trust, &role, &secret, expires, now))
            .await?;
        Ok(Response::new(pb::EnrollReply {
            file: text,
            expires_ms: expires.0,
        }))
    }

    async fn leave(
        &self,
        request: Request<pb::LeaveRequest>,
    ) -> Result<Response<pb::LeaveReply>, Status> {
        self.check(&request, &Call::Membership)?;
        let (told, not_told) = self.core.leave().await.map_err(refused)?;
        let names = |clusters: Vec<ClusterId>| clusters.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::LeaveReply {
            told: names(told),
            not_told: names(not_told),
        }))
    }

    async fn revoke(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeReply>, Status> {
        self.check(&request, &Call::Membership)?;
        let peer: ClusterId = request.into_inner().peer.parse().map_err(invalid)?;
        let own = self.config.cluster.clone();
        let told = peer.clone();
        self.change(move |trust, now| revoke(trust, &own, &peer, now))
            .await?;
        tracing::warn!(peer = %told, "revoked");
        Ok(Response::new(pb::RevokeReply {}))
    }

    async fn rotate_authority(
        &self,
        request: Request<pb::RotateAuthorityRequest>,
    ) -> Result<Response<pb::RotateAuthorityReply>, Status> {
        self.check(&request, &Call::Admin)?;
        let before = leads(&self.core, &self.keys)?;
        self.keys.rotate(wall_clock()).map_err(refused)?;
        self.core.tell(Input::OwnBundle).await;
        let taken = async {
            loop {
                let held = leads(&self.core, &self.keys)?;
                if held.certificate() != before.certificate() {
                    return Ok(held);
                }
                tokio::time::sleep(ROTATION_LOOK).await;
            }
        };
        let late = |_| {
            Err(Status::unavailable(
                "the controller keeps this cluster's CA, and has not made another one within a minute: see its log; it goes on trying",
            ))
        };
        let held = tokio::time::timeout(ROTATION, taken).await;
        let held: Arc<Authority> = held.unwrap_or_else(late)?;
        Ok(Response::new(pb::RotateAuthorityReply {
            authority: fingerprint(held.certificate()).0.to_vec(),
            former_until_ms: held.overlap().unwrap_or_default().0,
        }))
    }
}

/// Certificates for our own processes.
#[derive(Debug, Clone)]
pub struct CertificateService {
    core: Core,
    config: Arc<Config>,
    keys: Arc<OwnKeys>,
}

impl CertificateService {
    /// Of one gateway.
    #[must_use]
    pub fn new(core: Core, config: Arc<Config>, keys: Arc<OwnKeys>) -> Self {
        Self { core, config, keys }
    }
}

fn issued(authority: &Authority, chain: Vec<Vec<u8>>) -> IssuedCertificate {
    IssuedCertificate {
        chain,
        authorities: authority.certificates(wall_clock()),
    }
}

#[tonic::async_trait]
impl Signer for CertificateService {
    async fn enroll(&self, request: local::EnrollRequest) -> Result<local::EnrollReply, Status> {
        let authority = leads(&self.core, &self.keys)?;
        let request = Enrolment::try_from(request).map_err(invalid)?;
        let (signing, config) = (Arc::clone(&authority), Arc::clone(&self.config));
        let decided = self.core.change_trust(move |trust, now| {
            let (own, set) = (&config.cluster, &config.clusterset);
            let (name, next) = match enroll::enroll(trust, own, set, &request, now) {
                Ok(granted) => granted,
                Err(e) => return (false, Err(denied(e))),
            };
            // Signed before the secret is spent: a request that cannot be signed costs nothing.
            match signing.issue(&request.csr, &name, now) {
                Ok(chain) => {
                    *trust = next;
                    (true, Ok((name, chain)))
                }
                Err(e) => (false, Err(invalid(e))),
            }
        });
        let (name, chain) = decided.await.map_err(refused)??;
        tracing::info!(%name, "enrolled");
        Ok((&issued(&authority, chain)).into())
    }

    async fn renew(
        &self,
        request: local::RenewRequest,
        calling: &Calling,
    ) -> Result<local::RenewReply, Status> {
        let authority = leads(&self.core, &self.keys)?;
        let leaf = calling.leaf.as_ref().map(|leaf| serial(leaf)).transpose();
        let serial = leaf.map_err(invalid)?.unwrap_or_default();
        let (own, set, now) = (&self.config.cluster, &self.config.clusterset, wall_clock());
        let trust = self.core.trust();
        let name =
            enroll::renew(&trust, own, set, &calling.caller, &serial, now).map_err(denied)?;
        let chain = authority.issue(&request.csr, &name, now).map_err(invalid)?;
        Ok((&issued(&authority, chain)).into())
    }
}

fn denied(error: NotEnrolled) -> Status {
    Status::permission_denied(error.to_string())
}
