//! Pure: an object as the API server sends it, to what the mirror reads of it.

use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::crd::{
    ClusterConfiguration, ClusterPeer, ClusterProperty, Custom, ServiceExport, ServiceImport,
};
use crate::mirror::{Content, Item, Source};
use crate::objects::PodFacts;
use crate::seen::Seen;

/// Group, versions that we speak (the preferred one first), kind and plural.
pub type Place = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
);

/// Where a source's objects are.
#[must_use]
pub fn place(source: Source) -> Place {
    const V1: &[&str] = &["v1"];
    match source {
        Source::Services => ("", V1, "Service", "services"),
        Source::Slices => ("discovery.k8s.io", V1, "EndpointSlice", "endpointslices"),
        Source::Pods => ("", V1, "Pod", "pods"),
        Source::Namespaces => ("", V1, "Namespace", "namespaces"),
        Source::Nodes => ("", V1, "Node", "nodes"),
        Source::Exports => of::<ServiceExport>(),
        Source::Imports => of::<ServiceImport>(),
        Source::Properties => of::<ClusterProperty>(),
        Source::Peers => of::<ClusterPeer>(),
        Source::Configurations => of::<ClusterConfiguration>(),
    }
}

fn of<K: Custom>() -> Place {
    (K::GROUP, K::VERSIONS, K::KIND, K::PLURAL)
}

/// The uid of an object.
#[must_use]
pub fn uid(object: &Value) -> &str {
    let uid = object.pointer("/metadata/uid");
    uid.and_then(Value::as_str).unwrap_or_default()
}

/// What is read of one; `None` without a name.
#[must_use]
pub fn item(source: Source, object: Value) -> Option<Item> {
    let text = |key: &str| {
        let value = object.pointer(key).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let key = (text("/metadata/namespace"), text("/metadata/name"));
    let ends = object.pointer("/metadata/deletionTimestamp").is_some();
    if key.1.is_empty() {
        return None;
    }
    let seen = source
        .kind()
        .and_then(|kind| Seen::of(kind, object.clone()));
    let seen = seen.map(|(_, seen)| seen);
    // Slices that are not of imports are somebody else's, and only read.
    let seen = seen.filter(|seen| source != Source::Slices || seen.is_ours());
    let content = match source {
        Source::Services => read(object, |o| Content::Service(Box::new(o))),
        Source::Slices if seen.is_some() => Content::Written,
        Source::Slices => read(object, |o| Content::Slice(Box::new(o))),
        Source::Pods => read(object, |o: Pod| Content::Pod(Box::new(PodFacts::from(o)))),
        Source::Namespaces => read(object, |o| Content::Namespace(Box::new(o), ends)),
        Source::Nodes => read(object, |o| Content::Node(Box::new(o))),
        // One that waits for somebody's finalizer exports nothing any more.
        Source::Exports if ends => Content::Written,
        Source::Exports => read(object, |o| Content::Export(Box::new(o))),
        Source::Configurations => read(object, |o: ClusterConfiguration| {
            Content::Configuration(Box::new(o.spec))
        }),
        Source::Imports | Source::Properties | Source::Peers => Content::Written,
    };
    Some(Item { key, content, seen })
}

fn read<T: DeserializeOwned>(object: Value, make: impl FnOnce(T) -> Content) -> Content {
    match serde_json::from_value(object) {
        Ok(object) => make(object),
        Err(error) => Content::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_as(source: Source, object: Value) -> Content {
        item(source, object).unwrap().content
    }

    #[test]
    fn each_kind_is_read_as_it_should() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}});
        assert!(matches!(read_as(Source::Pods, pod), Content::Pod(_)));
        let slice = json!({"metadata": {"name": "s", "namespace": "n"}, "addressType": "IPv4", "endpoints": []});
        assert!(matches!(read_as(Source::Slices, slice), Content::Slice(_)));
        let ours = json!({"metadata": {"name": "s", "namespace": "n",
            "labels": {"causeway.dev/managed-by": "causeway"}}});
        let ours = item(Source::Slices, ours).unwrap();
        assert!(ours.content == Content::Written && ours.seen.is_some());
        let bad = json!({"metadata": {"name": "s", "namespace": "n"}, "spec": 7});
        assert!(matches!(
            read_as(Source::Services, bad),
            Content::Unreadable(_)
        ));
        let gone = json!({"metadata": {"name": "e", "namespace": "n", "deletionTimestamp": "2026-01-02T03:04:05Z"}});
        assert_eq!(read_as(Source::Exports, gone), Content::Written);
        assert_eq!(item(Source::Pods, json!({})), None);
    }
}
