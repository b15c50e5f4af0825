//! Shell: where the built components are: told by xtask, which builds them.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// The environment variable that names the directory.
pub const VARIABLE: &str = "CAUSEWAY_KUBERNETES_TOOLS";
/// The images that every node has from the start.
const IMAGES: [&str; 2] = ["tools.tar", "coredns.tar"];

/// The directory of the components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools(PathBuf);

impl Tools {
    /// Those that the environment names.
    pub fn find() -> anyhow::Result<Tools> {
        let told = std::env::var_os(VARIABLE)
            .with_context(|| format!("{VARIABLE} is not set; run this by `cargo xtask e2e`"))?;
        let tools = Tools(PathBuf::from(told));
        ensure!(
            tools.kube().is_file(),
            "{VARIABLE} names a directory without Kubernetes"
        );
        Ok(tools)
    }

    /// The directory, for search paths.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// etcd and the components, picked by the first argument.
    #[must_use]
    pub fn kube(&self) -> PathBuf {
        self.0.join("kube")
    }

    /// kubectl.
    #[must_use]
    pub fn kubectl(&self) -> PathBuf {
        self.0.join("kubectl")
    }

    /// Makes certificates.
    #[must_use]
    pub fn forge(&self) -> PathBuf {
        self.0.join("forge")
    }

    /// What test pods run, for a node's own processes.
    #[must_use]
    pub fn test_program(&self) -> PathBuf {
        self.0.join("tools")
    }

    /// Images of the test tools and of CoreDNS.
    #[must_use]
    pub fn images(&self) -> [PathBuf; 2] {
        IMAGES.map(|name| self.0.join(name))
    }
}
