//! A Kubernetes cluster that is not there: an API server that answers what it is told to and forwards ports over
//! WebSockets as a kubelet does, with an enrolment service and a gateway behind it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use causeway_certs::name::{PeerName, Role};
use causeway_certs::tls::PinnedServer;
use causeway_proto::model::{Enrolled, IssuedCertificate};
use causeway_proto::wire::pb::enrolment as pb;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role as End;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::fake::Gateway;
use crate::operator::{Signer, now, tls_front, west};

/// Answers by method and path; what is not there is not found.
type Answers = Arc<Mutex<BTreeMap<String, (u16, Value)>>>;

const CORE: &str = "/api/v1/namespaces/causeway-system";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/causeway-system/leases";

/// Runs until the test is over.
pub struct Cluster {
    dir: TempDir,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
    _gateway: Gateway,
}

impl Cluster {
    /// With all that an installation has.
    pub fn start() -> Self {
        Self::start_under("w2")
    }

    /// With a gateway `w2` that knows this one as the leader.
    pub fn start_under(leader: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::start_under(leader);
        let signer = Signer::new(&dir.path().join("ca"));
        let local = tls_front(&signer.tls(), gateway.socket());
        let pinned = PinnedServer::create().unwrap();
        let pin = pinned.certificate_pem();
        let enrolment = listener();
        let api = listener();
        let server = format!("http://{}", api.local_addr().unwrap());
        let answers = Answers::default();
        let asked = Arc::default();
        let ports = Ports {
            enrolment: enrolment.local_addr().unwrap().to_string(),
            local,
        };
        let serve = {
            let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
            async move {
                tokio::spawn(enrol(enrolment, pinned, signer));
                let api = TcpListener::from_std(api).unwrap();
                while let Ok((stream, _)) = api.accept().await {
                    let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                    tokio::spawn(connection(stream, answers, asked, ports.clone()));
                }
            }
        };
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(serve);
        });
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "east",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "east", "context": {"cluster": "c"}},
                         {"name": "west", "context": {"cluster": "c"}}],
        });
        std::fs::write(dir.path().join("config"), kubeconfig.to_string()).unwrap();
        let cluster = Self {
            dir,
            answers,
            asked,
            _gateway: gateway,
        };
        cluster.installed(&pin);
        cluster
    }

    fn installed(&self, pin: &str) {
        self.answer(
            &format!("POST {CORE}/serviceaccounts/causeway-operator/token"),
            200,
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
                   "spec": {"audiences": ["causeway"]},
                   "status": {"token": "of-the-account", "expirationTimestamp": "2026-11-26T12:00:00Z"}}),
        );
        self.answer(
            &format!("GET {CORE}/configmaps/causeway-enrolment"),
            200,
            json!({"metadata": {"name": "causeway-enrolment"}, "data": {"ca.crt": pin}}),
        );
        self.lease("causeway-controller", "controller-a_k3x9");
        self.lease("causeway-leader", "w2");
        self.pods(&[
            ("controller-a", "controller", "w1"),
            ("gateway-1", "gateway", "w2"),
        ]);
    }

    /// Answers that from now on.
    pub fn answer(&self, question: &str, code: u16, body: Value) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(question.to_owned(), (code, body));
    }

    /// Who holds it.
    pub fn lease(&self, name: &str, holder: &str) {
        let lease = json!({"metadata": {"name": name}, "spec": {"holderIdentity": holder}});
        self.answer(&format!("GET {LEASES}/{name}"), 200, lease);
    }

    /// These run: name, component, node.
    pub fn pods(&self, pods: &[(&str, &str, &str)]) {
        let pods = pods.iter().map(|(name, component, node)| {
            json!({"metadata": {"name": name, "labels": {
                       "app.kubernetes.io/name": "causeway", "app.kubernetes.io/component": component}},
                   "spec": {"nodeName": node, "containers": []}, "status": {"phase": "Running"}})
        });
        let list = json!({"metadata": {}, "items": pods.collect::<Vec<_>>()});
        self.answer(&format!("GET {CORE}/pods"), 200, list);
    }

    /// As an API server refuses.
    pub fn refuse(&self, question: &str, code: u16, reason: &str, message: &str) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                            "message": message, "reason": reason, "code": code});
        self.answer(question, code, status);
    }

    /// What was asked so far, sorted.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs the program with this kubeconfig and nothing else.
    pub fn causeway(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_causeway"))
            .env_clear()
            .env("USER", "ann")
            .env("KUBECONFIG", self.dir.path().join("config"))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn listener() -> std::net::TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

#[derive(Clone)]
struct Ports {
    enrolment: String,
    local: String,
}

/// One connection of a client: requests one after another, the last perhaps a port-forward.
async fn connection(
    mut stream: TcpStream,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
    ports: Ports,
) {
    while let Some((head, _body)) = request(&mut stream).await {
        let line = head.lines().next().unwrap_or_default();
        let (method, target) = line.split_once(' ').unwrap();
        let target = target.split_once(' ').unwrap().0;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let question = format!("{method} {path}");
        asked.lock().unwrap().push(
            format!("{question}?{query}")
                .trim_end_matches('?')
                .to_owned(),
        );
        let told = answers.lock().unwrap().get(&question).cloned();
        if told.is_none() && path.ends_with("/portforward") {
            let port = query.rsplit_once("ports=").unwrap().1.parse().unwrap();
            return forward(stream, &head, port, &ports).await;
        }
        let (code, body) = told.unwrap_or_else(|| {
            let message = format!("{path} not found");
            (
                404,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                         "message": message, "reason": "NotFound", "code": 404}),
            )
        });
        let body = body.to_string();
        let reply = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Head and body.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = header(&head, "content-length").map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut pairs = head.lines().filter_map(|line| line.split_once(": "));
    let found = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(found.1.to_owned())
}

