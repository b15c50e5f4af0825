//! Shell: a server's connections: over TLS, a bounded number of handshakes at a time, each with a time limit, with what is
//! known of who is at the other end; and a Unix socket that only its owner may open.

use std::error::Error;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
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

/// Listens on a Unix socket that only its owner may open.
///
/// # Errors
/// When something else is in its place, or another process answers there.
pub async fn unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::other(format!(
                "{} is there and is no socket",
                path.display()
            )));
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::other(format!(
                "another process listens on {}",
                path.display()
            )));
        }
        std::fs::remove_file(path)?;
    }
    // The mode is right before the name is there: a socket between bind and chmod could be opened by others.
    let beside = path.with_extension(format!("new{}", std::process::id()));
    let _ = std::fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&beside, path)?;
    Ok((listener, SocketFile(path.to_owned())))
}

/// Takes the socket's file away when it is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/gateway.sock");
        let (listener, file) = unix(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Nobody takes it from a process that is there.
        let second = unix(&path).await.map(|_| ()).unwrap_err().to_string();
        assert!(second.contains("another process listens"), "{second}");
        drop((listener, file));
        assert!(!path.exists());
        // What a process that was killed left behind is replaced; what is no socket stays.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(unix(&path).await.is_ok());
        let other = dir.path().join("file");
        std::fs::write(&other, "x").unwrap();
        assert!(unix(&other).await.is_err());
        assert_eq!(std::fs::read(&other).unwrap(), b"x");
    }
}
