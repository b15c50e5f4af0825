//! Shell: builds every task of a gateway, says when it is ready and where it is bound, and stops it in order.

mod carry;
mod clock;
mod core;
mod device;
mod diagnose;
mod dial;
mod handle;
mod health;
mod own;
mod packets;
mod peers;
mod places;
mod reset;
mod scrape;
mod sessions;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use causeway_certs::dial::Patience;
use causeway_certs::files::private_dir;
use causeway_certs::serve::SocketFile;
use causeway_proto::limits::VIEW_BYTES;
use causeway_proto::model::{ClusterId, Report};
use causeway_proto::wire::{DESCRIPTORS, pb};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::admin::{AdminService, CertificateService};
use crate::api::{self, LocalService, StatusService};
use crate::config::{Config, Leadership};
use crate::follow;
use crate::join::link::Joining;
use crate::transport::{CONNECT_TIMEOUT, Link, Transport, WINDOW};
use crate::tunnel::counts::Counts;

use self::core::{Driver, Shown};
pub use self::diagnose::{Diagnosing, NoDiagnosis};
use self::health::Health;
use self::packets::Threads;
use self::sessions::Sessions;

pub use self::clock::{Clock, random_u64, wall_clock};
use self::handle::Watched;
pub use self::handle::{Core, Input, Leading, NotLeader, Opened, SessionId};
pub use self::own::OwnKeys;
use crate::engine::Restored;

/// Connections that have come up and are not yet served.
const LINKS: usize = 16;
/// Reports on their way to the leader.
const REPORTS: usize = 256;
/// Peers that wait for an answer; each takes seconds.
const QUESTIONS: usize = 8;
/// How often a caller of the local service must show that it is there: a follower that is cut off must not hold up
/// the leader.
const ALIVE: Duration = Duration::from_secs(1);
/// Calls at one time on one connection of the local service: a watch, a report, a question, and room.
const CALLS: u32 = 16;
/// How long the leader may take to answer.
pub const PATIENCE: Patience = Patience {
    connect: CONNECT_TIMEOUT,
    // It asks its followers before a certificate's secret is spent.
    answer: Duration::from_secs(30),
};
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// What last frames have to leave the process.
const LEAVING: Duration = Duration::from_millis(100);
/// How long a leader that is about to stop waits for the controller to appoint another.
const HANDING_OVER: Duration = Duration::from_secs(5);
/// How long the endpoints of a Service and every node's proxy may take to forget a pod that goes.
const SERVING_ON: Duration = Duration::from_secs(5);

/// How long agents and peers may take to send their packets by other gateways.
const CARRYING_ON: Duration = Duration::from_secs(1);

/// Where a gateway is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// UDP: sessions and joins.
    pub session: SocketAddr,
    /// TCP: local service.
    pub local: SocketAddr,
    /// Unix socket.
    pub socket: PathBuf,
    /// UDP and TCP of each DNS address.
    pub dns: Vec<(SocketAddr, SocketAddr)>,
    /// TCP: metrics, where they are shown.
    pub metrics: Option<SocketAddr>,
}

/// A gateway that is ready. It ends when this is dropped; [`Running::stop`] says goodbye first.
pub struct Running {
    /// Where it is bound.
    pub addresses: Addresses,
    /// To its core.
    pub core: Core,
    /// Its leader is.
    appointed: bool,
    transport: Transport,
    tasks: JoinSet<()>,
    _threads: Threads,
    _health: Health,
    _dns: Vec<causeway_dns::Serving>,
    _sockets: [SocketFile; 2],
}

impl Running {
    /// Says goodbye to peers, then ends.
    pub async fn stop(mut self) {
        let (done, said) = oneshot::channel();
        self.core.tell(Input::Stop(done)).await;
        let _ = tokio::time::timeout(GOODBYE, said).await;
        // The streams end when their last frames are on the way.
        tokio::time::sleep(LEAVING).await;
        self.transport.close().await;
        self.tasks.shutdown().await;
    }

