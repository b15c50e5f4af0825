//! Shell: pods that ask: on each node of both clusters one on the pod network and one on the node's own,
//! made when the first case wants them and used by all.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use super::cluster::Cluster;
use super::expect::{Look, within};
use super::kind::{NAMESPACE, NODE, POD};
use super::said::{Answer, Loss, Reply, Tally};
use super::scene::{Place, Side, Stage};
use super::seen::{self, Pod};
use super::wanted::{self, Server};

/// How long pods may take to serve, image included.
pub const PODS: Duration = Duration::from_secs(60);
/// Port of the clients on a node's own network; nobody else's there.
const HOST_PORT: u16 = 28080;
/// How long one question may take.
const TIMEOUT: &str = "2s";
/// Of one question, with room on both sides of it.
const NEVER_ANSWERED: &str = "1s";

/// A pod that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Where
    pub side: Side,
    /// Its namespace
    pub namespace: String,
    /// Its name
    pub pod: String,
    /// The port that drives it
    pub port: u16,
    /// On which node
    pub node: String,
    /// Whether on the node's own network
    pub host: bool,
}

/// The pods that ask, by side.
#[derive(Default)]
pub struct Clients {
    made: Mutex<Vec<Client>>,
}

impl Clients {
    /// The namespace of a run's clients.
    #[must_use]
    pub fn namespace(run: &str) -> String {
        format!("e2e-clients-{run}")
    }

    /// All of one side; the first call makes those of both.
    fn of(&self, stage: &Stage, side: Side) -> anyhow::Result<Vec<Client>> {
        let mut made = self.made.lock().ok().context("a case fell over clients")?;
        if made.is_empty() {
            let namespace = Clients::namespace(&stage.run);
            let mut all = Vec::new();
            for side in super::scene::BOTH {
                all.extend(make(stage.cluster(side), side, &namespace)?);
            }
            for client in &all {
                wait_for(stage.cluster(client.side), client)?;
            }
            *made = all;
        }
        Ok(made.iter().filter(|c| c.side == side).cloned().collect())
    }

    /// A cluster has lost them: the next case that wants some makes them anew.
    pub fn forget(&self) {
        if let Ok(mut made) = self.made.lock() {
            made.clear();
        }
    }

    /// Removes them.
    pub fn remove(&self, stage: &Stage) -> anyhow::Result<()> {
        let mut made = self.made.lock().ok().context("a case fell over clients")?;
        if made.is_empty() {
            return Ok(());
        }
        made.clear();
        for side in super::scene::BOTH {
            let namespace = Clients::namespace(&stage.run);
            stage.cluster(side).delete(NAMESPACE, "", &namespace)?;
        }
        Ok(())
    }
}

fn make(cluster: &Cluster, side: Side, namespace: &str) -> anyhow::Result<Vec<Client>> {
    cluster.apply("", &wanted::namespace(namespace))?;
    let mut all = Vec::new();
    for node in cluster.list(NODE, "", "")? {
        let name = node.pointer("/metadata/name").and_then(Value::as_str);
        let node = name.context("a node without a name")?;
        for host in [false, true] {
            let port = if host { HOST_PORT } else { wanted::PORT };
            let kind = if host { "host" } else { "pod" };
            let server = Server {
                host,
                ..Server::on(&cluster.context, port).at(node)
            };
            let pod = format!("{kind}-{node}");
            cluster.apply(namespace, &server.pod(&pod))?;
            all.push(Client {
                side,
                namespace: namespace.to_owned(),
                pod,
                port,
                node: node.to_owned(),
                host,
            });
        }
    }
    Ok(all)
}

fn wait_for(cluster: &Cluster, client: &Client) -> anyhow::Result<()> {
    let name = &client.pod;
    within(
        PODS,
        &format!("{name} in {} is ready", cluster.context),
        || {
            let found = cluster.get(POD, &client.namespace, name)?;
            let pod: Pod = match &found {
                Some(value) => seen::read(value)?,
                None => return Ok(Look::No("no such pod".to_owned())),
            };
            Ok(if pod.is_ready() {
                Look::Yes(())
            } else {
                Look::No(format!(
                    "{} {}",
                    pod.status.phase,
                    seen::shown(&pod.status.conditions)
                ))
            })
        },
    )
}

