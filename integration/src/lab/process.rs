//! Shell: the processes that run in a lab, by name, each with a log.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::journal::{Entry, start_time};
use super::netns::Netns;

/// Children by name.
pub struct Processes {
    logs: PathBuf,
    children: BTreeMap<String, Child>,
}

impl Processes {
    /// None yet; logs go to that directory.
    pub fn new(logs: &Path) -> anyhow::Result<Processes> {
        std::fs::create_dir_all(logs).with_context(|| format!("making {}", logs.display()))?;
        Ok(Processes {
            logs: logs.to_owned(),
            children: BTreeMap::new(),
        })
    }

    /// The log of a process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Starts one; a dead one of the same name is replaced, and its log goes on.
    pub fn spawn(
        &mut self,
        netns: &Netns,
        name: &str,
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> anyhow::Result<Entry> {
        if self.is_alive(name) {
            bail!("{name} runs already");
        }
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(name))?;
        // nsenter replaces itself by the program, so the child's number is the program's own.
        let mut command = netns.command(program);
        command
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let unblock = || Ok(SigSet::empty().thread_set_mask()?);
        // SAFETY: between fork and exec, one system call that is safe there (signal-safety(7)).
        unsafe {
            // Who waits for signals in a thread of its own has blocked them, and a child would have them blocked too.
            command.pre_exec(unblock);
        }
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let pid = i32::try_from(child.id())?;
        let start = start_time(pid).with_context(|| format!("{name} ended at once"))?;
        self.children.insert(name.to_owned(), child);
        Ok(Entry::Process(pid, start))
    }

    /// The number of one that was started.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.children.get(name).map(Child::id)
    }

    /// Whether it runs.
    pub fn is_alive(&mut self, name: &str) -> bool {
        self.children
            .get_mut(name)
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Names of those that have ended though nobody killed them.
    pub fn dead(&mut self) -> Vec<String> {
        let names: Vec<_> = self.children.keys().cloned().collect();
        names
            .into_iter()
            .filter(|name| !self.is_alive(name))
            .collect()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let mut child = self
            .children
            .remove(name)
            .with_context(|| format!("{name} was never started"))?;
        child.kill().with_context(|| format!("killing {name}"))?;
        child.wait()?;
        Ok(())
    }

    /// Asks it to end by SIGTERM and waits.
    pub fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        let mut child = self
            .children
            .remove(name)
            .with_context(|| format!("{name} was never started"))?;
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        child.wait()?;
        Ok(())
    }

    /// Sends it a signal that does not end it.
    pub fn signal(&mut self, name: &str, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid(name);
        let pid = pid.with_context(|| format!("{name} was never started"))?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }

    /// Kills that one and every `<name>:<something>` beside it.
    pub fn kill_named(&mut self, name: &str) -> anyhow::Result<()> {
        let beside = format!("{name}:");
        let names: Vec<_> = self
            .children
            .keys()
            .filter(|k| *k == name || k.starts_with(&beside))
            .cloned()
            .collect();
        names.iter().try_for_each(|name| self.kill(name))
    }

    /// Kills all, for the end.
    pub fn kill_all(&mut self) {
        for child in self.children.values_mut() {
            let _ = child.kill();
        }
        for child in self.children.values_mut() {
            let _ = child.wait();
        }
        self.children.clear();
    }

    /// The end of a log, for a failure's report.
    #[must_use]
    pub fn tail(&self, name: &str, lines: usize) -> String {
        let text = std::fs::read_to_string(self.log(name)).unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        all.iter()
            .skip(all.len().saturating_sub(lines))
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Seconds of processor time that a process has used.
pub fn ticks(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name, which may have anything in it (proc_pid_stat(5)): utime and stime are the fields 14 and 15.
    let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| -> anyhow::Result<f64> {
        let text = fields
            .get(number.saturating_sub(3))
            .context("/proc/PID/stat")?;
        Ok(text.parse()?)
    };
    let each = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?;
    Ok((field(14)? + field(15)?) / each.context("ticks of a second")? as f64)
}