    /// Says that this gateway goes, and serves on for those who have not heard yet: agents and peers send their packets by
    /// other gateways then, another one leads, and Kubernetes takes a moment to send questions elsewhere.
    pub async fn drain(&self) {
        self.core.tell(Input::Drain).await;
        if self.appointed {
            tokio::join!(self.hand_over(), tokio::time::sleep(SERVING_ON));
        } else if self.core.view().gateways.len() > 1 {
            tokio::time::sleep(CARRYING_ON).await;
        }
    }

    async fn hand_over(&self) {
        let mut leadings = self.core.leadings();
        let over = leadings.wait_for(|now| !now.leads || now.controllers == 0);
        if tokio::time::timeout(HANDING_OVER, over).await.is_err() {
            tracing::warn!("no other gateway was appointed; the catalog is frozen until one is");
        }
    }

    /// Waits until a task that should not end has ended.
    pub async fn failed(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Err(error)) => error.to_string(),
            _ => "a task of the gateway has ended".to_owned(),
        }
    }
}

/// Starts everything; comes back when it serves.
///
/// # Errors
/// When files, addresses or certificates cannot be had; the message says what to check.
pub async fn start(mut config: Config) -> Result<Running, anyhow::Error> {
    let clock = Clock::start();
    let health = Health::serve(&config.listen.socket).await?;
    private_dir(&config.state_dir)?;
    let (threads, transport) = sessions_by(&config).await?;
    let listener = TcpListener::bind(config.listen.local)
        .await
        .with_context(|| format!("listen.local {}: cannot be had", config.listen.local))?;
    let bound = (transport.local_address()?, listener.local_addr()?);
    config.advertise.bound(bound.0, bound.1);
    let config = Arc::new(config);
    let (store, restored) = core::open(&config.state_dir, wall_clock())?;
    let store = Arc::new(store);
    let keys = Arc::new(open_keys(&config, &restored).await?);
    let instance = random_u64();
    let (shown, watched, channels) = channels(&config, instance);
    let (inputs, received) = mpsc::channel(handle::INPUTS);
    let core = Core::new(inputs, watched);
    let mut tasks = JoinSet::new();

    let driver = Driver::restore(
        Arc::clone(&config),
        Arc::clone(&keys),
        (store, restored),
        shown,
        clock,
        instance,
    );
    tasks.spawn(driver.run(received));
    let (targets, questions) = (channels.targets, channels.questions);
    let diagnosing = with_peers(&mut tasks, &config, &keys, &core, &transport, targets)?;
    tasks.spawn(diagnosing.clone().answer(questions));
    let path = config.listen.device();
    let to = (&threads, core.clone());
    let (device, carried) = carry(&mut tasks, &path, channels.ways, to).await?;
    let routes = routes(&config, &keys, &core, &transport, diagnosing);
    let socket = serve_local(&mut tasks, &config, &keys, listener, routes).await?;
    let fixed = match &config.leadership {
        Leadership::Other(_, leader) => Some(leader.clone()),
        Leadership::Own | Leadership::Controller => None,
    };
    let (followed, tls) = (core.clone(), keys.tls.clone());
    tasks.spawn(follow::run(followed, tls, fixed, channels.reports));
    let dns = serve_dns(&config, &core).await?;
    let metrics = show_metrics(&mut tasks, &config, &core, (&dns, carried)).await?;
    let renewed = core.clone();
    tasks.spawn(async move { keys.renew(&renewed).await });
    health.serves(&core);
    Ok(Running {
        addresses: Addresses {
            session: bound.0,
            local: bound.1,
            socket: config.listen.socket.clone(),
            dns: dns.iter().map(|s| (s.udp, s.tcp)).collect(),
            metrics,
        },
        core,
        appointed: config.leadership == Leadership::Controller,
        transport,
        tasks,
        _threads: threads,
        _health: health,
        _dns: dns,
        _sockets: [socket, device],
    })
}

