//! With nothing but a kubeconfig: from a token of the operators' account to the leader's answer, and what is said where
//! that does not work.

use std::process::Command;

use expect_test::{Expect, expect};

use crate::cluster::{Cluster, timeless};
use crate::told;

fn check(cluster: &Cluster, args: &[&str], expected: Expect) {
    let output = cluster.causeway(args);
    let text = timeless(&told(&output, cluster.dir()));
    // The port is another each time.
    let text: String = match text.split_once("http://127.0.0.1:") {
        Some((before, after)) => {
            let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}SERVER{after}")
        }
        None => text,
    };
    expected.assert_eq(&text);
}

#[test]
fn a_token_and_how_the_leader_is_reached() {
    let cluster = Cluster::start();
    check(
        &cluster,
        &["token", "create", "--context", "east", "-v"],
        expect![[r#"
            causeway1.for-any
            --- stderr
            causeway: TIME  context east: SERVER
            causeway: TIME  controller controller-a, leader w2 in pod gateway-1
            causeway: TIME  streams to both are open
            causeway: TIME  certificate of operator/ann
            causeway: TIME  gateway w2 answers, version 0.1.0
            causeway: good until 2026-09-21T14:28:20Z, once: run `causeway join TOKEN` in the other cluster
        "#]],
    );
    let asked = cluster.asked().join("\n");
    expect![[r#"
        GET /api/v1/namespaces/causeway-system/configmaps/causeway-enrolment
        GET /api/v1/namespaces/causeway-system/pods/controller-a/portforward?&ports=7445
        GET /api/v1/namespaces/causeway-system/pods/gateway-1/portforward?&ports=7444
        GET /api/v1/namespaces/causeway-system/pods?&labelSelector=app.kubernetes.io%2Fname%3Dcauseway
        GET /apis/coordination.k8s.io/v1/namespaces/causeway-system/leases/causeway-controller
        GET /apis/coordination.k8s.io/v1/namespaces/causeway-system/leases/causeway-leader
        POST /api/v1/namespaces/causeway-system/serviceaccounts/causeway-operator/token"#]].assert_eq(&asked);
}

#[test]
fn the_current_context_where_nothing_else_is_said() {
    check(
        &Cluster::start(),
        &["peers"],
        expect![[r#"
        PEER   LIVENESS   HEARD      HELD          ACKNOWLEDGED   SESSIONS  SERVICES  APPEARS HERE                   PACKETS
        east   live       0.4 s ago  1789990000.7  1789990001.12  e1 quic   2         10.244.0.0/16 as 242.1.0.0/16  plain, packets not authenticated
        north  withdrawn  4 min ago  1789000000.1  -              -         0         -                              none pass: they must be encrypted, and the peer cannot
        north: last error at 2026-09-21T14:12:50Z: dialling 192.0.2.7:7443: no answer in 5 s

        PEER  GATEWAY  BY    ADDRESS         ROUND TRIP  LOST   MTU           SINCE                 CERTIFICATE ENDS
        east  e1       quic  192.0.2.1:7443  0.4 ms      0.5 %  1400 of 1500  2026-09-21T13:13:20Z  2026-09-22T12:26:40Z
    "#]],
    );
}

#[test]
fn a_namespace_without_causeway() {
    let cluster = Cluster::start();
    let none = serde_json::json!({"metadata": {}, "items": []});
    cluster.answer("GET /api/v1/namespaces/mesh/pods", 200, none);
    check(
        &cluster,
        &["status", "-n", "mesh"],
        expect![[r#"
            --- stderr
            causeway: namespace mesh of context east: there is no pod of Causeway
              check: if it is installed in another namespace give that with --namespace (`kubectl --context east -n mesh get pods -A -l app.kubernetes.io/name=causeway` shows it), else install it: helm install causeway ./helm -n causeway-system --create-namespace --set cluster.name=NAME
            --- exit 3
        "#]],
    );
}

#[test]
fn no_such_context() {
    check(
        &Cluster::start(),
        &["status", "--context", "north"],
        expect![[r#"
            --- stderr
            causeway: the kubeconfig has no context "north"
              check: it has east, west; give another file with --kubeconfig or $KUBECONFIG
            --- exit 2
        "#]],
    );
}

#[test]
fn no_kubeconfig() {
    let cluster = Cluster::start();
    let absent = cluster.dir().join("absent");
    let absent = absent.to_str().unwrap();
    check(
        &cluster,
        &["status", "--kubeconfig", absent],
        expect![[r#"
            --- stderr
            causeway: kubeconfig DIR/absent: No such file or directory (os error 2)
              check: give another file with --kubeconfig or $KUBECONFIG
            --- exit 2
        "#]],
    );
}

#[test]
fn a_proxy_that_is_not_for_this_machine() {
    let cluster = Cluster::start();
    let file = cluster.dir().join("config");
    let looked = |server: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("127.0.0.1", server)).unwrap();
        Command::new(env!("CARGO_BIN_EXE_causeway"))
            .env_clear()
            .env("USER", "ann")
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .args(["drops", "--timeout", "5s", "--kubeconfig"])
            .arg(&file)
            .output()
            .unwrap()
    };
    assert!(looked("127.0.0.1").status.success());
    let said = told(&looked("k8s.example"), cluster.dir());
    assert!(said.contains("is not reached"), "{said}");
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn no_api_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let text = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "east",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "east", "context": {"cluster": "c"}}]}"#;
    std::fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_causeway"))
        .env_clear()
        .args(["status", "--kubeconfig"])
        .arg(&file)
        .output()
        .unwrap();
    expect![[r#"
        --- stderr
        causeway: the Kubernetes API of context east at http://127.0.0.1:1 is not reached: client error (Connect): tcp connect error: Connection refused (os error 111)
          check: does `kubectl --kubeconfig DIR/config --context east -n causeway-system version` work?
        --- exit 3
    "#]].assert_eq(&told(&output, dir.path()));
}

#[test]
fn not_allowed() {
    let cluster = Cluster::start();
    cluster.refuse(
        "POST /api/v1/namespaces/causeway-system/serviceaccounts/causeway-operator/token",
        403,
        "Forbidden",
        r#"serviceaccounts "causeway-operator" is forbidden: User "ann" cannot create resource "serviceaccounts/token""#,
    );
    check(
        &cluster,
        &["status"],
        expect![[r#"
        --- stderr
        causeway: you may not create serviceaccounts/token causeway-operator in namespace causeway-system of context east: serviceaccounts "causeway-operator" is forbidden: User "ann" cannot create resource "serviceaccounts/token"
          check: Role causeway-operator allows all that is needed; who may grant it does so by `kubectl --context east -n causeway-system create rolebinding NAME --role causeway-operator --user YOU`
        --- exit 1
    "#]],
    );
}

#[test]
fn not_allowed_to_forward() {
    let cluster = Cluster::start();
    cluster.refuse(
        "GET /api/v1/namespaces/causeway-system/pods/controller-a/portforward",
        403,
        "Forbidden",
        r#"pods "controller-a" is forbidden: User "ann" cannot create resource "pods/portforward""#,
    );
    check(
        &cluster,
        &["status"],
        expect![[r#"
        --- stderr
        causeway: you may not create and get pods/portforward in namespace causeway-system of context east: pods "controller-a" is forbidden: User "ann" cannot create resource "pods/portforward"
          check: Role causeway-operator allows all that is needed; who may grant it does so by `kubectl --context east -n causeway-system create rolebinding NAME --role causeway-operator --user YOU`
        --- exit 1
    "#]],
    );
}

#[test]
fn no_controller_is_active() {
    let cluster = Cluster::start();
    cluster.lease("causeway-controller", "");
    check(
        &cluster,
        &["status", "--timeout", "1s"],
        expect![[r#"
        --- stderr
        causeway: TIME  waiting: namespace causeway-system of context east: no controller is active: nobody holds the Lease causeway-controller (controller-a: runs)
        causeway: namespace causeway-system of context east: no controller is active: nobody holds the Lease causeway-controller (controller-a: runs)
          check: does it start, and what does its log say? `kubectl --context east -n causeway-system logs -l app.kubernetes.io/component=controller`
        --- exit 3
    "#]],
    );
}

#[test]
fn the_leader_is_gone() {
    let cluster = Cluster::start();
    cluster.lease("causeway-leader", "w7");
    check(
        &cluster,
        &["token", "create", "--timeout", "1s"],
        expect![[r#"
            --- stderr
            causeway: TIME  waiting: namespace causeway-system of context east: gateway w7 is gone, and its place is not taken yet (gateway-1: runs)
            causeway: namespace causeway-system of context east: gateway w7 is gone, and its place is not taken yet (gateway-1: runs)
              check: does it start, and what does its log say? `kubectl --context east -n causeway-system logs -l app.kubernetes.io/component=gateway`
            --- exit 3
        "#]],
    );
    // To look, any gateway will do.
    check(
        &cluster,
        &["drops"],
        expect![[r#"
        NODE  DROPPED BECAUSE  PACKETS
        w1    UnlistedSource   3
        w2    NoFlow           17
        --- stderr
        causeway: TIME  gateway w7 is gone, and its place is not taken yet (gateway-1: runs): asking another gateway
    "#]],
    );
}

#[test]
fn the_leader_has_not_heard_of_it_yet() {
    let cluster = Cluster::start_under("w7");
    check(
        &cluster,
        &["leave", "--timeout", "1s"],
        expect![[r#"
        --- stderr
        causeway: TIME  waiting: gateway w2 is to lead and does not yet: it follows w7
        causeway: gateway w2 is to lead and does not yet: it follows w7
          check: what do the logs of the active controller and of that gateway say?
        --- exit 3
    "#]],
    );
}

#[test]
fn a_token_that_the_controller_does_not_take() {
    let cluster = Cluster::start();
    cluster.answer(
        "POST /api/v1/namespaces/causeway-system/serviceaccounts/causeway-operator/token",
        200,
        serde_json::json!({"metadata": {}, "spec": {"audiences": []},
            "status": {"token": "another", "expirationTimestamp": "2026-11-26T12:00:00Z"}}),
    );
    check(
        &cluster,
        &["status"],
        expect![[r#"
        --- stderr
        causeway: the controller gives no operator's certificate: controller-a:7445: the token is not good
          check: is the controller's version that of this command, and its service account allowed to create tokenreviews?
        --- exit 1
    "#]],
    );
}

#[test]
fn a_kubeconfig_and_a_socket_exclude_each_other() {
    let cluster = Cluster::start();
    let output = cluster.causeway(&["status", "--context", "east", "--socket", "x"]);
    assert_eq!(output.status.code(), Some(2));
}
