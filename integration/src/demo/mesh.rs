//! Shell: our real programs in a lab: their configurations, their start, their pairing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::breaks;
use super::manifests;
use super::operator::Operator;
use super::report::Checks;
use crate::lab::netns::Netns;
use crate::lab::question::{self, Answer, Kind};
use crate::lab::topology::{CLIENT, E1, NODES, Node, PODS, Pod, node};
use crate::lab::{Lab, fetch, firewall, object, programs, wait};

/// UDP port of tunnel packets.
pub const TUNNEL_PORT: u16 = 7472;
/// Where gateways show metrics, to their own node.
const METRICS: &str = "127.0.0.1:7446";
/// Where gateways answer DNS.
const DNS_PORT: u16 = 7453;
/// Makes rings and flow hashes the same in every run.
const SEED: &str = "00112233445566778899aabbccddeeff";
/// How long programs may take to be there.
const START: Duration = Duration::from_secs(15);
/// The domain of federated names.
pub const DOMAIN: &str = "shop.svc.clusterset.local";
/// An answer of the lab takes milliseconds; this is for a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(3);

/// Both clusters.
pub struct Mesh {
    /// Namespaces and processes
    pub lab: Lab,
    programs: PathBuf,
    without: Option<String>,
    started: Vec<String>,
    /// The clusters that let packets go plain, where the other does too
    pub plain: &'static [&'static str],
}

