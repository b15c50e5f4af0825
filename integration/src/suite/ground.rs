//! Shell: what is below the clusters: nodes that can be entered, stopped and lost, API servers that can
//! be restarted. Clusters that somebody else made have nothing of it.

use std::path::PathBuf;

use anyhow::bail;

use super::case::Facts;

/// What is below two clusters; each call names one by its context.
pub trait Ground: Send + Sync {
    /// What the clusters are like.
    fn facts(&self) -> Facts;

    /// The prefix of a cluster's pods.
    fn pod_prefix(&self, context: &str) -> anyhow::Result<String> {
        none(context)
    }

    /// Runs a program in the namespaces of a node; its output.
    fn on_node(&self, node: &str, args: &[&str]) -> anyhow::Result<String> {
        let _ = args;
        none(node)
    }

    /// The test program as nodes find it.
    fn tools(&self) -> anyhow::Result<PathBuf> {
        none("the test program")
    }

    /// Ends the API server at once.
    fn kill_api(&self, context: &str) -> anyhow::Result<()> {
        none(context)
    }

    /// Starts it again.
    fn start_api(&self, context: &str) -> anyhow::Result<()> {
        none(context)
    }

    /// Stops etcd, takes its data away, and starts it empty.
    fn lose_etcd(&self, context: &str) -> anyhow::Result<()> {
        none(context)
    }

    /// A node more; its name.
    fn add_node(&self, context: &str) -> anyhow::Result<String> {
        none(context)
    }

    /// Takes a node away in good order.
    fn remove_node(&self, context: &str, node: &str) -> anyhow::Result<()> {
        let _ = node;
        none(context)
    }

    /// Takes a node away with its disk, at once.
    fn lose_node(&self, context: &str, node: &str) -> anyhow::Result<()> {
        let _ = node;
        none(context)
    }

    /// Takes all nodes of a cluster off the network between clusters.
    fn cut(&self, context: &str) -> anyhow::Result<()> {
        none(context)
    }

    /// Puts them back.
    fn heal(&self, context: &str) -> anyhow::Result<()> {
        none(context)
    }
}

fn none<T>(what: &str) -> anyhow::Result<T> {
    bail!("{what}: only the clusters of `e2e up` can be reached below Kubernetes")
}

/// Clusters that somebody else made.
pub struct Foreign {
    /// Nodes of the smaller one
    pub nodes: usize,
}

impl Ground for Foreign {
    fn facts(&self) -> Facts {
        Facts {
            nodes: self.nodes,
            equal: None,
            ground: false,
        }
    }
}
