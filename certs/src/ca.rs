//! Shell: the cluster's CA and the keys beside it: made at first start, kept in private files, used to sign. Where a
//! controller keeps them, they travel as [`AuthorityMaterial`].
//!
//! In the directory: `ca.pem` and `catalog.pem`, each a key and its certificate in one file, so that no crash leaves
//! one without the other.

mod kept;
mod leaf;
mod rotate;

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use causeway_proto::model::{
    AuthorityMaterial, ClusterId, ClusterSet, Succession, Timestamp, TrustBundle,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use zeroize::Zeroizing;

use crate::Secret;
use crate::bundle::{self, BundleError};
use crate::catalog_key::{BadKey, CatalogKey};
use crate::cert::authority_of;
use crate::files::FileError;
use crate::grant::{AUTHORITY_MS, LEAF_MS, Validity};
use crate::name::{NameError, PeerName, Role, trust_domain};

pub use kept::{from_fields, to_fields};
pub use leaf::{Leaf, LeafRequest};

/// Largest signing request that is read: ours are under 400 bytes.
pub const CSR_BYTES: usize = 4096;

/// What goes wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that holds something else.
    #[error(
        "{path} does not hold a key and its certificates; restore it, or remove it to start anew, which needs pairing again"
    )]
    Content {
        /// Which.
        path: PathBuf,
    },
    /// Material that is not of one piece.
    #[error("these are not a CA and its catalog key: {0}")]
    Material(&'static str),
    /// A Secret without it.
    #[error("the field {0} is absent, or is not the PEM that it should be")]
    Field(&'static str),
    /// The CA of another cluster.
    #[error("the CA is that of cluster {found}, and this is {expected}")]
    OtherAuthority {
        /// Whose it is.
        found: ClusterId,
        /// Who we are.
        expected: ClusterId,
    },
    /// A state directory of another cluster.
    #[error(
        "{path} belongs to cluster {found}, but {expected} is configured; use another state directory"
    )]
    OtherCluster {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Who we are.
        expected: ClusterId,
    },
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A signing request that is not one of ours.
    #[error("the signing request is refused: {0}")]
    Request(&'static str),
    /// The library refused.
    #[error("making a certificate: {0}")]
    Making(#[from] rcgen::Error),
    /// The last rollover is not over.
    #[error(
        "this CA took over from another one, whose certificates are in use for {0} more minutes; it can be rotated again after that"
    )]
    Overlap(u64),
    /// The catalog key does not sign.
    #[error(transparent)]
    CatalogKey(#[from] BadKey),
    /// What was loaded no longer holds together.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Key and certificate do not belong together.
    #[error("key and certificate do not belong together: {0}")]
    Mismatch(#[from] rustls::Error),
}

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

impl Secret {
    /// From the operating system's generator.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Self::new(*bytes))
    }
}

/// The cluster's CA. Only the leader has it, and the controller where there is one.
pub struct Authority {
    cluster: ClusterId,
    cluster_set: ClusterSet,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    catalog: CatalogKey,
    material: AuthorityMaterial,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.cluster)
    }
}

impl Authority {
    /// A new one, in memory.
    ///
    /// # Errors
    /// When there is no randomness, or the names are too long.
    pub fn create(
        cluster: &ClusterId,
        cluster_set: &ClusterSet,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let ca = new_authority(cluster, cluster_set, now)?;
        let catalog = new_catalog_key(cluster, cluster_set, &issuer(&ca)?, now)?;
        Self::from_leaves(&ca, &catalog, cluster, cluster_set, now)
    }

