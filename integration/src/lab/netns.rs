//! Shell: one network namespace: to make, to enter, to run things in.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

/// Where named namespaces are mounted.
const DIRECTORY: &str = "/run/netns";

/// A named network namespace, whether it is there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// The namespace of that name.
    #[must_use]
    pub fn named(name: String) -> Netns {
        Netns { name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// Makes it, with its loopback up.
    pub fn create(&self) -> anyhow::Result<()> {
        ip(&["netns", "add", &self.name])?;
        self.ip("link set lo up\n")
    }

    /// Removes it and every device in it; none is fine.
    pub fn delete(&self) -> anyhow::Result<()> {
        if self.path().exists() {
            ip(&["netns", "delete", &self.name])
        } else {
            Ok(())
        }
    }

    /// Runs lines of `ip` in it.
    pub fn ip(&self, lines: &str) -> anyhow::Result<()> {
        feed(
            Command::new("ip").args(["-n", &self.name, "-batch", "-"]),
            lines,
        )
    }

    /// Runs lines of `tc` in it.
    pub fn tc(&self, lines: &str) -> anyhow::Result<()> {
        feed(
            Command::new("tc").args(["-n", &self.name, "-batch", "-"]),
            lines,
        )
    }

    /// Applies nftables rules in it.
    pub fn nft(&self, rules: &str) -> anyhow::Result<()> {
        feed(self.command("nft").args(["-f", "-"]), rules)
    }

    /// A command that runs in it and nowhere else differs from its caller: `ip netns exec` would mount a new
    /// /sys, and pinned maps would be out of sight.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs `work` on a thread that is in this namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let path = self.path();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| -> anyhow::Result<T> {
                let file =
                    File::open(&path).with_context(|| format!("opening {}", path.display()))?;
                setns(file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("entering {}", self.name))?;
                Ok(work())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Sets a kernel parameter in it: `net/ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let path = Path::new("/proc/sys").join(name);
        self.enter(|| std::fs::write(&path, value))?
            .with_context(|| format!("writing {value} to {name}"))
    }

    /// Whether it has that kernel parameter.
    pub fn has_sysctl(&self, name: &str) -> anyhow::Result<bool> {
        self.enter(|| Path::new("/proc/sys").join(name).exists())
    }
}

/// Is a program of that name installed?
#[must_use]
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .any(|directory| directory.join(name).is_file())
}

/// Runs `ip` outside.
pub fn ip(args: &[&str]) -> anyhow::Result<()> {
    feed(Command::new("ip").args(args), "")
}

/// Runs a command with this text as its input; its complaint is the error.
fn feed(command: &mut Command, text: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that ended before it read all says why on its standard error.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{name} {:?}: {}\n{text}",
            command.get_args().collect::<Vec<_>>(),
            complaint.trim()
        );
    }
    Ok(())
}
