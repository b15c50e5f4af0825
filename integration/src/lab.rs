//! Shell: nodes as network namespaces, as Kubernetes nodes really look: pods behind a bridge, the
//! CNI's masquerade rule, kube-proxy's rule against what conntrack calls invalid, forwarding on.
//!
//! Everything that a lab makes is written down before it is made, so that [`remove`] finds it even
//! after a killed run. Not here: our own programs and what they are configured with; see `demo`.

pub mod clocks;
pub mod digest;
pub mod fetch;
pub mod firewall;
pub mod hold;
pub mod journal;
pub mod netns;
pub mod network;
pub mod ping;
pub mod process;
pub mod question;
pub mod rate;
pub mod serve;
pub mod topology;
pub mod wait;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SigSet, Signal};

use journal::{Entry, Journal};
use netns::Netns;
use process::Processes;
use topology::{Node, Pod};

/// Where labs keep their records, logs, configurations and state.
const RUN_DIRECTORY: &str = "/run/causeway-lab";
/// Where the kernel keeps what is pinned.
const BPF_FILE_SYSTEM: &str = "/sys/fs/bpf";
/// Each name of a namespace begins with it.
const PREFIX: &str = "cway-";
/// The tag of the demo, whose namespaces have the shortest names.
pub const DEMO: &str = "demo";

/// As a shell says of a program that a signal ended.
const EXIT_INTERRUPTED: i32 = 130;

/// A running lab. Dropping it removes everything, unless it was told to stay.
pub struct Lab {
    tag: String,
    directory: PathBuf,
    journal: Journal,
    /// What runs in it
    pub processes: Processes,
    stays: bool,
    /// Held while this process lives, so that no other run takes this lab for a leftover
    _turn: Flock<File>,
}

impl Lab {
    /// An empty lab with the `wan` that joins its nodes; what a lab of the same tag left is removed first. Waits
    /// while another process has one of that tag.
    pub fn new(tag: &str) -> anyhow::Result<Lab> {
        let turn = take_turn(tag, FlockArg::LockExclusive)?.context("waited, and got no turn")?;
        remove(tag)?;
        let directory = Path::new(RUN_DIRECTORY).join(tag);
        let journal = Journal::create(&directory)?;
        let processes = Processes::new(&directory.join("log"))?;
        let mut lab = Lab {
            tag: tag.to_owned(),
            directory,
            journal,
            processes,
            stays: false,
            _turn: turn,
        };
        lab.make_namespace("wan")?;
        network::wan(&lab.netns("wan"))?;
        Ok(lab)
    }

    /// The namespace of a node, of a pod (`<node>-<pod>`), or `wan`.
    #[must_use]
    pub fn netns(&self, name: &str) -> Netns {
        let tag = if self.tag == DEMO {
            String::new()
        } else {
            format!("{}-", self.tag)
        };
        Netns::named(format!("{PREFIX}{tag}{name}"))
    }

    /// The namespace of a pod.
    #[must_use]
    pub fn pod(&self, pod: &Pod) -> Netns {
        self.netns(&pod.namespace())
    }

