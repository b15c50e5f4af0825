//! Pure: from what has changed to the writes of one round, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_proto::model::{
    ClusterId, Condition, ConditionStatus, Import, Namespace, Problem, ProblemKind, ServiceName,
    Timestamp, View,
};

use super::Mirror;
use crate::conditions::{self, ByObject, Merged};
use crate::crd::CONFIGURATION;
use crate::import::{self, Schema};
use crate::member;
use crate::peer::{self, Joining, Statuses};
use crate::plan::{Write, plan};
use crate::seen::Seen;
use crate::want::{Group, Kind, Target, Wanted, Wants};

/// Groups that are looked at in one round: what changes meanwhile is not kept waiting for long.
const GROUPS: usize = 256;

/// The objects of which conditions differ.
pub(super) fn differing(old: &[Condition], new: &[Condition]) -> BTreeSet<Group> {
    let (old, new) = (conditions::by_object(old), conditions::by_object(new));
    let objects: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let differs = |object: &&str| old.get(*object) != new.get(*object);
    objects
        .into_iter()
        .filter(differs)
        .filter_map(group_of)
        .collect()
}

/// `ServiceExport shop/cart`, `ClusterPeer west`
fn group_of(object: &str) -> Option<Group> {
    let (kind, name) = object.split_once(' ')?;
    match (kind, name.split_once('/')) {
        ("ServiceExport", Some((namespace, name))) => {
            Some(Group::Export(namespace.to_owned(), name.to_owned()))
        }
        ("ClusterPeer", None) => Some(Group::Peer(name.to_owned())),
        _ => None,
    }
}

fn service(namespace: &str, name: &str) -> Option<ServiceName> {
    ServiceName::new(namespace.parse().ok()?, name).ok()
}

fn import_of(name: &ServiceName) -> Group {
    let namespace = name.namespace.as_str().to_owned();
    Group::Import(namespace, name.name().to_owned())
}

fn export_of(name: &ServiceName) -> Group {
    let namespace = name.namespace.as_str().to_owned();
    Group::Export(namespace, name.name().to_owned())
}

impl Mirror {
    /// The newest View.
    pub fn take_view(&mut self, view: Arc<View>) {
        let Some(old) = self.view.replace(view.clone()) else {
            self.all_dirty();
            return;
        };
        let barred = |view: &View| -> BTreeSet<ClusterId> {
            let all = view.peers.keys().cloned();
            all.filter(|id| import::is_barred(view, id)).collect()
        };
        if old.sync != view.sync || old.cluster != view.cluster || barred(&old) != barred(&view) {
            self.imports_dirty();
        }
        for name in old.imports.keys().chain(view.imports.keys()) {
            let (before, after) = (old.imports.get(name), view.imports.get(name));
            if before != after {
                self.dirty.insert(import_of(name));
            }
            let is_exported = |import: Option<&Import>| {
                import.is_some_and(|import| import.shares.contains_key(&view.cluster))
            };
            if is_exported(before) != is_exported(after) {
                self.dirty.insert(export_of(name));
            }
        }
        for name in old.conflicts.keys().chain(view.conflicts.keys()) {
            if old.conflicts.get(name) != view.conflicts.get(name) {
                self.dirty.insert(export_of(name));
            }
        }
        let other = differing(&old.conditions, &view.conditions);
        self.dirty.extend(other);
        for id in old.peers.keys().chain(view.peers.keys()) {
            if old.peers.contains_key(id) != view.peers.contains_key(id) {
                self.dirty.insert(Group::Peer(id.as_str().to_owned()));
            }
        }
        if old.problems != view.problems {
            self.dirty.insert(Group::Configuration);
        }
    }

    /// What the gateways say of peers.
    pub fn take_statuses(&mut self, statuses: Statuses) {
        let before = self.statuses.replace(statuses);
        let all = before
            .iter()
            .chain(&self.statuses)
            .flat_map(Statuses::peers);
        let groups: Vec<Group> = all.map(|id| Group::Peer(id.as_str().to_owned())).collect();
        self.dirty.extend(groups);
        self.peers_dirty();
    }

    /// What became of a join; `None`: there is nothing to say of one any more.
    pub fn take_joining(&mut self, id: &ClusterId, joining: Option<Joining>) {
        match joining {
            Some(joining) => self.joining.insert(id.clone(), joining),
            None => self.joining.remove(id),
        };
        self.dirty.insert(Group::Peer(id.as_str().to_owned()));
    }

    /// What cannot be written, and why: one object of each kind stands for the others, so that a thousand that fail
    /// alike are one problem.
    pub fn take_unwritten(&mut self, unwritten: &BTreeMap<Target, String>) {
        let mut kinds = BTreeMap::new();
        for (target, why) in unwritten {
            // Said in what cannot be written itself, it would change at every try.
            if target.kind != Kind::ClusterConfiguration {
                kinds.entry(target.kind).or_insert((target, why));
            }
        }
        let problems = kinds.into_values().map(|(target, why)| Problem {
            kind: ProblemKind::NotWritten,
            subject: target.to_string(),
            message: format!("{why}; it stays as it was, and is tried again"),
        });
        let problems: Vec<_> = problems.collect();
        if self.unwritten != problems {
            self.unwritten = problems;
            self.dirty.insert(Group::Configuration);
        }
    }

