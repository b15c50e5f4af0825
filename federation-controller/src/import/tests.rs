use std::collections::BTreeMap;
use std::fmt::Write as _;

use causeway_proto::model::{
    ClusterSet, Encryption, ImportEndpoint, ImportShare, Liveness, Mapping, PeerNumber, PeerView,
    Protocol, Timestamp,
};
use expect_test::{Expect, expect};

use super::*;
use crate::plan::plan;
use crate::plan::tests::server::Server;

mod changes;

fn cluster(id: &str) -> ClusterId {
    id.parse().unwrap()
}

fn service(name: &str) -> ServiceName {
    ServiceName::new("shop".parse().unwrap(), name).unwrap()
}

fn view() -> View {
    let mut view = View::empty(cluster("east"), "fleet".parse::<ClusterSet>().unwrap());
    view.sync.local = true;
    view
}

fn share(number: u16, ready: u32, liveness: Liveness) -> ImportShare {
    ImportShare {
        number: PeerNumber::try_from(number).unwrap(),
        vip: "241.0.9.9".parse().unwrap(),
        created: Timestamp(0),
        ready,
        liveness,
        ports: [(Protocol::Tcp, 80), (Protocol::Udp, 53)].into(),
    }
}

fn import_port(name: &str, protocol: Protocol, port: u16) -> ImportPort {
    ImportPort {
        name: Some(name.parse().unwrap()),
        protocol,
        port,
        app_protocol: None,
        targets: BTreeMap::new(),
    }
}

/// An import with an address, exported by west.
fn cart() -> Import {
    Import {
        vip: Some("241.0.0.1".parse().unwrap()),
        ports: vec![
            import_port("http", Protocol::Tcp, 80),
            import_port("dns", Protocol::Udp, 53),
        ],
        shares: [(cluster("west"), share(1, 2, Liveness::Live))].into(),
        ip_families: vec![IpFamily::IPv4],
        ..Import::default()
    }
}

fn headless(endpoints: Vec<ImportEndpoint>) -> Import {
    Import {
        headless: true,
        vip: None,
        endpoints,
        ..cart()
    }
}

fn endpoint_at(
    cluster_id: &str,
    hostname: &str,
    address: &str,
    ports: &[(Protocol, u16, u16)],
) -> ImportEndpoint {
    ImportEndpoint {
        cluster: cluster(cluster_id),
        hostname: hostname.into(),
        address: address.parse().unwrap(),
        ports: ports.to_vec(),
    }
}

/// What is wanted of `shop/cart`, of one line each field.
fn told(view: &View, sight: &Sight, namespaces: &[&str], schema: &Schema) -> String {
    let namespaces = namespaces.iter().map(|n| (*n).to_owned()).collect();
    let known = Known {
        view,
        sight,
        namespaces: &namespaces,
        schema,
    };
    let mut wants = Wants::default();
    wanted(&known, "shop", "cart", &mut wants);
    let mut text = String::new();
    for (target, wanted) in &wants.objects {
        writeln!(text, "{target}").unwrap();
        let body = wanted.body.as_ref().unwrap();
        for (key, value) in body.as_object().unwrap() {
            if target.kind == Kind::ServiceImport && key == "spec" {
                for (key, value) in value.as_object().unwrap() {
                    writeln!(text, "  spec.{key} {value}").unwrap();
                }
            } else {
                writeln!(text, "  {key} {value}").unwrap();
            }
        }
        if let Some(owner) = &wanted.owner {
            writeln!(text, "  owner {owner}").unwrap();
        }
        writeln!(text, "  absent {:?}", wanted.absent).unwrap();
        if let Some(status) = &wanted.status {
            writeln!(text, "  status {status}").unwrap();
        }
        for c in &wanted.conditions {
            writeln!(
                text,
                "  {}={:?} {}: {}",
                c.kind, c.status, c.reason, c.message
            )
            .unwrap();
        }
    }
    for target in &wants.left {
        writeln!(text, "{target} is left").unwrap();
    }
    text
}

fn check(import: Import, expected: Expect) {
    let mut view = view();
    view.imports.insert(service("cart"), import);
    expected.assert_eq(&told(
        &view,
        &Sight::default(),
        &["shop"],
        &Schema::default(),
    ));
}

