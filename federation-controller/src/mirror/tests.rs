use causeway_proto::model::{
    Import, ImportPort, ImportShare, Liveness, PeerNumber, Protocol, Timestamp,
};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

mod restart;

use super::*;
use crate::objects::{Object, parse};
use crate::plan::Action;
use crate::plan::tests::server::Server;

const NOW: Timestamp = Timestamp(1_767_323_045_000);

const OBJECTS: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.0.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: cart, namespace: shop, uid: '7', resourceVersion: '5', creationTimestamp: 2026-01-02T03:04:05Z}
";

/// Everything of a small cluster, as the first lists give it.
fn lists() -> BTreeMap<Source, Vec<Item>> {
    let mut lists: BTreeMap<Source, Vec<Item>> = Source::ALL.map(|s| (s, Vec::new())).into();
    for object in parse(OBJECTS).unwrap().objects {
        let (source, content, seen) = match object {
            Object::Node(o) => (Source::Nodes, Content::Node(o.clone()), None),
            Object::Service(o) => (Source::Services, Content::Service(o.clone()), None),
            Object::ServiceExport(o) => {
                let seen = Seen::of(Kind::ServiceExport, serde_json::to_value(&o).unwrap());
                (Source::Exports, Content::Export(o), seen)
            }
            _ => unreachable!(),
        };
        let metadata = match &content {
            Content::Node(o) => &o.metadata,
            Content::Service(o) => &o.metadata,
            Content::Export(o) => &o.metadata,
            _ => unreachable!(),
        };
        let key = (
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap(),
        );
        let seen = seen.map(|(_, seen)| seen);
        lists
            .get_mut(&source)
            .unwrap()
            .push(Item { key, content, seen });
    }
    lists
        .get_mut(&Source::Namespaces)
        .unwrap()
        .push(namespace(false));
    let spec = ClusterConfigurationSpec {
        cluster: "east".into(),
        cluster_set: "fleet".into(),
        ..ClusterConfigurationSpec::default()
    };
    let key = (String::new(), CONFIGURATION.to_owned());
    let content = Content::Configuration(Box::new(spec));
    let seen = Some(Seen {
        uid: "9".into(),
        ..Seen::default()
    });
    lists
        .get_mut(&Source::Configurations)
        .unwrap()
        .push(Item { key, content, seen });
    lists
}

fn namespace(ends: bool) -> Item {
    let content = Content::Namespace(Box::default(), ends);
    Item {
        key: (String::new(), "shop".into()),
        content,
        seen: None,
    }
}

fn full() -> Mirror {
    let mut mirror = Mirror::new("causeway-system");
    for (source, items) in lists() {
        mirror.apply(Change::Listed(source, items));
    }
    mirror
}

fn share() -> ImportShare {
    ImportShare {
        number: PeerNumber::OWN,
        vip: "241.0.0.1".parse().unwrap(),
        created: NOW,
        ready: 1,
        liveness: Liveness::Live,
        ports: [(Protocol::Tcp, 80)].into(),
    }
}

/// An import at this address, of these clusters.
fn of_clusters(vip: &str, clusters: &[&str]) -> Import {
    let shares = clusters.iter().map(|id| (id.parse().unwrap(), share()));
    Import {
        vip: Some(vip.parse().unwrap()),
        shares: shares.collect(),
        ports: vec![ImportPort {
            name: Some("http".parse().unwrap()),
            protocol: Protocol::Tcp,
            port: 80,
            app_protocol: None,
            targets: BTreeMap::new(),
        }],
        ..Import::default()
    }
}

/// A View of a gateway that has taken the export.
fn view() -> View {
    let mut view = View::empty("east".parse().unwrap(), "fleet".parse().unwrap());
    view.sync.local = true;
    let name = "shop/cart".to_owned().try_into().unwrap();
    view.imports
        .insert(name, of_clusters("241.0.0.1", &["east"]));
    view
}

