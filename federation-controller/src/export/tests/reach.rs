//! Where endpoints and pods are, and whether anything can be delivered to them.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use super::{EXPORT, GROUND};
use crate::objects::{Objects, parse};
use crate::publication::{publication, render};

/// Without a selector, as somebody writes them by hand.
const BY_HAND: &str = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-hand, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
";

/// What is told of the objects, without what every one of these tests has.
fn check(text: &str, change: impl FnOnce(&mut Objects), expected: Expect) {
    let (mut objects, problems) = Objects::gather([("a.yaml", &parse(text).unwrap())]);
    change(&mut objects);
    let told = render(&publication(&objects, &problems));
    let kept = told.lines().filter(|line| !line.contains("Valid=True"));
    expected.assert_eq(&kept.map(|line| format!("{line}\n")).collect::<String>());
}

fn by_hand(endpoints: &str) -> String {
    [GROUND, EXPORT, BY_HAND, endpoints].concat()
}

fn agents_on(names: &[&str]) -> Option<BTreeSet<causeway_proto::model::NodeName>> {
    Some(names.iter().map(|name| name.parse().unwrap()).collect())
}

#[test]
fn by_hand_on_a_node() {
    check(
        &by_hand("- {addresses: [192.0.2.1]}\n- {addresses: [10.244.0.9], nodeName: n1}\n"),
        |_| {},
        expect![[r#"
            export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
              10.244.0.9 on n1 Ready 80>8080
              192.0.2.1 on n1 Ready 80>8080
            node n1 at 192.0.2.1 pods 10.244.0.0/24
            condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
        "#]],
    );
}

#[test]
fn by_hand_outside_the_cluster() {
    check(
        &by_hand("- {addresses: [198.51.100.7]}\n"),
        |_| {},
        expect![[r#"
            export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
              198.51.100.7 on - NotReady 80>8080
            node n1 at 192.0.2.1 pods 10.244.0.0/24
            condition ServiceExport shop/cart Ready=False Failed: Endpoint 198.51.100.7 of EndpointSlice shop/cart-hand is of no pod and no node of this cluster and has no nodeName, so nothing can be delivered to it; only endpoints on this cluster's nodes can be exported.
            condition ServiceExport shop/cart EndpointsReachable=False NoNode: Endpoint 198.51.100.7 of EndpointSlice shop/cart-hand is of no pod and no node of this cluster and has no nodeName, so nothing can be delivered to it; only endpoints on this cluster's nodes can be exported.
            problem BadObject EndpointSlice shop/cart-hand: endpoint 198.51.100.7 is of no pod and no node of this cluster and has no nodeName, so nothing can be delivered to it; only endpoints on this cluster's nodes can be exported
        "#]],
    );
}

#[test]
fn some_of_many_are_named() {
    let endpoints: String = (1..=6)
        .map(|n| format!("- {{addresses: [198.51.100.{n}]}}\n"))
        .collect();
    let text = by_hand(&format!(
        "{endpoints}- {{addresses: [10.244.0.9], nodeName: n1}}\n"
    ));
    let (objects, _) = Objects::gather([("a.yaml", &parse(&text).unwrap())]);
    let (_, conditions, problems) = crate::derive(&objects);
    let message = &conditions[2].message;
    assert!(message.ends_with("And 3 more endpoints."), "{message}");
    assert_eq!(
        (conditions[1].reason.as_str(), problems.len()),
        ("Exported", 6)
    );
}

#[test]
fn on_a_node_without_an_agent() {
    let text = by_hand("- {addresses: [10.244.0.9], nodeName: n1}\n");
    check(
        &text,
        |o| o.agents = agents_on(&["n2"]),
        expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
          10.244.0.9 on n1 NotReady 80>8080
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Ready=False Failed: Endpoint 10.244.0.9 of EndpointSlice shop/cart-hand is on node n1, which runs no agent, so nothing can be delivered to it; check the pods of the agent's DaemonSet and whether it tolerates the node's taints.
        condition ServiceExport shop/cart EndpointsReachable=False NodeWithoutAgent: Endpoint 10.244.0.9 of EndpointSlice shop/cart-hand is on node n1, which runs no agent, so nothing can be delivered to it; check the pods of the agent's DaemonSet and whether it tolerates the node's taints.
        problem BadObject EndpointSlice shop/cart-hand: endpoint 10.244.0.9 is on node n1, which runs no agent, so nothing can be delivered to it; check the pods of the agent's DaemonSet and whether it tolerates the node's taints
    "#]],
    );
    check(
        &text,
        |o| o.agents = agents_on(&["n1"]),
        expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
          10.244.0.9 on n1 Ready 80>8080
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
}

#[test]
fn headless_outside_the_pod_prefixes() {
    let text = by_hand("- {addresses: [10.9.0.9], nodeName: n1}\n");
    let text = text.replace("spec:\n  ports", "spec:\n  clusterIP: None\n  ports");
    check(
        &text,
        |_| {},
        expect![[r#"
        export shop/cart Headless created=1767323045000 http:80/TCP dns:53/UDP
          10.9.0.9 on n1 Ready 80>8080
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Ready=False Failed: Endpoint 10.9.0.9 of EndpointSlice shop/cart-hand lies in no prefix of this cluster's pods or nodes, so peers cannot map it; add its prefix to spec.podPrefixes of ClusterConfiguration default.
        condition ServiceExport shop/cart EndpointsReachable=False OutsidePodPrefixes: Endpoint 10.9.0.9 of EndpointSlice shop/cart-hand lies in no prefix of this cluster's pods or nodes, so peers cannot map it; add its prefix to spec.podPrefixes of ClusterConfiguration default.
        problem OutsidePrefix EndpointSlice shop/cart-hand: endpoint 10.9.0.9 lies in no prefix of this cluster's pods or nodes, so peers cannot map it; add its prefix to spec.podPrefixes of ClusterConfiguration default
    "#]],
    );
    let prefix = "10.9.0.0/16".parse().unwrap();
    check(
        &text,
        |o| o.pod_prefixes = vec![prefix],
        expect![[r#"
        export shop/cart Headless created=1767323045000 http:80/TCP dns:53/UDP
          10.9.0.9 on n1 Ready 80>8080
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
}

const PODS: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop}
spec: {nodeName: n1}
status: {podIP: 10.7.3.4, podIPs: [{ip: 10.7.3.4}, {ip: 'fd00:7::4'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: on-host, namespace: shop}
spec: {nodeName: n1, hostNetwork: true}
status: {podIP: 192.0.2.1}
---
apiVersion: v1
kind: Pod
metadata: {name: over, namespace: shop}
spec: {nodeName: n1}
status: {podIP: 10.8.8.8, phase: Succeeded}
";

#[test]
fn prefixes_by_the_addresses_of_pods() {
    let ground = GROUND.replace("spec: {podCIDRs: [10.244.0.0/24]}\n", "");
    check(
        &[&ground, PODS].concat(),
        |_| {},
        expect![[r#"
        workload 10.7.3.4 shop/a as default
        workload fd00:7::4 shop/a as default
        node n1 at 192.0.2.1 pods 10.7.3.0/24,fd00:7::/64
    "#]],
    );
}

#[test]
fn pods_outside_the_prefixes() {
    check(
        &[GROUND, PODS].concat(),
        |_| {},
        expect![[r#"
        workload 10.7.3.4 shop/a as default
        workload fd00:7::4 shop/a as default
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        problem OutsidePrefix cluster: pods with addresses outside the prefixes of this cluster's pods: 2 (shop/a 10.7.3.4, shop/a fd00:7::4); they cannot talk to other clusters; add their prefixes to spec.podPrefixes of ClusterConfiguration default
    "#]],
    );
}

/// As many prefixes as peers take, whatever pods there are.
#[test]
fn prefixes_by_addresses_are_few() {
    let pod = |n: u32| {
        let (high, low) = (n / 256, n % 256);
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{n}, namespace: shop}}\nspec: {{nodeName: n1}}\n\
             status: {{podIP: 10.{high}.{low}.4}}\n"
        )
    };
    let ground = GROUND.replace("spec: {podCIDRs: [10.244.0.0/24]}\n", "");
    let pods: String = (0..600).map(pod).collect();
    let (objects, _) = Objects::gather([("a.yaml", &parse(&format!("{ground}{pods}")).unwrap())]);
    let (exports, _, problems) = crate::derive(&objects);
    let prefixes = &exports.nodes[&"n1".parse().unwrap()].pod_prefixes;
    let told: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 38, "{told:?}");
    assert_eq!(problems, []);
}

#[test]
fn the_service_changes_its_type_and_ports() {
    let text = [GROUND, EXPORT].concat();
    let other = text.replace("port: 80,", "port: 81,");
    check(
        &other,
        |_| {},
        expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 http:81/TCP dns:53/UDP
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
    let other = text.replace("spec:\n  ports", "spec:\n  type: ExternalName\n  ports");
    check(
        &other,
        |_| {},
        expect![[r#"
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Valid=False InvalidServiceType: Service shop/cart is of type ExternalName, which cannot be exported.
        condition ServiceExport shop/cart Ready=False Pending: The ServiceExport is not valid.
    "#]],
    );
}

#[test]
fn a_thousand_exports() {
    let one = |n: u32| {
        let export = EXPORT.replace("name: cart", &format!("name: cart-{n}"));
        let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: NAME, namespace: shop}\nspec: {ports: [{port: 80}]}\n";
        [
            &service.replace("NAME", &format!("cart-{n}")),
            export.as_str(),
        ]
        .concat()
    };
    let text: String = (0..1000).map(one).collect();
    let (objects, _) = Objects::gather([("a.yaml", &parse(&text).unwrap())]);
    let (exports, conditions, problems) = crate::derive(&objects);
    let counts = (exports.services.len(), conditions.len(), problems.len());
    assert_eq!(counts, (1000, 2000, 0));
}
