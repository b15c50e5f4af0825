//! Shell: what the leader alone writes, on its way to the other gateways of the cluster: always the whole of what
//! changed, acknowledged once the follower has it on disk.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use causeway_certs::dial::{self, GatewayAt};
use causeway_certs::tls::Tls;
use causeway_proto::model::{FollowHello, FollowRequest, FollowState, GatewayName, Report};
use causeway_proto::wire::pb::local as pb;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::app::{Core, Input, Leading, PATIENCE, random_u64, wall_clock};

/// Requests of a follower that wait for the network: acknowledgements and reports.
const WAITING: usize = 64;
/// The leader is lost when it says nothing for so long; it speaks each tick.
const SILENCE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(250);
/// Who says nothing for so long is given no packets meanwhile: three ticks.
const QUIET: Duration = Duration::from_millis(800);
/// How long the own disk may take; the leader waits for it as long as we follow.
const KEEPING: Duration = Duration::from_secs(10);
/// Between two attempts to reach the leader.
const AGAIN_MS: u64 = 500;

/// Serves one follower until it goes. `name` is the one in its certificate.
pub async fn serve(
    core: Core,
    name: Option<GatewayName>,
    mut requests: Streaming<pb::FollowRequest>,
    replies: mpsc::Sender<Result<pb::FollowReply, Status>>,
) {
    let hello = match hello(&mut requests, name.as_ref()).await {
        Ok(hello) => hello,
        Err(status) => {
            let _ = replies.send(Err(status)).await;
            return;
        }
    };
    let (gateway, instance) = (hello.gateway.clone(), hello.instance);
    tracing::info!(follower = %gateway, "follows");
    let (states, mut news) = mpsc::channel(1);
    core.tell(Input::Follower(Box::new(hello), states)).await;
    let mut tick = tokio::time::interval(TICK);
    let mut last = None;
    let quiet = tokio::time::sleep(QUIET);
    tokio::pin!(quiet);
    let mut heard = true;
    loop {
        let state = tokio::select! {
            () = &mut quiet, if heard => {
                heard = false;
                core.tell(Input::FollowerQuiet(gateway.clone())).await;
                continue;
            }
            received = requests.next() => match received.map(|r| r.map(FollowRequest::try_from)) {
                Some(Ok(Ok(FollowRequest::Ack(sequence)))) => {
                    core.tell(Input::FollowerAck(gateway.clone(), sequence)).await;
                    continue;
                }
                Some(Ok(Ok(FollowRequest::Report(report)))) => {
                    core.tell(Input::Report(Box::new(report))).await;
                    continue;
                }
                Some(Ok(Ok(FollowRequest::Carries(peers)))) => {
                    heard = true;
                    quiet.set(tokio::time::sleep(QUIET));
                    core.tell(Input::FollowerCarries(gateway.clone(), peers)).await;
                    continue;
                }
                Some(Ok(Ok(FollowRequest::Hello(_)))) => continue,
                _ => break,
            },
            state = news.recv() => match state {
                Some(state) => {
                    last = Some(sign_of_life(&state));
                    state
                }
                None => break,
            },
            _ = tick.tick() => match last.clone() {
                Some(state) => FollowState { time: wall_clock(), ..state },
                None => continue,
            },
        };
        if replies.send(Ok((&state).into())).await.is_err() {
            break;
        }
    }
    tracing::info!(follower = %gateway, "no longer follows");
    core.tell(Input::FollowerGone(gateway, instance)).await;
}

/// A state that changes nothing.
fn sign_of_life(state: &FollowState) -> FollowState {
    FollowState {
        sequence: 0,
        leader: state.leader.clone(),
        epoch: state.epoch,
        time: state.time,
        publication: None,
        allocations: None,
        trust: None,
        catalog: None,
        reports: Vec::new(),
        gateways: state.gateways.clone(),
    }
}

async fn hello(
    requests: &mut Streaming<pb::FollowRequest>,
    name: Option<&GatewayName>,
) -> Result<FollowHello, Status> {
    let first = requests.next().await;
    let first = first.ok_or_else(|| Status::invalid_argument("no Hello"))??;
    match FollowRequest::try_from(first) {
        Ok(FollowRequest::Hello(hello)) if name.is_none_or(|n| *n == hello.gateway) => Ok(hello),
        Ok(FollowRequest::Hello(hello)) => Err(Status::permission_denied(format!(
            "the certificate is not that of gateway {}",
            hello.gateway
        ))),
        Ok(_) => Err(Status::invalid_argument("Hello comes first")),
        Err(e) => Err(Status::invalid_argument(e.to_string())),
    }
}

