//! Shell: what HTTP/2 goes on: a stream of QUIC, or a whole TLS connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Both halves of a QUIC bidirectional stream; keeps its connection open while it lives.
#[derive(Debug)]
pub struct QuicStream {
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    _connection: quinn::Connection,
}

impl QuicStream {
    /// Of one connection.
    #[must_use]
    pub fn new(
        connection: quinn::Connection,
        (send, receive): (quinn::SendStream, quinn::RecvStream),
    ) -> Self {
        Self {
            send,
            receive,
            _connection: connection,
        }
    }
}

/// A byte stream of a connection.
#[derive(Debug)]
pub enum LinkStream {
    /// One of several.
    Quic(QuicStream),
    /// The only one.
    Tcp(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for LinkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => AsyncRead::poll_read(Pin::new(&mut stream.receive), cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Quic(stream) => AsyncWrite::poll_write(Pin::new(&mut stream.send), cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => AsyncWrite::poll_flush(Pin::new(&mut stream.send), cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => AsyncWrite::poll_shutdown(Pin::new(&mut stream.send), cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
