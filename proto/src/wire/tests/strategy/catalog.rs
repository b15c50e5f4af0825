//! What peers may know, and frames.

use std::collections::BTreeSet;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of as maybe;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::limits;
use crate::wire::Encoded;

pub(in crate::wire::tests) fn headless_endpoint() -> impl Strategy<Value = HeadlessEndpoint> {
    let ports = vec((protocol(), port(), port()), 0..3);
    (address(), maybe("[a-z]{1,4}"), ports).prop_map(|(address, hostname, ports)| {
        HeadlessEndpoint {
            address,
            hostname,
            ports,
        }
    })
}

pub(in crate::wire::tests) fn offer() -> impl Strategy<Value = ServiceOffer> {
    let ready = btree_map(maybe(parsed("[a-z]{1,4}")), any::<u32>(), 0..3);
    let first = (time(), address(), any::<bool>(), export_ports(), ready);
    let ids = btree_set(identity_number(), 0..3);
    let rest = (ids, vec(headless_endpoint(), 0..3), loss(), any::<u16>());
    (traits(), first, rest).prop_map(
        |(
            t,
            (created, vip, headless, ports, ready),
            (backend_identities, endpoints, on_loss, weight),
        )| {
            with_traits!(
                t,
                ServiceOffer {
                    created,
                    vip,
                    headless,
                    ports,
                    ready,
                    backend_identities,
                    endpoints,
                    on_loss,
                    weight,
                }
            )
        },
    )
}

pub(in crate::wire::tests) fn revocation() -> impl Strategy<Value = Revocation> {
    (digest(), time()).prop_map(|(ca, time)| Revocation { ca, time })
}

pub(in crate::wire::tests) fn cluster_part() -> impl Strategy<Value = ClusterPart> {
    let gateway = ("[a-z]{1,5}:7443", address())
        .prop_map(|(session, tunnel)| GatewayAddress { session, tunnel });
    let introductions = vec(bundle(), 0..3).prop_map(|bundles| {
        let named = bundles.into_iter();
        named.map(|b| (b.cluster.clone(), b)).collect()
    });
    (
        btree_map(gateway_name(), gateway, 0..3),
        btree_map(node_name(), vec(address(), 0..3), 0..3),
        vec(prefix(), 0..3),
        btree_set(cluster(), 0..3),
        btree_map(cluster(), peer_number(), 0..3),
        btree_map(cluster(), revocation(), 0..3),
        introductions,
    )
        .prop_map(
            |(gateways, nodes, prefixes, plain_with, numbers, revocations, introductions)| {
                ClusterPart {
                    gateways,
                    nodes,
                    prefixes,
                    plain_with,
                    numbers,
                    revocations,
                    introductions,
                }
            },
        )
}

pub(in crate::wire::tests) fn part() -> impl Strategy<Value = Part> {
    let of_namespace = namespace().prop_flat_map(|namespace| {
        let (held, here) = (namespace.clone(), namespace.clone());
        let services = btree_map("[a-z]{1,5}", offer(), 0..3).prop_map(move |offers| {
            let named = offers.into_iter();
            named
                .map(|(name, offer)| (ServiceName::new(here.clone(), &name).unwrap(), offer))
                .collect()
        });
        let identities = btree_map(identity_number(), identity_in(namespace), 0..3);
        (services, identities).prop_map(move |(services, identities)| NamespacePart {
            namespace: held.clone(),
            services,
            identities,
        })
    });
    prop_oneof![
        cluster_part().prop_map(Part::Cluster),
        of_namespace.prop_map(Part::Namespace)
    ]
}

pub(in crate::wire::tests) fn part_key() -> impl Strategy<Value = PartKey> {
    prop_oneof![
        Just(PartKey::Cluster),
        namespace().prop_map(PartKey::Namespace)
    ]
}

pub(in crate::wire::tests) fn proof() -> impl Strategy<Value = PartProof> {
    (any::<u32>(), vec(digest(), 0..4)).prop_map(|(index, path)| PartProof { index, path })
}

pub(in crate::wire::tests) fn signed_part() -> impl Strategy<Value = SignedPart> {
    (
        part_key(),
        any::<[u8; 16]>(),
        vec(any::<u8>(), 0..20),
        proof(),
    )
        .prop_map(|(key, salt, bytes, proof)| SignedPart {
            key,
            salt,
            bytes,
            proof,
        })
}

