//! Shell: what the leader alone writes, on its way to the other gateways of the cluster: always the whole of what
//! changed, acknowledged once the follower has it on disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::tls::Tls;
use causeway_proto::limits::VIEW_BYTES;
use causeway_proto::model::{
    Allocations, CatalogDelta, FollowHello, FollowRequest, FollowState, GatewayName, NodeName,
    Publication, Report, TrustState,
};
use causeway_proto::wire::pb::local as pb;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::app::{Core, Input, local_channel, random_u64, wall_clock};

/// Requests of a follower that wait for the network: acknowledgements and reports.
const WAITING: usize = 64;
/// The leader is lost when it says nothing for so long; it speaks each second.
const SILENCE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_secs(1);
/// Between two attempts to reach the leader.
const AGAIN_MS: u64 = 500;

/// What the leader writes, as far as it is known here; pieces that did not change are the same `Arc`.
#[derive(Debug, Clone, Default)]
pub struct Lead {
    /// `None` on a follower.
    pub leader: Option<GatewayName>,
    /// The leader's epoch.
    pub epoch: u64,
    /// What the controller published last.
    pub publication: Option<Arc<Publication>>,
    /// The newest, which may wait for acknowledgement.
    pub allocations: Arc<Allocations>,
    /// Who is trusted.
    pub trust: Arc<TrustState>,
    /// The own catalog, whole.
    pub catalog: Option<Arc<CatalogDelta>>,
    /// Newest report of each node.
    pub reports: Arc<BTreeMap<NodeName, Report>>,
    /// All gateways and their nodes.
    pub gateways: BTreeMap<GatewayName, NodeName>,
}

/// Where followers' streams read it.
#[derive(Debug, Clone)]
pub struct Leads {
    /// The gateway that leads, by configuration.
    leader: GatewayName,
    own: GatewayName,
    state: watch::Receiver<Arc<Lead>>,
}

impl Leads {
    /// Of this gateway, `own`.
    #[must_use]
    pub fn new(leader: GatewayName, own: GatewayName, state: watch::Receiver<Arc<Lead>>) -> Self {
        Self { leader, own, state }
    }

    /// The leader, if this gateway is not.
    #[must_use]
    pub fn other_leader(&self) -> Option<&GatewayName> {
        (self.leader != self.own).then_some(&self.leader)
    }
}

/// What of a `Lead` a follower has been told.
#[derive(Default)]
struct Told {
    sequence: u64,
    last: Lead,
    first: bool,
    /// Stamps of allocations that wait for an acknowledgement, by sequence.
    sent: BTreeMap<u64, (u64, u64)>,
}

impl Told {
    /// The next state to send; its empty form is a sign of life.
    fn next(&mut self, leader: &GatewayName, lead: &Lead) -> FollowState {
        let first = !std::mem::replace(&mut self.first, true);
        let old = &self.last;
        let changed = |a: &Option<Arc<_>>, b: &Option<Arc<_>>| match (a, b) {
            (Some(a), Some(b)) => !Arc::ptr_eq(a, b),
            (None, Some(_)) => true,
            _ => false,
        };
        let publication = if changed(&old.publication, &lead.publication) {
            lead.publication.as_deref().cloned()
        } else {
            None
        };
        let catalog = match (&old.catalog, &lead.catalog) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => None,
            (_, new) => new.as_deref().cloned(),
        };
        let allocations = first || !Arc::ptr_eq(&old.allocations, &lead.allocations);
        let trust = first || !Arc::ptr_eq(&old.trust, &lead.trust);
        let reports = lead.reports.iter();
        let reports = reports.filter(|(node, report)| old.reports.get(node) != Some(report));
        self.sequence += 1;
        let state = FollowState {
            sequence: self.sequence,
            leader: leader.clone(),
            epoch: lead.epoch,
            time: wall_clock(),
            publication,
            allocations: allocations.then(|| (*lead.allocations).clone()),
            trust: trust.then(|| (*lead.trust).clone()),
            catalog,
            reports: reports.map(|(_, report)| report.clone()).collect(),
            gateways: lead.gateways.clone(),
        };
        let stamp = (lead.allocations.epoch, lead.allocations.version);
        self.sent.insert(self.sequence, stamp);
        self.last = lead.clone();
        state
    }

    /// What is on the follower's disk by this acknowledgement.
    fn acknowledged(&mut self, sequence: u64) -> Option<(u64, u64)> {
        let stamp = self.sent.get(&sequence).copied();
        self.sent.retain(|sent, _| *sent > sequence);
        stamp
    }
}

