//! Against a controller in memory, over loopback.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use causeway_proto::model::{IssuedCertificate, TrustState};
use causeway_proto::wire::pb::enrolment::enrolment_server::{Enrolment, EnrolmentServer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{Request, Response};

use super::*;
use crate::ca::Authority;
use crate::dial::{causes, renew_or_enrol};
use crate::name::PeerName;
use crate::tls::PinnedServer;

const PATIENCE: Patience = Patience::both(Duration::from_secs(5));
const CLUSTER: &str = "east.example";

/// What the controller would do, and what it was asked.
struct Told {
    authority: Option<Authority>,
    unavailable: u32,
    tokens: Vec<String>,
    offered: Option<Offer>,
}

#[derive(Clone)]
struct Controller(Arc<Mutex<Told>>);

fn authority() -> Authority {
    let (cluster, set) = (CLUSTER.parse().unwrap(), "prod".parse().unwrap());
    Authority::create(&cluster, &set, now()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "TLS reads the clock too")]
fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

#[tonic::async_trait]
impl Enrolment for Controller {
    async fn enroll(
        &self,
        request: Request<pb::TokenEnrollRequest>,
    ) -> Result<Response<pb::TokenEnrollReply>, Status> {
        let asked = TokenEnrolment::try_from(request.into_inner()).unwrap();
        let mut told = self.0.lock().unwrap();
        told.tokens.push(asked.token.clone());
        if told.unavailable > 0 {
            told.unavailable -= 1;
            return Err(Status::unavailable("not the active controller"));
        }
        if !asked.token.starts_with("good") {
            return Err(Status::permission_denied("the token is not good for that"));
        }
        let Some(authority) = &told.authority else {
            return Ok(Response::new((&TokenEnrolReply::WantState).into()));
        };
        let (cluster, set) = (CLUSTER.parse().unwrap(), "prod".parse().unwrap());
        let role = Role::parse(&asked.role).unwrap();
        let name = PeerName::new(cluster, set, role).unwrap();
        let enrolled = Enrolled {
            certificate: IssuedCertificate {
                chain: authority.issue(&asked.csr, &name, now()).unwrap(),
                authorities: vec![authority.certificate().to_vec()],
            },
            cluster: name.cluster,
            cluster_set: name.cluster_set,
            gateways: vec!["gateway:7444".to_owned()],
        };
        Ok(Response::new((&TokenEnrolReply::Enrolled(enrolled)).into()))
    }

    async fn offer(
        &self,
        request: Request<pb::OfferRequest>,
    ) -> Result<Response<pb::OfferReply>, Status> {
        let offer = Offer::try_from(request.into_inner()).unwrap();
        let mut told = self.0.lock().unwrap();
        let material = offer.state.authority.clone().unwrap();
        let (cluster, set) = (CLUSTER.parse().unwrap(), "prod".parse().unwrap());
        let authority = Authority::from_material(&material, &cluster, &set, now());
        told.authority = Some(authority.unwrap());
        told.offered = Some(offer);
        Ok(Response::new(pb::OfferReply {}))
    }
}

struct Bed {
    dir: TempDir,
    controller: Controller,
    server: PinnedServer,
    by: ByToken,
}

impl Bed {
    async fn new(authority: Option<Authority>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let controller = Controller(Arc::new(Mutex::new(Told {
            authority,
            unavailable: 0,
            tokens: Vec::new(),
            offered: None,
        })));
        let server = PinnedServer::create().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let by = ByToken {
            controller: listener.local_addr().unwrap().to_string(),
            token_file: dir.path().join("token"),
            ca_file: dir.path().join("ca.crt"),
        };
        let service = EnrolmentServer::new(controller.clone());
        let incoming = crate::serve::tls(listener, server.config().unwrap(), |_| Ok(()));
        let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
        let serving = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(serving.serve_with_incoming(incoming));
        let bed = Self {
            dir,
            controller,
            server,
            by,
        };
        bed.publish_pin();
        bed.token("good 1");
        bed
    }

    fn publish_pin(&self) {
        std::fs::write(&self.by.ca_file, self.server.certificate_pem()).unwrap();
    }

    fn token(&self, text: &str) {
        std::fs::write(&self.by.token_file, format!("{text}\n")).unwrap();
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.controller.0.lock().unwrap())
    }

    async fn start(&self, role: &str, holding: Option<&Holding>) -> Result<Member, String> {
        let role = Role::parse(role).unwrap();
        let dir = self.state_dir();
        let member = member_by_token(&dir, &role, &self.by, None, now(), PATIENCE, holding).await;
        member.map_err(|e| causes(&e))
    }
}

#[tokio::test]
async fn enrols_once_and_then_reads_its_leaf() {
    let bed = Bed::new(Some(authority())).await;
    let member = bed.start("agent/w1", None).await.unwrap();
    assert_eq!(
        member.home().name().unwrap().to_string(),
        "spiffe://east.example.prod/agent/w1"
    );
    assert_eq!(member.home().gateways, ["gateway:7444"]);
    bed.start("agent/w1", None).await.unwrap();
    assert_eq!(bed.told(|t| t.tokens.len()), 1);
    // A disk that comes back under another node's name.
    let other = bed.start("agent/w2", None).await.unwrap();
    assert_eq!(other.home().role, "agent/w2");
    assert_eq!(bed.told(|t| t.tokens.len()), 2);
}

