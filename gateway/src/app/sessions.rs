//! Shell: sessions with peers' gateways as streams of frames, the same whoever dialled: bytes to the core and back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use causeway_certs::name::PeerName;
use causeway_certs::tls::{self, Admitted, Tls};
use causeway_proto::limits::FRAME_BYTES;
use causeway_proto::model::{ClusterId, Frame, Timestamp};
use causeway_proto::wire::pb::federation as pb;
use futures::{Stream, StreamExt};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Request, Response, Status, Streaming};

use super::dial::Target;
use super::handle::{Core, Input, Opened, SessionId};
use super::{Clock, wall_clock};
use crate::session::pace::Pace;
use crate::transport::{DialError, Link, Transport};

/// gRPC's own framing and the oneof around the largest frame.
const MESSAGE_BYTES: usize = FRAME_BYTES + 1024;
/// Frames that wait for one connection, each up to 1 MiB: what is beyond them waits in the pure session, which is
/// bounded and coalesces.
const WAITING: usize = 16;
/// How often it is looked whether a leaf has ended, at least.
const LOOK: Duration = Duration::from_secs(30);
/// How long the connection of a session that is over still carries packets to the end of their way.
const LINGER: Duration = Duration::from_millis(500);
/// How long the other side may take to end its half after we ended ours.
const GRACE: Duration = Duration::from_secs(1);

/// Who is at the other end of a session's connection, for its handler.
#[derive(Debug, Clone)]
pub struct SessionPeer {
    peer: PeerName,
    expires: Timestamp,
    link: Link,
}

impl SessionPeer {
    /// Its cluster.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.peer.cluster
    }
}

/// Sessions of one gateway.
#[derive(Debug, Clone)]
pub struct Sessions {
    core: Core,
    tls: Tls,
    next: Arc<AtomicU64>,
}

/// A session that did not come up.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Our own TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Not who it should be.
    #[error(transparent)]
    NotAdmitted(#[from] tls::NotAdmitted),
    /// The other side refused.
    #[error("{0}")]
    Refused(String),
    /// It did not answer.
    #[error("{0}: the session did not come up in time")]
    Timeout(String),
}

impl Sessions {
    /// Handing frames to this core.
    #[must_use]
    pub fn new(core: Core, tls: Tls) -> Self {
        Self {
            core,
            tls,
            next: Arc::default(),
        }
    }

    /// Who opened this connection, and whether for a session or to join.
    ///
    /// # Errors
    /// When it may be neither.
    pub fn admit(&self, link: &Link) -> Result<Option<SessionPeer>, tls::NotAdmitted> {
        let certificates = link.certificates();
        let presented = (!certificates.is_empty()).then_some(certificates.as_slice());
        let admitted = tls::admit(link.alpn().as_deref(), presented, &self.tls.trust.load())?;
        Ok(match admitted {
            Admitted::Join => None,
            Admitted::Session(peer, theirs) => Some(SessionPeer {
                peer,
                expires: self.ends(theirs),
                link: link.clone(),
            }),
        })
    }

    /// No session outlives either of the leaves that opened it.
    fn ends(&self, theirs: Timestamp) -> Timestamp {
        let ours = self.tls.leaf.validity().map(|v| v.not_after);
        ours.map_or(theirs, |ours| ours.min(theirs))
    }

    /// Dials a gateway; comes back when the session is handed to the core.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn dial(self, transport: Transport, target: Target) -> Result<(), SessionError> {
        let Target {
            cluster,
            address,
            only_quic,
        } = target;
        let config = Arc::new(self.tls.peer_client(&cluster)?);
        let link = transport.dial(&address, config, only_quic).await?;
        let Some(peer) = self.admit(&link)? else {
            return Err(tls::NotAdmitted::Protocol.into());
        };
        let channel = link.channel().await?;
        let (out, outgoing, ended) = outgoing();
        let client = pb::federation_client::FederationClient::new(channel);
        let mut client = client
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        let call = client.session(outgoing);
        let response = tokio::time::timeout(crate::transport::CONNECT_TIMEOUT, call).await;
        let Ok(response) = response else {
            return Err(SessionError::Timeout(address));
        };
        let response = match response {
            Ok(response) => response,
            // The reason is on the connection: a refused certificate shows only here under TLS 1.3.
            Err(status) => {
                let closed = tokio::time::timeout(GRACE, link.closed()).await;
                let reason = match closed {
                    Ok(reason) => reason,
                    Err(_) => status.message().to_owned(),
                };
                return Err(SessionError::Refused(format!("{address}: {reason}")));
            }
        };
        let inbound = response.into_inner();
        self.start(peer, Some(address), out, inbound, ended).await;
        Ok(())
    }

    async fn start(
        &self,
        peer: SessionPeer,
        dialled: Option<String>,
        out: mpsc::Sender<Frame>,
        inbound: Streaming<pb::Frame>,
        ended: oneshot::Receiver<()>,
    ) {
        let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
        let opened = Opened {
            id,
            peer: peer.peer.clone(),
            link: peer.link.clone(),
            dialled,
            expires: peer.expires,
            out,
        };
        if self.core.tell(Input::Opened(opened)).await {
            tokio::spawn(pump(self.core.clone(), id, peer, inbound, ended));
        }
    }
}

