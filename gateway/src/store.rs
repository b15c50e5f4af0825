//! Shell: what outlives the process, in one redb file: protobuf bytes under names, with a format number.
//! What the bytes say is decided by their owners; here they are only kept, all of one change or none of it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

/// Format of this file. A newer one is refused, so that a downgrade loses nothing.
pub const FORMAT: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened; another gateway may have it.
    #[error("{path}: {source}; is another gateway running on this state directory?")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: redb::DatabaseError,
    },
    /// What is in it is not what was written.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Written by a later version.
    #[error(
        "{path} has format {found}, this version knows {FORMAT}: run the version that wrote it, or start with an empty state_dir"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// Reading or writing failed.
    #[error("state file: {0}")]
    Io(#[from] redb::Error),
}

/// One change: names with their new bytes, `None` for what is gone.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// The open file.
#[derive(Debug)]
pub struct Store {
    db: Database,
    dir: PathBuf,
}

/// Its name in the state directory.
const FILE: &str = "state.redb";

fn is_damage(error: &StorageError) -> bool {
    match error {
        StorageError::Corrupted(_) => true,
        // It is no file of this kind at all.
        StorageError::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

fn damaged(dir: &Path, why: &dyn fmt::Display) -> StoreError {
    StoreError::Damaged {
        path: dir.join(FILE),
        why: why.to_string(),
    }
}

/// For this user alone: one-time secrets are in it.
fn create(path: &Path) -> Result<Database, DatabaseError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.mode(0o600).open(path);
    let file = file.map_err(|error| DatabaseError::Storage(error.into()))?;
    Database::builder().create_with_backend(FileBackend::new(file)?)
}

/// Keeps a damaged file under another name, which is given back, so that a new one can take its place.
///
/// # Errors
/// When the file system refuses.
pub fn set_aside(dir: &Path, at_secs: u64) -> io::Result<PathBuf> {
    let path = dir.join(FILE);
    let aside = path.with_extension(format!("redb.damaged-{at_secs}"));
    std::fs::rename(&path, &aside)?;
    Ok(aside)
}

impl Store {
    /// Opens or makes `state.redb` in `dir`.
    ///
    /// # Errors
    /// When it is in use, damaged or of a later format. A damaged one may be [`set_aside`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let db = match create(&path) {
            Ok(db) => db,
            Err(DatabaseError::Storage(error)) if is_damage(&error) => {
                return Err(damaged(dir, &error));
            }
            Err(source) => return Err(StoreError::Open { path, source }),
        };
        Self::of(db, dir)
    }

    fn of(db: Database, dir: &Path) -> Result<Self, StoreError> {
        let store = Self {
            db,
            dir: dir.to_owned(),
        };
        match store.format() {
            Ok(found) if found > FORMAT => {
                let path = dir.join(FILE);
                Err(StoreError::Newer { path, found })
            }
            Ok(_) => Ok(store),
            Err(redb::Error::Corrupted(why)) => Err(damaged(dir, &why)),
            Err(error) => Err(error.into()),
        }
    }

    /// What the bytes under a name say cannot be read.
    #[must_use]
    pub fn unreadable(&self, name: &str, why: &dyn fmt::Display) -> StoreError {
        damaged(&self.dir, &format!("{name}: {why}"))
    }

    /// The file's format; writes ours into a new file.
    fn format(&self) -> Result<u64, redb::Error> {
        let write = self.db.begin_write()?;
        let found = {
            let mut meta = write.open_table(META)?;
            let found = meta.get("format")?.map(|v| v.value());
            if found.is_none() {
                meta.insert("format", FORMAT)?;
            }
            write.open_table(VALUES)?;
            found.unwrap_or(FORMAT)
        };
        write.commit()?;
        Ok(found)
    }

    /// Everything that is kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let load = || -> Result<_, redb::Error> {
            let read = self.db.begin_read()?;
            let table = read.open_table(VALUES)?;
            let mut all = BTreeMap::new();
            for row in table.iter()? {
                let (name, bytes) = row?;
                all.insert(name.value().to_owned(), bytes.value().to_vec());
            }
            Ok(all)
        };
        match load() {
            Err(redb::Error::Corrupted(why)) => Err(damaged(&self.dir, &why)),
            loaded => Ok(loaded?),
        }
    }

    /// Writes one change; it is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is then.
    pub fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            {
                let mut table = write.open_table(VALUES)?;
                for (name, bytes) in changes {
                    match bytes {
                        Some(bytes) => table.insert(name.as_str(), bytes.as_slice())?,
                        None => table.remove(name.as_str())?,
                    };
                }
            }
            Ok(write.commit()?)
        };
        Ok(write()?)
    }
}
