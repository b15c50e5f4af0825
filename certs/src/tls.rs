//! Shell: the rustls configurations, all TLS 1.3 with aws-lc-rs named.
//!
//! No session is resumed: a resumed handshake shows no certificate, and a cluster that was cut off must not come
//! back by a ticket. The name sent is a constant, since a cluster's id in clear text is nobody's business.

mod pinned;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use causeway_proto::model::{ClusterId, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme,
};

use crate::ca::Leaf;
use crate::cert::{peer_name, validity};
use crate::grant::Validity;
use crate::name::{Caller, NameError, PeerName};
use crate::token::JoinToken;
use crate::trust::{Expect, Refused, Trust, TrustHandle, Usage};

pub use pinned::{BadPin, Pin, PinnedServer};

/// ALPN of sessions between clusters.
pub const ALPN_SESSION: &[u8] = b"causeway/1";
/// ALPN of joining.
pub const ALPN_JOIN: &[u8] = b"causeway-join/1";
/// ALPN of packets beside a session over TCP.
pub const ALPN_PACKETS: &[u8] = b"causeway-packets/1";
/// ALPN of the local API.
pub const ALPN_LOCAL: &[u8] = b"h2";
/// What to pass as the server's name where a library wants one; no certificate holds it and it is not sent.
pub const SERVER_NAME: &str = "causeway.invalid";
/// Label of the exporter value that a join is bound to; its context is empty, its length 32.
pub const JOIN_EXPORTER: &[u8] = b"EXPORTER-causeway-join-1";

/// The one TLS provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

/// The leaf that is presented, replaced at renewal; connections that are open keep the one they have.
#[derive(Clone, Default)]
pub struct LeafCell(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl fmt::Debug for LeafCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeafCell")
    }
}

impl LeafCell {
    /// With a first leaf.
    ///
    /// # Errors
    /// When key and certificate do not belong together.
    pub fn new(leaf: &Leaf) -> Result<Self, Error> {
        let cell = Self::default();
        cell.replace(leaf)?;
        Ok(cell)
    }

    /// Presents this one from now on.
    ///
    /// # Errors
    /// When key and certificate do not belong together; the old leaf then stays.
    pub fn replace(&self, leaf: &Leaf) -> Result<(), Error> {
        let key = PrivateKeyDer::Pkcs8(leaf.key.clone_key());
        let key = CertifiedKey::from_der(leaf.chain.clone(), key, &provider())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
        Ok(())
    }

    /// From when to when the present leaf holds.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        validity(self.load()?.cert.first()?).ok()
    }

    /// Whether another CA than that one issued the present leaf.
    #[must_use]
    pub fn is_of_another(&self, authority: &[u8]) -> bool {
        let ca = self.load().and_then(|leaf| leaf.cert.get(1).cloned());
        ca.is_some_and(|ca| *ca != *authority)
    }

    fn load(&self) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ResolvesServerCert for LeafCell {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.load()
    }
}

impl ResolvesClientCert for LeafCell {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.load()
    }

    fn has_certs(&self) -> bool {
        self.load().is_some()
    }
}

/// Makes every configuration of one process.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What we present.
    pub leaf: LeafCell,
    /// Whom we take.
    pub trust: TrustHandle,
    time: Arc<dyn TimeProvider>,
}

impl Tls {
    /// By the system's clock.
    #[must_use]
    pub fn new(leaf: LeafCell, trust: TrustHandle) -> Self {
        Self::with_time(leaf, trust, Arc::new(DefaultTimeProvider))
    }

    /// By that clock.
    #[must_use]
    pub fn with_time(leaf: LeafCell, trust: TrustHandle, time: Arc<dyn TimeProvider>) -> Self {
        Self { leaf, trust, time }
    }

    /// For the port that peers dial: sessions, where a peer's certificate is needed, and joins, where there is none
    /// yet. Which of both a connection is, and whether it may be, [`admit`] says once the handshake is done.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn peer_server(&self) -> Result<ServerConfig, Error> {
        self.server(Expect::AnyPeer, &[ALPN_SESSION, ALPN_JOIN])
    }

    /// For dialling a gateway of that cluster, and nobody else.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn peer_client(&self, cluster: &ClusterId) -> Result<ClientConfig, Error> {
        self.client(Expect::Peer(cluster.clone()), ALPN_SESSION)
    }

    /// For the local API over TCP. Callers without a certificate come through, as [`Caller::Anonymous`], to enrol.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn local_server(&self) -> Result<ServerConfig, Error> {
        self.server(Expect::OwnProcess, &[ALPN_LOCAL])
    }

    /// For dialling a gateway of our own cluster; without a leaf in the cell, to enrol.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn local_client(&self) -> Result<ClientConfig, Error> {
        self.client(Expect::OwnGateway, ALPN_LOCAL)
    }

    fn server(&self, expect: Expect, alpn: &[&[u8]]) -> Result<ServerConfig, Error> {
        let verifier = Verifier {
            source: Source::Trust(self.trust.clone()),
            expect,
        };
        let mut config = ServerConfig::builder_with_details(provider(), self.time.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(self.leaf.clone()));
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn client(&self, expect: Expect, alpn: &[u8]) -> Result<ClientConfig, Error> {
        let verifier = Verifier {
            source: Source::Trust(self.trust.clone()),
            expect,
        };
        client_config(verifier, self.time.clone(), self.leaf.clone(), alpn)
    }
}

/// [`Tls::peer_server`]'s, for TCP: there a session's packets come by a connection of their own.
#[must_use]
pub fn with_packets(config: &ServerConfig) -> ServerConfig {
    let mut config = config.clone();
    config.alpn_protocols.push(ALPN_PACKETS.to_vec());
    config
}

