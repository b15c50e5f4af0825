//! Shell: this gateway's own name, keys and trust: the leader holds the cluster's CA, the others a leaf that the
//! leader or the controller gave them. Where a controller appoints, the CA comes with the office and goes with it.

mod renew;
mod rotate;

use std::sync::{Arc, PoisonError, RwLock};

use causeway_certs::bundle;
use causeway_certs::ca::{Authority, CaError};
use causeway_certs::catalog_key::verify_catalog;
use causeway_certs::dial::{self, Holding, Means};
use causeway_certs::enrolment::{EnrolError, Member};
use causeway_certs::name::Role;
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::trust::{Trust, TrustHandle};
use causeway_proto::model::{AuthorityMaterial, Digest, Timestamp, TrustBundle, TrustState};

use super::PATIENCE;
use super::clock::wall_clock;
use crate::catalog::Keys;
use crate::config::{Config, Leadership};

/// Keys and trust of this gateway.
#[derive(Debug)]
pub struct OwnKeys {
    config: Arc<Config>,
    /// For every connection.
    pub tls: Tls,
    /// The leader has it.
    authority: RwLock<Option<Arc<Authority>>>,
    /// The leaf of a gateway that is not the leader for good.
    member: Option<Member>,
    /// What stands for this cluster: the leader makes it, followers have it from the leader.
    own_bundle: RwLock<Option<TrustBundle>>,
    /// The CA that an operator wants another one to take over from, which the controller has to do.
    unwanted: RwLock<Option<Digest>>,
}

/// An appointment that cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum NoAuthority {
    /// Neither given nor here.
    #[error("the controller appoints this gateway without giving it the cluster's CA")]
    Absent,
    /// One that cannot be used.
    #[error("the cluster's CA, as given: {0}")]
    Unusable(#[from] CaError),
}

impl OwnKeys {
    /// Opens what the state directory holds; the first time, the leader makes the CA and the others enrol. `holding`: for
    /// a controller that has lost its store; `other_leads`: by the last word of one.
    ///
    /// # Errors
    /// When files cannot be used, or there is no leaf and none to be had.
    pub async fn open(
        config: Arc<Config>,
        holding: Holding,
        other_leads: bool,
        now: Timestamp,
    ) -> Result<Self, anyhow::Error> {
        let role = Role::Gateway(config.name.clone());
        let (dir, cluster, set) = (&config.state_dir, &config.cluster, &config.clusterset);
        match &config.leadership {
            Leadership::Own => {
                let authority = Authority::open(dir, cluster, set, now)?;
                let leaf = authority.own_leaf(role, now)?;
                let authorities = authority.certificates(now);
                let trust = Trust::own_only(cluster.clone(), set.clone(), &authorities);
                let cell = LeafCell::new(&leaf).map_err(CaError::from)?;
                let tls = Tls::new(cell, TrustHandle::new(trust));
                Ok(Self::new(&config, tls, Some(authority), None))
            }
            Leadership::Other(_, leader) => {
                let file = match &config.enrolment {
                    Some(Means::File(file)) => Some(file.as_path()),
                    _ => None,
                };
                let gateways = std::slice::from_ref(leader);
                let member = dial::member(dir, &role, file, now, gateways, PATIENCE).await?;
                Ok(Self::new(&config, member.tls.clone(), None, Some(member)))
            }
            Leadership::Controller => {
                if other_leads {
                    Authority::remove(dir)?;
                }
                let authority = Authority::load(dir, cluster, set, now)?;
                let member = enrolled(&config, &role, &holding, now).await?;
                let tls = member.tls.clone();
                Ok(Self::new(&config, tls, authority, Some(member)))
            }
        }
    }

    fn new(
        config: &Arc<Config>,
        tls: Tls,
        authority: Option<Authority>,
        member: Option<Member>,
    ) -> Self {
        Self {
            config: Arc::clone(config),
            tls,
            authority: RwLock::new(authority.map(Arc::new)),
            member,
            own_bundle: RwLock::default(),
            unwanted: RwLock::default(),
        }
    }

    /// The cluster's CA, on the leader.
    #[must_use]
    pub fn authority(&self) -> Option<Arc<Authority>> {
        let authority = self
            .authority
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        authority.clone()
    }

