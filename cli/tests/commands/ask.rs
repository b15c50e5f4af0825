//! Names and addresses.

use expect_test::expect;

use crate::check;

#[test]
fn resolve() {
    check(
        &["resolve", "cart.shop.svc.clusterset.local"],
        expect![[r#"
            cart.shop.svc.clusterset.local.  5  A  241.0.0.5
        "#]],
    );
}

#[test]
fn resolve_in_json() {
    check(
        &["resolve", "cart.shop.svc.clusterset.local", "-o", "json"],
        expect![[r#"
            {
              "name": "cart.shop.svc.clusterset.local.",
              "kind": "A",
              "code": "NOERROR",
              "records": [
                {
                  "name": "cart.shop.svc.clusterset.local.",
                  "ttl_secs": 5,
                  "kind": "A",
                  "data": "241.0.0.5"
                }
              ]
            }
        "#]],
    );
}

#[test]
fn a_name_that_does_not_exist() {
    check(
        &["resolve", "none.shop.svc.clusterset.local"],
        expect![[r#"
            none.shop.svc.clusterset.local. A: NXDOMAIN, no records
            --- stderr
            causeway: none.shop.svc.clusterset.local. does not exist
              check: `causeway services` lists what is exported anywhere
            --- exit 4
        "#]],
    );
}

#[test]
fn a_name_that_cannot_be_decided_yet() {
    check(
        &["resolve", "later.shop.svc.clusterset.local"],
        expect![[r#"
            later.shop.svc.clusterset.local. A: SERVFAIL, no records
            --- stderr
            causeway: later.shop.svc.clusterset.local.: SERVFAIL
              check: the controller has not published yet, or a peer that never synced could change the answer: `causeway status`
            --- exit 1
        "#]],
    );
}

#[test]
fn whois() {
    check(
        &["whois", "242.1.0.6"],
        expect![[r#"
        242.1.0.6          a peer's pod or node, as it appears here
          cluster          east
          its own address  10.244.0.6
          namespace        shop
          service account  client
          identity         7
    "#]],
    );
}

#[test]
fn whois_in_json() {
    check(
        &["whois", "242.1.0.6", "-o", "json"],
        expect![[r#"
        {
          "address": "242.1.0.6",
          "meanings": [
            {
              "kind": "mapped",
              "cluster": "east",
              "owner_address": "10.244.0.6",
              "namespace": "shop",
              "service_account": "client",
              "identity": 7
            }
          ]
        }
    "#]],
    );
}

#[test]
fn an_address_that_means_nothing() {
    check(
        &["whois", "192.0.2.1"],
        expect![[r#"
        --- stderr
        causeway: 192.0.2.1 means nothing here
        --- exit 4
    "#]],
    );
}

#[test]
fn no_address() {
    check(
        &["whois", "cart"],
        expect![[r#"
        --- stderr
        error: invalid value 'cart' for '<ADDRESS>': "cart" is not an IP address

        For more information, try '--help'.
        --- exit 2
    "#]],
    );
}
