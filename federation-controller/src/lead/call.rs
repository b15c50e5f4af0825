//! Shell: one gateway's Lead stream: it is told who leads, and says what it is; what the leader gives to keep is stored,
//! then acknowledged. A stream that ends is begun anew.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::cert::fingerprint;
use causeway_certs::dial::{GatewayAt, Patience, causes, local};
use causeway_certs::enrolment::CallError;
use causeway_proto::limits::STATE_BYTES;
use causeway_proto::model::{
    AuthorityMaterial, GatewayName, Keep, LeadReply, LeadRequest, LeaderState,
};
use causeway_proto::wire::pb::local as pb;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::board::Board;
use super::order::{Identity, Order};
use crate::clock::Clock;
use crate::cluster::api::Trouble;
use crate::cluster::keeper::{Keeper, Stored};
use crate::enrolment::Standing;

/// A gateway answers at once or not at all.
const PATIENCE: Patience = Patience::both(Duration::from_secs(5));
/// The pause after a stream ended begins here, doubles, and stays at `PAUSE_MAX`: a leader that comes back should be heard
/// at once.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A gateway that starts refuses connections: nothing worth a word before that.
const QUIET: u32 = 5;

/// What all streams share.
#[derive(Clone)]
pub struct Calls {
    /// What gateways say goes here.
    pub board: watch::Sender<Board>,
    /// What they are told.
    pub orders: watch::Receiver<Option<Arc<Order>>>,
    /// What to call them with.
    pub identity: watch::Receiver<Option<Identity>>,
    /// The CA, for the leader.
    pub standing: watch::Receiver<Standing>,
    /// The rest, for the leader.
    pub stored: watch::Receiver<Option<Stored>>,
    /// Where it is kept.
    pub keeper: Keeper,
    /// Tells how long a gateway has been silent.
    pub clock: Clock,
}

/// One gateway's stream, for ever, whatever ends it.
pub async fn run(calls: Calls, gateway: GatewayName, address: String, trouble: Trouble) {
    let mut call = Call {
        at: GatewayAt::Tcp(address),
        gateway,
        calls,
        trouble,
        heard: false,
    };
    let (mut pause, mut failures) = (PAUSE, 0u32);
    loop {
        let ended = call.stream().await;
        if call.end() {
            (pause, failures) = (PAUSE, 0);
        }
        failures = failures.saturating_add(1);
        if let Err(error) = ended
            && failures >= QUIET
        {
            call.trouble.is(causes(error.as_ref()));
        }
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause.saturating_mul(2));
    }
}

struct Call {
    gateway: GatewayName,
    at: GatewayAt,
    calls: Calls,
    trouble: Trouble,
    /// It has said something on this stream.
    heard: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end();
        self.trouble.forget();
    }
}

impl Call {
    /// The stream is over. True: it had begun.
    fn end(&mut self) -> bool {
        let heard = std::mem::take(&mut self.heard);
        if heard {
            let now = self.calls.clock.mono_ms();
            let silent = |board: &mut Board| board.silent(&self.gateway, now);
            self.calls.board.send_if_modified(silent);
        }
        heard
    }

    /// Until it ends.
    async fn stream(&mut self) -> Result<(), CallError> {
        let mut known = self.calls.identity.clone();
        let identity = known.wait_for(Option::is_some).await?.clone();
        let Some(identity) = identity else {
            return Ok(());
        };
        let client = local(&self.at, Some(&identity.tls), PATIENCE).await?;
        let mut client = client
            .max_decoding_message_size(STATE_BYTES)
            .max_encoding_message_size(STATE_BYTES);
        let (requests, outgoing) = mpsc::channel::<pb::LeadRequest>(2);
        let answer = client.lead(ReceiverStream::new(outgoing)).await?;
        let mut replies = answer.into_inner();
        let first = tokio::time::timeout(PATIENCE.answer, replies.next()).await?;
        self.take(first.ok_or("it closed the stream")??.try_into()?)?;
        let mut orders = self.calls.orders.clone();
        orders.mark_changed();
        let mut keeping: Option<Keeping> = None;
        loop {
            tokio::select! {
                reply = replies.next() => {
                    let reply = reply.ok_or("it closed the stream")??;
                    if let Some(keep) = self.take(reply.try_into()?)? {
                        keeping = Some(self.keep(keep).await?);
                    }
                }
                changed = orders.changed() => {
                    changed?;
                    let order = orders.borrow_and_update().clone();
                    if let Some(order) = order {
                        let word = LeadRequest::Appointment(order.appointment(self.state(&order)));
                        requests.send((&word).into()).await?;
                    }
                }
                kept = kept(&mut keeping) => {
                    let sequence = kept?;
                    keeping = None;
                    requests.send((&LeadRequest::Kept(sequence)).into()).await?;
                }
                () = replaced(&mut known, &identity) => {
                    return Err("the cluster has another CA".into());
                }
            }
        }
    }

