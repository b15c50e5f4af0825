use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::catalog_key::{CatalogVerifier, verify_catalog};
use crate::cert::peer_name;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn names(cluster: &str) -> (ClusterId, ClusterSet) {
    (cluster.parse().unwrap(), "prod".parse().unwrap())
}

fn open(dir: &Path, cluster: &str) -> Result<Authority, CaError> {
    let (cluster, set) = names(cluster);
    Authority::open(dir, &cluster, &set, NOW)
}

#[test]
fn secrets_are_drawn() {
    assert_ne!(Secret::random().unwrap(), Secret::random().unwrap());
}

#[test]
fn made_once_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca");
    let first = open(&path, "west").unwrap();
    let again = open(&path, "west").unwrap();
    assert_eq!(first.bundle(Vec::new(), NOW), again.bundle(Vec::new(), NOW));
    for file in ["ca.pem", "catalog.pem"] {
        let mode = std::fs::metadata(path.join(file)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{file}");
    }

    let e = open(&path, "east").unwrap_err().to_string();
    assert!(e.contains("belongs to cluster west"), "{e}");
    std::fs::set_permissions(path.join("ca.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let e = open(&path, "west").unwrap_err().to_string();
    assert!(e.contains("mode 644") && e.contains("chmod 600"), "{e}");
    std::fs::set_permissions(path.join("ca.pem"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(path.join("ca.pem"), "").unwrap();
    let e = open(&path, "west").unwrap_err().to_string();
    assert!(e.contains("does not hold a key"), "{e}");
}

#[test]
fn the_same_by_memory_secret_and_files() {
    let (west, set) = names("west");
    let first = Authority::create(&west, &set, NOW).unwrap();
    let fields: BTreeMap<_, _> = to_fields(first.material()).into_iter().collect();
    let material = from_fields(|name| fields.get(name).map(|text| text.as_bytes())).unwrap();
    assert_eq!(&material, first.material());
    let again = Authority::from_material(&material, &west, &set, NOW).unwrap();
    assert_eq!(first.bundle(Vec::new(), NOW), again.bundle(Vec::new(), NOW));

    let dir = tempfile::tempdir().unwrap();
    let load = || Authority::load(dir.path(), &west, &set, NOW).unwrap();
    assert!(load().is_none());
    open(dir.path(), "west").unwrap();
    again.write(dir.path()).unwrap();
    assert_eq!(load().unwrap().material(), first.material());
    Authority::remove(dir.path()).unwrap();
    assert!(load().is_none());
    Authority::remove(dir.path()).unwrap();
}

#[test]
fn material_that_is_not_of_one_piece() {
    let (west, set) = names("west");
    let first = Authority::create(&west, &set, NOW).unwrap();
    let other = Authority::create(&west, &set, NOW).unwrap();
    let check = |change: fn(&mut AuthorityMaterial, &AuthorityMaterial), cluster: &str| {
        let mut material = first.material().clone();
        change(&mut material, other.material());
        let made = Authority::from_material(&material, &cluster.parse().unwrap(), &set, NOW);
        made.unwrap_err().to_string()
    };
    assert_eq!(
        check(|_, _| (), "east"),
        "the CA is that of cluster west, and this is east"
    );
    assert_eq!(
        check(|m, other| m.key.clone_from(&other.key), "west"),
        "these are not a CA and its catalog key: the key is not that of the certificate"
    );
    assert_eq!(
        check(
            |m, other| m.catalog_key.clone_from(&other.catalog_key),
            "west"
        ),
        "the catalog key cannot be used for signing"
    );
    let swap = |m: &mut AuthorityMaterial, other: &AuthorityMaterial| {
        m.catalog_key.clone_from(&other.catalog_key);
        m.catalog_certificate.clone_from(&other.catalog_certificate);
    };
    assert_eq!(
        check(swap, "west"),
        "the catalog key of west: not issued by the CA of west"
    );
    let fields: BTreeMap<_, _> = to_fields(first.material()).into_iter().collect();
    for absent in fields.keys() {
        let field = |name: &str| fields.get(name).filter(|_| name != *absent);
        let e = from_fields(|name| field(name).map(|text| text.as_bytes())).unwrap_err();
        let e = e.to_string();
        assert!(e.contains(absent), "{e}");
    }
}

#[test]
fn a_ca_that_was_made_anew_does_not_take_the_old_catalog_key() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), "west").unwrap();
    std::fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let e = open(dir.path(), "west").unwrap_err().to_string();
    assert_eq!(e, "the catalog key of west: not issued by the CA of west");
}

#[test]
fn a_leaf_is_what_was_granted_whatever_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let west = open(dir.path(), "west").unwrap();
    let (cluster, set) = names("west");
    let name = PeerName::new(cluster, set.clone(), Role::parse("agent/w1").unwrap()).unwrap();

    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::new(vec!["kube-apiserver".to_owned()]).unwrap();
    greedy.subject_alt_names.push(SanType::URI(
        "spiffe://east.prod/gateway/e1".try_into().unwrap(),
    ));
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let csr = greedy.serialize_request(&key).unwrap().der().to_vec();
    let chain = west.issue(&csr, &name, NOW).unwrap();

    let leaf = CertificateDer::from(chain[0].as_slice());
    assert_eq!(peer_name(&leaf, &set).unwrap(), name);
    assert_eq!(chain[1], west.certificate().to_vec());
    assert!(authority_of(&leaf, &set).is_err());
    let validity = crate::cert::validity(&leaf).unwrap();
    assert_eq!(validity.not_after.since(NOW), LEAF_MS);
    assert_eq!(NOW.since(validity.not_before), crate::grant::BACKDATE_MS);
    assert_eq!(crate::cert::serial(&leaf).unwrap().len(), 16);
    let text = String::from_utf8_lossy(&leaf);
    assert!(!text.contains("kube-apiserver") && !text.contains("east"));
}

