use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use super::*;

fn change(name: &str, bytes: Option<&[u8]>) -> Changes {
    Changes::from([(name.to_owned(), bytes.map(<[u8]>::to_vec))])
}

#[test]
fn keeps_what_was_written_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mode = std::fs::metadata(dir.path().join(FILE)).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    assert!(store.load().unwrap().is_empty());
    store.write(&change("a", Some(b"1"))).unwrap();
    store.write(&change("b", Some(b"2"))).unwrap();
    store.write(&change("a", None)).unwrap();
    assert!(
        Store::open(dir.path()).is_err(),
        "two processes on one file"
    );
    drop(store);
    let again = Store::open(dir.path()).unwrap().load().unwrap();
    assert_eq!(again, BTreeMap::from([("b".to_owned(), b"2".to_vec())]));
}

#[test]
fn a_damaged_file_is_told_and_can_be_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let garbage: &[&[u8]] = &[b"no database", &[0; 4096]];
    for (n, garbage) in garbage.iter().enumerate() {
        std::fs::write(&path, garbage).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        let aside = set_aside(dir.path(), n as u64).unwrap();
        assert_eq!(std::fs::read(aside).unwrap(), *garbage);
        assert!(Store::open(dir.path()).unwrap().load().unwrap().is_empty());
    }
    // One that was good, and of which a piece was overwritten.
    let store = Store::open(dir.path()).unwrap();
    let much = vec![7; 100_000];
    store.write(&change("a", Some(&much))).unwrap();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..2048].fill(0xee);
    std::fs::write(&path, bytes).unwrap();
    let error = Store::open(dir.path()).and_then(|store| store.load().map(drop));
    assert!(
        matches!(error, Err(StoreError::Damaged { .. })),
        "{error:?}"
    );
}

#[test]
fn a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let write = store.db.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", 9).unwrap();
    write.commit().unwrap();
    drop(store);
    let e = Store::open(dir.path()).unwrap_err().to_string();
    assert!(e.contains("format 9"), "{e}");
}

/// What was asked of a disk.
#[derive(Debug, Clone)]
enum Op {
    Length(u64),
    Write(u64, Vec<u8>),
    Sync,
}

/// A disk in memory that writes down what is asked of it.
#[derive(Debug, Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    ops: Arc<Mutex<Vec<Op>>>,
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Length(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
        Op::Write(at, data) => {
            let at = usize::try_from(*at).unwrap();
            if bytes.len() < at + data.len() {
                bytes.resize(at + data.len(), 0);
            }
            bytes[at..at + data.len()].copy_from_slice(data);
        }
        Op::Sync => {}
    }
}

impl Disk {
    fn with(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Arc::new(Mutex::new(bytes)),
            ops: Arc::default(),
        }
    }

    fn done(&self) -> usize {
        self.ops.lock().unwrap().len()
    }

    fn ask(&self, op: Op) {
        apply(&mut self.bytes.lock().unwrap(), &op);
        self.ops.lock().unwrap().push(op);
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let bytes = self.bytes.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        let from = bytes.get(at..at + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.ask(Op::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.ask(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.ask(Op::Write(offset, data.to_vec()));
        Ok(())
    }
}

fn opened(disk: Disk) -> Store {
    let db = Database::builder().create_with_backend(disk).unwrap();
    Store::of(db, Path::new("/disk")).unwrap()
}

/// The disk after a crash before the operation of that number: all before the last sync is there, and of what came after it
/// what `kept` says.
fn crashed(ops: &[Op], at: usize, mut kept: impl FnMut() -> bool) -> Vec<u8> {
    let synced = ops[..at].iter().rposition(|op| matches!(op, Op::Sync));
    let mut bytes = Vec::new();
    for (n, op) in ops[..at].iter().enumerate() {
        if synced.is_some_and(|synced| n <= synced) || kept() {
            apply(&mut bytes, op);
        }
    }
    bytes
}

/// Whenever the process is killed or the power fails, at any write: what was kept before is there, and of a change all or
/// nothing.
#[test]
fn a_crash_at_any_write_leaves_all_of_a_change_or_nothing() {
    let disk = Disk::default();
    let store = opened(disk.clone());
    // After how many operations which state was promised.
    let mut promised = vec![(disk.done(), store.load().unwrap())];
    for n in 0..12u8 {
        let mut changes = change(&format!("value-{}", n % 5), Some(&vec![n; 3_000]));
        changes.extend(change("other", Some(&[n])));
        if n % 4 == 3 {
            changes.extend(change("value-0", None));
        }
        store.write(&changes).unwrap();
        promised.push((disk.done(), store.load().unwrap()));
    }
    let ops = disk.ops.lock().unwrap().clone();
    let (first, _) = promised[0];
    let mut seed = 1u64;
    let mut crashes = 0;
    for at in first..=ops.len() {
        let before = promised.iter().rfind(|(done, _)| *done <= at).unwrap();
        let after = promised.iter().find(|(done, _)| *done > at);
        for way in 0..4 {
            // All of it: the process was killed. Nothing or some of what was not synced: the power failed.
            let bytes = crashed(&ops, at, || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                way == 0 || way > 1 && seed >> 63 == 0
            });
            let found = opened(Disk::with(bytes)).load().unwrap();
            let is = |state: &(usize, BTreeMap<String, Vec<u8>>)| state.1 == found;
            assert!(is(before) || after.is_some_and(is), "write {at}, way {way}");
            crashes += 1;
        }
    }
    assert!(crashes > 200, "{crashes}");
}
