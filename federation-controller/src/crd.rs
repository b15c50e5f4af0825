//! Pure: our own form of the multi-cluster objects, the same in v1alpha1 and v1beta1, and the annotations
//! that they may carry.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// API group of ServiceExport and ServiceImport.
pub const MCS_GROUP: &str = "multicluster.x-k8s.io";
/// Its versions, the stored one first.
pub const MCS_VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];

/// Where clients of this cluster are sent: `local-first` (default) or `spread`.
pub const LOCALITY: &str = "federation.causeway.dev/locality";
/// Share of this cluster among those that offer the service: 0 to 65535, 100 without a word.
pub const WEIGHT: &str = "federation.causeway.dev/weight";
/// What peers do when this cluster falls silent: `withdraw` (default), `keep` or `failover-only`.
pub const ON_LOSS: &str = "federation.causeway.dev/on-loss";
/// Weight of an export without an annotation: room for more and for less.
pub const DEFAULT_WEIGHT: u16 = 100;

/// `ServiceExport`: the Service of the same name is offered to the clusterset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExport {
    /// Name, creation time, annotations.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What goes along with the service.
    #[serde(default)]
    pub spec: ServiceExportSpec,
}

/// `spec` of a ServiceExport.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExportSpec {
    /// Labels of the ServiceImport.
    #[serde(default)]
    pub exported_labels: Option<BTreeMap<String, String>>,
    /// Annotations of the ServiceImport.
    #[serde(default)]
    pub exported_annotations: Option<BTreeMap<String, String>>,
}
