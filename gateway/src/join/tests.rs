use std::sync::LazyLock;

use causeway_certs::ca::Authority;
use causeway_certs::token::JoinToken;
use causeway_proto::model::{IssuedToken, OfferedService, ProblemKind, Revocation};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const MINUTE: u64 = 60_000;
const EXPORTER: &[u8] = &[5; 32];

fn side_of(cluster: &str, set: &str) -> OwnSide {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, cluster_set) = (cluster.parse().unwrap(), set.parse().unwrap());
    let authority = Authority::open(dir.path(), &cluster, &cluster_set, NOW).unwrap();
    OwnSide {
        bundle: authority.bundle(vec!["192.0.2.1:7443".to_owned()], NOW),
        facts: JoinFacts {
            cluster,
            cluster_set,
            versions: (1, 1),
            time: NOW,
            prefixes: vec!["10.244.0.0/16".parse().unwrap()],
            vips: vec!["241.0.0.0/16".parse().unwrap()],
            plain_allowed: true,
            services: Default::default(),
        },
    }
}

fn side(cluster: &str) -> OwnSide {
    side_of(cluster, "prod")
}

/// East issues, west joins.
#[derive(Clone)]
struct Pairing {
    east: OwnSide,
    west: OwnSide,
    east_trust: TrustState,
    west_trust: TrustState,
    token: JoinToken,
}

fn pairing(for_cluster: Option<&str>) -> Pairing {
    let (east, west) = (side("east"), side("west"));
    let token = JoinToken {
        gateways: east.bundle.gateways.clone(),
        cluster_set: "prod".parse().unwrap(),
        issuer: "east".parse().unwrap(),
        pin: authority_digest(&east.bundle).unwrap(),
        secret: Secret::new([1; 32]),
        expires: Timestamp(NOW.0 + 15 * MINUTE),
        for_cluster: for_cluster.map(|c| c.parse().unwrap()),
    };
    let mut east_trust = TrustState::default();
    east_trust
        .tokens
        .insert(token::id(&token.secret), token.issued());
    Pairing {
        east,
        west,
        east_trust,
        west_trust: TrustState::default(),
        token,
    }
}

impl Pairing {
    fn request(&self, dry_run: bool) -> Redeem {
        request(&self.token, &self.west, EXPORTER, dry_run)
    }

    fn ask(&self, request: &Redeem) -> Result<Outcome, Refusal> {
        redeem(&self.east_trust, &self.east, request, EXPORTER, NOW)
    }

    fn read(&self, reply: &Redeemed) -> Result<Preflight, NotBelieved> {
        self.read_with(reply, (Vec::new(), Vec::new()))
    }

    fn read_with(
        &self,
        reply: &Redeemed,
        foretold: (Vec<Mapping>, Vec<Problem>),
    ) -> Result<Preflight, NotBelieved> {
        preflight(
            &self.west_trust,
            &self.token,
            &self.west,
            EXPORTER,
            reply,
            foretold,
            NOW,
        )
    }

    /// What the joiner's operator is shown, a line per finding.
    fn shown(&self, dry_run: bool) -> String {
        let before = self.east_trust.clone();
        let outcome = match self.ask(&self.request(dry_run)) {
            Ok(outcome) => outcome,
            Err(refusal) => return refusal.to_string(),
        };
        assert_eq!(before, self.east_trust);
        let found = self.read(&outcome.reply).unwrap();
        assert_eq!(
            outcome.trust.is_some(),
            !dry_run && outcome.reply.bundle.is_some()
        );
        let lines = found.findings.iter();
        lines
            .map(|f| format!("{:?} {}: {}\n", f.severity, f.subject, f.message))
            .collect()
    }
}

const PREFIXES: &str = "Warning encryption: packets between east and west would be plain and not authenticated: both say `encryption: off`\nNote prefixes: both use 10.244.0.0/16; each sees the other's addresses under a mapping of its own, nothing needs to change\n";

#[test]
fn where_the_peer_would_appear_is_shown_beforehand() {
    let p = pairing(None);
    let outcome = p.ask(&p.request(true)).unwrap();
    let mapping = Mapping {
        theirs: "10.244.0.0/16".parse().unwrap(),
        ours: "242.1.0.0/16".parse().unwrap(),
    };
    let problem = Problem {
        kind: ProblemKind::PoolFull,
        subject: "mapping pool".to_owned(),
        message: "no prefix left".to_owned(),
    };
    let found = p.read_with(&outcome.reply, (vec![mapping], vec![problem]));
    let found = found.unwrap();
    assert_eq!(found.mappings, [mapping]);
    let full = found.findings.iter().find(|f| f.subject == "mapping pool");
    assert_eq!(full.unwrap().severity, Severity::Warning);
    assert!(!found.refused());
}