fn peer(encryption: Encryption) -> PeerView {
    PeerView {
        number: PeerNumber::try_from(1).unwrap(),
        our_number_there: None,
        mappings: Vec::new(),
        gateways: Vec::new(),
        nodes: Vec::new(),
        silent_gateways: Vec::new(),
        carried_by: BTreeSet::new(),
        mtu: None,
        acknowledged_nodes: BTreeSet::new(),
        encryption,
        liveness: Liveness::Live,
        heard: None,
    }
}

#[test]
fn one_that_no_packet_reaches_is_not_ready() {
    let mut view = view();
    let (west, south, own) = (cluster("west"), cluster("south"), cluster("east"));
    let mut import = cart();
    let reason = |view: &View, import: &Import| ready(view, import, &[]).reason;
    view.peers
        .insert(west.clone(), peer(Encryption::Unavailable));
    assert_eq!(reason(&view, &import), "PacketsNotAllowed");
    let told = ready(&view, &import, &[]);
    assert_eq!(told.status, ConditionStatus::False);
    assert_eq!(
        told.message,
        "No packet passes to a cluster that exports it; the condition PacketsAllowed of ClusterPeer west says why and what to do."
    );
    view.peers
        .insert(west.clone(), peer(Encryption::Unavailable));
    assert_eq!(reason(&view, &import), "PacketsNotAllowed");
    view.peers.insert(west, peer(Encryption::Plain));
    assert_eq!(reason(&view, &import), "Ready");
    view.peers
        .insert(south.clone(), peer(Encryption::Unavailable));
    import.shares = [(south.clone(), share(2, 1, Liveness::Live))].into();
    assert_eq!(reason(&view, &import), "PacketsNotAllowed");
    // Who exports it here serves it here.
    import.shares.insert(own, share(0, 1, Liveness::Live));
    assert_eq!(reason(&view, &import), "Ready");
}

