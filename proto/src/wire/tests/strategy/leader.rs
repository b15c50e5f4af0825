//! What the leader keeps, reports, local calls, joining.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of as maybe;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

pub(in crate::wire::tests) fn allotted<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Allotted<T>> {
    (value, maybe(time())).prop_map(|(value, freed)| Allotted { value, freed })
}

pub(in crate::wire::tests) fn allocations() -> impl Strategy<Value = Allocations> {
    let peer = (peer_number(), vec(mapping(), 0..3))
        .prop_map(|(number, mappings)| PeerAllotment { number, mappings });
    (
        any::<(u64, u64, [u8; 16])>(),
        btree_map(service(), allotted(address()), 0..3),
        btree_map(cluster(), allotted(peer), 0..3),
        vec(mapping(), 0..3),
        btree_map(identity_number(), allotted(identity()), 0..3),
        btree_map(service(), backend_ports(), 0..3),
        btree_map(part_key(), any::<[u8; 16]>(), 0..3),
        btree_map(node_name(), allotted(address()), 0..3),
    )
        .prop_map(
            |((epoch, version, seed), vips, peers, self_map, identities, rings, salts, nodes)| {
                Allocations {
                    epoch,
                    version,
                    vips,
                    nodes,
                    peers,
                    self_map,
                    identities,
                    rings,
                    seed,
                    salts,
                }
            },
        )
}

pub(in crate::wire::tests) fn der() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

pub(in crate::wire::tests) fn bundle() -> impl Strategy<Value = TrustBundle> {
    (
        cluster(),
        vec(der(), 1..3),
        der(),
        vec("[a-z]{1,5}:7443", 0..3),
        maybe(succession()),
    )
        .prop_map(
            |(cluster, authorities, catalog_key, gateways, succession)| TrustBundle {
                cluster,
                authorities,
                catalog_key,
                gateways,
                succession,
            },
        )
}

pub(super) fn succession() -> impl Strategy<Value = Succession> {
    (der(), der()).prop_map(|(former, cross)| Succession { former, cross })
}

pub(in crate::wire::tests) fn trust() -> impl Strategy<Value = TrustState> {
    let token =
        (any::<[u8; 32]>(), time(), maybe(cluster())).prop_map(|(key, expires, for_cluster)| {
            IssuedToken {
                key,
                expires,
                for_cluster,
            }
        });
    let enrolment =
        ("agent/[a-z]{1,3}", time()).prop_map(|(role, expires)| IssuedEnrolment { role, expires });
    (
        any::<u64>(),
        vec(bundle(), 0..3),
        btree_map(cluster(), revocation(), 0..3),
        btree_map(digest(), time(), 0..3),
        btree_map(digest(), token, 0..3),
        btree_map(digest(), enrolment, 0..3),
        btree_set(der(), 0..3),
        btree_map(cluster(), cluster(), 0..3),
        btree_set(cluster(), 0..3),
    )
        .prop_map(
            |(
                version,
                bundles,
                revocations,
                burnt,
                tokens,
                enrolments,
                withdrawn,
                introduced,
                parted,
            )| {
                TrustState {
                    version,
                    bundles: bundles
                        .into_iter()
                        .map(|b| (b.cluster.clone(), b))
                        .collect(),
                    revocations,
                    burnt,
                    tokens,
                    enrolments,
                    withdrawn,
                    introduced,
                    parted,
                }
            },
        )
}

pub(in crate::wire::tests) fn counters() -> impl Strategy<Value = ServiceCounters> {
    any::<(u64, u64, u64, u64)>().prop_map(|(packets, bytes, flows, rejected)| ServiceCounters {
        packets,
        bytes,
        flows,
        rejected,
    })
}

pub(in crate::wire::tests) fn report() -> impl Strategy<Value = Report> {
    (
        (
            node_name(),
            time(),
            maybe(view_revision()),
            any::<(u64, u64)>(),
        ),
        btree_map("[A-Z][a-z]{1,9}", any::<u64>(), 0..3),
        btree_map(service(), counters(), 0..3),
        btree_map(cluster(), time(), 0..3),
        btree_map(address(), "veth[0-9]{1,3}", 0..3),
        btree_map("[a-z]{1,5}", "[a-z]{1,5}", 0..3),
        (vec(problem(), 0..3), vec(check(), 0..3)),
    )
        .prop_map(
            |((node, time, programmed, flows), drops, services, heard, pods, hooks, wrong)| {
                Report {
                    node,
                    time,
                    programmed,
                    drops,
                    services,
                    heard,
                    pods,
                    flows,
                    hooks,
                    problems: wrong.0,
                    checks: wrong.1,
                }
            },
        )
}

