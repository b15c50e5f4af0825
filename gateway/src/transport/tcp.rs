//! Shell: TLS 1.3 over TCP, where UDP is blocked: one connection carries HTTP/2, and a second one, which the dialler opens once
//! that is there, packets. That both are of the same two ends shows by a secret of the first one's handshake.
//!
//! On the second one, after that secret, each packet has a length of 16 bits in network byte order before it; a length of 0 is a
//! sign of life.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use causeway_certs::tls::ALPN_PACKETS;
use causeway_proto::model::PathStatus;
use nix::libc;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsStream;

use super::{CONNECT_TIMEOUT, IDLE_TIMEOUT, KEEP_ALIVE};

/// What binds a connection for packets to its session.
const EXPORTER: &[u8] = b"EXPORTER-causeway-packets-1";
/// Batches that wait to be written.
const BATCHES: usize = 64;
/// Packets that have been read and not yet been taken, each up to 64 KiB.
const READ: usize = 256;
/// Bytes that are written at once.
const WRITE: usize = 256 << 10;
/// The largest packet: what two bytes can tell, with room for a header.
pub(super) const ROOM: usize = 65_000;
/// How often the dialler tries to open the second connection, and the pause between.
const TRIES: u32 = 5;
const AGAIN: Duration = Duration::from_millis(500);

/// A binding: 32 bytes of the first connection's exporter.
type Secret = [u8; 32];

/// Connections that wait for the one with their packets.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<BTreeMap<Secret, Weak<Connection>>>>);

impl Waiting {
    /// The session that this secret belongs to; only once.
    fn take(&self, secret: &Secret) -> Option<Arc<Connection>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(secret)?.upgrade()
    }

    fn add(&self, secret: Secret, connection: &Arc<Connection>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, connection| connection.strong_count() > 0);
        waiting.insert(secret, Arc::downgrade(connection));
    }
}

/// One TLS connection over TCP, and the one beside it.
#[derive(Debug)]
pub(super) struct Connection {
    pub number: usize,
    pub remote: SocketAddr,
    pub alpn: Option<Vec<u8>>,
    pub certificates: Vec<CertificateDer<'static>>,
    /// Taken by whoever speaks HTTP/2 on it.
    stream: Mutex<Option<TlsStream<TcpStream>>>,
    /// To shut both down.
    sockets: Mutex<Vec<std::net::TcpStream>>,
    over: watch::Sender<Option<String>>,
    out: mpsc::Sender<Vec<Bytes>>,
    queued: Mutex<Option<mpsc::Receiver<Vec<Bytes>>>>,
    came: mpsc::Sender<Bytes>,
    packets: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
    /// Reads from the second connection.
    pub heard: AtomicU64,
    /// The second connection is there.
    pub carries: AtomicBool,
}

impl Connection {
    /// After the handshake.
    pub fn new(stream: TlsStream<TcpStream>, remote: SocketAddr) -> io::Result<Arc<Self>> {
        // Apart from QUIC's, which are addresses in memory and even.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let (socket, tls) = stream.get_ref();
        let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
        let certificates = tls.peer_certificates().unwrap_or_default();
        let certificates = certificates
            .iter()
            .map(|c| c.clone().into_owned())
            .collect();
        let socket = duplicate(socket)?;
        let (out, queued) = mpsc::channel(BATCHES);
        let (came, packets) = mpsc::channel(READ);
        Ok(Arc::new(Self {
            number: NEXT.fetch_add(2, Ordering::Relaxed),
            remote,
            alpn,
            certificates,
            stream: Mutex::new(Some(stream)),
            sockets: Mutex::new(vec![socket]),
            over: watch::channel(None).0,
            out,
            queued: Mutex::new(Some(queued)),
            came,
            packets: tokio::sync::Mutex::new(packets),
            heard: AtomicU64::new(0),
            carries: AtomicBool::new(false),
        }))
    }

