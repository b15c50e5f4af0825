//! Pure: what the mesh needs to know of a pod. A cluster has up to 150,000 of them, and their whole is fifty times as
//! much.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use crate::export::IDENTITY_LABELS;

/// A pod, in so far as it makes a workload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodFacts {
    /// `spec.serviceAccountName`
    pub service_account: Option<String>,
    /// Where it runs.
    pub node: Option<String>,
    /// Those that make identities.
    pub labels: BTreeMap<String, String>,
    /// Its own. None of a pod on the host's network, whose address is the node's and whose identity is `host`; none of
    /// a finished one, whose address may be another's by now.
    pub addresses: BTreeSet<String>,
}

impl From<Pod> for PodFacts {
    fn from(pod: Pod) -> Self {
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let has_own = spec.host_network != Some(true) && !is_over;
        let listed = status.pod_ips.unwrap_or_default();
        let listed = listed.into_iter().map(|entry| entry.ip);
        let addresses = listed.chain(status.pod_ip).filter(|_| has_own);
        let labels = pod.metadata.labels.unwrap_or_default().into_iter();
        Self {
            service_account: spec.service_account_name.filter(|a| !a.is_empty()),
            node: spec.node_name.filter(|n| !n.is_empty()),
            labels: labels
                .filter(|(key, _)| IDENTITY_LABELS.contains(&key.as_str()))
                .collect(),
            addresses: addresses.collect(),
        }
    }
}
