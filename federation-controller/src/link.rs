//! Shell: the newest publication to the leader gateway, again whenever it changes and whenever the
//! connection is a new one. Publications in between are left out.

use std::sync::Arc;
use std::time::Duration;

use causeway_certs::enrolment::CallError;
use causeway_proto::model::{Problem, Publication, Revision};
use causeway_proto::wire::pb::local::PublishRequest;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::config::Target;
use crate::dial::Dialer;

/// The pause after a failure begins here, doubles, and stays at `PAUSE_MAX`: a leader that comes back
/// should not wait for us.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A leader that has not taken a publication by then is asked anew. Followers have to acknowledge first.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publishes until the sender of publications is gone.
pub async fn run(dialer: &Dialer, mut publications: watch::Receiver<Arc<Publication>>) {
    let mut pause = PAUSE;
    loop {
        for target in dialer.targets() {
            let mut published = false;
            let ended = publish(dialer, target, &mut publications, &mut published).await;
            match ended {
                Ok(()) => return,
                Err(error) => tracing::warn!(?target, %error, "the leader does not take exports"),
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
    target: &Target,
    publications: &mut watch::Receiver<Arc<Publication>>,
    published: &mut bool,
) -> Result<(), CallError> {
    let mut client = dialer.client(target).await?;
    let (requests, outgoing) = mpsc::channel::<PublishRequest>(1);
    let mut sequence = 1u64;
    let send = async |sequence: u64, newest: Arc<Publication>| {
        let request = PublishRequest::from((sequence, newest.as_ref()));
        requests.send(request).await
    };
    // The first goes before the call, which a server may answer only then.
    send(sequence, publications.borrow_and_update().clone()).await?;
    let call = client.publish(ReceiverStream::new(outgoing));
    let mut replies = tokio::time::timeout(PATIENCE, call).await??.into_inner();
    loop {
        let reply = tokio::time::timeout(PATIENCE, replies.next()).await?;
        let reply = reply.ok_or("the leader closed the stream")??;
        let (answered, revision, problems) = reply.try_into()?;
        if answered != sequence {
            return Err(format!("answered {answered} instead of {sequence}").into());
        }
        *published = true;
        told(revision, &problems);
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
        send(sequence, publications.borrow_and_update().clone()).await?;
    }
}

fn told(revision: Option<Revision>, problems: &[Problem]) {
    match revision {
        Some(revision) => tracing::info!(%revision, "exports are in force"),
        None => tracing::info!("exports are in force"),
    }
    for problem in problems {
        tracing::warn!(%problem, "the leader");
    }
}
