//! Two and more whole gateways in one process: real sockets on loopback, real files, no kernel and no Kubernetes.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on stops"
)]

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::{self, GatewayAt};
use causeway_certs::enrolment::{CallError, Member};
use causeway_certs::name::Role;
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::token::JoinToken;
use causeway_certs::trust::{Trust, TrustHandle};
use causeway_gateway::app::{self, PATIENCE, Running, wall_clock};
use causeway_gateway::config::Config;
use causeway_gateway::transport::Transport;
use causeway_proto::model::{Preflight, TrustState};
use causeway_proto::wire::pb::{admin, status};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tonic::Code;
use tonic::transport::Channel;

const SOON: Duration = Duration::from_secs(20);

/// One gateway and where it keeps its things.
struct Gateway {
    dir: Arc<TempDir>,
    text: String,
    running: Running,
}

fn free_udp() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn free_tcp() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

async fn boot(cluster: &str, set: &str, name: &str, more: &str) -> Gateway {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let (session, local) = (free_udp(), free_tcp());
    let path = dir.path().display();
    let text = format!(
        "
cluster: {cluster}
clusterset: {set}
name: {name}
node: {name}
state_dir: {path}/state
listen: {{session: '{session}', local: '{local}', socket: '{path}/gateway.sock', dns: []}}
advertise: {{session: '{session}', tunnel: 127.0.0.1, local: '{local}'}}
{more}"
    );
    start(dir, text).await
}

async fn start(dir: Arc<TempDir>, text: String) -> Gateway {
    let config = Config::parse(Path::new("gateway.yaml"), &text, |_| None).unwrap();
    let running = app::start(config).await.unwrap();
    Gateway { dir, text, running }
}