    /// Where a directory of this lab is, made or not.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A directory of this lab, made if absent.
    pub fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// Where a node's agent pins its maps and links; removed with the lab.
    pub fn pins(&mut self, node: &str) -> anyhow::Result<PathBuf> {
        let path = Path::new(BPF_FILE_SYSTEM).join(format!("causeway-lab-{}-{node}", self.tag));
        network::mount_bpf(Path::new(BPF_FILE_SYSTEM))?;
        self.journal.write(&Entry::Directory(path.clone()))?;
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// A directory of this lab on a disk of its own, of so many MiB.
    pub fn small_disk(&mut self, name: &str, mib: u32) -> anyhow::Result<()> {
        let path = self.directory(name)?;
        self.journal.write(&Entry::Mount(path.clone()))?;
        network::mount_small(&path, mib)
    }

    /// A node with its bridge, uplink, routes and rules.
    pub fn add_node(&mut self, node: &Node, others: &[Node]) -> anyhow::Result<()> {
        self.make_namespace(node.name)?;
        let netns = self.netns(node.name);
        network::node(node, others, &netns, &self.netns("wan"))?;
        firewall::node(node, &netns)
    }

    /// A pod on its node's bridge.
    pub fn add_pod(&mut self, node: &Node, pod: &Pod) -> anyhow::Result<()> {
        self.make_namespace(&pod.namespace())?;
        network::pod(node, pod, &self.netns(node.name), &self.pod(pod))
    }

    /// A pod that its node routes to, without a bridge.
    pub fn add_routed_pod(&mut self, node: &Node, pod: &Pod) -> anyhow::Result<()> {
        self.make_namespace(&pod.namespace())?;
        network::routed_pod(node, pod, &self.netns(node.name), &self.pod(pod))
    }

    /// Something on a node that is no pod of its cluster.
    pub fn add_stray(&mut self, node: &Node) -> anyhow::Result<Netns> {
        self.make_namespace("stray")?;
        let netns = self.netns("stray");
        network::stray(&self.netns(node.name), &netns)?;
        Ok(netns)
    }

    /// Takes a pod away, as kubelet does: its processes, then its namespace.
    pub fn remove_pod(&mut self, pod: &Pod) -> anyhow::Result<()> {
        self.processes.kill_named(pod.name)?;
        // The kernel takes its time to empty a namespace; the port goes at once, as the CNI sees to.
        self.netns(pod.node)
            .ip(&format!("link delete {}\n", pod.port()))?;
        self.pod(pod).delete()
    }

    /// Starts a program in a namespace; its output goes to a log of that name.
    pub fn spawn(
        &mut self,
        netns: &Netns,
        name: &str,
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let entry = self.processes.spawn(netns, name, program, args, env)?;
        self.journal.write(&entry)
    }

    /// Leaves everything as it is when this value goes.
    pub fn stay(&mut self) {
        self.stays = true;
    }

    fn make_namespace(&mut self, name: &str) -> anyhow::Result<()> {
        let netns = self.netns(name);
        self.journal.write(&Entry::Netns(netns.name().to_owned()))?;
        netns.create()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        self.processes.kill_all();
        if let Err(error) = remove(&self.tag) {
            tracing::error!(tag = self.tag, "the lab was not removed: {error:#}");
        }
    }
}

/// Removes all that a lab of that tag made, whether it runs, failed or was killed.
pub fn remove(tag: &str) -> anyhow::Result<usize> {
    Journal::undo(&Path::new(RUN_DIRECTORY).join(tag))
}

/// Removes every lab but those that a live process is at work in; counts what was removed, and names the rest.
pub fn remove_all() -> anyhow::Result<(usize, Vec<String>)> {
    let (mut removed, mut in_use) = (0usize, Vec::new());
    let Ok(entries) = std::fs::read_dir(RUN_DIRECTORY) else {
        return Ok((removed, in_use));
    };
    for entry in entries {
        let path = entry?.path();
        let Some(tag) = path
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|_| path.is_dir())
        else {
            continue;
        };
        match take_turn(tag, FlockArg::LockExclusiveNonblock)? {
            Some(_turn) => removed = removed.saturating_add(Journal::undo(&path)?),
            None => in_use.push(tag.to_owned()),
        }
    }
    Ok((removed, in_use))
}

/// The right to a tag, until it is dropped or its process ends; None when another has it and no wait was asked for.
fn take_turn(tag: &str, how: FlockArg) -> anyhow::Result<Option<Flock<File>>> {
    std::fs::create_dir_all(RUN_DIRECTORY).with_context(|| format!("making {RUN_DIRECTORY}"))?;
    let path = Path::new(RUN_DIRECTORY).join(format!("{tag}.lock"));
    let file = OpenOptions::new().create(true).append(true).open(&path)?;
    match Flock::lock(file, how) {
        Ok(turn) => Ok(Some(turn)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(anyhow!(errno).context(format!("locking {}", path.display()))),
    }
}

/// Directory of our programs: told by xtask, else beside the running one.
pub fn programs() -> anyhow::Result<PathBuf> {
    if let Some(told) = std::env::var_os("CAUSEWAY_BIN_DIR") {
        return Ok(PathBuf::from(told));
    }
    let own = std::env::current_exe()?;
    let directory = own.parent().context("a program without a directory")?;
    // Test programs live one directory below.
    let up = if directory.ends_with("deps") {
        directory.parent()
    } else {
        None
    };
    Ok(up.unwrap_or(directory).to_owned())
}

/// The eBPF object: told by xtask, else where xtask builds it, beside the programs' directory.
pub fn object() -> anyhow::Result<PathBuf> {
    if let Some(told) = std::env::var_os("CAUSEWAY_EBPF_OBJECT") {
        return Ok(PathBuf::from(told));
    }
    let programs = programs()?;
    let target = programs
        .parent()
        .context("programs without a target directory")?;
    Ok(target.join("ebpf/bpfel-unknown-none/bpf/causeway-ebpf"))
}

/// Why this process cannot make a lab; None when it can.
#[must_use]
pub fn cannot_run() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root for network namespaces and eBPF".to_owned());
    }
    let missing = ["nft", "ip", "nsenter"]
        .into_iter()
        .filter(|name| !netns::is_installed(name));
    let missing: Vec<_> = missing.collect();
    (!missing.is_empty()).then(|| format!("needs the programs {}", missing.join(", ")))
}

/// An interrupted run removes its lab too. To be called before any thread is there: all have to inherit what is blocked.
pub fn clean_up_on_signals(tag: &'static str) -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            if let Err(error) = remove(tag) {
                eprintln!("the lab {tag:?} was not removed: {error:#}");
            }
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    Ok(())
}

/// For tests that need a lab: says why it cannot run, and panics when `REQUIRE_ROOT=1` demands it.
#[must_use]
pub fn test_may_run() -> bool {
    let Some(reason) = cannot_run() else {
        return true;
    };
    assert!(
        !std::env::var("REQUIRE_ROOT").is_ok_and(|v| v == "1"),
        "REQUIRE_ROOT=1, but this test {reason}"
    );
    eprintln!("not run: {reason}");
    false
}
