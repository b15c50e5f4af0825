//! Shell: this gateway's own name, keys and trust: the leader holds the cluster's CA, a follower a leaf that the
//! leader gave it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use causeway_certs::ca::{Authority, CaError};
use causeway_certs::catalog_key::verify_catalog;
use causeway_certs::dial;
use causeway_certs::enrolment::Member;
use causeway_certs::grant::{RENEW_RETRY_MS, renew_in};
use causeway_certs::name::Role;
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::trust::{Trust, TrustHandle};
use causeway_proto::model::{Timestamp, TrustBundle, TrustState};

use super::PATIENCE;
use super::clock::{random_u64, wall_clock};
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
        let leader = config.leader_address.as_slice();
        let (dir, file) = (&config.state_dir, config.enroll_file.as_deref());
        let member = dial::member(dir, &role, file, now, leader, PATIENCE).await?;
        Ok(Self {
            tls: member.tls.clone(),
            authorities: member.home().roots()?,
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

    /// Renews the leaf whenever it is time, for ever.
    pub async fn renew(&self) {
        let jitter = random_u64();
        if let Some(member) = &self.member {
            let leader = self.config.leader_address.as_slice();
            return dial::keep(member, leader, None, PATIENCE, jitter, wall_clock).await;
        }
        loop {
            let window = self.tls.leaf.validity();
            let wait = window.map_or(0, |window| renew_in(window, jitter, wall_clock()));
            if wait > 0 {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                continue;
            }
            match self.issue() {
                Ok(()) => tracing::info!("certificate renewed"),
                Err(error) => {
                    tracing::warn!(%error, "certificate not renewed");
                    tokio::time::sleep(Duration::from_millis(RENEW_RETRY_MS)).await;
                }
            }
        }
    }

    /// The leader issues its leaf itself.
    fn issue(&self) -> Result<(), CaError> {
        if let Some(authority) = &self.authority {
            let role = Role::Gateway(self.config.name.clone());
            self.tls
                .leaf
                .replace(&authority.own_leaf(role, wall_clock())?)?;
        }
        Ok(())
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