fn told(writes: &[Write]) -> String {
    let line = |write: &Write| {
        let what = match &write.action {
            Action::Apply(_) => "apply".to_owned(),
            Action::ApplyStatus(status) => match status["status"]["conditions"].as_array() {
                Some(conditions) => conditions
                    .iter()
                    .map(|c| format!("{}={} ", c["type"], c["status"]))
                    .collect(),
                None => "status".to_owned(),
            },
            Action::Delete { .. } => "delete".to_owned(),
            Action::Remove { .. } => "remove".to_owned(),
            Action::PutStatus { path, .. } => format!("put {path}"),
        };
        format!("{} {what}\n", write.target)
    };
    writes.iter().map(line).collect()
}

use crate::plan::Write;

/// Executes what is planned until nothing is; what was written.
fn settle(mirror: &mut Mirror, server: &mut Server) -> String {
    let mut text = String::new();
    for _ in 0..10 {
        let (writes, more) = mirror.plan(NOW);
        assert!(!more);
        if writes.is_empty() {
            return text;
        }
        text.push_str(&told(&writes));
        for write in &writes {
            if server.get(&write.target).is_none() && matches!(write.action, Action::ApplyStatus(_))
            {
                // Made by others.
                server.apply(&write.target, "somebody", &json!({}), false);
            }
            server.execute(write).unwrap();
            let after = server.sight().get(&write.target).cloned();
            mirror.wrote(&write.target, after);
        }
    }
    panic!("does not settle:\n{text}")
}

fn check(mirror: &mut Mirror, server: &mut Server, expected: Expect) {
    expected.assert_eq(&settle(mirror, server));
}

#[test]
fn nothing_before_all_is_listed() {
    let mut mirror = Mirror::new("causeway-system");
    mirror.take_view(Arc::new(view()));
    for (source, items) in lists() {
        assert_eq!(mirror.publication(0), None);
        assert_eq!(mirror.plan(NOW), (Vec::new(), false));
        assert!(mirror.missing().any(|s| s == source));
        mirror.apply(Change::Listed(source, items));
    }
    assert!(mirror.publication(0).is_some());
    assert!(!mirror.plan(NOW).0.is_empty());
}

#[test]
fn from_objects_to_writes() {
    let (mut mirror, mut server) = (full(), Server::default());
    assert!(mirror.publication(0).is_some());
    check(
        &mut mirror,
        &mut server,
        expect![[r#"
        ClusterProperty cluster.clusterset.k8s.io apply
        ClusterProperty clusterset.k8s.io apply
        ServiceExport shop/cart "Valid"="True" "Ready"="False" 
        ServiceExport shop/cart "Valid"="True" "Ready"="False" 
    "#]],
    );
    mirror.take_view(Arc::new(view()));
    check(
        &mut mirror,
        &mut server,
        expect![[r#"
        ServiceImport shop/cart apply
        ServiceExport shop/cart "Valid"="True" "Ready"="True" "Conflict"="False" 
        EndpointSlice shop/cart-east-dd97e90f apply
        ServiceImport shop/cart "Ready"="True" 
    "#]],
    );
    // Nothing new, nothing written.
    mirror.take_view(Arc::new(view()));
    mirror.all_dirty();
    check(&mut mirror, &mut server, expect![[""]]);
    assert_eq!(server.idle, 0);
}

#[test]
fn a_list_anew_withdraws_nothing() {
    let mut mirror = full();
    let first = mirror.publication(0).unwrap();
    assert_eq!(first.exports.services.len(), 1);
    for (source, items) in lists() {
        mirror.apply(Change::Listed(source, items));
    }
    assert_eq!(mirror.publication(0), None);
    // What is missing in it is gone.
    mirror.apply(Change::Listed(Source::Exports, Vec::new()));
    let newest = mirror.publication(0).unwrap();
    assert_eq!(newest.exports.services.len(), 0);
}

#[test]
fn a_controller_that_has_just_started_takes_no_ready_back() {
    let mut mirror = full();
    mirror.publication(0).unwrap();
    let ready = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "Exported"}]});
    let object = json!({"metadata": {"name": "cart", "namespace": "shop", "uid": "7", "resourceVersion": "6"}, "status": ready});
    let (target, seen) = Seen::of(Kind::ServiceExport, object).unwrap();
    mirror.wrote(&target, Some(seen));
    let text = told(&mirror.plan(NOW).0);
    assert!(!text.contains("ServiceExport"), "{text}");
    mirror.take_view(Arc::new(view()));
    let text = told(&mirror.plan(NOW).0);
    assert!(text.contains("ServiceExport"), "{text}");
}

