//! Shell: what the chart's hooks run: installing, choosing gateways, DNS, uninstalling, testing. Each says what it
//! does line by line, gives up at its deadline, and says which verb on which object failed.

mod check;
pub mod corefile;
pub mod definitions;
mod dns;
pub mod gateways;
mod install;
mod label;
pub mod question;
mod refusal;
mod site;
mod uninstall;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use kube::Client;

use site::Site;

/// One hook of the chart.
#[derive(Debug, Subcommand)]
pub enum Hook {
    /// Makes or updates the custom resources' definitions, applies the configuration, chooses gateways
    Install {
        /// YAML of the ClusterConfiguration
        #[arg(long, value_name = "FILE")]
        configuration: PathBuf,
        /// Label that many nodes as gateways if none is; none: nodes are left alone
        #[arg(long, value_name = "COUNT")]
        gateways: Option<usize>,
        #[command(flatten)]
        common: Common,
    },
    /// Makes CoreDNS forward clusterset.local to Causeway
    Dns {
        /// Service that answers for the zone
        #[arg(long, default_value = "causeway-dns")]
        service: String,
        #[command(flatten)]
        coredns: dns::CoreDns,
        #[command(flatten)]
        common: Common,
    },
    /// Looks whether all is well
    Test {
        /// Ask for clusterset.local at Causeway only, not through CoreDNS
        #[arg(long)]
        keep_coredns: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Cleans every node, and removes what Causeway wrote
    Uninstall {
        #[command(flatten)]
        what: uninstall::What,
        #[command(flatten)]
        coredns: dns::CoreDns,
        #[command(flatten)]
        common: Common,
    },
}

/// What every hook is told.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Namespace of the release
    #[arg(long, env = "POD_NAMESPACE", default_value = "causeway-system")]
    namespace: String,
    /// Give up after that many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    deadline: u64,
}

impl Common {
    async fn site(&self) -> anyhow::Result<Site> {
        let client = Client::try_default().await;
        let client = client
            .context("no way to an API server: neither a service account nor a kubeconfig")?;
        let patience = Duration::from_secs(self.deadline);
        Ok(Site::new(client, self.namespace.clone(), patience))
    }
}

/// Runs one hook to its end.
///
/// # Errors
/// When its work could not be done; the message says what to check.
pub async fn run(hook: &Hook) -> anyhow::Result<()> {
    match hook {
        Hook::Install {
            configuration,
            gateways,
            common,
        } => {
            let site = common.site().await?;
            install::run(&site, configuration).await?;
            if let Some(count) = gateways {
                label::run(&site, *count).await?;
            }
        }
        Hook::Dns {
            service,
            coredns,
            common,
        } => {
            dns::forward(&common.site().await?, coredns, service).await?;
        }
        Hook::Test {
            keep_coredns,
            common,
        } => check::run(&common.site().await?, !keep_coredns).await?,
        Hook::Uninstall {
            what,
            coredns,
            common,
        } => {
            uninstall::run(&common.site().await?, what, coredns).await?;
        }
    }
    tracing::info!("done");
    Ok(())
}
