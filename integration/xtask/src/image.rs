//! Shell: `image`: the four programs, the eBPF object and the libraries they load, as an OCI image
//! in one archive. No Docker, no base image, no shell inside.

mod layout;
mod libraries;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::ValueEnum;
use flate2::Compression;

use crate::cargo::{self, Built};
use crate::step::{self, Outcome, step};
use crate::{say, setup};
use layout::{About, File, Files};

/// What the programs are built for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Optimised: what users run
    Image,
    /// As tests have built them already: made in seconds, for one machine's test clusters
    Dev,
}

/// The programs, by the names that they have inside too.
const PROGRAMS: [&str; 4] = [
    "causeway",
    "causeway-agent",
    "causeway-controller",
    "causeway-gateway",
];
/// Repository of the image's name when none is given; the chart's default is the same.
const REPOSITORY: &str = "localhost/causeway";
/// More than this to pull, on each node, would be felt.
const LARGEST: usize = 60_000_000;
const OBJECT: &str = "usr/lib/causeway/causeway-ebpf";
const ENVIRONMENT: [&str; 2] = [
    "PATH=/usr/bin",
    "CAUSEWAY_EBPF_OBJECT=/usr/lib/causeway/causeway-ebpf",
];
/// Nobody in particular; the agent alone is started as root.
const USER: &str = "65532:65532";
const ACCOUNTS: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/:/sbin/nologin\ncauseway:x:65532:65532:causeway:/:/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\ncauseway:x:65532:\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
];

/// Builds, packs, and says what came out and how large it is; gives where what was packed is.
pub fn pack(
    root: &Path,
    profile: Profile,
    name: Option<String>,
    out: Option<PathBuf>,
) -> anyhow::Result<Built> {
    let built = build(root, profile)?;
    say::line("image");
    let version = cargo::version(root)?;
    let name = name.unwrap_or_else(|| format!("{REPOSITORY}:{version}"));
    let out = match out {
        Some(out) => out,
        None => cargo::target(root)?.join("causeway-image.tar"),
    };
    step("packed", || {
        let files = gather(&built, profile)?;
        let about = About {
            name: &name,
            version: &version,
            architecture: architecture()?,
            user: USER,
            entrypoint: "/usr/bin/causeway",
            environment: &ENVIRONMENT,
        };
        let level = match profile {
            Profile::Image => Compression::best(),
            Profile::Dev => Compression::fast(),
        };
        let image = layout::pack(&files, &about, level)?;
        if profile == Profile::Image && image.compressed > LARGEST {
            bail!(
                "{} compressed, {} are allowed",
                megabytes(image.compressed),
                megabytes(LARGEST)
            );
        }
        std::fs::write(&out, &image.archive)
            .with_context(|| format!("writing {}", out.display()))?;
        say::line(&format!("  {name}, {}", image.digest));
        Ok(Outcome::Done(format!(
            "{}: {} files, {} compressed, {} unpacked",
            out.display(),
            files.len(),
            megabytes(image.compressed),
            megabytes(image.unpacked)
        )))
    })?;
    Ok(built)
}

/// Builds, and writes the image's files below a directory, as a Dockerfile copies them.
pub fn unpack(root: &Path, profile: Profile, directory: &Path) -> anyhow::Result<()> {
    let built = build(root, profile)?;
    say::line("image");
    step("files", || {
        let files = gather(&built, profile)?;
        for (path, file) in &files {
            let path = directory.join(path);
            let parent = path.parent().unwrap_or(directory);
            let failed = || format!("writing {}", path.display());
            std::fs::create_dir_all(parent).with_context(failed)?;
            std::fs::write(&path, &file.bytes).with_context(failed)?;
            let mode = Permissions::from_mode(file.mode);
            std::fs::set_permissions(&path, mode).with_context(failed)?;
        }
        let (count, shown) = (files.len(), directory.display());
        Ok(Outcome::Done(format!("{count} below {shown}")))
    })
}

fn build(root: &Path, profile: Profile) -> anyhow::Result<Built> {
    setup::for_build(root)?;
    match profile {
        Profile::Image => cargo::build_optimised(root),
        Profile::Dev => cargo::build_all(root),
    }
}

/// All that the image holds, by path.
fn gather(built: &Built, profile: Profile) -> anyhow::Result<Files> {
    let mut files = Files::new();
    let mut add = |path: &str, mode: u32, bytes: Vec<u8>| {
        files.insert(path.to_owned(), File { mode, bytes });
    };
    for (path, text) in ACCOUNTS {
        add(path, 0o644, text.into());
    }
    let programs = PROGRAMS.map(|name| built.programs.join(name));
    for (name, program) in PROGRAMS.iter().zip(&programs) {
        let bytes = match profile {
            Profile::Image => read(program)?,
            Profile::Dev => stripped(program)?,
        };
        add(&format!("usr/bin/{name}"), 0o755, bytes);
    }
    add(OBJECT, 0o644, read(&built.object)?);
    for library in libraries::of(&programs)? {
        let inside = library.to_string_lossy().trim_start_matches('/').to_owned();
        add(&inside, 0o755, read(&library)?);
    }
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// A program without its symbols; the one that was built keeps its own, for its backtraces.
fn stripped(program: &Path) -> anyhow::Result<Vec<u8>> {
    let copy = program.with_extension("stripped");
    let mut strip = Command::new("strip");
    step::run(strip.arg("-o").arg(&copy).arg(program))?;
    let bytes = read(&copy)?;
    std::fs::remove_file(&copy).with_context(|| format!("removing {}", copy.display()))?;
    Ok(bytes)
}

/// Go's word for this machine, which is what images are marked with.
fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no image for {other}: Causeway is built for x86_64 and aarch64"),
    }
}

fn megabytes(bytes: usize) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