/// Sessions and joins, by whoever dials, and what tries the ways there.
fn with_peers(
    tasks: &mut JoinSet<()>,
    config: &Arc<Config>,
    keys: &Arc<OwnKeys>,
    core: &Core,
    transport: &Transport,
    targets: watch::Receiver<Arc<BTreeSet<dial::Target>>>,
) -> Result<Diagnosing, anyhow::Error> {
    let (links, accepted) = mpsc::channel::<Link>(LINKS);
    tasks.spawn(transport.serve(Arc::new(keys.tls.peer_server()?), links)?);
    let sessions = Sessions::new(core.clone(), keys.tls.clone());
    let joining = Joining::new(core.clone(), Arc::clone(config), Arc::clone(keys));
    peers::serve(tasks, accepted, &sessions, &joining);
    let dial = dial::run(core.clone(), transport.clone(), sessions, targets);
    tasks.spawn(dial);
    let (core, transport) = (core.clone(), transport.clone());
    Ok(Diagnosing::new(core, transport, &keys.tls, config))
}

/// What sessions go by, and its threads.
async fn sessions_by(config: &Config) -> Result<(Threads, Transport), anyhow::Error> {
    let reset = reset::secret(&config.state_dir)?;
    let count = config
        .packet_threads
        .map_or_else(packets::usual, |count| count.get().into());
    let threads = Threads::start(count).context("threads for packets")?;
    // A connection is the work of one thread at a time.
    let beside = count.saturating_sub(1);
    let bound = Transport::bind(config.listen.session, &reset, threads.handle(), beside).await;
    let transport = bound
        .with_context(|| format!("listen.session {}: cannot be had", config.listen.session))?;
    threads.idle().add(transport.socket());
    Ok((threads, transport))
}

/// On each address.
async fn serve_dns(
    config: &Config,
    core: &Core,
) -> Result<Vec<causeway_dns::Serving>, anyhow::Error> {
    let mut dns = Vec::new();
    for address in &config.listen.dns {
        let serving = causeway_dns::serve(core.views(), *address, *address).await;
        dns.push(serving.with_context(|| format!("listen.dns {address}: cannot be had"))?);
    }
    Ok(dns)
}

/// Packets between the device that the agent hands over and the sessions.
async fn carry(
    tasks: &mut JoinSet<()>,
    path: &Path,
    ways: watch::Receiver<Arc<carry::Ways>>,
    (threads, core): (&Threads, Core),
) -> Result<(SocketFile, Arc<Counts>), anyhow::Error> {
    let (listener, file) = causeway_certs::serve::unix(path)
        .await
        .with_context(|| format!("listen.device {}: cannot be had", path.display()))?;
    let (lost, device) = watch::channel(None);
    let (carried, mut told) = watch::channel(carry::Carried::default());
    let counts = Arc::new(Counts::default());
    let on = (threads.handle(), threads.idle());
    let take = device::take(listener, lost.clone(), told.clone(), on);
    tasks.spawn(take);
    let carry = carry::run(carry::Carry {
        device,
        lost,
        ways,
        carried,
        counts: Arc::clone(&counts),
    });
    tasks.spawn_on(carry, &threads.handle());
    tasks.spawn(async move {
        while told.changed().await.is_ok() {
            let peers = told.borrow_and_update().clone();
            core.tell(Input::Carried(peers)).await;
        }
    });
    Ok((file, counts))
}

/// Where it is configured.
async fn show_metrics(
    tasks: &mut JoinSet<()>,
    config: &Config,
    core: &Core,
    (dns, carried): (&[causeway_dns::Serving], Arc<Counts>),
) -> Result<Option<SocketAddr>, anyhow::Error> {
    let Some(address) = config.listen.metrics else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen.metrics {address}: cannot be had"))?;
    let bound = listener.local_addr()?;
    let page = scrape::Page {
        core: core.clone(),
        gateway: config.name.clone(),
        dns: dns.iter().map(|s| Arc::clone(&s.counts)).collect(),
        carried,
    };
    tasks.spawn(scrape::run(listener, page));
    Ok(Some(bound))
}

/// Keys, with what a controller that has lost its store would be given for a first certificate.
async fn open_keys(config: &Arc<Config>, restored: &Restored) -> Result<OwnKeys, anyhow::Error> {
    let word = restored.appointment.as_ref();
    let other = word.is_some_and(|word| word.leader != config.name);
    let holding = core::holding(config, restored, wall_clock());
    OwnKeys::open(Arc::clone(config), holding, other, wall_clock()).await
}

