//! A gateway as far as its controller sees it, on a real TLS socket: it enrols by a token, obeys the higher term, keeps what
//! it is given, and as leader has its state stored. Several share one `World`, which checks what must never happen.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway_certs::dial::{ByToken, Holding, Patience, member_by_token};
use causeway_certs::enrolment::Member;
use causeway_certs::name::Role;
use causeway_certs::serve;
use causeway_proto::limits::STATE_BYTES;
use causeway_proto::model::{
    Allocations, Appointment, GatewayName, Keep, LeadHello, LeadRefused, LeadReply, LeadRequest,
    LeaderState,
};
use causeway_proto::wire::pb::local as pb;
use causeway_proto::wire::pb::local::local_server::{Local, LocalServer};
use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::clock::Clock;

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What holds over all gateways of a cluster.
#[derive(Default)]
pub struct World {
    leaders: Mutex<BTreeMap<u64, GatewayName>>,
    wrong: Mutex<Vec<String>>,
}

impl World {
    /// What must never happen, and did.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    fn check(&self, right: bool, wrong: impl FnOnce() -> String) {
        if !right {
            self.wrong.lock().unwrap().push(wrong());
        }
    }

    fn appointed(&self, term: u64, leader: &GatewayName) {
        let mut leaders = self.leaders.lock().unwrap();
        let first = leaders.entry(term).or_insert_with(|| leader.clone());
        self.check(first == leader, || {
            format!("{first} and {leader} in term {term}")
        });
    }
}

/// What one gateway has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Disk {
    pub term: u64,
    pub leader: Option<GatewayName>,
    pub leads: bool,
    pub epoch: u64,
    pub state: LeaderState,
    pub draining: bool,
    pub plain: bool,
    /// Version of allocations that a controller has stored.
    pub stored: u64,
    /// Appointments that brought state.
    pub given: usize,
    pub refusals: usize,
}

impl Disk {
    fn position(&self) -> (u64, u64) {
        let held = self.state.allocations.as_ref();
        held.map_or((0, 0), |held| (held.epoch, held.version))
    }
}

#[derive(Clone)]
pub struct Gateway {
    pub name: GatewayName,
    pub disk: watch::Sender<Disk>,
    world: Arc<World>,
}

