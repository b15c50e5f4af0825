use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn lease(holder: &str) -> Lease {
    serde_json::from_value(json!({"metadata": {}, "spec": {"holderIdentity": holder}})).unwrap()
}

fn pod(name: &str, component: &str, node: &str, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {COMPONENT: component}},
        "spec": {"nodeName": node, "containers": []},
        "status": status,
    }))
    .unwrap()
}

fn runs() -> Value {
    json!({"phase": "Running", "containerStatuses": [
        {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
         "state": {"running": {}}}]})
}

fn waits(phase: &str, reason: &str, message: &str) -> Value {
    json!({"phase": phase, "containerStatuses": [
        {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 3,
         "state": {"waiting": {"reason": reason, "message": message}}}]})
}

fn pods() -> Vec<Pod> {
    vec![
        pod("controller-a", "controller", "w1", runs()),
        pod("controller-b", "controller", "w2", runs()),
        pod("gateway-x", "gateway", "w1", runs()),
        pod("gateway-y", "gateway", "w2", runs()),
        pod("agent-1", "agent", "w2", runs()),
    ]
}

fn check<T: std::fmt::Debug>(found: Result<T, Nobody>, expected: Expect) {
    let text = match found {
        Ok(found) => format!("{found:?}"),
        Err(nobody) => format!("{nobody}\n{}", nobody.check("kubectl")),
    };
    expected.assert_eq(&text);
}

#[test]
fn the_holder_of_the_lease() {
    check(
        controller(Some(&lease("controller-b_x7f")), &pods()),
        expect![[r#""controller-b""#]],
    );
    check(
        leader(Some(&lease("w2")), &pods()),
        expect![[r#"("w2", "gateway-y")"#]],
    );
}

#[test]
fn the_new_pod_of_a_node_rather_than_the_old() {
    let mut pods = pods();
    let mut old = pod("gateway-old", "gateway", "w2", runs());
    old.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    pods.insert(0, old);
    check(
        leader(Some(&lease("w2")), &pods),
        expect![[r#"("w2", "gateway-y")"#]],
    );
}

#[test]
fn nothing_is_installed() {
    check(
        controller(None, &[]),
        expect![[r#"
            there is no pod of Causeway
            if it is installed in another namespace give that with --namespace (`kubectl get pods -A -l app.kubernetes.io/name=causeway` shows it), else install it: helm install causeway ./helm -n causeway-system --create-namespace --set cluster.name=NAME"#]],
    );
}

#[test]
fn a_component_has_no_pod() {
    let only = [pod("controller-a", "controller", "w1", runs())];
    check(
        leader(Some(&lease("w1")), &only),
        expect![[r#"
            there is no gateway pod
            gateways run on nodes with the label causeway.dev/gateway=true: `kubectl get nodes -l causeway.dev/gateway=true`, `kubectl describe daemonset causeway-gateway`"#]],
    );
    check(
        controller(None, &pods()[2..]),
        expect![[r#"
            there is no controller pod
            `kubectl describe deployment causeway-controller` says why"#]],
    );
}

#[test]
fn nobody_holds_the_lease() {
    let mut pods = pods();
    pods[1] = pod(
        "controller-b",
        "controller",
        "w2",
        waits("Running", "CrashLoopBackOff", "back-off 40s"),
    );
    check(
        controller(None, &pods),
        expect![[r#"
            no controller is active: nobody holds the Lease causeway-controller (controller-a: runs; controller-b: CrashLoopBackOff: back-off 40s)
            does it start, and what does its log say? `kubectl logs -l app.kubernetes.io/component=controller`"#]],
    );
    assert_eq!(controller(Some(&lease("")), &pods), controller(None, &pods));
    check(
        leader(None, &pods),
        expect![[r#"
            no gateway leads: nobody holds the Lease causeway-leader (gateway-x: runs; gateway-y: runs)
            does it start, and what does its log say? `kubectl logs -l app.kubernetes.io/component=gateway`"#]],
    );
}

#[test]
fn the_holder_is_gone() {
    check(
        controller(Some(&lease("controller-c_1")), &pods()),
        expect![[r#"
            controller controller-c is gone, and its place is not taken yet (controller-a: runs; controller-b: runs)
            does it start, and what does its log say? `kubectl logs -l app.kubernetes.io/component=controller`"#]],
    );
    check(
        leader(Some(&lease("w9")), &pods()),
        expect![[r#"
            gateway w9 is gone, and its place is not taken yet (gateway-x: runs; gateway-y: runs)
            does it start, and what does its log say? `kubectl logs -l app.kubernetes.io/component=gateway`"#]],
    );
}

#[test]
fn some_gateway_where_none_leads() {
    let mut pods = pods();
    pods[2].metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let found = gateway(&pods);
    assert_eq!(found, Some(("w2".to_owned(), "gateway-y".to_owned())));
    assert_eq!(gateway(&pods[..2]), None);
}

#[test]
fn the_holder_does_not_run() {
    let with = |status| [pod("controller-a", "controller", "w1", status)];
    let lease = lease("controller-a_1");
    check(
        controller(
            Some(&lease),
            &with(waits("Pending", "ErrImagePull", "no such image")),
        ),
        expect![[r#"
            pod controller-a does not run: Pending, ErrImagePull: no such image
            `kubectl describe pod controller-a` says why"#]],
    );
    let unscheduled = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]});
    check(
        controller(Some(&lease), &with(unscheduled)),
        expect![[r#"
            pod controller-a does not run: Pending, 0/2 nodes are available
            `kubectl describe pod controller-a` says why"#]],
    );
    check(
        controller(Some(&lease), &with(json!({"phase": "Failed"}))),
        expect![[r#"
            pod controller-a does not run: Failed
            `kubectl describe pod controller-a` says why"#]],
    );
}
