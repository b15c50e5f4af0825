//! Shell: a gRPC server's connections over TLS: a bounded number of handshakes at a time, each with a time limit, and what
//! is known of who is at the other end.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at one time.
const HANDSHAKES: usize = 64;
/// Connections that are accepted and not yet served.
pub const WAITING: usize = 16;

/// Connections as a gRPC server takes them, by `ReceiverStream`.
pub type Connections<S, I> = mpsc::Receiver<io::Result<Io<S, I>>>;

/// Takes connections until the receiver is dropped. `admit` says who is at the other end, or why the connection is closed.
pub fn tls<I, F>(
    listener: TcpListener,
    config: ServerConfig,
    admit: F,
) -> Connections<TlsStream<TcpStream>, I>
where
    I: Send + 'static,
    F: Fn(&TlsStream<TcpStream>) -> Result<I, Box<dyn Error + Send + Sync>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let (stream, from) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => { pause(&error).await; continue; }
                },
                () = sender.closed() => return,
            };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let (acceptor, sender, admit) = (acceptor.clone(), sender.clone(), admit.clone());
            tokio::spawn(async move {
                match handshake(stream, &acceptor, admit).await {
                    Ok(connection) => {
                        let _ = sender.send(Ok(connection)).await;
                    }
                    Err(error) => tracing::debug!(%from, %error, "connection refused"),
                }
                drop(place);
            });
        }
    });
    receiver
}

async fn handshake<I>(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    admit: impl Fn(&TlsStream<TcpStream>) -> Result<I, Box<dyn Error + Send + Sync>>,
) -> Result<Io<TlsStream<TcpStream>, I>, Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let info = admit(&stream)?;
    Ok(Io::new(stream, info))
}

/// After an accept that failed.
pub async fn pause(error: &io::Error) {
    tracing::warn!(%error, "connection not accepted; is the limit of open files too low?");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A byte stream and what its handlers learn of it through the request's extensions.
#[derive(Debug)]
pub struct Io<S, I> {
    stream: S,
    info: I,
}

impl<S, I> Io<S, I> {
    /// `info` is what handlers see.
    pub fn new(stream: S, info: I) -> Self {
        Self { stream, info }
    }
}

impl<S, I: Clone + Send + Sync + 'static> Connected for Io<S, I> {
    type ConnectInfo = I;
    fn connect_info(&self) -> I {
        self.info.clone()
    }
}

impl<S: AsyncRead + Unpin, I: Unpin> AsyncRead for Io<S, I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, I: Unpin> AsyncWrite for Io<S, I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