    /// The byte stream, once.
    pub fn stream(&self) -> Option<TlsStream<TcpStream>> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.take()
    }

    /// Only before [`Connection::stream`].
    pub fn export_keying(&self, label: &[u8], context: &[u8]) -> Option<[u8; 32]> {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let exported = match stream.as_ref()? {
            TlsStream::Client(stream) => {
                let (_, tls) = stream.get_ref();
                tls.export_keying_material([0; 32], label, Some(context))
            }
            TlsStream::Server(stream) => {
                let (_, tls) = stream.get_ref();
                tls.export_keying_material([0; 32], label, Some(context))
            }
        };
        exported.ok()
    }

    /// Queues packets, once there is place for them. False: it is over.
    pub async fn send(&self, packets: Vec<Bytes>) -> bool {
        self.out.send(packets).await.is_ok()
    }

    /// The next packet; `None`: it is over.
    pub async fn receive(&self) -> Option<Bytes> {
        let mut over = self.over.subscribe();
        let mut packets = self.packets.lock().await;
        tokio::select! {
            packet = packets.recv() => packet,
            _ = over.wait_for(Option::is_some) => None,
        }
    }

    /// One that has come already.
    pub fn received(&self) -> Option<Bytes> {
        self.packets.try_lock().ok()?.try_recv().ok()
    }

    /// By the kernel's word of the connection with packets, else of the first one.
    pub fn path(&self) -> Option<PathStatus> {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        info(sockets.last()?)
    }

    pub async fn closed(&self) -> String {
        let mut over = self.over.subscribe();
        let why = over.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_default()
    }

    pub fn close(&self, reason: &str) {
        let first = self.over.send_if_modified(|over| {
            let first = over.is_none();
            over.get_or_insert_with(|| reason.to_owned());
            first
        });
        if first {
            self.carries.store(false, Ordering::Relaxed);
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            for socket in sockets.drain(..) {
                // Perhaps the other end was faster.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }

    /// Carries packets on this stream from now on, until either is over.
    fn carry(self: &Arc<Self>, stream: TlsStream<TcpStream>) -> io::Result<()> {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        let queued = queued.take().ok_or(io::ErrorKind::AlreadyExists)?;
        let socket = duplicate(stream.get_ref().0)?;
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.push(socket);
        drop(sockets);
        let (read, write) = tokio::io::split(stream);
        self.carries.store(true, Ordering::Relaxed);
        self.until_over(written(write, queued));
        let this = Arc::clone(self);
        self.until_over(async move { this.take_packets(read).await });
        Ok(())
    }

    /// The end of either is the end of all; and nothing outlives the connection, also where nobody takes what has come.
    fn until_over(self: &Arc<Self>, work: impl Future<Output = io::Error> + Send + 'static) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                why = work => this.close(&format!("packets: {why}")),
                _ = this.closed() => {}
            }
        });
    }

    async fn take_packets(&self, mut from: ReadHalf<TlsStream<TcpStream>>) -> io::Error {
        let mut buffer = BytesMut::with_capacity(WRITE);
        loop {
            let read = tokio::time::timeout(IDLE_TIMEOUT, from.read_buf(&mut buffer)).await;
            match read {
                Err(_) => return io::ErrorKind::TimedOut.into(),
                Ok(Err(error)) => return error,
                Ok(Ok(0)) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(Ok(_)) => {}
            }
            self.heard.fetch_add(1, Ordering::Relaxed);
            while let Some(packet) = next_packet(&mut buffer) {
                if !packet.is_empty() && self.came.send(packet).await.is_err() {
                    return io::ErrorKind::BrokenPipe.into();
                }
            }
            buffer.reserve(WRITE);
        }
    }
}

/// The first packet of what was read, if it is whole.
fn next_packet(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = usize::from(u16::from_be_bytes(*buffer.first_chunk()?));
    if buffer.len() < 2 + length {
        return None;
    }
    buffer.advance(2);
    Some(buffer.split_to(length).freeze())
}