#[test]
fn why_no_gateway_has_it_is_told() {
    let mut mirror = full();
    mirror.publication(0).unwrap();
    mirror.plan(NOW);
    mirror.take_trouble(Some("no gateway leads".into()));
    let (writes, _) = mirror.plan(NOW);
    let [
        Write {
            action: Action::ApplyStatus(status),
            ..
        },
    ] = &writes[..]
    else {
        panic!("{writes:?}")
    };
    let message = &status["status"]["conditions"][1]["message"];
    assert_eq!(message, "No gateway has taken it yet: no gateway leads.");
}

#[test]
fn what_is_not_written_is_a_problem_of_the_configuration() {
    let mut mirror = full();
    mirror.publication(0).unwrap();
    mirror.plan(NOW);
    let of = |kind, name| Target::new(kind, "shop", name);
    let unwritten = |targets: &[Target]| -> BTreeMap<Target, String> {
        let why = || "cannot patch resource \"serviceimports\"".to_owned();
        targets.iter().map(|t| (t.clone(), why())).collect()
    };
    let own = Target::of_cluster(Kind::ClusterConfiguration, CONFIGURATION);
    mirror.take_unwritten(&unwritten(std::slice::from_ref(&own)));
    assert_eq!(mirror.plan(NOW).0, []);
    let (cart, door) = (Kind::ServiceImport, Kind::EndpointSlice);
    let all = [of(cart, "b"), of(cart, "a"), of(door, "c"), own];
    mirror.take_unwritten(&unwritten(&all));
    let (writes, _) = mirror.plan(NOW);
    let [
        Write {
            action: Action::ApplyStatus(status),
            ..
        },
    ] = &writes[..]
    else {
        panic!("{writes:?}")
    };
    let problems = status["status"]["problems"].as_array().unwrap();
    let subjects: Vec<_> = problems.iter().map(|p| &p["subject"]).collect();
    assert_eq!(subjects, ["EndpointSlice shop/c", "ServiceImport shop/a"]);
    assert_eq!(problems[1]["kind"], "NotWritten");
    assert_eq!(
        problems[1]["message"],
        "cannot patch resource \"serviceimports\"; it stays as it was, and is tried again"
    );
    let metadata = json!({"name": CONFIGURATION, "uid": "9", "resourceVersion": "9"});
    let object = json!({"metadata": metadata, "status": {"problems": problems}});
    let (target, seen) = Seen::of(Kind::ClusterConfiguration, object).unwrap();
    mirror.wrote(&target, Some(seen));
    mirror.take_unwritten(&BTreeMap::new());
    let (writes, _) = mirror.plan(NOW);
    assert_eq!(writes.len(), 1, "{writes:?}");
    let text = format!("{writes:?}");
    assert!(!text.contains("NotWritten"), "{text}");
}

fn import(version: u64, uid: &str, ips: Value) -> Item {
    let object = json!({
        "metadata": {
            "name": "cart", "namespace": "shop", "uid": uid, "resourceVersion": version.to_string(),
            "labels": {"causeway.dev/managed-by": "causeway"},
        },
        "spec": {"ips": ips},
    });
    let (_, seen) = Seen::of(Kind::ServiceImport, object).unwrap();
    Item {
        key: ("shop".into(), "cart".into()),
        content: Content::Written,
        seen: Some(seen),
    }
}

