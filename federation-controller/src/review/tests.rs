use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn of(account: &str, extra: &[(&str, &str)]) -> Review {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), vec![(*value).to_owned()]);
    Review {
        authenticated: true,
        error: None,
        audiences: vec![AUDIENCE.to_owned()],
        user: format!("system:serviceaccount:causeway-system:{account}"),
        extra: extra.iter().map(pair).collect(),
    }
}

fn ours() -> Namespace {
    "causeway-system".parse().unwrap()
}

fn pod(node: &'static str) -> [(&'static str, &'static str); 3] {
    [(POD_NAME, "pod-1"), (POD_UID, "u1"), (NODE, node)]
}

fn asks(review: &Review, asked: &str) -> String {
    let granted = holder(review, &ours()).and_then(|holder| holder.grant(asked));
    granted.map_or_else(|refusal| refusal.to_string(), |role| format!("is {role}"))
}

fn check(review: &Review, asked: &str, expected: Expect) {
    expected.assert_eq(&asks(review, asked));
}

#[test]
fn each_gets_its_own_and_nothing_else() {
    let gateway = of("causeway-gateway", &pod("w1"));
    let agent = of("causeway-agent", &pod("w1"));
    let controller = of("causeway-controller", &pod("w1"));
    let operator = of("causeway-operator", &[]);
    check(&gateway, "gateway/w1", expect!["is gateway/w1"]);
    check(&agent, "agent/w1", expect!["is agent/w1"]);
    check(
        &controller,
        "controller/pod-1",
        expect!["is controller/pod-1"],
    );
    check(&operator, "operator/ann", expect!["is operator/ann"]);
    check(
        &agent,
        "agent/w2",
        expect![[r#""agent/w2" was asked for, but the token is that of agent/w1"#]],
    );
    check(
        &gateway,
        "gateway/w2",
        expect![[r#""gateway/w2" was asked for, but the token is that of gateway/w1"#]],
    );
    check(
        &controller,
        "controller/w1",
        expect![[r#""controller/w1" was asked for, but the token is that of controller/pod-1"#]],
    );
    check(
        &agent,
        "gateway/w1",
        expect![[r#""gateway/w1" was asked for with the service account causeway-agent"#]],
    );
    check(
        &agent,
        "operator/ann",
        expect![[r#""operator/ann" was asked for with the service account causeway-agent"#]],
    );
    check(
        &operator,
        "catalog",
        expect![[r#""catalog" was asked for with the service account causeway-operator"#]],
    );
    check(
        &operator,
        "operator/Ann Lee",
        expect![[r#"process name "Ann Lee" is not valid: an RFC 1123 subdomain"#]],
    );
}

#[test]
fn a_token_that_is_not_good_says_why() {
    let good = of("causeway-agent", &pod("w1"));
    let changed = |change: &dyn Fn(&mut Review)| {
        let mut review = good.clone();
        change(&mut review);
        review
    };
    let bad = changed(&|r| {
        r.authenticated = false;
        r.error = Some("[invalid bearer token, token has expired]".to_owned());
    });
    check(
        &bad,
        "agent/w1",
        expect![
            "the API server does not accept the token: [invalid bearer token, token has expired]"
        ],
    );
    check(
        &changed(&|r| r.authenticated = false),
        "agent/w1",
        expect!["the API server does not accept the token: no reason given"],
    );
    // An API server that does not know audiences says none: then it was not looked at.
    check(
        &changed(&|r| r.audiences.clear()),
        "agent/w1",
        expect!["the token is not for the audience causeway"],
    );
    for user in [
        "system:serviceaccount:default:causeway-agent",
        "system:serviceaccount:causeway-system:default",
        "system:node:w1",
        "ann",
    ] {
        let told = asks(&changed(&|r| user.clone_into(&mut r.user)), "agent/w1");
        assert!(told.contains("is none of the service accounts"), "{told}");
    }
}

#[test]
fn without_a_node_in_the_token_the_pod_is_looked_up() {
    let review = of("causeway-agent", &[(POD_NAME, "pod-1"), (POD_UID, "u1")]);
    let mut holder = holder(&review, &ours()).unwrap();
    assert_eq!(holder.pod_to_look_up().unwrap().uid, "u1");
    assert!(holder.grant("agent/w1").is_err());
    holder.node = Some("w1".parse().unwrap());
    assert_eq!(holder.pod_to_look_up(), None);
    assert_eq!(holder.grant("agent/w1").unwrap().to_string(), "agent/w1");

    // A token that somebody asked for on the agents' service account, bound to nothing.
    check(
        &of("causeway-agent", &[]),
        "agent/w1",
        expect![
            "the token is bound to no running pod, so it does not say whose it is; a projected one of a pod of causeway-agent is needed"
        ],
    );
    let twice = BTreeMap::from([(NODE.to_owned(), vec!["w1".to_owned(), "w2".to_owned()])]);
    let mut both = of("causeway-agent", &[]);
    both.extra = twice;
    assert!(asks(&both, "agent/w1").contains("bound to no running pod"));
}

#[test]
fn a_long_request_is_repeated_in_part() {
    let told = asks(&of("causeway-agent", &pod("w1")), &"ä".repeat(10_000));
    assert!(told.len() < 400, "{}", told.len());
}

proptest! {
    /// Whatever is asked for, a node's token is good for that node's name alone.
    #[test]
    fn nobody_gets_another_nodes_name(
        node in "[a-z]{1,3}", asked in "(gateway|agent|controller|operator)/[a-z]{1,3}", agent in any::<bool>(),
    ) {
        let kind = if agent { Kind::Agent } else { Kind::Gateway };
        let holder = Holder { kind, pod: None, node: Some(node.parse().unwrap()) };
        let own = format!("{kind}/{node}");
        match holder.grant(&asked) {
            Ok(role) => prop_assert!(asked == own && role.to_string() == own),
            Err(_) => prop_assert_ne!(asked, own),
        }
    }

    #[test]
    fn nothing_panics(user in ".{0,80}", asked in ".{0,80}", key in ".{0,40}", value in ".{0,40}") {
        let mut review = of("causeway-gateway", &pod("w1"));
        review.extra.insert(key, vec![value]);
        let _ = asks(&review, &asked);
        review.user = user;
        let _ = asks(&review, &asked);
    }
}
