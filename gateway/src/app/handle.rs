//! Shell: the one way to the core task: what it can be told, and what it shows to everybody.

use std::sync::Arc;

use causeway_certs::dial::Holding;
use causeway_certs::name::PeerName;
use causeway_proto::model::{
    Appointment, Carries, Check, ClusterId, ClusterSettings, FollowHello, FollowState, Frame,
    GatewayName, LeadReply, Mapping, Prefix, Problem, Publication, Report, Revision, Timestamp,
    TrustState, View,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::carry::Carried;
use super::diagnose::PeerGateways;
use crate::status::Facts;
use crate::transport::Link;

/// Inputs waiting for the core: some rounds of all sessions; senders wait beyond it.
pub const INPUTS: usize = 1024;

pub use crate::engine::SessionId;

/// A session that has come up, before its first frame.
#[derive(Debug)]
pub struct Opened {
    /// Which.
    pub id: SessionId,
    /// Proven by its certificate: a gateway of a peer.
    pub peer: PeerName,
    /// Its connection, for packets.
    pub link: Link,
    /// The `HOST:PORT` that we dialled; `None` where the other side did.
    pub dialled: Option<String>,
    /// When the first of both leaves ends, and the session with it.
    pub expires: Timestamp,
    /// Frames to it; dropping this closes the session once they are sent.
    pub out: mpsc::Sender<Frame>,
}

/// A change of the trust state; runs on the core, on the leader only. False leaves it unchanged.
pub type TrustChange = Box<dyn FnOnce(&mut TrustState, Timestamp) -> bool + Send>;

/// What the controller gets for a publication.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Of the own catalog with it.
    pub revision: Option<Revision>,
    /// What did not fit.
    pub problems: Vec<Problem>,
}

/// Peers that heard a goodbye, and those whose lease must run out.
pub type Left = (Vec<ClusterId>, Vec<ClusterId>);

/// Everything that the core can be told.
pub enum Input {
    /// By the controller, to the leader.
    Publish(
        Box<Publication>,
        oneshot::Sender<Result<Published, NotLeader>>,
    ),
    /// By an agent.
    Report(Box<Report>),
    /// By an operator, a joiner or an enrolment. Answered when it is stored; with false where nothing changed.
    Trust(TrustChange, oneshot::Sender<Result<bool, NotLeader>>),
    /// A session came up.
    Opened(Opened),
    /// A frame came.
    Frame(SessionId, Box<Frame>),
    /// What came is no frame.
    Malformed(SessionId, String),
    /// A session's leaf has ended.
    Expired(SessionId),
    /// A session is gone.
    Closed(SessionId, String),
    /// A gateway could not be dialled.
    DialFailed(ClusterId, String),
    /// A follower came; what the leader writes goes into the sender.
    Follower(Box<FollowHello>, mpsc::Sender<FollowState>),
    /// A follower has the state of this sequence number on its disk.
    FollowerAck(GatewayName, u64),
    /// Peers that a follower carries packets to.
    FollowerCarries(GatewayName, Carries),
    /// A follower says nothing.
    FollowerQuiet(GatewayName),
    /// A follower's connection is gone, of the process of that instance.
    FollowerGone(GatewayName, u64),
    /// From the leader; answered when it is on disk and in force.
    Followed(Box<FollowState>, oneshot::Sender<bool>),
    /// What this gateway says first when it follows.
    Hello(oneshot::Sender<FollowHello>),
    /// The leader says nothing.
    LeaderQuiet,
    /// The leader is gone.
    LeaderLost,
    /// A controller came, by a stream of this number; what it is told goes into the sender.
    Controller(u64, mpsc::Sender<LeadReply>),
    /// Its word.
    Appoint(u64, Box<Appointment>),
    /// It has stored what was sent under the second number.
    Stored(u64, u64),
    /// Its stream is over.
    ControllerGone(u64),
    /// What this gateway holds and a leader must not lose.
    Holding(oneshot::Sender<Holding>),
    /// Gateways of that peer, or of all; with true they are asked what they find of the ways here.
    PeerGateways(Option<ClusterId>, bool, oneshot::Sender<PeerGateways>),
    /// What was found of the ways to a peer whose gateways asked.
    Diagnosed(ClusterId, Vec<Check>),
    /// What stands for this cluster has changed: another CA has taken over, or the former is no more taken.
    OwnBundle,
    /// What is carried here.
    Carried(Carried),
    /// This gateway will stop soon; another should lead, and others carry.
    Drain,
    /// Answered by a core that is well.
    Alive(oneshot::Sender<()>),
    /// Takes leave of all peers; answered with those that have a session, then those that have none.
    Leave(oneshot::Sender<Result<Left, NotLeader>>),
    /// What a cluster with these prefixes would get here, were it a peer.
    Foretell(
        ClusterId,
        Vec<Prefix>,
        oneshot::Sender<(Vec<Mapping>, Vec<Problem>)>,
    ),
    /// The process stops: says Bye; answered when that is queued.
    Stop(oneshot::Sender<()>),
}

