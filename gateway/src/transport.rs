//! Shell: QUIC. One endpoint serves and dials; a connection carries HTTP/2 on one bidirectional stream, so
//! that the same gRPC services run on it as on TCP. Who is at the other end is decided by the TLS
//! configurations that come in; what is said is not known here. Nothing else in the project names quinn.

mod io;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use causeway_certs::dial::channel_over;
use causeway_certs::tls::SERVER_NAME;
use futures::FutureExt as _;
use quinn_proto::HashedConnectionIdGenerator;
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::{Channel, Endpoint};

pub use causeway_certs::serve::Io;
pub use io::QuicStream;

/// How long a connection may take to come up; quinn alone would wait for 30 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Without a packet for so long a connection is over: below the lease, above a lost keep-alive.
const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// So often that silence tells within a second.
const KEEP_ALIVE: Duration = Duration::from_millis(250);
/// Round trip that is taken for likely before one was measured: a lost first packet is sent again after three of it.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Handshakes at one time; more are refused, so that strangers cannot take all memory.
const HANDSHAKES: usize = 64;
/// Bytes of datagrams that wait in either direction: some milliseconds at the rate of a fast link. What does not fit is
/// lost as on any link.
const DATAGRAMS: usize = 4 << 20;
/// UDP payload that is tried for: a packet of 1,500 bytes over IPv4, without its headers.
const LARGEST_UDP: u16 = 1_472;
/// Streams that a peer may open on a connection: one session, and room for one more class.
const STREAMS: u32 = 4;

