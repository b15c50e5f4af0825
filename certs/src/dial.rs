//! Shell: calls of a process of ours to the gateways of its own cluster, over a Unix socket on the same host or over TCP
//! with mutual TLS; and the certificate for the latter, the first and each next.
//!
//! A channel is one connection: when it is lost its calls fail, and the caller dials again, there or elsewhere.
//! Deliberately absent: sessions with peers, which are the gateway's.

mod at;
mod dialer;
mod token;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use causeway_proto::limits::VIEW_BYTES;
use causeway_proto::model::{self, ClusterId, IssuedCertificate, Timestamp};
use causeway_proto::wire::InvalidWire;
use causeway_proto::wire::pb::local::local_client::LocalClient;
use causeway_proto::wire::pb::local::{EnrollRequest, RenewRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::enrolment::{EnrolError, Member, load_or_enrol};
use crate::grant::RENEW_RETRY_MS;
use crate::name::Role;
use crate::tls::{BadPin, SERVER_NAME, Tls};
use crate::token as secret;

pub use at::{ByToken, GatewayAt, InvalidGatewayAt, Means};
pub use dialer::{Dialer, Dialing};
pub use token::{
    Holding, enrol_again, enrol_over, enrolment_over, member_by_token, passes, token_now,
};

/// A connection that says nothing for this long is asked whether it lives, and has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// HTTP/2 window in bytes: a large View should not wait for a round trip for each 64 KiB.
const WINDOW: u32 = 4 << 20;

/// How long to wait for a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until the connection is up, TLS included.
    pub connect: Duration,
    /// Until a call's answer, of a stream its beginning.
    pub answer: Duration,
}

impl Patience {
    /// As long for either.
    #[must_use]
    pub const fn both(patience: Duration) -> Self {
        Self {
            connect: patience,
            answer: patience,
        }
    }
}

/// Why there is no connection to a gateway.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// Nobody there, or nobody whom TLS takes.
    #[error("{at}: {source}")]
    Io {
        /// Where.
        at: GatewayAt,
        /// What the system or TLS says.
        source: io::Error,
    },
    /// Too late.
    #[error("{at}: no answer within {} s", patience.as_secs_f32())]
    Late {
        /// Where.
        at: GatewayAt,
        /// How long was waited.
        patience: Duration,
    },
    /// TCP needs TLS.
    #[error("{0}: there is no certificate for TCP")]
    NoCertificate(GatewayAt),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Somebody is there who is no gateway.
    #[error("{at}: does not speak gRPC: {source}")]
    NotGrpc {
        /// Where.
        at: GatewayAt,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// Why no gateway gave a certificate.
#[derive(Debug, thiserror::Error)]
pub enum NotIssued {
    /// There is nobody to ask.
    #[error("no gateway is listed that can be asked")]
    NoGateway,
    /// Nobody answered.
    #[error(transparent)]
    Unreached(#[from] Unreached),
    /// The gateway's own word.
    #[error("{at}: {}", status.message())]
    Refused {
        /// Where.
        at: GatewayAt,
        /// What it said.
        status: Status,
    },
    /// An answer that cannot be right.
    #[error("{at}: {source}")]
    Invalid {
        /// Where.
        at: GatewayAt,
        /// Why.
        source: InvalidWire,
    },
    /// The token or the pin.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pin that is none.
    #[error("{}: {source}", path.display())]
    Pin {
        /// Which.
        path: PathBuf,
        /// Why.
        source: BadPin,
    },
    /// It is another cluster's.
    #[error(
        "{at}: the controller is that of cluster {found}, and this process is configured for {expected}"
    )]
    OtherCluster {
        /// Where.
        at: GatewayAt,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// The controller knows no CA yet and this process holds none.
    #[error(
        "{0}: the controller has lost its store and waits for a gateway that holds the cluster's state"
    )]
    WantsState(GatewayAt),
}