/// What is sent on one session, and a word to its pump when all of it was taken.
pub struct Outgoing {
    frames: mpsc::Receiver<Frame>,
    word: Option<oneshot::Sender<()>>,
}

impl Stream for Outgoing {
    type Item = pb::Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<pb::Frame>> {
        let next = std::task::ready!(self.frames.poll_recv(cx));
        if next.is_none() {
            let _ = self.word.take().map(|word| word.send(()));
        }
        Poll::Ready(next.map(|frame| pb::Frame::from(&frame)))
    }
}

/// The core's end of what is sent, the wire's end, and a word when all of it was taken.
fn outgoing() -> (mpsc::Sender<Frame>, Outgoing, oneshot::Receiver<()>) {
    let (out, frames) = mpsc::channel(WAITING);
    let (word, ended) = oneshot::channel();
    let word = Some(word);
    (out, Outgoing { frames, word }, ended)
}

#[tonic::async_trait]
impl pb::federation_server::Federation for Sessions {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<pb::Frame, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::Frame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = request.extensions().get::<SessionPeer>().cloned();
        let peer = peer.ok_or_else(|| Status::unauthenticated("not a session's connection"))?;
        let (out, outgoing, ended) = outgoing();
        self.start(peer, None, out, request.into_inner(), ended)
            .await;
        Ok(Response::new(Box::pin(outgoing.map(Ok))))
    }
}

/// The service with its bounds.
#[must_use]
pub fn service(sessions: Sessions) -> pb::federation_server::FederationServer<Sessions> {
    pb::federation_server::FederationServer::new(sessions)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES)
}

/// Frames to the core until either side ends or the leaf does.
async fn pump(
    core: Core,
    id: SessionId,
    peer: SessionPeer,
    mut inbound: Streaming<pb::Frame>,
    mut ended: oneshot::Receiver<()>,
) {
    let expiry = over(peer.expires);
    tokio::pin!(expiry);
    let mut expired = false;
    let clock = Clock::start();
    let mut pace = Pace::new(0);
    let reason = loop {
        tokio::select! {
            received = inbound.next() => match received {
                Some(Ok(frame)) => {
                    let wait = pace.take(frame.encoded_len(), clock.now().mono_ms);
                    let input = match Frame::try_from(frame) {
                        Ok(frame) => Input::Frame(id, Box::new(frame)),
                        Err(error) => Input::Malformed(id, error.to_string()),
                    };
                    if !core.tell(input).await {
                        break "stopping".to_owned();
                    }
                    if wait > 0 {
                        // Nothing is read meanwhile, so that it waits at the peer.
                        tokio::time::sleep(Duration::from_millis(wait)).await;
                    }
                }
                Some(Err(status)) => {
                    let reason = reason_of(&status);
                    if is_no_frame(&status) {
                        core.tell(Input::Malformed(id, reason.clone())).await;
                        // It is told so before the connection goes; nothing more can be read on it.
                        let _ = tokio::time::timeout(GRACE, &mut ended).await;
                        let _ = tokio::time::timeout(GRACE, peer.link.closed()).await;
                    }
                    break reason;
                }
                None => break "closed by the other side".to_owned(),
            },
            () = &mut expiry, if !expired => {
                expired = true;
                core.tell(Input::Expired(id)).await;
            }
            _ = &mut ended => {
                // What we said last is on its way; the other side ends its half when it has read it.
                let drain = async { while let Some(Ok(_)) = inbound.next().await {} };
                let _ = tokio::time::timeout(GRACE, drain).await;
                break "closed".to_owned();
            }
        }
    };
    core.tell(Input::Closed(id, reason)).await;
    // The core drops its end on that; what it still had queued may leave.
    let _ = tokio::time::timeout(GRACE, ended_or_over(&mut ended, &peer.link)).await;
    if !expired {
        // And packets that are on their way while another session takes its place; none after the leaf's end.
        let _ = tokio::time::timeout(LINGER, peer.link.closed()).await;
    }
    peer.link.close("session over");
}

/// Until then, by the wall clock: the monotonic one stands still while a machine sleeps.
async fn over(expires: Timestamp) {
    loop {
        let left = Duration::from_millis(expires.since(wall_clock()));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

async fn ended_or_over(ended: &mut oneshot::Receiver<()>, link: &Link) {
    if ended.is_terminated() {
        return;
    }
    tokio::select! {
        _ = ended => {}
        _ = link.closed() => {}
    }
}

/// Whether what came was no frame: over the limit, cut off, or no protobuf. Where the connection failed there is a cause.
fn is_no_frame(status: &Status) -> bool {
    let decoding = matches!(status.code(), Code::OutOfRange | Code::Internal);
    decoding && std::error::Error::source(status).is_none()
}

/// tonic says "h2 protocol error" where QUIC knows more.
fn reason_of(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
