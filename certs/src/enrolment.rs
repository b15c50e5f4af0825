//! Shell: how a process of ours comes to its first leaf and to each next one. The calls themselves are the
//! caller's: this does no networking.
//!
//! A one-time file from `causeway enroll` says where to ask and holds the secret; the state directory then holds `leaf.pem`
//! (key, leaf, CA; mode 0600) and `cluster.json` (what of the file is no secret).

mod member;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use causeway_proto::model::{ClusterId, ClusterSet, IssuedCertificate, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Secret;
use crate::ca::{CaError, LeafRequest};
use crate::cert::authority_of;
use crate::files::{FileError, read_private};
use crate::name::{NameError, PeerName, Role};
use crate::pem;
use crate::tls::{LeafCell, Tls};
use crate::trust::{Trust, TrustHandle};

pub use member::Member;

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
    /// The process was away for longer than its leaf lived.
    #[error(
        "the certificate in {dir} expired {ago_secs} s ago and can no longer renew itself: run `causeway enroll {role}` on the leader and give this process the file"
    )]
    LeafExpired {
        /// State directory.
        dir: PathBuf,
        /// What to ask for.
        role: String,
        /// How long ago.
        ago_secs: u64,
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
    /// The gateway refused, or none answered.
    #[error("asking for a certificate as {role}: {source}")]
    Call {
        /// As what.
        role: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a gateway's Enroll or Renew gives back; no authorities mean the same as before.
pub type Issued = IssuedCertificate;

/// Why a call failed, in whatever form the caller's library has it.
pub type CallError = Box<dyn std::error::Error + Send + Sync>;

impl Enrolment {
    /// Content of the one-time file.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which does not happen.
    pub fn render(&self) -> Result<Zeroizing<String>, serde_json::Error> {
        let file = EnrolmentFile {
            home: self.home.clone(),
            secret: URL_SAFE_NO_PAD.encode(self.secret.expose()),
            expires_unix_secs: self.expires.0 / 1000,
        };
        serde_json::to_string_pretty(&file).map(Zeroizing::new)
    }

    /// Reads what [`render`](Self::render) wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(path: &Path, text: &str) -> Result<Self, EnrolError> {
        let wrong = |reason: String| EnrolError::NotAnEnrolment {
            path: path.to_owned(),
            reason,
        };
        let file: EnrolmentFile = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        if file.home.format != FORMAT {
            let format = file.home.format;
            return Err(wrong(format!(
                "format {format}, and this version knows {FORMAT}"
            )));
        }
        let secret = URL_SAFE_NO_PAD
            .decode(&file.secret)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| wrong("the secret is damaged".to_owned()))?;
        file.home.roots().map_err(|e| wrong(e.to_string()))?;
        file.home.name().map_err(|e| wrong(e.to_string()))?;
        Ok(Self {
            home: file.home,
            secret: Secret::new(secret),
            expires: Timestamp(file.expires_unix_secs.saturating_mul(1000)),
        })
    }

    /// Reads a one-time file.
    ///
    /// # Errors
    /// When there is none, others may read it, or it is something else.
    pub fn read(path: &Path) -> Result<Self, EnrolError> {
        let text = read_private(path)?.ok_or_else(|| EnrolError::NotAnEnrolment {
            path: path.to_owned(),
            reason: "there is no such file".to_owned(),
        })?;
        Self::parse(path, &text)
    }
}

impl Home {
    /// From the leader's CA.
    #[must_use]
    pub fn new(
        cluster: ClusterId,
        cluster_set: ClusterSet,
        role: &Role,
        authorities: &[Vec<u8>],
        gateways: Vec<String>,
    ) -> Self {
        Self {
            format: FORMAT,
            cluster,
            cluster_set,
            role: role.to_string(),
            authorities: authorities
                .iter()
                .map(|der| pem::certificate(der))
                .collect(),
            gateways,
        }
    }

    fn tls(&self, leaf: LeafCell) -> Result<Tls, NameError> {
        let trust = Trust::own_only(
            self.cluster.clone(),
            self.cluster_set.clone(),
            &self.roots()?,
        );
        Ok(Tls::new(leaf, TrustHandle::new(trust)))
    }
}

/// The process's leaf from `dir`; if there is none that holds, by `call`, an Enroll with the secret of `file` over a
/// connection whose server the file's CA authenticates ([`Tls::local_client`] of what `call` is given).
///
/// # Errors
/// When there is neither leaf nor file, or the gateway refuses.
pub async fn load_or_enrol<F>(
    dir: &Path,
    role: &Role,
    file: Option<&Path>,
    now: Timestamp,
    call: impl FnOnce(Tls, Enrolment, Vec<u8>) -> F,
) -> Result<Member, EnrolError>
where
    F: Future<Output = Result<Issued, CallError>>,
{
    let mut expired = None;
    if let Some(member) = Member::load(dir)? {
        let found = member.home().role;
        if found != role.to_string() {
            return Err(EnrolError::OtherRole {
                path: dir.join("leaf.pem"),
                found,
                expected: role.to_string(),
            });
        }
        match member.tls.leaf.validity() {
            Some(validity) if validity.holds(now) => return Ok(member),
            validity => expired = validity,
        }
    }
    let Some(file) = file else {
        let (dir, role) = (dir.to_owned(), role.to_string());
        return Err(match expired {
            Some(validity) => EnrolError::LeafExpired {
                dir,
                role,
                ago_secs: now.since(validity.not_after) / 1000,
            },
            None => EnrolError::NotEnrolled { dir, role },
        });
    };
    let enrolment = Enrolment::read(file)?;
    if enrolment.home.role != role.to_string() {
        return Err(EnrolError::OtherRole {
            path: file.to_owned(),
            found: enrolment.home.role,
            expected: role.to_string(),
        });
    }
    if now >= enrolment.expires {
        return Err(EnrolError::Expired {
            path: file.to_owned(),
            role: role.to_string(),
            ago_secs: now.since(enrolment.expires) / 1000,
        });
    }
    let request = LeafRequest::new()?;
    let tls = enrolment.home.tls(LeafCell::default())?;
    let home = enrolment.home.clone();
    let issued = call(tls, enrolment, request.csr().to_vec())
        .await
        .map_err(|source| EnrolError::Call {
            role: role.to_string(),
            source,
        })?;
    Member::admitted(Some(dir), home, request, issued)
}

#[cfg(test)]
mod tests;