#[test]
fn both_hold_each_other_and_the_token_is_burnt() {
    let mut p = pairing(Some("west"));
    assert_eq!(p.shown(true), PREFIXES, "the dry run burns nothing");
    let outcome = p.ask(&p.request(false)).unwrap();
    let kept = outcome.trust.unwrap();
    assert_eq!(kept.bundles[&p.west.facts.cluster], p.west.bundle);
    assert!(kept.tokens.is_empty());
    assert_eq!(kept.burnt.len(), 1);
    assert_eq!(kept.version, p.east_trust.version + 1);

    let found = p.read(&outcome.reply).unwrap();
    assert!(!found.refused());
    let ours = accept(&p.west_trust, &p.token, &outcome.reply, NOW).unwrap();
    assert_eq!(ours.bundles[&p.east.facts.cluster], p.east.bundle);
    assert_eq!(ours.version, 1);

    p.east_trust = kept;
    let used = "this join token was used before, and a token is good for one join; if that was not you, revoke the cluster that `causeway peers` shows on east, else create another with `causeway token create`";
    assert_eq!(p.shown(false), used);
    assert_eq!(p.shown(true), used);
}

#[test]
fn tokens_that_open_nothing() {
    let mut p = pairing(None);
    p.token.secret = Secret::new([2; 32]);
    assert_eq!(
        p.shown(false),
        "east knows no such join token: it was issued by another cluster, was withdrawn, or has long expired; create another with `causeway token create`"
    );

    let p = pairing(None);
    let late = |request: &Redeem, now: u64| {
        redeem(&p.east_trust, &p.east, request, EXPORTER, Timestamp(now))
    };
    let e = late(&p.request(false), NOW.0 + 16 * MINUTE).unwrap_err();
    assert_eq!(
        e.to_string(),
        "the join token expired 60 s ago by the clock of east; create another with `causeway token create`"
    );
    assert!(late(&p.request(false), NOW.0 + 15 * MINUTE - 1).is_ok());

    let proof = "the proof does not fit the join token: the token was altered, or the connection is not the one it was made for";
    let refused = |request: &Redeem| p.ask(request).unwrap_err().to_string();
    let other = request(&p.token, &p.west, &[6; 32], false);
    assert_eq!(refused(&other), proof);
    let mut swapped = p.request(false);
    swapped.bundle = Some(side("west").bundle);
    assert_eq!(refused(&swapped), proof, "somebody else's CA");
    let mut zero = p.request(false);
    zero.proof = [0; 32];
    assert_eq!(refused(&zero), proof);
}

#[test]
fn what_stands_in_the_way() {
    let p = pairing(Some("north"));
    assert_eq!(
        p.shown(false),
        format!("Refusal token: the join token is for cluster north, and this is west\n{PREFIXES}")
    );

    let mut p = pairing(None);
    p.west = side_of("west", "test");
    let shown = p.shown(false);
    assert!(
        shown.contains("Refusal clusterset: east is of clusterset prod, west of clusterset test\n"),
        "{shown}"
    );

    let mut p = pairing(None);
    p.west = side("east");
    let shown = p.shown(true);
    assert!(
        shown.contains("Refusal cluster id: both clusters are called east; ids are unique"),
        "{shown}"
    );

    // Somebody is called west already.
    let mut p = pairing(None);
    let other = side("west");
    let west = p.west.facts.cluster.clone();
    p.east_trust.bundles.insert(west.clone(), other.bundle);
    for dry_run in [true, false] {
        let shown = p.shown(dry_run);
        assert!(
            shown.contains(
                "Refusal cluster id: east already has a peer called west with another CA"
            ),
            "{shown}"
        );
    }
    // The same west again only brings its addresses up to date.
    p.east_trust
        .bundles
        .insert(west.clone(), p.west.bundle.clone());
    assert_eq!(p.shown(false), PREFIXES);

    // A west that was cut off, and its successor.
    p.east_trust.bundles.clear();
    let ca = authority_digest(&p.west.bundle).unwrap();
    let cut = Revocation { ca, time: NOW };
    p.east_trust.revocations.insert(west, cut);
    assert!(
        p.shown(false)
            .contains("Refusal revoked: west was revoked on east for good")
    );
    p.west = side("west");
    assert_eq!(p.shown(false), PREFIXES);
}

