//! Shell: one connection with another gateway, whichever way it goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use causeway_certs::dial::channel_over;
use causeway_proto::model::{PathStatus, Transport};
use futures::FutureExt as _;
use rustls::pki_types::CertificateDer;
use tonic::transport::{Channel, Endpoint};

use super::io::{LinkStream, QuicStream};
use super::lanes::Lanes;
use super::{CONNECT_TIMEOUT, DialError, Io, mtu, tcp};

/// HTTP/2 window: a frame and the next one on the way.
pub const WINDOW: u32 = 4 << 20;

/// One connection.
#[derive(Debug, Clone)]
pub struct Link(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// With the MTU of the first link there, and what runs beside it.
    Quic(quinn::Connection, u16, Arc<Lanes>),
    Tcp(Arc<tcp::Connection>),
}

impl Link {
    pub(super) fn quic(connection: quinn::Connection, lanes: Arc<Lanes>) -> Self {
        let link_mtu = mtu::tried(connection.remote_address());
        Self(Kind::Quic(connection, link_mtu, lanes))
    }

    /// Connections with the same gateway beside this one, for packets alone.
    #[must_use]
    pub fn lanes(&self) -> Vec<Self> {
        match &self.0 {
            Kind::Quic(_, link_mtu, lanes) => {
                let lane = |connection| Self(Kind::Quic(connection, *link_mtu, Arc::default()));
                lanes.open().into_iter().map(lane).collect()
            }
            Kind::Tcp(_) => Vec::new(),
        }
    }

    pub(super) fn tcp(connection: Arc<tcp::Connection>) -> Self {
        Self(Kind::Tcp(connection))
    }

