//! Shell: the shared libraries that programs need, as this machine's loader finds them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::step;

/// Since then libc itself holds what looks names up; before, it loaded plug-ins that no program names.
const OLDEST_GLIBC: (u32, u32) = (2, 34);

/// Paths of all libraries that the programs load, and of the loader.
pub fn of(programs: &[PathBuf]) -> anyhow::Result<BTreeSet<PathBuf>> {
    let said = step::output(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_default();
    match version(&said) {
        Some(found) if found >= OLDEST_GLIBC => {}
        _ => bail!(
            "an image can be made on glibc {}.{} or later (this machine says {said:?}); \
             use the Dockerfile elsewhere",
            OLDEST_GLIBC.0,
            OLDEST_GLIBC.1
        ),
    }
    let mut found = BTreeSet::new();
    for program in programs {
        let shown = program.display();
        let text = step::output(Command::new("ldd").arg(program))
            .with_context(|| format!("`ldd {shown}` failed"))?;
        for line in text.lines() {
            match library(line) {
                Library::At(path) => drop(found.insert(path.to_path_buf())),
                Library::Absent(name) => bail!("{shown} needs {name}, which this machine lacks"),
                Library::None => {}
            }
        }
    }
    Ok(found)
}

/// `glibc 2.36` is (2, 36).
fn version(said: &str) -> Option<(u32, u32)> {
    let (major, minor) = said.strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[derive(Debug, PartialEq, Eq)]
enum Library<'a> {
    At(&'a Path),
    Absent(&'a str),
    /// The kernel's own, which is no file
    None,
}

/// One line of `ldd`: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader.
fn library(line: &str) -> Library<'_> {
    let line = line.trim();
    let (name, place) = line.split_once(" => ").unwrap_or((line, line));
    if place == "not found" {
        return Library::Absent(name);
    }
    let path = place.split_once(" (").map_or(place, |(path, _)| path);
    if path.starts_with('/') {
        Library::At(Path::new(path))
    } else {
        Library::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ldd() {
        let at = |path| Library::At(Path::new(path));
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007f50)"), Library::None);
        assert_eq!(
            library("\tlibc.so.6 => /lib/x/libc.so.6 (0x1)"),
            at("/lib/x/libc.so.6")
        );
        assert_eq!(
            library("\t/lib64/ld-linux.so.2 (0x1)"),
            at("/lib64/ld-linux.so.2")
        );
        assert_eq!(
            library("\tlibz.so.1 => not found"),
            Library::Absent("libz.so.1")
        );
        assert_eq!(library("\tstatically linked"), Library::None);
    }

    #[test]
    fn versions_of_glibc() {
        assert_eq!(version("glibc 2.36"), Some((2, 36)));
        assert_eq!(version(""), None);
    }
}