/// Until a predecessor in this process has let go of its port and its files.
async fn start_again(dir: Arc<TempDir>, text: String) -> Gateway {
    let config = Config::parse(Path::new("gateway.yaml"), &text, |_| None).unwrap();
    let started = async {
        loop {
            match app::start(config.clone()).await {
                Ok(running) => return running,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let running = tokio::time::timeout(SOON, started).await.unwrap();
    Gateway { dir, text, running }
}

async fn leader(cluster: &str) -> Gateway {
    let more = "pod_prefixes: [10.244.0.0/16]\n";
    boot(cluster, "prod", &format!("{}1", &cluster[..1]), more).await
}

impl Gateway {
    async fn restart(self) -> Self {
        self.running.stop().await;
        start_again(self.dir, self.text).await
    }

    async fn admin(&self) -> admin::admin_client::AdminClient<Channel> {
        let socket = GatewayAt::Unix(self.running.addresses.socket.clone());
        let channel = dial::channel(&socket, None, PATIENCE).await.unwrap();
        admin::admin_client::AdminClient::new(channel)
    }

    async fn token(&self, for_cluster: Option<&str>) -> String {
        let request = admin::CreateTokenRequest {
            ttl_secs: 0,
            for_cluster: for_cluster.map(str::to_owned),
        };
        let reply = self.admin().await.create_token(request).await.unwrap();
        reply.into_inner().token
    }

    async fn try_join(&self, token: &str, dry_run: bool) -> Result<(bool, Preflight), String> {
        let request = admin::JoinRequest {
            token: token.to_owned(),
            dry_run,
        };
        match self.admin().await.join(request).await {
            Ok(reply) => Ok(reply.into_inner().try_into().unwrap()),
            Err(status) => Err(status.message().to_owned()),
        }
    }

    #[track_caller]
    fn says(result: Result<(bool, Preflight), String>, what: &str) {
        let says = result.unwrap_err();
        assert!(says.contains(what), "{says}\nis not: {what}");
    }

    async fn enrolment(&self, role: admin::Role, name: &str) -> String {
        let request = admin::EnrollRequest {
            role: role.into(),
            name: name.to_owned(),
            ttl_secs: 0,
        };
        let reply = self.admin().await.enroll(request).await.unwrap();
        let path = self.dir.path().join(format!("{name}.json"));
        let text = reply.into_inner().file;
        causeway_certs::files::write_private(&path, text.as_bytes()).unwrap();
        path.display().to_string()
    }

    fn trust(&self) -> Arc<TrustState> {
        self.running.core.trust()
    }

    fn peers(&self) -> Vec<String> {
        let own = self.running.core.view().cluster.to_string();
        peers(&self.trust(), &own)
    }

    /// Waits until it trusts exactly these.
    async fn trusts(&self, expected: &[&str]) {
        let own = self.running.core.view().cluster.to_string();
        let mut trust = self.running.core.trusts();
        let waited = trust.wait_for(|trust| peers(trust, &own) == expected);
        let waited = tokio::time::timeout(SOON, waited).await.is_ok();
        assert!(waited, "{own} trusts {:?}, not {expected:?}", self.peers());
    }

    /// Waits until it has a session with that peer, or knows it no more.
    async fn sees(&self, peer: &str, there: bool) {
        let peer = peer.parse().unwrap();
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let facts = self.running.core.facts();
            let seen = facts.peers.get(&peer);
            if seen.map_or(!there, |seen| there && !seen.sessions.is_empty()) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{peer}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn local(&self) -> GatewayAt {
        GatewayAt::Tcp(self.running.addresses.local.to_string())
    }
}

fn peers(trust: &TrustState, own: &str) -> Vec<String> {
    let peers = trust.bundles.keys().map(ToString::to_string);
    peers.filter(|peer| peer != own).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_pairs_two_clusters_once() {
    let (east, west) = (leader("east").await, leader("west").await);
    let token = east.token(Some("west")).await;

    let (joined, found) = west.try_join(&token, true).await.unwrap();
    assert!(!joined && !found.refused(), "{found:?}");
    assert_eq!(found.peer.cluster.as_str(), "east");
    assert!(found.clock_skew_ms.abs() < 5_000);
    let theirs: Vec<_> = found
        .mappings
        .iter()
        .map(|m| m.theirs.to_string())
        .collect();
    assert_eq!(theirs, ["10.244.0.0/16", "241.0.0.0/16"], "pods and VIPs");
    assert!(found.mappings.iter().all(|m| m.ours != m.theirs));
    assert!(east.peers().is_empty(), "a dry run");

    assert!(west.try_join(&token, false).await.unwrap().0);
    assert_eq!(east.peers(), ["west"]);
    assert_eq!(west.peers(), ["east"]);
    assert!(east.trust().tokens.is_empty());

    // Both have a session, whoever dialled, over which each told how it numbers the other.
    east.sees("west", true).await;
    west.sees("east", true).await;

    let used = "this join token was used before";
    Gateway::says(west.try_join(&token, false).await, used);
    // What was burnt stays burnt, and who was trusted is trusted, after a restart.
    let east = east.restart().await;
    east.trusts(&["west"]).await;
    Gateway::says(west.try_join(&token, true).await, used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_refused() {
    let (east, west) = (leader("east").await, leader("west").await);
    let token = east.token(None).await;
    let mut altered = token.clone();
    altered.replace_range(40..41, if &token[40..41] == "A" { "B" } else { "A" });
    let damaged = "the join token is damaged";
    Gateway::says(west.try_join(&altered, false).await, damaged);
    let own = "this cluster's own id";
    Gateway::says(east.try_join(&token, false).await, own);
    let other = boot("north", "test", "n1", "").await;
    let set = "is for clusterset prod, and this cluster is configured for test";
    Gateway::says(other.try_join(&token, false).await, set);
    let south = east.token(Some("south")).await;
    let cluster = "is for cluster south, and this is west";
    Gateway::says(west.try_join(&south, false).await, cluster);

    let forge = |change: &dyn Fn(&mut JoinToken)| {
        let mut forged = JoinToken::decode(&token).unwrap();
        change(&mut forged);
        forged.encode().to_string()
    };
    let secret = forge(&|t| t.secret = causeway_certs::Secret::new([1; 32]));
    let unknown = "east knows no such join token";
    Gateway::says(west.try_join(&secret, false).await, unknown);
    // To a server of another CA nothing is said.
    let pin = forge(&|t| t.pin.0[0] ^= 1);
    let unpinned = "does not show the CA that the token pins";
    Gateway::says(west.try_join(&pin, false).await, unpinned);
    let lost = forge(&|t| t.gateways = vec![free_udp().to_string()]);
    let nobody = "no gateway of east could be reached";
    Gateway::says(west.try_join(&lost, false).await, nobody);

    assert!(east.peers().is_empty() && west.peers().is_empty());
    assert!(west.try_join(&token, false).await.unwrap().0, "still whole");
}

/// Whoever knows the pin can come so far; it costs no more than their places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_only_hold_the_port_open_are_bounded() {
    let (east, west) = (leader("east").await, leader("west").await);
    let text = east.token(None).await;
    let token = JoinToken::decode(&text).unwrap();
    let transport = Transport::bind(
        "127.0.0.1:0".parse().unwrap(),
        &[7; 32],
        Handle::current(),
        0,
    )
    .await
    .unwrap();
    let config = Arc::new(causeway_certs::tls::join_client(&token).unwrap());
    let mut held = Vec::new();
    let refused = loop {
        let link = transport
            .dial(&token.gateways[0], Arc::clone(&config), false)
            .await;
        let link = link.unwrap();
        // Served connections stay for as long as a join may take.
        let over = tokio::time::timeout(Duration::from_millis(20), link.closed()).await;
        if let Ok(why) = over {
            break why;
        }
        held.push(link);
        assert!(held.len() < 200, "never refused");
    };
    assert!(refused.contains("too many joins"), "{refused}");
    assert!(west.try_join(&text, false).await.is_err());
    for link in held {
        link.close("gone");
    }
    for _ in 0..100 {
        if west
            .try_join(&text, false)
            .await
            .is_ok_and(|(joined, _)| joined)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no place becomes free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_cluster_of_the_same_name() {
    let (east, west) = (leader("east").await, leader("west").await);
    let first = east.token(None).await;
    assert!(west.try_join(&first, false).await.unwrap().0);
    let other = leader("west").await;
    let token = east.token(None).await;
    let (joined, found) = other.try_join(&token, false).await.unwrap();
    assert!(!joined && found.refused());
    let says = &found.findings[0].message;
    assert!(
        says.contains("already has a peer called west with another CA"),
        "{says}"
    );
    assert_eq!(east.trust().tokens.len(), 1, "nothing is burnt");

    // Cut off, the name is free again, for a CA that was not.
    let mut admin = east.admin().await;
    let revoke = |peer: &str| admin::RevokeRequest {
        peer: peer.to_owned(),
    };
    east.sees("west", true).await;
    admin.revoke(revoke("west")).await.unwrap();
    assert!(east.peers().is_empty());
    east.sees("west", false).await;
    let (joined, found) = west.try_join(&token, false).await.unwrap();
    let says = &found.findings[0].message;
    assert!(
        !joined && says.contains("was revoked on east for good"),
        "{says}"
    );
    assert!(other.try_join(&token, false).await.unwrap().0);
    let status = admin.revoke(revoke("south")).await.unwrap_err();
    let says = status.message();
    assert!(says.contains("south is not a peer of east"), "{says}");
}

async fn enrol(gateway: &Gateway, file: &str, role: &str, dir: &str) -> Result<Member, String> {
    let role = Role::parse(role).unwrap();
    let (dir, file) = (gateway.dir.path().join(dir), Some(Path::new(file)));
    let member = dial::member(&dir, &role, file, wall_clock(), &[], PATIENCE).await;
    member.map_err(|e| e.to_string())
}

/// Whether an operator's call and a reader's are let through.
async fn asked(tls: &Tls, at: &GatewayAt) -> (Code, Code) {
    let channel = dial::channel(at, Some(tls), PATIENCE).await.unwrap();
    let mut admin = admin::admin_client::AdminClient::new(channel.clone());
    let token = admin
        .create_token(admin::CreateTokenRequest::default())
        .await;
    let mut reader = status::status_client::StatusClient::new(channel);
    let read = reader.get_status(status::GetStatusRequest::default()).await;
    (
        token.map_or_else(|s| s.code(), |_| Code::Ok),
        read.map_or_else(|s| s.code(), |_| Code::Ok),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_ours_enrol_and_may_do_their_part() {
    let west = leader("west").await;
    let file = west.enrolment(admin::Role::Agent, "w2").await;
    let agent = enrol(&west, &file, "agent/w2", "agent").await.unwrap();
    let says = enrol(&west, &file, "agent/w2", "elsewhere").await;
    let says = says.unwrap_err();
    assert!(says.contains("its file was used before"), "{says}");

    dial::renew(&agent, &[west.local()], PATIENCE)
        .await
        .unwrap();

    let file = west.enrolment(admin::Role::Operator, "ann").await;
    let operator = enrol(&west, &file, "operator/ann", "operator").await;
    let operator = operator.unwrap();
    let nobody = Tls::new(LeafCell::default(), agent.tls.trust.clone());
    let denied = Code::PermissionDenied;
    let address = west.local();
    assert_eq!(asked(&agent.tls, &address).await, (denied, denied));
    assert_eq!(asked(&nobody, &address).await, (denied, denied));
    assert_eq!(asked(&operator.tls, &address).await, (Code::Ok, Code::Ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_another_cluster_is_no_process_of_ours() {
    let (east, west) = (leader("east").await, leader("west").await);
    let token = east.token(None).await;
    assert!(west.try_join(&token, false).await.unwrap().0);
    let file = east.enrolment(admin::Role::Operator, "eve").await;
    let eve = enrol(&east, &file, "operator/eve", "eve").await.unwrap();
    // She takes west's gateways for hers, and still shows an east leaf.
    let bundle = east.trust().bundles[&"west".parse().unwrap()].clone();
    let prod = "prod".parse().unwrap();
    let trust = Trust::own_only(bundle.cluster, prod, &bundle.authorities);
    let tls = Tls::new(eve.tls.leaf.clone(), TrustHandle::new(trust));
    let read = async {
        let channel = dial::channel(&west.local(), Some(&tls), PATIENCE).await?;
        let mut reader = status::status_client::StatusClient::new(channel);
        let read = reader.get_status(status::GetStatusRequest::default());
        Ok::<_, CallError>(read.await?)
    };
    assert!(read.await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_enrols_and_holds_what_the_leader_trusts() {
    let (east, w1) = (leader("east").await, leader("west").await);
    let file = w1.enrolment(admin::Role::Gateway, "w2").await;
    let more = format!(
        "leader: w1\nleader_address: '{}'\nenroll_file: {file}\n",
        w1.local()
    );
    let w2 = boot("west", "prod", "w2", &more).await;
    let token = east.token(None).await;
    Gateway::says(w2.try_join(&token, false).await, "only the leader, w1");
    assert!(w1.try_join(&token, false).await.unwrap().0);
    w2.trusts(&["east"]).await;
    // It has its leaf now, and needs no file any more.
    std::fs::remove_file(&file).unwrap();
    let w2 = w2.restart().await;
    w2.trusts(&["east"]).await;
}
