//! Shell: the ways between this gateway and its peers, tried at both ends: it dials every gateway of a peer by UDP and by TCP,
//! asks the pods' resolver for a name of the clusterset, and asks the other side over the session to do the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use causeway_certs::tls::Tls;
use causeway_dns::ask::{NAME, answered, question};
use causeway_proto::model::{Check, CheckKind, ClusterId, Diagnosis, GatewayName, Outcome};
use futures::StreamExt as _;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::handle::{Core, Input};
use super::{random_u64, wall_clock};
use crate::config::Config;
use crate::diagnose::{self, Reached};
use crate::transport::{DialError, Transport};

/// Addresses that are dialled at one time.
const AT_ONCE: usize = 16;
/// A reply takes milliseconds; a resolver waits for its upstream a second or two.
const REPLY: Duration = Duration::from_secs(3);
/// What the other side may take: its own probes, and the way there and back.
const OTHER_SIDE: Duration = Duration::from_secs(12);
/// Servers of a resolver that are asked, as resolv.conf(5) bounds them.
const SERVERS: usize = 3;
/// Port of DNS.
const DNS: u16 = 53;

/// A gateway that was asked; nothing comes where it cannot be asked.
pub type Asked = (ClusterId, GatewayName, oneshot::Receiver<Vec<Check>>);

/// Where the gateways of peers are.
#[derive(Debug, Default)]
pub struct PeerGateways {
    /// Where each peer's gateways are.
    pub gateways: BTreeMap<ClusterId, Vec<(Option<GatewayName>, String)>>,
    /// Those that have a session, when they were to be asked.
    pub asked: Vec<Asked>,
}

/// What it takes.
#[derive(Debug, Clone)]
pub struct Diagnosing {
    core: Core,
    transport: Transport,
    tls: Tls,
    gateway: GatewayName,
    /// A file as resolv.conf(5), with the servers that pods ask.
    resolver: PathBuf,
    /// One at a time: it is for people, and dials.
    place: Arc<Semaphore>,
}

/// Why there is no diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDiagnosis {
    /// Another one runs.
    #[error("another diagnosis runs on this gateway; try again in some seconds")]
    Busy,
    /// No such peer.
    #[error("{0} is not a peer of this cluster; `causeway peers` lists them")]
    NoPeer(ClusterId),
}

impl Diagnosing {
    /// Of one gateway.
    #[must_use]
    pub fn new(core: Core, transport: Transport, tls: &Tls, config: &Config) -> Self {
        Self {
            core,
            transport,
            tls: tls.clone(),
            gateway: config.name.clone(),
            resolver: config.resolver.clone(),
            place: Arc::new(Semaphore::new(1)),
        }
    }

    /// Answers peers, for ever.
    pub async fn answer(self, mut questions: mpsc::Receiver<ClusterId>) {
        while let Some(cluster) = questions.recv().await {
            let gateways = self.gateways(Some(&cluster), false).await;
            let mut checks = self.here(Some(&cluster), &gateways).await;
            // What else is wrong here may name other clusters.
            checks.retain(diagnose::is_for_peers);
            self.core.tell(Input::Diagnosed(cluster, checks)).await;
        }
    }

    /// This side, then what the gateways of each peer find.
    ///
    /// # Errors
    /// When it runs already, or there is no such peer.
    pub async fn everywhere(
        &self,
        peer: Option<&ClusterId>,
    ) -> Result<Vec<Diagnosis>, NoDiagnosis> {
        let _place = self.place.try_acquire().map_err(|_| NoDiagnosis::Busy)?;
        if let Some(peer) = peer
            && !self.core.trust().bundles.contains_key(peer)
        {
            return Err(NoDiagnosis::NoPeer(peer.clone()));
        }
        let mut gateways = self.gateways(peer, true).await;
        let asked = std::mem::take(&mut gateways.asked);
        let (own, theirs) = tokio::join!(self.here(peer, &gateways), answers(asked));
        let cluster = self.core.view().cluster.clone();
        let mut all = vec![Diagnosis {
            cluster,
            checks: own,
        }];
        for cluster in gateways.gateways.into_keys() {
            let checks = theirs.get(&cluster).cloned();
            let checks = checks.unwrap_or_else(|| {
                let why = "it has no session with this gateway, so its side cannot be asked";
                let check = Check::passed(CheckKind::Session, cluster.to_string(), why);
                vec![check.but(Outcome::Skipped, "run `causeway doctor` there too")]
            });
            all.push(Diagnosis { cluster, checks });
        }
        Ok(all)
    }

    async fn gateways(&self, peer: Option<&ClusterId>, ask: bool) -> PeerGateways {
        let peer = peer.cloned();
        let found = self
            .core
            .ask(|reply| Input::PeerGateways(peer, ask, reply))
            .await;
        found.unwrap_or_default()
    }

    /// What this gateway finds.
    async fn here(&self, peer: Option<&ClusterId>, peers: &PeerGateways) -> Vec<Check> {
        let (reached, names) = tokio::join!(self.reach(peers), self.names());
        let (view, facts, now) = (self.core.view(), self.core.facts(), wall_clock());
        let nothing = Default::default();
        let mut checks = Vec::new();
        for id in peers.gateways.keys() {
            let known = facts.peers.get(id).unwrap_or(&nothing);
            let reached = reached.get(id).map(Vec::as_slice).unwrap_or_default();
            checks.extend(diagnose::peer(id, &view, known, reached, now));
        }
        checks.extend(names);
        let place = format!("gateway {}", self.gateway);
        let (mut agents, own): (Vec<_>, Vec<_>) =
            diagnose::own(&self.gateway, &view, &facts, peer, now)
                .into_iter()
                .partition(|check| check.kind != CheckKind::Certificate);
        checks.extend(own);
        let mut checks: Vec<_> = checks.into_iter().map(|c| c.at(place.clone())).collect();
        checks.append(&mut agents);
        checks
    }

