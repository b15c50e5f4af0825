//! Shell: the gateway's local service: Views come, Reports go, another listed gateway takes over when the
//! one in use is gone. What is programmed stays when all are gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::enrolment::{CallError, EnrolError, Enrolment, Issued, Member, load_or_enrol};
use causeway_certs::name::Role;
use causeway_certs::rustls::pki_types::ServerName;
use causeway_certs::tls::Tls;
use causeway_certs::token;
use causeway_proto::limits::VIEW_BYTES;
use causeway_proto::model::{self, IssuedCertificate, NodeName, Report, View, WatchScope};
use causeway_proto::wire::pb::local::local_client::LocalClient;
use causeway_proto::wire::pb::local::{EnrollRequest, RenewRequest, ReportRequest, WatchRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};

use crate::clock;
use crate::config::{Config, GatewayAt};

/// How long a connection, an enrolment, a renewal or the first View may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// A connection that says nothing for this long is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Pause when no gateway answered.
const PAUSE: Duration = Duration::from_millis(300);
/// How often a preferred gateway is looked for while another one serves.
const LOOK_BACK: Duration = Duration::from_secs(5);
/// Pause after a renewal that failed.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

fn endpoint() -> Endpoint {
    // The address is the connector's; this one only fills the requests' authority.
    Endpoint::from_static("http://gateway")
        .connect_timeout(PATIENCE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

async fn unix(path: PathBuf) -> Result<Channel, CallError> {
    let connect = move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    };
    let connector = tower::service_fn(connect);
    Ok(endpoint().connect_with_connector(connector).await?)
}

async fn tcp(address: std::net::SocketAddr, tls: &Tls) -> Result<Channel, CallError> {
    let connector = TlsConnector::from(Arc::new(tls.local_client()?));
    // Whom it must be the verifier decides by the certificate's SPIFFE name.
    let name = ServerName::try_from("gateway")?;
    let connect = move |_| {
        let (connector, name) = (connector.clone(), name.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    };
    let connector = tower::service_fn(connect);
    Ok(endpoint().connect_with_connector(connector).await?)
}

/// Ways to the gateways, and what proves who we are.
#[derive(Debug)]
pub struct Dialer {
    config: Config,
    /// Got when a gateway over TCP is first needed.
    member: tokio::sync::OnceCell<Member>,
}

impl Dialer {
    /// For the gateways of this file.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            member: tokio::sync::OnceCell::new(),
        }
    }

    async fn client(&self, target: &GatewayAt) -> Result<LocalClient<Channel>, CallError> {
        let channel = match target {
            GatewayAt::Unix(path) => unix(path.clone()).await?,
            GatewayAt::Tcp(address) => {
                let member = self.member.get_or_try_init(|| enrol(&self.config));
                tcp(*address, &member.await?.tls).await?
            }
        };
        Ok(LocalClient::new(channel).max_decoding_message_size(VIEW_BYTES))
    }

    /// Gets the certificate while the one-time file holds, and renews it whenever it is time, for ever.
    pub async fn keep_certificate(&self) {
        let mut targets = self.config.gateways.iter();
        if !targets.any(|target| matches!(target, GatewayAt::Tcp(_))) {
            return;
        }
        let member = loop {
            let enrolled = self.member.get_or_try_init(|| enrol(&self.config));
            match enrolled.await {
                Ok(member) => break member,
                Err(error) => tracing::warn!(error = %Chain(&error), "no certificate yet"),
            }
            tokio::time::sleep(LOOK_BACK).await;
        };
        loop {
            let now = clock::now();
            let due = member.renew_at(now.0).unwrap_or(now);
            tokio::time::sleep(Duration::from_millis(due.since(now))).await;
            match member.renew(|csr| self.renew(csr)).await {
                Ok(()) => tracing::info!("certificate renewed"),
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "certificate not renewed");
                    tokio::time::sleep(RENEW_AGAIN).await;
                }
            }
        }
    }

    async fn renew(&self, csr: Vec<u8>) -> Result<Issued, CallError> {
        let mut last: CallError = "no gateway is reached over TCP".into();
        let targets = self.config.gateways.iter();
        for target in targets.filter(|t| matches!(t, GatewayAt::Tcp(_))) {
            let request = RenewRequest { csr: csr.clone() };
            let call = async {
                let mut client = self.client(target).await?;
                let reply = client.renew(request).await?.into_inner();
                Ok::<_, CallError>(issued(IssuedCertificate::try_from(reply)?))
            };
            match tokio::time::timeout(PATIENCE, call).await {
                Ok(Ok(issued)) => return Ok(issued),
                Ok(Err(error)) => last = error,
                Err(late) => last = late.into(),
            }
        }
        Err(last)
    }
}

