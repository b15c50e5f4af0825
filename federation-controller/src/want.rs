//! Pure: what objects of the API server should say, in one form for all kinds that the controller writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use causeway_proto::model::ConditionStatus;
use serde_json::Value;

use crate::crd::{
    ClusterConfiguration, ClusterPeer, ClusterProperty, Custom, ServiceExport, ServiceImport,
};

/// Who writes, in `metadata.managedFields`.
pub const MANAGER: &str = "causeway-controller";
/// Label of every object that the controller makes, and its value: what may be deleted again.
pub const MARK: (&str, &str) = ("causeway.dev/managed-by", "causeway");
/// The same by everybody's name for it; an exported label of this name goes before.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "causeway");

/// Kinds that the controller writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// about.k8s.io
    ClusterProperty,
    /// Our own; only its status, and objects for peers that have none.
    ClusterPeer,
    /// Our own; only its status.
    ClusterConfiguration,
    /// MCS; only its status.
    ServiceExport,
    /// MCS.
    ServiceImport,
    /// discovery.k8s.io, those of imports.
    EndpointSlice,
}

impl Kind {
    /// As in the object's `kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterProperty => ClusterProperty::KIND,
            Self::ClusterPeer => ClusterPeer::KIND,
            Self::ClusterConfiguration => ClusterConfiguration::KIND,
            Self::ServiceExport => ServiceExport::KIND,
            Self::ServiceImport => ServiceImport::KIND,
            Self::EndpointSlice => "EndpointSlice",
        }
    }

    /// (group, plural, whether in a namespace)
    #[must_use]
    pub fn resource(self) -> (&'static str, &'static str, bool) {
        fn of<K: Custom>() -> (&'static str, &'static str, bool) {
            (K::GROUP, K::PLURAL, K::NAMESPACED)
        }
        match self {
            Self::ClusterProperty => of::<ClusterProperty>(),
            Self::ClusterPeer => of::<ClusterPeer>(),
            Self::ClusterConfiguration => of::<ClusterConfiguration>(),
            Self::ServiceExport => of::<ServiceExport>(),
            Self::ServiceImport => of::<ServiceImport>(),
            Self::EndpointSlice => ("discovery.k8s.io", "endpointslices", true),
        }
    }
}

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// What it is.
    pub kind: Kind,
    /// Where it stands; empty for kinds of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Target {
    /// Of a kind that stands in a namespace.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Of a kind of the whole cluster.
    #[must_use]
    pub fn of_cluster(kind: Kind, name: &str) -> Self {
        Self::new(kind, "", name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        f.write_str(" ")?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// What belongs together: its objects are looked at and written together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// A ServiceImport and its EndpointSlices, by namespace and name.
    Import(String, String),
    /// A ServiceExport.
    Export(String, String),
    /// A ClusterPeer.
    Peer(String),
    /// A ClusterProperty.
    Property(String),
    /// The ClusterConfiguration.
    Configuration,
}

/// A condition as it should be; when it changed is added where it is compared with what there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sought {
    /// `Ready`
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word, CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Sought {
    /// A condition.
    #[must_use]
    pub fn new(
        kind: &str,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// What one object should say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wanted {
    /// Its fields beside the status; `None`: they are somebody else's.
    pub body: Option<Value>,
    /// Its status without conditions.
    pub status: Option<Value>,
    /// Its conditions; those of other types are left alone.
    pub conditions: Vec<Sought>,
    /// JSON pointers of what must not be there, whoever put it there.
    pub absent: Vec<&'static str>,
    /// What it goes away with.
    pub owner: Option<Target>,
}

/// What all objects of some groups should say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wants {
    /// By name; what is ours and not in here is deleted.
    pub objects: BTreeMap<Target, Wanted>,
    /// Those about which too little is known: neither written nor deleted.
    pub left: BTreeSet<Target>,
}
