//! Shell: wall clocks that are wrong. A program that is started so reads its own from a file, as libfaketime sees to; the
//! machine's clock and monotonic time are left alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where Debian has the library, below the directory of the architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// What a program's environment needs for its clock to be that of `file`.
pub fn environment(file: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let below = fs::read_dir("/usr/lib").context("/usr/lib")?;
    let mut places = below.filter_map(|entry| Some(entry.ok()?.path().join(LIBRARY)));
    let library: PathBuf = places
        .find(|place| place.is_file())
        .context("libfaketime is not installed (Debian: faketime)")?;
    Ok(vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
    ])
}

/// Sets the clock of a file so many seconds before or behind the machine's.
pub fn set(file: &Path, ahead: i64) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, format!("{ahead:+}\n"))?;
    fs::rename(&beside, file).with_context(|| format!("writing {}", file.display()))
}