fn issued(certificate: IssuedCertificate) -> Issued {
    Issued {
        chain: certificate.chain,
        authorities: certificate.authorities,
    }
}

/// Only the leader enrols, and any of the listed gateways may be it.
async fn enrol(config: &Config) -> Result<Member, EnrolError> {
    let role = Role::parse(&format!("agent/{}", config.node))?;
    let call = async |tls: Tls, enrolment: Enrolment, csr: Vec<u8>| {
        let request = model::Enrolment {
            id: token::id(&enrolment.secret),
            secret: enrolment.secret.expose().to_vec(),
            csr,
        };
        let mut last: CallError = "no gateway is listed".into();
        for target in &config.gateways {
            match tokio::time::timeout(PATIENCE, enrol_at(target, &tls, &request)).await {
                Ok(Ok(issued)) => return Ok(issued),
                Ok(Err(error)) => last = error,
                Err(late) => last = late.into(),
            }
        }
        Err(last)
    };
    let file = config.enrolment.as_deref();
    let dir = config.state_dir.clone().unwrap_or_default();
    load_or_enrol(&dir, &role, file, clock::now(), call).await
}

async fn enrol_at(
    target: &GatewayAt,
    tls: &Tls,
    request: &model::Enrolment,
) -> Result<Issued, CallError> {
    let channel = match target {
        GatewayAt::Unix(path) => unix(path.clone()).await?,
        GatewayAt::Tcp(address) => tcp(*address, tls).await?,
    };
    let reply = LocalClient::new(channel)
        .enroll(EnrollRequest::from(request))
        .await?;
    Ok(issued(reply.into_inner().try_into()?))
}

/// Watches Views and sends Reports, by whichever gateway answers, the first listed one preferred, until
/// nobody wants Views any more.
pub async fn run(
    dialer: &Dialer,
    views: watch::Sender<Option<Arc<View>>>,
    mut reports: watch::Receiver<Option<Report>>,
) {
    let mut told = None;
    while !views.is_closed() {
        for (place, target) in dialer.config.gateways.iter().enumerate() {
            let preferred = dialer.config.gateways.get(..place).unwrap_or_default();
            match session(dialer, target, preferred, &views, &mut reports).await {
                Ok(()) => break,
                Err(error) => {
                    let text = format!("{target}: {}", Chain(error.as_ref()));
                    if told.as_ref() != Some(&text) {
                        tracing::warn!(gateway = %target, error = %Chain(error.as_ref()), "no View");
                        told = Some(text);
                    }
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// With one gateway; `Ok` when a preferred one is back.
async fn session(
    dialer: &Dialer,
    target: &GatewayAt,
    preferred: &[GatewayAt],
    views: &watch::Sender<Option<Arc<View>>>,
    reports: &mut watch::Receiver<Option<Report>>,
) -> Result<(), CallError> {
    let node: NodeName = dialer.config.node.clone();
    let connect = async {
        let mut client = dialer.client(target).await?;
        let request = WatchRequest::from(&WatchScope::Node(node));
        let watched = client.watch(request).await?.into_inner();
        Ok::<_, CallError>((client, watched))
    };
    let (mut client, mut watched) = tokio::time::timeout(PATIENCE, connect).await??;
    tracing::info!(gateway = %target, "watching");
    let mut look_back = tokio::time::interval(LOOK_BACK);
    loop {
        tokio::select! {
            reply = watched.next() => {
                let reply = reply.ok_or("the gateway closed the stream")??;
                let view = View::try_from(reply)?;
                tracing::debug!(revision = ?view.revision, "view");
                views.send_replace(Some(Arc::new(view)));
            }
            changed = reports.changed() => {
                changed?;
                let request = reports.borrow_and_update().as_ref().map(ReportRequest::from);
                if let Some(request) = request {
                    tokio::time::timeout(PATIENCE, client.report(request)).await??;
                }
            }
            _ = look_back.tick(), if !preferred.is_empty() => {
                for gateway in preferred {
                    let back = tokio::time::timeout(PATIENCE, dialer.client(gateway)).await;
                    if matches!(back, Ok(Ok(_))) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// An error with its causes, on one line.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
