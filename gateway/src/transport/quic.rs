//! Shell: QUIC. One endpoint serves and dials. Nothing else in the project names quinn but what is beside this.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use causeway_certs::tls::SERVER_NAME;
use quinn_proto::HashedConnectionIdGenerator;
use tokio::runtime::Handle;

use super::socket::Socket;
use super::{CONNECT_TIMEOUT, DialError, IDLE_TIMEOUT, KEEP_ALIVE, mtu};

/// Round trip that is taken for likely before one was measured: a lost first packet is sent again after three of it.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// After large packets that were lost in bursts the path is taken for one of 1,200 bytes for so long; then it is found out
/// anew. Where it was no more than congestion, this is all that it costs.
const NARROW: Duration = Duration::from_secs(5);
/// Bytes of datagrams that wait in either direction: some milliseconds at the rate of a fast link. What does not fit is
/// lost as on any link.
const DATAGRAMS: usize = 4 << 20;
/// Streams that a peer may open on a connection: one session, and room for one more class.
const STREAMS: u32 = 4;

/// The QUIC endpoint.
#[derive(Debug, Clone)]
pub(super) struct Quic {
    pub endpoint: quinn::Endpoint,
    pub socket: Arc<Socket>,
    serving: Arc<Mutex<Option<quinn::ServerConfig>>>,
}

/// Everything of QUIC runs on these threads, whoever calls.
#[derive(Debug)]
struct On(Handle);

impl quinn::Runtime for On {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn quinn::AsyncTimer>> {
        let _threads = self.0.enter();
        quinn::TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(task);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
        Ok(Arc::new(Socket::new(socket, self.0.clone())?))
    }

    fn now(&self) -> Instant {
        quinn::TokioRuntime.now()
    }
}

/// For a connection to there: QUIC finds out how much of what the first link takes the whole path does (RFC 8899).
fn parameters(to: Option<SocketAddr>) -> Arc<quinn::TransportConfig> {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.black_hole_cooldown(NARROW);
    let mtu = to.and_then(mtu::of_route).unwrap_or(mtu::USUAL);
    discovery.upper_bound(mtu::payload(mtu, to));
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

impl Quic {
    /// On this socket and these threads. `reset`: a secret by which peers learn at once that a process with the same one
    /// before it is gone.
    pub fn new(socket: UdpSocket, reset: &[u8; 32], threads: Handle) -> io::Result<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, reset);
        // Only ids that it made itself are answered by a reset, so they must be known again too.
        let ids = hmac::sign(&key, b"connection ids");
        let ids = ids.as_ref().first_chunk().copied();
        let ids = ids.map_or(0, u64::from_be_bytes);
        let mut config = quinn::EndpointConfig::new(Arc::new(key));
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
        let socket = Arc::new(Socket::new(socket, threads.clone())?);
        let (on, io) = (Arc::new(On(threads)), Arc::clone(&socket));
        let endpoint = quinn::Endpoint::new_with_abstract_socket(config, None, io, on)?;
        Ok(Self {
            endpoint,
            socket,
            serving: Arc::default(),
        })
    }

    /// Takes connections by this configuration from now on; those that are there stay.
    pub fn serve_with(&self, tls: Arc<rustls::ServerConfig>) -> Result<(), DialError> {
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(parameters(None));
        self.endpoint.set_server_config(Some(config.clone()));
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
        Ok(())
    }

    /// Connects to one address. `address` is for messages.
    pub async fn dial(
        &self,
        address: &str,
        to: SocketAddr,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<quinn::Connection, DialError> {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(parameters(Some(to)));
        let address = address.to_owned();
        // The name in the handshake is not what is verified: the certificate's SPIFFE name is.
        let connecting = match self.endpoint.connect_with(config, to, SERVER_NAME) {
            Ok(connecting) => connecting,
            Err(source) => return Err(DialError::Connect { address, source }),
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(source)) => Err(DialError::Connection { address, source }),
            Err(_) => Err(DialError::Timeout(address)),
        }
    }

    /// Takes one that comes, with what is known of the way back to it.
    pub fn accepted(&self, incoming: quinn::Incoming) -> Option<quinn::Connecting> {
        let from = incoming.remote_address();
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut config = serving.clone()?;
        drop(serving);
        config.transport_config(parameters(Some(from)));
        let accepted = incoming.accept_with(Arc::new(config));
        accepted
            .inspect_err(|error| tracing::debug!(%from, %error, "connection refused"))
            .ok()
    }
}