#[test]
fn the_joiner_refuses_too() {
    let mut p = pairing(None);
    let east = p.east.facts.cluster.clone();
    let impostor = side("east").bundle;
    p.west_trust.bundles.insert(east.clone(), impostor);
    assert!(
        p.shown(true)
            .contains("Refusal cluster id: west already has a peer called east with another CA")
    );
    p.west_trust.bundles.clear();
    let ca = p.token.pin;
    p.west_trust
        .revocations
        .insert(east, Revocation { ca, time: NOW });
    assert!(
        p.shown(true)
            .contains("Refusal revoked: east was revoked on west for good")
    );
}

#[test]
fn a_bundle_that_speaks_for_another() {
    let p = pairing(None);
    let mut west = p.west.clone();
    west.bundle.cluster = "north".parse().unwrap();
    let outcome = p.ask(&request(&p.token, &west, EXPORTER, false)).unwrap();
    assert!(outcome.trust.is_none() && outcome.reply.bundle.is_none());
    let found = outcome.reply.findings;
    let says = |text: &str| found.iter().any(|f| f.message == text);
    assert!(says("west offers the CA of north"), "{found:?}");
    assert!(
        says("the CA certificate offered for north is that of west"),
        "{found:?}"
    );
    let mut none = p.request(false);
    none.bundle = None;
    let key = token::proof_key(&p.token.secret);
    none.proof = token::proof(&key, Side::Joiner, EXPORTER, Digest::default(), p.token.pin);
    let outcome = p.ask(&none).unwrap();
    assert!(outcome.trust.is_none());
    assert_eq!(outcome.reply.findings[0].message, "the joiner sent no CA");
}

