//! Shell: the pair of clusters of this machine: brought up, looked at, changed and taken down, each by any process.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::access::{self, Admin};
use super::control::Control;
use super::host::Host;
use super::kubectl::Kubectl;
use super::node::Node;
use super::shape::{Cluster, Shape, Worker};
use super::steps::step;
use super::tools::Tools;
use super::{config, ways};
use crate::lab::journal::Journal;

/// Where everything of the clusters is.
pub const DIRECTORY: &str = "/var/lib/causeway-e2e";
/// Held by whoever makes or removes clusters.
const LOCK: &str = "/var/lib/causeway-e2e.lock";
const STATE: &str = "bed.json";
/// CoreDNS as kubeadm installs it.
const COREDNS: &str = include_str!("../../kubernetes/manifests/coredns.yaml");
/// What makes loaded images good for pods that would pull them.
const IMAGES: &str = include_str!("../../kubernetes/manifests/images.yaml");
/// How long nodes and the pods of the system may take, for kubectl.
const PATIENCE: &str = "--timeout=120s";

/// A pair of clusters that is up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bed {
    /// How they were wanted
    pub shape: Shape,
    /// All nodes, those that were added later included
    pub workers: Vec<Worker>,
    /// What they run
    pub tools: Tools,
    /// Images that were loaded, for nodes that come later
    pub images: Vec<PathBuf>,
    /// From which directory they were brought up, for others who share this machine
    pub by: PathBuf,
}

impl Bed {
    /// The clusters of this machine; None when none are up.
    pub fn open() -> anyhow::Result<Option<Bed>> {
        let Ok(text) = fs::read_to_string(directory().join(STATE)) else {
            return Ok(None);
        };
        let bed: Bed = serde_json::from_str(&text).context("the record of the clusters")?;
        // After a reboot the record is all that is left.
        let [east, _] = bed.shape.clusters();
        let up = bed.control(east).host.pid().is_some();
        Ok(up.then_some(bed))
    }

    /// Brings a pair up, and says each step. What a run that was killed left goes first.
    pub fn up(shape: Shape, tools: Tools) -> anyhow::Result<Bed> {
        let _turn = take_turn()?;
        if let Some(bed) = Bed::open()? {
            bail!("clusters are up already ({})", bed.shape);
        }
        clear()?;
        let mut workers = Vec::new();
        for cluster in shape.clusters() {
            for number in 1..=shape.nodes {
                workers.push(cluster.worker(number).context("too many nodes")?);
            }
        }
        let by = std::env::current_dir()?;
        let bed = Bed {
            shape,
            workers,
            tools,
            images: Vec::new(),
            by,
        };
        ways::switch(&mut Journal::create(directory())?)?;
        let [east, west] = shape.clusters();
        let outcomes = thread::scope(|scope| {
            let other = scope.spawn(|| bed.bring_up(west));
            [bed.bring_up(east), joined(other.join())]
        });
        outcomes.into_iter().collect::<anyhow::Result<()>>()?;
        bed.write()?;
        Ok(bed)
    }

    fn bring_up(&self, cluster: Cluster) -> anyhow::Result<()> {
        let name = cluster.name;
        let control = self.control(cluster);
        let workers: Vec<Worker> = self.workers_of(name).cloned().collect();
        let mut journal = Journal::create(directory())?;
        let program = std::env::current_exe()?;
        step(name, "control plane started", || {
            control.certify(&workers)?;
            control.host.start(&program, &mut journal)?;
            for worker in &workers {
                ways::route(&control.host.netns(), worker)?;
            }
            control.start()
        })?;
        let mut nodes = Vec::new();
        step(name, "hosts and containerd started", || {
            for worker in &workers {
                let node = Node::new(directory(), worker, &self.shape, &self.tools)?;
                node.start(&program, &control, &workers, &mut journal)?;
                nodes.push(node);
            }
            Ok(())
        })?;
        write_kubeconfig(&[self.admin(cluster)?], &self.kubeconfig_of(cluster))?;
        let kubectl = self.kubectl(cluster);
        thread::scope(|scope| {
            let images = scope.spawn(|| {
                let images = self.tools.images();
                step(name, "images of the system loaded", || {
                    nodes.iter().try_for_each(|node| node.load(&images))
                })
            });
            step(name, "API server ready", || control.wait(&kubectl))?;
            joined(images.join())
        })?;
        step(name, "kubelet and kube-proxy started", || {
            self.found(cluster)?;
            nodes.iter().try_for_each(Node::join)
        })?;
        step(name, "nodes ready", || {
            kubectl.run(&["wait", "--for=condition=Ready", "node", "--all", PATIENCE])
        })?;
        step(name, "DNS ready", || {
            let what = ["rollout", "status", "deployment/coredns", PATIENCE];
            kubectl.run(&[&["--namespace=kube-system"], what.as_slice()].concat())
        })?;
        Ok(())
    }

