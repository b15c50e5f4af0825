//! The link against a leader, on a Unix socket and over TCP with mutual TLS: what it publishes, again,
//! newest first, to whom.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::ca::Authority;
use causeway_certs::enrolment::{Enrolment, Home};
use causeway_certs::files::write_private;
use causeway_certs::name::{PeerName, Role};
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::trust::{Trust, TrustHandle};
use causeway_certs::{Secret, token};
use causeway_controller::config::Config;
use causeway_controller::dial::dialer;
use causeway_controller::link;
use causeway_proto::model::{
    ClusterId, ClusterSet, IssuedCertificate, Problem, ProblemKind, Publication, Timestamp,
};
use causeway_proto::wire::pb::local::local_server::{Local, LocalServer};
use causeway_proto::wire::pb::local::{
    EnrollReply, EnrollRequest, FollowReply, FollowRequest, LeadReply, LeadRequest, PublishReply,
    PublishRequest, RenewReply, RenewRequest, ReportReply, ReportRequest, WatchCarriersReply,
    WatchCarriersRequest, WatchReply, WatchRequest,
};
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Tells what is published; answers `answers` of them on one stream, then closes it.
struct Leader {
    seen: mpsc::Sender<(u64, Publication)>,
    answers: usize,
    follower: bool,
    authority: Option<Arc<Authority>>,
}

#[tonic::async_trait]
impl Local for Leader {
    type PublishStream = Replies<PublishReply>;
    type FollowStream = Replies<FollowReply>;
    type LeadStream = Replies<LeadReply>;
    type WatchStream = Replies<WatchReply>;
    type WatchCarriersStream = Replies<WatchCarriersReply>;

    async fn publish(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        if self.follower {
            return Err(Status::failed_precondition("this gateway follows w1"));
        }
        let mut requests = request.into_inner();
        let (replies, answers) = mpsc::channel(1);
        let (seen, mut left) = (self.seen.clone(), self.answers);
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let sequence = request.sequence;
                seen.send(request.try_into().unwrap()).await.unwrap();
                if left == 0 {
                    return;
                }
                left -= 1;
                let reply = PublishReply {
                    sequence,
                    ..PublishReply::default()
                };
                replies.send(Ok(reply)).await.unwrap();
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn follow(
        &self,
        _: Request<Streaming<FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        panic!("a controller does not follow")
    }

    async fn lead(
        &self,
        _: Request<Streaming<LeadRequest>>,
    ) -> Result<Response<Self::LeadStream>, Status> {
        panic!("a controller of manifests appoints nobody")
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        panic!("a controller of manifests does not watch")
    }

    async fn watch_carriers(
        &self,
        _: Request<WatchCarriersRequest>,
    ) -> Result<Response<Self::WatchCarriersStream>, Status> {
        panic!("a controller of manifests does not watch")
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportReply>, Status> {
        panic!("a controller does not report")
    }

    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollReply>, Status> {
        let request = request.into_inner();
        assert_eq!(request.id, token::id(&secret()).0.to_vec());
        assert_eq!(request.secret, secret().expose());
        let role = Role::parse("controller/main").unwrap();
        let name = PeerName::new(east(), prod(), role).unwrap();
        let authority = self.authority.as_ref().unwrap();
        let issued = IssuedCertificate {
            chain: authority.issue(&request.csr, &name, now()).unwrap(),
            authorities: vec![authority.certificate().to_vec()],
        };
        Ok(Response::new((&issued).into()))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        panic!("no certificate here grows old")
    }
}

struct Running {
    seen: mpsc::Receiver<(u64, Publication)>,
    task: JoinHandle<()>,
}

fn lead(socket: &Path, answers: usize, follower: bool) -> Running {
    let _ = std::fs::remove_file(socket);
    let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    let (sender, seen) = mpsc::channel(16);
    let leader = Leader {
        seen: sender,
        answers,
        follower,
        authority: None,
    };
    let server = Server::builder()
        .add_service(LocalServer::new(leader))
        .serve_with_incoming(incoming);
    let task = tokio::spawn(async move { server.await.unwrap() });
    Running { seen, task }
}

impl Running {
    /// The next publication's sequence and mark.
    async fn next(&mut self) -> (u64, String) {
        let next = tokio::time::timeout(Duration::from_secs(10), self.seen.recv());
        let (sequence, publication) = next.await.expect("nothing is published").unwrap();
        (
            sequence,
            publication.problems.first().unwrap().subject.clone(),
        )
    }
}

fn marked(mark: &str) -> Arc<Publication> {
    let problem = Problem {
        kind: ProblemKind::BadObject,
        subject: mark.to_owned(),
        message: "m".to_owned(),
    };
    Arc::new(Publication {
        problems: vec![problem],
        ..Publication::default()
    })
}

/// Publishes to the sockets until the sender is gone.
async fn link_to(sockets: &[&Path]) -> (watch::Sender<Arc<Publication>>, JoinHandle<()>) {
    let gateways: Vec<String> = sockets
        .iter()
        .map(|socket| format!("'unix:{}'", socket.display()))
        .collect();
    let text = format!(
        "cluster: east\nstate_dir: s\ngateways: [{}]\n",
        gateways.join(", ")
    );
    let config = Config::parse("test", &text).unwrap();
    let dialer = dialer(&config, || Timestamp(0)).await.unwrap();
    let (sender, receiver) = watch::channel(marked("first"));
    let task = tokio::spawn(async move { link::run(&dialer, receiver).await });
    (sender, task)
}

#[tokio::test]
async fn changes_go_out_in_turn_and_the_end_is_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("gw.sock");
    let mut leader = lead(&socket, usize::MAX, false);
    let (sender, task) = link_to(&[&socket]).await;
    assert_eq!(leader.next().await, (1, "first".to_owned()));
    sender.send_replace(marked("second"));
    assert_eq!(leader.next().await, (2, "second".to_owned()));
    drop(sender);
    tokio::time::timeout(Duration::from_secs(10), task)
        .await
        .unwrap()
        .unwrap();
    assert!(leader.seen.try_recv().is_err());
}

#[tokio::test]
async fn a_leader_that_comes_back_is_told_anew() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("gw.sock");
    // Before there is a leader.
    let (sender, _task) = link_to(&[&socket]).await;
    let mut leader = lead(&socket, 1, false);
    assert_eq!(leader.next().await, (1, "first".to_owned()));
    // It does not answer the second and closes the stream: a new stream begins with the newest.
    sender.send_replace(marked("second"));
    assert_eq!(leader.next().await, (2, "second".to_owned()));
    assert_eq!(leader.next().await, (1, "second".to_owned()));
    leader.task.abort();
    let _ = leader.task.await;
    sender.send_replace(marked("third"));
    let mut again = lead(&socket, usize::MAX, false);
    assert_eq!(again.next().await, (1, "third".to_owned()));
}

