use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use causeway_certs::ca::LeafRequest;
use causeway_certs::dial::{GatewayAt, Patience, enrolment_over};
use causeway_certs::tls::Pin;
use causeway_proto::model::Timestamp;
use causeway_proto::wire::pb::enrolment::enrolment_client::EnrolmentClient;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::recovery::Decision;

/// Says of a token `ACCOUNT NODE` that it is what it says.
#[derive(Default)]
struct Says {
    asked: AtomicUsize,
}

impl Reviewer for Says {
    async fn review(&self, token: &str) -> Result<Review, Unreviewed> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if token == "down" {
            return Err(Unreviewed("connection refused".to_owned()));
        }
        let (account, node) = token.split_once(' ').unwrap_or((token, ""));
        let one = |key: &str, value: &str| {
            let key = format!("authentication.kubernetes.io/{key}");
            (!value.is_empty()).then(|| (key, vec![value.to_owned()]))
        };
        let bound = if node == "old" { "" } else { node };
        let extra = [
            one("node-name", bound),
            one("pod-name", "pod-1"),
            one("pod-uid", "u1"),
        ];
        Ok(Review {
            authenticated: account != "expired",
            error: None,
            audiences: vec!["causeway".to_owned()],
            user: format!("system:serviceaccount:causeway-system:causeway-{account}"),
            extra: extra.into_iter().flatten().collect::<BTreeMap<_, _>>(),
        })
    }

    async fn node_of(&self, pod: &Pod) -> Result<Option<NodeName>, Unreviewed> {
        Ok((pod.uid == "u1").then(|| "w9".parse().unwrap()))
    }
}

struct Bed {
    standing: watch::Sender<Standing>,
    recovery: watch::Receiver<Recovery>,
    service: Arc<Service<Says>>,
    at: SocketAddr,
    pin: Pin,
    clock: Clock,
}

fn home(cluster: &str) -> Home {
    Home {
        cluster: cluster.parse().unwrap(),
        cluster_set: "prod".parse().unwrap(),
    }
}

fn issuing() -> Arc<Issuing> {
    let home = home("east");
    let now = Clock::start().wall();
    Arc::new(Issuing {
        authority: Authority::create(&home.cluster, &home.cluster_set, now).unwrap(),
        home,
    })
}

