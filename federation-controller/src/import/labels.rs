//! Pure: exported labels and annotations as a ServiceImport may carry them. They come from other clusters, so each is
//! checked by Kubernetes' rules: one that the API server refuses would keep the whole import away.

use std::collections::BTreeMap;

use causeway_proto::model::Import;

use crate::want::{MANAGED_BY, MARK};

/// Names below it are ours to give.
const OURS: &str = "causeway.dev";
/// Of all annotations together, keys included; Kubernetes' own bound.
const ANNOTATION_BYTES: usize = 256 << 10;

type Texts = BTreeMap<String, String>;

/// Labels, annotations, and the keys of those that are left out.
pub(super) fn exported(import: &Import) -> (Texts, Texts, Vec<String>) {
    let mut left_out = Vec::new();
    let mut take = |from: &Texts, valid: fn(&str) -> bool| {
        let mut taken = Texts::new();
        for (key, value) in from {
            if is_qualified(key) && !is_ours(key) && valid(value) {
                taken.insert(key.clone(), value.clone());
            } else {
                left_out.push(key.clone());
            }
        }
        taken
    };
    let mut labels = take(&import.labels, is_label_value);
    let mut annotations = take(&import.annotations, |_| true);
    let mut room = ANNOTATION_BYTES;
    annotations.retain(|key, value| {
        let size = key.len().saturating_add(value.len());
        let fits = size <= room;
        if fits {
            room = room.saturating_sub(size);
        } else {
            left_out.push(key.clone());
        }
        fits
    });
    labels.insert(MARK.0.to_owned(), MARK.1.to_owned());
    let managed_by = labels.entry(MANAGED_BY.0.to_owned());
    managed_by.or_insert_with(|| MANAGED_BY.1.to_owned());
    (labels, annotations, left_out)
}

fn is_ours(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    domain == OURS || domain.ends_with(".causeway.dev")
}

/// `NAME` or `DOMAIN/NAME`.
pub(super) fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((domain, name)) => is_subdomain(domain) && is_name(name),
    }
}

fn is_subdomain(text: &str) -> bool {
    let is_part = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !part.is_empty()
            && part.bytes().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_part)
}

/// At most 63 letters, digits, `-`, `_` and `.`, the first and the last one a letter or digit.
fn is_name(text: &str) -> bool {
    let outer = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= 63
        && outer(text.bytes().next())
        && outer(text.bytes().next_back())
        && text.bytes().all(inner)
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

/// A DNS label, as hostnames of endpoints are.
pub(super) fn is_host(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_subdomain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_takes() {
        for key in ["a", "app.kubernetes.io/name", "A_b-c.d", "x/Y"] {
            assert!(is_qualified(key), "{key}");
        }
        for key in [
            "",
            "/a",
            "a/",
            "a/b/c",
            "-a",
            "a-",
            "A.b/c",
            "ä",
            &"x".repeat(64),
        ] {
            assert!(!is_qualified(key), "{key}");
        }
        assert!(is_label_value("") && is_label_value("v1.2_x") && !is_label_value("a b"));
        assert!(is_host("10-244-0-6") && is_host("web-0") && !is_host("a.b") && !is_host("A"));
    }

    #[test]
    fn what_is_carried() {
        let texts = |pairs: &[(&str, &str)]| -> Texts {
            let pairs = pairs.iter();
            pairs
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let long = "x".repeat(200 << 10);
        let import = Import {
            labels: texts(&[
                ("team", "a"),
                ("bad value", "x"),
                ("bad", "b c"),
                ("app.kubernetes.io/managed-by", "Helm"),
            ]),
            annotations: texts(&[
                ("note", "any text"),
                ("causeway.dev/managed-by", "x"),
                ("m", &long),
                ("n", &long),
            ]),
            ..Import::default()
        };
        let (labels, annotations, left_out) = exported(&import);
        let expected = [
            ("team", "a"),
            ("app.kubernetes.io/managed-by", "Helm"),
            ("causeway.dev/managed-by", "causeway"),
        ];
        assert_eq!(labels, texts(&expected));
        assert_eq!(annotations.keys().collect::<Vec<_>>(), ["m", "note"]);
        assert_eq!(
            left_out,
            ["bad", "bad value", "causeway.dev/managed-by", "n"]
        );
    }
}