impl Place<'_> {
    /// Clients on the pod network, one a node.
    pub fn clients(&self) -> anyhow::Result<Vec<Client>> {
        let stage = self.scene.stage;
        let mut all = stage.clients.of(stage, self.side)?;
        all.retain(|client| !client.host);
        Ok(all)
    }

    /// Clients on the nodes' own network.
    pub fn host_clients(&self) -> anyhow::Result<Vec<Client>> {
        let stage = self.scene.stage;
        let mut all = stage.clients.of(stage, self.side)?;
        all.retain(|client| client.host);
        Ok(all)
    }

    /// A client on the pod network.
    pub fn client(&self) -> anyhow::Result<Client> {
        let all = self.clients()?;
        let first = all.into_iter().next();
        first.with_context(|| format!("{self}: a cluster without nodes"))
    }

    /// A client of this case alone, in its own namespace.
    pub fn own_client(&self, name: &str, node: Option<&str>) -> anyhow::Result<Client> {
        let mut server = Server::on(&self.cluster.context, wanted::PORT);
        if let Some(node) = node {
            server = server.at(node);
        }
        self.apply(&server.pod(name))?;
        let mut client = Client {
            side: self.side,
            namespace: self.namespace.clone(),
            pod: name.to_owned(),
            port: wanted::PORT,
            node: String::new(),
            host: false,
        };
        wait_for(self.cluster, &client)?;
        let pod: Pod = seen::read(&self.must_get(POD, name)?)?;
        client.node = pod.spec.node_name;
        Ok(client)
    }
}

impl Client {
    fn ask(&self, stage: &Stage, path: &str, pairs: &[(&str, &str)]) -> anyhow::Result<Value> {
        let cluster = stage.cluster(self.side);
        cluster.ask(&self.namespace, &self.pod, self.port, path, pairs)
    }

    fn questions(
        &self,
        stage: &Stage,
        protocol: &str,
        to: &str,
        count: u32,
        timeout: &str,
    ) -> anyhow::Result<Tally> {
        let count = count.to_string();
        let pairs = [
            ("proto", protocol),
            ("to", to),
            ("count", count.as_str()),
            ("timeout", timeout),
        ];
        let answers: Vec<Answer> = Vec::deserialize(self.ask(stage, "dial", &pairs)?)?;
        Ok(Tally::of(&answers))
    }

    /// So many questions over `tcp` or `udp`, each over a connection of its own.
    pub fn dial(
        &self,
        stage: &Stage,
        protocol: &str,
        to: &str,
        count: u32,
    ) -> anyhow::Result<Tally> {
        self.questions(stage, protocol, to, count, TIMEOUT)
    }

    /// The same where no answer is expected, and so not long waited for.
    pub fn dial_in_vain(
        &self,
        stage: &Stage,
        protocol: &str,
        to: &str,
        count: u32,
    ) -> anyhow::Result<Tally> {
        self.questions(stage, protocol, to, count, NEVER_ANSWERED)
    }

    /// Asks the name server of its pod.
    pub fn lookup(&self, stage: &Stage, name: &str, kind: &str) -> anyhow::Result<Reply> {
        let pairs = [("name", name), ("type", kind)];
        Ok(Reply::deserialize(self.ask(stage, "lookup", &pairs)?)?)
    }

    /// So many bytes down and up, compared.
    pub fn fetch(&self, stage: &Stage, to: &str, bytes: u64) -> anyhow::Result<Value> {
        let bytes = bytes.to_string();
        let pairs = [
            ("to", to),
            ("down", &bytes),
            ("up", &bytes),
            ("timeout", "20s"),
        ];
        self.ask(stage, "fetch", &pairs)
    }

    /// Starts to ask every so often; `mode` is `connect`, `hold` or `udp`.
    pub fn start(
        &self,
        stage: &Stage,
        id: &str,
        mode: &str,
        to: &str,
        every: &str,
    ) -> anyhow::Result<()> {
        let pairs = [("id", id), ("mode", mode), ("to", to), ("every", every)];
        self.ask(stage, "loss/start", &pairs).map(|_| ())
    }

    /// What it has seen so far.
    pub fn state(&self, stage: &Stage, id: &str) -> anyhow::Result<Loss> {
        Ok(Loss::deserialize(self.ask(
            stage,
            "loss/state",
            &[("id", id)],
        )?)?)
    }

    /// Ends it; what it has seen.
    pub fn stop(&self, stage: &Stage, id: &str) -> anyhow::Result<Loss> {
        Ok(Loss::deserialize(self.ask(
            stage,
            "loss/stop",
            &[("id", id)],
        )?)?)
    }
}
