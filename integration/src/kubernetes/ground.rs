//! Shell: the bed as the cases see it: nodes to enter, to add and to lose, API servers to stop.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;

use super::bed::Bed;
use super::shape::Cidr;
use crate::suite::case::Facts;
use crate::suite::ground::Ground;

/// The clusters of this machine, for cases.
pub struct Underneath(Mutex<Bed>);

impl Underneath {
    /// Of a bed that is up.
    #[must_use]
    pub fn new(bed: Bed) -> Underneath {
        Underneath(Mutex::new(bed))
    }

    fn bed(&self) -> MutexGuard<'_, Bed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ground for Underneath {
    fn facts(&self) -> Facts {
        let bed = self.bed();
        Facts {
            nodes: usize::from(bed.shape.nodes),
            equal: Some(bed.shape.cidr == Cidr::Equal),
            ground: true,
        }
    }

    fn pod_prefix(&self, context: &str) -> anyhow::Result<String> {
        Ok(self.bed().cluster(context)?.pod_cidr())
    }

    fn on_node(&self, node: &str, args: &[&str]) -> anyhow::Result<String> {
        let host = self.bed().host(node)?;
        let (program, rest) = args.split_first().context("nothing to run")?;
        let output = host.run(program, rest)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn tools(&self) -> anyhow::Result<PathBuf> {
        Ok(self.bed().tools.test_program())
    }

    fn kill_api(&self, context: &str) -> anyhow::Result<()> {
        let bed = self.bed();
        let control = bed.control(bed.cluster(context)?);
        control.host.kill_unit("kube-apiserver")
    }

    fn start_api(&self, context: &str) -> anyhow::Result<()> {
        let bed = self.bed();
        let cluster = bed.cluster(context)?;
        let control = bed.control(cluster);
        // The others give up when they cannot reach it for long.
        control.start()?;
        control.wait(&bed.kubectl(cluster))
    }

    fn lose_etcd(&self, context: &str) -> anyhow::Result<()> {
        self.bed().lose_etcd(context)
    }

    fn add_node(&self, context: &str) -> anyhow::Result<String> {
        self.bed().add_node(context)
    }

    fn remove_node(&self, context: &str, node: &str) -> anyhow::Result<()> {
        let mut bed = self.bed();
        let kubectl = bed.kubectl(bed.cluster(context)?);
        kubectl.run(&[
            "drain",
            node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--force",
            "--timeout=60s",
        ])?;
        kubectl.run(&["delete", "node", node])?;
        bed.lose_node(node)
    }

    fn lose_node(&self, _context: &str, node: &str) -> anyhow::Result<()> {
        self.bed().lose_node(node)
    }

    fn cut(&self, _context: &str) -> anyhow::Result<()> {
        self.bed().cut()
    }

    fn heal(&self, _context: &str) -> anyhow::Result<()> {
        self.bed().heal()
    }
}
