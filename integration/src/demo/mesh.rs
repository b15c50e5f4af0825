//! Shell: our real programs in a lab: their configurations, their start, their pairing.

mod configure;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use super::breaks;
use super::manifests;
use super::operator::Operator;
use super::report::Checks;
use crate::lab::netns::Netns;
use crate::lab::question::{self, Answer, Kind};
use crate::lab::topology::{CLIENT, Node, Pod, TWO, Topology, node};
use crate::lab::{Lab, clocks, fetch, firewall, programs, wait};

/// UDP port of tunnel packets.
pub const TUNNEL_PORT: u16 = 7472;
/// Where gateways show metrics, to their own node.
const METRICS: &str = "127.0.0.1:7446";
/// Where gateways answer DNS.
const DNS_PORT: u16 = 7453;
/// How long programs may take to be there.
const START: Duration = Duration::from_secs(15);
/// The domain of federated names.
pub const DOMAIN: &str = "shop.svc.clusterset.local";
/// An answer of the lab takes milliseconds; this is for a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(3);

/// Clusters with our programs.
pub struct Mesh {
    /// Namespaces and processes
    pub lab: Lab,
    /// Which nodes and pods there are
    pub topology: Topology,
    programs: PathBuf,
    without: Option<String>,
    started: Vec<String>,
    /// The clusters that let packets go plain, where the other does too
    pub plain: &'static [&'static str],
    /// Our programs log all that they can
    pub talkative: bool,
    /// Threads that packets go by, where not as many as the cores allow.
    pub packet_threads: Option<u8>,
    /// Each cluster has a wall clock of its own, see [`Mesh::set_clock`]
    pub clocks: bool,
}

impl Mesh {
    /// An empty lab for two clusters; `without` names the piece to take out.
    pub fn new(tag: &str, without: Option<&str>) -> anyhow::Result<Mesh> {
        if let Some(name) = without.filter(|name| !breaks::is_known(name)) {
            bail!("there is no piece {name:?}; `--break help` lists them");
        }
        Ok(Mesh {
            without: without.map(str::to_owned),
            ..Mesh::of(tag, TWO)?
        })
    }

    /// An empty lab for these clusters.
    pub fn of(tag: &str, topology: Topology) -> anyhow::Result<Mesh> {
        Ok(Mesh {
            lab: Lab::new(tag)?,
            topology,
            programs: programs()?,
            without: None,
            started: Vec::new(),
            plain: &[],
            talkative: false,
            packet_threads: None,
            clocks: false,
        })
    }

    /// One of our programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// What pods run: with our programs, or with this one where those are built apart.
    fn servers(&self) -> anyhow::Result<PathBuf> {
        let name = "causeway-lab";
        let with_ours = self.program(name);
        if with_ours.is_file() {
            return Ok(with_ours);
        }
        Ok(std::env::current_exe()?.with_file_name(name))
    }

    /// The local service of a node's gateway.
    #[must_use]
    pub fn socket(&self, node: &str) -> PathBuf {
        self.path(node).join("gateway.sock")
    }

    /// An operator at a node's gateway.
    #[must_use]
    pub fn operator(&self, node: &str) -> Operator {
        Operator {
            netns: self.lab.netns(node),
            program: self.program("causeway"),
            socket: self.socket(node),
        }
    }

    /// Names of our own programs that were started, in their order.
    #[must_use]
    pub fn programs_started(&self) -> Vec<String> {
        self.started.clone()
    }

    /// The directory that a cluster's controller watches.
    pub fn manifests(&self, cluster: &str) -> anyhow::Result<PathBuf> {
        self.lab.directory(&format!("manifests-{cluster}"))
    }

