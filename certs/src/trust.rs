//! Pure: whose certificates are taken: one immutable snapshot, replaced whole when a cluster joins, leaves or is cut off.
//!
//! Roots are kept per cluster: the name that a certificate claims chooses the CA that must have signed it, so a
//! peer's CA speaks for that peer and for no other. X.509 name constraints are not relied upon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use causeway_proto::model::{ClusterId, ClusterSet, TrustState};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};

use crate::bundle::is_of;
use crate::cert::{authority_of, peer_name, serial};
use crate::name::{NameError, PeerName, Role};
use crate::tls::provider;

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// No name of ours.
    #[error("certificate refused: {0}")]
    Name(#[from] NameError),
    /// A cluster that we were never paired with.
    #[error(
        "certificate refused: cluster {0} is not a peer of this one; pair them with a join token"
    )]
    NotAPeer(ClusterId),
    /// A cluster that was cut off.
    #[error("certificate refused: cluster {0} was revoked")]
    Revoked(ClusterId),
    /// One of our own, withdrawn.
    #[error("certificate refused: that of {0} was withdrawn")]
    Withdrawn(PeerName),
    /// Another cluster's CA signed it.
    #[error("certificate refused: it claims to be {claimed}, but the CA of {signer} issued it")]
    SpeaksForAnother {
        /// What it says.
        claimed: PeerName,
        /// Whose CA it names as its issuer.
        signer: ClusterId,
    },
    /// Not the CA that a join token pins.
    #[error(
        "the server is not the {0} that issued the join token: it does not show the CA that the token pins"
    )]
    NotPinned(ClusterId),
    /// Chain, life or purpose is wrong.
    #[error("certificate of {name} refused: {source}")]
    Chain {
        /// What it says.
        name: PeerName,
        /// Why.
        source: rustls::Error,
    },
    /// Proven, but not who may be at the other end of this connection.
    #[error("certificate refused: {name} may not be at the other end; {expected} is expected")]
    Unexpected {
        /// Who it is.
        name: PeerName,
        /// Who may be.
        expected: String,
    },
}

/// Which way a certificate is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// It dialled us.
    Client,
    /// We dialled it.
    Server,
}

/// Who may be at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A gateway of any peer.
    AnyPeer,
    /// A gateway of that peer.
    Peer(ClusterId),
    /// Any process of our own cluster.
    OwnProcess,
    /// A gateway of our own cluster.
    OwnGateway,
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyPeer => f.write_str("a gateway of another cluster"),
            Self::Peer(cluster) => write!(f, "a gateway of {cluster}"),
            Self::OwnProcess => f.write_str("a process of this cluster"),
            Self::OwnGateway => f.write_str("a gateway of this cluster"),
        }
    }
}

impl Expect {
    fn allows(&self, own: &ClusterId, name: &PeerName) -> bool {
        let gateway = matches!(name.role, Role::Gateway(_));
        match self {
            Self::AnyPeer => gateway && name.cluster != *own,
            Self::Peer(cluster) => gateway && name.cluster == *cluster,
            Self::OwnProcess => name.role != Role::Catalog && name.cluster == *own,
            Self::OwnGateway => gateway && name.cluster == *own,
        }
    }
}

#[derive(Debug)]
struct Domain {
    roots: RootCertStore,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Domain {
    fn new(authorities: &[Vec<u8>]) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(
            authorities
                .iter()
                .map(|der| CertificateDer::from(der.as_slice())),
        );
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider())
                .build()
                .ok()?;
        Some(Self { roots, clients })
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match usage {
            Usage::Client => self
                .clients
                .verify_client_cert(certificate, intermediates, now)
                .map(|_| ()),
            Usage::Server => verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(certificate)?,
                &self.roots,
                intermediates,
                now,
                provider().signature_verification_algorithms.all,
            ),
        }
    }
}

/// One snapshot of whom this cluster trusts for what.
#[derive(Debug)]
pub struct Trust {
    own: ClusterId,
    cluster_set: ClusterSet,
    domains: BTreeMap<ClusterId, Arc<Domain>>,
    revoked: BTreeSet<ClusterId>,
    withdrawn: BTreeSet<Vec<u8>>,
}

