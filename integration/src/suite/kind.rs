//! Pure: kinds of objects and where the API server keeps them.

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// As an object says it
    pub name: &'static str,
    /// `v1` or `group/version`
    pub version: &'static str,
    /// In paths
    pub plural: &'static str,
    /// Or of the whole cluster
    pub in_namespace: bool,
}

const fn kind(name: &'static str, version: &'static str, plural: &'static str) -> Kind {
    Kind {
        name,
        version,
        plural,
        in_namespace: true,
    }
}

const fn global(name: &'static str, version: &'static str, plural: &'static str) -> Kind {
    Kind {
        in_namespace: false,
        ..kind(name, version, plural)
    }
}

const MCS: &str = "multicluster.x-k8s.io/v1beta1";
const OURS: &str = "causeway.dev/v1alpha1";

/// Kubernetes' own.
pub const SERVICE: Kind = kind("Service", "v1", "services");
/// Kubernetes' own.
pub const POD: Kind = kind("Pod", "v1", "pods");
/// Kubernetes' own.
pub const SECRET: Kind = kind("Secret", "v1", "secrets");
/// Kubernetes' own.
pub const CONFIG_MAP: Kind = kind("ConfigMap", "v1", "configmaps");
/// What was told of an object.
pub const EVENT: Kind = kind("Event", "v1", "events");
/// Kubernetes' own.
pub const NAMESPACE: Kind = global("Namespace", "v1", "namespaces");
/// Kubernetes' own.
pub const NODE: Kind = global("Node", "v1", "nodes");
/// Addresses behind a Service.
pub const SLICE: Kind = kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices");
/// Kubernetes' own.
pub const DEPLOYMENT: Kind = kind("Deployment", "apps/v1", "deployments");
/// Kubernetes' own.
pub const STATEFUL_SET: Kind = kind("StatefulSet", "apps/v1", "statefulsets");
/// Kubernetes' own.
pub const DAEMON_SET: Kind = kind("DaemonSet", "apps/v1", "daemonsets");
/// Who leads.
pub const LEASE: Kind = kind("Lease", "coordination.k8s.io/v1", "leases");
/// What a role may do in a whole cluster.
pub const CLUSTER_ROLE: Kind = global(
    "ClusterRole",
    "rbac.authorization.k8s.io/v1",
    "clusterroles",
);
/// Definition of a kind.
pub const DEFINITION: Kind = global(
    "CustomResourceDefinition",
    "apiextensions.k8s.io/v1",
    "customresourcedefinitions",
);
/// The Service of that name is offered to other clusters.
pub const EXPORT: Kind = kind("ServiceExport", MCS, "serviceexports");
/// A service of the clusterset.
pub const IMPORT: Kind = kind("ServiceImport", MCS, "serviceimports");
/// What a cluster is called.
pub const PROPERTY: Kind = global(
    "ClusterProperty",
    "about.k8s.io/v1alpha1",
    "clusterproperties",
);
/// Another cluster, as this one knows it.
pub const PEER: Kind = global("ClusterPeer", OURS, "clusterpeers");
/// The settings of this cluster.
pub const CONFIGURATION: Kind = global("ClusterConfiguration", OURS, "clusterconfigurations");

const ALL: &[Kind] = &[
    SERVICE,
    POD,
    SECRET,
    CONFIG_MAP,
    EVENT,
    NAMESPACE,
    NODE,
    SLICE,
    DEPLOYMENT,
    STATEFUL_SET,
    DAEMON_SET,
    LEASE,
    CLUSTER_ROLE,
    DEFINITION,
    EXPORT,
    IMPORT,
    PROPERTY,
    PEER,
    CONFIGURATION,
];

/// The kind of that name.
#[must_use]
pub fn named(name: &str) -> Option<Kind> {
    ALL.iter().find(|kind| kind.name == name).copied()
}

impl Kind {
    /// The path of all of them, in a namespace or, with an empty one, everywhere.
    #[must_use]
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.version.contains('/') {
            "apis"
        } else {
            "api"
        };
        let (version, plural) = (self.version, self.plural);
        if self.in_namespace && !namespace.is_empty() {
            format!("/{root}/{version}/namespaces/{namespace}/{plural}")
        } else {
            format!("/{root}/{version}/{plural}")
        }
    }

    /// The same kind in another version of its group.
    #[must_use]
    pub fn of(self, version: &'static str) -> Kind {
        Kind { version, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_api_servers() {
        assert_eq!(SERVICE.path("a"), "/api/v1/namespaces/a/services");
        assert_eq!(SERVICE.path(""), "/api/v1/services");
        assert_eq!(
            EXPORT.path("a"),
            "/apis/multicluster.x-k8s.io/v1beta1/namespaces/a/serviceexports"
        );
        assert_eq!(PEER.path("a"), "/apis/causeway.dev/v1alpha1/clusterpeers");
        assert!(ALL.iter().all(|kind| named(kind.name) == Some(*kind)));
    }
}
