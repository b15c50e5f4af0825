use std::collections::BTreeMap;

use causeway_proto::model::{Revocation, Succession, TrustBundle, TrustState};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::*;
use crate::bundle::{BundleError, authority_digest, check, follows};
use crate::ca::{from_fields, to_fields};
use crate::catalog_key::verify_catalog;
use crate::cert::fingerprint;
use crate::name::Role;
use crate::trust::{Expect, Refused, Trust, Usage};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: u64 = 3600 * 1000;
/// Two years before the first one's end.
const OLD: Timestamp = Timestamp(NOW.0 + AUTHORITY_MS - DUE_MS + HOUR);

fn west() -> ClusterId {
    "west".parse().unwrap()
}

fn set() -> ClusterSet {
    "prod".parse().unwrap()
}

fn create() -> Authority {
    Authority::create(&west(), &set(), NOW).unwrap()
}

fn leaf(of: &Authority, now: Timestamp) -> Leaf {
    of.own_leaf(Role::Gateway("w1".parse().unwrap()), now)
        .unwrap()
}

fn bundle(of: &Authority, now: Timestamp) -> TrustBundle {
    of.bundle(Vec::new(), now)
}

/// Whether a peer that trusts that bundle takes that leaf.
fn takes(state: &TrustState, leaf: &Leaf, now: Timestamp) -> Result<(), Refused> {
    let trust = Trust::new("east".parse().unwrap(), set(), &[], state);
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.0));
    let (first, rest) = leaf.chain.split_first().unwrap();
    for usage in [Usage::Client, Usage::Server] {
        trust.prove(first, rest, usage, &Expect::AnyPeer, now)?;
    }
    Ok(())
}

fn trusting(bundle: TrustBundle) -> TrustState {
    TrustState {
        bundles: BTreeMap::from([(west(), bundle)]),
        ..TrustState::default()
    }
}

#[test]
fn each_takes_the_others_leaves_while_it_lasts() {
    let former = create();
    let present = former.rotate(OLD).unwrap();
    let leaves = [leaf(&former, OLD), leaf(&present, OLD)];
    let soon = Timestamp(OLD.0 + 20 * HOUR);
    let unaware = trusting(bundle(&former, OLD));
    let told = trusting(bundle(&present, soon));
    for leaf in &leaves {
        assert_eq!(takes(&unaware, leaf, soon), Ok(()));
        assert_eq!(takes(&told, leaf, soon), Ok(()));
    }

    // Whoever was away for years meanwhile still takes it; the former alone is of no use to who knows better.
    let over = Timestamp(present.overlap().unwrap().0 + 1);
    let later = Timestamp(OLD.0 + DUE_MS - 24 * HOUR);
    assert_eq!(takes(&unaware, &leaf(&present, later), later), Ok(()));
    let after = bundle(&present, over);
    assert_eq!(after.authorities.len(), 1);
    assert_eq!(check(&after, &set(), over), Ok(()));
    let after = trusting(after);
    assert_eq!(takes(&after, &leaf(&present, over), over), Ok(()));
    let stale = leaf(&former, over);
    assert!(matches!(
        takes(&after, &stale, over),
        Err(Refused::Chain { .. })
    ));
    // The cross certificate ends with the CA that signed it, and is not shown for longer.
    let end = Timestamp(NOW.0 + AUTHORITY_MS + HOUR);
    assert_eq!(leaf(&present, end).chain.len(), 2);
    assert_eq!(takes(&after, &leaf(&present, end), end), Ok(()));
}

#[test]
fn who_knows_the_former_is_convinced_of_the_present() {
    let former = create();
    let present = former.rotate(OLD).unwrap();
    let (before, now) = (bundle(&former, OLD), bundle(&present, OLD));
    assert_eq!(check(&now, &set(), OLD), Ok(()));
    assert!(follows(&now, &before) && follows(&now, &now));
    assert!(!follows(&before, &now));
    assert_ne!(authority_digest(&before), authority_digest(&now));

    // Catalogs of before and after are one cluster's.
    for (signer, knows) in [(&former, &now), (&present, &before)] {
        let signed = signer.catalog_key().sign(b"header").unwrap();
        assert_eq!(
            verify_catalog(knows, &set(), &west(), b"header", &signed),
            Ok(())
        );
    }
}