/// A connection that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address, or it is no `HOST:PORT`.
    #[error("{address}: cannot be resolved: {source}")]
    Resolve {
        /// As given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The TLS configuration does not suit QUIC.
    #[error("TLS configuration does not suit QUIC: {0}")]
    Tls(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// Quinn refused the attempt.
    #[error("{address}: {source}")]
    Connect {
        /// As given.
        address: String,
        /// Why.
        source: quinn::ConnectError,
    },
    /// It failed on the way.
    #[error("{address}: {source}")]
    Connection {
        /// As given.
        address: String,
        /// Why.
        source: quinn::ConnectionError,
    },
    /// Nothing answered.
    #[error("{0}: no answer within 3 s; is UDP to it open?")]
    Timeout(String),
    /// HTTP/2 did not come up.
    #[error("{0}")]
    Http(#[from] tonic::transport::Error),
}

/// The QUIC endpoint.
#[derive(Debug, Clone)]
pub struct Transport {
    endpoint: quinn::Endpoint,
}

fn parameters() -> Arc<quinn::TransportConfig> {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(LARGEST_UDP);
    let mut config = quinn::TransportConfig::default();
    config
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .max_idle_timeout(quinn::IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(0u32.into())
        .mtu_discovery_config(Some(discovery))
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS);
    Arc::new(config)
}

impl Transport {
    /// Opens the UDP socket. Connections are refused until [`Transport::serve_with`] was called. `reset`: a secret by which
    /// peers learn at once that a process with the same one before it is gone.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr, reset: &[u8; 32]) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, reset);
        // Only ids that it made itself are answered by a reset, so they must be known again too.
        let ids = hmac::sign(&key, b"connection ids");
        let ids = ids
            .as_ref()
            .first_chunk()
            .copied()
            .map_or(0, u64::from_be_bytes);
        let mut config = quinn::EndpointConfig::new(Arc::new(key));
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
        let endpoint = quinn::Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime))?;
        Ok(Self { endpoint })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Takes connections by this configuration from now on; those that are there stay.
    ///
    /// # Errors
    /// When it does not suit QUIC.
    pub fn serve_with(&self, tls: Arc<rustls::ServerConfig>) -> Result<(), DialError> {
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(parameters());
        self.endpoint.set_server_config(Some(config));
        Ok(())
    }

    /// Connects to `HOST:PORT`. Under TLS 1.3 this does not show yet that the other side takes our certificate.
    ///
    /// # Errors
    /// When no address of it answers in time, or it is not who the configuration asks for.
    pub fn dial(
        &self,
        address: &str,
        tls: Arc<rustls::ClientConfig>,
    ) -> impl Future<Output = Result<Link, DialError>> + Send + use<> {
        let (this, address) = (self.clone(), address.to_owned());
        async move {
            let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
            let mut config = quinn::ClientConfig::new(Arc::new(crypto));
            config.transport_config(parameters());
            let mut last = unresolved(&address, std::io::ErrorKind::NotFound.into());
            let resolved = match tokio::net::lookup_host(address.clone()).await {
                Ok(resolved) => resolved,
                Err(source) => return Err(unresolved(&address, source)),
            };
            for to in resolved {
                match this.attempt(address.clone(), to, config.clone()).await {
                    Ok(link) => return Ok(link),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }

    async fn attempt(
        &self,
        address: String,
        to: SocketAddr,
        config: quinn::ClientConfig,
    ) -> Result<Link, DialError> {
        // The name in the handshake is not what is verified: the certificate's SPIFFE name is.
        let connecting = match self.endpoint.connect_with(config, to, SERVER_NAME) {
            Ok(connecting) => connecting,
            Err(source) => return Err(DialError::Connect { address, source }),
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Ok(Link { connection }),
            Ok(Err(source)) => Err(DialError::Connection { address, source }),
            Err(_) => Err(DialError::Timeout(address)),
        }
    }

    /// Hands every connection that comes up to `links`, until the endpoint is closed.
    pub async fn accept(&self, links: mpsc::Sender<Link>) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        while let Some(incoming) = self.endpoint.accept().await {
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let links = links.clone();
            tokio::spawn(async move {
                let from = incoming.remote_address();
                match tokio::time::timeout(CONNECT_TIMEOUT, incoming).await {
                    Ok(Ok(connection)) => {
                        let _ = links.send(Link { connection }).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%from, %error, "connection refused"),
                    Err(_) => tracing::debug!(%from, "connection did not come up in time"),
                }
                drop(permit);
            });
        }
    }

    /// Says goodbye to everybody and waits a moment for it to leave.
    pub async fn close(&self) {
        self.endpoint.close(0u32.into(), b"shutdown");
        let _ = tokio::time::timeout(Duration::from_millis(300), self.endpoint.wait_idle()).await;
    }
}

fn unresolved(address: &str, source: std::io::Error) -> DialError {
    DialError::Resolve {
        address: address.to_owned(),
        source,
    }
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Link {
    connection: quinn::Connection,
}

impl Link {
    /// Where the other end is.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Which protocol was agreed on.
    #[must_use]
    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| data.protocol)
    }

    /// The other end's certificates, its leaf first; empty when it showed none.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.connection
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
            .map(|certificates| *certificates)
            .unwrap_or_default()
    }

    /// Bytes that only the two ends of this connection know.
    #[must_use]
    pub fn export_keying(&self, label: &[u8], context: &[u8]) -> Option<[u8; 32]> {
        let mut out = [0; 32];
        self.connection
            .export_keying_material(&mut out, label, context)
            .ok()
            .map(|()| out)
    }

    /// Opens the stream that carries HTTP/2; the opener's preface is what makes the other end see it.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn channel(&self) -> Result<Channel, DialError> {
        let halves = self
            .connection
            .open_bi()
            .await
            .map_err(|source| DialError::Connection {
                address: self.remote().to_string(),
                source,
            })?;
        let stream = QuicStream::new(self.connection.clone(), halves);
        let endpoint = Endpoint::from_static("http://causeway")
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(Some(WINDOW))
            .initial_connection_window_size(Some(WINDOW));
        Ok(channel_over(endpoint, stream).await?)
    }

    /// The next stream that the other end opened; `None` when the connection is over.
    pub async fn accept<I>(&self, info: I) -> Option<Io<QuicStream, I>> {
        let halves = self.connection.accept_bi().await.ok()?;
        Some(Io::new(
            QuicStream::new(self.connection.clone(), halves),
            info,
        ))
    }

    /// Bytes of the largest datagram that fits the path as it is known now; `None`: the other end takes none.
    #[must_use]
    pub fn room(&self) -> Option<usize> {
        self.connection.max_datagram_size()
    }

    /// Sends a datagram, once there is place for it. False: the connection is over.
    pub async fn send(&self, datagram: Bytes) -> bool {
        let sent = self.connection.send_datagram_wait(datagram).await;
        // One that has become too large meanwhile is lost: the path is narrower than it was.
        !matches!(sent, Err(quinn::SendDatagramError::ConnectionLost(_)))
    }

    /// The next datagram; `None`: the connection is over.
    pub async fn receive(&self) -> Option<Bytes> {
        self.connection.read_datagram().await.ok()
    }

    /// One that has come already.
    #[must_use]
    pub fn received(&self) -> Option<Bytes> {
        self.connection.read_datagram().now_or_never()?.ok()
    }

    /// UDP packets that have come from the other end so far.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Which connection of this process it is.
    #[must_use]
    pub fn number(&self) -> usize {
        self.connection.stable_id()
    }

    /// Waits until it is over, and says why.
    pub async fn closed(&self) -> String {
        self.connection.closed().await.to_string()
    }

    /// Ends it at once.
    pub fn close(&self, reason: &str) {
        self.connection.close(0u32.into(), reason.as_bytes());
    }
}

/// HTTP/2 window: a frame and the next one on the way.
pub const WINDOW: u32 = 4 << 20;