/// What single tasks get of the core.
struct Channels {
    targets: watch::Receiver<Arc<BTreeSet<dial::Target>>>,
    ways: watch::Receiver<Arc<carry::Ways>>,
    reports: mpsc::Receiver<Report>,
    questions: mpsc::Receiver<ClusterId>,
}

fn channels(config: &Config, instance: u64) -> (Shown, Watched, Channels) {
    let (view, view_seen) = watch::channel(Arc::new(core::nothing_seen(config, instance)));
    let (facts, facts_seen) = watch::channel(Arc::default());
    let (trust, trust_seen) = watch::channel(Arc::default());
    let (leading, leading_seen) = watch::channel(Arc::default());
    let (targets, targets_seen) = watch::channel(Arc::default());
    let (ways, ways_seen) = watch::channel(Arc::default());
    let (carries, carries_seen) = watch::channel(Arc::default());
    let (reports, reports_seen) = mpsc::channel(REPORTS);
    let (questions, questions_seen) = mpsc::channel(QUESTIONS);
    let shown = Shown {
        view,
        facts,
        trust,
        leading,
        targets,
        ways,
        carries,
        reports,
        questions,
    };
    let watched = Watched {
        view: view_seen,
        facts: facts_seen,
        trust: trust_seen,
        leading: leading_seen,
        carries: carries_seen,
    };
    let channels = Channels {
        targets: targets_seen,
        ways: ways_seen,
        reports: reports_seen,
        questions: questions_seen,
    };
    (shown, watched, channels)
}

fn routes(
    config: &Arc<Config>,
    keys: &Arc<OwnKeys>,
    core: &Core,
    transport: &Transport,
    diagnosing: Diagnosing,
) -> Routes {
    let certificates = Arc::new(CertificateService::new(
        core.clone(),
        Arc::clone(config),
        Arc::clone(keys),
    ));
    let local = LocalService::new(
        core.clone(),
        config.cluster.clone(),
        config.name.clone(),
        certificates,
    );
    let local = pb::local::local_server::LocalServer::new(local)
        .max_decoding_message_size(VIEW_BYTES)
        .max_encoding_message_size(VIEW_BYTES);
    let status = StatusService::new(core.clone(), config.name.clone(), diagnosing);
    let status = pb::status::status_server::StatusServer::new(status);
    let admin = AdminService::new(
        core.clone(),
        Arc::clone(config),
        Arc::clone(keys),
        transport.clone(),
    );
    let admin = pb::admin::admin_server::AdminServer::new(admin);
    let (health, service) = tonic_health::server::health_reporter();
    tokio::spawn(async move {
        health
            .set_service_status("", tonic_health::ServingStatus::Serving)
            .await;
    });
    let mut routes = Routes::builder();
    routes
        .add_service(local)
        .add_service(status)
        .add_service(admin)
        .add_service(service);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1();
    match reflection {
        Ok(reflection) => {
            routes.add_service(reflection);
        }
        Err(error) => tracing::error!(%error, "no reflection"),
    }
    routes.routes()
}

/// The Unix socket and TCP, with the same services.
async fn serve_local(
    tasks: &mut JoinSet<()>,
    config: &Config,
    keys: &OwnKeys,
    listener: TcpListener,
    routes: Routes,
) -> Result<SocketFile, anyhow::Error> {
    let path = &config.listen.socket;
    let (socket, file) = api::unix(path)
        .await
        .with_context(|| format!("listen.socket {}: cannot be had", path.display()))?;
    let tcp = api::tcp(listener, &keys.tls)?;
    let builder = || {
        Server::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_keepalive_interval(Some(ALIVE))
            .http2_keepalive_timeout(Some(ALIVE * 2))
            .max_concurrent_streams(CALLS)
            .layer(api::Bounds)
    };
    let unix = builder()
        .add_routes(routes.clone())
        .serve_with_incoming(ReceiverStream::new(socket));
    let tcp = builder()
        .add_routes(routes)
        .serve_with_incoming(ReceiverStream::new(tcp));
    let told = |ended: Result<(), tonic::transport::Error>| {
        if let Err(error) = ended {
            tracing::error!(%error, "the local service is no longer served");
        }
    };
    tasks.spawn(async move { told(unix.await) });
    tasks.spawn(async move { told(tcp.await) });
    Ok(file)
}
