//! Shell: a directory of YAML files to Objects. Polled: the whole directory each time, so a change that was
//! missed costs a moment and no truth.
//!
//! A changed file is read once it looks the same in two polls, so that one that is just being written is
//! not taken for half of it. A file that cannot be read keeps its last good state, over restarts too.

mod memory;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use causeway_proto::model::{Problem, ProblemKind, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::objects::{BadManifest, Manifest, Objects, parse};
use memory::Memory;
pub use memory::MemoryError;

/// Kernels stamp files by a coarse clock: within so many milliseconds of a change there may be another with
/// the same stamp.
const COARSE_MS: u64 = 1000;
/// Bytes of one file: a few thousand objects; etcd itself takes 1.5 MiB an object.
const FILE_BYTES: u64 = 64 << 20;

/// The directory and what was last good in it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    memory: Memory,
    files: BTreeMap<String, File>,
    /// Why the directory itself cannot be read.
    unreadable: Option<String>,
    started: bool,
}

/// A directory that cannot be started from.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The directory.
    #[error("{path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the directory says now.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Of all files, creation times filled in.
    pub objects: Objects,
    /// What could not be read, and what is twice or of no use.
    pub problems: Vec<Problem>,
    /// Files (or the directory) that could not be read; their last good state is in `objects`.
    pub broken: usize,
}

#[derive(Debug, Default)]
struct File {
    /// As it was when it was read.
    read: Option<Stamp>,
    /// Whether it had been changed only just then.
    fresh: bool,
    /// As it was at the poll before.
    seen: Option<Stamp>,
    /// What was read; `None` when nothing could be.
    text: Option<String>,
    good: Manifest,
    bad: Option<BadManifest>,
}

