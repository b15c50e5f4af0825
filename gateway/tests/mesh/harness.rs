//! Gateways in this process, each with its own state directory, all ports free ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::{self, GatewayAt};
use causeway_gateway::app::{self, Running};
use causeway_gateway::config::Config;
use causeway_proto::model::{
    Affinity, Endpoint, EndpointPort, EndpointState, Export, ExportPort, Exports,
    InternalTrafficPolicy, IpFamily, Locality, LossPolicy, Node, Protocol, Publication, Timestamp,
    View, Workload,
};
use causeway_proto::wire::pb;
use tempfile::TempDir;
use tonic::transport::Channel;

/// Longer than anything waits for: a whole lease.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Cluster {
    running: Option<Running>,
    config: Config,
    dir: Arc<TempDir>,
}

fn config(cluster: &str, gateway: &str, dir: &Path, more: &str) -> Config {
    let dir = dir.display();
    let text = format!(
        "
cluster: {cluster}
clusterset: test
name: {gateway}
node: {gateway}
listen:
  session: 127.0.0.1:0
  local: 127.0.0.1:0
  socket: {dir}/{gateway}/sock
  dns: ['127.0.0.1:0']
  metrics: 127.0.0.1:0
advertise: {{session: '127.0.0.1:0', tunnel: 127.0.0.1, local: '127.0.0.1:0'}}
state_dir: {dir}/{gateway}
{more}"
    );
    Config::parse(Path::new("test.yaml"), &text, |_| None).unwrap()
}

impl Cluster {
    pub async fn start(cluster: &str, gateway: &str) -> Self {
        Self::start_with(cluster, gateway, "encryption: off").await
    }

