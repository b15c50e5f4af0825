//! Shell: connections that peers open: sessions and joins on the one port.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use super::LINKS;
use super::places::{Place, Places};
use super::sessions::{self, SessionPeer, Sessions};
use crate::join::link::Joining;
use crate::transport::{CONNECT_TIMEOUT, Io, Link, LinkStream, WINDOW};

/// Sessions and joins on the one port.
pub(super) fn serve(
    tasks: &mut JoinSet<()>,
    mut accepted: mpsc::Receiver<Link>,
    sessions: &Sessions,
    joining: &Joining,
) {
    let (streams, incoming) = mpsc::channel::<Result<_, std::io::Error>>(LINKS);
    let (route, joining, places) = (sessions.clone(), joining.clone(), Places::default());
    tasks.spawn(async move {
        while let Some(link) = accepted.recv().await {
            match route.admit(&link) {
                Ok(Some(peer)) => match places.take(peer.cluster()) {
                    Some(place) => {
                        tokio::spawn(take_streams(link, peer, streams.clone(), place));
                    }
                    None => link.close("more connections than sessions are allowed"),
                },
                Ok(None) => {
                    tokio::spawn(joining.clone().serve(link));
                }
                Err(error) => {
                    tracing::warn!(from = %link.remote(), %error, "connection refused");
                    link.close("refused");
                }
            }
        }
    });
    let service = sessions::service(sessions.clone());
    tasks.spawn(async move {
        let served = Server::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_concurrent_streams(4)
            .add_service(service)
            .serve_with_incoming(ReceiverStream::new(incoming));
        if let Err(error) = served.await {
            tracing::error!(%error, "sessions are no longer served");
        }
    });
}

/// Streams of a connection, for the service; the first has to come at once.
async fn take_streams(
    link: Link,
    peer: SessionPeer,
    streams: mpsc::Sender<Result<Io<LinkStream, SessionPeer>, std::io::Error>>,
    _place: Place,
) {
    let first = tokio::time::timeout(CONNECT_TIMEOUT, link.accept(peer.clone())).await;
    let Ok(mut next) = first else {
        return link.close("no session came on it");
    };
    while let Some(stream) = next {
        if streams.send(Ok(stream)).await.is_err() {
            return;
        }
        next = link.accept(peer.clone()).await;
    }
}
