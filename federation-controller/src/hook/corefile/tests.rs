use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 53));
const USUAL: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    reload
}
";

fn check(corefile: &str, expected: Expect) {
    let told = with_forward(corefile, SERVER).unwrap_or_else(|error| error.to_string());
    expected.assert_eq(&told);
}

#[test]
fn the_usual_file_gets_a_block_first() {
    let with = with_forward(USUAL, SERVER).unwrap();
    let block = with.strip_suffix(USUAL).unwrap();
    expect![[r#"
        # BEGIN causeway (kept by the chart: edits between these lines are lost)
        clusterset.local:53 {
            errors
            forward . 10.96.0.53
        }
        # END causeway
    "#]]
    .assert_eq(block);
}

#[test]
fn the_block_listens_where_the_root_zone_does() {
    for (head, port) in [
        (".:5353", "5353"),
        ("example.org:54, .:55", "55"),
        ("dns://.:56", "56"),
        ("tls://.:853 .:57", "57"),
        (".", "53"),
        ("(snippet)", "53"),
    ] {
        let with = with_forward(&format!("{head} {{\n}}\n"), SERVER).unwrap();
        assert!(
            with.contains(&format!("\nclusterset.local:{port} {{\n")),
            "{with}"
        );
    }
}

#[test]
fn another_address_replaces_the_block() {
    let before = with_forward(USUAL, "10.0.0.1".parse().unwrap()).unwrap();
    let after = with_forward(&before, SERVER).unwrap();
    assert_eq!(after, with_forward(USUAL, SERVER).unwrap());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    check(
        "a:53 {\n}\nClusterset.local. {\n}\nclusterset.local:53 {\n  forward . 10.0.0.9\n}\n",
        expect![[r#"
            line 5 already serves clusterset.local and is not Causeway's; remove that block, or install with `dns.coredns.forward=false` and forward clusterset.local to Causeway there"#]],
    );
    check(
        ".:53,\ndns://clusterset.local {\n}\n",
        expect![[r#"
            line 2 already serves clusterset.local and is not Causeway's; remove that block, or install with `dns.coredns.forward=false` and forward clusterset.local to Causeway there"#]],
    );
    // Comments, values and other plugins' words are no heads.
    let inner =
        "# clusterset.local {\n. {\n  rewrite name clusterset.local x {\n  }\n  hosts {$FILE}\n}\n";
    assert!(with_forward(inner, SERVER).is_ok());
}

#[test]
fn half_a_block_is_refused() {
    for (text, line) in [
        ("# BEGIN causeway\n. {\n}\n", 1),
        (". {\n}\n# END causeway\n", 3),
        ("# BEGIN causeway\n# BEGIN causeway\n# END causeway\n", 2),
    ] {
        assert_eq!(without_forward(text), Err(CorefileError::Marker { line }));
        assert_eq!(
            with_forward(text, SERVER),
            Err(CorefileError::Marker { line })
        );
    }
}

proptest! {
    #[test]
    fn taking_out_gives_back_every_byte(text in "([a-z.:{} #\\r]{0,12}\n?){0,12}") {
        let with = with_forward(&text, SERVER);
        prop_assume!(with.is_ok());
        let with = with.unwrap();
        prop_assert_eq!(without_forward(&with).unwrap(), text);
        prop_assert_eq!(with_forward(&with, SERVER).unwrap(), with);
    }
}
