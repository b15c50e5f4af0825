//! Shell: a key with its certificate, and the request for one.

use std::path::Path;

use causeway_proto::model::ClusterSet;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::CaError;
use crate::cert::peer_name;
use crate::files::{read_private, write_private};
use crate::grant::Validity;
use crate::name::{NameError, PeerName};
use crate::{pem, tls};

/// A key with its certificate and that of the CA.
#[derive(Debug)]
pub struct Leaf {
    /// The key; its `Debug` does not show it.
    pub key: PrivatePkcs8KeyDer<'static>,
    /// The leaf, then the CA, which a joiner finds by the token's pin.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Leaf {
    /// Reads a file that [`write`](Self::write) made; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it holds something else.
    pub fn read(path: &Path) -> Result<Option<Self>, CaError> {
        let Some(text) = read_private(path)? else {
            return Ok(None);
        };
        let (key, chain) = pem::parse_key_and_chain(&text).ok_or_else(|| CaError::Content {
            path: path.to_owned(),
        })?;
        Ok(Some(Self { key, chain }))
    }

    /// Writes it, mode 0600, whole or not at all.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), CaError> {
        let text = pem::key_and_chain(self.key.secret_pkcs8_der(), &self.chain);
        Ok(write_private(path, text.as_bytes())?)
    }

    /// The leaf itself.
    ///
    /// # Errors
    /// When the chain is empty.
    pub fn certificate(&self) -> Result<&CertificateDer<'static>, NameError> {
        self.chain.first().ok_or(NameError::NotACertificate)
    }

    /// Whose it is.
    ///
    /// # Errors
    /// When it holds no name of this clusterset.
    pub fn name(&self, cluster_set: &ClusterSet) -> Result<PeerName, NameError> {
        peer_name(self.certificate()?, cluster_set)
    }

    /// From when to when it holds.
    ///
    /// # Errors
    /// When it is not a certificate.
    pub fn validity(&self) -> Result<Validity, NameError> {
        crate::cert::validity(self.certificate()?)
    }
}

/// A new key and the request to certify it.
pub struct LeafRequest {
    key: KeyPair,
    csr: Vec<u8>,
}

impl std::fmt::Debug for LeafRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeafRequest")
    }
}

impl LeafRequest {
    /// Draws a key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new() -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // The name comes from the grant; a request says nothing but which key.
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, csr })
    }

    /// The request, DER.
    #[must_use]
    pub fn csr(&self) -> &[u8] {
        &self.csr
    }

    /// With the certificates that came back. They must be for this key.
    ///
    /// # Errors
    /// When they are not.
    pub fn finish(self, chain: Vec<Vec<u8>>) -> Result<Leaf, CaError> {
        let leaf = Leaf {
            key: self.key.serialized_der().to_vec().into(),
            chain: chain.into_iter().map(CertificateDer::from).collect(),
        };
        tls::LeafCell::new(&leaf)?;
        Ok(leaf)
    }
}
