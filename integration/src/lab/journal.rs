//! Shell: what a lab made, written down before it is made and undone from what is written.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::netns::Netns;
use super::wait;

const FILE: &str = "journal";
/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// One thing that has to be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A network namespace, by name
    Netns(String),
    /// A directory with all that is in it
    Directory(PathBuf),
    /// A file system that was mounted there
    Mount(PathBuf),
    /// Control groups of containers: containerd has a directory for each in this one
    Containers(PathBuf),
    /// A process, with its start time so that another of the same number is left alone
    Process(i32, u64),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Netns(name) => write!(f, "netns {name}"),
            Entry::Directory(path) => write!(f, "directory {}", path.display()),
            Entry::Mount(path) => write!(f, "mount {}", path.display()),
            Entry::Containers(path) => write!(f, "containers {}", path.display()),
            Entry::Process(pid, start) => write!(f, "process {pid} {start}"),
        }
    }
}

fn parse(line: &str) -> Option<Entry> {
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "netns" => Some(Entry::Netns(rest.to_owned())),
        "directory" => Some(Entry::Directory(PathBuf::from(rest))),
        "mount" => Some(Entry::Mount(PathBuf::from(rest))),
        "containers" => Some(Entry::Containers(PathBuf::from(rest))),
        "process" => {
            let (pid, start) = rest.split_once(' ')?;
            Some(Entry::Process(pid.parse().ok()?, start.parse().ok()?))
        }
        _ => None,
    }
}

/// The record of one lab.
pub struct Journal {
    file: File,
}

impl Journal {
    /// A new one in a new directory.
    pub fn create(directory: &Path) -> anyhow::Result<Journal> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join(FILE))?;
        Ok(Journal { file })
    }

    /// Writes before the thing is made. At once, since several may write to one record: lines that got mixed up would name
    /// nothing that can be undone.
    pub fn write(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let line = format!("{entry}\n");
        let written = self.file.write_all(line.as_bytes());
        written.context("writing the lab's record")
    }

    /// Undoes all that the record in `directory` names, newest first, then removes the directory. Goes on over
    /// failures and reports them at the end; the record stays then.
    pub fn undo(directory: &Path) -> anyhow::Result<usize> {
        let Ok(text) = std::fs::read_to_string(directory.join(FILE)) else {
            return Ok(0);
        };
        let entries: Vec<_> = text.lines().filter_map(parse).collect();
        let mut failures = Vec::new();
        // Processes first: a namespace lives on while one is in it.
        let (processes, rest): (Vec<_>, Vec<_>) = entries
            .iter()
            .rev()
            .partition(|entry| matches!(entry, Entry::Process(..)));
        for entry in processes.iter().chain(&rest) {
            if let Err(error) = undo(entry) {
                failures.push(format!("{entry}: {error:#}"));
            }
        }
        if !failures.is_empty() {
            bail!("not undone: {}", failures.join("; "));
        }
        std::fs::remove_dir_all(directory)
            .with_context(|| format!("removing {}", directory.display()))?;
        Ok(entries.len())
    }
}

fn undo(entry: &Entry) -> anyhow::Result<()> {
    match entry {
        Entry::Netns(name) => Netns::named(name.clone()).delete(),
        Entry::Directory(path) if path.exists() => {
            std::fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))
        }
        Entry::Directory(_) => Ok(()),
        Entry::Mount(path) => match umount2(path, MntFlags::MNT_DETACH) {
            // It was never made, or is gone.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("unmounting {}", path.display())),
        },
        Entry::Containers(path) => remove_containers(path),
        Entry::Process(pid, start) => end(*pid, *start),
    }
}

/// The control groups of containers that were killed, which nobody else removes. Each is named like the directory that
/// containerd has for it.
pub fn remove_containers(state: &Path) -> anyhow::Result<()> {
    children(state)
        .iter()
        .filter_map(|container| container.file_name()?.to_str())
        .try_for_each(|id| remove_cgroup(&format!("k8s.io/{id}")))
}

/// One hierarchy for all controllers, or one for each, or both.
fn remove_cgroup(name: &str) -> anyhow::Result<()> {
    let root = Path::new(CGROUPS);
    let hierarchies = children(root).into_iter().chain([root.to_owned()]);
    for place in hierarchies.map(|hierarchy| hierarchy.join(name)) {
        if place.is_dir() {
            // A group is busy until the kernel is done with the processes that ended in it.
            wait::until(GONE, &format!("{} to be empty", place.display()), || {
                remove_tree(&place).map(|()| true)
            })?;
        }
    }
    Ok(())
}

/// Only directories can be removed there, and the files in them go with them.
fn remove_tree(place: &Path) -> anyhow::Result<()> {
    for child in children(place) {
        remove_tree(&child)?;
    }
    std::fs::remove_dir(place).with_context(|| format!("removing {}", place.display()))
}

fn children(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    // The kernel's links between hierarchies are none of ours.
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Kills a process that is still the one that was recorded, and waits until it is gone.
pub fn end(pid: i32, start: u64) -> anyhow::Result<()> {
    if start_time(pid) != Some(start) {
        return Ok(());
    }
    kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("killing {pid}"))?;
    wait::until(GONE, &format!("process {pid} to be gone"), || {
        Ok(start_time(pid) != Some(start))
    })
}

/// When a live process started, in the kernel's ticks; None for a zombie, which holds nothing any more.
#[must_use]
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets; what follows the last bracket does not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_written() {
        let entries = [
            Entry::Netns("cway-e1".into()),
            Entry::Directory("/run/a b".into()),
            Entry::Containers("/run/k8s.io".into()),
            Entry::Process(12, 3456),
        ];
        for entry in entries {
            assert_eq!(parse(&entry.to_string()), Some(entry));
        }
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn several_write_to_one_record() {
        const WRITERS: i32 = 8;
        const ENTRIES: i32 = 200;
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let mut journal = Journal::create(place.path()).unwrap();
                scope.spawn(move || {
                    for entry in 0..ENTRIES {
                        let number = writer * ENTRIES + entry;
                        let start = u64::try_from(number).unwrap();
                        journal.write(&Entry::Process(number, start)).unwrap();
                    }
                });
            }
        });
        let text = std::fs::read_to_string(place.path().join(FILE)).unwrap();
        let read = text.lines().map(|line| match parse(line) {
            Some(Entry::Process(number, _)) => number,
            other => panic!("{line}: {other:?}"),
        });
        let read: std::collections::BTreeSet<_> = read.collect();
        assert_eq!(read.len(), usize::try_from(WRITERS * ENTRIES).unwrap());
    }

    #[test]
    fn own_start_time_is_stable() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).is_some());
        assert_eq!(start_time(own), start_time(own));
        assert_eq!(start_time(i32::MAX), None);
    }
}
