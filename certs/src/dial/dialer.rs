//! Shell: the listed gateways of a process that lives long, and the certificate that it needs for those over TCP.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use causeway_proto::model::Timestamp;
use causeway_proto::wire::pb::local::local_client::LocalClient;
use tokio::sync::OnceCell;
use tonic::transport::Channel;

use super::{
    ByToken, GatewayAt, Means, Patience, causes, local, member, member_by_token, renew_or_enrol,
    token,
};
use crate::enrolment::{CallError, EnrolError, Member};
use crate::grant::RENEW_RETRY_MS;
use crate::name::Role;

/// Pause after an enrolment that failed.
const ENROL_AGAIN: Duration = Duration::from_secs(5);

/// When no gateway was reached for so long, the certificate is replaced where a token can do it: perhaps the cluster's
/// CA is another one by now.
const ASTRAY_MS: u64 = 30_000;

/// What a process is told about its gateways.
#[derive(Debug, Clone)]
pub struct Dialing {
    /// Their local services, the preferred one first.
    pub gateways: Vec<GatewayAt>,
    /// What this process is: `agent/w1` and the like.
    pub role: Role,
    /// Where it keeps its certificate.
    pub state_dir: PathBuf,
    /// What it gets a certificate with, when `state_dir` holds none.
    pub enrolment: Option<Means>,
    /// How long it waits for one gateway.
    pub patience: Patience,
    /// The time now.
    pub clock: fn() -> Timestamp,
}

/// Ways to the gateways, and what proves who we are.
#[derive(Debug)]
pub struct Dialer {
    told: Dialing,
    /// Got when a gateway over TCP is first needed.
    member: OnceCell<Member>,
    /// Since when no gateway over TCP was reached.
    astray: Mutex<Option<Timestamp>>,
}

impl Dialer {
    /// For the gateways of this list.
    #[must_use]
    pub fn new(told: Dialing) -> Self {
        Self {
            told,
            member: OnceCell::new(),
            astray: Mutex::default(),
        }
    }

    /// The gateways, the preferred one first.
    #[must_use]
    pub fn gateways(&self) -> &[GatewayAt] {
        &self.told.gateways
    }

    /// Whether a certificate is needed at all.
    #[must_use]
    pub fn needs_certificate(&self) -> bool {
        let mut gateways = self.told.gateways.iter();
        gateways.any(|at| matches!(at, GatewayAt::Tcp(_)))
    }

    /// The certificate: loaded, or the first one from whichever gateway leads.
    ///
    /// # Errors
    /// When there is none and none to be had.
    pub async fn member(&self) -> Result<&Member, EnrolError> {
        let Dialing {
            gateways,
            role,
            state_dir,
            enrolment,
            patience,
            clock,
        } = &self.told;
        let enrol = async || match enrolment {
            Some(Means::Token(by)) => {
                member_by_token(state_dir, role, by, None, clock(), *patience, None).await
            }
            Some(Means::File(file)) => {
                member(state_dir, role, Some(file), clock(), gateways, *patience).await
            }
            None => member(state_dir, role, None, clock(), gateways, *patience).await,
        };
        self.member.get_or_try_init(enrol).await
    }

    /// A client of the local service there.
    ///
    /// # Errors
    /// When nobody answers, or somebody else, or there is no certificate for TCP.
    pub async fn client(&self, at: &GatewayAt) -> Result<LocalClient<Channel>, CallError> {
        let reached = self.one_more(at).await;
        if matches!(at, GatewayAt::Tcp(_)) {
            self.note(reached.is_ok());
        }
        reached
    }

    /// The same, of a gateway beside the listed ones: that it is not reached says nothing of our certificate.
    ///
    /// # Errors
    /// As [`Dialer::client`].
    pub async fn one_more(&self, at: &GatewayAt) -> Result<LocalClient<Channel>, CallError> {
        let tls = match at {
            GatewayAt::Unix(_) => None,
            GatewayAt::Tcp(_) => Some(&self.member().await?.tls),
        };
        Ok(local(at, tls, self.told.patience).await?)
    }

    fn note(&self, reached: bool) {
        let mut astray = self.astray.lock().unwrap_or_else(PoisonError::into_inner);
        *astray = match (reached, *astray) {
            (true, _) => None,
            (false, since) => since.or_else(|| Some((self.told.clock)())),
        };
    }

    /// Whether no gateway has been reached for long.
    fn is_astray(&self) -> bool {
        let astray = self.astray.lock().unwrap_or_else(PoisonError::into_inner);
        astray.is_some_and(|since| (self.told.clock)().since(since) >= ASTRAY_MS)
    }

    fn by_token(&self) -> Option<&ByToken> {
        match &self.told.enrolment {
            Some(Means::Token(by)) => Some(by),
            _ => None,
        }
    }

    /// Gets the certificate while the one-time file holds, and renews it whenever it is time, for ever; at once over
    /// when none is needed. `jitter` spreads the processes of a cluster.
    pub async fn keep_certificate(&self, jitter: u64) {
        if !self.needs_certificate() {
            return;
        }
        let member = loop {
            match self.member().await {
                Ok(member) => break member,
                Err(error) => tracing::warn!(error = causes(&error), "no certificate yet"),
            }
            tokio::time::sleep(ENROL_AGAIN).await;
        };
        let Dialing {
            gateways,
            patience,
            clock,
            ..
        } = &self.told;
        let by = self.by_token();
        loop {
            let wait = member.renew_in(jitter, clock());
            let renewed = match (wait, by.filter(|_| self.is_astray())) {
                (_, Some(by)) => token::enrol_again(member, by, None, *patience, None).await,
                (0, None) => renew_or_enrol(member, gateways, by, *patience).await,
                (wait, None) => {
                    let look = if by.is_some() { ASTRAY_MS } else { wait };
                    tokio::time::sleep(Duration::from_millis(wait.min(look))).await;
                    continue;
                }
            };
            match renewed {
                Ok(()) => tracing::info!("certificate renewed"),
                Err(error) => tracing::warn!(error = causes(&error), "certificate not renewed"),
            }
            // Whether it was of use shows by the next attempt to reach a gateway.
            self.note(true);
            tokio::time::sleep(Duration::from_millis(RENEW_RETRY_MS)).await;
        }
    }
}
