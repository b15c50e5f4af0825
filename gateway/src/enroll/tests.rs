use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn west() -> (ClusterId, ClusterSet) {
    ("west".parse().unwrap(), "prod".parse().unwrap())
}

fn opened() -> (TrustState, Enrolment) {
    let secret = Secret::new([3; 32]);
    let role = Role::parse("agent/w1").unwrap();
    let trust = open(
        &TrustState::default(),
        &role,
        &secret,
        Timestamp(NOW.0 + 60_000),
    );
    let request = Enrolment {
        id: token::id(&secret),
        secret: secret.expose().to_vec(),
        csr: Vec::new(),
    };
    (trust, request)
}

fn ask(trust: &TrustState, request: &Enrolment, now: u64) -> Result<TrustState, String> {
    let (own, set) = west();
    match enroll(trust, &own, &set, request, Timestamp(now)) {
        Ok((name, next)) => {
            assert_eq!(name.to_string(), "spiffe://west.prod/agent/w1");
            assert_eq!(next.version, trust.version + 1);
            Ok(next)
        }
        Err(e) => Err(e.to_string()),
    }
}

#[test]
fn a_file_is_good_for_one_certificate() {
    let (trust, request) = opened();
    let kept = trust.enrolments.values().next().unwrap();
    assert_eq!(kept.role, "agent/w1");
    let next = ask(&trust, &request, NOW.0).unwrap();
    assert_eq!(
        ask(&next, &request, NOW.0).unwrap_err(),
        "this enrolment is not open: its file was used before, was altered, or is of another cluster; make a new one with `causeway enroll`"
    );
}

#[test]
fn expired_and_altered() {
    let (trust, request) = opened();
    assert_eq!(
        ask(&trust, &request, NOW.0 + 120_000).unwrap_err(),
        "the enrolment of agent/w1 expired 60 s ago; make a new one with `causeway enroll`"
    );
    let altered = "the enrolment's secret was altered; make a new file with `causeway enroll`";
    // Knowing what an enrolment is called, as one who reads the state does, is not knowing its secret.
    let mut other = request.clone();
    other.secret = other.id.0.to_vec();
    assert_eq!(ask(&trust, &other, NOW.0).unwrap_err(), altered);
    other.secret.clear();
    assert_eq!(ask(&trust, &other, NOW.0).unwrap_err(), altered);
}

#[test]
fn renewal_is_of_the_same_name() {
    let (own, set) = west();
    let mut trust = TrustState::default();
    let name = |uri| PeerName::parse(uri, &set).unwrap();
    let ask = |trust: &TrustState, caller: &Caller| {
        renew(trust, &own, &set, caller, &[4], NOW)
            .map_or_else(|e| e.to_string(), |name| name.to_string())
    };
    let agent = Caller::Certified(name("spiffe://west.prod/agent/w1"));
    assert_eq!(ask(&trust, &agent), "spiffe://west.prod/agent/w1");
    assert_eq!(
        ask(&trust, &Caller::Socket),
        "renewing needs TLS and the present certificate; a process on this host shows none"
    );
    assert_eq!(
        ask(
            &trust,
            &Caller::Certified(name("spiffe://east.prod/gateway/e1"))
        ),
        "spiffe://east.prod/gateway/e1 is not of this cluster"
    );
    trust.withdrawn.insert(vec![4]);
    assert_eq!(
        ask(&trust, &agent),
        "the certificate of spiffe://west.prod/agent/w1 was withdrawn; enrol it again"
    );
}
