//! Nodes and pods as namespaces, by plain `ip` commands; removed when dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use causeway_proto::model::{Report, View};
use causeway_proto::wire::Encoded;
use nix::sched::{CloneFlags, setns};

/// The eBPF object's path, if this test can run.
pub fn object() -> Option<String> {
    let object = std::env::var("CAUSEWAY_EBPF_OBJECT")
        .ok()
        .filter(|p| !p.is_empty());
    let missing = match &object {
        _ if !nix::unistd::geteuid().is_root() => "root",
        None => "CAUSEWAY_EBPF_OBJECT",
        Some(_) => return object,
    };
    assert!(
        std::env::var("REQUIRE_ROOT").as_deref() != Ok("1"),
        "needs {missing}"
    );
    println!("not run: needs {missing}");
    None
}

/// All that an agent's pod has: no CAP_SYS_ADMIN, no CAP_DAC_OVERRIDE, nothing that comes back.
const LEAST_PRIVILEGE: [&str; 3] = [
    "setpriv",
    "--bounding-set=-all,+net_admin,+perfmon,+bpf",
    "--no-new-privs",
];

/// Node, name, address and gateway of each pod. East's client has the address of one of west's.
pub const PODS: [(&str, &str, &str, &str); 4] = [
    ("e1", "client", "10.244.1.6", "10.244.1.1"),
    ("w1", "b1", "10.244.1.6", "10.244.1.1"),
    ("w2", "b2", "10.244.2.7", "10.244.2.1"),
    ("w2", "c2", "10.244.2.8", "10.244.2.1"),
];

/// The pools of both families.
const POOLS: &str =
    "[241.0.0.0/16, 242.0.0.0/7, 244.0.0.0/6, 248.0.0.0/6, 'fdca:241::/112', 'fdca:242::/32']";

pub struct Lab {
    prefix: String,
    dir: tempfile::TempDir,
    spaces: Vec<String>,
    uplinks: BTreeMap<String, String>,
    /// Nodes whose pods are each a veth with a route of its own, without a bridge; and the address that all of
    /// them have towards their pods.
    routed: BTreeMap<String, String>,
    agents: BTreeMap<String, Child>,
    asked: RefCell<BTreeMap<String, u64>>,
}

fn run(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{program} {args:?}: {said}");
}

impl Lab {
    fn make(name: &str) -> Self {
        let mut lab = Self {
            prefix: format!("cwdp-{name}-{}", std::process::id()),
            dir: tempfile::tempdir().unwrap(),
            spaces: Vec::new(),
            uplinks: BTreeMap::new(),
            routed: BTreeMap::new(),
            agents: BTreeMap::new(),
            asked: RefCell::default(),
        };
        lab.space("wan");
        lab.ip("wan", "link add wan type bridge");
        lab.ip("wan", "link set wan up");
        lab
    }

    /// Two clusters: east's one node and west's first with a bridge, west's second without; and all of [`PODS`].
    pub fn of_two_clusters(name: &str) -> Self {
        let mut lab = Self::make(name);
        lab.node("e1", "172.31.77.11", "10.244.1.1");
        lab.node("w1", "172.31.77.21", "10.244.1.1");
        lab.routed_node("w2", "172.31.77.22", "10.244.2.1");
        for (node, pod, address, gateway) in PODS {
            lab.pod(node, pod, address, gateway);
        }
        lab
    }