/// Changes whenever the file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn is_fresh(&self, now: Timestamp) -> bool {
        let (secs, nanos) = self.modified;
        let millis = secs.saturating_mul(1000).saturating_add(nanos / 1_000_000);
        now.since(Timestamp(u64::try_from(millis).unwrap_or(0))) < COARSE_MS
    }

    fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Directory {
    /// With the memory of creation times and of last good texts in `memory`, or one that ends with this
    /// process.
    ///
    /// # Errors
    /// When the memory cannot be read, or the directory cannot and there is no memory of it: to publish
    /// nothing would withdraw all.
    pub fn open(path: &Path, memory: Option<PathBuf>) -> Result<Self, OpenError> {
        let memory = Memory::load(memory)?;
        let listed = list(path);
        if let (Err(source), true) = (&listed, memory.is_empty()) {
            let source = io::Error::new(source.kind(), source.to_string());
            let path = path.to_owned();
            return Err(OpenError::Directory { path, source });
        }
        let remembered = memory.files().map(|name| {
            let good = memory.good(name);
            let file = File {
                good,
                ..File::default()
            };
            (name.to_owned(), file)
        });
        Ok(Self {
            path: path.to_owned(),
            files: remembered.collect(),
            memory,
            unreadable: None,
            started: false,
        })
    }

    /// What the directory says, if that has changed since the last time; always the first time.
    pub fn poll(&mut self, now: Timestamp) -> Option<Reading> {
        let first = !self.started;
        let changed = match list(&self.path) {
            Ok(stamps) => self.refresh(&stamps, first, now) | self.unreadable.take().is_some(),
            Err(error) => {
                let reason = error.to_string();
                self.unreadable.replace(reason.clone()) != Some(reason)
            }
        };
        self.started = true;
        (changed || first).then(|| self.reading(now))
    }

    /// Reads what has changed and settled, forgets what has gone; whether there was anything.
    fn refresh(&mut self, stamps: &BTreeMap<String, Stamp>, first: bool, now: Timestamp) -> bool {
        let mut changed = false;
        for (name, stamp) in stamps {
            let file = self.files.entry(name.clone()).or_default();
            let settled = file.seen.replace(*stamp) == Some(*stamp) || first;
            if settled && (file.fresh || file.read != Some(*stamp)) {
                file.read = Some(*stamp);
                file.fresh = stamp.is_fresh(now);
                changed |= if stamp.length > FILE_BYTES {
                    file.is_bad("larger than 64 MiB; split it".to_owned())
                } else {
                    file.take(&self.path.join(name), name, &mut self.memory)
                };
            }
        }
        // Gone at two polls: an editor may take a file away and put another in its place.
        let gone = |name: &String, file: &mut File| {
            !stamps.contains_key(name) && file.seen.take().is_none()
        };
        let names: Vec<String> = self
            .files
            .iter_mut()
            .filter_map(|(name, file)| gone(name, file).then(|| name.clone()))
            .collect();
        for name in names {
            self.files.remove(&name);
            self.memory.forget(&name);
            changed = true;
        }
        changed
    }

    fn reading(&mut self, now: Timestamp) -> Reading {
        let files = self.files.iter();
        let good = files.map(|(name, file)| (name.as_str(), &file.good));
        let (mut objects, mut problems) = Objects::gather(good);
        let bad = |subject: String, message: String| Problem {
            kind: ProblemKind::BadManifest,
            subject,
            message: format!("{message}; what it said before stays"),
        };
        for (name, file) in &self.files {
            if let Some(reason) = &file.bad {
                let subject = format!("{name}:{}", reason.line);
                problems.push(bad(subject, reason.reason.clone()));
            }
        }
        if let Some(reason) = &self.unreadable {
            let subject = self.path.display().to_string();
            problems.push(bad(subject, format!("cannot be read: {reason}")));
        }
        let broken = problems
            .iter()
            .filter(|p| p.kind == ProblemKind::BadManifest)
            .count();
        self.date(&mut objects, now, broken == 0);
        if let Err(error) = self.memory.save() {
            problems.push(Problem {
                kind: ProblemKind::BadManifest,
                subject: "state".to_owned(),
                message: format!("{error}; creation times may be lost with this process"),
            });
        }
        Reading {
            objects,
            problems,
            broken,
        }
    }

    /// An export without a creation time was created when it was first seen. Times of exports that are
    /// gone are forgotten, unless they may be in a file that cannot be read.
    fn date(&mut self, objects: &mut Objects, now: Timestamp, forget: bool) {
        if forget {
            self.memory
                .keep_times(|key| objects.exports.contains_key(key));
        }
        for (key, export) in &mut objects.exports {
            if export.metadata.creation_timestamp.is_none() {
                let first = self.memory.first_seen(key, now);
                export.metadata.creation_timestamp = time(first);
            }
        }
    }
}

fn time(at: Timestamp) -> Option<Time> {
    let millis = i64::try_from(at.0).ok()?;
    k8s_openapi::jiff::Timestamp::from_millisecond(millis)
        .ok()
        .map(Time)
}

impl File {
    /// Cannot be read at all; whether that is news.
    fn is_bad(&mut self, reason: String) -> bool {
        let bad = Some(BadManifest { line: 1, reason });
        self.text = None;
        std::mem::replace(&mut self.bad, bad.clone()) != bad
    }

    /// Reads it; whether it says something new.
    fn take(&mut self, path: &Path, name: &str, memory: &mut Memory) -> bool {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.is_bad(error.to_string()),
        };
        if self.text.as_ref() == Some(&text) {
            return false;
        }
        match parse(&text) {
            Ok(manifest) => {
                memory.keep(name, &text);
                self.good = manifest;
                self.bad = None;
            }
            Err(error) => self.bad = Some(error),
        }
        self.text = Some(text);
        true
    }
}

/// Files that end in .yaml or .yml, hidden ones left out.
fn list(directory: &Path) -> io::Result<BTreeMap<String, Stamp>> {
    let mut stamps = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if !is_yaml || name.starts_with('.') {
            continue;
        }
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => {
                stamps.insert(name.to_owned(), Stamp::of(&meta));
            }
            Ok(_) => tracing::trace!(path = %path.display(), "is no file"),
            // Gone since the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(stamps)
}

#[cfg(test)]
mod tests;