async fn bed(standing: Standing) -> Bed {
    let (standing, standing_now) = watch::channel(standing);
    let (recovery, recovery_now) = watch::channel(Recovery::default());
    let (_, gateways) = watch::channel(vec!["192.0.2.1:7444".to_owned()]);
    let clock = Clock::start();
    let service = Arc::new(Service::new(
        Says::default(),
        "causeway-system".parse().unwrap(),
        standing_now,
        recovery,
        gateways,
        clock,
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = PinnedServer::create().unwrap();
    let pin = Pin::from_pem(&server.certificate_pem()).unwrap();
    let serving = service.clone();
    tokio::spawn(async move { run(listener, &server, serving).await });
    Bed {
        standing,
        recovery: recovery_now,
        service,
        at,
        pin,
        clock,
    }
}

impl Bed {
    async fn client(&self) -> EnrolmentClient<Channel> {
        let stream = TcpStream::connect(self.at).await.unwrap();
        let at = GatewayAt::Tcp(self.at.to_string());
        let patience = Patience::both(Duration::from_secs(20));
        enrolment_over(&at, stream, &self.pin, patience)
            .await
            .unwrap()
    }

    async fn asks(&self, token: &str, role: &str, held_epoch: Option<u64>) -> String {
        let request = LeafRequest::new().unwrap();
        let request = TokenEnrolment {
            token: token.to_owned(),
            csr: request.csr().to_vec(),
            role: role.to_owned(),
            held_epoch,
        };
        let mut client = self.client().await;
        let reply = client.enroll(pb::TokenEnrollRequest::from(&request)).await;
        match reply.map(|reply| TokenEnrolReply::try_from(reply.into_inner()).unwrap()) {
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
            Ok(TokenEnrolReply::WantState) => "wants state".to_owned(),
            Ok(TokenEnrolReply::Enrolled(enrolled)) => {
                let leaf = enrolled.certificate.chain.first().unwrap().clone();
                let name = causeway_certs::cert::peer_name(&leaf.into(), &enrolled.cluster_set);
                format!("{} {:?}", name.unwrap(), enrolled.gateways)
            }
        }
    }

    async fn offers(&self, token: &str, state: &LeaderState) -> Result<(), Status> {
        let offer = Offer {
            token: token.to_owned(),
            role: "gateway/w1".to_owned(),
            epoch: 7,
            state: state.clone(),
        };
        let mut client = self.client().await;
        client.offer(pb::OfferRequest::from(&offer)).await.map(drop)
    }
}

#[tokio::test]
async fn each_gets_its_own_and_refusals_are_final() {
    let bed = bed(Standing::Ready(issuing())).await;
    assert_eq!(
        bed.asks("agent w1", "agent/w1", None).await,
        "spiffe://east.prod/agent/w1 [\"192.0.2.1:7444\"]"
    );
    assert_eq!(
        bed.asks("agent w1", "agent/w2", None).await,
        "PermissionDenied: \"agent/w2\" was asked for, but the token is that of agent/w1"
    );
    // An API server that does not say the node: by the pod.
    assert_eq!(
        bed.asks("gateway old", "gateway/w9", Some(4)).await,
        "spiffe://east.prod/gateway/w9 [\"192.0.2.1:7444\"]"
    );
    assert!(
        bed.asks("gateway old", "gateway/w1", None)
            .await
            .starts_with("PermissionDenied")
    );
    assert!(
        bed.asks("expired", "agent/w1", None)
            .await
            .starts_with("PermissionDenied")
    );
    assert_eq!(
        bed.asks("down", "agent/w1", None).await,
        "Unavailable: the token cannot be reviewed now: connection refused"
    );
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let bed = bed(Standing::Ready(issuing())).await;
    let token = "x".repeat(causeway_proto::limits::SERVICE_TOKEN_BYTES + 1);
    assert!(
        bed.asks(&token, "agent/w1", None)
            .await
            .starts_with("InvalidArgument")
    );
    let token = "x".repeat(1 << 20);
    assert!(
        bed.asks(&token, "agent/w1", None)
            .await
            .starts_with("OutOfRange")
    );
    // Nobody wants an offer while there is a CA.
    assert_eq!(
        bed.offers(&token, &LeaderState::default())
            .await
            .unwrap_err()
            .code(),
        Code::OutOfRange
    );
    assert_eq!(bed.service.reviewer.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn without_a_ca_gateways_bring_it_or_have_it_made() {
    let bed = bed(Standing::Absent("no CA yet".to_owned(), Some(home("east")))).await;
    assert_eq!(
        bed.asks("agent w1", "agent/w1", None).await,
        "Unavailable: no CA yet"
    );
    assert_eq!(
        bed.asks("gateway w1", "gateway/w1", Some(7)).await,
        "wants state"
    );
    // Only a gateway's word counts, and only its own.
    let lost = issuing();
    let state = LeaderState {
        authority: Some(lost.authority.material().clone()),
        ..LeaderState::default()
    };
    assert_eq!(
        bed.offers("agent w1", &state).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    assert_eq!(
        bed.offers("gateway w2", &state).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    bed.offers("gateway w1", &state).await.unwrap();
    let later = bed.clock.mono_ms() + crate::recovery::SETTLE_MS;
    assert_eq!(bed.recovery.borrow().decide(later), Decision::Adopt(state));
    // It waits for what becomes of that.
    let (asked, ()) = tokio::join!(bed.asks("gateway w1", "gateway/w1", Some(7)), async {
        tokio::task::yield_now().await;
        bed.standing.send_replace(Standing::Ready(lost));
    });
    assert!(
        asked.starts_with("spiffe://east.prod/gateway/w1"),
        "{asked}"
    );
}

#[tokio::test]
async fn what_another_cluster_left_is_no_offer() {
    let bed = bed(Standing::Absent("no CA yet".to_owned(), Some(home("west")))).await;
    assert_eq!(
        bed.asks("gateway w1", "gateway/w1", Some(7)).await,
        "wants state"
    );
    let state = LeaderState {
        authority: Some(issuing().authority.material().clone()),
        ..LeaderState::default()
    };
    let told = bed.offers("gateway w1", &state).await.unwrap_err();
    assert_eq!(told.code(), Code::FailedPrecondition);
    let later = bed.clock.mono_ms() + crate::recovery::SETTLE_MS;
    let new = Decision::New(LeaderState::default());
    assert_eq!(bed.recovery.borrow().decide(later), new);
}

#[tokio::test]
async fn a_standby_without_a_ca_says_so() {
    let bed = bed(Standing::Standby).await;
    for role in ["gateway/w1", "agent/w1"] {
        let token = role.replace('/', " ");
        let told = bed.asks(&token, role, None).await;
        assert!(
            told.starts_with("Unavailable: this controller is not the active one"),
            "{told}"
        );
    }
    assert_eq!(bed.recovery.borrow().clone(), Recovery::default());
    assert!(bed.clock.wall() > Timestamp(0));
}
