//! Shell: another CA takes over: by itself when the present one is old, or when an operator asks. Where a controller keeps
//! the CA it makes the next one too, and gives it with the office.

use std::sync::PoisonError;

use causeway_certs::ca::CaError;
use causeway_certs::cert::fingerprint;
use causeway_proto::model::{Digest, Timestamp};

use super::OwnKeys;
use crate::app::handle::{Core, Input};
use crate::config::Leadership;

impl OwnKeys {
    /// Lets another CA take over, or notes for the controller that one should.
    ///
    /// # Errors
    /// When there is none here, the last takeover is not over, or the files cannot be written.
    pub fn rotate(&self, now: Timestamp) -> Result<(), CaError> {
        let Some(authority) = self.authority() else {
            return Err(CaError::Material("this gateway does not hold the CA"));
        };
        let next = authority.rotate(now)?;
        if self.config.leadership != Leadership::Own {
            let unwanted = Some(fingerprint(authority.certificate()));
            *self
                .unwanted
                .write()
                .unwrap_or_else(PoisonError::into_inner) = unwanted;
            return Ok(());
        }
        next.write_over(&self.config.state_dir)?;
        self.hold(next, now);
        tracing::info!("another CA has taken over");
        self.issue()
    }

    /// The CA that is held, and whether the controller is asked for another one.
    #[must_use]
    pub fn held_authority(&self) -> (Option<Digest>, bool) {
        let held = self.authority().map(|a| fingerprint(a.certificate()));
        let unwanted = self.unwanted.read().unwrap_or_else(PoisonError::into_inner);
        (held, held.is_some() && *unwanted == held)
    }

    /// Lets another one take over when it is time, and tells what stands for this cluster when that has changed.
    pub(super) async fn look_after_authority(&self, core: &Core, now: Timestamp) {
        if !core.leading().leads {
            return;
        }
        let due = self.authority().is_some_and(|a| a.is_due(now));
        if due
            && self.config.leadership == Leadership::Own
            && let Err(error) = self.rotate(now)
        {
            tracing::error!(%error, "the cluster's CA is old, and no other one takes over");
        }
        let issued = self.issued_bundle();
        let told = self
            .own_bundle
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if issued != told {
            core.tell(Input::OwnBundle).await;
        }
    }

    /// Whether the CA that issued this gateway's leaf is no more the present one.
    pub(super) fn is_superseded(&self) -> bool {
        let own = self
            .own_bundle
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let present = own.as_ref().and_then(|own| own.authorities.first());
        present.is_some_and(|present| self.tls.leaf.is_of_another(present))
    }
}
