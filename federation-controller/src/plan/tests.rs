use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;
use crate::want::MARK;
use server::Server;

mod laws;
pub(crate) mod server;

const NOW: Timestamp = Timestamp(1_767_323_045_000);
const LATER: Timestamp = Timestamp(1_767_323_105_000);

fn import() -> Target {
    Target::new(Kind::ServiceImport, "shop", "cart")
}

fn slice() -> Target {
    Target::new(Kind::EndpointSlice, "shop", "cart-west-1")
}

fn groups() -> BTreeSet<Group> {
    BTreeSet::from([Group::Import("shop".into(), "cart".into())])
}

/// An import and its slice, as in [`crate::import`] but shorter.
fn wants() -> Wants {
    let labels = json!({"team": "a", (MARK.0): MARK.1});
    let object = Wanted {
        body: Some(
            json!({"metadata": {"labels": labels}, "spec": {"type": "ClusterSetIP", "ips": ["241.0.0.1"]}}),
        ),
        status: Some(json!({"clusters": [{"cluster": "west"}]})),
        conditions: vec![Sought::new(
            "Ready",
            ConditionStatus::True,
            "Ready",
            "It can be used.",
        )],
        absent: vec!["/spec/trafficDistribution"],
        owner: None,
    };
    let labels = json!({(crate::seen::SERVICE_LABEL): "cart", (MARK.0): MARK.1});
    let of_slice = Wanted {
        body: Some(
            json!({"metadata": {"labels": labels}, "endpoints": [{"addresses": ["241.0.0.1"]}]}),
        ),
        owner: Some(import()),
        absent: vec!["/metadata/labels/kubernetes.io~1service-name"],
        ..Wanted::default()
    };
    Wants {
        objects: [(import(), object), (slice(), of_slice)].into(),
        ..Wants::default()
    }
}

/// Executes plans until there is nothing left to write; a line for each write.
fn settle(server: &mut Server, wants: &Wants, now: Timestamp) -> String {
    let mut text = String::new();
    for round in 1.. {
        let writes = plan(&server.sight(), &groups(), wants, now);
        if writes.is_empty() {
            return text;
        }
        assert!(round < 10, "does not settle:\n{text}");
        for write in &writes {
            let body = match &write.action {
                Action::Apply(_) => "apply".to_owned(),
                Action::ApplyStatus(body) => format!("status {body}"),
                Action::Delete { .. } => "delete".to_owned(),
                Action::Remove { paths, .. } => format!("remove {paths:?}"),
                Action::PutStatus { path, value, .. } => format!("put {path} {value}"),
            };
            writeln!(text, "{round} {} {body}", write.target).unwrap();
            for t in &write.tidings {
                let kind = if t.warning { "Warning" } else { "Normal" };
                writeln!(text, "    {kind} {} {}: {}", t.action, t.reason, t.note).unwrap();
            }
            server.execute(write).unwrap();
        }
    }
    text
}

fn check(server: &mut Server, wants: &Wants, expected: Expect) {
    expected.assert_eq(&settle(server, wants, LATER));
}

fn settled() -> Server {
    let mut server = Server::default();
    settle(&mut server, &wants(), NOW);
    server
}

