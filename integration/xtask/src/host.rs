//! Shell: what this machine is: user, kernel, distribution, tools.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::step;

/// The oldest kernel with tcx links.
const OLDEST_KERNEL: (u32, u32) = (6, 6);
/// Where the kernel tells its own types.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// This machine cannot run Causeway, and why. The exit status is 2.
#[derive(Debug)]
pub struct Unsupported(pub String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// Is this process root?
pub fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| effective_uid(&status) == Some(0))
}

/// The effective user of a `/proc/<pid>/status` text.
fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find(|line| line.starts_with("Uid:"))?;
    line.split_whitespace().nth(2)?.parse().ok()
}

/// Root, a kernel with tcx links, and its types; else says all that is missing at once.
pub fn can_run_packets() -> Result<String, Unsupported> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let missing = missing(is_root(), release.trim(), Path::new(KERNEL_BTF).exists());
    if missing.is_empty() {
        Ok(format!("root, Linux {}, with BTF", release.trim()))
    } else {
        Err(Unsupported(format!(
            "this machine lacks: {}",
            missing.join("; ")
        )))
    }
}

/// What is missing for eBPF programs and network namespaces.
fn missing(root: bool, release: &str, btf: bool) -> Vec<String> {
    let mut missing = Vec::new();
    if !root {
        missing.push("root (network namespaces and eBPF need it; try again with sudo)".to_owned());
    }
    match version(release) {
        Some(found) if found >= OLDEST_KERNEL => {}
        _ => missing.push(format!(
            "Linux {}.{} or later (this is {release:?}; tcx links came with it)",
            OLDEST_KERNEL.0, OLDEST_KERNEL.1
        )),
    }
    if !btf {
        missing.push(format!(
            "kernel type information ({KERNEL_BTF}; CONFIG_DEBUG_INFO_BTF=y)"
        ));
    }
    missing
}

/// `6.18.44-generic` is (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Is this Debian, or of its family, with its package tools?
pub fn is_debian() -> bool {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    debian_family(&text) && in_path("apt-get").is_some() && in_path("dpkg-query").is_some()
}

fn debian_family(os_release: &str) -> bool {
    os_release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("ID_LIKE="))
        .any(|line| line.split(['=', '"', ' ']).any(|word| word == "debian"))
}

/// Is a Debian package installed?
pub fn has_package(name: &str) -> bool {
    let args = ["-W", "-f=${db:Status-Status}", name];
    step::output(Command::new("dpkg-query").args(args)).is_some_and(|status| status == "installed")
}

/// Where a program of that name is, as a shell would find it, the system's directories included.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Where built tools are kept between runs and checkouts, below the home directory.
pub fn cache() -> anyhow::Result<PathBuf> {
    let home =
        std::env::var_os("HOME").context("HOME is not set, so there is no place for a cache")?;
    Ok(PathBuf::from(home).join(".cache/causeway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_and_users_are_named() {
        assert!(missing(true, "6.6.0-generic", true).is_empty());
        assert!(missing(true, "10.1", true).is_empty());
        assert_eq!(missing(false, "6.5.13", false).len(), 3);
        assert_eq!(missing(true, "", true).len(), 1);
    }

    #[test]
    fn debian_and_its_family() {
        assert!(debian_family("NAME=x\nID=debian\n"));
        assert!(debian_family("ID=mint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!debian_family("ID=fedora\nHOME_URL=\"https://debian\"\n"));
    }

    #[test]
    fn effective_user() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_uid(""), None);
    }
}