/// [`Tls::peer_client`]'s, for a session's packets over TCP. `None`: it is for no session.
#[must_use]
pub fn for_packets(config: &ClientConfig) -> Option<ClientConfig> {
    let session = config
        .alpn_protocols
        .iter()
        .any(|name| name == ALPN_SESSION);
    session.then(|| {
        let mut config = config.clone();
        config.alpn_protocols = vec![ALPN_PACKETS.to_vec()];
        config
    })
}

/// For redeeming a token: takes only a gateway of the issuer, under the CA that the token pins, and presents nothing.
///
/// # Errors
/// When rustls refuses the configuration.
pub fn join_client(token: &JoinToken) -> Result<ClientConfig, Error> {
    join_client_with_time(token, Arc::new(DefaultTimeProvider))
}

/// As [`join_client`], by that clock.
///
/// # Errors
/// When rustls refuses the configuration.
pub fn join_client_with_time(
    token: &JoinToken,
    time: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, Error> {
    let verifier = Verifier {
        source: Source::Pin(token.clone()),
        expect: Expect::OwnGateway,
    };
    client_config(verifier, time, LeafCell::default(), ALPN_JOIN)
}

fn client_config(
    verifier: Verifier,
    time: Arc<dyn TimeProvider>,
    leaf: LeafCell,
    alpn: &[u8],
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_details(provider(), time)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(leaf));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// What a finished handshake on the peers' port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// A session with that peer's gateway, until its leaf ends.
    Session(PeerName, Timestamp),
    /// A join: nothing is proven yet.
    Join,
}

/// Why a finished handshake is closed again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No protocol was agreed.
    #[error("the connection agreed on no protocol of ours")]
    Protocol,
    /// A session without a certificate.
    #[error("a session needs a certificate, and none was presented")]
    NoCertificate,
    /// Should have been refused in the handshake.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What a connection accepted by [`Tls::peer_server`] is, by its ALPN and the certificates presented in it, which the
/// handshake has verified.
///
/// # Errors
/// When it may not be anything.
pub fn admit(
    alpn: Option<&[u8]>,
    presented: Option<&[CertificateDer<'_>]>,
    trust: &Trust,
) -> Result<Admitted, NotAdmitted> {
    match alpn {
        Some(ALPN_JOIN) => Ok(Admitted::Join),
        Some(ALPN_SESSION) => {
            let leaf = presented
                .and_then(<[_]>::first)
                .ok_or(NotAdmitted::NoCertificate)?;
            let name = peer_name(leaf, trust.cluster_set())?;
            Ok(Admitted::Session(name, validity(leaf)?.not_after))
        }
        _ => Err(NotAdmitted::Protocol),
    }
}

/// Who calls on a connection accepted by [`Tls::local_server`]; the handshake has verified what was presented.
///
/// # Errors
/// When the certificate holds no name of ours, which the handshake refuses before.
pub fn caller(
    presented: Option<&[CertificateDer<'_>]>,
    trust: &Trust,
) -> Result<Caller, NameError> {
    match presented.and_then(<[_]>::first) {
        None => Ok(Caller::Anonymous),
        Some(leaf) => Ok(Caller::Certified(peer_name(leaf, trust.cluster_set())?)),
    }
}

#[derive(Debug)]
enum Source {
    Trust(TrustHandle),
    Pin(JoinToken),
}

/// Chain, purpose and time by webpki under the roots of the claimed cluster, then the name.
#[derive(Debug)]
struct Verifier {
    source: Source,
    expect: Expect,
}

impl Verifier {
    fn prove(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<(), Error> {
        let proved = match &self.source {
            Source::Trust(handle) => {
                let trust = handle.load();
                trust.prove(certificate, intermediates, usage, &self.expect, now)
            }
            Source::Pin(token) => pinned(token, intermediates)
                .and_then(|t| t.prove(certificate, intermediates, usage, &self.expect, now)),
        };
        proved.map(|_| ()).map_err(tls_error)
    }
}

/// Trust in the one CA that a token pins, which the server sends along with its leaf.
fn pinned(token: &JoinToken, presented: &[CertificateDer<'_>]) -> Result<Trust, Refused> {
    let authority = presented
        .iter()
        .find(|der| crate::cert::fingerprint(der) == token.pin)
        .ok_or_else(|| Refused::NotPinned(token.issuer.clone()))?;
    Ok(Trust::own_only(
        token.issuer.clone(),
        token.cluster_set.clone(),
        &[authority.to_vec()],
    ))
}

/// What rustls prints by `Debug` inside its own message, which QUIC then hands on as text only.
struct Reason(Refused);

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Reason {}

/// So that the peer gets the alert that fits, and our log the whole reason.
fn tls_error(refused: Refused) -> Error {
    match refused {
        Refused::Chain { source, .. } => source,
        other => {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Reason(other)))))
        }
    }
}

fn tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

fn signature_holds(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider().signature_verification_algorithms;
    rustls::crypto::verify_tls13_signature(message, certificate, dss, algorithms)
}

fn schemes() -> Vec<SignatureScheme> {
    provider()
        .signature_verification_algorithms
        .supported_schemes()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.prove(end_entity, intermediates, Usage::Server, now)?;
        Ok(ServerCertVerified::assertion())
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

impl ClientCertVerifier for Verifier {
    /// Not by rustls: [`admit`] and [`crate::name::authorize`] say where one is needed.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.prove(end_entity, intermediates, Usage::Client, now)?;
        Ok(ClientCertVerified::assertion())
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

#[cfg(test)]
mod tests;