#[test]
fn from_nothing() {
    let mut server = Server::default();
    expect![[r#"
        1 ServiceImport shop/cart apply
        2 EndpointSlice shop/cart-west-1 apply
        2 ServiceImport shop/cart status {"status":{"clusters":[{"cluster":"west"}],"conditions":[{"lastTransitionTime":"2026-01-02T03:04:05Z","message":"It can be used.","observedGeneration":1,"reason":"Ready","status":"True","type":"Ready"}]}}
            Normal Ready Ready: It can be used.
    "#]].assert_eq(&settle(&mut server, &wants(), NOW));
    assert_eq!(server.idle, 0, "a write that changes nothing");
}

#[test]
fn nothing_to_do() {
    check(&mut settled(), &wants(), expect![[""]]);
}

#[test]
fn the_last_export_goes() {
    let mut server = settled();
    check(
        &mut server,
        &Wants::default(),
        expect![[r#"
        1 EndpointSlice shop/cart-west-1 delete
        1 ServiceImport shop/cart delete
    "#]],
    );
    assert!(server.targets().is_empty());
}

#[test]
fn too_little_is_known_to_delete() {
    let left = [import(), slice()].into();
    let wants = Wants {
        left,
        ..Wants::default()
    };
    check(&mut settled(), &wants, expect![[""]]);
}

#[test]
fn a_label_is_no_longer_exported() {
    let mut wants = wants();
    let body = wants
        .objects
        .get_mut(&import())
        .unwrap()
        .body
        .as_mut()
        .unwrap();
    body["metadata"]["labels"]
        .as_object_mut()
        .unwrap()
        .remove("team");
    let mut server = settled();
    check(
        &mut server,
        &wants,
        expect![[r#"
        1 ServiceImport shop/cart apply
    "#]],
    );
    assert!(server.get(&import()).unwrap()["metadata"]["labels"]["team"].is_null());
}

#[test]
fn others_labels_stay() {
    let mut server = settled();
    let body = json!({"metadata": {"labels": {"backup": "yes"}}});
    server.apply(&import(), "backup-tool", &body, false);
    check(&mut server, &wants(), expect![[""]]);
    assert_eq!(
        server.get(&import()).unwrap()["metadata"]["labels"]["backup"],
        "yes"
    );
}

#[test]
fn edited_by_hand() {
    let mut server = settled();
    let body = json!({"spec": {"ips": ["10.0.0.1"], "trafficDistribution": "PreferClose"}});
    server.apply(&import(), "kubectl-edit", &body, false);
    check(
        &mut server,
        &wants(),
        expect![[r#"
            1 ServiceImport shop/cart apply
                Warning PutBack PutBack: /spec/ips was changed by kubectl-edit and is put back: only causeway-controller writes it; change the ServiceExport or the Service instead.
            2 ServiceImport shop/cart remove ["/spec/trafficDistribution"]
            3 ServiceImport shop/cart status {"status":{"clusters":[{"cluster":"west"}],"conditions":[{"lastTransitionTime":"2026-01-02T03:04:05Z","message":"It can be used.","observedGeneration":3,"reason":"Ready","status":"True","type":"Ready"}]}}
        "#]],
    );
    let spec = &server.get(&import()).unwrap()["spec"];
    assert_eq!(*spec, json!({"type": "ClusterSetIP", "ips": ["241.0.0.1"]}));
}

/// An apply leaves items that others own.
#[test]
fn a_stranger_among_the_exporters() {
    let mut server = settled();
    let stranger = json!({"status": {"clusters": [{"cluster": "nobody"}]}});
    server.apply(&import(), "kubectl", &stranger, true);
    check(
        &mut server,
        &wants(),
        expect![[r#"
        1 ServiceImport shop/cart put /status/clusters [{"cluster":"west"}]
    "#]],
    );
    check(&mut server, &wants(), expect![[""]]);
}

#[test]
fn a_slice_that_kube_proxy_would_take() {
    let mut server = settled();
    let body = json!({"metadata": {"labels": {"kubernetes.io/service-name": "cart"}}});
    server.apply(&slice(), "kubectl-label", &body, false);
    check(
        &mut server,
        &wants(),
        expect![[r#"
        1 EndpointSlice shop/cart-west-1 remove ["/metadata/labels/kubernetes.io~1service-name"]
    "#]],
    );
}

#[test]
fn deleted_by_hand() {
    let mut server = settled();
    server.delete(&import());
    // Its slice has an owner that is gone: it gets the new one.
    check(
        &mut server,
        &wants(),
        expect![[r#"
        1 ServiceImport shop/cart apply
        2 EndpointSlice shop/cart-west-1 apply
        2 ServiceImport shop/cart status {"status":{"clusters":[{"cluster":"west"}],"conditions":[{"lastTransitionTime":"2026-01-02T03:05:05Z","message":"It can be used.","observedGeneration":1,"reason":"Ready","status":"True","type":"Ready"}]}}
            Normal Ready Ready: It can be used.
    "#]],
    );
}

#[test]
fn somebody_elses_import() {
    let mut server = Server::default();
    let body = json!({"spec": {"type": "Headless", "ports": []}});
    server.apply(&import(), "other-mcs", &body, false);
    check(
        &mut server,
        &wants(),
        expect![[r#"
            1 ServiceImport shop/cart apply
                Warning Adopt Adopted: It was there already, written by other-mcs; from now on causeway-controller writes it.
            1 EndpointSlice shop/cart-west-1 apply
            2 ServiceImport shop/cart status {"status":{"clusters":[{"cluster":"west"}],"conditions":[{"lastTransitionTime":"2026-01-02T03:05:05Z","message":"It can be used.","observedGeneration":2,"reason":"Ready","status":"True","type":"Ready"}]}}
                Normal Ready Ready: It can be used.
        "#]],
    );
}

#[test]
fn somebody_elses_import_of_another_name() {
    let mut server = Server::default();
    server.apply(
        &import(),
        "other-mcs",
        &json!({"spec": {"type": "Headless"}}),
        false,
    );
    check(&mut server, &Wants::default(), expect![[""]]);
}

#[test]
fn a_condition_turns_and_others_conditions_stay() {
    let mut server = settled();
    let theirs = json!({"status": {"conditions": [{"type": "Programmed", "status": "True", "reason": "X"}]}});
    server.apply(&import(), "gateway-api", &theirs, true);
    let mut wants = wants();
    let wanted = wants.objects.get_mut(&import()).unwrap();
    wanted.conditions = vec![Sought::new(
        "Ready",
        ConditionStatus::False,
        "Pending",
        "Everybody is silent.",
    )];
    check(
        &mut server,
        &wants,
        expect![[r#"
            1 ServiceImport shop/cart status {"status":{"clusters":[{"cluster":"west"}],"conditions":[{"lastTransitionTime":"2026-01-02T03:05:05Z","message":"Everybody is silent.","observedGeneration":1,"reason":"Pending","status":"False","type":"Ready"}]}}
                Warning Ready Pending: Everybody is silent.
        "#]],
    );
    let conditions = server.get(&import()).unwrap()["status"]["conditions"]
        .as_array()
        .unwrap();
    assert_eq!(conditions.len(), 2);
}

#[test]
fn the_time_of_a_transition_stays() {
    let mut server = settled();
    let mut wants = wants();
    let wanted = wants.objects.get_mut(&import()).unwrap();
    wanted.conditions = vec![Sought::new(
        "Ready",
        ConditionStatus::True,
        "Ready",
        "In other words.",
    )];
    check(
        &mut server,
        &wants,
        expect![[r#"
        1 ServiceImport shop/cart status {"status":{"clusters":[{"cluster":"west"}],"conditions":[{"lastTransitionTime":"2026-01-02T03:04:05Z","message":"In other words.","observedGeneration":1,"reason":"Ready","status":"True","type":"Ready"}]}}
    "#]],
    );
}
