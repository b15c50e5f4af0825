//! Shell: how a process of ours comes to its first leaf and to each next one. The calls themselves are the
//! caller's: this does no networking.
//!
//! A one-time file from `causeway enroll` says where to ask and holds the secret; the state directory then holds `leaf.pem`
//! (key, leaf, CA; mode 0600) and `cluster.json` (what of the file is no secret).

use std::future::Future;
use std::path::{Path, PathBuf};

use causeway_proto::model::{ClusterId, ClusterSet, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Secret;
use crate::ca::{CaError, Leaf, LeafRequest};
use crate::cert::authority_of;
use crate::files::{FileError, private_dir, read_private, write_private};
use crate::grant::{RENEW_RETRY_MS, renew_at};
use crate::name::{NameError, PeerName, Role};
use crate::tls::{LeafCell, Tls};
use crate::trust::{Trust, TrustHandle};
use crate::{pem, secret::NoRandomness};

/// Format of the file.
pub const FORMAT: u32 = 1;

/// What a process must know of its cluster: public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// Format number.
    pub format: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// Its clusterset.
    pub cluster_set: ClusterSet,
    /// `agent/w1` and the like.
    pub role: String,
    /// The cluster's CA certificates, PEM.
    pub authorities: String,
    /// Local API of its gateways, `HOST:PORT`.
    pub gateways: Vec<String>,
}

impl Home {
    /// Its CA certificates, DER, checked to be those of the cluster.
    ///
    /// # Errors
    /// When they are not.
    pub fn roots(&self) -> Result<Vec<Vec<u8>>, NameError> {
        let roots = pem::parse_certificates(&self.authorities).ok_or(NameError::NotACertificate)?;
        for root in &roots {
            let named = authority_of(root, &self.cluster_set)?;
            if named != self.cluster {
                return Err(NameError::Form(format!("spiffe://{named}")));
            }
        }
        Ok(roots.into_iter().map(|der| der.to_vec()).collect())
    }

    /// The name that it will have.
    ///
    /// # Errors
    /// When the role is not one of ours.
    pub fn name(&self) -> Result<PeerName, NameError> {
        let role = Role::parse(&self.role)?;
        PeerName::new(self.cluster.clone(), self.cluster_set.clone(), role)
    }
}

/// The one-time file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// What stays.
    pub home: Home,
    /// Used once.
    pub secret: Secret,
    /// When it expires.
    pub expires: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolmentFile {
    home: Home,
    secret: String,
    expires_unix_secs: u64,
}

/// A process that has no leaf and gets none.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Neither leaf nor file.
    #[error(
        "{dir} holds no certificate: run `causeway enroll {role}` on the leader and give this process the file"
    )]
    NotEnrolled {
        /// State directory.
        dir: PathBuf,
        /// What to ask for.
        role: String,
    },
    /// Not such a file.
    #[error("{path} is not a file of `causeway enroll`, or was altered: {reason}")]
    NotAnEnrolment {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Too late.
    #[error("{path} expired {ago_secs} s ago; make another with `causeway enroll {role}`")]
    Expired {
        /// Which.
        path: PathBuf,
        /// For whom.
        role: String,
        /// How long ago.
        ago_secs: u64,
    },
    /// Another process's file.
    #[error("{path} is for {found}, but this is {expected}")]
    OtherRole {
        /// Which.
        path: PathBuf,
        /// For whom.
        found: String,
        /// Who we are.
        expected: String,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key or a certificate.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The gateway refused, or none answered.
    #[error("enrolling as {role}: {source}")]
    Call {
        /// As what.
        role: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
