//! Shell: the file system that pins need.

use std::path::Path;

use anyhow::Context;
use nix::mount::MsFlags;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

/// Whether a path is on a bpf file system.
///
/// # Errors
/// When nothing is there.
pub fn is_there(at: &Path) -> anyhow::Result<bool> {
    let found = statfs(at).with_context(|| format!("looking at {}", at.display()))?;
    Ok(found.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts one, unless there is one.
///
/// # Errors
/// When the kernel refuses; it takes CAP_SYS_ADMIN.
pub fn mount(at: &Path) -> anyhow::Result<()> {
    if is_there(at)? {
        tracing::info!(at = %at.display(), "a bpf file system is there already");
        return Ok(());
    }
    let (source, kind) = (Some("bpf"), Some("bpf"));
    nix::mount::mount(source, at, kind, MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mounting a bpf file system on {}", at.display()))?;
    tracing::info!(at = %at.display(), "mounted a bpf file system");
    Ok(())
}