    /// The objects that a cluster starts with: its nodes, DNS, and what is so of its images.
    fn found(&self, cluster: Cluster) -> anyhow::Result<()> {
        let nodes = self.workers_of(cluster.name).map(config::node);
        let mut objects: Vec<String> = nodes.map(|node| node.to_string()).collect();
        objects.push(COREDNS.replace("@DNS@", &cluster.dns().to_string()));
        objects.push(IMAGES.to_owned());
        self.kubectl(cluster).apply(&objects.join("\n---\n"))
    }

    /// Takes all that a cluster ever knew away; its nodes run on and join what comes up empty. A kubelet registers its
    /// node once, so it is started anew, as whoever lost an etcd would.
    pub fn lose_etcd(&self, cluster: &str) -> anyhow::Result<()> {
        let cluster = self.cluster(cluster)?;
        let control = self.control(cluster);
        control.stop()?;
        control.forget()?;
        control.start()?;
        control.wait(&self.kubectl(cluster))?;
        self.found(cluster)?;
        for worker in self.workers_of(cluster.name) {
            Node::new(directory(), worker, &self.shape, &self.tools)?.join_anew()?;
        }
        Ok(())
    }

    /// Takes everything away that a pair of clusters made, whether it runs, failed or was killed.
    pub fn down() -> anyhow::Result<()> {
        let _turn = take_turn()?;
        clear()
    }

    /// Puts an image on every node, those that come later included.
    pub fn load(&mut self, image: &Path) -> anyhow::Result<()> {
        let load = |worker: &Worker| -> anyhow::Result<()> {
            let node = Node::new(directory(), worker, &self.shape, &self.tools)?;
            let name = image.file_name().unwrap_or(image.as_os_str());
            let what = format!("{} loaded", name.display());
            step(&worker.name, &what, || node.load(&[image]))
        };
        let outcomes = thread::scope(|scope| {
            let all = self.workers.iter();
            let threads: Vec<_> = all.map(|worker| scope.spawn(|| load(worker))).collect();
            let outcomes = threads.into_iter().map(|thread| joined(thread.join()));
            outcomes.collect::<Vec<_>>()
        });
        outcomes.into_iter().collect::<anyhow::Result<()>>()?;
        let image = image.to_owned();
        if !self.images.contains(&image) {
            self.images.push(image);
        }
        self.write()
    }