    fn full(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn space(&mut self, name: &str) {
        let full = self.full(name);
        let _ = Command::new("ip")
            .args(["netns", "del", &full])
            .stderr(Stdio::null())
            .status();
        run("ip", &["netns", "add", &full]);
        self.spaces.push(full);
        self.ip(name, "link set lo up");
    }

    pub fn ip(&self, space: &str, command: &str) {
        let full = self.full(space);
        let mut args = vec!["-n", &full];
        args.extend(command.split(' '));
        run("ip", &args);
    }

    /// A node whose pods are ports of a bridge.
    pub fn node(&mut self, node: &str, uplink: &str, bridge: &str) {
        self.bare_node(node, uplink);
        self.ip(node, "link add cni0 type bridge");
        self.ip(node, &format!("addr add {bridge}/24 dev cni0"));
        self.ip(node, "link set cni0 up");
    }

    /// A node whose pods are routed one by one.
    pub fn routed_node(&mut self, node: &str, uplink: &str, gateway: &str) {
        self.bare_node(node, uplink);
        self.routed.insert(node.to_owned(), gateway.to_owned());
    }

    pub fn is_routed(&self, node: &str) -> bool {
        self.routed.contains_key(node)
    }

    fn bare_node(&mut self, node: &str, uplink: &str) {
        self.space(node);
        let full = self.full(node);
        self.ip(
            "wan",
            &format!("link add to-{node} type veth peer name eth0 netns {full}"),
        );
        self.ip("wan", &format!("link set to-{node} master wan up"));
        self.ip(node, "link set eth0 up");
        self.ip(node, &format!("addr add {uplink}/24 dev eth0"));
        self.uplinks.insert(node.to_owned(), uplink.to_owned());
        self.inside(node, || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            // As strict as nodes may be.
            std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        });
    }

    pub fn pod(&mut self, node: &str, pod: &str, address: &str, bridge: &str) {
        self.space(pod);
        let full = self.full(pod);
        self.ip(
            node,
            &format!("link add v-{pod} type veth peer name eth0 netns {full}"),
        );
        self.ip(pod, "link set eth0 up");
        if let Some(gateway) = self.routed.get(node) {
            self.ip(node, &format!("link set v-{pod} up"));
            self.ip(node, &format!("addr add {gateway}/32 dev v-{pod}"));
            self.ip(node, &format!("route add {address}/32 dev v-{pod}"));
            self.ip(pod, &format!("addr add {address}/32 dev eth0"));
            self.ip(pod, &format!("route add {gateway}/32 dev eth0"));
        } else {
            self.ip(node, &format!("link set v-{pod} master cni0 up"));
            self.ip(pod, &format!("addr add {address}/24 dev eth0"));
        }
        self.ip(pod, &format!("route add default via {bridge}"));
    }

    /// Something on the node that is no pod of the cluster.
    pub fn stray(&mut self, node: &str, name: &str, address: &str, gateway: &str) {
        self.space(name);
        let full = self.full(name);
        self.ip(
            node,
            &format!("link add v-{name} type veth peer name eth0 netns {full}"),
        );
        self.ip(node, &format!("link set v-{name} up"));
        self.ip(node, &format!("addr add {gateway}/24 dev v-{name}"));
        self.ip(name, "link set eth0 up");
        self.ip(name, &format!("addr add {address}/24 dev eth0"));
        self.ip(name, &format!("route add default via {gateway}"));
    }

