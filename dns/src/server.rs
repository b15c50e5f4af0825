//! Shell: questions over UDP and TCP. One task answers UDP, one question after the other, so the socket's
//! own buffer is the queue; TCP connections are few and short. Each answer is a look-up in memory.
//!
//! The loops are ours rather than hickory-server's, which bounds neither its TCP connections nor sends
//! UDP answers from the address that was asked when it is bound to all of them.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use causeway_proto::model::{Address, View};

use crate::count::Counts;
use crate::wire::{Asker, reply};
use crate::zone::DnsZone;

/// Questions are short; longer ones are no questions.
const QUESTION_BYTES: usize = 4096;
/// TCP connections at a time: resolvers use TCP for large answers only.
const CONNECTIONS: usize = 256;
/// How long a TCP client may take for a question or an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Serving {
    /// Where it answers over UDP.
    pub udp: SocketAddr,
    /// Where it answers over TCP.
    pub tcp: SocketAddr,
    /// What was answered so far.
    pub counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Shared {
    zone: watch::Receiver<Arc<DnsZone>>,
    turn: Arc<AtomicU64>,
    counts: Arc<Counts>,
}

impl Shared {
    fn reply(&self, request: &[u8], from: SocketAddr, tcp: bool) -> Option<Vec<u8>> {
        let zone = self.zone.borrow().clone();
        let asker = Asker {
            client: client_number(from.ip()),
            turn: self.turn.fetch_add(1, Ordering::Relaxed),
            tcp,
        };
        let response = reply(&zone, request, asker)?;
        self.counts.count(&response, tcp);
        Some(response)
    }
}

/// The address folded to a number, spread by Fibonacci's constant.
fn client_number(ip: IpAddr) -> u64 {
    let bytes = Address::from(ip.to_canonical()).bytes();
    bytes.iter().fold(0u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// Answers from the newest View until the result is dropped.
///
/// # Errors
/// When one of the addresses cannot be bound.
pub async fn serve(
    view: watch::Receiver<Arc<View>>,
    udp: SocketAddr,
    tcp: SocketAddr,
) -> io::Result<Serving> {
    let socket = bind_udp(udp).await?;
    let listener = TcpListener::bind(tcp).await?;
    let (udp, tcp) = (socket.local_addr()?, listener.local_addr()?);
    let mut tasks = JoinSet::new();
    let first = Arc::new(DnsZone::of(&view.borrow()));
    let (sender, zone) = watch::channel(first);
    let shared = Shared {
        zone,
        turn: Arc::default(),
        counts: Arc::default(),
    };
    let counts = Arc::clone(&shared.counts);
    tasks.spawn(follow(view, sender));
    tasks.spawn(serve_udp(socket, shared.clone()));
    tasks.spawn(serve_tcp(listener, shared));
    Ok(Serving {
        udp,
        tcp,
        counts,
        _tasks: tasks,
    })
}

/// A zone for each View; between two the newest counts.
async fn follow(mut view: watch::Receiver<Arc<View>>, zone: watch::Sender<Arc<DnsZone>>) {
    loop {
        let newest = view.borrow_and_update().clone();
        let made = DnsZone::of(&newest);
        if made.problems != zone.borrow().problems {
            for problem in &made.problems {
                tracing::warn!(%problem, "a name is left out");
            }
        }
        zone.send_replace(Arc::new(made));
        if view.changed().await.is_err() {
            // The gateway is going down; the last zone serves until it drops us.
            return zone.closed().await;
        }
    }
}

async fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).await?;
    if address.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    Ok(socket)
}

/// A question with the address that it was sent to, which must be the answer's source.
struct Datagram {
    length: usize,
    from: SockaddrStorage,
    source: SocketAddr,
    to: Option<ControlMessageOwned>,
}

async fn serve_udp(socket: UdpSocket, shared: Shared) {
    let mut buffer = vec![0u8; QUESTION_BYTES];
    loop {
        let received = socket
            .async_io(Interest::READABLE, || receive(&socket, &mut buffer))
            .await;
        let datagram = match received {
            Ok(datagram) => datagram,
            Err(error) => {
                // Errors here are of one earlier packet (an ICMP error, say), not of the socket.
                tracing::debug!(%error, "UDP question not received");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let Some(request) = buffer.get(..datagram.length) else {
            continue;
        };
        let Some(response) = shared.reply(request, datagram.source, false) else {
            continue;
        };
        let sent = socket
            .async_io(Interest::WRITABLE, || send(&socket, &response, &datagram))
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, client = %datagram.source, "UDP answer not sent");
        }
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let from = message.address.ok_or(io::ErrorKind::InvalidData)?;
    let source = socket_address(&from).ok_or(io::ErrorKind::InvalidData)?;
    if message.flags.contains(MsgFlags::MSG_TRUNC) || source.port() == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Datagram {
        length: message.bytes,
        to: message.cmsgs()?.next(),
        from,
        source,
    })
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().copied();
    let v6 = storage.as_sockaddr_in6().copied();
    v4.map(|v4| SocketAddr::V4(v4.into()))
        .or_else(|| v6.map(|v6| SocketAddr::V6(v6.into())))
}

fn send(socket: &UdpSocket, response: &[u8], question: &Datagram) -> io::Result<usize> {
    let parts = [IoSlice::new(response)];
    let flags = MsgFlags::empty();
    let to = Some(&question.from);
    let sent = match question.to {
        Some(ControlMessageOwned::Ipv4PacketInfo(mut info)) => {
            info.ipi_ifindex = 0;
            // A question to a broadcast address is answered from the interface's own.
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(socket.as_raw_fd(), &parts, &control, flags, to)
        }
        Some(ControlMessageOwned::Ipv6PacketInfo(info)) => {
            let control = [ControlMessage::Ipv6PacketInfo(&info)];
            sendmsg(socket.as_raw_fd(), &parts, &control, flags, to)
        }
        _ => sendmsg(socket.as_raw_fd(), &parts, &[], flags, to),
    };
    Ok(sent?)
}

async fn serve_tcp(listener: TcpListener, shared: Shared) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "TCP connection not accepted; is the limit of open files too low?");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let shared = shared.clone();
        connections.spawn(async move {
            let ended = serve_connection(stream, from, &shared).await;
            tracing::trace!(client = %from, ?ended, "TCP connection ended");
            drop(place);
        });
    }
}

async fn serve_connection(
    mut stream: TcpStream,
    from: SocketAddr,
    shared: &Shared,
) -> io::Result<()> {
    loop {
        let length = usize::from(timeout(PATIENCE, stream.read_u16()).await??);
        if length > QUESTION_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut request = vec![0u8; length];
        timeout(PATIENCE, stream.read_exact(&mut request)).await??;
        let Some(response) = shared.reply(&request, from, true) else {
            return Ok(());
        };
        let Ok(length) = u16::try_from(response.len()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let framed = [&length.to_be_bytes(), response.as_slice()].concat();
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
}