pub(in crate::wire::tests) fn check() -> impl Strategy<Value = Check> {
    let kind = select(vec![
        CheckKind::Udp,
        CheckKind::ReversePath,
        CheckKind::Agent,
    ]);
    let outcome = select(vec![Outcome::Passed, Outcome::Failed, Outcome::Skipped]);
    (".{0,9}", kind, ".{0,9}", outcome, ".{0,9}", ".{0,9}").prop_map(
        |(place, kind, subject, outcome, message, advice)| Check {
            place,
            kind,
            subject,
            outcome,
            message,
            advice,
        },
    )
}

pub(in crate::wire::tests) fn follow_request() -> impl Strategy<Value = FollowRequest> {
    let address = ("[a-z]{1,5}:7443", address())
        .prop_map(|(session, tunnel)| GatewayAddress { session, tunnel });
    let rest = (node_name(), address, maybe(allocations()), maybe(trust()));
    let hello = (gateway_name(), any::<(u64, u64)>(), rest).prop_map(
        |(gateway, (epoch, instance), (node, address, allocations, trust))| FollowHello {
            gateway,
            epoch,
            instance,
            node,
            address,
            allocations,
            trust,
        },
    );
    prop_oneof![
        hello.prop_map(FollowRequest::Hello),
        any::<u64>().prop_map(FollowRequest::Ack),
        report().prop_map(FollowRequest::Report),
        btree_map(cluster(), any::<u16>(), 0..3).prop_map(FollowRequest::Carries),
    ]
}

fn own_gateway() -> impl Strategy<Value = OwnGateway> {
    (node_name(), btree_map(cluster(), any::<u16>(), 0..3))
        .prop_map(|(node, carries)| OwnGateway { node, carries })
}

pub(in crate::wire::tests) fn publication() -> impl Strategy<Value = Publication> {
    (exports(), vec(condition(), 0..3), vec(problem(), 0..3)).prop_map(
        |(exports, conditions, problems)| Publication {
            exports,
            conditions,
            problems,
        },
    )
}

pub(in crate::wire::tests) fn follow_state() -> impl Strategy<Value = FollowState> {
    let parts = (
        maybe(publication()),
        maybe(allocations()),
        maybe(trust()),
        maybe(delta()),
        vec(report(), 0..2),
        btree_map(gateway_name(), own_gateway(), 0..3),
    );
    (any::<(u64, u64)>(), gateway_name(), time(), parts).prop_map(
        |(
            (sequence, epoch),
            leader,
            time,
            (publication, allocations, trust, catalog, reports, gateways),
        )| {
            FollowState {
                sequence,
                leader,
                epoch,
                time,
                publication,
                allocations,
                trust,
                catalog,
                reports,
                gateways,
            }
        },
    )
}

pub(in crate::wire::tests) fn facts() -> impl Strategy<Value = JoinFacts> {
    let offered = (any::<bool>(), export_ports())
        .prop_map(|(headless, ports)| OfferedService { headless, ports });
    (
        (cluster(), parsed("[a-z]{1,9}"), 1u16..9, 9u16..),
        (
            time(),
            (vec(prefix(), 0..3), vec(prefix(), 0..3)),
            any::<bool>(),
            btree_map(service(), offered, 0..3),
        ),
    )
        .prop_map(
            |(
                (cluster, cluster_set, min, max),
                (time, (prefixes, vips), plain_allowed, services),
            )| {
                JoinFacts {
                    cluster,
                    cluster_set,
                    versions: (min, max),
                    time,
                    prefixes,
                    vips,
                    plain_allowed,
                    services,
                }
            },
        )
}

pub(in crate::wire::tests) fn findings() -> impl Strategy<Value = Vec<Finding>> {
    let severity = select(vec![Severity::Note, Severity::Warning, Severity::Refusal]);
    let finding = (severity, ".{0,9}", ".{0,9}").prop_map(|(severity, subject, message)| Finding {
        severity,
        subject,
        message,
    });
    vec(finding, 0..3)
}

pub(in crate::wire::tests) fn redeem() -> impl Strategy<Value = Redeem> {
    (
        digest(),
        any::<[u8; 32]>(),
        any::<bool>(),
        facts(),
        maybe(bundle()),
    )
        .prop_map(|(token, proof, dry_run, facts, bundle)| Redeem {
            token,
            proof,
            dry_run,
            facts,
            bundle,
        })
}

pub(in crate::wire::tests) fn redeemed() -> impl Strategy<Value = Redeemed> {
    (any::<[u8; 32]>(), facts(), findings(), maybe(bundle())).prop_map(
        |(proof, facts, findings, bundle)| Redeemed {
            proof,
            facts,
            findings,
            bundle,
        },
    )
}

pub(in crate::wire::tests) fn preflight() -> impl Strategy<Value = Preflight> {
    (facts(), findings(), any::<i64>(), vec(mapping(), 0..3)).prop_map(
        |(peer, findings, clock_skew_ms, mappings)| Preflight {
            peer,
            findings,
            clock_skew_ms,
            mappings,
        },
    )
}
