//! Shell: TLS with a server whose certificate the client has beforehand, byte for byte, and nothing to show of its own:
//! how a process of ours gets its first certificate from the controller.
//!
//! Names, chains and lives of such a certificate mean nothing and are not looked at: it is the right one or it is not.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use zeroize::Zeroizing;

use super::{
    ALPN_LOCAL, CertificateDer, CertificateError, ClientConfig, DefaultTimeProvider,
    DigitallySignedStruct, Error, HandshakeSignatureValid, Resumption, ServerCertVerified,
    ServerCertVerifier, ServerConfig, ServerName, SignatureScheme, TLS13, UnixTime, provider,
    schemes, signature_holds, tls12,
};
use crate::ca::CaError;
use crate::pem;

/// A pin or a pinned server's key that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the PEM that it should be")]
pub struct BadPin(&'static str);

/// Key and certificate of the server; its `Debug` does not show the key.
#[derive(Debug)]
pub struct PinnedServer {
    /// Of any kind: Helm makes RSA keys in their old form.
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
}

impl PinnedServer {
    /// New ones.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn create() -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        let name = "Causeway enrolment";
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            key: PrivatePkcs8KeyDer::from(key.serialized_der().to_vec()).into(),
            certificate: certificate.der().clone(),
        })
    }

    /// As [`key_pem`](Self::key_pem) and [`certificate_pem`](Self::certificate_pem) wrote them, or anybody else.
    ///
    /// # Errors
    /// When they are something else.
    pub fn from_pem(key: &str, certificate: &str) -> Result<Self, BadPin> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| BadPin("the key"))?;
        let certificates = pem::parse_certificates(certificate).unwrap_or_default();
        let certificate = certificates.into_iter().next();
        let certificate = certificate.ok_or(BadPin("the certificate"))?;
        Ok(Self { key, certificate })
    }

    /// The key, to be kept secret.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        pem::key(&self.key)
    }

    /// The certificate, which is the pin.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem::certificate(&self.certificate)
    }

    /// For the port of the enrolment service. Nobody shows a certificate there.
    ///
    /// # Errors
    /// When key and certificate do not belong together.
    pub fn config(&self) -> Result<ServerConfig, Error> {
        let key = self.key.clone_key();
        let mut config =
            ServerConfig::builder_with_details(provider(), Arc::new(DefaultTimeProvider))
                .with_protocol_versions(&[&TLS13])?
                .with_no_client_auth()
                .with_single_cert(vec![self.certificate.clone()], key)?;
        config.alpn_protocols = vec![ALPN_LOCAL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// The certificates that the server may present: one, or two while it is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin(Vec<CertificateDer<'static>>);

impl Pin {
    /// From PEM.
    ///
    /// # Errors
    /// When there is no certificate in it.
    pub fn from_pem(text: &str) -> Result<Self, BadPin> {
        let certificates = pem::parse_certificates(text);
        certificates.map(Self).ok_or(BadPin("the pin"))
    }

    /// For dialling that server and nobody else.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn config(&self) -> Result<ClientConfig, Error> {
        let mut config =
            ClientConfig::builder_with_details(provider(), Arc::new(DefaultTimeProvider))
                .with_protocol_versions(&[&TLS13])?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(self.clone()))
                .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_LOCAL.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.0.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let unknown = CertificateError::ApplicationVerificationFailure;
        Err(Error::InvalidCertificate(unknown))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature_holds(message, certificate, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