    /// As it was created elsewhere.
    ///
    /// # Errors
    /// When the parts do not belong together, or to another cluster.
    pub fn from_material(
        material: &AuthorityMaterial,
        cluster: &ClusterId,
        cluster_set: &ClusterSet,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let succession = material.succession.iter();
        let before = succession.flat_map(|s| [&s.cross, &s.former]);
        let chain = std::iter::once(&material.certificate).chain(before);
        let ca = Leaf {
            key: material.key.clone().into(),
            chain: chain.cloned().map(CertificateDer::from).collect(),
        };
        let catalog = Leaf {
            key: material.catalog_key.clone().into(),
            chain: vec![CertificateDer::from(material.catalog_certificate.clone())],
        };
        Self::from_leaves(&ca, &catalog, cluster, cluster_set, now)
    }

    /// All of it, keys included.
    #[must_use]
    pub fn material(&self) -> &AuthorityMaterial {
        &self.material
    }

    /// `ca`: the certificate, then, if it took over from another one, the cross certificate and the former CA.
    fn from_leaves(
        ca: &Leaf,
        catalog: &Leaf,
        cluster: &ClusterId,
        cluster_set: &ClusterSet,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let certificate = ca.certificate()?.clone();
        let found = authority_of(&certificate, cluster_set)?;
        if found != *cluster {
            return Err(CaError::OtherAuthority {
                found,
                expected: cluster.clone(),
            });
        }
        let issuer = issuer(ca)?;
        let succession = match &*ca.chain {
            [_] => None,
            [_, cross, former] => Some(Succession {
                former: former.to_vec(),
                cross: cross.to_vec(),
            }),
            _ => return Err(CaError::Material("one or three certificates are expected")),
        };
        let catalog_certificate = catalog.certificate()?.clone();
        let material = AuthorityMaterial {
            certificate: certificate.to_vec(),
            key: ca.key.secret_pkcs8_der().to_vec(),
            catalog_certificate: catalog_certificate.to_vec(),
            catalog_key: catalog.key.secret_pkcs8_der().to_vec(),
            succession,
        };
        let authority = Self {
            cluster: cluster.clone(),
            cluster_set: cluster_set.clone(),
            issuer,
            certificate,
            catalog: CatalogKey::new(&material.catalog_key, catalog_certificate)?,
            material,
        };
        bundle::check(&authority.bundle(Vec::new(), now), cluster_set, now)?;
        Ok(authority)
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key that signs catalogs.
    #[must_use]
    pub fn catalog_key(&self) -> &CatalogKey {
        &self.catalog
    }

    /// What a pairing gives away.
    #[must_use]
    pub fn bundle(&self, gateways: Vec<String>, now: Timestamp) -> TrustBundle {
        TrustBundle {
            cluster: self.cluster.clone(),
            authorities: self.certificates(now),
            catalog_key: self.catalog.certificate().to_vec(),
            gateways,
            succession: self.material.succession.clone(),
        }
    }

    /// Certifies the key of a request under the granted name, for 24 hours: the leaf, then the CA, then its cross certificate,
    /// by which those who know only the former CA take the leaf. Nothing else in the request is looked at.
    ///
    /// # Errors
    /// When the request is not signed by its own key, or the name is not ours to give.
    pub fn issue(
        &self,
        csr: &[u8],
        name: &PeerName,
        now: Timestamp,
    ) -> Result<Vec<Vec<u8>>, CaError> {
        if csr.len() > CSR_BYTES {
            return Err(CaError::Request("it is larger than 4 KiB"));
        }
        let request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
                .map_err(|_| CaError::Request("it is not one, or not signed by its own key"))?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(CaError::Request("its key is not ECDSA P-256"));
        }
        if name.cluster != self.cluster || name.cluster_set != self.cluster_set {
            return Err(CaError::Request("its name is of another cluster"));
        }
        if name.role == Role::Catalog {
            return Err(CaError::Request("the catalog key is not given out"));
        }
        self.certify(&request.public_key, &name.to_string(), now)
    }

    /// A key and a leaf for a process that holds the CA itself: the leader.
    ///
    /// # Errors
    /// When there is no randomness, or the name is not ours to give.
    pub fn own_leaf(&self, role: Role, now: Timestamp) -> Result<Leaf, CaError> {
        let name = PeerName::new(self.cluster.clone(), self.cluster_set.clone(), role)?;
        let request = LeafRequest::new()?;
        let chain = self.issue(request.csr(), &name, now)?;
        request.finish(chain)
    }