    /// Why nothing is heard of the gateways; `None`: something is.
    pub fn take_trouble(&mut self, trouble: Option<String>) {
        if self.trouble != trouble {
            self.trouble = trouble;
            let exports = self.objects.exports.keys();
            let groups =
                exports.map(|(namespace, name)| Group::Export(namespace.clone(), name.clone()));
            self.dirty.extend(groups);
        }
    }

    /// Fields that the installed definition of ServiceImport has.
    pub fn take_schema(&mut self, schema: Schema) {
        if self.schema != schema {
            self.schema = schema;
            self.imports_dirty();
        }
    }

    /// Looks at this group again.
    pub fn again(&mut self, group: Group) {
        self.dirty.insert(group);
    }

    /// Looks at everything again.
    pub fn all_dirty(&mut self) {
        self.imports_dirty();
        self.peers_dirty();
        let groups: Vec<Group> = self.sight.groups().cloned().collect();
        self.dirty.extend(groups);
        for name in [member::CLUSTER_PROPERTY, member::CLUSTER_SET_PROPERTY] {
            self.dirty.insert(Group::Property(name.to_owned()));
        }
        self.dirty.insert(Group::Configuration);
    }

    fn imports_dirty(&mut self) {
        let view = self.view.iter().flat_map(|view| view.imports.keys());
        let mut groups: Vec<Group> = view.map(import_of).collect();
        let seen = self.sight.groups();
        groups.extend(seen.filter(|g| matches!(g, Group::Import(..))).cloned());
        self.dirty.extend(groups);
    }

    fn peers_dirty(&mut self) {
        let of = |id: &ClusterId| Group::Peer(id.as_str().to_owned());
        let mut groups: Vec<Group> = self.trusted().iter().map(of).collect();
        let seen = self.sight.of_kind(Kind::ClusterPeer);
        groups.extend(seen.map(|(target, _)| Group::Peer(target.name.clone())));
        self.dirty.extend(groups);
    }

    pub(super) fn namespace_dirty(&mut self, namespace: &str) {
        let mut groups: Vec<Group> = Vec::new();
        let parsed = namespace.parse::<Namespace>().ok();
        if let (Some(view), Some(parsed)) = (&self.view, parsed) {
            let imports = view.imports.keys().filter(|name| name.namespace == parsed);
            groups.extend(imports.map(import_of));
        }
        let seen = self.sight.groups();
        let is_in = |g: &&Group| matches!(g, Group::Import(n, _) if n == namespace);
        groups.extend(seen.filter(is_in).cloned());
        self.dirty.extend(groups);
    }

    /// Who is trusted, by the gateways' word.
    #[must_use]
    pub fn trusted(&self) -> BTreeSet<ClusterId> {
        let view = self.view.iter().flat_map(|view| view.peers.keys());
        let told = self.statuses.iter().flat_map(Statuses::peers);
        view.chain(told).cloned().collect()
    }

