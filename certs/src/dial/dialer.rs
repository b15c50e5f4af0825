//! Shell: the listed gateways of a process that lives long, and the certificate that it needs for those over TCP.

use std::path::PathBuf;
use std::time::Duration;

use causeway_proto::model::Timestamp;
use causeway_proto::wire::pb::local::local_client::LocalClient;
use tokio::sync::OnceCell;
use tonic::transport::Channel;

use super::{GatewayAt, Patience, causes, keep, local, member};
use crate::enrolment::{CallError, EnrolError, Member};
use crate::name::Role;

/// Pause after an enrolment that failed.
const ENROL_AGAIN: Duration = Duration::from_secs(5);

/// What a process is told about its gateways.
#[derive(Debug, Clone)]
pub struct Dialing {
    /// Their local services, the preferred one first.
    pub gateways: Vec<GatewayAt>,
    /// What this process is: `agent/w1` and the like.
    pub role: Role,
    /// Where it keeps its certificate.
    pub state_dir: PathBuf,
    /// One-time file of `causeway enroll`, used when `state_dir` holds no certificate.
    pub enrolment: Option<PathBuf>,
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
}

impl Dialer {
    /// For the gateways of this list.
    #[must_use]
    pub fn new(told: Dialing) -> Self {
        Self {
            told,
            member: OnceCell::new(),
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
        let file = enrolment.as_deref();
        let enrol = || member(state_dir, role, file, clock(), gateways, *patience);
        self.member.get_or_try_init(enrol).await
    }

    /// A client of the local service there.
    ///
    /// # Errors
    /// When nobody answers, or somebody else, or there is no certificate for TCP.
    pub async fn client(&self, at: &GatewayAt) -> Result<LocalClient<Channel>, CallError> {
        let tls = match at {
            GatewayAt::Unix(_) => None,
            GatewayAt::Tcp(_) => Some(&self.member().await?.tls),
        };
        Ok(local(at, tls, self.told.patience).await?)
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
        keep(member, gateways, *patience, jitter, clock).await;
    }
}