/// Serves one follower until it goes. `name` is the one in its certificate.
pub async fn serve(
    core: Core,
    mut leads: Leads,
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
    let gateway = hello.gateway.clone();
    tracing::info!(follower = %gateway, "follows");
    core.tell(Input::Follower(Box::new(hello))).await;
    let mut told = Told::default();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            received = requests.next() => match received.map(|r| r.map(FollowRequest::try_from)) {
                Some(Ok(Ok(FollowRequest::Ack(sequence)))) => {
                    if let Some(stamp) = told.acknowledged(sequence) {
                        core.tell(Input::FollowerAck(gateway.clone(), stamp)).await;
                    }
                    continue;
                }
                Some(Ok(Ok(FollowRequest::Report(report)))) => {
                    core.tell(Input::Report(Box::new(report))).await;
                    continue;
                }
                Some(Ok(Ok(FollowRequest::Hello(_)))) => continue,
                _ => break,
            },
            changed = leads.state.changed() => if changed.is_err() { break },
            _ = tick.tick() => {}
        }
        let lead = leads.state.borrow_and_update().clone();
        let state = told.next(&leads.own, &lead);
        if replies.send(Ok((&state).into())).await.is_err() {
            break;
        }
    }
    tracing::info!(follower = %gateway, "no longer follows");
    core.tell(Input::FollowerGone(gateway)).await;
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

/// Follows the leader at `address` for ever. `hello` gives what to say first; `reports` are those of our own agents.
pub async fn run(
    core: Core,
    tls: Tls,
    address: String,
    hello: watch::Receiver<Arc<FollowHello>>,
    mut reports: mpsc::Receiver<Report>,
) {
    loop {
        let ended = follow(&core, &tls, &address, &hello, &mut reports).await;
        match ended {
            Ok(()) => return,
            Err(error) => tracing::debug!(%address, %error, "no leader"),
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
    address: &str,
    hello: &watch::Receiver<Arc<FollowHello>>,
    reports: &mut mpsc::Receiver<Report>,
) -> Result<(), anyhow::Error> {
    let channel = local_channel(tls, address).await?;
    let mut client =
        pb::local_client::LocalClient::new(channel).max_decoding_message_size(VIEW_BYTES);
    let (requests, outgoing) = mpsc::channel(WAITING);
    let first = FollowRequest::Hello((**hello.borrow()).clone());
    requests.send(pb::FollowRequest::from(&first)).await?;
    let call = client.follow(ReceiverStream::new(outgoing));
    let mut states = tokio::time::timeout(SILENCE, call).await??.into_inner();
    loop {
        tokio::select! {
            next = tokio::time::timeout(SILENCE, states.next()) => {
                let Some(state) = next? else {
                    anyhow::bail!("the leader closed the stream");
                };
                let state = FollowState::try_from(state?)?;
                let sequence = state.sequence;
                let (done, kept) = oneshot::channel();
                if !core.tell(Input::Followed(Box::new(state), done)).await {
                    return Ok(());
                }
                if kept.await.unwrap_or(false) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_sent_again() {
        let leader: GatewayName = "w1".parse().unwrap();
        let mut told = Told::default();
        let mut lead = Lead {
            epoch: 4,
            ..Lead::default()
        };
        let first = told.next(&leader, &lead);
        assert!(first.allocations.is_some() && first.trust.is_some());
        assert!(first.publication.is_none() && first.catalog.is_none());
        let life = told.next(&leader, &lead);
        assert!(life.allocations.is_none() && life.trust.is_none());
        lead.allocations = Arc::new(Allocations {
            epoch: 4,
            version: 2,
            ..Allocations::default()
        });
        lead.publication = Some(Arc::default());
        let change = told.next(&leader, &lead);
        assert!(change.allocations.is_some() && change.publication.is_some());
        assert!(change.trust.is_none());
        assert_eq!(told.acknowledged(change.sequence), Some((4, 2)));
        assert_eq!(told.acknowledged(change.sequence), None);
    }
}
