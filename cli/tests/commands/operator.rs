//! An operator far from the gateway: a one-time file becomes a certificate, and that opens the gateway.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use causeway_certs::Secret;
use causeway_certs::ca::Authority;
use causeway_certs::enrolment::{Enrolment, Home};
use causeway_certs::files::write_private;
use causeway_certs::name::{PeerName, Role};
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::token;
use causeway_certs::trust::{Trust, TrustHandle};
use causeway_proto::model::{ClusterId, ClusterSet, IssuedCertificate, Timestamp};
use causeway_proto::wire::pb::local as pb;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use crate::fake::Gateway;
use crate::told;

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(since.as_millis().try_into().unwrap())
}

pub fn west() -> (ClusterId, ClusterSet) {
    ("west".parse().unwrap(), "demo".parse().unwrap())
}

/// The leader's CA, and a secret that is good once.
pub struct Signer {
    pub authority: Authority,
    secret: Secret,
}

impl Signer {
    pub fn new(dir: &Path) -> Self {
        let (cluster, set) = west();
        Self {
            authority: Authority::open(dir, &cluster, &set, now()).unwrap(),
            secret: Secret::random().unwrap(),
        }
    }

    pub fn roots(&self) -> Vec<Vec<u8>> {
        vec![self.authority.certificate().to_vec()]
    }

    fn file(&self, role: &str, address: &str) -> Enrolment {
        let (cluster, set) = west();
        let role = Role::parse(role).unwrap();
        Enrolment {
            home: Home::new(cluster, set, &role, &self.roots(), vec![address.to_owned()]),
            secret: self.secret.clone(),
            expires: Timestamp(now().0 + 60_000),
        }
    }

    pub fn tls(&self) -> Tls {
        let (cluster, set) = west();
        let leaf = self
            .authority
            .own_leaf(Role::Gateway("w1".parse().unwrap()), now())
            .unwrap();
        let trust = Trust::own_only(cluster, set, &self.roots());
        Tls::new(LeafCell::new(&leaf).unwrap(), TrustHandle::new(trust))
    }
}

#[tonic::async_trait]
impl pb::local_server::Local for Signer {
    type PublishStream = Empty<Result<pb::PublishReply, Status>>;
    type FollowStream = Empty<Result<pb::FollowReply, Status>>;
    type LeadStream = Empty<Result<pb::LeadReply, Status>>;
    type WatchStream = Empty<Result<pb::WatchReply, Status>>;
    type WatchCarriersStream = Empty<Result<pb::WatchCarriersReply, Status>>;

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

    async fn lead(
        &self,
        _: Request<Streaming<pb::LeadRequest>>,
    ) -> Result<Response<Self::LeadStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch(
        &self,
        _: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch_carriers(
        &self,
        _: Request<pb::WatchCarriersRequest>,
    ) -> Result<Response<Self::WatchCarriersStream>, Status> {
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
        request: Request<pb::EnrollRequest>,
    ) -> Result<Response<pb::EnrollReply>, Status> {
        let request = request.into_inner();
        if request.id != token::id(&self.secret).0 || request.secret != self.secret.expose() {
            return Err(Status::permission_denied("this enrolment is not open"));
        }
        let (cluster, set) = west();
        let name = PeerName::new(cluster, set, Role::parse("operator/ann").unwrap()).unwrap();
        let issued = IssuedCertificate {
            chain: self.authority.issue(&request.csr, &name, now()).unwrap(),
            authorities: self.roots(),
        };
        Ok(Response::new((&issued).into()))
    }

    async fn renew(
        &self,
        _: Request<pb::RenewRequest>,
    ) -> Result<Response<pb::RenewReply>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// TLS in front of the fake gateway's socket; its address.
pub fn tls_front(tls: &Tls, socket: std::path::PathBuf) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = TlsAcceptor::from(Arc::new(tls.local_server().unwrap()));
    let serve = async move {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(pass(acceptor.clone(), tcp, socket.clone()));
        }
    };
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(serve);
    });
    address
}

async fn pass(acceptor: TlsAcceptor, tcp: TcpStream, socket: std::path::PathBuf) {
    let Ok(mut tls) = acceptor.accept(tcp).await else {
        return;
    };
    let mut gateway = UnixStream::connect(socket).await.unwrap();
    tokio::io::copy_bidirectional(&mut tls, &mut gateway)
        .await
        .ok();
}

fn causeway(identity: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_causeway"))
        .env_clear()
        .args(args)
        .arg("--identity")
        .arg(identity)
        .output()
        .unwrap()
}

#[test]
fn login_and_look() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::new(&dir.path().join("ca"));
    let tls = signer.tls();
    let roots = Signer::new(&dir.path().join("ca"));
    let secret = signer.secret.clone();
    let gateway = Gateway::start_with(Some(signer), None);
    let address = tls_front(&tls, gateway.socket());
    let enrolment = Enrolment {
        secret,
        ..roots.file("operator/ann", &address)
    };
    let file = dir.path().join("ann.enroll");
    write_private(&file, enrolment.render().unwrap().as_bytes()).unwrap();

    let identity = dir.path().join("ann");
    let login = causeway(&identity, &["login", file.to_str().unwrap()]);
    let said = told(&login, dir.path());
    assert!(login.status.success(), "{said}");
    assert!(said.contains("operator/ann of west"), "{said}");

    let drops = causeway(&identity, &["--server", &address, "drops"]);
    let said = told(&drops, dir.path());
    assert!(said.contains("UnlistedSource"), "{said}");
}

#[test]
fn a_file_for_an_agent() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::new(&dir.path().join("ca"));
    let file = dir.path().join("w1.enroll");
    let text = signer.file("agent/w1", "127.0.0.1:1").render().unwrap();
    write_private(&file, text.as_bytes()).unwrap();
    let output = causeway(&dir.path().join("ann"), &["login", file.to_str().unwrap()]);
    assert_eq!(
        told(&output, dir.path()),
        "--- stderr\ncauseway: DIR/w1.enroll is for agent/w1, not for an operator\n  check: give it to that process\n--- exit 1\n"
    );
}

#[test]
fn a_server_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::new(&dir.path().join("ca"));
    let file = dir.path().join("ann.enroll");
    let text = signer.file("operator/ann", "127.0.0.1:1").render().unwrap();
    write_private(&file, text.as_bytes()).unwrap();
    let output = causeway(&dir.path().join("ann"), &["login", file.to_str().unwrap()]);
    let said = told(&output, dir.path());
    assert!(
        said.contains("127.0.0.1:1") && said.contains("is the gateway running"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(3));
}
