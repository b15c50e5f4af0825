//! Shell: the first process of a host: it starts and ends the host's programs when told over a socket, starts
//! again what ended by itself, as a node's service manager does, and reaps what is left to it. When it is killed
//! the kernel ends everything that ran on that host.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::lab::wait;

/// Name of the socket in the host's directory.
const SOCKET: &str = "socket";
/// How long a program that was asked to end may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);
/// From the end of a program that nobody told to end to its next start.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two looks for children while there are none.
const IDLE: Duration = Duration::from_millis(100);

/// A program of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `kubelet`
    pub name: String,
    /// What to run
    pub program: PathBuf,
    /// Its arguments
    pub args: Vec<String>,
}

/// What the supervisor is asked.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Run it, unless it runs
    Start(Unit),
    /// Ask it to end, and wait until it has
    Stop(String),
    /// End it at once, and wait
    Kill(String),
    /// Who runs?
    List,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Running(Vec<String>),
    Failed(String),
}

/// What a host runs.
#[derive(Debug, Default)]
struct Programs {
    /// Those that are to run, by name
    wanted: BTreeMap<String, Unit>,
    /// Process numbers on this host of those that do
    running: BTreeMap<String, i32>,
}

type Shared = Arc<Mutex<Programs>>;

fn lock(programs: &Shared) -> MutexGuard<'_, Programs> {
    programs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until it is killed. Logs go to `log/` in the directory.
pub fn serve(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory.join("log"))?;
    let path = directory.join(SOCKET);
    let _ = std::fs::remove_file(&path);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("listening at {}", path.display()))?;
    let programs = Shared::default();
    let (reaped, logs) = (Arc::clone(&programs), directory.to_owned());
    std::thread::spawn(move || reap(&logs, &reaped));
    for stream in listener.incoming() {
        let (stream, programs) = (stream?, Arc::clone(&programs));
        let directory = directory.to_owned();
        std::thread::spawn(move || answer(&stream, &directory, &programs));
    }
    Ok(())
}

/// Waits for children for ever; a program that ended runs no more, and runs again if it should.
fn reap(directory: &Path, programs: &Shared) {
    loop {
        match waitpid(None, None) {
            Ok(status) => {
                let Some(pid) = status.pid().map(Pid::as_raw) else {
                    continue;
                };
                let mut held = lock(programs);
                let name = held.running.iter().find(|(_, p)| **p == pid);
                let Some(name) = name.map(|(name, _)| name.clone()) else {
                    continue;
                };
                held.running.remove(&name);
                if held.wanted.contains_key(&name) {
                    eprintln!("{name} ended by itself: {status:?}");
                    let (directory, programs) = (directory.to_owned(), Arc::clone(programs));
                    std::thread::spawn(move || again(&name, &directory, &programs));
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => std::thread::sleep(IDLE),
        }
    }
}

/// Starts it again after a while, if by then it should still run.
fn again(name: &str, directory: &Path, programs: &Shared) {
    std::thread::sleep(AGAIN);
    let mut held = lock(programs);
    let unit = held.wanted.get(name).cloned();
    if let Some(unit) = unit.filter(|_| !held.running.contains_key(name)) {
        match spawn(&unit, directory) {
            Ok(pid) => {
                held.running.insert(unit.name, pid);
            }
            Err(error) => eprintln!("{name} cannot be started again: {error:#}"),
        }
    }
}

fn answer(mut stream: &UnixStream, directory: &Path, programs: &Shared) {
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line).is_err() {
        return;
    }
    let reply = serde_json::from_str(&line)
        .context("a request")
        .and_then(|request| carry_out(request, directory, programs))
        .map_or_else(|error| Reply::Failed(format!("{error:#}")), Reply::Running);
    if let Ok(text) = serde_json::to_string(&reply) {
        // Who asked and left does not need to know.
        let _ = writeln!(stream, "{text}");
    }
}

fn carry_out(request: Request, directory: &Path, programs: &Shared) -> anyhow::Result<Vec<String>> {
    match request {
        Request::Start(unit) => start(unit, directory, programs)?,
        Request::Stop(name) => end(&name, Signal::SIGTERM, programs)?,
        Request::Kill(name) => end(&name, Signal::SIGKILL, programs)?,
        Request::List => {}
    }
    Ok(lock(programs).running.keys().cloned().collect())
}

fn start(unit: Unit, directory: &Path, programs: &Shared) -> anyhow::Result<()> {
    // Held until it is listed, so that one that ends at once is not listed after it was reaped.
    let mut held = lock(programs);
    if !held.running.contains_key(&unit.name) {
        held.running
            .insert(unit.name.clone(), spawn(&unit, directory)?);
        held.wanted.insert(unit.name.clone(), unit);
    }
    Ok(())
}

/// Its process number.
fn spawn(unit: &Unit, directory: &Path) -> anyhow::Result<i32> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log(directory, &unit.name))?;
    let child = Command::new(&unit.program)
        .args(&unit.args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {}", unit.program.display()))?;
    Ok(i32::try_from(child.id())?)
}

fn end(name: &str, signal: Signal, programs: &Shared) -> anyhow::Result<()> {
    let pid = || lock(programs).running.get(name).copied();
    lock(programs).wanted.remove(name);
    let Some(first) = pid() else { return Ok(()) };
    let _ = kill(Pid::from_raw(first), signal);
    let gone = || Ok(pid() != Some(first));
    if wait::until(PATIENCE, "it to end", gone).is_err() {
        let _ = kill(Pid::from_raw(first), Signal::SIGKILL);
        wait::until(PATIENCE, &format!("{name} to be gone"), gone)?;
    }
    Ok(())
}

/// The log of a unit.
#[must_use]
pub fn log(directory: &Path, name: &str) -> PathBuf {
    directory.join("log").join(format!("{name}.log"))
}

/// Runs a program on the host of that directory, unless it runs.
pub fn start_unit(directory: &Path, unit: Unit) -> anyhow::Result<()> {
    ask(directory, &Request::Start(unit)).map(drop)
}

/// Asks one to end, and waits until it has.
pub fn stop_unit(directory: &Path, name: &str) -> anyhow::Result<()> {
    ask(directory, &Request::Stop(name.to_owned())).map(drop)
}

/// Ends one at once, and waits.
pub fn kill_unit(directory: &Path, name: &str) -> anyhow::Result<()> {
    ask(directory, &Request::Kill(name.to_owned())).map(drop)
}

/// Names of those that run.
pub fn units(directory: &Path) -> anyhow::Result<Vec<String>> {
    ask(directory, &Request::List)
}

fn ask(directory: &Path, request: &Request) -> anyhow::Result<Vec<String>> {
    let path = directory.join(SOCKET);
    let mut stream =
        UnixStream::connect(&path).with_context(|| format!("no host at {}", path.display()))?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match serde_json::from_str(&line).context("the host hung up")? {
        Reply::Running(names) => Ok(names),
        Reply::Failed(why) => bail!("{why}"),
    }
}
