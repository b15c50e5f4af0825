//! A controller that does what it is told: gives certificates to whoever asks, appoints, and stores what the leader sends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway_certs::ca::Authority;
use causeway_certs::dial::{self, GatewayAt};
use causeway_certs::enrolment::{Home, Member};
use causeway_certs::name::{PeerName, Role};
use causeway_certs::serve;
use causeway_certs::tls::PinnedServer;
use causeway_gateway::app::{PATIENCE, wall_clock};
use causeway_proto::model::{
    Appointment, ClusterSettings, Enrolled, IssuedCertificate, Keep, LeadHello, LeadRefused,
    LeadReply, LeadRequest, LeaderState, Offer, TokenEnrolReply, TokenEnrolment,
};
use causeway_proto::wire::pb::enrolment as pb;
use causeway_proto::wire::pb::enrolment::enrolment_server::{Enrolment, EnrolmentServer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::harness::Cluster;

/// What it knows; without a CA it wants to be told.
#[derive(Default)]
pub struct Known {
    pub authority: Option<Authority>,
    /// Who asked for a certificate, and with which epoch on its disk.
    pub asked: Vec<(String, Option<u64>)>,
    pub offers: Vec<Offer>,
}

pub struct Controller {
    pub known: Arc<Mutex<Known>>,
    at: SocketAddr,
    dir: TempDir,
    serving: JoinHandle<()>,
}

struct Service(Arc<Mutex<Known>>);

fn authority() -> Authority {
    let (cluster, set) = ("east".parse().unwrap(), "test".parse().unwrap());
    Authority::create(&cluster, &set, wall_clock()).unwrap()
}

#[tonic::async_trait]
impl Enrolment for Service {
    async fn enroll(
        &self,
        request: Request<pb::TokenEnrollRequest>,
    ) -> Result<Response<pb::TokenEnrollReply>, Status> {
        let asked = TokenEnrolment::try_from(request.into_inner()).unwrap();
        if asked.token != "good" {
            return Err(Status::permission_denied("no such token"));
        }
        let mut known = self.0.lock().unwrap();
        known.asked.push((asked.role.clone(), asked.held_epoch));
        let Some(authority) = &known.authority else {
            return Ok(Response::new((&TokenEnrolReply::WantState).into()));
        };
        let role = Role::parse(&asked.role).unwrap();
        let name = PeerName::new("east".parse().unwrap(), "test".parse().unwrap(), role).unwrap();
        let reply = TokenEnrolReply::Enrolled(Enrolled {
            certificate: IssuedCertificate {
                chain: authority.issue(&asked.csr, &name, wall_clock()).unwrap(),
                authorities: vec![authority.certificate().to_vec()],
            },
            cluster: name.cluster,
            cluster_set: name.cluster_set,
            gateways: Vec::new(),
        });
        Ok(Response::new((&reply).into()))
    }

    async fn offer(
        &self,
        request: Request<pb::OfferRequest>,
    ) -> Result<Response<pb::OfferReply>, Status> {
        let offer = Offer::try_from(request.into_inner()).unwrap();
        self.0.lock().unwrap().offers.push(offer);
        Ok(Response::new(pb::OfferReply {}))
    }
}

impl Controller {
    pub async fn start() -> Self {
        let pinned = PinnedServer::create().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "good").unwrap();
        std::fs::write(dir.path().join("ca.crt"), pinned.certificate_pem()).unwrap();
        let known = Known {
            authority: Some(authority()),
            ..Known::default()
        };
        let known = Arc::new(Mutex::new(known));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let service = EnrolmentServer::new(Service(Arc::clone(&known)));
        let connections = serve::tls(listener, pinned.config().unwrap(), |_| Ok(()));
        let serving = tokio::spawn(async move {
            let served = tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(ReceiverStream::new(connections));
            served.await.unwrap();
        });
        Self {
            known,
            at,
            dir,
            serving,
        }
    }

    /// The gateway's configuration.
    pub fn enrolment(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            "enrolment: {{controller: '{}', token_file: {dir}/token, ca_file: {dir}/ca.crt}}",
            self.at
        )
    }

    /// What the gateways present from now on.
    pub fn token_is(&self, token: &str) {
        std::fs::write(self.dir.path().join("token"), token).unwrap();
    }

    /// What a new leader gets first.
    pub fn state(&self) -> LeaderState {
        let known = self.known.lock().unwrap();
        LeaderState {
            authority: known.authority.as_ref().map(|a| a.material().clone()),
            ..LeaderState::default()
        }
    }

    /// Opens the stream of a gateway.
    pub async fn leads(&self, gateway: &Cluster) -> Lead {
        let role = Role::parse("controller/c1").unwrap();
        let member = {
            let known = self.known.lock().unwrap();
            let authority = known.authority.as_ref().unwrap();
            let (cluster, set) = ("east".parse().unwrap(), "test".parse().unwrap());
            let roots = [authority.certificate().to_vec()];
            let home = Home::new(cluster, set, &role, &roots, Vec::new());
            Member::in_memory(home, &authority.own_leaf(role, wall_clock()).unwrap()).unwrap()
        };
        let at = GatewayAt::Tcp(gateway.local());
        let mut client = dial::local(&at, Some(&member.tls), PATIENCE).await.unwrap();
        let (requests, sent) = mpsc::channel::<LeadRequest>(16);
        let acks = requests.clone();
        let sent = tokio_stream::StreamExt::map(ReceiverStream::new(sent), |r| (&r).into());
        // The answer's head comes before anything was said.
        let mut replies = client.lead(sent).await.unwrap().into_inner();
        let (heard, hears) = watch::channel(Heard::default());
        let reading = tokio::spawn(async move {
            while let Ok(Some(reply)) = replies.message().await {
                let reply = LeadReply::try_from(reply).unwrap();
                let ack = match &reply {
                    LeadReply::Keep(keep) => Some(keep.sequence),
                    _ => None,
                };
                heard.send_modify(|heard| heard.hear(reply));
                if let Some(sequence) = ack {
                    let _ = acks.send(LeadRequest::Kept(sequence)).await;
                }
            }
        });
        Lead {
            requests,
            heard: hears,
            reading,
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What a gateway said on its stream.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    pub hello: Option<LeadHello>,
    pub keeps: u64,
    /// All of it, put together.
    pub stored: LeaderState,
    pub refused: Option<LeadRefused>,
}

impl Heard {
    fn hear(&mut self, reply: LeadReply) {
        match reply {
            LeadReply::Hello(hello) => self.hello = Some(hello),
            LeadReply::Keep(Keep {
                sequence,
                allocations,
                trust,
                ..
            }) => {
                assert_eq!(sequence, self.keeps + 1, "one after the other");
                self.keeps = sequence;
                self.stored.allocations = allocations.or(self.stored.allocations.take());
                self.stored.trust = trust.or(self.stored.trust.take());
            }
            LeadReply::Refused(refused) => self.refused = Some(refused),
        }
    }

    pub fn hello(&self) -> &LeadHello {
        self.hello.as_ref().unwrap()
    }
}

/// One open stream; dropping it is the controller's death.
pub struct Lead {
    requests: mpsc::Sender<LeadRequest>,
    pub heard: watch::Receiver<Heard>,
    reading: JoinHandle<()>,
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Lead {
    pub async fn appoint(
        &self,
        term: u64,
        leader: &Cluster,
        epoch: u64,
        state: Option<LeaderState>,
    ) {
        let settings = ClusterSettings {
            plain: true,
            ..ClusterSettings::default()
        };
        let word = Appointment {
            term,
            leader: leader.name(),
            leader_address: leader.local(),
            epoch,
            settings,
            state,
        };
        let sent = self.requests.send(LeadRequest::Appointment(word)).await;
        sent.unwrap();
    }

    /// Waits until it has been said.
    pub async fn until(&mut self, what: &str, is: impl FnMut(&Heard) -> bool) -> Heard {
        let heard = tokio::time::timeout(Duration::from_secs(20), self.heard.wait_for(is)).await;
        match heard {
            Ok(heard) => heard.unwrap().clone(),
            Err(_) => panic!("not heard: {what}"),
        }
    }
}
