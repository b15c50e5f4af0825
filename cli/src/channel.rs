//! Shell: a channel to a gateway, and what its refusals mean.

use std::error::Error as _;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use causeway_certs::tls::Tls;
use causeway_proto::wire::InvalidWire;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::failure::{Failure, Kind};

fn unreachable(what: impl Into<String>, check: impl Into<String>) -> Failure {
    Failure::new(Kind::Unreachable, what, check)
}

/// A channel over the Unix socket.
///
/// # Errors
/// When nobody listens there, or it may not be opened.
pub async fn socket_channel(path: &Path, timeout: Duration) -> Result<Channel, Failure> {
    let stream = UnixStream::connect(path).await.map_err(|e| {
        let (what, check) = match e.kind() {
            ErrorKind::NotFound => (
                "there is no socket",
                "is causeway-gateway running on this node? `listen.socket` in its configuration says where it listens; give that with --socket",
            ),
            ErrorKind::ConnectionRefused => (
                "nobody listens on the socket",
                "causeway-gateway has stopped: look at its log, start it again",
            ),
            ErrorKind::PermissionDenied => (
                "you may not open the socket",
                "only its owner may: run this as the gateway's user or as root",
            ),
            _ => ("the socket cannot be opened", "is it a gateway's socket?"),
        };
        unreachable(format!("{}: {what} ({e})", path.display()), check)
    })?;
    channel(stream, timeout).await
}

/// A channel over TLS, as whoever the configuration presents.
///
/// # Errors
/// When nobody answers there, or it is not a gateway of this cluster.
pub async fn tls_channel(server: &str, tls: &Tls, timeout: Duration) -> Result<Channel, Failure> {
    let config = tls.local_client().map_err(Failure::refused)?;
    let reach = async {
        let tcp = TcpStream::connect(server).await?;
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host)
            .map_err(|e| std::io::Error::new(ErrorKind::InvalidInput, e))?;
        TlsConnector::from(std::sync::Arc::new(config))
            .connect(name, tcp)
            .await
    };
    let reached = tokio::time::timeout(timeout, reach).await;
    let stream = match reached {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => {
            let check = "is the gateway running, is this its local service (port 7444 unless configured), does a firewall block it, is the certificate of this cluster?";
            return Err(unreachable(format!("{server}: {e}"), check));
        }
        Err(_) => {
            let check = "is the address right, does a firewall block it?";
            return Err(unreachable(format!("{server}: no answer in time"), check));
        }
    };
    channel(stream, timeout).await
}

async fn channel<S>(stream: S, timeout: Duration) -> Result<Channel, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut once = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = once.take();
        async move { stream.ok_or_else(|| std::io::Error::from(ErrorKind::NotConnected)) }
    });
    // The name is never looked up: the connector has its connection.
    Endpoint::from_static("http://gateway.invalid")
        .timeout(timeout)
        .connect_with_connector(connector)
        .await
        .map_err(|e| {
            unreachable(
                format!("the gateway does not speak gRPC: {e}"),
                "is it a gateway's address?",
            )
        })
}

/// What a refusal means for the person who called.
pub fn refusal(status: &Status) -> Failure {
    // A status that did not come from the gateway has the connection's error as its source.
    let lost = status.source().is_some();
    let (kind, check) = match status.code() {
        Code::NotFound => (Kind::NotFound, ""),
        Code::Unavailable | Code::Unknown if lost => (
            Kind::Unreachable,
            "the connection was lost: did the gateway stop? look at its log",
        ),
        Code::Unavailable => (Kind::Unreachable, ""),
        Code::DeadlineExceeded | Code::Cancelled => {
            let what = "the gateway did not answer in time";
            return unreachable(what, "look at its log, or wait longer with --timeout");
        }
        Code::PermissionDenied | Code::Unauthenticated => (
            Kind::Refused,
            "this needs the gateway's Unix socket, or an operator's certificate with --server and --identity",
        ),
        Code::Unimplemented => (
            Kind::Refused,
            "the gateway's version is older than this command: `causeway status` says which it is",
        ),
        _ => (Kind::Refused, ""),
    };
    let what = match status.message() {
        "" => format!("the gateway says {:?}", status.code()),
        message => message.to_owned(),
    };
    Failure::new(kind, what, check)
}

/// An answer that cannot be right.
pub fn nonsense(error: &InvalidWire) -> Failure {
    let check = "is the gateway's version newer than this command?";
    Failure::new(
        Kind::Refused,
        format!("the gateway's answer makes no sense: {error}"),
        check,
    )
}
