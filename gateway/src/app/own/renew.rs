//! Shell: the next certificate of this gateway, whenever it is time, and a look whether the controller still knows this
//! cluster.

use std::time::Duration;

use causeway_certs::ca::CaError;
use causeway_certs::dial::{self, ByToken, GatewayAt, Means, causes};
use causeway_certs::enrolment::{EnrolError, Issued, Member};
use causeway_certs::grant::{RENEW_RETRY_MS, renew_in};
use causeway_certs::name::Role;

use super::OwnKeys;
use crate::app::PATIENCE;
use crate::app::clock::{random_u64, wall_clock};
use crate::app::handle::{Core, Input};
use crate::config::Leadership;

/// How often the controller is asked for a certificate while it does not come by itself: it may have lost its store, and
/// then knows neither us nor our CA.
pub(super) const ENROL_AGAIN: Duration = Duration::from_secs(10);
/// The pause after the first time that a starting gateway got no certificate; it doubles up to [`ENROL_AGAIN`]. In an
/// installation the controller starts at the same time.
pub(super) const ENROL_SOON: Duration = Duration::from_millis(500);
/// How often it is looked whether there is anything to do.
const LOOK: Duration = Duration::from_secs(1);
/// After a renewal that failed, at first and at most.
const RETRY_SOON: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(RENEW_RETRY_MS);

impl OwnKeys {
    /// Renews the leaf whenever it is time, for ever.
    pub async fn renew(&self, core: &Core) {
        let jitter = random_u64();
        match (
            &self.config.leadership,
            &self.member,
            &self.config.enrolment,
        ) {
            (Leadership::Other(_, leader), Some(member), _) => {
                self.renew_follower(member, std::slice::from_ref(leader), jitter)
                    .await;
            }
            (Leadership::Controller, Some(member), Some(Means::Token(by))) => {
                self.renew_appointed(core, member, by, jitter).await;
            }
            _ => self.renew_own(core, jitter).await,
        }
    }

    /// A gateway does not wait for its leaf's time where another CA has taken over: peers that have just come know only that
    /// one.
    fn is_due(&self, member: &Member, jitter: u64) -> bool {
        member.renew_in(jitter, wall_clock()) == 0 || self.is_superseded()
    }

    async fn renew_follower(&self, member: &Member, leader: &[GatewayAt], jitter: u64) {
        let mut pause = RETRY_SOON;
        loop {
            tokio::time::sleep(LOOK).await;
            if self.is_due(member, jitter) {
                let renewed = dial::renew(member, leader, PATIENCE).await;
                self.renewed(renewed, &mut pause).await;
            }
        }
    }

    /// Says how it went, and waits where trying again at once would help nobody: the leader may be restarting, or refuse for
    /// good.
    async fn renewed(&self, renewed: Result<(), EnrolError>, pause: &mut Duration) {
        match renewed {
            Ok(()) => {
                tracing::info!("certificate renewed");
                if !self.is_superseded() {
                    *pause = RETRY_SOON;
                    return;
                }
            }
            Err(error) => tracing::warn!(error = causes(&error), "certificate not renewed"),
        }
        tokio::time::sleep(*pause).await;
        *pause = RETRY.min(pause.saturating_mul(2));
    }

    /// The leader for good issues its leaf itself.
    async fn renew_own(&self, core: &Core, jitter: u64) {
        loop {
            self.look_after_authority(core, wall_clock()).await;
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
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    pub(super) fn issue(&self) -> Result<(), CaError> {
        if let Some(authority) = self.authority() {
            let role = Role::Gateway(self.config.name.clone());
            let leaf = authority.own_leaf(role, wall_clock())?;
            self.tls.leaf.replace(&leaf)?;
        }
        Ok(())
    }

    async fn renew_appointed(&self, core: &Core, member: &Member, by: &ByToken, jitter: u64) {
        // Asked at each start, whatever is on the disk: that is how a controller without a store learns of us.
        let mut said = None;
        self.enrol_again(core, member, by, &mut said).await;
        let (mut waited, mut pause) = (Duration::ZERO, RETRY_SOON);
        loop {
            tokio::time::sleep(LOOK).await;
            let lost = core.leading().controllers == 0;
            waited = if lost { waited + LOOK } else { Duration::ZERO };
            self.look_after_authority(core, wall_clock()).await;
            if self.is_due(member, jitter) {
                let renewed = self.renew_anywhere(core, member, by).await;
                self.renewed(renewed, &mut pause).await;
            } else if waited >= ENROL_AGAIN {
                waited = Duration::ZERO;
                self.enrol_again(core, member, by, &mut said).await;
            }
        }
    }

    /// `said`: why it was in vain the last time, which is told once.
    async fn enrol_again(
        &self,
        core: &Core,
        member: &Member,
        by: &ByToken,
        said: &mut Option<String>,
    ) {
        let Some(mut holding) = core.ask(Input::Holding).await else {
            return;
        };
        holding.state.authority = self.authority().map(|a| a.material().clone());
        let cluster = Some(&self.config.cluster);
        let asked = dial::enrol_again(member, by, cluster, PATIENCE, Some(&holding)).await;
        let why = asked.err().map(|error| causes(&error));
        if let Some(error) = why.as_deref().filter(|_| why != *said) {
            tracing::warn!(
                error,
                "the controller gives no certificate; it is asked again"
            );
        }
        *said = why;
    }

    /// By the CA that is here, by the leader, or by the token.
    async fn renew_anywhere(
        &self,
        core: &Core,
        member: &Member,
        by: &ByToken,
    ) -> Result<(), EnrolError> {
        if let Some(authority) = self.authority() {
            let name = member.home().name()?;
            let issue = async |csr: Vec<u8>| {
                Ok(Issued {
                    chain: authority.issue(&csr, &name, wall_clock())?,
                    authorities: authority.certificates(wall_clock()),
                })
            };
            return member.renew(issue).await;
        }
        let leader = core.leading().address.clone().map(GatewayAt::Tcp);
        dial::renew_or_enrol(member, leader.as_slice(), Some(by), PATIENCE).await
    }
}
