//! Pure: objects that the controller writes, as the API server shows them: their content, and who wrote what of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::fields;
use crate::want::{Group, Kind, MANAGER, MARK, Target};

/// Label of the service that an EndpointSlice of an import belongs to.
pub const SERVICE_LABEL: &str = "multicluster.kubernetes.io/service-name";
/// Label of the cluster whose endpoints it holds.
pub const SOURCE_LABEL: &str = "multicluster.kubernetes.io/source-cluster";

/// One object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// `apiVersion`
    pub api_version: String,
    /// Tells it from others that had its name.
    pub uid: String,
    /// `resourceVersion`
    pub version: String,
    /// Of its spec.
    pub generation: Option<i64>,
    /// Somebody has deleted it, and it waits for a finalizer.
    pub terminating: bool,
    /// The fields that we have set, beside the status and in it.
    pub owned: (BTreeSet<String>, BTreeSet<String>),
    /// Who else has set which fields beside the status.
    pub others: BTreeMap<String, BTreeSet<String>>,
    /// Labels, annotations and owners; all else as it is.
    pub value: Value,
}

impl Seen {
    /// From the object as the API server sends it; `None` without a name.
    #[must_use]
    pub fn of(kind: Kind, mut object: Value) -> Option<(Target, Self)> {
        let fields = object.as_object_mut()?;
        let metadata = fields.remove("metadata")?;
        let api_version = fields.remove("apiVersion");
        fields.remove("kind");
        let text = |key: &str| {
            let value = metadata.get(key).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let target = Target::new(kind, &text("namespace"), &text("name"));
        if target.name.is_empty() {
            return None;
        }
        let mut seen = Self {
            api_version: api_version
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default(),
            uid: text("uid"),
            version: text("resourceVersion"),
            generation: metadata.get("generation").and_then(Value::as_i64),
            terminating: metadata
                .get("deletionTimestamp")
                .is_some_and(|t| !t.is_null()),
            ..Self::default()
        };
        let managed = metadata.get("managedFields").and_then(Value::as_array);
        for entry in managed.into_iter().flatten() {
            seen.take_entry(entry);
        }
        let kept = ["labels", "annotations", "ownerReferences"].into_iter();
        let kept: Map<String, Value> = kept
            .filter_map(|key| Some((key.to_owned(), metadata.get(key)?.clone())))
            .collect();
        fields.insert("metadata".to_owned(), Value::Object(kept));
        seen.value = object;
        Some((target, seen))
    }

    fn take_entry(&mut self, entry: &Value) {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let in_status = text("subresource") == "status";
        let found = entry.get("fieldsV1").map(fields::owned).unwrap_or_default();
        match (text("manager"), in_status) {
            (MANAGER, true) => self.owned.1.extend(found),
            (MANAGER, false) => self.owned.0.extend(found),
            (other, false) => {
                let known = self.others.entry(other.to_owned()).or_default();
                known.extend(found);
            }
            (_, true) => {}
        }
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.value.get("metadata")?.get("labels")?;
        labels.get(key).and_then(Value::as_str)
    }

    /// Whether we made it, or have taken it over.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.label(MARK.0) == Some(MARK.1) || !self.owned.0.is_empty()
    }

    /// What it belongs to.
    #[must_use]
    pub fn group(&self, target: &Target) -> Group {
        let (namespace, name) = (target.namespace.clone(), target.name.clone());
        match target.kind {
            Kind::ServiceImport => Group::Import(namespace, name),
            Kind::ServiceExport => Group::Export(namespace, name),
            Kind::ClusterPeer => Group::Peer(name),
            Kind::ClusterProperty => Group::Property(name),
            Kind::ClusterConfiguration => Group::Configuration,
            Kind::EndpointSlice => {
                let owners = self.value.pointer("/metadata/ownerReferences");
                let mut owners = owners.and_then(Value::as_array).into_iter().flatten();
                let is_import = |o: &&Value| o.get("kind").is_some_and(|k| k == "ServiceImport");
                let owner = owners.find(is_import).and_then(|o| o.get("name"));
                let by_owner = owner.and_then(Value::as_str);
                let service = by_owner.or_else(|| self.label(SERVICE_LABEL));
                Group::Import(namespace, service.unwrap_or_default().to_owned())
            }
        }
    }
}

/// All that is seen of the kinds that the controller writes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sight {
    groups: BTreeMap<Group, BTreeMap<Target, Seen>>,
    places: BTreeMap<Target, Group>,
}

impl Sight {
    /// Takes in an object's newest state; the groups that this changes.
    pub fn put(&mut self, target: Target, seen: Seen) -> BTreeSet<Group> {
        let group = seen.group(&target);
        if self.get(&target) == Some(&seen) && self.places.get(&target) == Some(&group) {
            return BTreeSet::new();
        }
        let mut changed = BTreeSet::from([group.clone()]);
        match self.places.insert(target.clone(), group.clone()) {
            Some(before) if before != group => changed.extend(self.take_from(&before, &target)),
            _ => {}
        }
        self.groups.entry(group).or_default().insert(target, seen);
        changed
    }

    /// It is gone; the group that this changes.
    pub fn remove(&mut self, target: &Target) -> Option<Group> {
        let group = self.places.remove(target)?;
        self.take_from(&group, target)
    }

    fn take_from(&mut self, group: &Group, target: &Target) -> Option<Group> {
        let members = self.groups.get_mut(group)?;
        members.remove(target)?;
        if members.is_empty() {
            self.groups.remove(group);
        }
        Some(group.clone())
    }

    /// An object.
    #[must_use]
    pub fn get(&self, target: &Target) -> Option<&Seen> {
        self.groups.get(self.places.get(target)?)?.get(target)
    }

    /// The objects of a group.
    pub fn members(&self, group: &Group) -> impl Iterator<Item = (&Target, &Seen)> {
        self.groups.get(group).into_iter().flatten()
    }

    /// Groups that have objects.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.keys()
    }

    /// All objects of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Target, &Seen)> {
        let all = self.groups.values().flatten();
        all.filter(move |(target, _)| target.kind == kind)
    }
}