/// A channel to that gateway; `tls` is what it takes to reach one over TCP.
///
/// # Errors
/// When nobody answers, or it is not a gateway of our cluster.
pub async fn channel(
    at: &GatewayAt,
    tls: Option<&Tls>,
    patience: Patience,
) -> Result<Channel, Unreached> {
    let connecting = async {
        match (at, tls) {
            (GatewayAt::Unix(path), _) => {
                let stream = UnixStream::connect(path).await;
                over(at, stream.map_err(|e| io_error(at, e))?, patience).await
            }
            (GatewayAt::Tcp(address), Some(tls)) => {
                let stream = tcp(address).await.map_err(|e| io_error(at, e))?;
                over_tls(at, stream, tls.local_client()?, patience).await
            }
            (GatewayAt::Tcp(_), None) => Err(Unreached::NoCertificate(at.clone())),
        }
    };
    let connected = tokio::time::timeout(patience.connect, connecting).await;
    connected.map_err(|_| late(at, patience))?
}

fn io_error(at: &GatewayAt, source: io::Error) -> Unreached {
    let at = at.clone();
    Unreached::Io { at, source }
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A channel to a gateway over a stream that somebody else has opened, a port-forward say. `at` is for messages.
///
/// # Errors
/// When it is not a gateway of our cluster, or says nothing.
pub async fn channel_through<S>(
    at: &GatewayAt,
    stream: S,
    tls: &Tls,
    patience: Patience,
) -> Result<Channel, Unreached>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connecting = over_tls(at, stream, tls.local_client()?, patience);
    let connected = tokio::time::timeout(patience.connect, connecting).await;
    connected.map_err(|_| late(at, patience))?
}

fn late(at: &GatewayAt, patience: Patience) -> Unreached {
    Unreached::Late {
        at: at.clone(),
        patience: patience.connect,
    }
}

async fn over_tls<S>(
    at: &GatewayAt,
    stream: S,
    config: ClientConfig,
    patience: Patience,
) -> Result<Channel, Unreached>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // Whom it must be the verifier decides, not by this name.
    let name = ServerName::try_from(SERVER_NAME).map_err(|e| io_error(at, io::Error::other(e)))?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await;
    over(at, stream.map_err(|e| io_error(at, e))?, patience).await
}

async fn over<S>(at: &GatewayAt, stream: S, patience: Patience) -> Result<Channel, Unreached>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // The address is the connector's; this one only fills the requests' authority.
    let endpoint = Endpoint::from_static("http://gateway")
        .timeout(patience.answer)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    let channel = channel_over(endpoint, stream).await;
    channel.map_err(|source| {
        let at = at.clone();
        Unreached::NotGrpc { at, source }
    })
}

/// A channel over one byte stream. It cannot connect again: when the stream is over, so is the channel.
///
/// # Errors
/// When HTTP/2 does not come up on it.
pub async fn channel_over<S>(
    endpoint: Endpoint,
    stream: S,
) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut once = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = once.take();
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    endpoint.connect_with_connector(connector).await
}

/// A client of the local service there.
///
/// # Errors
/// As [`channel`].
pub async fn local(
    at: &GatewayAt,
    tls: Option<&Tls>,
    patience: Patience,
) -> Result<LocalClient<Channel>, Unreached> {
    let channel = channel(at, tls, patience).await?;
    Ok(LocalClient::new(channel).max_decoding_message_size(VIEW_BYTES))
}

/// What a certificate is asked for with.
enum Ask {
    Enroll(model::Enrolment),
    Renew(Vec<u8>),
}

/// Only the leader issues, and any of the listed gateways may be it.
async fn ask(
    gateways: &[GatewayAt],
    tls: &Tls,
    patience: Patience,
    ask: &Ask,
) -> Result<IssuedCertificate, NotIssued> {
    let mut last = NotIssued::NoGateway;
    for at in gateways {
        last = match ask_at(at, tls, patience, ask).await {
            Err(error) if !decided(&error) => error,
            decided => return decided,
        };
    }
    Err(last)
}

/// Whether it would be the same elsewhere: who says that a secret or a certificate is not good enough leads.
fn decided(error: &NotIssued) -> bool {
    matches!(error, NotIssued::Refused { status, .. } if status.code() == Code::PermissionDenied)
}

