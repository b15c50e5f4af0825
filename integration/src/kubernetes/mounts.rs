//! Shell: what a host sees of the file system: /etc, /run, /var, /sys and /proc of its own, and everything else as
//! the machine has it. Nothing that is mounted here is seen outside, and all of it goes with the host's last process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MsFlags, mount};

/// Kernel parameters of the whole machine that kubelet insists on; it shall find what it wants and change nothing.
const TUNABLES: [(&str, &str); 5] = [
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
/// What is mounted below the machine's /sys and belongs to no network namespace.
const SHARED_SYS: [&str; 4] = [
    "fs/cgroup",
    "kernel/debug",
    "kernel/tracing",
    "kernel/security",
];

/// Makes the view of a host in the mount namespace that this process is in, which must be its own. `name` becomes
/// the host's name.
pub fn make(directory: &Path, name: &str) -> anyhow::Result<()> {
    fill(directory, name)?;
    sys(directory)?;
    etc(directory)?;
    // The machine's /var hides with everything in it; this host's directory stays where it is.
    let var = directory.join("var");
    let own = within(&var, directory)?;
    fs::create_dir_all(&own)?;
    bind(directory, &own)?;
    bind_all(&var, Path::new("/var"))?;
    bind(&directory.join("run"), Path::new("/run"))?;
    proc(directory)?;
    // Containers see what the host mounts later, and the host what a privileged one mounts.
    mount_as(
        None,
        Path::new("/"),
        None,
        MsFlags::MS_SHARED | MsFlags::MS_REC,
    )?;
    fs::write("/proc/sys/kernel/hostname", name).context("naming the host")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Directories and files that every host starts with.
fn fill(directory: &Path, name: &str) -> anyhow::Result<()> {
    for made in [
        "etc/cni/net.d",
        "etc/kubernetes",
        "etc-work",
        "run/lock",
        "run/netns",
        "sys",
        "tunables",
        "var/lib/kubelet",
        "var/lib/causeway",
        "var/lib/containerd",
        "var/lib/cni",
        "var/log/pods",
        "var/log/containers",
        "var/tmp",
        "var/cache",
    ] {
        fs::create_dir_all(directory.join(made)).with_context(|| format!("making {made}"))?;
    }
    let run = directory.join("var/run");
    if !run.is_symlink() {
        std::os::unix::fs::symlink("/run", &run)?;
    }
    fs::write(directory.join("etc/hostname"), format!("{name}\n"))?;
    fs::write(
        directory.join("etc/hosts"),
        format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"),
    )?;
    // Nobody listens there, so a name from outside fails at once; and nothing leaves the machine.
    let resolver = format!("nameserver {}\n", crate::lab::topology::OUTSIDE);
    fs::write(directory.join("etc/resolv.conf"), resolver)?;
    // Thirty-two digits, another for each host.
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    fs::write(
        directory.join("etc/machine-id"),
        format!("{digits:0<32.32}\n"),
    )?;
    Ok(())
}

/// A /sys that shows this network namespace's devices, with a file system of its own for pinned programs.
fn sys(directory: &Path) -> anyhow::Result<()> {
    let sys = directory.join("sys");
    mount_as(Some("sysfs"), &sys, Some("sysfs"), MsFlags::empty())?;
    for shared in SHARED_SYS {
        let old = Path::new("/sys").join(shared);
        if old.is_dir() {
            bind_all(&old, &sys.join(shared))?;
        }
    }
    mount_as(
        Some("bpf"),
        &sys.join("fs/bpf"),
        Some("bpf"),
        MsFlags::empty(),
    )?;
    bind_all(&sys, Path::new("/sys"))
}

/// The machine's /etc; what is written to it stays here.
fn etc(directory: &Path) -> anyhow::Result<()> {
    let options = format!(
        "lowerdir=/etc,upperdir={},workdir={}",
        directory.join("etc").display(),
        directory.join("etc-work").display()
    );
    mount(
        Some("overlay"),
        "/etc",
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .context("mounting /etc")
}

/// A /proc of this process namespace, with the parameters that kubelet looks at.
fn proc(directory: &Path) -> anyhow::Result<()> {
    let proc = Path::new("/proc");
    mount_as(Some("proc"), proc, Some("proc"), MsFlags::empty())?;
    for (name, value) in TUNABLES {
        let file = directory.join("tunables").join(name.replace('/', "."));
        fs::write(&file, format!("{value}\n"))?;
        let place = proc.join("sys").join(name);
        if place.exists() {
            bind(&file, &place)?;
        }
    }
    Ok(())
}

/// Where `path`, which is below the directory that `var` stands for, is found in it.
fn within(var: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    let below = path
        .strip_prefix("/var")
        .with_context(|| format!("{} is not below /var", path.display()))?;
    Ok(var.join(below))
}

fn bind(from: &Path, to: &Path) -> anyhow::Result<()> {
    mount_as(from.to_str(), to, None, MsFlags::MS_BIND)
}

fn bind_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    mount_as(from.to_str(), to, None, MsFlags::MS_BIND | MsFlags::MS_REC)
}

fn mount_as(
    source: Option<&str>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
) -> anyhow::Result<()> {
    mount(source, target, kind, flags, None::<&str>)
        .with_context(|| format!("mounting {}", target.display()))
}