    /// The cluster's CA certificates, DER.
    fn authorities(&self) -> Vec<Vec<u8>> {
        let own = self.authority().map(|a| a.certificates(wall_clock()));
        let member = || self.member.as_ref().and_then(|m| m.home().roots().ok());
        own.or_else(member).unwrap_or_default()
    }

    /// What it takes to lead: the CA as the controller gives it, else as it is here already. Kept, so that a leader which
    /// restarts needs no controller.
    ///
    /// # Errors
    /// When there is none, or it cannot be used or kept.
    pub fn take_authority(
        &self,
        given: Option<&AuthorityMaterial>,
        now: Timestamp,
    ) -> Result<(), NoAuthority> {
        let held = self.authority();
        let Some(given) = given else {
            return held.map(|_| ()).ok_or(NoAuthority::Absent);
        };
        if held.is_some_and(|held| held.material() == given) {
            return Ok(());
        }
        let (cluster, set) = (&self.config.cluster, &self.config.clusterset);
        let authority = Authority::from_material(given, cluster, set, now)?;
        authority.write(&self.config.state_dir)?;
        self.hold(authority, now);
        Ok(())
    }

    fn hold(&self, authority: Authority, now: Timestamp) {
        let certificates = authority.certificates(now);
        *self
            .authority
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(authority));
        self.tls.trust.own_is(&certificates);
    }

    /// Forgets the CA: another gateway leads.
    pub fn drop_authority(&self) {
        let mut held = self
            .authority
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if held.take().is_none() {
            return;
        }
        if let Err(error) = Authority::remove(&self.config.state_dir) {
            tracing::error!(%error, "the CA of a leadership that is over stays on the disk");
        }
    }

    /// What stands for this cluster, made by the leader.
    #[must_use]
    pub fn issued_bundle(&self) -> Option<TrustBundle> {
        let gateways = vec![self.config.advertise.session.clone()];
        self.authority().map(|a| a.bundle(gateways, wall_clock()))
    }

    /// When the CA ends.
    #[must_use]
    pub fn ca_expires(&self) -> Option<Timestamp> {
        let authorities = self.authorities();
        let validity = causeway_certs::cert::validity(authorities.first()?);
        validity.ok().map(|v| v.not_after)
    }

    /// New handshakes go by this from now on.
    pub fn trust_is(&self, trust: &TrustState) {
        let (cluster, set) = (self.config.cluster.clone(), self.config.clusterset.clone());
        self.tls
            .trust
            .replace(Trust::new(cluster, set, &self.authorities(), trust));
        let own = trust.bundles.get(&self.config.cluster).cloned();
        *self
            .own_bundle
            .write()
            .unwrap_or_else(PoisonError::into_inner) = own;
    }
}

/// By the leaf on the disk, else by the token.
async fn enrolled(
    config: &Config,
    role: &Role,
    holding: &Holding,
    now: Timestamp,
) -> Result<Member, EnrolError> {
    let Some(Means::Token(by)) = &config.enrolment else {
        let (dir, role) = (config.state_dir.clone(), role.to_string());
        return Err(EnrolError::NotEnrolled { dir, role });
    };
    let (dir, cluster) = (&config.state_dir, Some(&config.cluster));
    let mut pause = renew::ENROL_SOON;
    loop {
        let member =
            dial::member_by_token(dir, role, by, cluster, now, PATIENCE, Some(holding)).await;
        match member {
            // The controller may come up after this, or be restarting; nothing works before it has.
            Err(error) if dial::passes(&error) => {
                tracing::warn!(error = dial::causes(&error), "no certificate yet");
                tokio::time::sleep(pause).await;
                pause = renew::ENROL_AGAIN.min(pause.saturating_mul(2));
            }
            decided => return decided,
        }
    }
}

impl Keys for Arc<OwnKeys> {
    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.authority()?.catalog_key().sign(bytes).ok()
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

    fn admits(&self, bundle: &TrustBundle, now: Timestamp) -> Result<(), String> {
        let checked = bundle::check(bundle, &self.config.clusterset, now);
        checked.map_err(|error| error.to_string())
    }
}
