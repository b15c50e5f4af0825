//! Shell: what a fresh machine lacks, step by step. Each step looks before it does anything.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::step::{self, Outcome, step};
use crate::{bpf, host, say};

/// What the lab runs: firewall rules, links and namespaces.
const LAB_PACKAGES: &[Package] = &[
    Package {
        name: "nftables",
        gives: "nft",
        why: "counters and rules of the lab's nodes",
    },
    Package {
        name: "iproute2",
        gives: "ip",
        why: "namespaces, links and routes of the lab",
    },
    Package {
        name: "faketime",
        gives: "faketime",
        why: "clocks of the lab's programs that are wrong",
    },
];
/// What builds the eBPF programs where no nightly toolchain with its sources is there.
const COMPILER_PACKAGES: &[Package] = &[
    Package {
        name: "rustc-web",
        gives: "/usr/bin/rustc",
        why: "compiler of the eBPF programs",
    },
    Package {
        name: "cargo-web",
        gives: "/usr/bin/cargo",
        why: "builds `core` for the BPF target",
    },
    Package {
        name: "rust-web-src",
        gives: "/usr/lib/rustlib/src",
        why: "sources of `core`",
    },
];
/// What bpf-linker is built against.
const LINKER_PACKAGES: &[Package] = &[
    Package {
        name: "llvm-22-dev",
        gives: "/usr/lib/llvm-22/bin/llvm-config",
        why: "LLVM of bpf-linker",
    },
    Package {
        name: "libpolly-22-dev",
        gives: "/usr/lib/llvm-22/lib/libPolly.a",
        why: "part of that LLVM",
    },
    Package {
        name: "libzstd-dev",
        gives: "/usr/include/zstd.h",
        why: "LLVM links to it",
    },
    Package {
        name: "zlib1g-dev",
        gives: "/usr/include/zlib.h",
        why: "LLVM links to it",
    },
    Package {
        name: "g++",
        gives: "g++",
        why: "links LLVM's C++",
    },
];
/// Where the kernel keeps pinned programs and maps.
const BPF_FILE_SYSTEM: &str = "/sys/fs/bpf";

/// A Debian package, the file or program it is wanted for, and why.
pub struct Package {
    /// Debian's name
    pub name: &'static str,
    /// A path, or a program's name
    pub gives: &'static str,
    /// For whoever has to install it by hand
    pub why: &'static str,
}

impl Package {
    /// The file is asked for, not the package: other distributions have it under other names.
    fn is_there(&self) -> bool {
        match self.gives.starts_with('/') {
            true => Path::new(self.gives).exists() || host::has_package(self.name),
            false => host::in_path(self.gives).is_some(),
        }
    }
}

/// All that a machine needs to build, test and show Causeway.
pub fn everything(root: &Path) -> anyhow::Result<()> {
    for_packets(root)?;
    say::line("setup: nothing is missing");
    Ok(())
}

/// What building needs.
pub fn for_build(root: &Path) -> anyhow::Result<()> {
    say::line("setup");
    let source = bpf::Source::find(root);
    step("packages", || packages(&wanted(&source, false)))?;
    if !matches!(source, bpf::Source::Given(_)) {
        step("bpf-linker", || linker(root))?;
    }
    Ok(())
}

/// What the lab, the demo and the packet tests need: root and the kernel first, since nothing else helps.
pub fn for_packets(root: &Path) -> anyhow::Result<()> {
    say::line("setup");
    step("machine", || Ok(Outcome::Already(host::can_run_packets()?)))?;
    let source = bpf::Source::find(root);
    step("packages", || packages(&wanted(&source, true)))?;
    if !matches!(source, bpf::Source::Given(_)) {
        step("bpf-linker", || linker(root))?;
    }
    step("bpf file system", mount_bpf)
}

fn wanted(source: &bpf::Source, lab: bool) -> Vec<&'static Package> {
    let mut wanted: Vec<&Package> = Vec::new();
    if lab {
        wanted.extend(LAB_PACKAGES);
    }
    match source {
        bpf::Source::Given(_) => {}
        bpf::Source::Nightly(_) => {}
        bpf::Source::System => wanted.extend(COMPILER_PACKAGES),
    }
    if !matches!(source, bpf::Source::Given(_)) && bpf::linker().is_none() {
        wanted.extend(LINKER_PACKAGES);
    }
    wanted
}