    /// ClusterPeers that somebody wants something of, with what: once it is known who is trusted.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<ClusterId, crate::crd::ClusterPeerSpec> {
        if self.statuses.is_none() || !self.is_complete() {
            return BTreeMap::new();
        }
        let peers = self.sight.of_kind(Kind::ClusterPeer);
        let living = peers.filter(|(_, seen)| !seen.terminating);
        let each =
            living.filter_map(|(target, seen)| Some((target.name.parse().ok()?, peer::spec(seen))));
        let asks = |(_, spec): &(ClusterId, crate::crd::ClusterPeerSpec)| {
            spec.revoked || spec.join_token_secret_ref.is_some()
        };
        each.filter(asks).collect()
    }

    /// The writes that are due, of as many groups as one round takes; whether there are more.
    pub fn plan(&mut self, now: Timestamp) -> (Vec<Write>, bool) {
        if !self.is_complete() {
            return (Vec::new(), false);
        }
        let rest = self.dirty.iter().nth(GROUPS).cloned();
        let rest = rest.map(|first| self.dirty.split_off(&first));
        let groups = std::mem::replace(&mut self.dirty, rest.unwrap_or_default());
        let (view, published) = (self.view.clone(), self.published.clone());
        let merged = view.as_ref().map(|view| view.conditions.as_slice());
        let derived = published.as_ref().map(|p| p.conditions.as_slice());
        let said = Said {
            derived: conditions::by_object(derived.unwrap_or_default()),
            merged: conditions::by_object(merged.unwrap_or_default()),
        };
        let mut wants = Wants::default();
        let known: BTreeSet<Group> = groups
            .into_iter()
            .filter(|group| self.want(group, &said, now, &mut wants))
            .collect();
        let writes = plan(&self.sight, &known, &wants, now);
        (writes, !self.dirty.is_empty())
    }

    /// Adds what the group's objects should say; false: that is not known yet.
    fn want<'a>(
        &'a self,
        group: &Group,
        said: &Said<'a>,
        now: Timestamp,
        wants: &mut Wants,
    ) -> bool {
        match group {
            Group::Import(namespace, name) => {
                let Some(view) = &self.view else {
                    return false;
                };
                let known = import::Known {
                    view,
                    sight: &self.sight,
                    namespaces: &self.live,
                    schema: &self.schema,
                };
                import::wanted(&known, namespace, name, wants);
                true
            }
            Group::Export(namespace, name) => {
                let target = Target::new(Kind::ServiceExport, namespace, name);
                let object = target.to_string();
                let derived = said.derived.get(object.as_str());
                let Some((derived, seen)) = derived.zip(self.sight.get(&target)) else {
                    return false;
                };
                if self.view.is_none() && conditions::is_ready(seen) {
                    // A controller that has just started does not say that it is not.
                    return false;
                }
                let trouble = self.trouble.as_deref();
                let merged = self.merged(namespace, name, said.merged.get(object.as_str()));
                let wanted = Wanted {
                    conditions: conditions::of_export(derived, merged, trouble),
                    ..Wanted::default()
                };
                wants.objects.insert(target, wanted);
                true
            }
            Group::Peer(name) => self.want_peer(name, said, now, wants),
            Group::Property(name) => {
                let Some(spec) = &self.configuration else {
                    return false;
                };
                let seen = self
                    .sight
                    .get(&Target::of_cluster(Kind::ClusterProperty, name));
                wants.objects.extend(member::property(name, spec, seen));
                true
            }
            Group::Configuration => {
                let published = self.published.iter().flat_map(|p| &p.problems);
                let told = self.view.iter().flat_map(|view| &view.problems);
                let mut problems: Vec<_> = published.chain(told).cloned().collect();
                problems.extend(self.contradictions());
                problems.extend(self.unwritten.iter().cloned());
                problems.sort();
                problems.dedup();
                let (target, wanted) = member::problems(CONFIGURATION, &problems);
                wants.objects.insert(target, wanted);
                true
            }
        }
    }

    fn want_peer(&self, name: &str, said: &Said<'_>, now: Timestamp, wants: &mut Wants) -> bool {
        let (Ok(id), Some(view)) = (name.parse::<ClusterId>(), &self.view) else {
            return false;
        };
        let target = Target::of_cluster(Kind::ClusterPeer, name);
        let object = target.to_string();
        let merged = said.merged.get(object.as_str());
        let nothing = Statuses::default();
        let known = peer::Known {
            id: &id,
            own: &view.cluster,
            trusted: &self.trusted(),
            statuses: self.statuses.as_ref().unwrap_or(&nothing),
            conditions: merged.map(Vec::as_slice).unwrap_or_default(),
            seen: self.sight.get(&target),
            joining: self.joining.get(&id),
        };
        wants.objects.extend(peer::wanted(&known, now));
        true
    }

    /// The View bounds its conditions, so what can be is taken from elsewhere in it.
    fn merged<'a>(
        &'a self,
        namespace: &str,
        name: &str,
        said: Option<&Vec<&'a Condition>>,
    ) -> Merged<'a> {
        let Some((view, service)) = self.view.as_ref().zip(service(namespace, name)) else {
            return Merged::default();
        };
        let import = view.imports.get(&service);
        let mut said = said.into_iter().flatten();
        let is_pending = |c: &&&Condition| c.kind == "Ready" && c.status == ConditionStatus::False;
        let pending = said.find(is_pending).map(|c| c.message.as_str());
        Merged {
            is_exported: import.is_some_and(|i| i.shares.contains_key(&view.cluster)),
            conflicts: view
                .conflicts
                .get(&service)
                .map(Vec::as_slice)
                .unwrap_or_default(),
            pending,
        }
    }

    fn contradictions(&self) -> Vec<Problem> {
        let Some(spec) = &self.configuration else {
            return Vec::new();
        };
        let names = [member::CLUSTER_PROPERTY, member::CLUSTER_SET_PROPERTY];
        let found = names.iter().filter_map(|name| {
            let target = Target::of_cluster(Kind::ClusterProperty, name);
            member::contradiction(name, spec, self.sight.get(&target)?)
        });
        found.collect()
    }

    /// A write is done: the object as the API server answered, or `None` for one that is gone.
    pub fn wrote(&mut self, target: &Target, after: Option<Seen>) {
        match after {
            Some(seen) => self.see(target.clone(), seen, false),
            None => {
                if let Some(seen) = self.sight.get(target) {
                    self.deleted.insert(target.clone(), seen.uid.clone());
                }
                self.dirty.extend(self.sight.remove(target));
            }
        }
    }

    /// The group that an object belongs to.
    #[must_use]
    pub fn group(&self, target: &Target) -> Group {
        let seen = self.sight.get(target);
        seen.map_or_else(|| Seen::default().group(target), |seen| seen.group(target))
    }
}

/// What is said of objects, by object.
struct Said<'a> {
    derived: ByObject<'a>,
    merged: ByObject<'a>,
}
