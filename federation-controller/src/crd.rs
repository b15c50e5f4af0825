//! Pure: the custom resources as Rust types, and the definitions that an API server takes, made from them. The MCS
//! kinds are those of the official definitions, the same in v1alpha1 and v1beta1; the others are our own.

mod configuration;
mod define;
mod export;
mod import;
mod peer;
mod property;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub use configuration::{
    Accept, ClusterConfiguration, ClusterConfigurationSpec, ClusterConfigurationStatus,
    ConfiguredPeer, EncryptionSetting, GatewayState, Introductions, Pools, ReportedProblem,
};
pub use define::{BadDefinition, Custom};
pub use export::{ServiceExport, ServiceExportSpec, ServiceExportStatus};
pub use import::{
    ClusterStatus, EndpointSliceObjects, ServiceImport, ServiceImportSpec, ServiceImportStatus,
    ServiceImportType, ServicePort,
};
pub use peer::{
    ClusterPeer, ClusterPeerSpec, ClusterPeerStatus, LastError, PeerMapping, PeerSession,
    TokenSecretRef,
};
pub use property::{ClusterProperty, ClusterPropertySpec};

/// API group of ServiceExport and ServiceImport.
pub const MCS_GROUP: &str = "multicluster.x-k8s.io";
/// Its versions, the stored one first.
pub const MCS_VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];
/// API group of our own kinds.
pub const GROUP: &str = "causeway.dev";
/// The one name of a [`ClusterConfiguration`].
pub const CONFIGURATION: &str = "default";

/// Where clients of this cluster are sent: `local-first` (default) or `spread`.
pub const LOCALITY: &str = "federation.causeway.dev/locality";
/// Share of this cluster among those that offer the service: 0 to 65535, 100 without a word.
pub const WEIGHT: &str = "federation.causeway.dev/weight";
/// What peers do when this cluster falls silent: `withdraw` (default), `keep` or `failover-only`.
pub const ON_LOSS: &str = "federation.causeway.dev/on-loss";
/// Weight of an export without an annotation: room for more and for less.
pub const DEFAULT_WEIGHT: u16 = 100;

/// Every definition, in one order.
///
/// # Errors
/// When a type's schema is none that an API server takes; a test shows that it is not so.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, BadDefinition> {
    Ok(vec![
        define::definition::<ServiceExport>()?,
        define::definition::<ServiceImport>()?,
        define::definition::<ClusterProperty>()?,
        define::definition::<ClusterConfiguration>()?,
        define::definition::<ClusterPeer>()?,
    ])
}

/// Every definition as YAML, a document each: what `causeway-controller crds` prints.
///
/// # Errors
/// As [`definitions`].
pub fn yaml() -> Result<String, BadDefinition> {
    let mut text = String::new();
    for definition in definitions()? {
        text.push_str("---\n");
        text.push_str(&define::yaml(&definition)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