/// Installs what is missing on Debian; elsewhere, or without root, names it.
pub fn packages(wanted: &[&'static Package]) -> anyhow::Result<Outcome> {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|package| !package.is_there())
        .collect();
    if missing.is_empty() {
        return Ok(Outcome::Already(format!("all {} are there", wanted.len())));
    }
    let listed: Vec<_> = missing
        .iter()
        .map(|package| {
            format!(
                "{} (Debian: {}; {})",
                package.gives, package.name, package.why
            )
        })
        .collect();
    if !host::is_debian() {
        bail!(
            "this is not Debian, so please install by hand: {}",
            listed.join(", ")
        );
    }
    if !host::is_root() {
        bail!("only root may install: {}", listed.join(", "));
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    say::line(&format!("  packages: installing {}", names.join(" ")));
    let here = Path::new("/");
    step::run(
        step::program("apt-get", &["-qq", "update"], here).env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    let mut args = vec![
        "install",
        "-qq",
        "-y",
        "--no-remove",
        "--no-install-recommends",
    ];
    args.extend(&names);
    step::run(step::program("apt-get", &args, here).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let still: Vec<_> = missing
        .iter()
        .filter(|p| !p.is_there())
        .map(|p| p.name)
        .collect();
    if !still.is_empty() {
        bail!("installed, but still absent: {}", still.join(" "));
    }
    Ok(Outcome::Done(format!("installed {}", names.join(" "))))
}

/// bpf-linker at the one version that agrees with the compiler's LLVM, built into the cache.
fn linker(root: &Path) -> anyhow::Result<Outcome> {
    if let Some(found) = bpf::linker() {
        return Ok(Outcome::Already(format!(
            "{} at {}",
            bpf::LINKER_VERSION,
            found.display()
        )));
    }
    let place = host::cache()?.join("tools");
    say::line("  bpf-linker: building it (about two minutes)");
    let args = [
        "install",
        "bpf-linker",
        "--locked",
        "--version",
        bpf::LINKER_VERSION,
        "--no-default-features",
    ];
    let mut command = step::program("cargo", &args, root);
    command
        .args(["--features", "llvm-22", "--root"])
        .arg(&place);
    // The cache of this checkout may be elsewhere; a tool's build has no business in it.
    command
        .env("LLVM_PREFIX", "/usr/lib/llvm-22")
        .env_remove("CARGO_TARGET_DIR");
    step::run(&mut command)?;
    match bpf::linker() {
        Some(found) => Ok(Outcome::Done(format!("built {}", found.display()))),
        None => bail!(
            "built, but {} does not say version {}",
            place.display(),
            bpf::LINKER_VERSION
        ),
    }
}

/// What encrypted tunnels are compared with: both are WireGuard in user space, one quicker with streams and one with small
/// packets.
pub fn for_tunnels(root: &Path) -> anyhow::Result<()> {
    for [package, version, program] in WIREGUARDS {
        step(program, || wireguard(root, package, version, program))?;
    }
    Ok(())
}

/// Package, version, program.
const WIREGUARDS: [[&str; 3]; 2] = [
    ["gotatun-cli", "0.10.2", "gotatun"],
    ["boringtun-cli", "0.7.1", "boringtun-cli"],
];

fn wireguard(root: &Path, package: &str, version: &str, program: &str) -> anyhow::Result<Outcome> {
    let place = host::cache()?.join("tools");
    let built = place.join("bin").join(program);
    if built.is_file() {
        return Ok(Outcome::Already(built.display().to_string()));
    }
    say::line(&format!("  {package}: building it (about two minutes)"));
    let args = [
        "install",
        package,
        "--locked",
        "--version",
        version,
        "--root",
    ];
    let mut command = step::program("cargo", &args, root);
    command.arg(&place).env_remove("CARGO_TARGET_DIR");
    step::run(&mut command)?;
    Ok(Outcome::Done(format!("built {}", built.display())))
}

fn mount_bpf() -> anyhow::Result<Outcome> {
    let mounts = std::fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    if has_bpf(&mounts) {
        return Ok(Outcome::Already(format!("mounted at {BPF_FILE_SYSTEM}")));
    }
    step::run(Command::new("mount").args(["-t", "bpf", "bpf", BPF_FILE_SYSTEM]))?;
    Ok(Outcome::Done(format!("mounted at {BPF_FILE_SYSTEM}")))
}

fn has_bpf(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(BPF_FILE_SYSTEM) && words.next() == Some("bpf")
    })
}

/// Where `cargo install` put our tools, first in the search path of what we run.
pub fn path_with_tools() -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools: PathBuf = host::cache()?.join("tools/bin");
    Ok(std::env::join_paths(
        std::iter::once(tools).chain(std::env::split_paths(&path)),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_is_seen() {
        assert!(has_bpf(
            "proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n"
        ));
        assert!(!has_bpf("sysfs /sys/fs/bpf sysfs rw 0 0\n"));
    }

    #[test]
    fn a_given_object_needs_no_compiler() {
        let wanted = wanted(&bpf::Source::Given("x".into()), true);
        assert_eq!(wanted.len(), LAB_PACKAGES.len());
    }
}
