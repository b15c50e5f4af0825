//! Shell: where the local service, status and admin API are reached, and who is at the other end there.

use std::path::Path;

use causeway_certs::name::Caller;
use causeway_certs::serve::{self, Io, SocketFile, WAITING, pause};
use causeway_certs::tls::{self, Tls};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream, UnixStream};
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
    let (listener, file) = serve::unix(path).await?;
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
    Ok((receiver, file))
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
