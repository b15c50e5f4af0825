//! Pure: how a process on Kubernetes comes to a certificate by its service account token.

use std::fmt;

use super::{ClusterId, ClusterSet, IssuedCertificate, LeaderState};

/// A request for a certificate. Its `Debug` shows no token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenEnrolment {
    /// Projected service account token, at most `limits::SERVICE_TOKEN_BYTES`.
    pub token: String,
    /// Certificate signing request, DER, at most `limits::CERTIFICATE_BYTES`.
    pub csr: Vec<u8>,
    /// `gateway/w1` and the like, as asked for; the token decides.
    pub role: String,
    /// A gateway whose disk holds what a leader must not lose: the epoch of it.
    pub held_epoch: Option<u64>,
}

impl fmt::Debug for TokenEnrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEnrolment")
            .field("role", &self.role)
            .field("held_epoch", &self.held_epoch)
            .finish_non_exhaustive()
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenEnrolReply {
    /// Here it is.
    Enrolled(Enrolled),
    /// The controller has lost its store: offer what you hold, then ask again.
    WantState,
}

/// A certificate, and what its holder must know of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// With the cluster's authorities.
    pub certificate: IssuedCertificate,
    /// The cluster.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
    /// Local services of its gateways, `HOST:PORT`.
    pub gateways: Vec<String>,
}

/// What a gateway holds, for a controller that has lost its store. Its `Debug` shows no token.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    /// As in [`TokenEnrolment`].
    pub token: String,
    /// As in [`TokenEnrolment`].
    pub role: String,
    /// The highest epoch that the gateway has ever seen.
    pub epoch: u64,
    /// What is on its disk; without the authority where it does not lead.
    pub state: LeaderState,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("role", &self.role)
            .field("epoch", &self.epoch)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