/// Follows whoever leads, for ever, by way of `fixed` where the configuration says it. `reports` are those of our own agents.
pub async fn run(
    core: Core,
    tls: Tls,
    fixed: Option<GatewayAt>,
    mut reports: mpsc::Receiver<Report>,
) {
    let mut leadings = core.leadings();
    loop {
        let leading = leadings.borrow_and_update().clone();
        let named = leading.address.clone().map(GatewayAt::Tcp);
        let leader = fixed.clone().or(named).filter(|_| !leading.leads);
        let other = |now: &Arc<Leading>| {
            now.leads != leading.leads
                || now.leader != leading.leader
                || now.address != leading.address
        };
        tokio::select! {
            () = follow_one(&core, &tls, leader, &mut reports) => return,
            changed = leadings.wait_for(other) => if changed.is_err() { return },
        }
    }
}

async fn follow_one(
    core: &Core,
    tls: &Tls,
    leader: Option<GatewayAt>,
    reports: &mut mpsc::Receiver<Report>,
) {
    let Some(leader) = leader else {
        // Reports wait for nobody: the next one says it all.
        while reports.recv().await.is_some() {}
        return;
    };
    loop {
        let ended = follow(core, tls, &leader, reports).await;
        match ended {
            Ok(()) => return,
            Err(error) => tracing::debug!(%leader, %error, "no leader"),
        }
        core.tell(Input::LeaderLost).await;
        let pause = Duration::from_millis(AGAIN_MS + random_u64() % AGAIN_MS);
        // Reports wait for nobody: the next one says it all.
        let drain = async { while reports.recv().await.is_some() {} };
        let _ = tokio::time::timeout(pause, drain).await;
    }
}

async fn follow(
    core: &Core,
    tls: &Tls,
    leader: &GatewayAt,
    reports: &mut mpsc::Receiver<Report>,
) -> Result<(), anyhow::Error> {
    let mut client = dial::local(leader, Some(tls), PATIENCE).await?;
    let (requests, outgoing) = mpsc::channel(WAITING);
    let (reply, hello) = oneshot::channel();
    core.tell(Input::Hello(reply)).await;
    let first = FollowRequest::Hello(hello.await?);
    requests.send(pb::FollowRequest::from(&first)).await?;
    let call = client.follow(ReceiverStream::new(outgoing));
    let mut states = tokio::time::timeout(SILENCE, call).await??.into_inner();
    let (silence, quiet) = (tokio::time::sleep(SILENCE), tokio::time::sleep(QUIET));
    tokio::pin!(silence, quiet);
    let mut heard = true;
    let mut carries = core.carries();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = &mut silence => anyhow::bail!("the leader is silent"),
            () = &mut quiet, if heard => {
                heard = false;
                core.tell(Input::LeaderQuiet).await;
            }
            changed = async { tokio::select! {
                changed = carries.changed() => changed,
                _ = tick.tick() => Ok(()),
            } } => {
                changed?;
                let peers = FollowRequest::Carries(carries.borrow_and_update().as_ref().clone());
                // The next one says it all.
                let _ = requests.try_send(pb::FollowRequest::from(&peers));
            }
            next = states.next() => {
                heard = true;
                silence.set(tokio::time::sleep(SILENCE));
                quiet.set(tokio::time::sleep(QUIET));
                let Some(state) = next else {
                    anyhow::bail!("the leader closed the stream");
                };
                let state = FollowState::try_from(state?)?;
                let sequence = state.sequence;
                let (done, kept) = oneshot::channel();
                if !core.tell(Input::Followed(Box::new(state), done)).await {
                    return Ok(());
                }
                let kept = tokio::time::timeout(KEEPING, kept).await;
                if !kept.context("the disk does not take what the leader sends")?.unwrap_or(false) {
                    anyhow::bail!("what the leader sends is not taken; see the problems in `causeway status`");
                }
                if sequence > 0 {
                    let ack = FollowRequest::Ack(sequence);
                    requests.send(pb::FollowRequest::from(&ack)).await?;
                }
            }
            Some(report) = reports.recv() => {
                let report = FollowRequest::Report(report);
                // A leader that does not read loses a report, not us.
                let _ = requests.try_send(pb::FollowRequest::from(&report));
            }
        }
    }
}