impl Trust {
    /// From our own CA certificates and what the leader keeps. A peer without a usable CA is not trusted, which
    /// [`crate::bundle::check`] has refused before it got here.
    #[must_use]
    pub fn new(
        own: ClusterId,
        cluster_set: ClusterSet,
        own_authorities: &[Vec<u8>],
        state: &TrustState,
    ) -> Self {
        let mut domains = BTreeMap::new();
        let mut revoked = BTreeSet::new();
        for (cluster, bundle) in &state.bundles {
            if *cluster == own || bundle.cluster != *cluster {
                continue;
            }
            // A CA for another name in a bundle gives that bundle no voice, whoever put it there.
            let authorities: Vec<_> = bundle
                .authorities
                .iter()
                .filter(|der| authority_of(der, &cluster_set).as_ref() == Ok(cluster))
                .cloned()
                .collect();
            // A CA that followed from one that was cut off is cut off with it.
            let cut = state.revocations.get(cluster);
            let cut = cut.is_some_and(|revocation| is_of(bundle, revocation.ca));
            if let Some(domain) = Domain::new(&authorities).filter(|_| !cut) {
                domains.insert(cluster.clone(), Arc::new(domain));
            }
        }
        for cluster in state.revocations.keys() {
            if !domains.contains_key(cluster) {
                revoked.insert(cluster.clone());
            }
        }
        if let Some(domain) = Domain::new(own_authorities) {
            domains.insert(own.clone(), Arc::new(domain));
        }
        Self {
            own,
            cluster_set,
            domains,
            revoked,
            withdrawn: state.withdrawn.clone(),
        }
    }

    /// Of a process that knows only its own cluster's CA.
    #[must_use]
    pub fn own_only(own: ClusterId, cluster_set: ClusterSet, authorities: &[Vec<u8>]) -> Self {
        Self::new(own, cluster_set, authorities, &TrustState::default())
    }

    /// The same towards peers, with other CA certificates of our own.
    fn with_own(&self, authorities: &[Vec<u8>]) -> Self {
        let mut domains = self.domains.clone();
        match Domain::new(authorities) {
            Some(domain) => domains.insert(self.own.clone(), Arc::new(domain)),
            None => domains.remove(&self.own),
        };
        Self {
            own: self.own.clone(),
            cluster_set: self.cluster_set.clone(),
            domains,
            revoked: self.revoked.clone(),
            withdrawn: self.withdrawn.clone(),
        }
    }

    /// Our clusterset.
    #[must_use]
    pub fn cluster_set(&self) -> &ClusterSet {
        &self.cluster_set
    }

    /// Is a certificate of that cluster's taken at all?
    #[must_use]
    pub fn knows(&self, cluster: &ClusterId) -> bool {
        self.domains.contains_key(cluster)
    }

    /// Who this certificate proves its holder to be. The claimed name chooses the CA; then chain, purpose and
    /// time; then whether that name is expected here.
    ///
    /// # Errors
    /// When it proves nothing, or not what is expected.
    pub fn prove(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        expect: &Expect,
        now: UnixTime,
    ) -> Result<PeerName, Refused> {
        let name = peer_name(certificate, &self.cluster_set)?;
        let Some(domain) = self.domains.get(&name.cluster) else {
            let revoked = self.revoked.contains(&name.cluster);
            return Err(match revoked {
                true => Refused::Revoked(name.cluster),
                false => Refused::NotAPeer(name.cluster),
            });
        };
        if let Err(source) = domain.verify(certificate, intermediates, usage, now) {
            return Err(match self.issuer_of(certificate) {
                Some(signer) if signer != name.cluster => Refused::SpeaksForAnother {
                    claimed: name,
                    signer,
                },
                _ => Refused::Chain { name, source },
            });
        }
        if name.cluster == self.own && self.withdrawn.contains(&serial(certificate)?) {
            return Err(Refused::Withdrawn(name));
        }
        if !expect.allows(&self.own, &name) {
            return Err(Refused::Unexpected {
                name,
                expected: expect.to_string(),
            });
        }
        Ok(name)
    }

    /// For the message only: the cluster whose CA a refused certificate names as its issuer.
    fn issuer_of(&self, certificate: &CertificateDer<'_>) -> Option<ClusterId> {
        let issuer = crate::cert::issuer(certificate).ok()?;
        self.domains
            .iter()
            .find(|(_, domain)| {
                let mut subjects = domain.roots.roots.iter().map(|root| &root.subject);
                subjects.any(|subject| issuer.ends_with(subject))
            })
            .map(|(cluster, _)| cluster.clone())
    }
}

/// The present snapshot, shared by all configurations; replaced without touching any connection.
#[derive(Debug, Clone)]
pub struct TrustHandle(Arc<RwLock<Arc<Trust>>>);

impl TrustHandle {
    /// With a first snapshot.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(trust))))
    }

    /// What holds from now on, for new handshakes. Sessions of a peer that it no longer knows are the caller's to close.
    pub fn replace(&self, trust: Trust) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
    }

    /// Our own CA certificates from now on; peers stay.
    pub fn own_is(&self, authorities: &[Vec<u8>]) {
        let trust = self.load().with_own(authorities);
        self.replace(trust);
    }

    /// What holds now.
    #[must_use]
    pub fn load(&self) -> Arc<Trust> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
