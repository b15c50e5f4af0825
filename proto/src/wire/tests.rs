//! Round trips of every message, and what must be refused.

mod strategy;

use std::collections::BTreeMap;
use std::fmt::Debug;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::pb::{enrolment, federation, join, local, model as pb, status};
use super::{DESCRIPTORS, Encoded, InvalidWire};
use crate::limits;
use crate::model::*;

fn there_and_back<T, M>(value: &T) -> Result<(), TestCaseError>
where
    T: TryFrom<M, Error = InvalidWire> + PartialEq + Debug,
    M: prost::Message + Default + for<'a> From<&'a T>,
{
    let bytes = M::from(value).encode_to_vec();
    let message = M::decode(bytes.as_slice()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let back = T::try_from(message).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(&back, value);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exports(value in strategy::exports()) {
        there_and_back::<_, pb::Exports>(&value)?;
    }

    #[test]
    fn views(value in strategy::view()) {
        there_and_back::<_, pb::View>(&value)?;
        there_and_back::<_, local::WatchReply>(&value)?;
        prop_assert_eq!(View::from_bytes(&value.to_bytes()).ok(), Some(value));
    }

    #[test]
    fn parts(value in strategy::part()) {
        there_and_back::<_, pb::Part>(&value)?;
        let part = SignedPart {
            key: value.key(), salt: [1; 16], bytes: value.to_bytes(), proof: PartProof::default(),
        };
        prop_assert_eq!(part.open(), Ok(value));
    }

    #[test]
    fn frames(value in strategy::frame()) {
        there_and_back::<_, federation::Frame>(&value)?;
        prop_assert_eq!(value.bytes_len(), value.to_bytes().len());
    }

    #[test]
    fn allocations(value in strategy::allocations()) {
        there_and_back::<_, pb::Allocations>(&value)?;
    }

    #[test]
    fn trust(value in strategy::trust()) {
        there_and_back::<_, pb::TrustState>(&value)?;
    }

    #[test]
    fn reports(value in strategy::report()) {
        there_and_back::<_, local::ReportRequest>(&value)?;
    }

    #[test]
    fn follow(value in strategy::follow_request(), state in strategy::follow_state()) {
        there_and_back::<_, local::FollowRequest>(&value)?;
        there_and_back::<_, local::FollowReply>(&state)?;
    }

    #[test]
    fn lead(value in strategy::lead_request(), reply in strategy::lead_reply()) {
        there_and_back::<_, local::LeadRequest>(&value)?;
        there_and_back::<_, local::LeadReply>(&reply)?;
    }

    #[test]
    fn enrolling(value in strategy::token_enrolment(), reply in strategy::token_reply(), offer in strategy::offer_of_state()) {
        there_and_back::<_, enrolment::TokenEnrollRequest>(&value)?;
        there_and_back::<_, enrolment::TokenEnrollReply>(&reply)?;
        there_and_back::<_, enrolment::OfferRequest>(&offer)?;
    }

    #[test]
    fn joining(value in strategy::redeem(), reply in strategy::redeemed(), shown in strategy::preflight()) {
        there_and_back::<_, join::RedeemRequest>(&value)?;
        there_and_back::<_, join::RedeemReply>(&reply)?;
        there_and_back::<_, join::Preflight>(&shown)?;
    }

    #[test]
    fn statuses(value in strategy::gateway_status(), services in strategy::service_statuses()) {
        there_and_back::<_, status::GatewayStatus>(&value)?;
        there_and_back::<_, status::ListServicesReply>(&services)?;
    }

    #[test]
    fn bytes_of_anybody_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = Frame::from_bytes(&bytes);
        let _ = View::from_bytes(&bytes);
        let _ = Part::from_bytes(&bytes);
    }
}

fn check<T: Encoded + Debug>(message: &T::Message, expected: Expect)
where
    for<'a> T::Message: From<&'a T>,
{
    use prost::Message as _;
    let refused = T::from_bytes(&message.encode_to_vec()).unwrap_err();
    expected.assert_eq(&refused.to_string());
}

fn sample_view() -> pb::View {
    (&strategy::sample(&strategy::full_view())).into()
}

#[test]
fn truncated_bytes() {
    let bytes = strategy::sample(&strategy::full_view()).to_bytes();
    let refused = View::from_bytes(&bytes[..bytes.len() - 1]).unwrap_err();
    assert!(
        refused.to_string().contains("cannot be decoded"),
        "{refused}"
    );
}

#[test]
fn a_wrong_name_says_where() {
    let mut view = sample_view();
    view.imports[0].shares[0].cluster = "East".into();
    check::<View>(
        &view,
        expect![[
            r#"imports[0].shares[0].cluster cluster id "East" is not valid: one or two RFC 1123 labels joined by a dot, under 128 characters"#
        ]],
    );
}

#[test]
fn a_short_address() {
    let mut view = sample_view();
    view.exports[0].vip.pop();
    check::<View>(&view, expect!["exports[0].vip has 15 bytes, not 16"]);
}

#[test]
fn a_port_of_zero_and_one_too_great() {
    let mut view = sample_view();
    view.imports[0].ports[0].port = 0;
    check::<View>(
        &view,
        expect!["imports[0].ports[0].port is 0, not a port of 1 to 65535"],
    );
    view.imports[0].ports[0].port = 65_536;
    check::<View>(
        &view,
        expect!["imports[0].ports[0].port is 65536, not a port of 1 to 65535"],
    );
}