/// A watch may lag behind the answers to our own writes.
#[test]
fn what_is_older_than_our_own_write_is_no_news() {
    let mut mirror = full();
    let target = Target::new(Kind::ServiceImport, "shop", "cart");
    let held = |mirror: &Mirror| mirror.sight.get(&target).map(|seen| seen.version.clone());
    mirror.wrote(&target, import(6, "a", json!(["241.0.0.1"])).seen);
    mirror.apply(Change::Put(Source::Imports, import(5, "a", json!([]))));
    assert_eq!(held(&mirror).as_deref(), Some("6"));
    mirror.apply(Change::Put(Source::Imports, import(7, "a", json!([]))));
    assert_eq!(held(&mirror).as_deref(), Some("7"));
    // Another of the same name, in an API server that counts anew.
    mirror.apply(Change::Put(Source::Imports, import(2, "b", json!([]))));
    assert_eq!(held(&mirror).as_deref(), Some("2"));
    // The end of the one before is not its end.
    let key = ("shop".to_owned(), "cart".to_owned());
    mirror.apply(Change::Gone(Source::Imports, key.clone(), "a".into()));
    assert_eq!(held(&mirror).as_deref(), Some("2"));
    // We delete it, and the watch still tells of a change before that.
    mirror.wrote(&target, None);
    mirror.apply(Change::Put(Source::Imports, import(3, "b", json!([]))));
    assert_eq!(held(&mirror), None);
    mirror.apply(Change::Gone(Source::Imports, key, "b".into()));
    mirror.apply(Change::Put(Source::Imports, import(8, "c", json!([]))));
    assert_eq!(held(&mirror).as_deref(), Some("8"));
    // What a list says counts, whatever its number.
    mirror.apply(Change::Listed(
        Source::Imports,
        vec![import(1, "c", json!([]))],
    ));
    assert_eq!(held(&mirror).as_deref(), Some("1"));
}

#[test]
fn a_namespace_that_ends_and_comes_again() {
    let (mut mirror, mut server) = (full(), Server::default());
    mirror.publication(0).unwrap();
    mirror.take_view(Arc::new(view()));
    mirror.apply(Change::Put(Source::Namespaces, namespace(true)));
    let text = settle(&mut mirror, &mut server);
    assert!(!text.contains("ServiceImport"), "{text}");
    mirror.apply(Change::Put(Source::Namespaces, namespace(false)));
    let text = settle(&mut mirror, &mut server);
    assert!(text.contains("ServiceImport shop/cart apply"), "{text}");
}

#[test]
fn an_object_that_cannot_be_read_is_a_problem() {
    let mut mirror = full();
    mirror.publication(0).unwrap();
    let key = ("shop".to_owned(), "cart".to_owned());
    let content = Content::Unreadable("spec: not an object".into());
    mirror.apply(Change::Put(
        Source::Exports,
        Item {
            key,
            content,
            seen: None,
        },
    ));
    let newest = mirror.publication(0).unwrap();
    assert_eq!(
        newest.exports.services.len(),
        1,
        "what it said before stays"
    );
    assert_eq!(newest.problems[0].subject, "Exports shop/cart");
}

#[test]
fn what_is_asked_of_peers() {
    let mut mirror = full();
    let peer = |name: &str, spec: Value| {
        let object = json!({"metadata": {"name": name, "uid": name}, "spec": spec});
        let (_, seen) = Seen::of(Kind::ClusterPeer, object).unwrap();
        let key = (String::new(), name.to_owned());
        Change::Put(
            Source::Peers,
            Item {
                key,
                content: Content::Written,
                seen: Some(seen),
            },
        )
    };
    mirror.apply(peer("west", json!({"joinTokenSecretRef": {"name": "t"}})));
    mirror.apply(peer("north", json!({"revoked": true})));
    mirror.apply(peer("south", json!({})));
    assert!(mirror.asked().is_empty(), "who is trusted is not known yet");
    mirror.take_statuses(Statuses::default());
    let asked = mirror.asked();
    assert_eq!(asked.len(), 2);
    let secret = asked[&"west".parse().unwrap()]
        .join_token_secret_ref
        .clone()
        .unwrap();
    assert_eq!((secret.name.as_str(), secret.key.as_str()), ("t", "token"));
}

#[test]
fn a_thousand_imports_take_a_few_rounds() {
    let mut mirror = full();
    mirror.publication(0).unwrap();
    let mut view = view();
    let one = view.imports.pop_first().unwrap().1;
    for n in 0..1000 {
        view.imports
            .insert(format!("shop/s{n}").try_into().unwrap(), one.clone());
    }
    mirror.take_view(Arc::new(view));
    let mut rounds = Vec::new();
    loop {
        let (writes, more) = mirror.plan(NOW);
        rounds.push(writes.len());
        if !more {
            break;
        }
    }
    let sum: usize = rounds.iter().sum();
    assert!(rounds.len() == 4 && sum > 1000, "{rounds:?}");
}