/// Channel 0 carries bytes, channel 1 the word of who forwards; each begins with the port.
async fn forward(mut stream: TcpStream, head: &str, port: u16, ports: &Ports) {
    let key = derive_accept_key(header(head, "sec-websocket-key").unwrap().as_bytes());
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {key}\r\nsec-websocket-protocol: v4.channel.k8s.io\r\n\r\n"
    );
    stream.write_all(reply.as_bytes()).await.unwrap();
    let mut socket = WebSocketStream::from_raw_socket(stream, End::Server, None).await;
    let [low, high] = port.to_le_bytes();
    for channel in [0, 1] {
        socket
            .send(Message::binary(vec![channel, low, high]))
            .await
            .unwrap();
    }
    let target = match port {
        7445 => &ports.enrolment,
        7444 => &ports.local,
        _ => {
            let word = [b"\x01".as_slice(), b"connection refused"].concat();
            socket.send(Message::binary(word)).await.unwrap();
            return;
        }
    };
    let mut pod = TcpStream::connect(target).await.unwrap();
    let mut buffer = vec![0; 32 << 10];
    loop {
        tokio::select! {
            read = pod.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    let bytes = [&[0], &buffer[..n]].concat();
                    if socket.send(Message::binary(bytes)).await.is_err() { break }
                }
            },
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) if bytes[0] == 0 => {
                    if pod.write_all(&bytes[1..]).await.is_err() { break }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    socket.close(None).await.ok();
}

struct Enrolment(Signer);

#[tonic::async_trait]
impl pb::enrolment_server::Enrolment for Enrolment {
    async fn enroll(
        &self,
        request: Request<pb::TokenEnrollRequest>,
    ) -> Result<Response<pb::TokenEnrollReply>, Status> {
        let request = request.into_inner();
        if request.token != "of-the-account" {
            return Err(Status::permission_denied("the token is not good"));
        }
        let (cluster, cluster_set) = west();
        let role = Role::parse(&request.role).unwrap();
        assert_eq!(request.role, "operator/ann");
        let name = PeerName::new(cluster.clone(), cluster_set.clone(), role).unwrap();
        let reply = causeway_proto::model::TokenEnrolReply::Enrolled(Enrolled {
            certificate: IssuedCertificate {
                chain: self.0.authority.issue(&request.csr, &name, now()).unwrap(),
                authorities: self.0.roots(),
            },
            cluster,
            cluster_set,
            gateways: Vec::new(),
        });
        Ok(Response::new((&reply).into()))
    }

    async fn offer(
        &self,
        _: Request<pb::OfferRequest>,
    ) -> Result<Response<pb::OfferReply>, Status> {
        Err(Status::unimplemented(""))
    }
}

async fn enrol(listener: std::net::TcpListener, pinned: PinnedServer, signer: Signer) {
    let listener = TcpListener::from_std(listener).unwrap();
    let incoming = causeway_certs::serve::tls(listener, pinned.config().unwrap(), |_| Ok(()));
    let service = pb::enrolment_server::EnrolmentServer::new(Enrolment(signer));
    Server::builder()
        .add_service(service)
        .serve_with_incoming(tokio_stream::wrappers::ReceiverStream::new(incoming))
        .await
        .unwrap();
}

/// Times are not the same twice.
pub fn timeless(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" s  ") {
        Some((time, rest)) if time.starts_with("causeway: ") => format!("causeway: TIME  {rest}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}