    /// Nodes, pods with their servers, and our programs on each node.
    pub fn start(&mut self, checks: &mut Checks) -> anyhow::Result<()> {
        self.start_lab()?;
        for cluster in self.topology.clusters() {
            self.set_clock(cluster, 0)?;
        }
        let each = self.topology.clusters().into_iter().map(|cluster| {
            let nodes: Vec<_> = self.topology.of(cluster).map(|node| node.name).collect();
            format!("{cluster}: {}", nodes.join(", "))
        });
        let each: Vec<_> = each.collect();
        checks.note(&format!(
            "{}; pods of all in {}",
            each.join("; "),
            crate::lab::topology::POD_CIDR
        ));
        self.start_gateways()?;
        for cluster in self.topology.clusters() {
            manifests::write(self.topology, cluster, &self.manifests(cluster)?)?;
            self.start_controller(cluster)?;
        }
        let dead = self.lab.processes.dead();
        checks.check(
            "programs that run",
            "all",
            if dead.is_empty() {
                "all".into()
            } else {
                dead.join(", ") + " ended"
            },
            dead.is_empty(),
        );
        Ok(())
    }

    /// Namespaces and what pods serve, without our programs.
    pub fn start_lab(&mut self) -> anyhow::Result<()> {
        let Topology { nodes, pods } = self.topology;
        for node in nodes {
            self.lab.add_node(node, nodes)?;
        }
        firewall::watch_wire(&self.lab.netns("wan"), self.topology, TUNNEL_PORT)?;
        pods.iter().try_for_each(|pod| self.start_pod(pod))
    }

    /// A pod and its servers.
    pub fn start_pod(&mut self, pod: &Pod) -> anyhow::Result<()> {
        let node = node(pod.node).with_context(|| format!("{} is on no node", pod.name))?;
        self.lab.add_pod(&node, pod)?;
        let (netns, program) = (self.lab.pod(pod), self.servers()?);
        let port = if pod.name.starts_with("db") {
            "5432"
        } else {
            "8080"
        };
        self.lab.spawn(
            &netns,
            pod.name,
            &program,
            &["serve-http", "--name", pod.name, "--port", port],
            &[],
        )?;
        if pod.name.starts_with("cart") {
            let name = format!("{}:udp", pod.name);
            self.lab.spawn(
                &netns,
                &name,
                &program,
                &["serve-udp", "--name", pod.name, "--port", "7007"],
                &[],
            )?;
        }
        Ok(())
    }

    /// Leaders, followers with their one-time files, and the agents of all nodes.
    fn start_gateways(&mut self) -> anyhow::Result<()> {
        for node in self.topology.nodes.iter().filter(|node| node.gateway) {
            let leader = self.leader(node.cluster)?;
            let file = if leader == node {
                None
            } else {
                Some(self.enroll(leader.name, &format!("gateway/{}", node.name))?)
            };
            self.configure_gateway(node, leader, file.as_deref())?;
            self.run_gateway(node.name)?;
        }
        for node in self.topology.nodes {
            let leader = self.leader(node.cluster)?;
            let file = self.enroll(leader.name, &format!("agent/{}", node.name))?;
            self.configure_agent(node, &file)?;
            self.start_agent(node.name)?;
        }
        Ok(())
    }

