//! Pure: what the API server and the gateways have said last, and what follows from it: what is published, and what is
//! written. Changes go in; a publication and writes come out. It says nothing before everything has been listed once.
//!
//! Only what has changed is looked at again, by groups of objects that belong together.

mod agents;
mod round;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_proto::model::{ClusterId, Problem, ProblemKind, Publication, View};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::crd::{CONFIGURATION, ClusterConfigurationSpec, ServiceExport};
use crate::import::Schema;
use crate::member::{CLUSTER_PROPERTY, CLUSTER_SET_PROPERTY};
use crate::objects::{Key, Objects, PodFacts};
use crate::peer::{Joining, Statuses};
use crate::publication::publication;
use crate::seen::{Seen, Sight};
use crate::want::{Group, Kind, Target};
use agents::Agents;

/// What is listed and watched, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Services
    Services,
    /// EndpointSlices, ours and others'
    Slices,
    /// Pods
    Pods,
    /// Namespaces
    Namespaces,
    /// Nodes
    Nodes,
    /// ServiceExports
    Exports,
    /// ServiceImports
    Imports,
    /// ClusterProperties
    Properties,
    /// ClusterPeers
    Peers,
    /// ClusterConfigurations
    Configurations,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Services,
        Self::Slices,
        Self::Pods,
        Self::Namespaces,
        Self::Nodes,
        Self::Exports,
        Self::Imports,
        Self::Properties,
        Self::Peers,
        Self::Configurations,
    ];

    /// The kind that the controller writes, if it writes this one.
    #[must_use]
    pub fn kind(self) -> Option<Kind> {
        match self {
            Self::Slices => Some(Kind::EndpointSlice),
            Self::Exports => Some(Kind::ServiceExport),
            Self::Imports => Some(Kind::ServiceImport),
            Self::Properties => Some(Kind::ClusterProperty),
            Self::Peers => Some(Kind::ClusterPeer),
            Self::Configurations => Some(Kind::ClusterConfiguration),
            Self::Services | Self::Pods | Self::Namespaces | Self::Nodes => None,
        }
    }
}

/// One object as it came, by namespace (empty for kinds of the whole cluster) and name.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Namespace and name.
    pub key: Key,
    /// What is read of it.
    pub content: Content,
    /// What is written of it.
    pub seen: Option<Seen>,
}

/// What is read of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A Service.
    Service(Box<Service>),
    /// An EndpointSlice of somebody else.
    Slice(Box<EndpointSlice>),
    /// A pod.
    Pod(Box<PodFacts>),
    /// A namespace, and whether it is about to end.
    Namespace(Box<Namespace>, bool),
    /// A node.
    Node(Box<Node>),
    /// A ServiceExport.
    Export(Box<ServiceExport>),
    /// The configuration.
    Configuration(Box<ClusterConfigurationSpec>),
    /// Nothing but what is in `seen`.
    Written,
    /// It cannot be read: why.
    Unreadable(String),
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// All that there is, after the first list and after each that follows a break.
    Listed(Source, Vec<Item>),
    /// One object is new or another.
    Put(Source, Item),
    /// One is gone: namespace and name, and its uid.
    Gone(Source, Key, String),
}

/// The state; see the module.
#[derive(Debug, Default)]
pub struct Mirror {
    objects: Objects,
    /// Namespaces that exist and are not about to end.
    live: BTreeSet<String>,
    sight: Sight,
    /// What we have deleted, until the watch says so too: by uid.
    deleted: BTreeMap<Target, String>,
    listed: BTreeSet<Source>,
    unreadable: BTreeMap<(Source, Key), String>,
    agents: Agents,
    configuration: Option<ClusterConfigurationSpec>,
    schema: Schema,
    /// Whether `published` may be old.
    stale: bool,
    published: Option<Arc<Publication>>,
    view: Option<Arc<View>>,
    statuses: Option<Statuses>,
    joining: BTreeMap<ClusterId, Joining>,
    /// Why there may be no View, or an old one.
    trouble: Option<String>,
    /// What the API server refuses to have written.
    unwritten: Vec<Problem>,
    dirty: BTreeSet<Group>,
}

