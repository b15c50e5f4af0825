//! Pure: what Kubernetes says, value 1 of the five: YAML text to objects, and the objects of all files
//! together.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::model::{NodeName, Prefix, Problem, ProblemKind};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{DefaultMessageFormatter, MessageFormatter};

use crate::crd::{MCS_GROUP, MCS_VERSIONS, ServiceExport};

mod pod;

pub use pod::PodFacts;

/// (namespace, name)
pub type Key = (String, String);

/// All objects that `derive` reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Objects {
    /// By name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// By name.
    pub nodes: BTreeMap<String, Node>,
    /// By namespace and name.
    pub services: BTreeMap<Key, Service>,
    /// By namespace and name.
    pub slices: BTreeMap<Key, EndpointSlice>,
    /// By namespace and name.
    pub pods: BTreeMap<Key, PodFacts>,
    /// By namespace and name.
    pub exports: BTreeMap<Key, ServiceExport>,
    /// Prefixes of pods that the configuration names.
    pub pod_prefixes: Vec<Prefix>,
    /// Nodes that run an agent; `None`: not known, and taken to be all.
    pub agents: Option<BTreeSet<NodeName>>,
}

/// One object of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// v1
    Namespace(Box<Namespace>),
    /// v1
    Node(Box<Node>),
    /// v1
    Service(Box<Service>),
    /// discovery.k8s.io/v1
    EndpointSlice(Box<EndpointSlice>),
    /// v1
    Pod(Box<Pod>),
    /// multicluster.x-k8s.io
    ServiceExport(Box<ServiceExport>),
}

/// What one file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifest {
    /// Objects of known kinds, in the file's order.
    pub objects: Vec<Object>,
    /// Others: (line, kind).
    pub unknown: Vec<(u64, String)>,
}

/// A file that cannot be read as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadManifest {
    /// Counted from one.
    pub line: u64,
    /// What is wrong there.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<serde_json::Value>,
}

/// The objects of a file of several documents; one broken document breaks the file.
///
/// # Errors
/// At the first place that is no YAML or not of the kind that it says it is.
pub fn parse(text: &str) -> Result<Manifest, BadManifest> {
    let mut manifest = Manifest::default();
    for (offset, document) in documents(text) {
        let Some(head) = read::<Option<Head>>(&document, offset)? else {
            continue;
        };
        let line = offset.saturating_add(first_line(&document));
        if (head.api_version.as_str(), head.kind.as_str()) == ("v1", "List") {
            for (index, item) in read::<List>(&document, offset)?
                .items
                .into_iter()
                .enumerate()
            {
                let bad = |error: serde_json::Error| BadManifest {
                    line,
                    reason: format!("items[{index}]: {error}"),
                };
                let head: Head = serde_json::from_value(item.clone()).map_err(bad)?;
                manifest.add(line, &head, |kind| from_item(kind, item).map_err(bad))?;
            }
        } else {
            manifest.add(line, &head, |kind| from_document(kind, &document, offset))?;
        }
    }
    Ok(manifest)
}

impl Manifest {
    fn add(
        &mut self,
        line: u64,
        head: &Head,
        object: impl FnOnce(Kind) -> Result<Object, BadManifest>,
    ) -> Result<(), BadManifest> {
        let Some(kind) = Kind::of(head) else {
            let kind = format!("{} {}", head.api_version, head.kind);
            self.unknown.push((line, kind));
            return Ok(());
        };
        let object = object(kind)?;
        if object.metadata().name.as_deref().unwrap_or("").is_empty() {
            return Err(BadManifest {
                line,
                reason: format!("{} without metadata.name", head.kind),
            });
        }
        self.objects.push(object);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Namespace,
    Node,
    Service,
    EndpointSlice,
    Pod,
    ServiceExport,
}

impl Kind {
    fn of(head: &Head) -> Option<Self> {
        let mcs = head
            .api_version
            .strip_prefix(MCS_GROUP)
            .and_then(|version| version.strip_prefix('/'));
        match (head.api_version.as_str(), head.kind.as_str()) {
            ("v1", "Namespace") => Some(Self::Namespace),
            ("v1", "Node") => Some(Self::Node),
            ("v1", "Service") => Some(Self::Service),
            ("v1", "Pod") => Some(Self::Pod),
            ("discovery.k8s.io/v1", "EndpointSlice") => Some(Self::EndpointSlice),
            (_, "ServiceExport") if mcs.is_some_and(|v| MCS_VERSIONS.contains(&v)) => {
                Some(Self::ServiceExport)
            }
            _ => None,
        }
    }
}

fn from_document(kind: Kind, text: &str, offset: u64) -> Result<Object, BadManifest> {
    Ok(match kind {
        Kind::Namespace => Object::Namespace(read(text, offset)?),
        Kind::Node => Object::Node(read(text, offset)?),
        Kind::Service => Object::Service(read(text, offset)?),
        Kind::EndpointSlice => Object::EndpointSlice(read(text, offset)?),
        Kind::Pod => Object::Pod(read(text, offset)?),
        Kind::ServiceExport => Object::ServiceExport(read(text, offset)?),
    })
}

fn from_item(kind: Kind, item: serde_json::Value) -> Result<Object, serde_json::Error> {
    use serde_json::from_value;
    Ok(match kind {
        Kind::Namespace => Object::Namespace(from_value(item)?),
        Kind::Node => Object::Node(from_value(item)?),
        Kind::Service => Object::Service(from_value(item)?),
        Kind::EndpointSlice => Object::EndpointSlice(from_value(item)?),
        Kind::Pod => Object::Pod(from_value(item)?),
        Kind::ServiceExport => Object::ServiceExport(from_value(item)?),
    })
}

/// The documents of a file with the number of lines before each. A line that begins with `---` always
/// begins a document, inside block scalars too (YAML 1.2.2, 9.1.2).
fn documents(text: &str) -> Vec<(u64, String)> {
    let mut documents: Vec<(u64, String)> = vec![(0, String::new())];
    for (number, line) in (0u64..).zip(text.split_inclusive('\n')) {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            documents.push((number, String::new()));
        }
        if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
        }
    }
    documents
}

