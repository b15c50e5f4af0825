//! Shell: QUIC's UDP socket, read and written for one packet at a time to be quick too. Tokio's own socket asks to be told
//! when it can be written to, so the kernel wakes the process for each packet that has left; this one asks only while the
//! socket's buffer is full.

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