#[test]
fn nobody_makes_himself_the_successor() {
    let (former, thief) = (create(), create());
    let honest = bundle(&former.rotate(OLD).unwrap(), OLD);
    let forged = bundle(&thief.rotate(OLD).unwrap(), OLD);
    let known = bundle(&former, OLD);
    let succession = |former: &TrustBundle, cross: &TrustBundle| {
        let cross = &cross.succession.as_ref().unwrap().cross;
        Some(Succession {
            former: former.authorities.first().unwrap().clone(),
            cross: cross.clone(),
        })
    };
    // His CA after the real one; by the real one's word for another; with the real one's leaves as his own.
    let mut both = forged.clone();
    both.authorities.truncate(1);
    both.authorities
        .push(known.authorities.first().unwrap().clone());
    let mut alone = forged.clone();
    alone.authorities.truncate(1);
    for lie in [
        TrustBundle {
            succession: succession(&known, &forged),
            ..alone.clone()
        },
        TrustBundle {
            succession: succession(&known, &honest),
            ..alone.clone()
        },
        TrustBundle {
            authorities: both.authorities,
            ..alone.clone()
        },
        TrustBundle {
            succession: None,
            ..honest.clone()
        },
    ] {
        let found = check(&lie, &set(), OLD);
        assert_eq!(found, Err(BundleError::Succession(west())));
    }
    // Without that lie it convinces nobody who knows the cluster.
    assert_eq!(check(&forged, &set(), OLD), Ok(()));
    assert!(!follows(&forged, &known));
}

#[test]
fn cut_off_before_is_cut_off_after() {
    let former = create();
    let present = former.rotate(OLD).unwrap();
    let mut state = trusting(bundle(&present, OLD));
    let ca = fingerprint(former.certificate());
    state
        .revocations
        .insert(west(), Revocation { ca, time: OLD });
    for leaf in [leaf(&former, OLD), leaf(&present, OLD)] {
        assert_eq!(takes(&state, &leaf, OLD), Err(Refused::Revoked(west())));
    }
}

#[test]
fn one_at_a_time_and_when_it_is_due() {
    let first = create();
    assert!(!first.is_due(Timestamp(OLD.0 - 2 * HOUR)));
    assert!(first.is_due(OLD));
    let second = first.rotate(OLD).unwrap();
    assert!(!second.is_due(OLD));
    let error = second.rotate(Timestamp(OLD.0 + HOUR)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this CA took over from another one, whose certificates are in use for 1440 more minutes; it can be rotated again after that"
    );
    let third = second.rotate(second.overlap().unwrap()).unwrap();
    assert_eq!(bundle(&third, OLD).authorities.len(), 2);
}

#[test]
fn kept_whole_over_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Authority::open(dir.path(), &west(), &set(), OLD).unwrap();
    let former = open();
    let present = former.rotate(OLD).unwrap();
    // Between the two files.
    present.write_ca(dir.path()).unwrap();
    let found = open();
    assert_eq!(found.certificate(), present.certificate());
    assert_eq!(found.overlap(), present.overlap());
    assert_eq!(check(&bundle(&found, OLD), &set(), OLD), Ok(()));
    present.write_over(dir.path()).unwrap();
    assert_eq!(open().material(), present.material());

    let fields: BTreeMap<_, _> = to_fields(present.material()).into_iter().collect();
    let material = from_fields(|name| fields.get(name).map(|text| text.as_bytes())).unwrap();
    assert_eq!(&material, present.material());
    let again = Authority::from_material(&material, &west(), &set(), OLD).unwrap();
    assert_eq!(bundle(&again, OLD), bundle(&present, OLD));
    let torn = |name: &str| match name {
        "former.crt" => fields.get("ca.crt"),
        name => fields.get(name),
    };
    let torn = from_fields(|name| torn(name).map(|text| text.as_bytes()));
    let why = "the field former.crt is absent, or is not the PEM that it should be";
    assert_eq!(torn.unwrap_err().to_string(), why);
}

/// Strict readers of RFC 5280: the former allows one CA below it, the cross certificate none.
#[test]
fn the_former_may_have_a_ca_below_it() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let former = create();
    let present = former.rotate(OLD).unwrap();
    let cross = &present.material().succession.as_ref().unwrap().cross;
    let below = |der: &[u8]| {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        constraints.value.path_len_constraint
    };
    assert_eq!(below(former.certificate()), Some(1));
    assert_eq!(below(&CertificateDer::from(cross.as_slice())), Some(0));
}