async fn ask_at(
    at: &GatewayAt,
    tls: &Tls,
    patience: Patience,
    ask: &Ask,
) -> Result<IssuedCertificate, NotIssued> {
    let mut client = local(at, Some(tls), patience).await?;
    let answered = match ask {
        Ask::Enroll(request) => {
            let reply = client.enroll(EnrollRequest::from(request)).await;
            reply.map(|reply| reply.into_inner().try_into())
        }
        Ask::Renew(csr) => {
            let reply = client.renew(RenewRequest { csr: csr.clone() }).await;
            reply.map(|reply| reply.into_inner().try_into())
        }
    };
    match answered {
        Ok(Ok(issued)) => Ok(issued),
        Ok(Err(source)) => Err(NotIssued::Invalid {
            at: at.clone(),
            source,
        }),
        Err(status) => Err(NotIssued::Refused {
            at: at.clone(),
            status,
        }),
    }
}

/// Makes a process of this role a member: by its leaf in `dir`, else by the one-time file, at whichever of the
/// gateways leads; without a list at those that the file names.
///
/// # Errors
/// As [`load_or_enrol`]; the source of its `Call` is a [`NotIssued`].
pub async fn member(
    dir: &Path,
    role: &Role,
    file: Option<&Path>,
    now: Timestamp,
    gateways: &[GatewayAt],
    patience: Patience,
) -> Result<Member, EnrolError> {
    load_or_enrol(dir, role, file, now, async |tls, enrolment, csr| {
        let named = enrolment.home.gateways.iter();
        let named: Vec<_> = named.cloned().map(GatewayAt::Tcp).collect();
        let request = Ask::Enroll(model::Enrolment {
            id: secret::id(&enrolment.secret),
            secret: enrolment.secret.expose().to_vec(),
            csr,
        });
        let gateways = if gateways.is_empty() {
            &named
        } else {
            gateways
        };
        Ok(ask(gateways, &tls, patience, &request).await?)
    })
    .await
}

/// Its next leaf, from whichever of the gateways leads. A Unix socket does not say who calls, so only those over TCP
/// are asked.
///
/// # Errors
/// When none gives one; the present leaf then stays.
pub async fn renew(
    member: &Member,
    gateways: &[GatewayAt],
    patience: Patience,
) -> Result<(), EnrolError> {
    let remote = gateways.iter().filter(|at| matches!(at, GatewayAt::Tcp(_)));
    let remote: Vec<_> = remote.cloned().collect();
    let call = async |csr| Ok(ask(&remote, &member.tls, patience, &Ask::Renew(csr)).await?);
    member.renew(call).await
}

/// Its next leaf: from whichever of the gateways leads, else by the token, if there is one.
///
/// # Errors
/// When neither gives one, with what the last said; the present leaf then stays.
pub async fn renew_or_enrol(
    member: &Member,
    gateways: &[GatewayAt],
    by: Option<&ByToken>,
    patience: Patience,
) -> Result<(), EnrolError> {
    match (renew(member, gateways, patience).await, by) {
        (Err(error), Some(by)) => {
            tracing::debug!(error = causes(&error), "not renewed by a gateway");
            token::enrol_again(member, by, None, patience, None).await
        }
        (renewed, _) => renewed,
    }
}

/// Renews whenever it is time, for ever. `jitter` spreads the processes of a cluster.
pub async fn keep(
    member: &Member,
    gateways: &[GatewayAt],
    by: Option<&ByToken>,
    patience: Patience,
    jitter: u64,
    clock: impl Fn() -> Timestamp,
) {
    loop {
        let wait = member.renew_in(jitter, clock());
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            continue;
        }
        match renew_or_enrol(member, gateways, by, patience).await {
            Ok(()) => tracing::info!("certificate renewed"),
            Err(error) => {
                tracing::warn!(error = causes(&error), "certificate not renewed");
                tokio::time::sleep(Duration::from_millis(RENEW_RETRY_MS)).await;
            }
        }
    }
}

/// An error with its causes, on one line; of a gateway's refusal its own words.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    if let Some(status) = error.downcast_ref::<Status>() {
        return status.message().to_owned();
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
