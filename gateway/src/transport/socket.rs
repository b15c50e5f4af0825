//! Shell: QUIC's UDP socket, read and written for one packet at a time to be quick too. Tokio's own socket asks to be told
//! when it can be written to, and the kernel tells it so for each packet that has left (`sock_def_write_space` in
//! net/core/sock.c); this one asks only while the socket's buffer is full.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// The socket, on these threads.
pub(super) struct Socket {
    io: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// The last packet found no room.
    full: AtomicBool,
    threads: Handle,
}

impl Socket {
    pub fn new(socket: UdpSocket, threads: Handle) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            io: register(socket, Interest::READABLE, &threads)?,
            state,
            full: AtomicBool::new(false),
            threads,
        })
    }

    /// Asks to be told of room, for as long as this is there: by a descriptor of its own.
    fn watched(&self) -> io::Result<AsyncFd<UdpSocket>> {
        let socket = self.io.get_ref().try_clone()?;
        register(socket, Interest::WRITABLE, &self.threads)
    }
}

fn register(
    socket: UdpSocket,
    interest: Interest,
    threads: &Handle,
) -> io::Result<AsyncFd<UdpSocket>> {
    let _threads = threads.enter();
    // SAFETY: a socket of the standard library keeps its descriptor open, and the same one, until it is dropped.
    unsafe { AsyncFd::register_with_interest(socket, interest) }.map_err(io::Error::from)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room {
            socket: self,
            watched: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.io.get_ref().into(), transmit);
        if sent.is_err() {
            // It fails for want of room alone.
            self.full.store(true, Ordering::Release);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.io.poll_read_ready(cx))?;
            match self.state.recv(self.io.get_ref().into(), bufs, meta) {
                Ok(count) => {
                    // There was no more, so there is nothing to ask for until the kernel tells of the next one.
                    if count < bufs.len() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                // What the network says of an earlier packet: that one is lost.
                Err(_) => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

/// Who waits for room in it: one for each connection.
#[derive(Debug)]
struct Room {
    socket: Arc<Socket>,
    watched: Option<AsyncFd<UdpSocket>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.socket.full.load(Ordering::Acquire) {
            self.watched = None;
            return Poll::Ready(Ok(()));
        }
        let watched = match self.watched.take() {
            Some(watched) => watched,
            None => self.socket.watched()?,
        };
        let ready = watched.poll_write_ready(cx).map_ok(drop);
        if ready.is_ready() {
            self.socket.full.store(false, Ordering::Release);
        } else {
            self.watched = Some(watched);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    fn socket() -> io::Result<Arc<Socket>> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        Ok(Arc::new(Socket::new(socket, Handle::current())?))
    }

    #[tokio::test]
    async fn packets_come_and_then_none() -> io::Result<()> {
        let (from, to) = (socket()?, socket()?);
        for _ in 0..2 {
            for payload in [b"one", b"two"] {
                let transmit = Transmit {
                    destination: to.local_addr()?,
                    ecn: None,
                    contents: payload,
                    segment_size: None,
                    src_ip: None,
                };
                from.try_send(&transmit)?;
            }
            let mut came = 0;
            while came < 2 {
                let mut room = [[0; 64]; 4];
                let mut bufs = room.each_mut().map(|room| IoSliceMut::new(room));
                let mut meta = [RecvMeta::default(); 4];
                came += poll_fn(|cx| to.poll_recv(cx, &mut bufs, &mut meta)).await?;
            }
        }
        let mut room = [0; 64];
        let mut bufs = [IoSliceMut::new(&mut room)];
        let mut meta = [RecvMeta::default()];
        let more = poll_fn(|cx| to.poll_recv(cx, &mut bufs, &mut meta));
        let none = tokio::time::timeout(Duration::from_millis(20), more).await;
        assert!(none.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn who_found_no_room_is_told_when_there_is_some() -> io::Result<()> {
        let socket = socket()?;
        let mut room = Arc::clone(&socket).create_io_poller();
        for full in [false, true, true, false] {
            socket.full.store(full, Ordering::Release);
            let told = poll_fn(|cx| room.as_mut().poll_writable(cx));
            let told = tokio::time::timeout(Duration::from_secs(5), told).await;
            assert!(told.is_ok_and(|told| told.is_ok()));
            assert!(!socket.full.load(Ordering::Acquire));
        }
        Ok(())
    }
}
