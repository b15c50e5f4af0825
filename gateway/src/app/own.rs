//! Shell: this gateway's own name, keys and trust: the leader holds the cluster's CA, a follower a leaf that the
//! leader gave it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use causeway_certs::ca::{Authority, CaError, Leaf};
use causeway_certs::catalog_key::verify_catalog;
use causeway_certs::enrolment::{Issued, Member, load_or_enrol};
use causeway_certs::grant::{RENEW_RETRY_MS, renew_at};
use causeway_certs::name::Role;
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::token;
use causeway_certs::trust::{Trust, TrustHandle};
use causeway_proto::model::{Enrolment, IssuedCertificate, Timestamp, TrustBundle, TrustState};
use causeway_proto::wire::pb::local as pb;

use super::clock::{random_u64, wall_clock};
use super::local_channel;
use crate::catalog::Keys;
use crate::config::Config;

/// Keys and trust of this gateway.
#[derive(Debug)]
pub struct OwnKeys {
    config: Arc<Config>,
    /// For every connection.
    pub tls: Tls,
    /// The cluster's CA certificates, DER.
    pub authorities: Vec<Vec<u8>>,
    /// The leader has it.
    pub authority: Option<Authority>,
    member: Option<Member>,
    /// What stands for this cluster: the leader makes it, followers have it from the leader.
    own_bundle: RwLock<Option<TrustBundle>>,
}

impl OwnKeys {
    /// Opens what the state directory holds; the first time, the leader makes the CA and a follower enrols.
    ///
    /// # Errors
    /// When files cannot be used, or a follower has no leaf and gets none.
    pub async fn open(config: Arc<Config>, now: Timestamp) -> Result<Self, anyhow::Error> {
        let role = Role::Gateway(config.name.clone());
        if config.is_leader() {
            let (cluster, set) = (&config.cluster, &config.clusterset);
            let authority = Authority::open(&config.state_dir, cluster, set, now)?;
            let leaf = authority.own_leaf(role, now)?;
            let authorities = vec![authority.certificate().to_vec()];
            let trust = Trust::own_only(cluster.clone(), set.clone(), &authorities);
            let cell = LeafCell::new(&leaf).map_err(CaError::from)?;
            return Ok(Self {
                tls: Tls::new(cell, TrustHandle::new(trust)),
                authorities,
                authority: Some(authority),
                member: None,
                own_bundle: RwLock::default(),
                config,
            });
        }
        let file = config.enroll_file.clone();
        let address = config.leader_address.clone().unwrap_or_default();
        let member = load_or_enrol(
            &config.state_dir,
            &role,
            file.as_deref(),
            now,
            async |tls, enrolment, csr| {
                let request = Enrolment {
                    id: token::id(&enrolment.secret),
                    secret: enrolment.secret.expose().to_vec(),
                    csr,
                };
                let mut client =
                    pb::local_client::LocalClient::new(local_channel(&tls, &address).await?);
                let reply = client.enroll(pb::EnrollRequest::from(&request)).await?;
                issued(IssuedCertificate::try_from(reply.into_inner())?)
            },
        )
        .await?;
        Ok(Self {
            tls: member.tls.clone(),
            authorities: member.home.roots()?,
            authority: None,
            member: Some(member),
            own_bundle: RwLock::default(),
            config,
        })
    }

    /// What stands for this cluster, made by the leader.
    #[must_use]
    pub fn issued_bundle(&self) -> Option<TrustBundle> {
        let gateways = vec![self.config.advertise.session.clone()];
        self.authority.as_ref().map(|a| a.bundle(gateways))
    }

    /// When the CA ends.
    #[must_use]
    pub fn ca_expires(&self) -> Option<Timestamp> {
        let der = self.authorities.first()?;
        causeway_certs::cert::validity(der)
            .ok()
            .map(|v| v.not_after)
    }

    /// New handshakes go by this from now on.
    pub fn trust_is(&self, trust: &TrustState) {
        let (cluster, set) = (self.config.cluster.clone(), self.config.clusterset.clone());
        self.tls
            .trust
            .replace(Trust::new(cluster, set, &self.authorities, trust));
        let own = trust.bundles.get(&self.config.cluster).cloned();
        *self
            .own_bundle
            .write()
            .unwrap_or_else(PoisonError::into_inner) = own;
    }

    /// Renews the leaf at two thirds of its life, for ever.
    pub async fn renew(&self) {
        let jitter = random_u64();
        loop {
            let at = self.tls.leaf.validity().map(|v| renew_at(v, jitter));
            let wait = at.map_or(RENEW_RETRY_MS, |at| at.since(wall_clock()));
            tokio::time::sleep(Duration::from_millis(wait)).await;
            match self.renew_once().await {
                Ok(()) => tracing::info!("certificate renewed"),
                Err(error) => {
                    tracing::warn!(%error, "certificate not renewed");
                    tokio::time::sleep(Duration::from_millis(RENEW_RETRY_MS)).await;
                }
            }
        }
    }

    async fn renew_once(&self) -> Result<(), anyhow::Error> {
        if let Some(authority) = &self.authority {
            let role = Role::Gateway(self.config.name.clone());
            let leaf: Leaf = authority.own_leaf(role, wall_clock())?;
            self.tls.leaf.replace(&leaf)?;
            return Ok(());
        }
        let Some(member) = &self.member else {
            return Ok(());
        };
        let address = self.config.leader_address.clone().unwrap_or_default();
        let renewed = member.renew(async |csr| {
            let channel = local_channel(&self.tls, &address).await?;
            let mut client = pb::local_client::LocalClient::new(channel);
            let reply = client.renew(pb::RenewRequest { csr }).await?;
            issued(IssuedCertificate::try_from(reply.into_inner())?)
        });
        Ok(renewed.await?)
    }
}

impl Keys for Arc<OwnKeys> {
    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.authority.as_ref()?.catalog_key().sign(bytes).ok()
    }

    fn verify(&self, bundle: Option<&TrustBundle>, bytes: &[u8], signature: &[u8]) -> bool {
        let own = self
            .own_bundle
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(bundle) = bundle.or(own.as_ref()) else {
            return false;
        };
        let set = &self.config.clusterset;
        verify_catalog(bundle, set, &bundle.cluster, bytes, signature).is_ok()
    }
}

fn issued(certificate: IssuedCertificate) -> Result<Issued, causeway_certs::enrolment::CallError> {
    Ok(Issued {
        chain: certificate.chain,
        authorities: certificate.authorities,
    })
}
