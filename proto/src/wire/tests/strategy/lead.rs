//! Appointments, and certificates for service account tokens.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of as maybe;
use proptest::prelude::*;

use super::*;

fn address_text() -> impl Strategy<Value = String> {
    "[a-z]{1,5}:7444"
}

fn authority() -> impl Strategy<Value = AuthorityMaterial> {
    (der(), der(), der(), der(), maybe(succession())).prop_map(
        |(certificate, key, catalog_certificate, catalog_key, succession)| AuthorityMaterial {
            certificate,
            key,
            catalog_certificate,
            catalog_key,
            succession,
        },
    )
}

fn leader_state() -> impl Strategy<Value = LeaderState> {
    (maybe(authority()), maybe(allocations()), maybe(trust())).prop_map(
        |(authority, allocations, trust)| LeaderState {
            authority,
            allocations,
            trust,
        },
    )
}

fn settings() -> impl Strategy<Value = ClusterSettings> {
    let peer = (maybe(any::<bool>()), vec(prefix(), 0..3))
        .prop_map(|(plain, native)| PeerSettings { plain, native });
    (
        any::<bool>(),
        btree_map(cluster(), peer, 0..3),
        vec(prefix(), 0..3),
        vec(prefix(), 0..3),
        vec(prefix(), 0..3),
        port(),
        maybe(btree_set(cluster(), 0..3)),
    )
        .prop_map(
            |(plain, peers, pod_prefixes, vips, mappings, tunnel_port, introduced)| {
                ClusterSettings {
                    plain,
                    peers,
                    pod_prefixes,
                    vips,
                    mappings,
                    tunnel_port,
                    introduced,
                }
            },
        )
}

pub(in crate::wire::tests) fn lead_request() -> impl Strategy<Value = LeadRequest> {
    let appointment = (
        1u64..,
        gateway_name(),
        address_text(),
        any::<u64>(),
        settings(),
        maybe(leader_state()),
    )
        .prop_map(
            |(term, leader, leader_address, epoch, settings, state)| Appointment {
                term,
                leader,
                leader_address,
                epoch,
                settings,
                state,
            },
        );
    prop_oneof![
        appointment.prop_map(LeadRequest::Appointment),
        any::<u64>().prop_map(LeadRequest::Kept),
    ]
}

fn lead_hello() -> impl Strategy<Value = LeadHello> {
    (
        (gateway_name(), node_name(), address_text()),
        any::<(u64, (u64, u64), u64)>(),
        maybe(gateway_name()),
        any::<(bool, bool, Option<u64>)>(),
        (maybe(digest()), any::<bool>()),
    )
        .prop_map(|((gateway, node, local_address), seen, leader, now, ca)| {
            let (epoch, held, term) = seen;
            let (leads, draining, unheard_ms) = now;
            LeadHello {
                gateway,
                node,
                local_address,
                epoch,
                held,
                term,
                leader,
                leads,
                draining,
                unheard_ms,
                authority: ca.0,
                rotate_authority: ca.1,
            }
        })
}

pub(in crate::wire::tests) fn lead_reply() -> impl Strategy<Value = LeadReply> {
    let keep = (any::<(u64, u64)>(), maybe(allocations()), maybe(trust())).prop_map(
        |((sequence, epoch), allocations, trust)| Keep {
            sequence,
            epoch,
            allocations,
            trust,
        },
    );
    let refused = (any::<u64>(), maybe(gateway_name()), ".{0,9}")
        .prop_map(|(term, leader, why)| LeadRefused { term, leader, why });
    prop_oneof![
        lead_hello().prop_map(LeadReply::Hello),
        keep.prop_map(LeadReply::Keep),
        refused.prop_map(LeadReply::Refused),
    ]
}

pub(in crate::wire::tests) fn token_enrolment() -> impl Strategy<Value = TokenEnrolment> {
    (
        "[a-z.]{1,9}",
        der(),
        "agent/[a-z]{1,3}",
        maybe(any::<u64>()),
    )
        .prop_map(|(token, csr, role, held_epoch)| TokenEnrolment {
            token,
            csr,
            role,
            held_epoch,
        })
}

pub(in crate::wire::tests) fn token_reply() -> impl Strategy<Value = TokenEnrolReply> {
    let certificate = (vec(der(), 1..3), vec(der(), 1..3))
        .prop_map(|(chain, authorities)| IssuedCertificate { chain, authorities });
    let enrolled = (
        certificate,
        cluster(),
        parsed("[a-z]{1,9}"),
        vec(address_text(), 0..3),
    )
        .prop_map(|(certificate, cluster, cluster_set, gateways)| Enrolled {
            certificate,
            cluster,
            cluster_set,
            gateways,
        });
    prop_oneof![
        enrolled.prop_map(TokenEnrolReply::Enrolled),
        Just(TokenEnrolReply::WantState),
    ]
}

pub(in crate::wire::tests) fn offer_of_state() -> impl Strategy<Value = Offer> {
    (
        "[a-z.]{1,9}",
        "gateway/[a-z]{1,3}",
        any::<u64>(),
        leader_state(),
    )
        .prop_map(|(token, role, epoch, state)| Offer {
            token,
            role,
            epoch,
            state,
        })
}
