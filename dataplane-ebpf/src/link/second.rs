//! Shell: a second gateway's word on which gateways carry packets.

use std::time::Duration;

use causeway_certs::dial::{Dialer, GatewayAt, causes};
use causeway_certs::enrolment::CallError;
use causeway_proto::model::{Carriers, GatewayName, NodeName, View};
use causeway_proto::wire::pb::local::WatchCarriersRequest;
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::First;

/// Pause after one that gave no answer, in milliseconds; with jitter up to twice as long.
const PAUSE_MS: u64 = 2_000;

/// Keeps asking a gateway that is not the one that the View comes from, until nobody is told Views any more.
pub(super) async fn run(
    dialer: &Dialer,
    node: &NodeName,
    jitter: u64,
    mut first: watch::Receiver<Option<First>>,
    told: watch::Sender<Carriers>,
) {
    let mut turn = jitter;
    loop {
        let known = first.borrow_and_update().clone();
        let Some((at, by)) = known.and_then(|first| other(dialer, &first, turn)) else {
            if first.changed().await.is_err() {
                return;
            }
            continue;
        };
        // Until Views come from another gateway: it may be this one.
        let other =
            |now: &Option<First>| now.as_ref().and_then(|f| f.gateway.as_ref()) != Some(&by);
        tokio::select! {
            failed = ask(dialer, node, &at, &told) => if let Err(error) = failed {
                tracing::debug!(gateway = %at, error = causes(error.as_ref()), "no second word");
            },
            _ = first.wait_for(other) => {}
        }
        told.send_replace(Carriers::default());
        turn = turn.wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(PAUSE_MS + jitter % PAUSE_MS)).await;
    }
}

async fn ask(
    dialer: &Dialer,
    node: &NodeName,
    at: &GatewayAt,
    told: &watch::Sender<Carriers>,
) -> Result<(), CallError> {
    let mut client = dialer.one_more(at).await?;
    let request = WatchCarriersRequest {
        node: node.to_string(),
    };
    let mut replies = client.watch_carriers(request).await?.into_inner();
    while let Some(reply) = replies.next().await {
        told.send_replace(Carriers::try_from(reply?)?);
    }
    Ok(())
}

/// Another gateway of the View, at its node's address, and the first one's name: the nodes of a cluster ask different ones,
/// and each one after the other.
fn other(dialer: &Dialer, first: &First, turn: u64) -> Option<(GatewayAt, GatewayName)> {
    let by = first.gateway.clone()?;
    let port = dialer.gateways().iter().find_map(|at| match at {
        GatewayAt::Tcp(at) => at.rsplit_once(':')?.1.parse::<u16>().ok(),
        GatewayAt::Unix(_) => None,
    })?;
    let View {
        gateways, nodes, ..
    } = &*first.view;
    let at = |(name, on): (&GatewayName, &NodeName)| {
        let address = nodes.get(on)?.addresses.first()?;
        (*name != by).then(|| GatewayAt::Tcp(format!("{}:{port}", address.ip())))
    };
    let others: Vec<GatewayAt> = gateways.iter().filter_map(at).collect();
    let turn = turn.checked_rem(u64::try_from(others.len()).ok()?)?;
    let at = others.into_iter().nth(usize::try_from(turn).ok()?)?;
    Some((at, by))
}