    fn leader(&self, cluster: &str) -> anyhow::Result<&'static Node> {
        let leader = self.topology.leader(cluster);
        leader.with_context(|| format!("{cluster} has no node"))
    }

    /// A one-time file for one of our own processes.
    fn enroll(&self, leader: &str, who: &str) -> anyhow::Result<PathBuf> {
        let path = self
            .path(leader)
            .join(format!("{}.enroll", who.replace('/', "-")));
        let out = path.display().to_string();
        self.operator(leader).run(&["enroll", who, "--out", &out])?;
        Ok(path)
    }

    /// Starts a gateway that is configured, and waits for its local service.
    pub fn run_gateway(&mut self, node: &str) -> anyhow::Result<()> {
        let config = self.path(node).join("gateway.yaml").display().to_string();
        let name = format!("gateway-{node}");
        self.launch(
            cluster_of(node)?,
            &self.lab.netns(node),
            &name,
            "causeway-gateway",
            &["--config", &config],
        )?;
        let socket = self.socket(node);
        let processes = &mut self.lab.processes;
        let opened = wait::value(
            START,
            &format!("{name} to open {}", socket.display()),
            || {
                let opened = UnixStream::connect(&socket).is_ok();
                Ok((opened || !processes.is_alive(&name)).then_some(opened))
            },
        )?;
        if !opened {
            bail!(
                "{name} ended at once:\n{}",
                self.lab.processes.tail(&name, 20)
            );
        }
        Ok(())
    }

    /// Both clusters let packets go plain from now on.
    pub fn go_plain(&mut self) -> anyhow::Result<()> {
        for node in self.topology.nodes.iter().filter(|node| node.gateway) {
            let file = self.path(node.name).join("gateway.yaml");
            let text = std::fs::read_to_string(&file)?;
            let plain = text.replace("encryption: required", "encryption: off");
            std::fs::write(&file, plain)?;
            self.lab.processes.stop(&format!("gateway-{}", node.name))?;
            self.run_gateway(node.name)?;
        }
        Ok(())
    }

    /// Starts an agent that is configured.
    pub fn start_agent(&mut self, node: &str) -> anyhow::Result<()> {
        let config = self.path(node).join("agent.yaml").display().to_string();
        self.launch(
            cluster_of(node)?,
            &self.lab.netns(node),
            &format!("agent-{node}"),
            "causeway-agent",
            &["--config", &config],
        )
    }

    /// Starts a cluster's controller, on its first leader's node.
    pub fn start_controller(&mut self, cluster: &str) -> anyhow::Result<()> {
        let leader = self.leader(cluster)?.name;
        let config = self.configure_controller(cluster, leader)?;
        let (config, directory) = (
            config.display().to_string(),
            self.manifests(cluster)?.display().to_string(),
        );
        let args = ["--config", &config, "--manifests", &directory];
        self.launch(
            cluster,
            &self.lab.netns(leader),
            &format!("controller-{cluster}"),
            "causeway-controller",
            &args,
        )
    }

    fn clock(&self, cluster: &str) -> PathBuf {
        self.path(&format!("clock-{cluster}"))
    }

    /// Sets the wall clock of all our programs of a cluster, where clusters have their own, so many seconds before or behind.
    pub fn set_clock(&self, cluster: &str, ahead: i64) -> anyhow::Result<()> {
        clocks::set(&self.clock(cluster), ahead)
    }

    fn launch(
        &mut self,
        cluster: &str,
        netns: &Netns,
        name: &str,
        program: &str,
        args: &[&str],
    ) -> anyhow::Result<()> {
        let without = self.without.iter();
        let mut env: Vec<(&str, &str)> = without
            .map(|piece| (breaks::VARIABLE, piece.as_str()))
            .collect();
        if self.talkative {
            env.push(("RUST_LOG", "trace"));
        }
        let clock = if self.clocks {
            clocks::environment(&self.clock(cluster))?
        } else {
            Vec::new()
        };
        env.extend(clock.iter().map(|(name, value)| (*name, value.as_str())));
        let program = self.programs.join(program);
        self.lab.spawn(netns, name, &program, args, &env)?;
        if !self.started.iter().any(|known| known == name) {
            self.started.push(name.to_owned());
        }
        Ok(())
    }

    /// A token of west, redeemed in east.
    pub fn pair(&mut self, checks: &mut Checks) -> anyhow::Result<()> {
        self.pair_by("west", "east", checks)
    }

    /// A token of one cluster, redeemed in another.
    pub fn pair_by(&mut self, maker: &str, user: &str, checks: &mut Checks) -> anyhow::Result<()> {
        let (here, there) = (self.leader(maker)?.name, self.leader(user)?.name);
        let token = self.operator(here).run(&["token", "create"])?;
        let token = token
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty())
            .context("no token was printed")?;
        checks.note(&format!(
            "{maker}: causeway token create -> {} characters",
            token.len()
        ));
        let said = self.operator(there).run(&["join", token])?;
        checks.note(&format!("{user}: causeway join TOKEN"));
        checks.note(&said);
        let again = self.operator(there).run(&["join", token]);
        checks.check(
            "the token a second time",
            "refused",
            if again.is_ok() { "taken" } else { "refused" },
            again.is_err(),
        );
        Ok(())
    }

    /// Until names resolve in both clusters and packets reach every backend's node.
    pub fn settle(&mut self, checks: &mut Checks) -> anyhow::Result<()> {
        let start = wait::now();
        let address = wait::value(START, "cart to resolve in east", || {
            Ok(self.resolve(&CLIENT, "cart")?.addresses.first().copied())
        })?;
        checks.check("cart resolves in east", "yes", address, true);
        let to = SocketAddr::from((address, 80));
        self.lab.pod(&CLIENT).enter(|| {
            wait::value(START, "cart to answer", || {
                fetch::who(to, Duration::from_secs(1)).map(Some)
            })
        })??;
        // Each gateway of the other side and each agent programs at its own pace.
        wait::until(START, "every backend to take its share", || {
            let tally = self
                .lab
                .pod(&CLIENT)
                .enter(|| fetch::tally(to, 12, Duration::from_secs(1)))?;
            Ok(tally.failures.is_empty() && tally.backends.len() == 3)
        })?;
        checks.note(&format!(
            "settled after {:.1} s",
            start.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// What a pod's resolver is told for a service of namespace `shop`.
    pub fn resolve(&self, from: &Pod, name: &str) -> anyhow::Result<Answer> {
        self.ask(from, &format!("{name}.{DOMAIN}"), Kind::A)
    }

    /// Any question, to the gateway on the pod's own node.
    pub fn ask(&self, from: &Pod, name: &str, kind: Kind) -> anyhow::Result<Answer> {
        let node = node(from.node).context("a pod has a node")?;
        let server = SocketAddr::V4(SocketAddrV4::new(node.bridge(), DNS_PORT));
        self.lab
            .pod(from)
            .enter(|| question::ask(server, name, kind, LIMIT))?
    }

    /// The metrics of a node's gateway whose names begin so.
    pub fn metrics(&self, node: &str, begin: &str) -> anyhow::Result<Vec<String>> {
        let page = self.lab.netns(node).enter(|| -> anyhow::Result<String> {
            let mut stream = TcpStream::connect(METRICS)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            Ok(page)
        })??;
        let lines = page.lines().filter(|line| line.starts_with(begin));
        Ok(lines.map(str::to_owned).collect())
    }

    /// The one address of a service.
    pub fn address(&self, from: &Pod, name: &str) -> anyhow::Result<Ipv4Addr> {
        let answer = self.resolve(from, name)?;
        match answer.addresses.as_slice() {
            [one] => Ok(*one),
            other => bail!("{name} resolves to {other:?}, code {}", answer.code),
        }
    }

    /// The status page of each gateway says these.
    pub fn show_status(&mut self, says: &[&str], checks: &mut Checks) -> anyhow::Result<()> {
        for node in ["e1", "w2"] {
            let text = self.operator(node).run(&["status"])?;
            checks.note(&format!("$ causeway status   (on {node})\n{text}"));
            let missing: Vec<_> = says.iter().filter(|word| !text.contains(**word)).collect();
            checks.check(
                "status is honest about how packets go and today's limits",
                says.join(", "),
                if missing.is_empty() {
                    "all said".to_owned()
                } else {
                    format!("silent about {missing:?}")
                },
                missing.is_empty(),
            );
        }
        Ok(())
    }

    fn path(&self, node: &str) -> PathBuf {
        self.lab.path(node)
    }
}

fn cluster_of(name: &str) -> anyhow::Result<&'static str> {
    let node = node(name).with_context(|| format!("{name} is no node"))?;
    Ok(node.cluster)
}
