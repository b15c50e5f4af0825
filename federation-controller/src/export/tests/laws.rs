use proptest::prelude::*;

use super::{EXPORT, GROUND, SLICE};
use crate::export::derive;
use crate::objects::{Manifest, Object, Objects, parse};

fn all() -> Vec<Object> {
    let text = [GROUND, EXPORT, SLICE, &SLICE.replace("cart-1", "cart-2")].concat();
    parse(&text).unwrap().objects
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "cart",
            "shop",
            "http",
            "10.244.0.6",
            "fd00::1",
            "n1",
            "",
            "ExternalName",
            "None",
            "TCP",
            "ClientIP",
            "IPv4",
            "-",
            "Ä",
            "spread"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

/// Texts and numbers of good objects replaced by others, wherever they stand.
fn distort(value: &mut serde_json::Value, words: &mut impl Iterator<Item = (String, i32, u8)>) {
    match value {
        serde_json::Value::Object(map) => map.values_mut().for_each(|v| distort(v, words)),
        serde_json::Value::Array(list) => list.iter_mut().for_each(|v| distort(v, words)),
        leaf => {
            if let Some((word, number, 0..64)) = words.next() {
                *leaf = if leaf.is_number() {
                    number.into()
                } else {
                    word.into()
                };
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_does_not_matter(objects in Just(all()).prop_shuffle()) {
        let gather = |objects: Vec<Object>| {
            let manifest = Manifest { objects, unknown: Vec::new() };
            derive(&Objects::gather([("a", &manifest)]).0)
        };
        prop_assert_eq!(gather(objects), gather(all()));
    }

    #[test]
    fn never_panics(words in prop::collection::vec((word(), any::<i32>(), any::<u8>()), 120)) {
        let mut words = words.into_iter().cycle();
        let mut objects = Objects::default();
        for object in all() {
            macro_rules! distorted {
                ($object:expr, $kind:ident) => {{
                    let mut value = serde_json::to_value(&$object).unwrap();
                    distort(&mut value, &mut words);
                    for (key, fixed) in serde_json::to_value(&$object).unwrap().as_object().unwrap() {
                        if key == "kind" || key == "apiVersion" {
                            value[key] = fixed.clone();
                        }
                    }
                    // What does not parse is refused before it comes here.
                    serde_json::from_value(value).ok().map(Object::$kind)
                }};
            }
            let distorted = match object {
                Object::Node(o) => distorted!(o, Node),
                Object::Service(o) => distorted!(o, Service),
                Object::EndpointSlice(o) => distorted!(o, EndpointSlice),
                Object::ServiceExport(o) => distorted!(o, ServiceExport),
                Object::Namespace(_) | Object::Pod(_) => None,
            };
            if let Some(object) = distorted {
                let _ = objects.insert(object);
            }
        }
        let (exports, conditions, _) = derive(&objects);
        let (fewest, most) = (2 * objects.exports.len(), 3 * objects.exports.len());
        prop_assert!((fewest..=most).contains(&conditions.len()));
        prop_assert!(exports.services.len() <= objects.exports.len());
    }

    #[test]
    fn no_text_makes_parse_panic(text in "(apiVersion: v1\n|kind: (Pod|List|Service)\n|---\n|[a-z]+: [\\[{}\\]&*!|>'\"%@`0-9a-z]{0,8}\n|\\PC{0,20}){0,12}") {
        let _ = parse(&text);
    }
}

/// Many services on many nodes, each found by its own key.
#[test]
fn a_large_cluster_is_derived_whole() {
    let node = |n: usize| {
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: n{n}}}, spec: {{podCIDRs: [10.{}.{}.0/24]}}, \
             status: {{addresses: [{{type: InternalIP, address: 192.0.2.1}}]}}}}\n---\n",
            n / 256,
            n % 256
        )
    };
    let service = |n: usize| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s{n}, namespace: a}}, spec: {{ports: [{{port: 80}}]}}}}\n\
             ---\n{{apiVersion: multicluster.x-k8s.io/v1beta1, kind: ServiceExport, metadata: {{name: s{n}, namespace: a, \
             creationTimestamp: 2026-01-02T03:04:05Z}}}}\n\
             ---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s{n}, namespace: a, labels: \
             {{kubernetes.io/service-name: s{n}}}}}, addressType: IPv4, ports: [{{port: 8080}}], endpoints: \
             [{{addresses: [10.{}.{}.7], nodeName: n{n}}}]}}\n---\n",
            n / 256,
            n % 256
        )
    };
    let text: String = (0..300).map(|n| node(n) + &service(n)).collect();
    let (objects, twice) = Objects::gather([("a", &parse(&text).unwrap())]);
    let (exports, conditions, problems) = derive(&objects);
    assert_eq!((twice, problems), (Vec::new(), Vec::new()));
    assert_eq!((exports.services.len(), conditions.len()), (300, 600));
    assert!(exports.services.values().all(|export| export.ready() == 1));
}
