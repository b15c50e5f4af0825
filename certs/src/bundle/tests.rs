use proptest::prelude::*;

use super::*;
use crate::ca::Authority;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn bundle(cluster: &str, set: &str) -> TrustBundle {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, set) = (cluster.parse().unwrap(), set.parse().unwrap());
    Authority::open(dir.path(), &cluster, &set, NOW)
        .unwrap()
        .bundle(vec!["192.0.2.1:7443".to_owned()], NOW)
}

#[track_caller]
fn refused(bundle: &TrustBundle, expect: &str) {
    let got = check(bundle, &"prod".parse().unwrap(), NOW)
        .map_or_else(|e| e.to_string(), |()| "ok".to_owned());
    assert_eq!(got, expect);
}

#[test]
fn whole_or_refused() {
    let west = bundle("west", "prod");
    let east = bundle("east", "prod");
    refused(&west, "ok");
    refused(
        &TrustBundle {
            authorities: Vec::new(),
            ..west.clone()
        },
        "west: 0 CA certificates; 1 or 2 are expected",
    );
    refused(
        &TrustBundle {
            authorities: east.authorities.clone(),
            ..west.clone()
        },
        "the CA certificate offered for west is that of east",
    );
    let both = [west.authorities.clone(), east.authorities.clone()].concat();
    refused(
        &TrustBundle {
            authorities: both,
            ..west.clone()
        },
        "the CA certificate offered for west is that of east",
    );
    refused(
        &TrustBundle {
            authorities: vec![vec![0; 100]],
            ..west.clone()
        },
        "the CA certificate of west: not an X.509 certificate",
    );
    refused(
        &bundle("west", "test"),
        "the CA certificate of west: \"west.test\" is not of clusterset prod",
    );
    refused(
        &TrustBundle {
            catalog_key: east.catalog_key.clone(),
            ..west.clone()
        },
        "the catalog key of west: its certificate is that of spiffe://east.prod/catalog",
    );
    refused(
        &TrustBundle {
            gateways: vec!["192.0.2.1".to_owned()],
            ..west.clone()
        },
        "west: gateway \"192.0.2.1\" is not HOST:PORT",
    );
    refused(
        &TrustBundle {
            gateways: vec!["192.0.2.1:1".to_owned(); 9],
            ..west.clone()
        },
        "west: 9 gateways; at most 8 are taken",
    );
    let later = Timestamp(NOW.0 + 11 * 365 * 24 * 3_600_000);
    assert_eq!(
        check(&west, &"prod".parse().unwrap(), later)
            .unwrap_err()
            .to_string(),
        "the CA certificate of west does not hold at this time; compare both clusters' clocks"
    );
}

#[test]
fn host_and_port() {
    for good in [
        "a:1",
        "192.0.2.1:7443",
        "[2001:db8::1]:7443",
        "gw.example:65535",
    ] {
        assert!(is_host_port(good), "{good}");
    }
    for bad in [
        "",
        "a",
        "a:",
        ":1",
        "a:0",
        "a:70000",
        "a b:1",
        "2001:db8::1:7443:",
        "http://a:1",
    ] {
        assert!(!is_host_port(bad), "{bad}");
    }
}

#[test]
fn the_digest_covers_every_field() {
    let west = bundle("west", "prod");
    let mut seen = vec![digest(&west)];
    let mut differs = |change: &dyn Fn(&mut TrustBundle)| {
        let mut other = west.clone();
        change(&mut other);
        let digest = digest(&other);
        assert!(!seen.contains(&digest));
        seen.push(digest);
    };
    differs(&|b| b.cluster = "east".parse().unwrap());
    differs(&|b| b.authorities.push(Vec::new()));
    differs(&|b| b.authorities[0].push(0));
    differs(&|b| b.catalog_key.push(0));
    differs(&|b| b.gateways.clear());
    differs(&|b| b.gateways.push(String::new()));
    differs(&|b| {
        let key = std::mem::take(&mut b.catalog_key);
        b.authorities.push(key);
    });
}

static WEST: std::sync::LazyLock<TrustBundle> = std::sync::LazyLock::new(|| bundle("west", "prod"));

proptest! {
    #[test]
    fn never_panics(der in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, with: u8) {
        let mut west = WEST.clone();
        let mut altered = west.authorities[0].clone();
        let at = at.index(altered.len());
        altered[at] = with;
        west.authorities = vec![altered, der.clone()];
        west.catalog_key = der;
        prop_assert!(check(&west, &"prod".parse().unwrap(), NOW).is_err());
    }
}
