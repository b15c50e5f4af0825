//! Shell: what a controller of manifests must remember over restarts, in one file written whole: when
//! exports were first seen, and the last good text of each file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use causeway_certs::files::{FileError, write_private};
use causeway_proto::model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::objects::{Key, Manifest, parse};

/// Of the file; a later one that reads differently gets another number.
const FORMAT: u32 = 1;

#[derive(Debug, Default)]
pub(super) struct Memory {
    path: Option<PathBuf>,
    content: Content,
    changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    /// `NAMESPACE/NAME` of a ServiceExport to Unix milliseconds.
    first_seen: BTreeMap<String, u64>,
    /// File to text.
    good: BTreeMap<String, String>,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            format: FORMAT,
            first_seen: BTreeMap::new(),
            good: BTreeMap::new(),
        }
    }
}

/// A memory that cannot be used. Starting without it would date all exports anew, so this is the
/// operator's to decide.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file system refuses.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what this version writes.
    #[error("{path}: {reason}; remove it to date all exports anew")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] FileError),
}

fn name(key: &Key) -> String {
    format!("{}/{}", key.0, key.1)
}

impl Memory {
    pub(super) fn load(path: Option<PathBuf>) -> Result<Self, MemoryError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let wrong = |reason: String| MemoryError::Content {
            path: path.clone(),
            reason,
        };
        let content = match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str::<Content>(&text).map_err(|error| wrong(error.to_string()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(source) => return Err(MemoryError::Read { path, source }),
        };
        if content.format != FORMAT {
            let format = content.format;
            return Err(wrong(format!(
                "format {format}, and this version knows {FORMAT}"
            )));
        }
        Ok(Self {
            path: Some(path),
            content,
            changed: false,
        })
    }

    /// Writes what has changed; does nothing without a path.
    pub(super) fn save(&mut self) -> Result<(), MemoryError> {
        let Some(path) = self.path.as_ref().filter(|_| self.changed) else {
            return Ok(());
        };
        let text = serde_json::to_vec(&self.content).map_err(|error| MemoryError::Content {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        write_private(path, &text)?;
        self.changed = false;
        Ok(())
    }

    /// What the file said when it last could be read, in this process or one before.
    pub(super) fn good(&self, file: &str) -> Manifest {
        let text = self.content.good.get(file);
        text.and_then(|text| parse(text).ok()).unwrap_or_default()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.content.good.keys().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.content.good.is_empty()
    }

    pub(super) fn keep(&mut self, file: &str, text: &str) {
        // Without a path nothing outlives the process, and the process holds the objects themselves.
        if self.path.is_some() && self.content.good.get(file).map(String::as_str) != Some(text) {
            self.content.good.insert(file.to_owned(), text.to_owned());
            self.changed = true;
        }
    }

    pub(super) fn forget(&mut self, file: &str) {
        self.changed |= self.content.good.remove(file).is_some();
    }

    pub(super) fn first_seen(&mut self, key: &Key, now: Timestamp) -> Timestamp {
        let known = self.content.first_seen.get(&name(key));
        let first = known.copied().unwrap_or(now.0);
        if known.is_none() {
            self.content.first_seen.insert(name(key), first);
            self.changed = true;
        }
        Timestamp(first)
    }

    pub(super) fn keep_times(&mut self, mut there: impl FnMut(&Key) -> bool) {
        let before = self.content.first_seen.len();
        self.content.first_seen.retain(|name, _| {
            name.split_once('/')
                .is_some_and(|(namespace, name)| there(&(namespace.to_owned(), name.to_owned())))
        });
        self.changed |= self.content.first_seen.len() != before;
    }
}