#[test]
fn facts_that_clash() {
    let (east, west) = (side("east").facts, side("west").facts);
    let says = |change: &dyn Fn(&mut JoinFacts)| {
        let mut peer = west.clone();
        peer.prefixes.clear();
        change(&mut peer);
        findings(&east, &peer)
            .iter()
            .filter(|f| !f.message.contains("would be plain"))
            .map(|f| format!("{:?} {}: {}", f.severity, f.subject, f.message))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(says(&|_| ()), "");
    assert_eq!(
        says(&|f| f.versions = (2, 3)),
        "Refusal version: west speaks versions 2 to 3, east speaks 1 to 1; upgrade the older one"
    );
    assert_eq!(says(&|f| f.time = Timestamp(NOW.0 + 4_999)), "");
    assert_eq!(
        says(&|f| f.time = Timestamp(NOW.0 - 8_000)),
        "Warning clock: the clocks of west and east are 8 s apart; synchronise them"
    );
    assert_eq!(
        says(&|f| f.time = Timestamp(0)),
        "Refusal clock: the clocks of west and east are 1800000000 s apart; synchronise them"
    );
    assert_eq!(
        says(&|f| f.plain_allowed = false),
        "Note encryption: packets would be encrypted: east says `encryption: off` and west does not"
    );
}

#[test]
fn services_that_clash() {
    let port = |name: Option<&str>, port| causeway_proto::model::ExportPort {
        name: name.map(|n| n.parse().unwrap()),
        protocol: causeway_proto::model::Protocol::Tcp,
        port,
        app_protocol: None,
    };
    let says = |ours: Vec<_>, theirs: Vec<_>, headless| {
        let (mut east, mut west) = (side("east").facts, side("west").facts);
        west.prefixes.clear();
        let name: causeway_proto::model::ServiceName = "shop/cart".parse().unwrap();
        let offer = |headless, ports| OfferedService { headless, ports };
        east.services.insert(name.clone(), offer(false, ours));
        west.services.insert(name, offer(headless, theirs));
        let found = findings(&east, &west);
        let found = found.iter().find(|f| f.subject.starts_with("service"));
        found.map(|f| f.message.clone())
    };
    let clash = Some(
        "both export it, with ports that clash; the oldest export's definition would hold"
            .to_owned(),
    );
    assert_eq!(
        says(vec![port(None, 80)], vec![port(None, 80)], false),
        None
    );
    assert_eq!(
        says(vec![port(Some("a"), 80)], vec![port(Some("b"), 81)], false),
        None
    );
    assert_eq!(
        says(vec![port(None, 80)], vec![port(None, 81)], false),
        clash
    );
    assert_eq!(
        says(vec![port(Some("a"), 80)], vec![port(Some("b"), 80)], false),
        clash
    );
    assert_eq!(
        says(vec![port(Some("a"), 80)], vec![port(Some("a"), 81)], false),
        clash
    );
    assert_eq!(
        says(vec![], vec![], true).unwrap(),
        "both export it, one of them headless; the oldest export's definition would hold"
    );
}

#[test]
fn replies_that_are_not_believed() {
    let p = pairing(None);
    let reply = p.ask(&p.request(false)).unwrap().reply;
    let accepted = |reply: &Redeemed| {
        p.read(reply)?;
        accept(&p.west_trust, &p.token, reply, NOW)
    };
    assert!(accepted(&reply).is_ok());

    let not_east =
        "the server does not know the join token's secret: it is not the east that issued it";
    let mut other = reply.clone();
    other.bundle = Some(side("east").bundle);
    assert_eq!(accepted(&other).unwrap_err().to_string(), not_east);
    let mut other = reply.clone();
    other.proof = [0; 32];
    assert_eq!(accepted(&other).unwrap_err().to_string(), not_east);
    let mut other = reply.clone();
    other.facts.cluster = "north".parse().unwrap();
    assert_eq!(
        accepted(&other).unwrap_err().to_string(),
        "the join token was issued by east, but north answered"
    );
    // One that knows the secret, and offers another CA than its own.
    let lie = |bundle: TrustBundle| {
        let key = token::proof_key(&p.token.secret);
        let (a, b) = (bundle::digest(&p.west.bundle), bundle::digest(&bundle));
        Redeemed {
            proof: token::proof(&key, Side::Issuer, EXPORTER, a, b),
            bundle: Some(bundle),
            ..reply.clone()
        }
    };
    assert_eq!(
        accepted(&lie(side("east").bundle)).unwrap_err().to_string(),
        "the CA that east sent is not the one that the join token pins"
    );
    assert_eq!(
        accepted(&lie(side("north").bundle))
            .unwrap_err()
            .to_string(),
        "the join token was issued by east, but north answered"
    );
    let dry = p.ask(&p.request(true)).unwrap().reply;
    assert_eq!(
        accepted(&dry).unwrap_err().to_string(),
        "east neither took nor refused the join token; is it of another version?"
    );
}

#[test]
fn what_is_over_is_forgotten_after_a_week() {
    let day = 24 * 60 * MINUTE;
    let mut trust = TrustState::default();
    for age in [0, 1, 8] {
        let expires = Timestamp(NOW.0 - age * day);
        let id = Digest([u8::try_from(age).unwrap(); 32]);
        trust.burnt.insert(id, expires);
        let token = IssuedToken {
            key: [0; 32],
            expires,
            for_cluster: None,
        };
        trust.tokens.insert(id, token);
    }
    prune(&mut trust, NOW);
    assert_eq!((trust.burnt.len(), trust.tokens.len()), (2, 2));
}

/// Made once: each CA is written to disk for good.
static SIDES: LazyLock<(Pairing, [OwnSide; 2])> =
    LazyLock::new(|| (pairing(None), [side("west"), side("north")]));

proptest! {
    /// Whatever happens, one token lets in one bundle, once.
    #[test]
    fn a_token_is_good_for_one_join(calls in prop::collection::vec((any::<bool>(), 0..2usize), 1..12)) {
        let (p, joiners) = &*SIDES;
        let mut p = p.clone();
        let mut joined = 0;
        for (dry_run, who) in calls {
            let request = request(&p.token, &joiners[who], EXPORTER, dry_run);
            match p.ask(&request) {
                Ok(outcome) => {
                    prop_assert_eq!(joined, 0);
                    if let Some(next) = outcome.trust {
                        prop_assert!(!dry_run);
                        p.east_trust = next;
                        joined += 1;
                    }
                }
                Err(refusal) => {
                    prop_assert_eq!(refusal, Refusal::Used(p.east.facts.cluster.clone()));
                    prop_assert_eq!(joined, 1);
                }
            }
            prop_assert_eq!(p.east_trust.bundles.len(), joined);
        }
    }
}
