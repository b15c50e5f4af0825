//! Shell: connections to a gateway's local service, and the certificate for those over TCP.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::enrolment::{CallError, EnrolError, Enrolment, Issued, Member, load_or_enrol};
use causeway_certs::name::Role;
use causeway_certs::rustls::pki_types::ServerName;
use causeway_certs::tls::Tls;
use causeway_certs::token;
use causeway_proto::model::{self, IssuedCertificate, Timestamp};
use causeway_proto::wire::pb::local::local_client::LocalClient;
use causeway_proto::wire::pb::local::{EnrollRequest, RenewRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::config::{Config, Target};

/// How long a connection, an enrolment or a renewal may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection that says nothing for this long is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
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

async fn tcp(address: String, tls: &Tls) -> Result<Channel, CallError> {
    let connector = TlsConnector::from(Arc::new(tls.local_client()?));
    // Whom it must be the verifier decides by the certificate's SPIFFE name.
    let name = ServerName::try_from("gateway")?;
    let connect = move |_| {
        let (address, connector, name) = (address.clone(), connector.clone(), name.clone());
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
    targets: Vec<Target>,
    member: Option<Member>,
}

impl Dialer {
    /// Loads the certificate, or gets the first one, when a gateway is reached over TCP.
    ///
    /// # Errors
    /// When there is no certificate and none to be had, or it is another cluster's.
    pub async fn new(config: &Config, now: Timestamp) -> Result<Self, EnrolError> {
        let mut addresses = config.gateways.iter().filter_map(|target| match target {
            Target::Tcp(address) => Some(address.clone()),
            Target::Unix(_) => None,
        });
        let member = match addresses.next() {
            None => None,
            Some(first) => Some(enrol(config, first, now).await?),
        };
        if let Some(member) = member.as_ref().filter(|m| m.home.cluster != config.cluster) {
            return Err(EnrolError::OtherRole {
                path: config.state_dir.join("leaf.pem"),
                found: format!("a controller of cluster {}", member.home.cluster),
                expected: format!("one of cluster {}", config.cluster),
            });
        }
        Ok(Self {
            targets: config.gateways.clone(),
            member,
        })
    }

    /// Where gateways are.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// A client of the local service there.
    ///
    /// # Errors
    /// When nobody answers, or somebody else.
    pub async fn client(&self, target: &Target) -> Result<LocalClient<Channel>, CallError> {
        let channel = match (target, &self.member) {
            (Target::Unix(path), _) => unix(path.clone()).await?,
            (Target::Tcp(address), Some(member)) => tcp(address.clone(), &member.tls).await?,
            (Target::Tcp(_), None) => return Err("there is no certificate for TCP".into()),
        };
        Ok(LocalClient::new(channel))
    }

    /// Renews the certificate whenever it is time, for ever; at once over without one.
    pub async fn keep_certificate(&self, mut clock: impl FnMut() -> Timestamp) {
        let Some(member) = &self.member else {
            return;
        };
        loop {
            let now = clock();
            // One controller a cluster: there is no herd to spread.
            let due = member.renew_at(0).unwrap_or(now);
            tokio::time::sleep(Duration::from_millis(due.since(now))).await;
            match member.renew(|csr| self.renew(csr)).await {
                Ok(()) => tracing::info!("certificate renewed"),
                Err(error) => {
                    tracing::warn!(%error, "certificate not renewed");
                    tokio::time::sleep(RENEW_AGAIN).await;
                }
            }
        }
    }

    async fn renew(&self, csr: Vec<u8>) -> Result<Issued, CallError> {
        let mut last: CallError = "no gateway is reached over TCP".into();
        for target in self.targets.iter().filter(|t| matches!(t, Target::Tcp(_))) {
            let request = RenewRequest { csr: csr.clone() };
            let call = async {
                let mut client = self.client(target).await?;
                let reply = client.renew(request).await?.into_inner();
                Ok::<_, CallError>(issued(IssuedCertificate::try_from(reply)?))
            };
            match tokio::time::timeout(PATIENCE, call).await {
                Ok(Ok(issued)) => return Ok(issued),
                Ok(Err(error)) => last = error,
                Err(_) => last = "no answer in 5 s".into(),
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

async fn enrol(config: &Config, address: String, now: Timestamp) -> Result<Member, EnrolError> {
    let name = config.name.as_ref().map_or("main", |name| name.as_str());
    let role = Role::parse(&format!("controller/{name}"))?;
    let call = async |tls: Tls, enrolment: Enrolment, csr: Vec<u8>| {
        let request = model::Enrolment {
            id: token::id(&enrolment.secret),
            secret: enrolment.secret.expose().to_vec(),
            csr,
        };
        let call = async {
            let mut client = LocalClient::new(tcp(address, &tls).await?);
            let reply = client.enroll(EnrollRequest::from(&request)).await?;
            Ok::<_, CallError>(issued(reply.into_inner().try_into()?))
        };
        tokio::time::timeout(PATIENCE, call).await?
    };
    let file = config.enrolment.as_deref();
    load_or_enrol(&config.state_dir, &role, file, now, call).await
}