    /// What a CA that lies would sign.
    #[cfg(test)]
    pub(crate) fn forged_leaf(&self, uri: &str, now: Timestamp) -> Result<Leaf, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let chain = self.certify(&key, uri, now)?;
        Ok(Leaf {
            key: key.serialized_der().to_vec().into(),
            chain: chain.into_iter().map(CertificateDer::from).collect(),
        })
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        uri: &str,
        now: Timestamp,
    ) -> Result<Vec<Vec<u8>>, CaError> {
        let mut params = params(uri, Validity::starting(now, LEAF_MS))?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let leaf = params.signed_by(key, &self.issuer)?;
        let mut chain = vec![leaf.der().to_vec(), self.certificate.to_vec()];
        chain.extend(self.cross(now).map(<[u8]>::to_vec));
        Ok(chain)
    }
}

/// What signs with the key of a CA, if it is the key of its certificate.
fn issuer(ca: &Leaf) -> Result<Issuer<'static, KeyPair>, CaError> {
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&ca.key, &PKCS_ECDSA_P256_SHA256)?;
    let certificate = ca.certificate()?;
    if crate::cert::public_key(certificate)? != key.der_bytes() {
        return Err(CaError::Material("the key is not that of the certificate"));
    }
    Ok(Issuer::from_ca_cert_der(certificate, key)?)
}

/// One URI, one validity, a random serial, and nothing that a request could have asked for.
fn params(uri: &str, validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.not_before = (UNIX_EPOCH + Duration::from_millis(validity.not_before.0)).into();
    params.not_after = (UNIX_EPOCH + Duration::from_millis(validity.not_after.0)).into();
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| NoRandomness)?;
    // Positive and never of a leading zero byte: the form in DER is then the bytes themselves.
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn common_name(params: &mut CertificateParams, name: String) {
    params.distinguished_name.push(DnType::CommonName, name);
}

/// `below`: how many CAs may come below it.
fn authority_params(
    cluster: &ClusterId,
    cluster_set: &ClusterSet,
    validity: Validity,
    below: u8,
) -> Result<CertificateParams, CaError> {
    let domain = trust_domain(cluster, cluster_set)?;
    let mut params = params(&format!("spiffe://{domain}"), validity)?;
    common_name(&mut params, format!("Causeway CA of {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn new_authority(
    cluster: &ClusterId,
    cluster_set: &ClusterSet,
    now: Timestamp,
) -> Result<Leaf, CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let validity = Validity::starting(now, AUTHORITY_MS);
    // One: the CA that takes over from it.
    let certificate = authority_params(cluster, cluster_set, validity, 1)?.self_signed(&key)?;
    Ok(Leaf {
        key: key.serialized_der().to_vec().into(),
        chain: vec![certificate.der().clone()],
    })
}

fn new_catalog_key(
    cluster: &ClusterId,
    cluster_set: &ClusterSet,
    issuer: &Issuer<'static, KeyPair>,
    now: Timestamp,
) -> Result<Leaf, CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    certify_catalog_key(key, cluster, cluster_set, issuer, now)
}

fn certify_catalog_key(
    key: KeyPair,
    cluster: &ClusterId,
    cluster_set: &ClusterSet,
    issuer: &Issuer<'static, KeyPair>,
    now: Timestamp,
) -> Result<Leaf, CaError> {
    let name = PeerName::new(cluster.clone(), cluster_set.clone(), Role::Catalog)?;
    let mut params = params(&name.to_string(), Validity::starting(now, AUTHORITY_MS))?;
    common_name(&mut params, format!("Causeway catalog key of {cluster}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Leaf {
        key: key.serialized_der().to_vec().into(),
        chain: vec![certificate.der().clone()],
    })
}

#[cfg(test)]
mod tests;