impl Mesh {
    /// An empty lab; `without` names the piece to take out.
    pub fn new(tag: &str, without: Option<&str>) -> anyhow::Result<Mesh> {
        if let Some(name) = without.filter(|name| !breaks::is_known(name)) {
            bail!("there is no piece {name:?}; `--break help` lists them");
        }
        let lab = Lab::new(tag)?;
        Ok(Mesh {
            lab,
            programs: programs()?,
            without: without.map(str::to_owned),
            started: Vec::new(),
            plain: &[],
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
        checks.note(&format!(
            "east: e1; west: w1, w2; pods of both in {}",
            crate::lab::topology::POD_CIDR
        ));
        self.start_gateway(&E1, None)?;
        self.start_west()?;
        for (cluster, leader) in [("east", "e1"), ("west", "w1")] {
            manifests::copy(cluster, &self.manifests(cluster)?)?;
            self.start_controller(cluster, leader)?;
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
        for node in &NODES {
            self.lab.add_node(node, &NODES)?;
        }
        firewall::watch_wire(&self.lab.netns("wan"), TUNNEL_PORT)?;
        PODS.iter().try_for_each(|pod| self.start_pod(pod))
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

    /// Leader, follower with its one-time file, and the agents of all nodes.
    fn start_west(&mut self) -> anyhow::Result<()> {
        let [w1, w2] = [node("w1"), node("w2")].map(|node| node.context("west has two nodes"));
        let (w1, w2) = (w1?, w2?);
        self.start_gateway(&w1, None)?;
        let file = self.enroll("w1", "gateway/w2")?;
        self.start_gateway(&w2, Some(&file))?;
        for node in &NODES {
            let leader = if node.cluster == "east" { "e1" } else { "w1" };
            let file = self.enroll(leader, &format!("agent/{}", node.name))?;
            self.configure_agent(node, &file)?;
            self.start_agent(node.name)?;
        }
        Ok(())
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

    fn start_gateway(&mut self, node: &Node, enrolment: Option<&Path>) -> anyhow::Result<()> {
        let directory = self.lab.directory(node.name)?;
        let leader = if node.cluster == "east" { "e1" } else { "w1" };
        let mut text = format!(
            "cluster: {cluster}
clusterset: demo
name: {name}
node: {name}
leader: {leader}
advertise:
  session: {uplink}:7443
  local: {uplink}:7444
  tunnel: {uplink}
listen:
  socket: {socket}
  device: {device}
  metrics: {METRICS}
state_dir: {state}
encryption: {encryption}
seed: \"{SEED}\"
",
            encryption = if self.plain.contains(&node.cluster) {
                "off"
            } else {
                "required"
            },
            cluster = node.cluster,
            name = node.name,
            uplink = node.uplink,
            socket = self.socket(node.name).display(),
            device = directory.join("device.sock").display(),
            state = directory.join("gateway-state").display(),
        );
        if let Some(file) = enrolment {
            let leader = NODES
                .iter()
                .find(|node| node.name == leader)
                .context("a leader is a node")?;
            text += &format!(
                "leader_address: {}:7444\nenroll_file: {}\n",
                leader.uplink,
                file.display()
            );
        }
        std::fs::write(directory.join("gateway.yaml"), text)?;
        self.run_gateway(node.name)
    }

    /// Starts a gateway that is configured, and waits for its local service.
    pub fn run_gateway(&mut self, node: &str) -> anyhow::Result<()> {
        let config = self.path(node).join("gateway.yaml").display().to_string();
        let name = format!("gateway-{node}");
        self.launch(
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
        for node in &NODES {
            let file = self.path(node.name).join("gateway.yaml");
            let text = std::fs::read_to_string(&file)?;
            let plain = text.replace("encryption: required", "encryption: off");
            std::fs::write(&file, plain)?;
            self.lab.processes.stop(&format!("gateway-{}", node.name))?;
            self.run_gateway(node.name)?;
        }
        Ok(())
    }

    fn configure_agent(&mut self, node: &Node, enrolment: &Path) -> anyhow::Result<()> {
        let directory = self.lab.directory(node.name)?;
        let pins = self.lab.pins(node.name)?;
        let mut text = format!(
            "node: {}
uplink: eth0
outer_address: {}
pin_dir: {}
object: {}
state_dir: {}
gateway_socket: {}
enrolment: {}
gateways:
  - 'unix:{}'
",
            node.name,
            node.uplink,
            pins.display(),
            object()?.display(),
            directory.join("agent-state").display(),
            directory.join("device.sock").display(),
            enrolment.display(),
            self.socket(node.name).display(),
        );
        // The leader first: it alone grants the certificate that calls over TCP need.
        for other in NODES.iter().filter(|other| other.cluster == node.cluster) {
            text += &format!("  - '{}:7444'\n", other.uplink);
        }
        Ok(std::fs::write(directory.join("agent.yaml"), text)?)
    }

    /// Starts an agent that is configured.
    pub fn start_agent(&mut self, node: &str) -> anyhow::Result<()> {
        let config = self.path(node).join("agent.yaml").display().to_string();
        self.launch(
            &self.lab.netns(node),
            &format!("agent-{node}"),
            "causeway-agent",
            &["--config", &config],
        )
    }

    fn start_controller(&mut self, cluster: &str, leader: &str) -> anyhow::Result<()> {
        let config = self.path(leader).join("controller.yaml");
        let state = self.path(leader).join("controller-state");
        let socket = self.socket(leader);
        std::fs::write(
            &config,
            format!(
                "cluster: {cluster}\ngateways:\n  - 'unix:{}'\nstate_dir: {}\n",
                socket.display(),
                state.display()
            ),
        )?;
        let (config, directory) = (
            config.display().to_string(),
            self.manifests(cluster)?.display().to_string(),
        );
        let args = ["--config", &config, "--manifests", &directory];
        self.launch(
            &self.lab.netns(leader),
            &format!("controller-{cluster}"),
            "causeway-controller",
            &args,
        )
    }

    fn launch(
        &mut self,
        netns: &Netns,
        name: &str,
        program: &str,
        args: &[&str],
    ) -> anyhow::Result<()> {
        let env: Vec<(&str, &str)> = self
            .without
            .iter()
            .map(|piece| (breaks::VARIABLE, piece.as_str()))
            .collect();
        let program = self.programs.join(program);
        self.lab.spawn(netns, name, &program, args, &env)?;
        if !self.started.iter().any(|known| known == name) {
            self.started.push(name.to_owned());
        }
        Ok(())
    }

    /// A token of west, redeemed in east.
    pub fn pair(&mut self, checks: &mut Checks) -> anyhow::Result<()> {
        let token = self.operator("w1").run(&["token", "create"])?;
        let token = token
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty())
            .context("no token was printed")?;
        checks.note(&format!(
            "west: causeway token create -> {} characters",
            token.len()
        ));
        let said = self.operator("e1").run(&["join", token])?;
        checks.note("east: causeway join TOKEN");
        checks.note(&said);
        let again = self.operator("e1").run(&["join", token]);
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
