//! Shell: the gateway's local service: Views come, Reports go, another listed gateway takes over when the
//! one in use is gone. What is programmed stays when all are gone.

mod second;

use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::{Dialer, Dialing, GatewayAt, Patience, causes};
use causeway_certs::enrolment::CallError;
use causeway_certs::name::{NameError, Role};
use causeway_proto::model::{Carriers, GatewayName, NodeName, Report, View, WatchScope};
use causeway_proto::wire::pb::local::{ReportRequest, WatchRequest};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use crate::carriers::agreed;
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

/// The newest View, and the gateway that it comes from.
#[derive(Debug, Clone)]
struct First {
    view: Arc<View>,
    /// Those of older versions do not say it.
    gateway: Option<GatewayName>,
}

/// Watches Views and sends Reports, by whichever gateway answers, the first listed one preferred, until nobody wants Views any
/// more. Which gateways carry packets is what a second one says too.
pub async fn run(
    dialer: &Dialer,
    node: &NodeName,
    jitter: u64,
    views: watch::Sender<Option<Arc<View>>>,
    reports: watch::Receiver<Option<Report>>,
) {
    let (seen, first) = watch::channel(None);
    let (told, carriers) = watch::channel(Carriers::default());
    tokio::select! {
        () = watch_first(dialer, node, jitter, seen, reports) => {}
        () = second::run(dialer, node, jitter, first.clone(), told) => {}
        () = both(first, carriers, views) => {}
    }
}

/// The View as both say, whenever either says something else.
async fn both(
    mut first: watch::Receiver<Option<First>>,
    mut carriers: watch::Receiver<Carriers>,
    views: watch::Sender<Option<Arc<View>>>,
) {
    loop {
        tokio::select! {
            changed = first.changed() => if changed.is_err() { return },
            changed = carriers.changed() => if changed.is_err() { return },
            () = views.closed() => return,
        }
        let first = first.borrow_and_update().clone();
        if let Some(first) = first {
            let carriers = carriers.borrow_and_update();
            views.send_replace(Some(agreed(&first.view, &carriers)));
        }
    }
}

async fn watch_first(
    dialer: &Dialer,
    node: &NodeName,
    jitter: u64,
    seen: watch::Sender<Option<First>>,
    mut reports: watch::Receiver<Option<Report>>,
) {
    let mut told = None;
    let pause = Duration::from_millis(PAUSE_MS + jitter % PAUSE_MS);
    loop {
        for (place, at) in dialer.gateways().iter().enumerate() {
            let preferred = dialer.gateways().get(..place).unwrap_or_default();
            match session(dialer, node, at, preferred, &seen, &mut reports).await {
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
    seen: &watch::Sender<Option<First>>,
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
                let gateway = reply.gateway.parse().ok();
                let view = Arc::new(View::try_from(reply)?);
                tracing::debug!(revision = ?view.revision, ?gateway, "view");
                seen.send_replace(Some(First { view, gateway }));
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