#[tokio::test]
async fn waits_for_the_pin_and_takes_no_other_server() {
    let bed = Bed::new(Some(authority())).await;
    std::fs::remove_file(&bed.by.ca_file).unwrap();
    let role = Role::parse("agent/w1").unwrap();
    let dir = bed.state_dir();
    let starting = member_by_token(&dir, &role, &bed.by, None, now(), PATIENCE, None);
    tokio::pin!(starting);
    tokio::select! {
        started = &mut starting => panic!("without a pin: {started:?}"),
        () = tokio::time::sleep(Duration::from_millis(20)) => {}
    }
    bed.publish_pin();
    starting.await.unwrap();

    let other = PinnedServer::create().unwrap();
    std::fs::write(&bed.by.ca_file, other.certificate_pem()).unwrap();
    let e = bed.start("agent/w2", None).await.unwrap_err();
    assert!(e.contains("invalid peer certificate"), "{e}");
    assert_eq!(bed.told(|t| t.tokens.len()), 1, "it saw no token");
    std::fs::write(&bed.by.ca_file, "no PEM").unwrap();
    let e = bed.start("agent/w2", None).await.unwrap_err();
    assert!(e.contains("ca.crt: the pin is not the PEM"), "{e}");
}

#[tokio::test]
async fn the_token_is_read_each_time() {
    let bed = Bed::new(Some(authority())).await;
    bed.told(|t| t.unavailable = 1);
    let member = bed.start("agent/w1", None).await.unwrap();
    bed.token("good 2");
    let before = member.tls.leaf.validity();
    renew_or_enrol(&member, &[], Some(&bed.by), PATIENCE)
        .await
        .unwrap();
    assert_eq!(
        bed.told(|t| t.tokens.clone()),
        ["good 1", "good 1", "good 2"]
    );
    let after = member.tls.leaf.validity().unwrap();
    assert!(after.not_after >= before.unwrap().not_after);

    bed.token("bad");
    let e = renew_or_enrol(&member, &[], Some(&bed.by), PATIENCE).await;
    let e = causes(&e.unwrap_err());
    assert!(e.contains("the token is not good for that"), "{e}");
    std::fs::remove_file(&bed.by.token_file).unwrap();
    let e = renew_or_enrol(&member, &[], Some(&bed.by), PATIENCE).await;
    let e = causes(&e.unwrap_err());
    assert!(e.contains("token: No such file"), "{e}");
}

/// The cluster's CA was made anew meanwhile: who has the new leaf trusts the new CA too.
#[tokio::test]
async fn a_new_authority_is_taken_with_the_leaf() {
    let bed = Bed::new(Some(authority())).await;
    let member = bed.start("agent/w1", None).await.unwrap();
    let (old, new) = (member.home().roots().unwrap(), authority());
    let root = new.certificate().to_vec();
    bed.told(|t| t.authority = Some(new));
    enrol_again(&member, &bed.by, None, PATIENCE, None)
        .await
        .unwrap();
    assert_ne!(old, std::slice::from_ref(&root));
    assert_eq!(member.home().roots().unwrap(), [root]);
    let again = Member::load(&bed.state_dir()).unwrap().unwrap();
    assert_eq!(again.home(), member.home());

    let south = "south".parse().unwrap();
    let e = enrol_again(&member, &bed.by, Some(&south), PATIENCE, None).await;
    let e = causes(&e.unwrap_err());
    assert!(
        e.ends_with("is that of cluster east.example, and this process is configured for south"),
        "{e}"
    );
}

#[tokio::test]
async fn a_controller_that_lost_its_store_gets_it_back() {
    let bed = Bed::new(None).await;
    let held = authority();
    let holding = Holding {
        epoch: 7,
        state: LeaderState {
            authority: Some(held.material().clone()),
            allocations: None,
            trust: Some(TrustState::default()),
        },
    };
    let member = bed.start("gateway/w1", Some(&holding)).await.unwrap();
    let offered = bed.told(|t| t.offered.clone()).unwrap();
    assert_eq!((offered.epoch, &offered.state), (7, &holding.state));
    assert_eq!(
        member.home().roots().unwrap(),
        [held.certificate().to_vec()]
    );
}

#[tokio::test]
async fn a_process_in_memory_over_any_stream() {
    let bed = Bed::new(Some(authority())).await;
    let at = GatewayAt::Tcp("forwarded:7445".to_owned());
    let stream = tcp(&bed.by.controller).await.unwrap();
    let pin = Pin::from_pem(&bed.server.certificate_pem()).unwrap();
    let mut client = enrolment_over(&at, stream, &pin, PATIENCE).await.unwrap();
    let role = Role::parse("operator/ann").unwrap();
    let member = enrol_over(&mut client, &at, &role, "good").await.unwrap();
    assert_eq!(member.home().role, "operator/ann");
    let e = enrol_over(&mut client, &at, &role, "bad").await;
    let e = causes(&e.unwrap_err());
    assert_eq!(
        e,
        "asking for a certificate as operator/ann: forwarded:7445: the token is not good for that"
    );
}