    async fn reach(&self, peers: &PeerGateways) -> BTreeMap<ClusterId, Vec<Reached>> {
        let targets = peers.gateways.iter().flat_map(|(id, gateways)| {
            let each = gateways.iter();
            each.map(move |(name, address)| (id.clone(), name.clone(), address.clone()))
        });
        let targets: Vec<_> = targets.collect();
        let probes = targets.into_iter();
        let probes = probes.map(|(id, name, address)| self.clone().probe(id, name, address));
        let mut all: BTreeMap<ClusterId, Vec<Reached>> = BTreeMap::new();
        let mut done = futures::stream::iter(probes).buffered(AT_ONCE);
        while let Some((id, reached)) = done.next().await {
            all.entry(id).or_default().push(reached);
        }
        all
    }

    async fn probe(
        self,
        id: ClusterId,
        gateway: Option<GatewayName>,
        address: String,
    ) -> (ClusterId, Reached) {
        let why = |error: DialError| error.to_string();
        let (udp, tcp) = match self.tls.peer_client(&id) {
            Ok(tls) => {
                let tls = Arc::new(tls);
                let udp = self.transport.probe_udp(&address, Arc::clone(&tls));
                let tcp = self.transport.probe_tcp(&address, tls);
                let (udp, tcp) = tokio::join!(udp, tcp);
                (udp.map_err(why), tcp.map_err(why))
            }
            Err(error) => (Err(error.to_string()), Err(error.to_string())),
        };
        let reached = Reached {
            address,
            gateway,
            udp,
            tcp,
        };
        (id, reached)
    }

    /// Whether each server of the resolver answers for the clusterset.
    async fn names(&self) -> Vec<Check> {
        let file = self.resolver.display();
        let text = match tokio::fs::read_to_string(&self.resolver).await {
            Ok(text) => text,
            Err(error) => {
                let check = Check::passed(CheckKind::Dns, file.to_string(), error.to_string());
                return vec![check.but(Outcome::Skipped, "")];
            }
        };
        let mut checks = Vec::new();
        for server in servers(&text) {
            let subject = format!("{} by {}", NAME.trim_end_matches('.'), server.ip());
            let check = |message| Check::passed(CheckKind::Dns, subject.clone(), message);
            checks.push(match ask_name(server).await {
                Ok(()) => check("answered".to_owned()),
                Err(why) => check(why.to_string()).but(
                    Outcome::Failed,
                    "pods that ask this resolver find no name of the clusterset: let it forward clusterset.local to this cluster's gateways (CoreDNS: chart value dns.coredns; elsewhere: Service causeway-dns)",
                ),
            });
        }
        if checks.is_empty() {
            let check = Check::passed(CheckKind::Dns, file.to_string(), "it names no server");
            checks.push(check.but(Outcome::Skipped, ""));
        }
        checks
    }
}

/// What each answers, in time.
async fn answers(asked: Vec<Asked>) -> BTreeMap<ClusterId, Vec<Check>> {
    let waits = asked
        .into_iter()
        .map(|(cluster, gateway, answer)| async move {
            let found = tokio::time::timeout(OTHER_SIDE, answer).await;
            let nothing = |why: &str| {
                let check = Check::passed(CheckKind::Session, "this question", why);
                vec![
                    check
                        .but(Outcome::Skipped, "run `causeway doctor` there too")
                        .at(format!("gateway {gateway}")),
                ]
            };
            let checks = match found {
                Ok(Ok(checks)) => checks,
                Ok(Err(_)) => nothing("it cannot be asked: it is of an older version, or has gone"),
                Err(_) => nothing("it has not answered in time"),
            };
            (cluster, checks)
        });
    let mut all: BTreeMap<ClusterId, Vec<Check>> = BTreeMap::new();
    for (cluster, checks) in futures::future::join_all(waits).await {
        let known = all.entry(cluster).or_default();
        // Each gateway has the same word of the agents.
        let new = checks.into_iter().filter(|check| !known.contains(check));
        let new: Vec<_> = new.collect();
        known.extend(new);
    }
    all
}

/// Servers that a file as resolv.conf(5) names.
fn servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver");
        let address: IpAddr = address.and(words.next())?.parse().ok()?;
        Some(SocketAddr::new(address, DNS))
    });
    lines.take(SERVERS).collect()
}

async fn ask_name(server: SocketAddr) -> anyhow::Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let id = u16::try_from(random_u64() & 0xffff)?;
    let question = question(id).context("no question")?;
    socket.send(&question).await?;
    let mut reply = [0; 512];
    let length = tokio::time::timeout(REPLY, socket.recv(&mut reply))
        .await
        .map_err(|_| anyhow::anyhow!("no reply within {} s", REPLY.as_secs()))??;
    let reply = reply.get(..length).unwrap_or_default();
    Ok(answered(id, reply)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_a_resolver() {
        let text = "# pods'\nsearch a.b\nnameserver 10.96.0.10\n nameserver  fd00::a # two\nnameserver x\noptions ndots:5\n";
        let all: Vec<_> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["10.96.0.10:53", "[fd00::a]:53"]);
        assert_eq!(servers(&"nameserver 1.1.1.1\n".repeat(9)).len(), SERVERS);
    }
}
