//! Shell: Kubernetes for the end-to-end tests: Debian's packages, and the components built from the Go module.
//! Nothing of it is needed to build or to run Causeway.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::setup::{self, Package};
use crate::step::{self, Outcome, step, timed};
use crate::{host, say};

/// Where the Go module is.
const MODULE: &str = "integration/kubernetes";
/// The version that the API servers tell, which is that of the module in go.mod.
const KUBERNETES: &str = "k8s.io/kubernetes ";
/// The oldest Go that the module can be built with.
const GO: (u32, u32) = (1, 26);
/// Builds that are kept; an older one is of no checkout that is in use.
const KEPT: usize = 3;

const PACKAGES: &[Package] = &[
    Package {
        name: "containerd",
        gives: "containerd",
        why: "runs the containers of the nodes",
    },
    Package {
        name: "runc",
        gives: "runc",
        why: "containerd starts containers by it",
    },
    Package {
        name: "containernetworking-plugins",
        gives: "/usr/lib/cni/bridge",
        why: "joins pods to their node",
    },
    Package {
        name: "iptables",
        gives: "iptables",
        why: "kube-proxy's older mode",
    },
    Package {
        name: "busybox-static",
        gives: "/usr/share/doc/busybox-static",
        why: "shell of the test image",
    },
];

/// What runs the clusters: packages, and the directory of the built components.
pub fn prepare(root: &Path) -> anyhow::Result<PathBuf> {
    step("packages of the clusters", || setup::packages(&packages()))?;
    let mut place = PathBuf::new();
    step("Kubernetes", || {
        let (built, outcome) = components(root)?;
        place = built;
        Ok(outcome)
    })?;
    Ok(place)
}

fn packages() -> Vec<&'static Package> {
    PACKAGES.iter().collect()
}

/// The components in the cache, built if this state of the module never was.
fn components(root: &Path) -> anyhow::Result<(PathBuf, Outcome)> {
    let module = root.join(MODULE);
    let version = version(&fs::read_to_string(module.join("go.mod"))?)?;
    let cache = host::cache()?.join("kubernetes");
    let place = cache.join(format!("{version}-{}", key(&module)?));
    let found = |place: &Path| Outcome::Already(place.display().to_string());
    if place.is_dir() {
        return Ok((place.clone(), found(&place)));
    }
    fs::create_dir_all(&cache)?;
    // Another checkout may be at it: whoever waits finds it done.
    let lock = File::create(cache.join("lock"))?;
    lock.lock().context("waiting for another build")?;
    if place.is_dir() {
        return Ok((place.clone(), found(&place)));
    }
    go()?;
    say::line(
        "  Kubernetes: building it (six to thirteen minutes on two cores when nothing of it was built before)",
    );
    let part = cache.join("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    let (built, took) = timed(|| build(&module, &part, &version));
    built?;
    fs::rename(&part, &place)?;
    prune(&cache, &place)?;
    let said = format!("{} built in {}", place.display(), step::seconds(took));
    Ok((place, Outcome::Done(said)))
}

/// Go, new enough; Debian's may not be, so it is not installed here.
fn go() -> anyhow::Result<()> {
    let said = step::output(Command::new("go").args(["env", "GOVERSION"])).unwrap_or_default();
    ensure!(
        go_version(&said) >= Some(GO),
        "Go {}.{} or later is needed to build Kubernetes for the tests, and {} was found; please install it by hand",
        GO.0,
        GO.1,
        if said.is_empty() { "none" } else { &said }
    );
    Ok(())
}

/// `go1.26.8` is (1, 26).
fn go_version(said: &str) -> Option<(u32, u32)> {
    let mut parts = said.strip_prefix("go")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The version of Kubernetes that a go.mod asks for.
fn version(go_mod: &str) -> anyhow::Result<String> {
    let line = go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix(KUBERNETES));
    match line.and_then(|rest| rest.split_whitespace().next()) {
        Some(version) => Ok(version.to_owned()),
        None => bail!("go.mod names no version of Kubernetes"),
    }
}

/// Different for every state of the module's files.
fn key(module: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    list(module, &mut files)?;
    files.sort();
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run sha256sum")?;
    if let Some(mut input) = child.stdin.take() {
        for file in files {
            writeln!(input, "{}", file.strip_prefix(module)?.display())?;
            input.write_all(&fs::read(&file)?)?;
        }
    }
    let output = child.wait_with_output()?;
    let digest = String::from_utf8_lossy(&output.stdout);
    digest
        .get(..12)
        .map(str::to_owned)
        .context("sha256sum printed no digest")
}

/// What the build depends on: the module's two files, and Go's sources.
fn list(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let kind = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if path.is_dir() {
            list(&path, files)?;
        } else if ["go", "mod", "sum"].contains(&kind) {
            files.push(path);
        }
    }
    Ok(())
}

