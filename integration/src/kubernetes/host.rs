//! Shell: a host of a cluster: network, mount, process, name and IPC namespaces of its own, held by its first process.
//! It is what a machine is to a real cluster, and all that runs on it goes when that process is killed.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::supervisor::{self, Unit};
use super::{mounts, ways};
use crate::lab::journal::{Entry, Journal, end, remove_containers, start_time};
use crate::lab::netns::Netns;
use crate::lab::wait;

/// How long a host may take to be there.
const START: Duration = Duration::from_secs(10);
/// The file in which the first process tells its number outside.
const PID: &str = "pid";

/// One host, whether it runs or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `east-1`, `east-control`
    pub name: String,
    /// Its address on the wan
    pub address: Ipv4Addr,
    directory: PathBuf,
}

impl Host {
    /// The host of that name of the bed in that directory.
    #[must_use]
    pub fn named(bed: &Path, name: &str, address: Ipv4Addr) -> Host {
        Host {
            name: name.to_owned(),
            address,
            directory: bed.join(name),
        }
    }

    /// Its network namespace.
    #[must_use]
    pub fn netns(&self) -> Netns {
        ways::netns(&self.name)
    }

    /// Where its state is, outside as well as inside.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a file of its root is seen outside; only of /etc, /run and /var.
    #[must_use]
    pub fn outside(&self, path: &str) -> PathBuf {
        self.directory.join(path.trim_start_matches('/'))
    }

    /// Makes it and waits until it answers. Its directory is kept if there is one, as a disk is over a reboot.
    pub fn start(&self, program: &Path, journal: &mut Journal) -> anyhow::Result<()> {
        let netns = self.netns();
        journal.write(&Entry::Netns(netns.name().to_owned()))?;
        journal.write(&Entry::Containers(self.containers()))?;
        netns.create()?;
        ways::plug(&netns, &self.name, self.address)?;
        std::fs::create_dir_all(&self.directory)?;
        let pid = self.directory.join(PID);
        let _ = std::fs::remove_file(&pid);
        let log = std::fs::File::create(self.directory.join("host.log"))?;
        let child = netns
            .command("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--uts", "--ipc", "--"])
            .arg(program)
            .arg("host")
            .arg(&self.directory)
            .arg(&self.name)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting a host")?;
        journal.write(&entry(i32::try_from(child.id())?)?)?;
        let what = format!("{} to come up", self.name);
        let first = wait::value(START, &what, || {
            let text = std::fs::read_to_string(&pid)?;
            Ok(Some(text.trim().parse::<i32>()?))
        });
        let first = first.with_context(|| self.log())?;
        journal.write(&entry(first)?)?;
        wait::until(START, &what, || {
            Ok(supervisor::units(&self.directory).is_ok())
        })
        .with_context(|| self.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("host.log")).unwrap_or_default()
    }

    /// Where its containerd has a directory for each container.
    fn containers(&self) -> PathBuf {
        self.outside("/run/containerd/io.containerd.runtime.v2.task/k8s.io")
    }

    /// Number of its first process; None when it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.directory.join(PID)).ok()?;
        let pid = text.trim().parse().ok()?;
        // The number may be another's by now; a host answers.
        start_time(pid)?;
        supervisor::units(&self.directory).ok().map(|_| pid)
    }

    /// Ends it at once with all that runs on it, and takes its disk.
    pub fn destroy(&self) -> anyhow::Result<()> {
        if let Some(pid) = self.pid() {
            end(pid, start_time(pid).unwrap_or_default())?;
        }
        self.netns().delete()?;
        remove_containers(&self.containers())?;
        std::fs::remove_dir_all(&self.directory)
            .with_context(|| format!("removing {}", self.directory.display()))
    }

    /// A command that runs on it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
        let pid = self
            .pid()
            .with_context(|| format!("{} is not up", self.name))?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={pid}"))
            .args(["--net", "--mount", "--pid", "--uts", "--ipc", "--"])
            .arg(program);
        Ok(command)
    }

    /// Runs a program on it to its end; an unsuccessful one is an error that tells its complaint.
    pub fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command(program)?;
        let output = command.args(args).stdin(Stdio::null()).output()?;
        ensure!(
            output.status.success(),
            "{program} {args:?} on {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(output)
    }

    /// Starts a program on it, unless it runs.
    pub fn start_unit<S: AsRef<str>>(
        &self,
        name: &str,
        program: &Path,
        args: &[S],
    ) -> anyhow::Result<()> {
        let unit = Unit {
            name: name.to_owned(),
            program: program.to_owned(),
            args: args.iter().map(|arg| arg.as_ref().to_owned()).collect(),
        };
        supervisor::start_unit(&self.directory, unit)
            .with_context(|| format!("{name} on {}", self.name))
    }

    /// Asks a program to end, and waits until it has.
    pub fn stop_unit(&self, name: &str) -> anyhow::Result<()> {
        supervisor::stop_unit(&self.directory, name)
            .with_context(|| format!("{name} on {}", self.name))
    }

    /// Ends a program at once.
    pub fn kill_unit(&self, name: &str) -> anyhow::Result<()> {
        supervisor::kill_unit(&self.directory, name)
            .with_context(|| format!("{name} on {}", self.name))
    }

    /// Whether a program runs on it.
    pub fn runs(&self, name: &str) -> anyhow::Result<bool> {
        Ok(supervisor::units(&self.directory)?
            .iter()
            .any(|unit| unit == name))
    }

    /// The end of a program's log.
    #[must_use]
    pub fn tail(&self, name: &str, lines: usize) -> String {
        let text =
            std::fs::read_to_string(supervisor::log(&self.directory, name)).unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        let from = all.len().saturating_sub(lines);
        all.get(from..).unwrap_or_default().join("\n")
    }
}

fn entry(pid: i32) -> anyhow::Result<Entry> {
    let start = start_time(pid).context("a host ended at once")?;
    Ok(Entry::Process(pid, start))
}

/// The life of a host's first process: it tells its number, makes the view of a host, and serves.
pub fn first_process(directory: &Path, name: &str) -> anyhow::Result<()> {
    // The machine's /proc knows the number by which this process is known outside.
    let outside = std::fs::read_link("/proc/self").context("the number of this process")?;
    mounts::make(directory, name)?;
    let part = directory.join("pid.part");
    std::fs::write(&part, outside.to_string_lossy().as_bytes())?;
    std::fs::rename(&part, directory.join(PID))?;
    supervisor::serve(directory)
}
