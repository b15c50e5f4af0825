//! Shell: the eBPF object: where its compiler comes from, and its build.
//!
//! In this order: an object given by `CAUSEWAY_EBPF_OBJECT`, a nightly toolchain that has the
//! sources of `core`, the distribution's compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::step::{self, Outcome};
use crate::{cargo, host, setup};

/// The environment variable that names a finished object.
pub const OBJECT_VARIABLE: &str = "CAUSEWAY_EBPF_OBJECT";
/// The one version of the linker; it and the compiler must agree on LLVM's major version.
pub const LINKER_VERSION: &str = "0.13.0";
/// The LLVM that the linker is built against.
const LLVM_MAJOR: &str = "22";
const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "causeway-ebpf";

/// Where the object comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// It is finished
    Given(PathBuf),
    /// A rustup nightly with `rust-src`, by its compiler's path
    Nightly(PathBuf),
    /// `/usr/bin/rustc`, with `RUSTC_BOOTSTRAP`
    System,
}

impl Source {
    /// The first of the three that is there; the last is what `setup` installs.
    pub fn find(root: &Path) -> Source {
        if let Some(object) = std::env::var_os(OBJECT_VARIABLE).filter(|value| !value.is_empty()) {
            return Source::Given(PathBuf::from(object));
        }
        match nightly(root) {
            Some(compiler) => Source::Nightly(compiler),
            None => Source::System,
        }
    }
}

/// The nightly compiler, if it has the sources of `core` and the linker's LLVM.
fn nightly(root: &Path) -> Option<PathBuf> {
    let ask = |args: &[&str]| step::output(&mut step::program("rustc", args, root));
    let sysroot = PathBuf::from(ask(&["+nightly", "--print", "sysroot"])?);
    let llvm = ask(&["+nightly", "-vV"])?;
    let has_sources = sysroot.join("lib/rustlib/src/rust/library/core").is_dir();
    (has_sources && speaks_llvm(&llvm, LLVM_MAJOR)).then(|| sysroot.join("bin/rustc"))
}

/// Does the output of `rustc -vV` name this major version of LLVM?
fn speaks_llvm(verbose: &str, major: &str) -> bool {
    let line = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "));
    line.and_then(|version| version.split('.').next()) == Some(major)
}

/// bpf-linker at our version, in the cache or in the search path.
pub fn linker() -> Option<PathBuf> {
    let cached = host::cache()
        .ok()
        .map(|cache| cache.join("tools/bin/bpf-linker"));
    let candidates = cached.into_iter().chain(host::in_path("bpf-linker"));
    candidates.filter(|file| file.is_file()).find(|file| {
        let version = step::output(Command::new(file).arg("--version")).unwrap_or_default();
        version.split(' ').any(|word| word == LINKER_VERSION)
    })
}

/// Builds the object, or takes the given one, and tells where it is.
pub fn build(root: &Path, target: &Path) -> anyhow::Result<(PathBuf, Outcome)> {
    let place = target.join("ebpf");
    let object = place.join(TARGET).join("bpf").join(PACKAGE);
    let source = Source::find(root);
    let (compiler, builder) = match &source {
        Source::Given(given) if given.is_file() => {
            let said = format!("given: {}", given.display());
            return Ok((given.clone(), Outcome::Already(said)));
        }
        Source::Given(given) => bail!(
            "{OBJECT_VARIABLE} names {}, which is no file",
            given.display()
        ),
        Source::Nightly(compiler) => (compiler.clone(), compiler.with_file_name("cargo")),
        Source::System => (
            PathBuf::from("/usr/bin/rustc"),
            PathBuf::from("/usr/bin/cargo"),
        ),
    };
    let linker = linker().context("bpf-linker is absent; `cargo xtask setup` builds it")?;
    let builder = if builder.is_file() {
        builder
    } else {
        PathBuf::from("cargo")
    };
    let mut command = Command::new(&builder);
    command.args([
        "build",
        "--package",
        PACKAGE,
        "--profile",
        "bpf",
        "--target",
        TARGET,
    ]);
    command
        .args(["-Zbuild-std=core", "--target-dir"])
        .arg(&place)
        .current_dir(root);
    command
        .env("RUSTC", &compiler)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("PATH", setup::path_with_tools()?);
    command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &linker);
    let flags = ["-Cdebuginfo=2", "-Clink-arg=--btf"].map(str::to_owned);
    let flags = flags.into_iter().chain(cargo::without_paths(root)?);
    command.env("CARGO_ENCODED_RUSTFLAGS", cargo::encoded(flags));
    command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO_TARGET_DIR");
    step::run(&mut command)?;
    if !object.is_file() {
        bail!("the build ended well, but there is no {}", object.display());
    }
    let said = format!("{} with {}", object.display(), compiler.display());
    Ok((object, Outcome::Done(said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_major_is_compared_whole() {
        assert!(speaks_llvm("rustc 1\nLLVM version: 22.1.4\n", "22"));
        assert!(!speaks_llvm("LLVM version: 220.1\n", "22"));
        assert!(!speaks_llvm("", "22"));
    }
}