fn build(module: &Path, place: &Path, version: &str) -> anyhow::Result<()> {
    let part = "k8s.io/component-base/version";
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
    let told = format!(
        "-s -w -X {part}.gitVersion={version} -X {part}.gitMajor={major} -X {part}.gitMinor={minor} \
         -X {part}.gitTreeState=clean"
    );
    let programs = [
        ("kube", "./cmd/kube"),
        ("kubectl", "./cmd/kubectl"),
        ("coredns", "./cmd/coredns"),
        ("tools", "./cmd/tools"),
        ("forge", "./cmd/forge"),
        ("helm", "helm.sh/helm/v3/cmd/helm"),
    ];
    for (name, package) in programs {
        let out = place.join(name).display().to_string();
        let args = [
            "-n",
            "5",
            "go",
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &told,
            "-o",
            &out,
            package,
        ];
        let mut command = step::program("nice", &args, module);
        command
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=readonly")
            .env("GOTOOLCHAIN", "local");
        step::run(&mut command)?;
        say::line(&format!("    {name}"));
    }
    images(place)
}

/// The images that every node has from the start.
fn images(place: &Path) -> anyhow::Result<()> {
    let busybox = host::in_path("busybox").context("busybox is absent")?;
    let applets =
        step::output(Command::new(&busybox).arg("--list")).context("busybox has no list")?;
    let file = |inside: &str, outside: &Path| format!("{inside}={}", outside.display());
    let mut tools = vec![
        "--out".to_owned(),
        place.join("tools.tar").display().to_string(),
    ];
    for image in ["tools:1=/tools,serve", "pause:1=/tools,pause"] {
        tools.extend(["--image".to_owned(), format!("causeway.test/{image}")]);
    }
    for (inside, outside) in [("/tools", place.join("tools")), ("/bin/busybox", busybox)] {
        tools.extend(["--file".to_owned(), file(inside, &outside)]);
    }
    for applet in applets.lines().filter(|name| *name != "busybox") {
        tools.extend(["--link".to_owned(), format!("/bin/{applet}=busybox")]);
    }
    let coredns = [
        "--out".to_owned(),
        place.join("coredns.tar").display().to_string(),
        "--image".to_owned(),
        "causeway.test/coredns:1=/coredns".to_owned(),
        "--file".to_owned(),
        file("/coredns", &place.join("coredns")),
    ];
    for args in [tools.as_slice(), coredns.as_slice()] {
        let mut command = Command::new(place.join("forge"));
        step::run(command.arg("image").args(args))?;
    }
    // It runs in containers alone.
    fs::remove_file(place.join("coredns")).context("removing what was packed")
}

/// Removes all builds but the newest few.
fn prune(cache: &Path, own: &Path) -> anyhow::Result<()> {
    let mut builds = Vec::new();
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        if path.is_dir() && path != own {
            builds.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    builds.sort();
    let surplus = builds.len().saturating_sub(KEPT.saturating_sub(1));
    for (_, path) in builds.into_iter().take(surplus) {
        fs::remove_dir_all(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(go_version("go1.26.8"), Some((1, 26)));
        assert_eq!(go_version(""), None);
        let text = "require (\n\tk8s.io/kubectl v0.34.4\n\tk8s.io/kubernetes v1.34.4\n)\n";
        assert_eq!(version(text).unwrap(), "v1.34.4");
        assert!(version("module x\n").is_err());
    }
}
