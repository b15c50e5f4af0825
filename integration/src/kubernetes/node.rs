//! Shell: a node: a host with containerd, kubelet, kube-proxy and a CNI.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::control::Control;
use super::host::Host;
use super::shape::{Cluster, Shape, Worker};
use super::tools::Tools;
use super::{config, ways};
use crate::lab::journal::Journal;
use crate::lab::wait;

/// How long containerd may take to answer.
const START: Duration = Duration::from_secs(20);

/// A node of a cluster.
pub struct Node<'a> {
    /// Where it runs
    pub host: Host,
    worker: &'a Worker,
    cluster: Cluster,
    shape: &'a Shape,
    tools: &'a Tools,
}

impl<'a> Node<'a> {
    /// That worker of the bed in that directory.
    pub fn new(
        bed: &Path,
        worker: &'a Worker,
        shape: &'a Shape,
        tools: &'a Tools,
    ) -> anyhow::Result<Node<'a>> {
        let cluster = shape
            .cluster(&worker.cluster)
            .with_context(|| format!("no cluster {}", worker.cluster))?;
        Ok(Node {
            host: Host::named(bed, &worker.name, worker.address),
            worker,
            cluster,
            shape,
            tools,
        })
    }

    /// Makes the host with its files and the ways to the pods of others, and starts what runs containers.
    pub fn start(
        &self,
        program: &Path,
        control: &Control<'_>,
        others: &[Worker],
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        self.write(control)?;
        self.host.start(program, journal)?;
        let netns = self.host.netns();
        let own = self.worker.pod_cidr();
        ways::masquerade(&netns, &own, &self.cluster.pod_cidr())?;
        for other in others.iter().filter(|other| *other != self.worker) {
            ways::route(&netns, other)?;
        }
        let config = self.file("containerd.toml");
        let args = ["--config", &config, "--log-level", "warn"];
        self.host
            .start_unit("containerd", Path::new("containerd"), &args)
    }

    fn write(&self, control: &Control<'_>) -> anyhow::Result<()> {
        let files = self.host.directory().join("kubernetes");
        fs::create_dir_all(&files)?;
        let name = &self.worker.name;
        let copied = [
            "ca.crt".to_owned(),
            "proxy.crt".to_owned(),
            "proxy.key".to_owned(),
            format!("{name}-kubelet.crt"),
            format!("{name}-kubelet.key"),
            format!("{name}-serving.crt"),
            format!("{name}-serving.key"),
        ];
        for file in copied {
            let from = Path::new(&control.pki()).join(&file);
            fs::copy(&from, files.join(&file))
                .with_context(|| format!("copying {}", from.display()))?;
        }
        let api = self.cluster.api();
        let pki = files.display().to_string();
        let kubelet = format!("{name}-kubelet");
        let proxy = self.file("proxy.kubeconfig");
        let written = [
            ("containerd.toml", config::containerd()),
            (
                "kubelet.json",
                config::kubelet(self.worker, &self.cluster, &pki),
            ),
            (
                "kubelet.kubeconfig",
                config::kubeconfig(api, &pki, &kubelet),
            ),
            (
                "proxy.json",
                config::proxy(self.worker, &self.cluster, self.shape.proxy, &proxy),
            ),
            ("proxy.kubeconfig", config::kubeconfig(api, &pki, "proxy")),
        ];
        for (file, text) in written {
            fs::write(files.join(file), text)?;
        }
        let cni = self.host.outside("/etc/cni/net.d");
        fs::create_dir_all(&cni)?;
        fs::write(
            cni.join("10-pods.conflist"),
            config::cni(self.worker, self.shape.cni),
        )?;
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        format!("{}/kubernetes/{name}", self.host.directory().display())
    }

    /// Waits for what runs containers, and gives it these images.
    pub fn load(&self, images: &[impl AsRef<Path>]) -> anyhow::Result<()> {
        let socket = self.host.outside(config::CONTAINERD);
        let what = format!("containerd on {}", self.host.name);
        wait::until(START, &what, || Ok(socket.exists()))
            .and_then(|()| {
                wait::until(START, &what, || {
                    let args = ["--address", config::CONTAINERD, "version"];
                    self.host.run("ctr", &args).map(|_| true)
                })
            })
            .with_context(|| self.host.tail("containerd", 10))?;
        images
            .iter()
            .try_for_each(|image| self.import(image.as_ref()))
    }

    fn import(&self, image: &Path) -> anyhow::Result<()> {
        let input = File::open(image).with_context(|| format!("opening {}", image.display()))?;
        let output = self
            .host
            .command("ctr")?
            .args(["--address", config::CONTAINERD, "--namespace", "k8s.io"])
            .args(["images", "import", "-"])
            .stdin(Stdio::from(input))
            .output()?;
        ensure!(
            output.status.success(),
            "{} on {}: {}",
            image.display(),
            self.host.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Starts kubelet and kube-proxy, whose Node object is there.
    pub fn join(&self) -> anyhow::Result<()> {
        let kubelet = config::kubelet_arguments(
            self.worker,
            &self.file("kubelet.json"),
            &self.file("kubelet.kubeconfig"),
        );
        self.host
            .start_unit("kubelet", &self.tools.kube(), &kubelet)?;
        let config = self.file("proxy.json");
        let proxy = ["kube-proxy", "--config", &config, "--v", "1"];
        self.host
            .start_unit("kube-proxy", &self.tools.kube(), &proxy)
    }

    /// Starts both anew, for an API server that has lost its store: what they have cached is newer, by its resource
    /// version, than all that will come, so they would wait for long and go by it.
    pub fn join_anew(&self) -> anyhow::Result<()> {
        self.host.stop_unit("kubelet")?;
        self.host.stop_unit("kube-proxy")?;
        self.join()
    }
}