pub(in crate::wire::tests) fn signed_header() -> impl Strategy<Value = SignedHeader> {
    let parts = 0..=u32::try_from(limits::PARTS).unwrap();
    let header = (cluster(), revision(), time(), digest(), digest(), parts).prop_map(
        |(cluster, revision, time, previous, root, parts)| Header {
            cluster,
            revision,
            time,
            previous,
            root,
            parts,
        },
    );
    (header, vec(any::<u8>(), 0..70)).prop_map(|(header, signature)| SignedHeader {
        bytes: header.to_bytes(),
        header,
        signature,
    })
}

pub(in crate::wire::tests) fn delta() -> impl Strategy<Value = CatalogDelta> {
    (
        signed_header(),
        btree_map(part_key(), signed_part(), 0..3),
        btree_set(part_key(), 0..3),
    )
        .prop_map(|(header, parts, removed)| {
            let keys: BTreeSet<_> = parts.keys().cloned().collect();
            let parts = parts
                .into_iter()
                .map(|(key, part)| SignedPart { key, ..part });
            CatalogDelta {
                from: Some(header.header.revision),
                header,
                parts: parts.collect(),
                removed: removed.difference(&keys).cloned().collect(),
            }
        })
}

pub(in crate::wire::tests) fn held() -> impl Strategy<Value = Held> {
    (revision(), digest()).prop_map(|(revision, digest)| Held { revision, digest })
}

pub(in crate::wire::tests) fn hello() -> impl Strategy<Value = Hello> {
    let who = (
        cluster(),
        parsed("[a-z]{1,9}"),
        gateway_name(),
        1u16..9,
        9u16..,
    );
    let rest = (
        btree_set("[a-z]{1,5}", 0..3),
        time(),
        maybe(peer_number()),
        any::<bool>(),
        maybe(held()),
        any::<u64>(),
    );
    (who, rest).prop_map(
        |(
            (cluster, cluster_set, gateway, min, max),
            (features, time, number_for_you, plain_allowed, held, instance),
        )| {
            Hello {
                cluster,
                cluster_set,
                gateway,
                versions: (min, max),
                features,
                time,
                number_for_you,
                plain_allowed,
                held,
                instance,
            }
        },
    )
}

pub(in crate::wire::tests) fn frame() -> impl Strategy<Value = Frame> {
    let nack = (
        revision(),
        select(vec![
            NackReason::BadProof,
            NackReason::TwoStories,
            NackReason::UnknownBase,
        ]),
        ".{0,9}",
    )
        .prop_map(|(revision, reason, message)| Nack {
            revision,
            reason,
            message,
        });
    let bye = (
        select(vec![
            ByeReason::Shutdown,
            ByeReason::Left,
            ByeReason::Replaced,
        ]),
        0..=limits::BYE_LEASE_MS,
        ".{0,9}",
    )
        .prop_map(|(reason, lease_ms, message)| Bye {
            reason,
            lease_ms,
            message,
        });
    prop_oneof![
        any::<u64>().prop_map(Frame::Diagnose),
        (any::<u64>(), vec(check(), 0..3)).prop_map(|(id, found)| Frame::Diagnosed(id, found)),
        hello().prop_map(Frame::Hello),
        signed_header().prop_map(Frame::Header),
        (maybe(digest()), time(), any::<bool>()).prop_map(|(newest, time, leaving)| Frame::Beat(
            Beat {
                newest,
                time,
                leaving
            }
        )),
        signed_header().prop_map(|header| Frame::SnapshotBegin(SnapshotBegin { header })),
        signed_part().prop_map(Frame::SnapshotPart),
        revision().prop_map(|revision| Frame::SnapshotEnd(SnapshotEnd { revision })),
        delta().prop_map(Frame::Delta),
        Just(Frame::Want(Want::Snapshot)),
        held().prop_map(|held| Frame::Want(Want::Since(held))),
        btree_set(part_key(), 0..3).prop_map(|keys| Frame::Want(Want::Parts(keys))),
        held().prop_map(|held| Frame::Ack(Ack { held })),
        nack.prop_map(Frame::Nack),
        bye.prop_map(Frame::Bye),
    ]
}
