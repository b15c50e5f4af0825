//! Shell: the kubeconfig, and a client of the API server that it names.

use std::io::ErrorKind;
use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::direct::is_direct;
use super::place::Place;
use crate::failure::{Failure, Kind};

/// Set in every pod.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// What the command line says of it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Instead of `$KUBECONFIG` and `~/.kube/config`.
    pub file: Option<&'a Path>,
    /// Instead of the current one.
    pub context: Option<&'a str>,
    /// Where Causeway is.
    pub namespace: &'a str,
}

/// A client of that cluster's API.
///
/// # Errors
/// When there is no such kubeconfig or context, or it cannot be used.
pub async fn client(wanted: Wanted<'_>) -> Result<(Client, Place), Failure> {
    let (config, context) = match read(wanted.file) {
        Ok(kubeconfig) => {
            let names = names(&kubeconfig);
            let proxied = has_proxy(&kubeconfig);
            let context = wanted.context.map(str::to_owned);
            let context = context.or_else(|| kubeconfig.current_context.clone());
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            let mut config = config.map_err(|e| unusable(&e, wanted.file, &names))?;
            // What the environment says of proxies has exceptions; what the kubeconfig says has none.
            if !proxied && is_excepted(&config) {
                config.proxy_url = None;
            }
            (config, context)
        }
        Err(absent) if is_absent(&absent) && in_cluster(wanted) => {
            (Config::incluster().map_err(Failure::refused)?, None)
        }
        Err(error) => return Err(unusable(&error, wanted.file, &[])),
    };
    let place = Place {
        context,
        kubeconfig: wanted.file.map(|file| file.display().to_string()),
        server: config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned(),
        namespace: wanted.namespace.to_owned(),
    };
    match Client::try_from(config) {
        Ok(client) => Ok((client, place)),
        Err(e) => {
            let check =
                "the credentials of that context: their files, or the program that gets them";
            let what = format!("{} cannot be used: {}", place.name(), causes(&e));
            Err(Failure::new(Kind::Refused, what, check))
        }
    }
}

/// Whether there is any, where nothing was said of it.
pub fn is_there() -> bool {
    match read(None) {
        Ok(kubeconfig) => kubeconfig
            .current_context
            .is_some_and(|name| !name.is_empty()),
        Err(_) => std::env::var_os(IN_CLUSTER).is_some(),
    }
}

fn read(file: Option<&Path>) -> Result<Kubeconfig, KubeconfigError> {
    file.map_or_else(Kubeconfig::read, Kubeconfig::read_from)
}

fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(source, _) => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

fn in_cluster(wanted: Wanted<'_>) -> bool {
    let named = wanted.file.is_some() || wanted.context.is_some();
    !named && std::env::var_os(IN_CLUSTER).is_some()
}

fn has_proxy(kubeconfig: &Kubeconfig) -> bool {
    let clusters = kubeconfig.clusters.iter();
    let mut proxies = clusters.filter_map(|named| named.cluster.as_ref()?.proxy_url.as_deref());
    proxies.any(|proxy| !proxy.is_empty())
}

fn is_excepted(config: &Config) -> bool {
    let except = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy"));
    let host = config.cluster_url.host().unwrap_or_default();
    is_direct(host, &except.unwrap_or_default())
}

fn names(kubeconfig: &Kubeconfig) -> Vec<String> {
    let names = kubeconfig
        .contexts
        .iter()
        .map(|context| context.name.clone());
    names.collect()
}

fn unusable(error: &KubeconfigError, file: Option<&Path>, names: &[String]) -> Failure {
    let which = file.map_or_else(
        || "the kubeconfig".to_owned(),
        |file| format!("kubeconfig {}", file.display()),
    );
    let there = match names {
        [] => "it has no contexts at all".to_owned(),
        names => format!("it has {}", names.join(", ")),
    };
    let elsewhere = "give another file with --kubeconfig or $KUBECONFIG";
    let (what, check) = match error {
        KubeconfigError::FindPath => (
            "there is no kubeconfig".to_owned(),
            "give one with --kubeconfig or $KUBECONFIG".to_owned(),
        ),
        KubeconfigError::ReadConfig(source, path) => (
            format!("kubeconfig {}: {source}", path.display()),
            elsewhere.to_owned(),
        ),
        KubeconfigError::CurrentContextNotSet => (
            format!("{which} has no current context"),
            format!("name one with --context; {there}"),
        ),
        KubeconfigError::LoadContext(context) => (
            format!("{which} has no context {context:?}"),
            format!("{there}; {elsewhere}"),
        ),
        other => (
            format!("{which}: {}", causes(other)),
            "`kubectl config view` shows it".to_owned(),
        ),
    };
    Failure::new(Kind::Usage, what, check)
}

/// An error with its causes, on one line.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    causeway_certs::dial::causes(error)
}
