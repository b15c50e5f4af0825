//! Shell: a cluster's control plane, on a host of its own that is no node.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::config;
use super::host::Host;
use super::kubectl::Kubectl;
use super::shape::{Cluster, Worker};
use super::tools::Tools;
use crate::lab::wait;

/// How long the API server may take to answer.
const READY: Duration = Duration::from_secs(60);
/// One try to connect.
const TRY: Duration = Duration::from_millis(200);
/// The programs, in the order of their start.
const UNITS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// The control plane of a cluster.
pub struct Control<'a> {
    /// Where it runs
    pub host: Host,
    cluster: Cluster,
    tools: &'a Tools,
}

impl<'a> Control<'a> {
    /// That of a cluster of the bed in that directory.
    #[must_use]
    pub fn new(bed: &Path, cluster: Cluster, tools: &'a Tools) -> Control<'a> {
        Control {
            host: Host::named(bed, &cluster.control(), cluster.api()),
            cluster,
            tools,
        }
    }

    /// Where certificates are; the authority's key among them.
    #[must_use]
    pub fn pki(&self) -> String {
        format!("{}/pki", self.host.directory().display())
    }

    /// Makes certificates: the cluster's own unless they are there, and these workers'.
    pub fn certify(&self, workers: &[Worker]) -> anyhow::Result<()> {
        let mut list: Vec<Value> = Vec::new();
        if !Path::new(&self.pki()).is_dir() {
            list.extend(config::cluster_certificates(&self.cluster));
        }
        list.extend(workers.iter().flat_map(config::worker_certificates));
        let mut child = Command::new(self.tools.forge())
            .args(["pki", &self.pki()])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run forge")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(Value::from(list).to_string().as_bytes())?;
        }
        let status = child.wait()?;
        ensure!(status.success(), "forge pki ended with {status}");
        for name in ["controller-manager", "scheduler", "admin"] {
            let text = config::kubeconfig(self.cluster.api(), &self.pki(), name);
            std::fs::write(self.kubeconfig(name), text)?;
        }
        Ok(())
    }

    fn kubeconfig(&self, name: &str) -> String {
        format!("{}/{name}.kubeconfig", self.pki())
    }

    /// Starts those of its programs that do not run.
    pub fn start(&self) -> anyhow::Result<()> {
        UNITS.iter().try_for_each(|unit| self.start_unit(unit))
    }

    /// Starts one of its programs, unless it runs.
    pub fn start_unit(&self, unit: &str) -> anyhow::Result<()> {
        let pki = self.pki();
        let args = match unit {
            "etcd" => config::etcd(&self.data()),
            "kube-apiserver" => config::api_server(&self.cluster, &pki),
            "kube-controller-manager" => {
                let kubeconfig = self.kubeconfig("controller-manager");
                config::controller_manager(&self.cluster, &pki, &kubeconfig)
            }
            _ => config::scheduler(&self.kubeconfig("scheduler")),
        };
        self.host.start_unit(unit, &self.tools.kube(), &args)
    }

    /// Ends all of its programs, the last started first.
    pub fn stop(&self) -> anyhow::Result<()> {
        UNITS
            .iter()
            .rev()
            .try_for_each(|unit| self.host.kill_unit(unit))
    }

    /// Throws away all that the cluster ever knew. Its programs must not run.
    pub fn forget(&self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(self.data()).context("removing what etcd keeps")
    }

    fn data(&self) -> String {
        format!("{}/etcd", self.host.directory().display())
    }

    /// Waits until the API server says that it is ready.
    pub fn wait(&self, kubectl: &Kubectl) -> anyhow::Result<()> {
        let address = SocketAddr::from((self.cluster.api(), config::API_PORT));
        let what = format!("the API server of {}", self.cluster.name);
        wait::until(READY, &what, || {
            Ok(TcpStream::connect_timeout(&address, TRY).is_ok())
        })
        .and_then(|()| {
            wait::until(READY, &what, || {
                kubectl.run(&["get", "--raw", "/readyz"]).map(|_| true)
            })
        })
        .with_context(|| self.host.tail("kube-apiserver", 10))
    }
}