    /// What it says.
    fn take(&mut self, reply: LeadReply) -> Result<Option<Keep>, CallError> {
        match reply {
            LeadReply::Hello(hello) => {
                if hello.gateway != self.gateway {
                    return Err(format!("the gateway there is {}", hello.gateway).into());
                }
                self.heard = true;
                self.trouble.over();
                let now = self.calls.clock.mono_ms();
                let said = |board: &mut Board| board.said(hello, now);
                self.calls.board.send_if_modified(said);
            }
            LeadReply::Keep(keep) => return Ok(Some(keep)),
            LeadReply::Refused(refused) => {
                tracing::warn!(gateway = %self.gateway, term = refused.term, "an appointment is refused: {}", refused.why);
                self.calls
                    .board
                    .send_if_modified(|board| board.refused(&refused));
            }
        }
        Ok(None)
    }

    /// What the leader needs to begin: all of it; of one that leads already, the CA alone when another one has taken over.
    fn state(&self, order: &Order) -> Option<LeaderState> {
        if order.leader != self.gateway {
            return None;
        }
        let authority = match &*self.calls.standing.borrow() {
            Standing::Ready(issuing) => Some(issuing.authority.material().clone()),
            Standing::Absent(..) | Standing::Standby => None,
        };
        let leads = |board: &Board| {
            let hello = board.hello(&self.gateway).filter(|hello| hello.leads)?;
            Some(hello.authority)
        };
        if let Some(held) = leads(&self.calls.board.borrow()) {
            let other = |m: &AuthorityMaterial| Some(fingerprint(&m.certificate)) != held;
            return authority.filter(other).map(|material| LeaderState {
                authority: Some(material),
                ..LeaderState::default()
            });
        }
        let stored = self.calls.stored.borrow().clone();
        Some(LeaderState {
            authority,
            ..stored
                .map(|s| LeaderState::clone(&s.state))
                .unwrap_or_default()
        })
    }

    async fn keep(&self, keep: Keep) -> Result<Keeping, CallError> {
        let leader = self
            .calls
            .orders
            .borrow()
            .as_ref()
            .map(|o| o.leader.clone());
        if leader.as_ref() != Some(&self.gateway) {
            return Err("it wants to store something and does not lead".into());
        }
        let state = LeaderState {
            authority: None,
            allocations: keep.allocations,
            trust: keep.trust,
        };
        Ok(Keeping {
            sequence: keep.sequence,
            stored: self.calls.keeper.ask(state).await?,
        })
    }
}

/// Until that identity is no longer ours.
async fn replaced(known: &mut watch::Receiver<Option<Identity>>, identity: &Identity) {
    let other = |now: &Option<Identity>| now.as_ref().is_none_or(|now| !now.is_same(identity));
    let _ = known.wait_for(other).await;
}

/// What is being stored.
struct Keeping {
    sequence: u64,
    stored: oneshot::Receiver<Result<(), String>>,
}

/// Its sequence number, once it is.
async fn kept(keeping: &mut Option<Keeping>) -> Result<u64, CallError> {
    match keeping {
        Some(keeping) => {
            (&mut keeping.stored).await??;
            Ok(keeping.sequence)
        }
        None => pending().await,
    }
}
