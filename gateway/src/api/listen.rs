//! Shell: where the local service, status and admin API are reached, and who is at the other end there.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use causeway_certs::name::Caller;
use causeway_certs::serve::{self, Io, WAITING, pause};
use causeway_certs::tls::{self, Tls};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

/// Who calls, as handlers find it in the request's extensions.
#[derive(Debug, Clone)]
pub struct Calling {
    /// Proven.
    pub caller: Caller,
    /// The leaf that opened the connection.
    pub leaf: Option<CertificateDer<'static>>,
}

/// Connections with their callers, as a gRPC server takes them.
pub type Connections<S> = serve::Connections<S, Calling>;

/// Listens on a Unix socket that only its owner may open.
///
/// # Errors
/// When something else is in its place, or another gateway answers there.
pub async fn unix(path: &Path) -> std::io::Result<(Connections<UnixStream>, SocketFile)> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(std::io::Error::other(format!(
                "{} is there and is no socket",
                path.display()
            )));
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(std::io::Error::other(format!(
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
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => { pause(&error).await; continue; }
                },
                () = sender.closed() => return,
            };
            let calling = Calling {
                caller: Caller::Socket,
                leaf: None,
            };
            if sender.send(Ok(Io::new(stream, calling))).await.is_err() {
                return;
            }
        }
    });
    Ok((receiver, SocketFile(path.to_owned())))
}

/// Takes the socket's file away when it is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Serves TCP; every connection is TLS 1.3, its caller certified or, to enrol, anonymous.
///
/// # Errors
/// When rustls refuses the configuration.
pub fn tcp(
    listener: TcpListener,
    tls: &Tls,
) -> Result<Connections<TlsStream<TcpStream>>, rustls::Error> {
    let trust = tls.trust.clone();
    let admit = move |stream: &TlsStream<TcpStream>| {
        let presented = stream.get_ref().1.peer_certificates();
        let caller = tls::caller(presented, &trust.load())?;
        let leaf = presented.and_then(<[_]>::first);
        let leaf = leaf.map(|leaf| leaf.clone().into_owned());
        Ok(Calling { caller, leaf })
    };
    Ok(serve::tls(listener, tls.local_server()?, admit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/gateway.sock");
        let (connections, file) = unix(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Nobody takes it from a gateway that is there.
        let second = unix(&path).await.map(|_| ()).unwrap_err().to_string();
        assert!(second.contains("another process listens"), "{second}");
        drop((connections, file));
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