/// A call that only the leader can serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLeader {
    /// Ask there.
    #[error("this gateway follows; only the leader, {0}, can do this")]
    Follows(GatewayName),
    /// Ask later.
    #[error("only the leader can do this, and the controller has appointed none yet")]
    Nobody,
    /// The process stops.
    #[error("this gateway is stopping")]
    Stopping,
}

/// Who leads now, and by which settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leading {
    /// This gateway does.
    pub leads: bool,
    /// Who does; nobody before a controller has appointed somebody.
    pub leader: Option<GatewayName>,
    /// `HOST:PORT` of an appointed leader's local service.
    pub address: Option<String>,
    /// The same on every gateway of the cluster.
    pub shared: ClusterSettings,
    /// Streams of controllers.
    pub controllers: usize,
}

impl Leading {
    /// Why this gateway cannot do what only the leader can.
    #[must_use]
    pub fn not_leader(&self) -> NotLeader {
        let leader = self.leader.clone().filter(|_| !self.leads);
        leader.map_or(NotLeader::Nobody, NotLeader::Follows)
    }
}

/// To the core and from it.
#[derive(Debug, Clone)]
pub struct Core {
    inputs: mpsc::Sender<Input>,
    watched: Watched,
}

/// What the core shows.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The newest View.
    pub view: watch::Receiver<Arc<View>>,
    /// What status needs beside it.
    pub facts: watch::Receiver<Arc<Facts>>,
    /// Who is trusted.
    pub trust: watch::Receiver<Arc<TrustState>>,
    /// Who leads.
    pub leading: watch::Receiver<Arc<Leading>>,
    /// Peers that packets are carried to here.
    pub carries: watch::Receiver<Arc<Carries>>,
}

impl Core {
    /// Of a core that reads `inputs` and writes the others.
    #[must_use]
    pub fn new(inputs: mpsc::Sender<Input>, watched: Watched) -> Self {
        Self { inputs, watched }
    }

    /// The newest View, and when it changes.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.watched.view.clone()
    }

    /// The newest View.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.watched.view.borrow().clone()
    }

    /// What status needs beside it.
    #[must_use]
    pub fn facts(&self) -> Arc<Facts> {
        self.watched.facts.borrow().clone()
    }

    /// Who is trusted now.
    #[must_use]
    pub fn trust(&self) -> Arc<TrustState> {
        self.watched.trust.borrow().clone()
    }

    /// Who is trusted, and when it changes.
    #[must_use]
    pub fn trusts(&self) -> watch::Receiver<Arc<TrustState>> {
        self.watched.trust.clone()
    }

    /// Who leads now.
    #[must_use]
    pub fn leading(&self) -> Arc<Leading> {
        self.watched.leading.borrow().clone()
    }

    /// Peers that packets are carried to here, and when that changes.
    #[must_use]
    pub fn carries(&self) -> watch::Receiver<Arc<Carries>> {
        self.watched.carries.clone()
    }

    /// Who leads, and when it changes.
    #[must_use]
    pub fn leadings(&self) -> watch::Receiver<Arc<Leading>> {
        self.watched.leading.clone()
    }

    /// Tells the core what it answers; `None` when it has stopped.
    pub async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(input(reply)).await;
        answer.await.ok()
    }

    /// Tells the core; false when it has stopped.
    pub async fn tell(&self, input: Input) -> bool {
        self.inputs.send(input).await.is_ok()
    }

    /// The controller's word.
    ///
    /// # Errors
    /// When this is not the leader.
    pub async fn publish(&self, publication: Publication) -> Result<Published, NotLeader> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Publish(Box::new(publication), reply))
            .await;
        answer.await.unwrap_or(Err(NotLeader::Stopping))
    }

    /// Changes who is trusted, and answers when that is on disk. `change` says whether it changed anything, and what
    /// to hand on.
    ///
    /// # Errors
    /// When this is not the leader.
    pub async fn change_trust<R, F>(&self, change: F) -> Result<R, NotLeader>
    where
        R: Send + 'static,
        F: FnOnce(&mut TrustState, Timestamp) -> (bool, R) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (result, outcome) = oneshot::channel();
        let change: TrustChange = Box::new(move |trust, now| {
            let (changed, value) = change(trust, now);
            let _ = result.send(value);
            changed
        });
        self.tell(Input::Trust(change, reply)).await;
        answer.await.unwrap_or(Err(NotLeader::Stopping))?;
        outcome.await.map_err(|_| NotLeader::Stopping)
    }

    /// Where these prefixes of a cluster would appear here, were it a peer, and what would not fit.
    ///
    /// # Errors
    /// When the process stops.
    pub async fn foretell(
        &self,
        cluster: &ClusterId,
        prefixes: &[Prefix],
    ) -> Result<(Vec<Mapping>, Vec<Problem>), NotLeader> {
        let (cluster, prefixes) = (cluster.clone(), prefixes.to_vec());
        let asked = self.ask(|reply| Input::Foretell(cluster, prefixes, reply));
        asked.await.ok_or(NotLeader::Stopping)
    }

    /// Takes leave of all peers: those that heard it, and those whose lease must run out.
    ///
    /// # Errors
    /// When this is not the leader.
    pub async fn leave(&self) -> Result<Left, NotLeader> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Leave(reply)).await;
        answer.await.unwrap_or(Err(NotLeader::Stopping))
    }
}
