use proptest::prelude::*;

use super::*;

fn set(s: &str) -> ClusterSet {
    s.parse().unwrap()
}

#[track_caller]
fn check(uri: &str, expect: &str) {
    let got = match PeerName::parse(uri, &set("prod.example")) {
        Ok(name) => {
            assert_eq!(name.to_string(), uri, "what is taken is the canonical form");
            format!("{} {}", name.cluster, name.role)
        }
        Err(e) => e.to_string(),
    };
    assert_eq!(got, expect);
}

#[test]
fn parse() {
    check("spiffe://east.prod.example/gateway/e1", "east gateway/e1");
    check("spiffe://a.b.prod.example/agent/w1.lan", "a.b agent/w1.lan");
    check("spiffe://east.prod.example/catalog", "east catalog");
    check(
        "spiffe://east.prod.example/operator/ann",
        "east operator/ann",
    );
    check(
        "spiffe://east.prod.example/catalog/",
        "\"catalog/\" is not a role: gateway/, controller/, agent/ or operator/NAME",
    );
    check(
        "spiffe://east.prod.example/gateway/e1/x",
        "gateway name \"e1/x\" is not valid: an RFC 1123 subdomain",
    );
    check(
        "spiffe://east.prod.example/gateway/",
        "gateway name \"\" is not valid: an RFC 1123 subdomain",
    );
    check(
        "spiffe://east.prod.example/root/x",
        "\"root/x\" is not a role: gateway/, controller/, agent/ or operator/NAME",
    );
    check(
        "spiffe://east.other/gateway/e1",
        "\"east.other\" is not of clusterset prod.example",
    );
    check(
        "spiffe://eastprod.example/gateway/e1",
        "\"eastprod.example\" is not of clusterset prod.example",
    );
    check(
        "spiffe://a.b.c.prod.example/gateway/e1",
        "cluster id \"a.b.c\" is not valid: one or two RFC 1123 labels joined by a dot, under 128 characters",
    );
    check(
        "spiffe://user@east.prod.example/gateway/e1",
        "cluster id \"user@east\" is not valid: one or two RFC 1123 labels joined by a dot, under 128 characters",
    );
    for form in [
        "https://east.prod.example/gateway/e1",
        "SPIFFE://east.prod.example/gateway/e1",
        "spiffe://east.prod.example",
        "",
    ] {
        check(
            form,
            &format!("{form:?} is not a name of the form spiffe://CLUSTER.CLUSTERSET/ROLE"),
        );
    }
    check(
        "spiffe://east.prod.example:443/gateway/e1",
        "\"east.prod.example:443\" is not of clusterset prod.example",
    );
}

#[test]
fn too_long() {
    let label = "a".repeat(63);
    let long = set(&[label.as_str(); 3].join("."));
    let cluster: ClusterId = label.parse().unwrap();
    assert_eq!(trust_domain(&cluster, &long).unwrap().len(), 255);
    let more = format!("{label}.b").parse().unwrap();
    assert!(matches!(
        trust_domain(&more, &long),
        Err(NameError::TooLong(_))
    ));
    assert!(PeerName::new(more, long, Role::Catalog).is_err());
}

fn caller(role: &str) -> Caller {
    Caller::Certified(PeerName::parse(&format!("spiffe://west.prod/{role}"), &set("prod")).unwrap())
}

#[test]
fn who_may_call_what() {
    let node = |n: &str| n.parse::<NodeName>().unwrap();
    let calls = [
        Call::Publish,
        Call::Follow,
        Call::Lead,
        Call::Watch(Scope::Node(node("w1"))),
        Call::Watch(Scope::Node(node("w2"))),
        Call::Watch(Scope::Controller),
        Call::Watch(Scope::Whole),
        Call::Report(node("w1")),
        Call::Report(node("w2")),
        Call::Enroll,
        Call::Renew,
        Call::Admin,
        Call::Membership,
        Call::Status,
    ];
    let row = |c: &Caller, own: &str| -> String {
        let own = own.parse().unwrap();
        calls
            .iter()
            .map(|call| {
                if authorize(c, &own, call).is_ok() {
                    'x'
                } else {
                    '.'
                }
            })
            .collect()
    };
    assert_eq!(row(&Caller::Socket, "west"), "xxxxxxxxxxxxxx");
    assert_eq!(row(&Caller::Anonymous, "west"), ".........x....");
    assert_eq!(row(&caller("agent/w1"), "west"), "...x...x..x...");
    assert_eq!(row(&caller("gateway/w2"), "west"), ".x.xxxx...x...");
    assert_eq!(row(&caller("controller/main"), "west"), "x.x..x....x.xx");
    assert_eq!(row(&caller("operator/ann"), "west"), "..........xxxx");
    assert_eq!(row(&caller("catalog"), "west"), "..............");
    assert_eq!(row(&caller("gateway/w2"), "east"), "..............");
    assert_eq!(
        authorize(&caller("agent/w1"), &"west".parse().unwrap(), &Call::Admin)
            .unwrap_err()
            .to_string(),
        "spiffe://west.prod/agent/w1 may not administer the cluster"
    );
}

proptest! {
    #[test]
    fn print_and_parse(
        cluster in "[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z0-9]{1,8})?",
        cluster_set in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}",
        kind in prop::sample::select(vec!["gateway", "controller", "agent", "operator"]),
        name in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}",
    ) {
        let cluster_set: ClusterSet = cluster_set.parse().unwrap();
        let made = PeerName::new(
            cluster.parse().unwrap(),
            cluster_set.clone(),
            Role::parse(&format!("{kind}/{name}")).unwrap(),
        ).unwrap();
        prop_assert_eq!(PeerName::parse(&made.to_string(), &cluster_set).unwrap(), made);
    }

    #[test]
    fn never_panics(text in "\\PC{0,80}") {
        let _ = PeerName::parse(&text, &set("prod"));
        let _ = PeerName::parse(&format!("spiffe://{text}.prod/gateway/x"), &set("prod"));
    }
}