    /// With these lines of configuration.
    pub async fn start_with(cluster: &str, gateway: &str, more: &str) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = config(cluster, gateway, dir.path(), more);
        Self::launch(config, dir).await
    }

    /// A gateway whose leader is appointed; `enrolment` says how it gets its certificate.
    pub async fn appointed(cluster: &str, gateway: &str, enrolment: &str) -> Self {
        let started = Self::try_appointed(cluster, gateway, enrolment).await;
        started.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same; what it says when it cannot start.
    pub async fn try_appointed(
        cluster: &str,
        gateway: &str,
        enrolment: &str,
    ) -> Result<Self, String> {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let more = format!("leadership: controller\n{enrolment}");
        let config = config(cluster, gateway, dir.path(), &more);
        Self::try_launch(config, dir).await
    }

    async fn launch(config: Config, dir: Arc<TempDir>) -> Self {
        let started = Self::try_launch(config, dir).await;
        started.unwrap_or_else(|why| panic!("{why}"))
    }

    async fn try_launch(mut config: Config, dir: Arc<TempDir>) -> Result<Self, String> {
        let running = app::start(config.clone()).await;
        let running = running.map_err(|error| format!("{error:#}"))?;
        // The same ports after a restart.
        config.listen.session = running.addresses.session;
        config.listen.local = running.addresses.local;
        Ok(Self {
            running: Some(running),
            config,
            dir,
        })
    }

    /// A second gateway, enrolled by a file.
    pub async fn follower(&self, name: &str) -> Self {
        let mut admin = pb::admin::admin_client::AdminClient::new(self.socket().await);
        let request = pb::admin::EnrollRequest {
            role: pb::admin::Role::Gateway.into(),
            name: name.to_owned(),
            ttl_secs: 0,
        };
        let file = admin.enroll(request).await.unwrap().into_inner().file;
        let path = self.dir.path().join(format!("{name}.enroll"));
        causeway_certs::files::write_private(&path, file.as_bytes()).unwrap();
        let more = format!(
            "encryption: off\nleader: {}\nleader_address: {}\nenroll_file: {}\n",
            self.config.name,
            self.running().addresses.local,
            path.display()
        );
        let config = config(self.config.cluster.as_str(), name, self.dir.path(), &more);
        Self::launch(config, Arc::clone(&self.dir)).await
    }

    pub fn name(&self) -> causeway_proto::model::GatewayName {
        self.config.name.clone()
    }

    /// `HOST:PORT` of the local service.
    pub fn local(&self) -> String {
        self.running().addresses.local.to_string()
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn state_dir(&self) -> PathBuf {
        self.config.state_dir.clone()
    }

    pub async fn stop(mut self) {
        self.running.take().unwrap().stop().await;
    }

    /// As by SIGTERM.
    pub async fn drain(mut self) {
        let running = self.running.take().unwrap();
        running.drain().await;
        running.stop().await;
    }

    /// As `kill -9`: nobody is told.
    pub fn kill(&mut self) {
        self.running = None;
    }

    pub async fn restart(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        let config = self.config.clone();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match app::start(config.clone()).await {
                Ok(running) => {
                    self.running = Some(running);
                    return;
                }
                Err(e) if tokio::time::Instant::now() > deadline => panic!("{e:#}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub async fn socket(&self) -> Channel {
        channel(self.running().addresses.socket.clone()).await
    }

    pub async fn publish(&self, exports: Exports) {
        let publication = Publication {
            exports,
            ..Publication::default()
        };
        let mut client = pb::local::local_client::LocalClient::new(self.socket().await);
        let request = pb::local::PublishRequest::from((7, &publication));
        let requests = futures::stream::iter([request]);
        let mut replies = client.publish(requests).await.unwrap().into_inner();
        let reply = replies.message().await.unwrap().unwrap();
        assert_eq!(reply.sequence, 7);
        assert!(reply.problems.is_empty(), "{:?}", reply.problems);
    }

    pub fn state_is_kept(&self) -> bool {
        // The file is locked by the gateway; its catalogs are there when the facts say so and a second has passed.
        let facts = self.running().core.facts();
        let all = facts.peers.values().all(|p| p.held.is_some());
        all && facts
            .peers
            .values()
            .flat_map(|p| p.sessions.iter())
            .all(|s| app::wall_clock().since(s.since) > 2_500)
    }
}

async fn channel(path: PathBuf) -> Channel {
    let socket = GatewayAt::Unix(path);
    dial::channel(&socket, None, app::PATIENCE).await.unwrap()
}

/// `a` issues a token, `b` redeems it.
pub async fn pair(a: &Cluster, b: &Cluster) {
    let mut admin = pb::admin::admin_client::AdminClient::new(a.socket().await);
    let request = pb::admin::CreateTokenRequest {
        ttl_secs: 0,
        for_cluster: None,
    };
    let token = admin
        .create_token(request)
        .await
        .unwrap()
        .into_inner()
        .token;
    let mut admin = pb::admin::admin_client::AdminClient::new(b.socket().await);
    let request = pb::admin::JoinRequest {
        token,
        dry_run: false,
    };
    let reply = admin.join(request).await.unwrap().into_inner();
    assert!(reply.joined, "{reply:?}");
}

/// Waits for a View that is so.
pub async fn until(cluster: &Cluster, what: &str, is: impl Fn(&View) -> bool) -> Arc<View> {
    let mut views = cluster.running().core.views();
    let found = async {
        loop {
            let view = views.borrow_and_update().clone();
            if is(&view) {
                return view;
            }
            views.changed().await.unwrap();
        }
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(view) => view,
        Err(_) => panic!("not seen: {what}\n{}", cluster.running().core.view()),
    }
}

/// Waits for something that no View tells.
pub async fn eventually(what: &str, is: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is() {
        assert!(tokio::time::Instant::now() < deadline, "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `shop/cart` on port 80 with these endpoints; without any, nothing.
pub fn exports(node: &str, endpoints: &[&str]) -> Exports {
    let node: causeway_proto::model::NodeName = node.parse().unwrap();
    let endpoint = |address: &&str| Endpoint {
        address: address.parse().unwrap(),
        hostname: None,
        node: Some(node.clone()),
        zone: None,
        state: EndpointState::Ready,
        ports: vec![EndpointPort {
            protocol: Protocol::Tcp,
            port: 80,
            target: 8080,
        }],
    };
    let export = Export {
        created: Timestamp(1),
        headless: false,
        ports: vec![ExportPort {
            name: None,
            protocol: Protocol::Tcp,
            port: 80,
            app_protocol: None,
        }],
        affinity: Affinity::None,
        internal_traffic_policy: InternalTrafficPolicy::Cluster,
        traffic_distribution: None,
        ip_families: vec![IpFamily::IPv4],
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        locality: Locality::LocalFirst,
        on_loss: LossPolicy::Withdraw,
        weight: 1,
        endpoints: endpoints.iter().map(endpoint).collect(),
    };
    let workload = |address: &&str| {
        let workload = Workload {
            namespace: "shop".parse().unwrap(),
            name: format!("cart-{}", address.replace('.', "-")),
            service_account: "cart".to_owned(),
            labels: BTreeMap::new(),
            node: Some(node.clone()),
        };
        (address.parse().unwrap(), workload)
    };
    let services = (!endpoints.is_empty()).then(|| ("shop/cart".parse().unwrap(), export));
    Exports {
        services: services.into_iter().collect(),
        workloads: endpoints.iter().map(workload).collect(),
        namespaces: BTreeMap::from([("shop".parse().unwrap(), BTreeMap::new())]),
        nodes: BTreeMap::from([(
            node.clone(),
            Node {
                addresses: vec!["127.0.0.1".parse().unwrap()],
                pod_prefixes: vec!["10.244.0.0/16".parse().unwrap()],
                zone: None,
            },
        )]),
    }
}
