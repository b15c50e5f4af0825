use expect_test::{Expect, expect};

use super::*;
use crate::objects::{Manifest, parse};
use crate::publication::{publication, render};

mod laws;
mod reach;

/// A node, a namespace and a Service that hold.
pub(crate) const GROUND: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
spec: {podCIDRs: [10.244.0.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: Hostname, address: n1}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  ports: [{name: http, port: 80, targetPort: web}, {name: dns, protocol: UDP, port: 53}]
";

pub(crate) const EXPORT: &str = "
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: cart, namespace: shop, creationTimestamp: 2026-01-02T03:04:05Z}
";

const SLICE: &str = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}, {name: dns, port: 5353, protocol: UDP}]
endpoints:
- {addresses: [10.244.0.6], nodeName: n1, conditions: {ready: true}}
";

fn told(manifest: &Manifest) -> String {
    let (objects, problems) = Objects::gather([("a.yaml", manifest)]);
    render(&publication(&objects, &problems))
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&told(&parse(text).unwrap()));
}

#[test]
fn a_service_with_endpoints() {
    check(
        &[GROUND, EXPORT, SLICE].concat(),
        expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
          10.244.0.6 on n1 Ready 80>8080 53>5353
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
}

#[test]
fn no_service() {
    check(
        EXPORT,
        expect![[r#"
        condition ServiceExport shop/cart Valid=False NoService: There is no Service shop/cart in this cluster.
        condition ServiceExport shop/cart Ready=False Pending: The ServiceExport is not valid.
    "#]],
    );
}

#[test]
fn external_name() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {type: ExternalName, externalName: example.org}
";
    check(
        &[service, EXPORT].concat(),
        expect![[r#"
        condition ServiceExport shop/cart Valid=False InvalidServiceType: Service shop/cart is of type ExternalName, which cannot be exported.
        condition ServiceExport shop/cart Ready=False Pending: The ServiceExport is not valid.
    "#]],
    );
}

#[test]
fn creation_time_not_known_yet() {
    let export = EXPORT.replace(", creationTimestamp: 2026-01-02T03:04:05Z", "");
    check(
        &[GROUND, &export].concat(),
        expect![[r#"
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/cart Ready=Unknown Pending: The creation time is missing or before 1970; the oldest export wins a conflict, so it must be known.
    "#]],
    );
}

#[test]
fn not_exported() {
    check(
        &[GROUND, SLICE].concat(),
        expect![[r#"
        node n1 at 192.0.2.1 pods 10.244.0.0/24
    "#]],
    );
}

#[test]
fn both_versions_and_no_other() {
    let version = |v: &str| EXPORT.replace("v1beta1", v);
    for known in ["v1beta1", "v1alpha1"] {
        let manifest = parse(&[GROUND, &version(known)].concat()).unwrap();
        let (objects, _) = Objects::gather([("a", &manifest)]);
        assert_eq!(objects.exports.len(), 1, "{known}");
    }
    check(
        &version("v2"),
        expect![[r#"
        problem BadObject a.yaml:3: multicluster.x-k8s.io/v2 ServiceExport is of no use here and is left out
    "#]],
    );
}

#[test]
fn annotations_steer() {
    let with = |annotations: &str| {
        let export = EXPORT.replace(
            "name: cart,",
            &format!("name: cart, annotations: {annotations},"),
        );
        parse(&[GROUND, &export].concat()).unwrap()
    };
    let steered = with(
        "{federation.causeway.dev/locality: spread, federation.causeway.dev/weight: '7', \
         federation.causeway.dev/on-loss: failover-only}",
    );
    let (objects, _) = Objects::gather([("a", &steered)]);
    let (exports, _, problems) = derive(&objects);
    let export = exports.services.values().next().unwrap();
    expect!["Spread 7 FailoverOnly []"].assert_eq(&format!(
        "{:?} {} {:?} {problems:?}",
        export.locality, export.weight, export.on_loss
    ));
    expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Valid=True Valid: The Service can be exported, but annotation federation.causeway.dev/locality is "near", not local-first or spread; local-first is used; annotation federation.causeway.dev/weight is "-1", not a number from 0 to 65535; 100 is used; annotation federation.causeway.dev/on-loss is "panic", not withdraw, keep or failover-only; withdraw is used.
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
        problem BadObject ServiceExport shop/cart: annotation federation.causeway.dev/locality is "near", not local-first or spread; local-first is used
        problem BadObject ServiceExport shop/cart: annotation federation.causeway.dev/on-loss is "panic", not withdraw, keep or failover-only; withdraw is used
        problem BadObject ServiceExport shop/cart: annotation federation.causeway.dev/weight is "-1", not a number from 0 to 65535; 100 is used
    "#]].assert_eq(&told(&with(
        "{federation.causeway.dev/locality: near, federation.causeway.dev/weight: '-1', \
         federation.causeway.dev/on-loss: panic}",
    )));
}

#[test]
fn traits_of_the_service() {
    let service = GROUND.replace(
        "spec:\n",
        "spec:\n  clusterIP: None\n  sessionAffinity: ClientIP\n  internalTrafficPolicy: Local\n  \
         trafficDistribution: PreferClose\n  ipFamilies: [IPv6, IPv4]\n  \
         sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}}\n",
    );
    let export =
        format!("{EXPORT}spec: {{exportedLabels: {{a: b}}, exportedAnnotations: {{c: d}}}}");
    let manifest = parse(&[service.as_str(), &export].concat()).unwrap();
    let (objects, _) = Objects::gather([("a", &manifest)]);
    let (exports, _, problems) = derive(&objects);
    expect![[r#"
        Export {
            created: Timestamp(
                1767323045000,
            ),
            headless: true,
            ports: [
                ExportPort {
                    name: Some(
                        PortName(
                            "http",
                        ),
                    ),
                    protocol: Tcp,
                    port: 80,
                    app_protocol: None,
                },
                ExportPort {
                    name: Some(
                        PortName(
                            "dns",
                        ),
                    ),
                    protocol: Udp,
                    port: 53,
                    app_protocol: None,
                },
            ],
            affinity: ClientIp {
                timeout_secs: 10,
            },
            internal_traffic_policy: Local,
            traffic_distribution: Some(
                "PreferClose",
            ),
            ip_families: [
                IPv6,
                IPv4,
            ],
            labels: {
                "a": "b",
            },
            annotations: {
                "c": "d",
            },
            locality: LocalFirst,
            on_loss: Withdraw,
            weight: 100,
            endpoints: [],
        }
    "#]]
    .assert_debug_eq(exports.services.values().next().unwrap());
    assert_eq!(problems, []);
}

#[test]
fn values_that_cannot_be_right() {
    let text = [GROUND, EXPORT]
        .concat()
        .replace("ports: [", "sessionAffinity: Cookie\n  internalTrafficPolicy: Near\n  ipFamilies: [IPv5]\n  ports: [{port: 70000}, {name: Http, port: 81}, {name: http, port: 82}, {name: other, port: 80}, {name: q, port: 9, protocol: QUIC}, ")
        .replace("10.244.0.0/24", "10.244.0.1/24")
        .replace("address: 192.0.2.1", "address: 192.0.2.300");
    check(
        &text,
        expect![[r#"
            export shop/cart ClusterSetIP created=1767323045000 http:82/TCP other:80/TCP dns:53/UDP
            node n1 at  pods 
            condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
            condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
            problem BadObject Node n1: "10.244.0.1/24" has bits set behind its length; did you mean 10.244.0.0/24?; left out
            problem BadObject Node n1: "192.0.2.300" is not an IP address; left out
            problem BadObject Node n1: has no address of type InternalIP in its status; nothing can be tunnelled to it
            problem BadObject Service shop/cart: internalTrafficPolicy "Near" is not Cluster or Local; Cluster is used
            problem BadObject Service shop/cart: ipFamilies "IPv5" is not IPv4 or IPv6 and is left out
            problem BadObject Service shop/cart: port 70000 is not 1 to 65535; left out
            problem BadObject Service shop/cart: port http:80/TCP clashes with http:82/TCP and is left out
            problem BadObject Service shop/cart: port name "Http" is not valid: an RFC 1123 label; left out
            problem BadObject Service shop/cart: protocol "QUIC" is not valid: TCP, UDP or SCTP; left out
            problem BadObject Service shop/cart: sessionAffinity "Cookie" is not None or ClientIP; None is used
        "#]],
    );
}

#[test]
fn states_of_endpoints() {
    let endpoint = |n: u8, conditions: &str| {
        format!("- {{addresses: [10.244.0.{n}], nodeName: n1, conditions: {conditions}}}\n")
    };
    let slice = [
        SLICE,
        &endpoint(7, "{ready: false, serving: true, terminating: true}"),
        &endpoint(8, "{ready: false, serving: false, terminating: true}"),
        &endpoint(9, "{ready: false}"),
        &endpoint(10, "{}"),
        &endpoint(11, "{ready: true, terminating: true}"),
        "- {addresses: [10.244.0.12], nodeName: n1}\n",
    ]
    .concat();
    check(
        &[GROUND, EXPORT, &slice].concat(),
        expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
          10.244.0.6 on n1 Ready 80>8080 53>5353
          10.244.0.7 on n1 Draining 80>8080 53>5353
          10.244.0.8 on n1 NotReady 80>8080 53>5353
          10.244.0.9 on n1 NotReady 80>8080 53>5353
          10.244.0.10 on n1 Ready 80>8080 53>5353
          10.244.0.11 on n1 Ready 80>8080 53>5353
          10.244.0.12 on n1 Ready 80>8080 53>5353
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
}

#[test]
fn endpoints_that_cannot_be_right() {
    let slice = [
        SLICE,
        "- {addresses: [10.244.0.7]}\n",
        "- {addresses: [10.244.0.8], nodeName: n9}\n",
        "- {addresses: [10.99.0.8], nodeName: n1}\n",
        "- {addresses: [nonsense], nodeName: n1}\n",
        "- {addresses: [], nodeName: n1}\n",
    ]
    .concat()
    .replace("{name: dns, port: 5353,", "{name: dns,");
    check(
        &[GROUND, EXPORT, &slice].concat(),
        expect![[r#"
            export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
              10.99.0.8 on n1 Ready 80>8080
              10.244.0.6 on n1 Ready 80>8080
              10.244.0.7 on - NotReady 80>8080
              10.244.0.8 on n9 NotReady 80>8080
            node n1 at 192.0.2.1 pods 10.244.0.0/24
            condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
            condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
            condition ServiceExport shop/cart EndpointsReachable=False NoNode: Endpoint 10.244.0.7 of EndpointSlice shop/cart-1 is of no pod and no node of this cluster and has no nodeName, so nothing can be delivered to it; only endpoints on this cluster's nodes can be exported. Endpoint 10.244.0.8 of EndpointSlice shop/cart-1 is on node n9, of which there is no Node; check its nodeName.
            problem BadObject EndpointSlice shop/cart-1: "nonsense" is not an IP address; left out
            problem BadObject EndpointSlice shop/cart-1: endpoint 10.244.0.7 is of no pod and no node of this cluster and has no nodeName, so nothing can be delivered to it; only endpoints on this cluster's nodes can be exported
            problem BadObject EndpointSlice shop/cart-1: endpoint 10.244.0.8 is on node n9, of which there is no Node; check its nodeName
            problem BadObject EndpointSlice shop/cart-1: has an endpoint without an address; left out
            problem BadObject EndpointSlice shop/cart-1: port dns has no number from 1 to 65535; left out
            problem OutsidePrefix EndpointSlice shop/cart-1: endpoint 10.99.0.8 lies in no prefix of this cluster's pods or nodes, so peers cannot map it; add its prefix to spec.podPrefixes of ClusterConfiguration default
        "#]],
    );
}

#[test]
fn slices_that_belong_to_nobody() {
    let other = SLICE.replace("service-name: cart", "service-name: absent");
    let bare = SLICE
        .replace("cart-1", "bare")
        .replace("kubernetes.io/service-name", "app");
    let imported = SLICE.replace("cart-1", "imported").replace(
        "kubernetes.io/service-name: cart",
        "multicluster.kubernetes.io/source-cluster: west",
    );
    let named = SLICE
        .replace("cart-1", "fqdn")
        .replace("addressType: IPv4", "addressType: FQDN");
    check(
        &[GROUND, EXPORT, &other, &bare, &imported, &named].concat(),
        expect![[r#"
            export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
            node n1 at 192.0.2.1 pods 10.244.0.0/24
            condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
            condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
            problem BadObject EndpointSlice shop/bare: has no label kubernetes.io/service-name, so it belongs to no Service; left out
            problem BadObject EndpointSlice shop/cart-1: its Service shop/absent does not exist; left out
            problem BadObject EndpointSlice shop/fqdn: addressType "FQDN" is not IPv4 or IPv6; left out
        "#]],
    );
}

/// Two slices of one service share an address for a moment; the better state counts, the ports add up.
#[test]
fn one_address_in_two_slices() {
    let older = SLICE
        .replace("cart-1", "cart-0")
        .replace(
            "ready: true",
            "ready: false, serving: true, terminating: true",
        )
        .replace(
            "{name: http, port: 8080, protocol: TCP}",
            "{name: http, port: 8081}",
        );
    let newer = SLICE.replace(", {name: dns, port: 5353, protocol: UDP}", "");
    let one = told(&parse(&[GROUND, EXPORT, &older, &newer].concat()).unwrap());
    let other = told(&parse(&[GROUND, EXPORT, &newer, &older].concat()).unwrap());
    assert_eq!(one, other);
    check(
        &[GROUND, EXPORT, &older, &newer].concat(),
        expect![[r#"
            export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
              10.244.0.6 on n1 Ready 80>8080 53>5353
            node n1 at 192.0.2.1 pods 10.244.0.0/24
            condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
            condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
        "#]],
    );
}

#[test]
fn pods_are_workloads() {
    let pod = |name: &str, rest: &str| {
        format!(
            "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: \
             {{app: cart, pod-template-hash: x, app.kubernetes.io/name: cart}}}}\n{rest}"
        )
    };
    let text = [
        GROUND,
        &pod("a", "spec: {nodeName: n1, serviceAccountName: robot, containers: []}\nstatus: {podIP: 10.244.0.6, podIPs: [{ip: 10.244.0.6}, {ip: 'fd00::6'}]}\n"),
        &pod("b", "spec: {containers: []}\nstatus: {podIP: 10.244.0.6}\n"),
        &pod("c", "spec: {hostNetwork: true, containers: []}\nstatus: {podIP: 192.0.2.1}\n"),
        &pod("d", "spec: {containers: []}\nstatus: {phase: Succeeded, podIP: 10.244.0.7}\n"),
        &pod("e", "spec: {containers: []}\nstatus: {podIP: nonsense}\n"),
        &pod("f", "spec: {containers: []}\n"),
    ]
    .concat();
    check(
        &text,
        expect![[r#"
            workload 10.244.0.6 shop/a as robot
            workload fd00::6 shop/a as robot
            node n1 at 192.0.2.1 pods 10.244.0.0/24
            problem BadObject Pod shop/b: has the address 10.244.0.6 of Pod shop/a too, which keeps it
            problem BadObject Pod shop/e: "nonsense" is not an IP address; left out
            problem OutsidePrefix cluster: pods with addresses outside the prefixes of this cluster's pods: 1 (shop/a fd00::6); they cannot talk to other clusters; add their prefixes to spec.podPrefixes of ClusterConfiguration default
        "#]],
    );
    let (objects, _) = Objects::gather([("a", &parse(&text).unwrap())]);
    let (exports, ..) = derive(&objects);
    let labels = &exports.workloads.values().next().unwrap().labels;
    assert_eq!(
        labels.keys().collect::<Vec<_>>(),
        ["app", "app.kubernetes.io/name"]
    );
}

/// A pod says where an endpoint runs when the slice does not.
#[test]
fn an_endpoints_node_by_its_pod() {
    let pod = "\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\n\
               spec: {nodeName: n1, containers: []}\nstatus: {podIP: 10.244.0.6}\n";
    let slice = SLICE.replace(" nodeName: n1,", "");
    check(
        &[GROUND, EXPORT, &slice, pod].concat(),
        expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
          10.244.0.6 on n1 Ready 80>8080 53>5353
        workload 10.244.0.6 shop/p as default
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
}

#[test]
fn one_name_twice_and_kinds_of_no_use() {
    let config = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    check(
        &[GROUND, EXPORT, EXPORT, config].concat(),
        expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 http:80/TCP dns:53/UDP
        node n1 at 192.0.2.1 pods 10.244.0.0/24
        condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
        problem BadObject ServiceExport shop/cart: is there twice; the one in a.yaml is left out, remove one of them
        problem BadObject a.yaml:25: v1 ConfigMap is of no use here and is left out
    "#]],
    );
}

#[test]
fn lists_are_taken_apart() {
    let list = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}
- {apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 1}]}}
";
    check(
        &[list, EXPORT].concat(),
        expect![[r#"
        export shop/cart ClusterSetIP created=1767323045000 1/TCP
        condition ServiceExport shop/cart Valid=True Valid: The Service can be exported.
        condition ServiceExport shop/cart Ready=True Exported: The Service is handed to the cluster's leader gateway.
    "#]],
    );
}
