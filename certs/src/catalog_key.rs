//! Shell: the key that signs catalog headers, and the check of what it signed.
//!
//! It is not a leaf: leaves live a day, and what was signed must be provable for years. The CA certifies it.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use causeway_proto::model::{ClusterId, ClusterSet, Succession, TrustBundle};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};

use crate::cert::{peer_name, public_key, validity};
use crate::name::{NameError, PeerName, Role};
use crate::tls::provider;

/// Keeps a signature over a header from being taken for one over anything else.
const CONTEXT: &[u8] = b"causeway catalog header v1\0";

fn with_context(bytes: &[u8]) -> Vec<u8> {
    [CONTEXT, bytes].concat()
}

/// The leader's signing key.
pub struct CatalogKey {
    key: EcdsaKeyPair,
    certificate: CertificateDer<'static>,
}

impl fmt::Debug for CatalogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatalogKey")
    }
}

/// A key that does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the catalog key cannot be used for signing")]
pub struct BadKey;

impl CatalogKey {
    pub(crate) fn new(pkcs8: &[u8], certificate: CertificateDer<'static>) -> Result<Self, BadKey> {
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).map_err(|_| BadKey)?;
        // What it signs nobody could check by another key's certificate.
        if public_key(&certificate).map_err(|_| BadKey)? != key.public_key().as_ref() {
            return Err(BadKey);
        }
        Ok(Self { key, certificate })
    }

    /// Its certificate, as the bundle carries it.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs the bytes of a header.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, BadKey> {
        self.key
            .sign(&SystemRandom::new(), &with_context(bytes))
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| BadKey)
    }
}

/// Why a certificate is not that of a cluster's catalog key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCatalogKey {
    /// Not a certificate of ours.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another's.
    #[error("its certificate is that of {0}")]
    OtherName(PeerName),
    /// Not issued by the cluster's CA.
    #[error("not issued by the CA of {0}")]
    OtherIssuer(ClusterId),
}

/// Why a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Asked about a cluster that the bundle is not of.
    #[error("the bundle of {bundle} does not speak for {asked}")]
    OtherCluster {
        /// Whose bundle.
        bundle: ClusterId,
        /// Whose catalog.
        asked: ClusterId,
    },
    /// No key to check with.
    #[error("the catalog key: {0}")]
    Key(#[from] NotCatalogKey),
    /// The bytes or the signature were altered, or another key signed.
    #[error("not signed by the catalog key of {0}")]
    Signature(ClusterId),
}

/// Checks one cluster's signatures; made once per bundle.
#[derive(Debug, Clone)]
pub struct CatalogVerifier {
    cluster: ClusterId,
    public: Vec<u8>,
}

impl CatalogVerifier {
    /// From a bundle whose CA issued the catalog key's certificate.
    ///
    /// # Errors
    /// When it did not, or the certificate is not one of a catalog key.
    pub fn new(bundle: &TrustBundle, cluster_set: &ClusterSet) -> Result<Self, NotCatalogKey> {
        let der = CertificateDer::from(bundle.catalog_key.as_slice());
        let name = peer_name(&der, cluster_set)?;
        if name.cluster != bundle.cluster || name.role != Role::Catalog {
            return Err(NotCatalogKey::OtherName(name));
        }
        let other = |_| NotCatalogKey::OtherIssuer(bundle.cluster.clone());
        issued_under(&der, &bundle.authorities, &[]).map_err(other)?;
        Ok(Self {
            cluster: bundle.cluster.clone(),
            public: public_key(&der)?,
        })
    }

    /// Did the cluster's catalog key sign these bytes?
    ///
    /// # Errors
    /// When not.
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.public)
            .verify(&with_context(bytes), signature)
            .map_err(|_| BadSignature::Signature(self.cluster.clone()))
    }
}

/// Whether the catalog key's certificate, which the present CA issued, holds under the former one by the cross certificate.
pub(crate) fn signed_across(bundle: &TrustBundle, succession: &Succession) -> bool {
    let roots = std::slice::from_ref(&succession.former);
    let cross = [CertificateDer::from(succession.cross.as_slice())];
    let der = CertificateDer::from(bundle.catalog_key.as_slice());
    issued_under(&der, roots, &cross).is_ok()
}

/// Whether the certificate holds under those roots.
pub(crate) fn issued_under(
    der: &CertificateDer<'_>,
    roots: &[Vec<u8>],
    intermediates: &[CertificateDer<'_>],
) -> Result<(), rustls::Error> {
    // The moment it was issued: what it signed stays provable after it has expired.
    let issued = validity(der).map_err(|_| CertificateError::BadEncoding)?;
    let issued = Duration::from_millis(issued.not_before.0);
    let roots = roots.iter();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.map(|der| CertificateDer::from(der.as_slice())));
    verify_server_cert_signed_by_trust_anchor(
        &ParsedCertificate::try_from(der)?,
        &store,
        intermediates,
        UnixTime::since_unix_epoch(issued),
        provider().signature_verification_algorithms.all,
    )
}

/// Did `cluster`'s catalog key, which this bundle holds, sign these bytes?
///
/// # Errors
/// When not, or the bundle is another's.
pub fn verify_catalog(
    bundle: &TrustBundle,
    cluster_set: &ClusterSet,
    cluster: &ClusterId,
    bytes: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    if bundle.cluster != *cluster {
        return Err(BadSignature::OtherCluster {
            bundle: bundle.cluster.clone(),
            asked: cluster.clone(),
        });
    }
    CatalogVerifier::new(bundle, cluster_set)?.verify(bytes, signature)
}