    /// The control plane of a cluster.
    #[must_use]
    pub fn control(&self, cluster: Cluster) -> Control<'_> {
        Control::new(directory(), cluster, &self.tools)
    }

    /// The cluster of that name.
    pub fn cluster(&self, name: &str) -> anyhow::Result<Cluster> {
        self.shape
            .cluster(name)
            .with_context(|| format!("there is no cluster {name}"))
    }

    /// Nodes of a cluster.
    pub fn workers_of<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a Worker> {
        self.workers
            .iter()
            .filter(move |worker| worker.cluster == cluster)
    }

    /// The host of a node or control plane: `east-1`, `west-control`.
    pub fn host(&self, name: &str) -> anyhow::Result<Host> {
        if let Some(worker) = self.workers.iter().find(|worker| worker.name == name) {
            return Ok(Host::named(directory(), name, worker.address));
        }
        let mut controls = self.shape.clusters().into_iter();
        match controls.find(|cluster| cluster.control() == name) {
            Some(cluster) => Ok(Host::named(directory(), name, cluster.api())),
            None => bail!("there is no host {name}"),
        }
    }

    /// kubectl for a cluster.
    #[must_use]
    pub fn kubectl(&self, cluster: Cluster) -> Kubectl {
        let file = self.kubeconfig_of(cluster);
        Kubectl::new(&self.tools.kubectl(), Some(&file), cluster.name)
    }

    fn kubeconfig_of(&self, cluster: Cluster) -> PathBuf {
        directory().join(format!("{}.kubeconfig", cluster.name))
    }

    /// Writes the kubeconfig with a context for each cluster.
    pub fn write_kubeconfig(&self, file: &Path) -> anyhow::Result<()> {
        let admins = self.shape.clusters().map(|cluster| self.admin(cluster));
        let admins = admins.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        write_kubeconfig(&admins, file)
    }

    fn admin(&self, cluster: Cluster) -> anyhow::Result<Admin> {
        let pki = PathBuf::from(self.control(cluster).pki());
        let read = |name: &str| {
            fs::read(pki.join(name)).with_context(|| format!("reading {name} of the admin"))
        };
        Ok(Admin {
            cluster,
            authority: read("ca.crt")?,
            certificate: read("admin.crt")?,
            key: read("admin.key")?,
        })
    }

    /// Adds a node to a cluster; its name.
    pub fn add_node(&mut self, cluster: &str) -> anyhow::Result<String> {
        let site = self.cluster(cluster)?;
        let taken: Vec<u8> = self
            .workers_of(cluster)
            .map(|worker| worker.number)
            .collect();
        let number = (1..=u8::MAX).find(|number| !taken.contains(number));
        let worker = number.and_then(|number| site.worker(number));
        let worker = worker.with_context(|| format!("{cluster} has no room for a node"))?;
        let others: Vec<Worker> = self.workers_of(cluster).cloned().collect();
        let control = self.control(site);
        control.certify(std::slice::from_ref(&worker))?;
        let node = Node::new(directory(), &worker, &self.shape, &self.tools)?;
        let mut journal = Journal::create(directory())?;
        let program = std::env::current_exe()?;
        node.start(&program, &control, &others, &mut journal)?;
        for other in &others {
            ways::route(&self.host(&other.name)?.netns(), &worker)?;
        }
        ways::route(&control.host.netns(), &worker)?;
        node.load(&self.tools.images())?;
        node.load(&self.images)?;
        self.kubectl(site)
            .apply(&config::node(&worker).to_string())?;
        node.join()?;
        let name = worker.name.clone();
        self.workers.push(worker);
        self.write()?;
        Ok(name)
    }

    /// Ends a node at once and takes its disk; its Node object stays, as when a machine is lost.
    pub fn lose_node(&mut self, name: &str) -> anyhow::Result<()> {
        let host = self.host(name)?;
        ensure!(
            self.workers.iter().any(|worker| worker.name == name),
            "{name} is no node"
        );
        host.destroy()?;
        self.workers.retain(|worker| worker.name != name);
        self.write()
    }

    /// Drops what goes between the clusters.
    pub fn cut(&self) -> anyhow::Result<()> {
        let [east, west] = self.shape.clusters();
        let all = |cluster: Cluster| -> Vec<Ipv4Addr> {
            let own = self.workers_of(cluster.name).map(|worker| worker.address);
            own.chain([cluster.api()]).collect()
        };
        ways::cut(&all(east), &all(west))
    }

    /// Joins them again.
    pub fn heal(&self) -> anyhow::Result<()> {
        ways::heal()
    }

    fn write(&self) -> anyhow::Result<()> {
        let part = directory().join("bed.part");
        fs::write(&part, serde_json::to_string_pretty(self)?)?;
        fs::rename(&part, directory().join(STATE)).context("writing the record of the clusters")
    }
}

fn directory() -> &'static Path {
    Path::new(DIRECTORY)
}

/// Removes what is written down, and the plug that would go a moment later by itself.
fn clear() -> anyhow::Result<()> {
    ways::unplug();
    Journal::undo(directory()).map(drop)
}

/// The right to make and remove clusters, until it is dropped.
fn take_turn() -> anyhow::Result<Flock<File>> {
    let file = File::options().create(true).append(true).open(LOCK)?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| anyhow!(errno).context(format!("locking {LOCK}")))
}

fn write_kubeconfig(admins: &[Admin], file: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut options = File::options();
    options.create(true).write(true).truncate(true).mode(0o600);
    let mut open = options
        .open(file)
        .with_context(|| format!("writing {}", file.display()))?;
    std::io::Write::write_all(&mut open, access::kubeconfig(admins).as_bytes())?;
    Ok(())
}

fn joined<T>(outcome: thread::Result<T>) -> T {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