    /// Runs in a namespace, on a thread that ends with it.
    pub fn inside<T: Send + 'static>(
        &self,
        space: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        self.inside_background(space, f).join().unwrap()
    }

    pub fn inside_background<T: Send + 'static>(
        &self,
        space: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let file = File::open(format!("/run/netns/{}", self.full(space))).unwrap();
        std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            f()
        })
    }

    /// `who` is answered with the pod's name and the address seen, `mirror` with what comes; UDP with itself.
    pub fn serve(&self, pod: &str) {
        let name = pod.to_owned();
        let (ready, wait) = std::sync::mpsc::channel();
        self.inside_background(pod, move || {
            let tcp = TcpListener::bind("[::]:8080").unwrap();
            let udp = UdpSocket::bind("[::]:7007").unwrap();
            ready.send(()).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(&buffer[..length], from);
                }
            });
            for stream in tcp.incoming().flatten() {
                let name = name.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut writer = stream;
                    let mut line = String::new();
                    let _ = reader.read_line(&mut line);
                    if line == "mirror\n" {
                        let _ = std::io::copy(&mut reader, &mut writer);
                    } else {
                        let seen = writer.peer_addr();
                        let seen = seen.map(|a| a.ip().to_canonical().to_string());
                        let _ = write!(writer, "{name} {}", seen.unwrap_or_default());
                    }
                });
            }
        });
        wait.recv().unwrap();
    }

    pub fn file(&self, node: &str, what: &str) -> PathBuf {
        self.dir.path().join(format!("{node}.{what}"))
    }

    pub fn pins(&self, node: &str) -> PathBuf {
        PathBuf::from(format!("/sys/fs/bpf/{}", self.full(node)))
    }

    /// Gives the node's agent a View.
    pub fn show(&self, node: &str, view: &View) {
        let new = self.file(node, "new");
        std::fs::write(&new, view.to_bytes()).unwrap();
        std::fs::rename(&new, self.file(node, "view")).unwrap();
        self.asked
            .borrow_mut()
            .insert(node.to_owned(), view.revision.number);
    }

    pub fn agent(&mut self, node: &str, object: &str, view: &View) {
        self.configure(node, node);
        self.show(node, view);
        self.start_agent(node, object);
    }

    fn configure(&self, node: &str, agent: &str) {
        let pins = self.pins(agent);
        let _ = std::fs::remove_dir_all(&pins);
        // The stranger must know its ports without a View; agents find all for themselves.
        let ports = if agent == node {
            ""
        } else {
            "ports: {bridge: cni0}\n"
        };
        let text = format!(
            "node: {node}\nouter_address: {}\npin_dir: {}\nhealth_socket: {}\ngateway_socket: {}\npools: {POOLS}\n{ports}",
            self.uplinks[node],
            pins.display(),
            self.file(agent, "health").display(),
            self.gateway_socket(agent).display(),
        );
        std::fs::write(self.file(agent, "yaml"), text).unwrap();
    }

    pub fn start_agent(&mut self, node: &str, object: &str) {
        self.spawn(node, node, object);
        self.programmed(&[node]);
    }

    pub fn spawn(&mut self, node: &str, agent: &str, object: &str) {
        let _ = std::fs::remove_file(self.file(agent, "report"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file(agent, "log"))
            .unwrap();
        let child = self
            .program(node)
            .arg("--config")
            .arg(self.file(agent, "yaml"))
            .arg("--view")
            .arg(self.file(agent, "view"))
            .arg("--report")
            .arg(self.file(agent, "report"))
            .args(["--object", object])
            .env("RUST_LOG", "info,causeway_dataplane=debug")
            .env("NO_COLOR", "1")
            .stderr(log)
            .spawn()
            .unwrap();
        self.agents.insert(agent.to_owned(), child);
    }

    /// The agent's program as a pod of the node would run it.
    fn program(&self, node: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.full(node)))
            .args(LEAST_PRIVILEGE)
            .arg(env!("CARGO_BIN_EXE_causeway-agent"));
        command
    }

    /// One of the program's commands, and what it says.
    pub fn command(&self, node: &str, words: &[&str]) -> (bool, String) {
        let mut command = self.program(node);
        command.args(words).arg("--config");
        let out = command.arg(self.file(node, "yaml")).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (out.status.success(), said)
    }

    /// Names of devices, routes and rules of a node.
    pub fn all_of(&self, node: &str) -> String {
        let mut all = String::new();
        let full = self.full(node);
        for family in ["-4", "-6"] {
            for what in ["link", "route", "rule"] {
                let args = ["-n", &full, family, "-o", what, "show"];
                let table = ["table", "all"];
                let table = if what == "route" { &table[..] } else { &[] };
                let out = Command::new("ip").args(args).args(table).output().unwrap();
                all += &String::from_utf8_lossy(&out.stdout);
            }
        }
        all
    }

    /// Programs of somebody else on the ports and the uplink of a node: those of an agent that has no View.
    pub fn stranger(&mut self, node: &str, object: &str) {
        self.configure(node, "stranger");
        self.spawn(node, "stranger", object);
        self.wait_report("stranger", |report| report.hooks.contains_key("eth0"));
    }

    /// Takes them off again.
    pub fn stranger_leaves(&mut self) {
        self.kill_agent("stranger");
        std::fs::remove_dir_all(self.pins("stranger")).unwrap();
    }

    pub fn kill_agent(&mut self, node: &str) {
        let mut child = self.agents.remove(node).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn report(&self, node: &str) -> Option<Report> {
        serde_json::from_slice(&std::fs::read(self.file(node, "report")).ok()?).ok()
    }

    /// Waits until the kernels hold the Views that were shown.
    pub fn programmed(&self, nodes: &[&str]) {
        let until = Instant::now() + Duration::from_secs(20);
        for node in nodes {
            let wanted = self.asked.borrow()[*node];
            while self
                .report(node)
                .and_then(|r| r.programmed)
                .map(|p| p.number)
                != Some(wanted)
            {
                assert!(
                    Instant::now() < until,
                    "{node} is not programmed\n{}",
                    self.explain()
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Waits until a node's report is as wanted.
    pub fn wait_report(&self, node: &str, wanted: impl Fn(&Report) -> bool) {
        let until = Instant::now() + Duration::from_secs(5);
        while !self.report(node).is_some_and(|r| wanted(&r)) {
            assert!(Instant::now() < until, "{}", self.explain());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a node has counted a drop for this reason.
    pub fn dropped(&self, node: &str, reason: &str) {
        self.wait_report(node, |report| report.drops.contains_key(reason));
    }

    /// Where the agent of that node looks for its gateway.
    pub fn gateway_socket(&self, node: &str) -> PathBuf {
        self.file(node, "gateway")
    }

    /// Mean size of the packets that a device received.
    pub fn mean_received(&self, node: &str, device: &str) -> u64 {
        let of = |key: &str| self.counted(node, device, "rx", key);
        of("bytes") / of("packets").max(1)
    }

    /// Packets that a device sent.
    pub fn sent(&self, node: &str, device: &str) -> u64 {
        self.counted(node, device, "tx", "packets")
    }

    fn counted(&self, node: &str, device: &str, direction: &str, key: &str) -> u64 {
        let full = self.full(node);
        let out = Command::new("ip")
            .args(["-n", &full, "-s", "-j", "link", "show", device])
            .output()
            .unwrap();
        let links: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        links[0]["stats64"][direction][key].as_u64().unwrap()
    }

    pub fn ping(&self, pod: &str, to: Ipv4Addr) -> bool {
        self.inside(pod, move || super::echo::answered(to))
    }

    /// What the agents say, for a failure's message.
    pub fn explain(&self) -> String {
        // Reports are written once a second.
        std::thread::sleep(Duration::from_millis(1200));
        let mut text = String::new();
        for node in self.agents.keys() {
            let report = std::fs::read_to_string(self.file(node, "report")).unwrap_or_default();
            let log = std::fs::read_to_string(self.file(node, "log")).unwrap_or_default();
            let from = log.len().saturating_sub(3000);
            text += &format!("== {node}\n{report}\n{}\n", &log[from..]);
        }
        if std::env::var_os("CWDP_KEEP").is_some() {
            println!("{text}\nkept for a minute");
            std::thread::sleep(Duration::from_secs(60));
        }
        text
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in self.agents.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let stranger = "stranger".to_owned();
        for node in self.uplinks.keys().chain([&stranger]) {
            let _ = std::fs::remove_dir_all(self.pins(node));
        }
        for space in &self.spaces {
            let _ = Command::new("ip").args(["netns", "del", space]).status();
        }
    }
}