#[test]
fn with_an_address() {
    check(
        cart(),
        expect![[r#"
            ServiceImport shop/cart
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}
              spec.internalTrafficPolicy "Cluster"
              spec.ipFamilies ["IPv4"]
              spec.ips ["241.0.0.1"]
              spec.ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              spec.sessionAffinity "None"
              spec.type "ClusterSetIP"
              absent ["/spec/sessionAffinityConfig", "/spec/trafficDistribution"]
              status {"clusters":[{"cluster":"west"}],"endpointSliceObjects":"Present"}
              Ready=True Ready: It can be used from this cluster.
            EndpointSlice shop/cart-west-6e00b2b8
              addressType "IPv4"
              endpoints [{"addresses":["241.0.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false}}]
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway","endpointslice.kubernetes.io/managed-by":"controller.causeway.dev","multicluster.kubernetes.io/service-name":"cart","multicluster.kubernetes.io/source-cluster":"west"}}
              ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              owner ServiceImport shop/cart
              absent ["/metadata/labels/kubernetes.io~1service-name"]
        "#]],
    );
}

#[test]
fn two_clusters_with_all_that_an_export_says() {
    let mut import = cart();
    import
        .shares
        .insert(cluster("a.b"), share(2, 0, Liveness::Suspect));
    import
        .shares
        .insert(cluster("gone"), share(3, 1, Liveness::Withdrawn));
    import.affinity = Affinity::ClientIp { timeout_secs: 10 };
    import.internal_traffic_policy = InternalTrafficPolicy::Local;
    import.traffic_distribution = Some("PreferClose".into());
    import.ports[0].app_protocol = Some("http".into());
    import.labels = [("team".into(), "a".into()), ("no label".into(), "x".into())].into();
    import.annotations = [("note".into(), "n".into())].into();
    check(
        import,
        expect![[r#"
            ServiceImport shop/cart
              metadata {"annotations":{"note":"n"},"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway","team":"a"}}
              spec.internalTrafficPolicy "Local"
              spec.ipFamilies ["IPv4"]
              spec.ips ["241.0.0.1"]
              spec.ports [{"appProtocol":"http","name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              spec.sessionAffinity "ClientIP"
              spec.sessionAffinityConfig {"clientIP":{"timeoutSeconds":10}}
              spec.trafficDistribution "PreferClose"
              spec.type "ClusterSetIP"
              absent []
              status {"clusters":[{"cluster":"a.b"},{"cluster":"gone"},{"cluster":"west"}],"endpointSliceObjects":"Present"}
              Ready=True Ready: It can be used from this cluster. Left out, as Kubernetes would not take them: no label.
            EndpointSlice shop/cart-a.b-2d34e677
              addressType "IPv4"
              endpoints [{"addresses":["241.0.0.1"],"conditions":{"ready":false,"serving":false,"terminating":false}}]
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway","endpointslice.kubernetes.io/managed-by":"controller.causeway.dev","multicluster.kubernetes.io/service-name":"cart","multicluster.kubernetes.io/source-cluster":"a.b"}}
              ports [{"appProtocol":"http","name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              owner ServiceImport shop/cart
              absent ["/metadata/labels/kubernetes.io~1service-name"]
            EndpointSlice shop/cart-west-6e00b2b8
              addressType "IPv4"
              endpoints [{"addresses":["241.0.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false}}]
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway","endpointslice.kubernetes.io/managed-by":"controller.causeway.dev","multicluster.kubernetes.io/service-name":"cart","multicluster.kubernetes.io/source-cluster":"west"}}
              ports [{"appProtocol":"http","name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              owner ServiceImport shop/cart
              absent ["/metadata/labels/kubernetes.io~1service-name"]
        "#]],
    );
}

#[test]
fn headless_with_endpoints_of_two_clusters() {
    use Protocol::{Tcp, Udp};
    let both = [(Tcp, 80, 8080), (Udp, 53, 53)];
    let import = headless(vec![
        endpoint_at("a.b", "10-244-0-6", "242.0.0.6", &both),
        endpoint_at("west", "Not_A_Label", "242.1.0.8", &[(Tcp, 80, 8081)]),
        endpoint_at("west", "web-0", "242.1.0.6", &both),
        endpoint_at("west", "web-1", "242.1.0.7", &both),
    ]);
    check(
        import,
        expect![[r#"
            ServiceImport shop/cart
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}
              spec.internalTrafficPolicy "Cluster"
              spec.ipFamilies ["IPv4"]
              spec.ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              spec.sessionAffinity "None"
              spec.type "Headless"
              absent ["/spec/ips", "/spec/sessionAffinityConfig", "/spec/trafficDistribution"]
              status {"clusters":[{"cluster":"west"}],"endpointSliceObjects":"Present"}
              Ready=True Ready: It can be used from this cluster.
            EndpointSlice shop/cart-a.b-d78b79bf
              addressType "IPv4"
              endpoints [{"addresses":["242.0.0.6"],"conditions":{"ready":true,"serving":true,"terminating":false},"hostname":"10-244-0-6"}]
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway","endpointslice.kubernetes.io/managed-by":"controller.causeway.dev","multicluster.kubernetes.io/service-name":"cart","multicluster.kubernetes.io/source-cluster":"a.b"}}
              ports [{"name":"http","port":8080,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              owner ServiceImport shop/cart
              absent ["/metadata/labels/kubernetes.io~1service-name"]
            EndpointSlice shop/cart-west-6ea061c2
              addressType "IPv4"
              endpoints [{"addresses":["242.1.0.6"],"conditions":{"ready":true,"serving":true,"terminating":false},"hostname":"web-0"},{"addresses":["242.1.0.7"],"conditions":{"ready":true,"serving":true,"terminating":false},"hostname":"web-1"}]
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway","endpointslice.kubernetes.io/managed-by":"controller.causeway.dev","multicluster.kubernetes.io/service-name":"cart","multicluster.kubernetes.io/source-cluster":"west"}}
              ports [{"name":"http","port":8080,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              owner ServiceImport shop/cart
              absent ["/metadata/labels/kubernetes.io~1service-name"]
            EndpointSlice shop/cart-west-ae1a5f7c
              addressType "IPv4"
              endpoints [{"addresses":["242.1.0.8"],"conditions":{"ready":true,"serving":true,"terminating":false}}]
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway","endpointslice.kubernetes.io/managed-by":"controller.causeway.dev","multicluster.kubernetes.io/service-name":"cart","multicluster.kubernetes.io/source-cluster":"west"}}
              ports [{"name":"http","port":8081,"protocol":"TCP"}]
              owner ServiceImport shop/cart
              absent ["/metadata/labels/kubernetes.io~1service-name"]
        "#]],
    );
}

#[test]
fn headless_without_endpoints() {
    check(
        headless(Vec::new()),
        expect![[r#"
            ServiceImport shop/cart
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}
              spec.internalTrafficPolicy "Cluster"
              spec.ipFamilies ["IPv4"]
              spec.ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              spec.sessionAffinity "None"
              spec.type "Headless"
              absent ["/spec/ips", "/spec/sessionAffinityConfig", "/spec/trafficDistribution"]
              status {"clusters":[{"cluster":"west"}],"endpointSliceObjects":"Absent"}
              Ready=True Ready: It can be used from this cluster.
        "#]],
    );
}

#[test]
fn no_address_yet() {
    check(
        Import {
            vip: None,
            ..cart()
        },
        expect![[r#"
            ServiceImport shop/cart
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}
              spec.internalTrafficPolicy "Cluster"
              spec.ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              spec.sessionAffinity "None"
              spec.type "ClusterSetIP"
              absent ["/spec/ips", "/spec/ipFamilies", "/spec/sessionAffinityConfig", "/spec/trafficDistribution"]
              status {"clusters":[{"cluster":"west"}],"endpointSliceObjects":"Absent"}
              Ready=False Pending: There is no address for it: the pool of `spec.pools.vips` in ClusterConfiguration default is full, or the leader has not allotted one yet.
        "#]],
    );
}

#[test]
fn of_a_family_that_there_is_not_here() {
    check(
        Import {
            ip_families: vec![IpFamily::IPv6],
            ..cart()
        },
        expect![[r#"
            ServiceImport shop/cart
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}
              spec.internalTrafficPolicy "Cluster"
              spec.ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              spec.sessionAffinity "None"
              spec.type "ClusterSetIP"
              absent ["/spec/ips", "/spec/ipFamilies", "/spec/sessionAffinityConfig", "/spec/trafficDistribution"]
              status {"clusters":[{"cluster":"west"}],"endpointSliceObjects":"Absent"}
              Ready=False IPFamilyNotSupported: It is exported with IPv6 only, of which this cluster has no addresses for services; export it with the other family too.
        "#]],
    );
}

#[test]
fn everybody_is_silent() {
    let shares = [(cluster("west"), share(1, 2, Liveness::Withdrawn))].into();
    check(
        Import {
            shares,
            stale: true,
            ..cart()
        },
        expect![[r#"
            ServiceImport shop/cart
              metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}
              spec.internalTrafficPolicy "Cluster"
              spec.ipFamilies ["IPv4"]
              spec.ips ["241.0.0.1"]
              spec.ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
              spec.sessionAffinity "None"
              spec.type "ClusterSetIP"
              absent ["/spec/sessionAffinityConfig", "/spec/trafficDistribution"]
              status {"clusters":[{"cluster":"west"}],"endpointSliceObjects":"Absent"}
              Ready=False Pending: Every cluster that exports it (west) is silent, so connections are rejected; check `kubectl get clusterpeers`.
        "#]],
    );
}

#[test]
fn an_older_definition_has_fewer_fields() {
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect();
    let in_spec = names(&[
        "type",
        "ports",
        "ips",
        "sessionAffinity",
        "sessionAffinityConfig",
    ]);
    let fields = Some((in_spec, names(&["clusters"])));
    let mut view = view();
    view.imports.insert(service("cart"), cart());
    let text = told(&view, &Sight::default(), &["shop"], &Schema { fields });
    expect![[r#"
        ServiceImport shop/cart
          metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway"}}
          spec.ips ["241.0.0.1"]
          spec.ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
          spec.sessionAffinity "None"
          spec.type "ClusterSetIP"
          absent ["/spec/ipFamilies", "/spec/sessionAffinityConfig", "/spec/trafficDistribution"]
          status {"clusters":[{"cluster":"west"}]}
        EndpointSlice shop/cart-west-6e00b2b8
          addressType "IPv4"
          endpoints [{"addresses":["241.0.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false}}]
          metadata {"labels":{"app.kubernetes.io/managed-by":"causeway","causeway.dev/managed-by":"causeway","endpointslice.kubernetes.io/managed-by":"controller.causeway.dev","multicluster.kubernetes.io/service-name":"cart","multicluster.kubernetes.io/source-cluster":"west"}}
          ports [{"name":"http","port":80,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]
          owner ServiceImport shop/cart
          absent ["/metadata/labels/kubernetes.io~1service-name"]
    "#]].assert_eq(&text);
}