    /// How it goes.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match &self.0 {
            Kind::Quic(..) => Transport::Quic,
            Kind::Tcp(_) => Transport::Tcp,
        }
    }

    /// Where the other end is.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        match &self.0 {
            Kind::Quic(connection, ..) => connection.remote_address(),
            Kind::Tcp(connection) => connection.remote,
        }
    }

    /// Which protocol was agreed on.
    #[must_use]
    pub fn alpn(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Kind::Quic(connection, ..) => connection
                .handshake_data()
                .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
                .and_then(|data| data.protocol),
            Kind::Tcp(connection) => connection.alpn.clone(),
        }
    }

    /// The other end's certificates, its leaf first; empty when it showed none.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        match &self.0 {
            Kind::Quic(connection, ..) => connection
                .peer_identity()
                .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
                .map(|certificates| *certificates)
                .unwrap_or_default(),
            Kind::Tcp(connection) => connection.certificates.clone(),
        }
    }

    /// Bytes that only the two ends of this connection know. Ask before its stream is taken.
    #[must_use]
    pub fn export_keying(&self, label: &[u8], context: &[u8]) -> Option<[u8; 32]> {
        match &self.0 {
            Kind::Quic(connection, ..) => {
                let mut out = [0; 32];
                let exported = connection.export_keying_material(&mut out, label, context);
                exported.ok().map(|()| out)
            }
            Kind::Tcp(connection) => connection.export_keying(label, context),
        }
    }

    /// Opens the stream that carries HTTP/2; the opener's preface is what makes the other end see it.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn channel(&self) -> Result<Channel, DialError> {
        let address = || self.remote().to_string();
        let stream = match &self.0 {
            Kind::Quic(connection, ..) => {
                let halves = connection.open_bi().await;
                let halves = halves.map_err(|source| DialError::Connection {
                    address: address(),
                    source,
                })?;
                LinkStream::Quic(QuicStream::new(connection.clone(), halves))
            }
            Kind::Tcp(connection) => {
                let stream = connection.stream().ok_or_else(|| DialError::Tcp {
                    address: address(),
                    source: std::io::ErrorKind::NotConnected.into(),
                })?;
                LinkStream::Tcp(Box::new(stream))
            }
        };
        let endpoint = Endpoint::from_static("http://causeway")
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(Some(WINDOW))
            .initial_connection_window_size(Some(WINDOW));
        Ok(channel_over(endpoint, stream).await?)
    }

    /// The next stream that the other end opened; `None` when the connection is over.
    pub async fn accept<I>(&self, info: I) -> Option<Io<LinkStream, I>> {
        let stream = match &self.0 {
            Kind::Quic(connection, ..) => {
                let halves = connection.accept_bi().await.ok()?;
                LinkStream::Quic(QuicStream::new(connection.clone(), halves))
            }
            Kind::Tcp(connection) => match connection.stream() {
                Some(stream) => LinkStream::Tcp(Box::new(stream)),
                // It has no other.
                None => {
                    connection.closed().await;
                    return None;
                }
            },
        };
        Some(Io::new(stream, info))
    }

    /// Bytes of the largest datagram that fits the path as it is known now; `None`: the other end takes none, or none yet.
    #[must_use]
    pub fn room(&self) -> Option<usize> {
        match &self.0 {
            Kind::Quic(connection, ..) => connection.max_datagram_size(),
            Kind::Tcp(connection) => {
                let carries = connection.carries.load(Ordering::Relaxed);
                carries.then_some(tcp::ROOM)
            }
        }
    }

    /// Sends datagrams, once there is place for them. False: the connection is over.
    pub async fn send(&self, datagrams: Vec<Bytes>) -> bool {
        match &self.0 {
            Kind::Quic(connection, ..) => {
                for datagram in datagrams {
                    let sent = connection.send_datagram_wait(datagram).await;
                    // One that has become too large meanwhile is lost: the path is narrower than it was.
                    if matches!(sent, Err(quinn::SendDatagramError::ConnectionLost(_))) {
                        return false;
                    }
                }
                true
            }
            Kind::Tcp(connection) => connection.send(datagrams).await,
        }
    }

    /// Sends datagrams at once; false: there is no place for all of them now, and none is sent.
    #[must_use]
    pub fn send_now(&self, datagrams: &[Bytes]) -> bool {
        let Kind::Quic(connection, ..) = &self.0 else {
            return false;
        };
        let bytes: usize = datagrams.iter().map(Bytes::len).sum();
        if connection.datagram_send_buffer_space() < bytes {
            return false;
        }
        for datagram in datagrams {
            // One that cannot go is lost, as in `send`.
            let _ = connection.send_datagram(datagram.clone());
        }
        true
    }

    /// The next datagram; `None`: the connection is over.
    pub async fn receive(&self) -> Option<Bytes> {
        match &self.0 {
            Kind::Quic(connection, ..) => connection.read_datagram().await.ok(),
            Kind::Tcp(connection) => connection.receive().await,
        }
    }

    /// One that has come already.
    #[must_use]
    pub fn received(&self) -> Option<Bytes> {
        match &self.0 {
            Kind::Quic(connection, ..) => connection.read_datagram().now_or_never()?.ok(),
            Kind::Tcp(connection) => connection.received(),
        }
    }

    /// What is known of the path.
    #[must_use]
    pub fn path(&self) -> Option<PathStatus> {
        match &self.0 {
            Kind::Quic(connection, link_mtu, lanes) => {
                let path = connection.stats().path;
                Some(PathStatus {
                    rtt_us: u64::try_from(path.rtt.as_micros()).unwrap_or(u64::MAX),
                    sent: path.sent_packets,
                    lost: path.lost_packets,
                    mtu: mtu::packet(path.current_mtu, connection.remote_address()),
                    link_mtu: *link_mtu,
                    connections: lanes.count().saturating_add(1),
                })
            }
            Kind::Tcp(connection) => connection.path(),
        }
    }

    /// Counts up with what comes from the other end.
    #[must_use]
    pub fn heard(&self) -> u64 {
        match &self.0 {
            Kind::Quic(connection, ..) => connection.stats().udp_rx.datagrams,
            Kind::Tcp(connection) => connection.heard.load(Ordering::Relaxed),
        }
    }

    /// Which connection of this process it is.
    #[must_use]
    pub fn number(&self) -> usize {
        match &self.0 {
            Kind::Quic(connection, ..) => connection.stable_id(),
            Kind::Tcp(connection) => connection.number,
        }
    }

    /// Waits until it is over, and says why.
    pub async fn closed(&self) -> String {
        match &self.0 {
            Kind::Quic(connection, ..) => connection.closed().await.to_string(),
            Kind::Tcp(connection) => connection.closed().await,
        }
    }

    /// Ends it at once.
    pub fn close(&self, reason: &str) {
        match &self.0 {
            Kind::Quic(connection, _, lanes) => {
                connection.close(0u32.into(), reason.as_bytes());
                lanes.close(reason);
            }
            Kind::Tcp(connection) => connection.close(reason),
        }
    }
}
