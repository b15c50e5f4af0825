//! Shell: the newest publication to the leader gateway, again whenever it changes and whenever the
//! connection is a new one. Publications in between are left out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::{Dialer, GatewayAt, causes};
use causeway_certs::enrolment::CallError;
use causeway_proto::model::{Problem, Publication, Revision};
use causeway_proto::wire::pb::local::PublishRequest;
use causeway_proto::wire::pb::local::local_client::LocalClient;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// The pause after a failure begins here, doubles, and stays at `PAUSE_MAX`: a leader that comes back
/// should not wait for us.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A leader that has not taken a publication by then is asked anew. Followers have to acknowledge first.
const PATIENCE: Duration = Duration::from_secs(30);
/// Different troubles that are remembered: a few for each gateway.
const TROUBLES: usize = 64;

/// Publishes until the sender of publications is gone.
pub async fn run(dialer: &Dialer, mut publications: watch::Receiver<Arc<Publication>>) {
    let mut pause = PAUSE;
    // The same trouble is told once until something works.
    let mut told = BTreeSet::new();
    loop {
        for at in dialer.gateways() {
            let mut published = false;
            let ended = publish(dialer, at, &mut publications, &mut published).await;
            match ended {
                Ok(()) => return,
                Err(error) => {
                    if published || told.len() >= TROUBLES {
                        told.clear();
                    }
                    let trouble = format!("{at}: {}", causes(error.as_ref()));
                    if !told.contains(&trouble) {
                        tracing::warn!("exports are not taken by {trouble}");
                        told.insert(trouble);
                    }
                }
            }
            if published {
                pause = PAUSE;
            }
        }
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause.saturating_mul(2));
    }
}

/// On one connection; `Ok` when there is nothing to publish any more.
async fn publish(
    dialer: &Dialer,
    at: &GatewayAt,
    publications: &mut watch::Receiver<Arc<Publication>>,
    published: &mut bool,
) -> Result<(), CallError> {
    over(dialer.client(at).await?, publications, published).await
}

/// To the gateway of this client; `Ok` when there is nothing to publish any more. `published` is set when something was
/// taken.
///
/// # Errors
/// When the gateway does not lead, or the connection ends.
pub async fn over(
    mut client: LocalClient<Channel>,
    publications: &mut watch::Receiver<Arc<Publication>>,
    published: &mut bool,
) -> Result<(), CallError> {
    let (requests, outgoing) = mpsc::channel::<PublishRequest>(1);
    let mut sequence = 1u64;
    // The first goes before the call, which a server may answer only then.
    requests.send(newest(sequence, publications)).await?;
    let call = client.publish(ReceiverStream::new(outgoing));
    let mut replies = call.await?.into_inner();
    loop {
        let reply = tokio::time::timeout(PATIENCE, replies.next()).await?;
        let reply = reply.ok_or("the leader closed the stream")??;
        let (answered, revision, problems) = reply.try_into()?;
        if answered != sequence {
            return Err(format!("answered {answered} instead of {sequence}").into());
        }
        *published = true;
        tell(revision, &problems);
        tokio::select! {
            changed = publications.changed() => if changed.is_err() {
                return Ok(());
            },
            // Nothing is outstanding, so this is an end or an error.
            next = replies.next() => return Err(match next {
                Some(Err(status)) => status.into(),
                _ => "the leader closed the stream".into(),
            }),
        }
        sequence = sequence.saturating_add(1);
        requests.send(newest(sequence, publications)).await?;
    }
}

fn newest(sequence: u64, publications: &mut watch::Receiver<Arc<Publication>>) -> PublishRequest {
    PublishRequest::from((sequence, publications.borrow_and_update().as_ref()))
}

fn tell(revision: Option<Revision>, problems: &[Problem]) {
    match revision {
        Some(revision) => tracing::info!(%revision, "exports are in force"),
        None => tracing::info!("exports are in force"),
    }
    for problem in problems {
        tracing::warn!(%problem, "the leader");
    }
}