/// Its process; dropped, it is killed with all its connections.
pub struct Process {
    pub port: u16,
    runtime: Option<Runtime>,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Gateway {
    pub fn new(name: &str, world: &Arc<World>) -> Self {
        Self {
            name: name.parse().unwrap(),
            disk: watch::Sender::new(Disk::default()),
            world: world.clone(),
        }
    }

    pub fn disk(&self) -> Disk {
        self.disk.borrow().clone()
    }

    /// Asks for a certificate until it gets one, offering what it holds.
    pub async fn enrol(&self, dir: &Path, controller: &str) -> Member {
        let by = ByToken {
            controller: controller.to_owned(),
            token_file: dir.join(format!("{}.token", self.name)),
            ca_file: dir.join("ca.crt"),
        };
        std::fs::write(&by.token_file, format!("gateway {}", self.name)).unwrap();
        let role = Role::parse(&format!("gateway/{}", self.name)).unwrap();
        loop {
            let disk = self.disk();
            let holding = (disk.epoch > 0).then_some(Holding {
                epoch: disk.epoch,
                state: disk.state,
            });
            let own = dir.join(format!("{}-{}", self.name, controller.replace(':', "-")));
            let patience = Patience::both(Duration::from_secs(5));
            let now = Clock::start().wall();
            let holding = holding.as_ref();
            let asked = member_by_token(&own, &role, &by, None, now, patience, holding).await;
            match asked {
                Ok(member) => return member,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Starts it.
    pub fn serve(&self, member: &Member) -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = member.tls.local_server().unwrap();
        let service = LocalServer::new(self.clone())
            .max_decoding_message_size(STATE_BYTES)
            .max_encoding_message_size(STATE_BYTES);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let connections = serve::tls(listener, config, |_| Ok(()));
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(ReceiverStream::new(connections))
                .await
                .unwrap();
        });
        Process {
            port,
            runtime: Some(runtime),
        }
    }

    fn hello(&self) -> LeadHello {
        let disk = self.disk();
        LeadHello {
            gateway: self.name.clone(),
            node: self.name.as_str().parse().unwrap(),
            local_address: format!("{}:7444", self.name),
            epoch: disk.epoch,
            held: disk.position(),
            term: disk.term,
            leader: disk.leader.clone(),
            leads: disk.leads,
            draining: disk.draining,
            unheard_ms: None,
            authority: None,
            rotate_authority: false,
        }
    }

    fn obey(&self, word: Appointment) -> Result<(), LeadRefused> {
        self.world.appointed(word.term, &word.leader);
        let disk = self.disk();
        let other = disk.leader.as_ref().is_some_and(|l| *l != word.leader);
        if word.term < disk.term || (word.term == disk.term && other) {
            self.disk.send_modify(|disk| disk.refusals += 1);
            return Err(LeadRefused {
                term: disk.term,
                leader: disk.leader,
                why: "over".to_owned(),
            });
        }
        let me = word.leader == self.name;
        self.disk.send_modify(|disk| {
            disk.plain = word.settings.plain;
            disk.term = word.term;
            disk.leader = Some(word.leader);
            if !me {
                disk.leads = false;
                disk.state.authority = None;
                disk.epoch = disk.epoch.max(word.epoch);
                return;
            }
            if disk.leads {
                return;
            }
            let given = word.state.unwrap_or_default();
            self.world.check(given.authority.is_some(), || {
                format!("{} leads without the CA", self.name)
            });
            disk.given += 1;
            disk.state.authority = given.authority;
            let stored = given.allocations.map_or((0, 0), |a| (a.epoch, a.version));
            self.world.check(word.epoch >= stored.0, || {
                format!("epoch {} is below the stored {}", word.epoch, stored.0)
            });
            disk.leads = true;
            disk.epoch = disk.epoch.max(word.epoch) + 1;
            let version = disk.position().max(stored).1 + 1;
            disk.state.allocations = Some(allocations(disk.epoch, version));
        });
        Ok(())
    }

    /// What a leader does: it writes.
    pub fn allot(&self) {
        self.disk.send_modify(|disk| {
            let version = disk.position().1 + 1;
            disk.state.allocations = Some(allocations(disk.epoch, version));
        });
    }

    async fn lead(self, mut asked: Streaming<pb::LeadRequest>, replies: mpsc::Sender<LeadReply>) {
        let mut disk = self.disk.subscribe();
        let (mut told, mut kept, mut obeyed) = (None, (0, 0), false);
        let mut sequence = 0;
        loop {
            let hello = self.hello();
            if told.as_ref() != Some(&hello) {
                if replies.send(LeadReply::Hello(hello.clone())).await.is_err() {
                    return;
                }
                told = Some(hello);
            }
            let now = disk.borrow_and_update().clone();
            if obeyed && now.leads && now.position() > kept {
                sequence += 1;
                kept = now.position();
                let keep = Keep {
                    sequence,
                    epoch: now.epoch,
                    allocations: now.state.allocations,
                    trust: None,
                };
                if replies.send(LeadReply::Keep(keep)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = disk.changed() => if changed.is_err() { return; },
                request = asked.next() => {
                    let Some(Ok(request)) = request else { return };
                    match LeadRequest::try_from(request).unwrap() {
                        LeadRequest::Appointment(word) => match self.obey(word) {
                            Ok(()) => obeyed = true,
                            Err(refused) => {
                                let _ = replies.send(LeadReply::Refused(refused)).await;
                            }
                        },
                        LeadRequest::Kept(_) => self.disk.send_modify(|d| d.stored = kept.1),
                    }
                }
            }
        }
    }
}

fn allocations(epoch: u64, version: u64) -> Allocations {
    Allocations {
        epoch,
        version,
        ..Allocations::default()
    }
}

#[tonic::async_trait]
impl Local for Gateway {
    type PublishStream = Replies<pb::PublishReply>;
    type FollowStream = Replies<pb::FollowReply>;
    type LeadStream = Replies<pb::LeadReply>;
    type WatchStream = Replies<pb::WatchReply>;
    type WatchCarriersStream = Replies<pb::WatchCarriersReply>;

    async fn lead(
        &self,
        request: Request<Streaming<pb::LeadRequest>>,
    ) -> Result<Response<Self::LeadStream>, Status> {
        let (replies, told) = mpsc::channel(4);
        tokio::spawn(Gateway::lead(self.clone(), request.into_inner(), replies));
        let told = ReceiverStream::new(told).map(|reply| Ok((&reply).into()));
        Ok(Response::new(Box::pin(told)))
    }

    async fn publish(
        &self,
        _: Request<Streaming<pb::PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn follow(
        &self,
        _: Request<Streaming<pb::FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch_carriers(
        &self,
        _: Request<pb::WatchCarriersRequest>,
    ) -> Result<Response<Self::WatchCarriersStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch(
        &self,
        _: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn report(
        &self,
        _: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn enroll(
        &self,
        _: Request<pb::EnrollRequest>,
    ) -> Result<Response<pb::EnrollReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn renew(
        &self,
        _: Request<pb::RenewRequest>,
    ) -> Result<Response<pb::RenewReply>, Status> {
        Err(Status::unimplemented(""))
    }
}