#[tokio::test]
async fn a_follower_refuses_and_the_leader_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("1.sock"), dir.path().join("2.sock"));
    let _follower = lead(&first, 0, true);
    let mut leader = lead(&second, usize::MAX, false);
    let (_sender, _task) = link_to(&[&first, &second]).await;
    assert_eq!(leader.next().await, (1, "first".to_owned()));
}

fn east() -> ClusterId {
    "east".parse().unwrap()
}

fn prod() -> ClusterSet {
    "prod".parse().unwrap()
}

fn secret() -> Secret {
    Secret::new([9; 32])
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(since.as_millis().try_into().unwrap())
}

/// Connections that have passed the handshake, decrypted.
fn decrypted(
    listener: TcpListener,
    acceptor: TlsAcceptor,
) -> ReceiverStream<std::io::Result<DuplexStream>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let (mut ours, theirs) = duplex(1 << 16);
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut ours).await });
            sender.send(Ok(theirs)).await.unwrap();
        }
    });
    ReceiverStream::new(receiver)
}

#[tokio::test]
async fn over_tcp_it_enrols_first_and_keeps_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::open(&dir.path().join("ca"), &east(), &prod(), now()).unwrap();
    let roots = vec![authority.certificate().to_vec()];
    let role = Role::parse("gateway/e1").unwrap();
    let leaf = LeafCell::new(&authority.own_leaf(role, now()).unwrap()).unwrap();
    let trust = TrustHandle::new(Trust::own_only(east(), prod(), &roots));
    let acceptor = TlsAcceptor::from(Arc::new(Tls::new(leaf, trust).local_server().unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, mut seen) = mpsc::channel(16);
    let leader = Leader {
        seen: sender,
        answers: usize::MAX,
        follower: false,
        authority: Some(Arc::new(authority)),
    };
    let server = Server::builder()
        .add_service(LocalServer::new(leader))
        .serve_with_incoming(decrypted(listener, acceptor));
    tokio::spawn(async move { server.await.unwrap() });

    let enrolment = dir.path().join("enrol.json");
    let role = Role::parse("controller/main").unwrap();
    let home = Home::new(east(), prod(), &role, &roots, vec![address.clone()]);
    let content = Enrolment {
        home,
        secret: secret(),
        expires: Timestamp(now().0 + 60_000),
    };
    write_private(&enrolment, content.render().unwrap().as_bytes()).unwrap();
    let (state, file) = (dir.path().join("s"), enrolment.display().to_string());
    let text = format!(
        "cluster: east\ngateways: ['127.0.0.1:1', '{address}']\nstate_dir: {}\nenrolment: {file}\n",
        state.display()
    );
    let config = Config::parse("test", &text).unwrap();

    // Nobody is at the first address: whichever of those listed leads is asked.
    for _ in 0..2 {
        let dialer = dialer(&config, now).await.unwrap();
        let (sender, receiver) = watch::channel(marked("over TLS"));
        let task = tokio::spawn(async move { link::run(&dialer, receiver).await });
        let next = tokio::time::timeout(Duration::from_secs(10), seen.recv());
        assert_eq!(next.await.unwrap().unwrap().1, *marked("over TLS"));
        drop(sender);
        task.await.unwrap();
        // The second time there is no file, and none is needed.
        let _ = std::fs::remove_file(&enrolment);
    }

    let other = Config::parse("test", &text.replace("cluster: east", "cluster: west")).unwrap();
    let error = dialer(&other, now).await.unwrap_err().to_string();
    assert!(error.contains("cluster west"), "{error}");
}