#[test]
fn an_unknown_value_of_an_enumeration() {
    let mut view = sample_view();
    view.peers[0].encryption = 9;
    check::<View>(
        &view,
        expect!["peers[0].encryption is 9, not one of the known values"],
    );
}

#[test]
fn a_repeated_key() {
    let mut view = sample_view();
    view.nodes.push(view.nodes[0].clone());
    let at = view.nodes.len() - 1;
    let refused = View::try_from(view).unwrap_err();
    assert_eq!(refused.to_string(), format!("nodes[{at}] repeats a key"));
}

#[test]
fn a_size_of_ring_that_does_not_exist() {
    let mut view = sample_view();
    view.exports[0].ports[0].generations[0].slots = 252;
    check::<View>(
        &view,
        expect!["exports[0].ports[0].generations[0].slots is 252, not a size class of rings"],
    );
}

#[test]
fn a_mapping_of_unequal_lengths() {
    let mut view = sample_view();
    let (theirs, ours) = ("10.244.0.0/16", "242.1.0.0/16");
    let (theirs, ours) = (theirs.parse().unwrap(), ours.parse().unwrap());
    view.self_map = vec![pb::Mapping::from(&Mapping { theirs, ours })];
    view.self_map[0].ours.as_mut().unwrap().bits = 113;
    check::<View>(
        &view,
        expect!["self_map[0] maps prefixes of different lengths"],
    );
}

#[test]
fn a_missing_message() {
    let mut view = sample_view();
    view.sync = None;
    check::<View>(&view, expect!["sync is missing"]);
}

#[test]
fn a_service_under_another_namespace() {
    let offer = strategy::sample(&strategy::offer());
    let part = NamespacePart {
        namespace: "other".parse().unwrap(),
        services: BTreeMap::from([("shop/cart".parse().unwrap(), offer)]),
        identities: BTreeMap::new(),
    };
    let message = pb::Part::from(&Part::Namespace(part));
    check::<Part>(
        &message,
        expect!["namespace holds what is of another namespace"],
    );
}

#[test]
fn a_part_under_another_key() {
    let part = SignedPart {
        key: PartKey::Namespace("shop".parse().unwrap()),
        salt: [0; 16],
        bytes: Part::Cluster(ClusterPart::default()).to_bytes(),
        proof: PartProof::default(),
    };
    expect!["part is another part than its key says"]
        .assert_eq(&part.open().unwrap_err().to_string());
}

#[test]
fn a_part_that_is_too_large() {
    let part = SignedPart {
        key: PartKey::Cluster,
        salt: [0; 16],
        bytes: vec![0; limits::PART_BYTES + 1],
        proof: PartProof::default(),
    };
    let message = federation::Frame::from(&Frame::SnapshotPart(part));
    check::<Frame>(
        &message,
        expect!["snapshot_part.part has 1032193, more than 1032192"],
    );
}

#[test]
fn the_largest_part_fits_a_frame() {
    let part = SignedPart {
        key: PartKey::Namespace("n".repeat(63).parse().unwrap()),
        salt: [0xff; 16],
        bytes: vec![0xff; limits::PART_BYTES],
        proof: PartProof {
            index: u32::MAX,
            path: vec![Digest([0xff; 32]); limits::PROOF_STEPS],
        },
    };
    assert!(Frame::SnapshotPart(part).bytes_len() <= limits::FRAME_BYTES);
}

#[test]
fn a_delta_without_a_start() {
    let mut delta = strategy::sample(&strategy::delta());
    delta.from = None;
    let message = federation::Frame::from(&Frame::Delta(delta));
    check::<Frame>(&message, expect!["delta.from is missing"]);
}

#[test]
fn a_long_complaint_is_cut() {
    let problem = Problem {
        kind: ProblemKind::BadManifest,
        subject: "a.yaml".into(),
        message: "\u{e9}".repeat(limits::TEXT_BYTES),
    };
    let back = Problem::try_from(pb::Problem::from(&problem)).unwrap();
    assert_eq!(back.message.len(), limits::TEXT_BYTES);
}

#[test]
fn an_appointment_without_a_term() {
    let mut message = local::Appointment {
        leader: "e1".into(),
        settings: Some((&ClusterSettings::default()).into()),
        ..Default::default()
    };
    check::<Appointment>(&message, expect!["term is 0, not above 0"]);
    message.term = 1;
    assert!(Appointment::try_from(message).is_ok());
}

#[test]
fn a_service_token_that_is_none() {
    let request = |token: String| {
        let read = TokenEnrolment::try_from(enrolment::TokenEnrollRequest {
            token,
            ..Default::default()
        });
        read.unwrap_err().to_string()
    };
    assert_eq!(request(String::new()), "token is missing");
    assert_eq!(
        request("x".repeat(limits::SERVICE_TOKEN_BYTES + 1)),
        "token has 16385, more than 16384"
    );
}

#[test]
fn an_empty_frame() {
    check::<Frame>(
        &federation::Frame::default(),
        expect!["the message is missing"],
    );
}

#[test]
fn descriptors_name_every_service() {
    let text = String::from_utf8_lossy(DESCRIPTORS);
    for service in [
        "Federation",
        "Local",
        "Enrolment",
        "Join",
        "Admin",
        "Status",
    ] {
        assert!(
            text.contains(service),
            "{service} is not in the descriptors"
        );
    }
}