#[test]
fn requests_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let west = open(dir.path(), "west").unwrap();
    let name = |cluster: &str, role: &str| {
        let (cluster, set) = names(cluster);
        PeerName::new(cluster, set, Role::parse(role).unwrap()).unwrap()
    };
    let issue = |csr: &[u8], name: &PeerName| west.issue(csr, name, NOW).unwrap_err().to_string();
    let good = LeafRequest::new().unwrap();
    let agent = name("west", "agent/w1");
    let mut altered = good.csr().to_vec();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert_eq!(
        issue(&altered, &agent),
        "the signing request is refused: it is not one, or not signed by its own key"
    );
    assert!(issue(&[], &agent).contains("not one"));
    assert!(issue(&[0x30; 5000], &agent).contains("4 KiB"));
    assert!(issue(good.csr(), &name("east", "gateway/e1")).contains("another cluster"));
    assert!(issue(good.csr(), &name("west", "catalog")).contains("not given out"));
    let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let csr = CertificateParams::default().serialize_request(&ed).unwrap();
    assert!(issue(csr.der(), &agent).contains("P-256"));

    let other = LeafRequest::new().unwrap();
    let chain = west.issue(good.csr(), &agent, NOW).unwrap();
    let e = other.finish(chain).unwrap_err().to_string();
    assert!(e.contains("do not belong together"), "{e}");
}

#[test]
fn catalog_signatures() {
    let dir = tempfile::tempdir().unwrap();
    let west = open(&dir.path().join("w"), "west").unwrap();
    let east = open(&dir.path().join("e"), "east").unwrap();
    let (west_id, set) = names("west");
    let bundle = west.bundle(vec!["192.0.2.1:7443".to_owned()], NOW);
    let signature = west.catalog_key().sign(b"header").unwrap();
    let verify = |bundle: &TrustBundle, cluster: &str, bytes: &[u8], signature: &[u8]| {
        verify_catalog(bundle, &set, &cluster.parse().unwrap(), bytes, signature)
            .map_or_else(|e| e.to_string(), |()| "ok".to_owned())
    };
    let ours = "not signed by the catalog key of west";
    assert_eq!(verify(&bundle, "west", b"header", &signature), "ok");
    assert_eq!(verify(&bundle, "west", b"heador", &signature), ours);
    assert_eq!(verify(&bundle, "west", b"header", &[]), ours);
    let foreign = east.catalog_key().sign(b"header").unwrap();
    assert_eq!(verify(&bundle, "west", b"header", &foreign), ours);
    assert_eq!(
        verify(&bundle, "north", b"header", &signature),
        "the bundle of west does not speak for north"
    );

    let swap = |key: Vec<u8>| TrustBundle {
        catalog_key: key,
        ..bundle.clone()
    };
    assert_eq!(
        CatalogVerifier::new(&swap(east.catalog.certificate().to_vec()), &set)
            .unwrap_err()
            .to_string(),
        "its certificate is that of spiffe://east.prod/catalog"
    );
    let leaf = west
        .own_leaf(Role::parse("gateway/w1").unwrap(), NOW)
        .unwrap();
    assert_eq!(
        CatalogVerifier::new(&swap(leaf.chain[0].to_vec()), &set)
            .unwrap_err()
            .to_string(),
        "its certificate is that of spiffe://west.prod/gateway/w1"
    );
    // An east that calls its key west's.
    let forged = east_names_west(&east, &west_id, &set);
    assert_eq!(
        CatalogVerifier::new(&swap(forged), &set)
            .unwrap_err()
            .to_string(),
        "not issued by the CA of west"
    );
}

fn east_names_west(east: &Authority, west: &ClusterId, set: &ClusterSet) -> Vec<u8> {
    let leaf = new_catalog_key(west, set, &east.issuer, NOW).unwrap();
    leaf.chain[0].to_vec()
}
