//! Shell: connections between gateways: QUIC, and TLS over TCP where UDP is blocked. Either carries HTTP/2, so that the same
//! gRPC services run on it, and packets. Who is at the other end is decided by the TLS configurations that come in; what is
//! said is not known here.

mod io;
mod lanes;
mod link;
mod mtu;
mod quic;
mod socket;
mod tcp;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use causeway_certs::serve::pause;
use causeway_certs::tls::{SERVER_NAME, for_packets, with_packets};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub use causeway_certs::serve::Io;
pub use io::LinkStream;
pub use link::{Link, WINDOW};
use quic::Quic;

/// How long a connection may take to come up; quinn alone would wait for 30 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// QUIC alone has so long to answer before TCP is tried beside it.
const HEAD_START: Duration = Duration::from_millis(300);
/// Without a packet for so long a connection is over, and another way is tried: well below the lease, and twelve signs of life.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// So often that silence tells within a second.
const KEEP_ALIVE: Duration = Duration::from_millis(250);
/// Handshakes at one time, of each protocol; more are refused, so that strangers cannot take all memory.
const HANDSHAKES: usize = 64;

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
    #[error("{0}: no answer within 3 s, by UDP or by TCP; is either open to it?")]
    Timeout(String),
    /// TLS over TCP, after QUIC had no answer.
    #[error("{address}: no answer by UDP; by TCP: {source}")]
    Tcp {
        /// As given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// TLS over TCP, tried alone.
    #[error("{address}: by TCP: {source}")]
    NoTcp {
        /// As given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// HTTP/2 did not come up.
    #[error("{0}")]
    Http(#[from] tonic::transport::Error),
}

/// Kernel's buffers of the UDP socket, each way: what a fast link brings while the process waits for a core. What does not
/// fit is lost, and a lost burst of large packets looks to QUIC like a path that has narrowed.
const BUFFER: usize = 8 << 20;

/// As much as the kernel allows (`net.core.rmem_max`, `wmem_max`): it gives less without an error.
fn buffers(socket: &UdpSocket) -> std::io::Result<()> {
    setsockopt(socket, sockopt::RcvBuf, &BUFFER)?;
    setsockopt(socket, sockopt::SndBuf, &BUFFER)?;
    // Linux tells twice of what was asked for: its own bookkeeping is in it.
    let bytes = getsockopt(socket, sockopt::RcvBuf)?.saturating_div(2);
    if bytes < BUFFER {
        let wanted = BUFFER;
        tracing::info!(
            bytes,
            wanted,
            "the UDP socket's buffer is bounded by net.core.rmem_max"
        );
    }
    Ok(())
}

/// Both ways, on one port number.
#[derive(Debug, Clone)]
pub struct Transport {
    quic: Quic,
    listener: Arc<TcpListener>,
    waiting: tcp::Waiting,
    /// By QUIC, and how many connections are dialled beside each.
    sessions: lanes::Sessions,
    beside: usize,
}

impl Transport {
    /// Opens the UDP socket and the TCP one of the same port. Connections are refused until [`Transport::serve_with`] was
    /// called. `reset`: a secret by which peers learn at once that a process with the same one before it is gone. `threads`:
    /// what QUIC runs on. `beside`: connections for packets that are dialled beside each session.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        reset: &[u8; 32],
        threads: Handle,
        beside: usize,
    ) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        buffers(&socket)?;
        let listener = TcpListener::bind(socket.local_addr()?).await?;
        Ok(Self {
            quic: Quic::new(socket, reset, threads)?,
            listener: Arc::new(listener),
            waiting: tcp::Waiting::default(),
            sessions: lanes::Sessions::default(),
            beside: beside.min(lanes::MOST),
        })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.quic.endpoint.local_addr()
    }

    /// Where QUIC's packets come.
    #[must_use]
    pub fn socket(&self) -> Weak<dyn AsFd + Send + Sync> {
        let socket: Arc<dyn AsFd + Send + Sync> = Arc::clone(&self.quic.socket) as _;
        Arc::downgrade(&socket)
    }

    /// Takes connections by this configuration from now on; hands every one that comes up to `links`, until it is closed.
    ///
    /// # Errors
    /// When the configuration does not suit QUIC.
    pub fn serve(
        &self,
        tls: Arc<rustls::ServerConfig>,
        links: mpsc::Sender<Link>,
    ) -> Result<impl Future<Output = ()> + Send + use<>, DialError> {
        let tls = Arc::new(with_packets(&tls));
        self.quic.serve_with(Arc::clone(&tls))?;
        let acceptor = TlsAcceptor::from(tls);
        let (quic, tcp) = (self.clone(), self.clone());
        let by_tcp = links.clone();
        Ok(async move {
            tokio::join!(quic.accept_quic(links), tcp.accept_tcp(acceptor, by_tcp));
        })
    }

    /// Connects to `HOST:PORT`, by QUIC or, where that has no answer, by TCP. Under TLS 1.3 this does not show yet that the
    /// other side takes our certificate. `only_quic`: TCP is not tried.
    ///
    /// # Errors
    /// When no address of it answers in time, or it is not who the configuration asks for.
    pub fn dial(
        &self,
        address: &str,
        tls: Arc<rustls::ClientConfig>,
        only_quic: bool,
    ) -> impl Future<Output = Result<Link, DialError>> + Send + use<> {
        let (this, address) = (self.clone(), address.to_owned());
        async move {
            let mut last = unresolved(&address, std::io::ErrorKind::NotFound.into());
            for to in resolve(&address).await? {
                match this.attempt(&address, to, &tls, only_quic).await {
                    Ok(link) => return Ok(link),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }

    /// How long it takes until a gateway there has shown by UDP who it is.
    ///
    /// # Errors
    /// As [`dial`](Self::dial), of the last address.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it takes is what is asked"
    )]
    pub async fn probe_udp(
        &self,
        address: &str,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Duration, DialError> {
        let mut last = unresolved(address, std::io::ErrorKind::NotFound.into());
        for to in resolve(address).await? {
            let began = Instant::now();
            match self.quic.dial(address, to, Arc::clone(&tls)).await {
                Ok(connection) => {
                    connection.close(0u32.into(), b"probe");
                    return Ok(began.elapsed());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The same by TCP.
    ///
    /// # Errors
    /// As [`dial`](Self::dial), of the last address.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it takes is what is asked"
    )]
    pub async fn probe_tcp(
        &self,
        address: &str,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Duration, DialError> {
        let mut last = unresolved(address, std::io::ErrorKind::NotFound.into());
        for to in resolve(address).await? {
            let began = Instant::now();
            let done = tokio::time::timeout(CONNECT_TIMEOUT, tls_to(to, Arc::clone(&tls))).await;
            match done.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
                Ok(_) => return Ok(began.elapsed()),
                Err(source) => {
                    let address = address.to_owned();
                    last = DialError::NoTcp { address, source };
                }
            }
        }
        Err(last)
    }

    async fn attempt(
        &self,
        address: &str,
        to: SocketAddr,
        tls: &Arc<rustls::ClientConfig>,
        only_quic: bool,
    ) -> Result<Link, DialError> {
        let by_quic = self.by_quic(address, to, tls);
        if only_quic {
            return by_quic.await;
        }
        let mut by_quic = pin!(by_quic);
        // An answer is an answer, also where it is no.
        if let Ok(answered) = tokio::time::timeout(HEAD_START, &mut by_quic).await {
            return answered;
        }
        let by_tcp = tokio::time::timeout(CONNECT_TIMEOUT, dial_tcp(to, tls));
        let mut by_tcp = pin!(by_tcp);
        let tcp = |done: Result<std::io::Result<Link>, _>| match done {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(source)) => Err(DialError::Tcp {
                address: address.to_owned(),
                source,
            }),
            Err(_) => Err(DialError::Timeout(address.to_owned())),
        };
        tokio::select! {
            done = &mut by_quic => match done {
                Ok(link) => Ok(link),
                Err(DialError::Timeout(_)) => tcp(by_tcp.await),
                Err(error) => Err(error),
            },
            done = &mut by_tcp => match tcp(done) {
                Ok(link) => Ok(link),
                Err(error) => by_quic.await.map_err(|_| error),
            },
        }
    }

    async fn by_quic(
        &self,
        address: &str,
        to: SocketAddr,
        tls: &Arc<rustls::ClientConfig>,
    ) -> Result<Link, DialError> {
        let connection = self.quic.dial(address, to, Arc::clone(tls)).await?;
        let lanes = lanes::dial(&self.quic, &connection, to, tls, self.beside);
        Ok(Link::quic(connection, lanes))
    }

    async fn accept_quic(&self, links: mpsc::Sender<Link>) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        while let Some(incoming) = self.quic.endpoint.accept().await {
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            // Whoever is many at once must show first that packets to the address reach it.
            let many = handshakes.available_permits() < HANDSHAKES / 2;
            if many && !incoming.remote_address_validated() {
                let _ = incoming.retry();
                continue;
            }
            let from = incoming.remote_address();
            let Some(accepted) = self.quic.accepted(incoming) else {
                continue;
            };
            let (links, sessions) = (links.clone(), self.sessions.clone());
            tokio::spawn(async move {
                match tokio::time::timeout(CONNECT_TIMEOUT, accepted).await {
                    Ok(Ok(connection)) if lanes::is_lane(&connection) => {
                        sessions.take(connection).await;
                    }
                    Ok(Ok(connection)) => {
                        let lanes = sessions.accepted(&connection);
                        let _ = links.send(Link::quic(connection, lanes)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%from, %error, "connection refused"),
                    Err(_) => tracing::debug!(%from, "connection did not come up in time"),
                }
                drop(permit);
            });
        }
    }

    async fn accept_tcp(&self, acceptor: TlsAcceptor, links: mpsc::Sender<Link>) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        while !links.is_closed() {
            let (stream, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                continue;
            };
            let (acceptor, links) = (acceptor.clone(), links.clone());
            let waiting = self.waiting.clone();
            tokio::spawn(async move {
                let taken = async {
                    stream.set_nodelay(true)?;
                    let stream = TlsStream::from(acceptor.accept(stream).await?);
                    tcp::accepted(stream, from, &waiting).await
                };
                match tokio::time::timeout(CONNECT_TIMEOUT, taken).await {
                    Ok(Ok(Some(connection))) => {
                        let _ = links.send(Link::tcp(connection)).await;
                    }
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => tracing::debug!(%from, %error, "connection refused"),
                    Err(_) => tracing::debug!(%from, "connection did not come up in time"),
                }
                drop(permit);
            });
        }
    }

    /// Says goodbye to everybody and waits a moment for it to leave.
    pub async fn close(&self) {
        let endpoint = &self.quic.endpoint;
        endpoint.close(0u32.into(), b"shutdown");
        let _ = tokio::time::timeout(Duration::from_millis(300), endpoint.wait_idle()).await;
    }
}

/// A connection by TCP, and in a while one for its packets.
async fn dial_tcp(to: SocketAddr, tls: &Arc<rustls::ClientConfig>) -> std::io::Result<Link> {
    let connection = tcp::Connection::new(tls_to(to, Arc::clone(tls)).await?, to)?;
    if let Some(packets) = for_packets(tls) {
        let packets = Arc::new(packets);
        tcp::open_packets(&connection, move || tls_to(to, Arc::clone(&packets)));
    }
    Ok(Link::tcp(connection))
}

async fn tls_to(
    to: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    // Whom it must be the verifier decides, not by this name.
    let name = ServerName::try_from(SERVER_NAME).map_err(std::io::Error::other)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await?;
    Ok(TlsStream::from(stream))
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>, DialError> {
    let resolved = tokio::net::lookup_host(address).await;
    let resolved = resolved.map_err(|source| unresolved(address, source))?;
    Ok(resolved.collect())
}

fn unresolved(address: &str, source: std::io::Error) -> DialError {
    DialError::Resolve {
        address: address.to_owned(),
        source,
    }
}