impl Mirror {
    /// With nothing in it. Pods of agents stand in `namespace`.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self {
            agents: Agents::new(namespace),
            stale: true,
            ..Self::default()
        }
    }

    /// What has not been listed yet.
    pub fn missing(&self) -> impl Iterator<Item = Source> {
        let all = Source::ALL.into_iter();
        all.filter(|source| !self.listed.contains(source))
    }

    /// Whether everything has been listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.listed.len() == Source::ALL.len()
    }

    /// The configuration, if there is one.
    #[must_use]
    pub fn configuration(&self) -> Option<&ClusterConfigurationSpec> {
        self.configuration.as_ref()
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        let was_complete = self.is_complete();
        match change {
            Change::Put(source, item) => self.put(source, item, false),
            Change::Gone(source, key, uid) => self.gone(source, &key, Some(&uid)),
            Change::Listed(source, items) => {
                let keys: BTreeSet<Key> = items.iter().map(|item| item.key.clone()).collect();
                for key in self.keys(source) {
                    if !keys.contains(&key) {
                        self.gone(source, &key, None);
                    }
                }
                self.deleted
                    .retain(|target, _| Some(target.kind) != source.kind());
                for item in items {
                    self.put(source, item, true);
                }
                self.listed.insert(source);
            }
        }
        if self.is_complete() && !was_complete {
            self.agents.begin(self.objects.nodes.keys());
            self.all_dirty();
        }
    }

    /// What is held of a source.
    fn keys(&self, source: Source) -> BTreeSet<Key> {
        let of_cluster = |name: &String| (String::new(), name.clone());
        let mut keys: BTreeSet<Key> = match source {
            Source::Services => self.objects.services.keys().cloned().collect(),
            Source::Slices => self.objects.slices.keys().cloned().collect(),
            Source::Pods => self.objects.pods.keys().cloned().collect(),
            Source::Exports => self.objects.exports.keys().cloned().collect(),
            Source::Namespaces => self.objects.namespaces.keys().map(of_cluster).collect(),
            Source::Nodes => self.objects.nodes.keys().map(of_cluster).collect(),
            Source::Imports | Source::Properties | Source::Peers | Source::Configurations => {
                BTreeSet::new()
            }
        };
        if let Some(kind) = source.kind() {
            let targets = self.sight.of_kind(kind).map(|(target, _)| target);
            keys.extend(targets.map(|t| (t.namespace.clone(), t.name.clone())));
        }
        keys
    }

    fn put(&mut self, source: Source, item: Item, is_list: bool) {
        let Item { key, content, seen } = item;
        if let (Some(seen), Some(kind)) = (seen, source.kind()) {
            self.see(Target::new(kind, &key.0, &key.1), seen, is_list);
        }
        let place = (source, key.clone());
        let was_unreadable = self.unreadable.remove(&place);
        match content {
            Content::Unreadable(why) => {
                self.stale |= was_unreadable.as_ref() != Some(&why);
                self.unreadable.insert(place, why);
            }
            other => {
                self.stale |= was_unreadable.is_some();
                self.read(source, key, other);
            }
        }
    }

    fn read(&mut self, source: Source, key: Key, content: Content) {
        let objects = &mut self.objects;
        let is_new = match content {
            Content::Service(o) => replace(&mut objects.services, key, *o),
            Content::Slice(o) => replace(&mut objects.slices, key, *o),
            Content::Pod(o) => {
                self.agents.pod(&key, &o);
                replace(&mut objects.pods, key, *o)
            }
            Content::Node(o) => replace(&mut objects.nodes, key.1, *o),
            Content::Export(o) => replace(&mut objects.exports, key, *o),
            Content::Namespace(o, ends) => {
                let name = key.1.clone();
                let is_other = if ends {
                    self.live.remove(&name)
                } else {
                    self.live.insert(name)
                };
                if is_other {
                    self.namespace_dirty(&key.1);
                }
                replace(&mut self.objects.namespaces, key.1, *o)
            }
            Content::Configuration(spec) => {
                let is_ours = key.1 == CONFIGURATION && self.configuration.as_ref() != Some(&spec);
                if is_ours {
                    self.configured(Some(*spec));
                }
                is_ours
            }
            // What was read of it before goes: it is ours now, or ends.
            Content::Written => return self.forget(source, &key),
            Content::Unreadable(_) => false,
        };
        self.stale |= is_new;
    }

    fn configured(&mut self, spec: Option<ClusterConfigurationSpec>) {
        let prefixes = spec.iter().flat_map(|spec| &spec.pod_prefixes);
        // Its own definition and the leader check them; what is none is no prefix of pods.
        self.objects.pod_prefixes = prefixes.filter_map(|p| p.parse().ok()).collect();
        self.configuration = spec;
        for name in [CLUSTER_PROPERTY, CLUSTER_SET_PROPERTY] {
            self.dirty.insert(Group::Property(name.to_owned()));
        }
        self.dirty.insert(Group::Configuration);
    }

    /// The newest state of an object that we write; older than what is known only after a list.
    fn see(&mut self, target: Target, seen: Seen, is_list: bool) {
        if self.deleted.get(&target) == Some(&seen.uid) {
            return;
        }
        let number = |seen: &Seen| seen.version.parse::<u64>().ok();
        let known = self.sight.get(&target);
        let is_old = known.is_some_and(|known| {
            known.uid == seen.uid && number(&seen) < number(known) && number(&seen).is_some()
        });
        if !is_old || is_list {
            let changed = self.sight.put(target, seen);
            self.dirty.extend(changed);
        }
    }

    fn gone(&mut self, source: Source, key: &Key, uid: Option<&str>) {
        if let Some(kind) = source.kind() {
            let target = Target::new(kind, &key.0, &key.1);
            self.deleted.remove(&target);
            let known = self.sight.get(&target).map(|seen| seen.uid.as_str());
            if uid.is_none() || known == uid {
                self.dirty.extend(self.sight.remove(&target));
            }
        }
        self.stale |= self.unreadable.remove(&(source, key.clone())).is_some();
        match source {
            Source::Configurations if key.1 == CONFIGURATION => self.configured(None),
            Source::Namespaces if self.live.remove(&key.1) => self.namespace_dirty(&key.1),
            Source::Pods => self.agents.pod_gone(key),
            _ => {}
        }
        self.forget(source, key);
    }

    fn forget(&mut self, source: Source, key: &Key) {
        let objects = &mut self.objects;
        let was_there = match source {
            Source::Services => objects.services.remove(key).is_some(),
            Source::Slices => objects.slices.remove(key).is_some(),
            Source::Pods => objects.pods.remove(key).is_some(),
            Source::Exports => objects.exports.remove(key).is_some(),
            Source::Namespaces => objects.namespaces.remove(&key.1).is_some(),
            Source::Nodes => objects.nodes.remove(&key.1).is_some(),
            Source::Imports | Source::Properties | Source::Peers | Source::Configurations => false,
        };
        self.stale |= was_there;
    }

    /// What is to be published, if it is another than before; nothing before all has been listed.
    pub fn publication(&mut self, now_ms: u64) -> Option<Arc<Publication>> {
        if !self.is_complete() {
            return None;
        }
        let agents = self.agents.there(self.objects.nodes.keys(), now_ms);
        if self.objects.agents != agents {
            self.objects.agents = agents;
            self.stale = true;
        }
        if !std::mem::take(&mut self.stale) {
            return None;
        }
        let problems: Vec<Problem> = self.problems();
        let newest = publication(&self.objects, &problems);
        let before = self.published.take();
        if before.as_deref() == Some(&newest) {
            self.published = before;
            return None;
        }
        let nothing = Publication::default();
        let old = before.as_deref().unwrap_or(&nothing);
        let other = round::differing(&old.conditions, &newest.conditions);
        self.dirty.extend(other);
        if old.problems != newest.problems {
            self.dirty.insert(Group::Configuration);
        }
        let newest = Arc::new(newest);
        self.published = Some(newest.clone());
        Some(newest)
    }

    /// When an agent that has gone is taken for lost, in milliseconds of the same clock.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.agents.next_ms()
    }

    fn problems(&self) -> Vec<Problem> {
        let unreadable = self.unreadable.iter().map(|((source, key), why)| Problem {
            kind: ProblemKind::BadObject,
            subject: format!("{source:?} {}/{}", key.0, key.1),
            message: format!("cannot be read: {why}; what it said before stays"),
        });
        unreadable.collect()
    }
}

/// Whether it is another than before.
fn replace<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}

#[cfg(test)]
mod tests;
