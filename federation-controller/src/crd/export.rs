//! Pure: ServiceExport, of the MCS API.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::define::{Custom, conditions};
use super::{MCS_GROUP, MCS_VERSIONS};

/// Offers the Service of the same namespace and name to the other clusters of the clusterset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExport {
    /// Name, creation time, annotations.
    #[serde(default)]
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// What goes along with the service.
    #[serde(default)]
    #[schemars(with = "Option<ServiceExportSpec>")]
    pub spec: ServiceExportSpec,
    /// How the export stands. Written by the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ServiceExportStatus>,
}

/// What goes along with the exported service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExportSpec {
    /// Labels that the ServiceImport gets in every cluster. The oldest export's hold where exports differ. The
    /// Service's own labels are not copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported_labels: Option<BTreeMap<String, String>>,
    /// Annotations that the ServiceImport gets in every cluster. The oldest export's hold where exports differ. The
    /// Service's own annotations are not copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported_annotations: Option<BTreeMap<String, String>>,
}

/// How an export stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExportStatus {
    /// `Valid`: the Service can be exported. `Ready`: it is in the catalog that the other clusters get. `Conflict`:
    /// clusters that export this name do not agree; the message tells on what, and whose word is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

impl Custom for ServiceExport {
    const GROUP: &'static str = MCS_GROUP;
    const VERSIONS: &'static [&'static str] = &MCS_VERSIONS;
    const KIND: &'static str = "ServiceExport";
    const PLURAL: &'static str = "serviceexports";
    const SHORT_NAMES: &'static [&'static str] = &["svcex", "svcexport"];
    const NAMESPACED: bool = true;
    const OURS: bool = false;
    const DEFAULTS: bool = false;
    const STATUS: bool = true;
    const COLUMNS: &'static [(&'static str, &'static str, &'static str, &'static str)] =
        &[("Age", "date", ".metadata.creationTimestamp", "")];
    const RULES: &'static [(&'static str, &'static str)] = &[];

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
