//! Shell: the gateway's local service: Views come, Reports go, another listed gateway takes over when the
//! one in use is gone. What is programmed stays when all are gone.

use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::{Dialer, Dialing, GatewayAt, Patience, causes};
use causeway_certs::enrolment::CallError;
use causeway_certs::name::{NameError, Role};
use causeway_proto::model::{NodeName, Report, View, WatchScope};
use causeway_proto::wire::pb::local::{ReportRequest, WatchRequest};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use crate::clock;
use crate::config::Config;

/// How long a connection, an enrolment, a renewal or the first View may take.
const PATIENCE: Patience = Patience::both(Duration::from_secs(3));
/// Pause when no gateway answered, in milliseconds; with jitter up to twice as long.
const PAUSE_MS: u64 = 300;
/// How often a preferred gateway is looked for while another one serves.
const LOOK_BACK: Duration = Duration::from_secs(5);

/// For the gateways of this configuration.
///
/// # Errors
/// When the node's name cannot stand in a certificate.
pub fn dialer(config: &Config, node: &NodeName) -> Result<Dialer, NameError> {
    Ok(Dialer::new(Dialing {
        gateways: config.gateways.clone(),
        role: Role::parse(&format!("agent/{node}"))?,
        state_dir: config.state_dir.clone().unwrap_or_default(),
        enrolment: config.enrolment.clone(),
        patience: PATIENCE,
        clock: clock::now,
    }))
}

/// Watches Views and sends Reports, by whichever gateway answers, the first listed one preferred, until
/// nobody wants Views any more.
pub async fn run(
    dialer: &Dialer,
    node: &NodeName,
    jitter: u64,
    views: watch::Sender<Option<Arc<View>>>,
    mut reports: watch::Receiver<Option<Report>>,
) {
    let mut told = None;
    let pause = Duration::from_millis(PAUSE_MS + jitter % PAUSE_MS);
    while !views.is_closed() {
        for (place, at) in dialer.gateways().iter().enumerate() {
            let preferred = dialer.gateways().get(..place).unwrap_or_default();
            match session(dialer, node, at, preferred, &views, &mut reports).await {
                Ok(()) => break,
                Err(error) => {
                    let why = (at, causes(error.as_ref()));
                    if told.as_ref() != Some(&why) {
                        tracing::warn!(gateway = %at, error = why.1, "no View");
                        told = Some(why);
                    }
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// With one gateway; `Ok` when a preferred one is back.
async fn session(
    dialer: &Dialer,
    node: &NodeName,
    at: &GatewayAt,
    preferred: &[GatewayAt],
    views: &watch::Sender<Option<Arc<View>>>,
    reports: &mut watch::Receiver<Option<Report>>,
) -> Result<(), CallError> {
    let mut client = dialer.client(at).await?;
    let request = WatchRequest::from(&WatchScope::Node(node.clone()));
    let mut watched = client.watch(request).await?.into_inner();
    tracing::info!(gateway = %at, "watching");
    let mut look_back = tokio::time::interval(LOOK_BACK);
    loop {
        tokio::select! {
            reply = watched.next() => {
                let reply = reply.ok_or("the gateway closed the stream")??;
                let view = View::try_from(reply)?;
                tracing::debug!(revision = ?view.revision, "view");
                views.send_replace(Some(Arc::new(view)));
            }
            changed = reports.changed() => {
                changed?;
                let request = reports.borrow_and_update().as_ref().map(ReportRequest::from);
                if let Some(request) = request {
                    client.report(request).await?;
                }
            }
            _ = look_back.tick(), if !preferred.is_empty() => {
                for better in preferred {
                    if dialer.client(better).await.is_ok() {
                        return Ok(());
                    }
                }
            }
        }
    }
}
