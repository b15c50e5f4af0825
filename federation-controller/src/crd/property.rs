//! Pure: ClusterProperty, of the About API (KEP-2149).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::define::Custom;

/// Something about this cluster that tools of several clusters want to know, by its name: `cluster.clusterset.k8s.io`
/// is the cluster's id, `clusterset.k8s.io` its clusterset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterProperty {
    /// The property's name.
    #[serde(default)]
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// The property.
    #[serde(default)]
    #[schemars(required)]
    pub spec: ClusterPropertySpec,
}

/// The property.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPropertySpec {
    /// Its value; what it means depends on the property's name.
    #[schemars(length(min = 1, max = 128000))]
    pub value: String,
}

impl Custom for ClusterProperty {
    const GROUP: &'static str = "about.k8s.io";
    const VERSIONS: &'static [&'static str] = &["v1beta1", "v1alpha1"];
    const KIND: &'static str = "ClusterProperty";
    const PLURAL: &'static str = "clusterproperties";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const OURS: bool = false;
    const DEFAULTS: bool = false;
    const STATUS: bool = false;
    const COLUMNS: &'static [(&'static str, &'static str, &'static str, &'static str)] = &[
        ("value", "string", ".spec.value", ""),
        ("age", "date", ".metadata.creationTimestamp", ""),
    ];
    const RULES: &'static [(&'static str, &'static str)] = &[];

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