/// Of its content, behind comments.
fn first_line(document: &str) -> u64 {
    let is_content = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && line != "---"
    };
    let before = document.lines().take_while(|line| !is_content(line));
    (1u64..)
        .zip(before)
        .last()
        .map_or(1, |(n, _)| n.saturating_add(1))
}

fn read<T: DeserializeOwned>(document: &str, offset: u64) -> Result<T, BadManifest> {
    serde_saphyr::from_str(document).map_err(|error| {
        let error = error.without_snippet();
        let reason = DefaultMessageFormatter.format_message(error);
        BadManifest {
            line: offset.saturating_add(error.location().map_or(1, |l| l.line())),
            reason: reason.lines().collect::<Vec<_>>().join("; "),
        }
    })
}

impl Object {
    /// The object's metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(o) => &o.metadata,
            Self::Node(o) => &o.metadata,
            Self::Service(o) => &o.metadata,
            Self::EndpointSlice(o) => &o.metadata,
            Self::Pod(o) => &o.metadata,
            Self::ServiceExport(o) => &o.metadata,
        }
    }
}

impl Objects {
    /// The objects of all files; of two with one name the first file's holds, and that is a problem.
    pub fn gather<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a Manifest)>,
    ) -> (Self, Vec<Problem>) {
        let mut objects = Self::default();
        let mut problems = Vec::new();
        for (file, manifest) in files {
            for object in &manifest.objects {
                if let Err(subject) = objects.insert(object.clone()) {
                    problems.push(Problem {
                        kind: ProblemKind::BadObject,
                        message: format!(
                            "is there twice; the one in {file} is left out, remove one of them"
                        ),
                        subject,
                    });
                }
            }
            problems.extend(manifest.unknown.iter().map(|(line, kind)| Problem {
                kind: ProblemKind::BadObject,
                subject: format!("{file}:{line}"),
                message: format!("{kind} is of no use here and is left out"),
            }));
        }
        (objects, problems)
    }

    /// Takes an object in.
    ///
    /// # Errors
    /// Its kind and name, when there is one of that name already.
    pub fn insert(&mut self, object: Object) -> Result<(), String> {
        let name = object.metadata().name.clone().unwrap_or_default();
        let namespace = object.metadata().namespace.clone();
        let namespace = namespace.filter(|n| !n.is_empty());
        let key = (
            namespace.unwrap_or_else(|| "default".to_owned()),
            name.clone(),
        );
        match object {
            Object::Namespace(o) => insert(&mut self.namespaces, "Namespace", name, *o),
            Object::Node(o) => insert(&mut self.nodes, "Node", name, *o),
            Object::Service(o) => insert_named(&mut self.services, "Service", key, *o),
            Object::EndpointSlice(o) => insert_named(&mut self.slices, "EndpointSlice", key, *o),
            Object::Pod(o) => insert_named(&mut self.pods, "Pod", key, (*o).into()),
            Object::ServiceExport(o) => insert_named(&mut self.exports, "ServiceExport", key, *o),
        }
    }
}

fn insert<T>(
    into: &mut BTreeMap<String, T>,
    kind: &str,
    name: String,
    object: T,
) -> Result<(), String> {
    if into.contains_key(&name) {
        return Err(format!("{kind} {name}"));
    }
    into.insert(name, object);
    Ok(())
}

fn insert_named<T>(
    into: &mut BTreeMap<Key, T>,
    kind: &str,
    key: Key,
    object: T,
) -> Result<(), String> {
    if into.contains_key(&key) {
        return Err(format!("{kind} {}/{}", key.0, key.1));
    }
    into.insert(key, object);
    Ok(())
}

#[cfg(test)]
mod tests;
