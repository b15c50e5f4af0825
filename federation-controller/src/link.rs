//! Shell: the newest publication to the leader gateway, again whenever it changes and whenever the
//! connection is a new one. Publications in between are left out.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::enrolment::CallError;
use causeway_proto::model::{Problem, Publication, Revision};
use causeway_proto::wire::pb::local::PublishRequest;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::config::Target;
use crate::dial::Dialer;

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
        for target in dialer.targets() {
            let mut published = false;
            let ended = publish(dialer, target, &mut publications, &mut published).await;
            match ended {
                Ok(()) => return,
                Err(error) => {
                    if published || told.len() >= TROUBLES {
                        told.clear();
                    }
                    let trouble = format!("{target}: {}", causes(error.as_ref()));
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
    target: &Target,
    publications: &mut watch::Receiver<Arc<Publication>>,
    published: &mut bool,
) -> Result<(), CallError> {
    let mut client = dialer.client(target).await?;
    let (requests, outgoing) = mpsc::channel::<PublishRequest>(1);
    let mut sequence = 1u64;
    // The first goes before the call, which a server may answer only then.
    requests.send(newest(sequence, publications)).await?;
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

/// What a gateway says, or what went wrong, down to the reason.
fn causes(error: &(dyn Error + 'static)) -> String {
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

fn tell(revision: Option<Revision>, problems: &[Problem]) {
    match revision {
        Some(revision) => tracing::info!(%revision, "exports are in force"),
        None => tracing::info!("exports are in force"),
    }
    for problem in problems {
        tracing::warn!(%problem, "the leader");
    }
}