/// Writes what is queued, and a sign of life when there is nothing; why it ended.
async fn written(
    mut to: WriteHalf<TlsStream<TcpStream>>,
    mut queued: mpsc::Receiver<Vec<Bytes>>,
) -> io::Error {
    let mut bytes = BytesMut::with_capacity(WRITE);
    loop {
        match tokio::time::timeout(KEEP_ALIVE, queued.recv()).await {
            Ok(Some(packets)) => put(&mut bytes, &packets),
            Ok(None) => return io::ErrorKind::BrokenPipe.into(),
            Err(_) => bytes.put_u16(0),
        }
        while bytes.len() < WRITE
            && let Ok(packets) = queued.try_recv()
        {
            put(&mut bytes, &packets);
        }
        let wrote = async {
            to.write_all(&bytes).await?;
            to.flush().await
        };
        match tokio::time::timeout(IDLE_TIMEOUT, wrote).await {
            Ok(Ok(())) => bytes.clear(),
            Ok(Err(error)) => return error,
            Err(_) => return io::ErrorKind::TimedOut.into(),
        }
    }
}

fn put(bytes: &mut BytesMut, packets: &[Bytes]) {
    for packet in packets {
        // None is larger: it was told how much room there is.
        if let Ok(length) = u16::try_from(packet.len()) {
            bytes.put_u16(length);
            bytes.put_slice(packet);
        }
    }
}

fn info(socket: &std::net::TcpStream) -> Option<PathStatus> {
    // SAFETY: plain integers, all zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the socket is open, and both pointers are to locals of the lengths that are told.
    let done = unsafe {
        let (level, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        let to = (&raw mut info).cast();
        libc::getsockopt(socket.as_raw_fd(), level, option, to, &raw mut length)
    };
    (done == 0).then(|| PathStatus {
        rtt_us: info.tcpi_rtt.into(),
        sent: info.tcpi_segs_out.into(),
        lost: info.tcpi_total_retrans.into(),
        mtu: u16::try_from(info.tcpi_pmtu).unwrap_or(u16::MAX),
        // The kernel has learned it, or has not.
        link_mtu: u16::try_from(info.tcpi_pmtu).unwrap_or(u16::MAX),
        connections: 1,
    })
}

fn duplicate(socket: &TcpStream) -> io::Result<std::net::TcpStream> {
    use std::os::fd::AsFd as _;
    Ok(socket.as_fd().try_clone_to_owned()?.into())
}

/// One that this end has accepted. `None`: it was the second one of another.
pub(super) async fn accepted(
    stream: TlsStream<TcpStream>,
    remote: SocketAddr,
    waiting: &Waiting,
) -> io::Result<Option<Arc<Connection>>> {
    if stream.get_ref().1.alpn_protocol() == Some(ALPN_PACKETS) {
        let mut stream = stream;
        let mut secret = [0; 32];
        let read = tokio::time::timeout(CONNECT_TIMEOUT, stream.read_exact(&mut secret)).await;
        read.map_err(|_| io::ErrorKind::TimedOut)??;
        let session = waiting.take(&secret).ok_or(io::ErrorKind::NotFound)?;
        session.carry(stream)?;
        return Ok(None);
    }
    let connection = Connection::new(stream, remote)?;
    if let Some(secret) = connection.export_keying(EXPORTER, &[]) {
        waiting.add(secret, &connection);
    }
    Ok(Some(connection))
}

/// Opens the second connection of one that this end has dialled, in a task of its own. `again` dials it.
pub(super) fn open_packets<F>(
    connection: &Arc<Connection>,
    again: impl Fn() -> F + Send + Sync + 'static,
) where
    F: Future<Output = io::Result<TlsStream<TcpStream>>> + Send,
{
    let Some(secret) = connection.export_keying(EXPORTER, &[]) else {
        return;
    };
    let connection = Arc::downgrade(connection);
    tokio::spawn(async move {
        for _ in 0..TRIES {
            let opened = async {
                let mut stream = again().await?;
                stream.write_all(&secret).await?;
                stream.flush().await?;
                Ok::<_, io::Error>(stream)
            };
            let opened = tokio::time::timeout(CONNECT_TIMEOUT, opened).await;
            let Some(connection) = connection.upgrade() else {
                return;
            };
            match opened {
                Ok(Ok(stream)) => {
                    if let Err(error) = connection.carry(stream) {
                        connection.close(&error.to_string());
                    }
                    return;
                }
                Ok(Err(error)) => tracing::debug!(%error, "no connection for packets"),
                Err(_) => tracing::debug!("no connection for packets in time"),
            }
            drop(connection);
            tokio::time::sleep(AGAIN).await;
        }
    });
}
