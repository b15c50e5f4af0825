//! Views.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of as maybe;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::limits;

pub(in crate::wire::tests) fn problem() -> impl Strategy<Value = Problem> {
    let kinds = select(vec![
        ProblemKind::BadManifest,
        ProblemKind::PoolFull,
        ProblemKind::PeerFault,
        ProblemKind::Frozen,
    ]);
    (kinds, ".{0,9}", ".{0,9}").prop_map(|(kind, subject, message)| Problem {
        kind,
        subject,
        message,
    })
}

pub(in crate::wire::tests) fn condition() -> impl Strategy<Value = Condition> {
    let status = select(vec![
        ConditionStatus::True,
        ConditionStatus::False,
        ConditionStatus::Unknown,
    ]);
    (".{0,9}", ".{0,9}", status, ".{0,9}", ".{0,9}").prop_map(
        |(object, kind, status, reason, message)| Condition {
            object,
            kind,
            status,
            reason,
            message,
        },
    )
}

pub(in crate::wire::tests) fn conflict() -> impl Strategy<Value = Conflict> {
    let field = select(vec![
        ConflictField::Port,
        ConflictField::Type,
        ConflictField::IpFamily,
    ]);
    (field, cluster(), ".{0,9}", any::<u32>(), any::<u32>()).prop_map(
        |(field, winner, value, disagree, of)| Conflict {
            field,
            winner,
            value,
            disagree,
            of,
        },
    )
}

pub(in crate::wire::tests) fn member() -> impl Strategy<Value = Member> {
    (address(), protocol(), port(), node_name(), 1u16..).prop_map(
        |(address, protocol, port, node, weight)| Member {
            key: EndpointKey {
                address,
                protocol,
                port,
            },
            node,
            weight,
        },
    )
}

pub(in crate::wire::tests) fn members() -> impl Strategy<Value = Vec<Member>> {
    vec(member(), 1..4).prop_map(|mut members| {
        members.sort_by_key(|m| m.key);
        members.dedup_by_key(|m| m.key);
        members
    })
}

pub(in crate::wire::tests) fn backend_port() -> impl Strategy<Value = BackendPort> {
    let generations = vec(
        (select(limits::RING_SLOTS.to_vec()), members()),
        1..=limits::GENERATIONS,
    );
    (generations, vec(member(), 0..2)).prop_map(|(generations, draining)| BackendPort {
        generations: (0..100)
            .rev()
            .zip(generations)
            .map(|(number, (slots, members))| Generation {
                number,
                slots,
                members,
            })
            .collect(),
        draining,
    })
}

pub(in crate::wire::tests) fn backend_ports()
-> impl Strategy<Value = BTreeMap<(Protocol, u16), BackendPort>> {
    btree_map((protocol(), port()), backend_port(), 1..3)
}

pub(in crate::wire::tests) fn import_endpoint() -> impl Strategy<Value = ImportEndpoint> {
    let ports = vec((protocol(), port(), port()), 0..3);
    (cluster(), "[a-z]{1,9}", address(), ports).prop_map(|(cluster, hostname, address, ports)| {
        ImportEndpoint {
            cluster,
            hostname,
            address,
            ports,
        }
    })
}

pub(in crate::wire::tests) fn import_ports() -> impl Strategy<Value = Vec<ImportPort>> {
    let value = (maybe("[a-z]{1,4}"), btree_map(target(), 1u32.., 0..3));
    btree_map((protocol(), port()), value, 1..3).prop_map(|ports| {
        ports
            .into_iter()
            .map(|((protocol, port), (text, targets))| ImportPort {
                name: text.as_ref().map(|t| t.parse().unwrap()),
                protocol,
                port,
                app_protocol: text,
                targets,
            })
            .collect()
    })
}

pub(in crate::wire::tests) fn import() -> impl Strategy<Value = Import> {
    let ports = btree_set((protocol(), port()), 0..3);
    let share = (target(), address(), time(), any::<u32>(), liveness(), ports);
    let share = share.prop_map(
        |(number, vip, created, ready, liveness, ports)| ImportShare {
            number,
            vip,
            created,
            ready,
            liveness,
            ports,
        },
    );
    let rest = (
        any::<bool>(),
        maybe(address()),
        import_ports(),
        btree_map(cluster(), share, 1..3),
        vec(import_endpoint(), 0..3),
        any::<bool>(),
    );
    (traits(), rest).prop_map(|(t, (headless, vip, ports, shares, endpoints, stale))| {
        with_traits!(
            t,
            Import {
                headless,
                vip,
                ports,
                shares,
                endpoints,
                stale
            }
        )
    })
}

pub(in crate::wire::tests) fn own_export() -> impl Strategy<Value = OwnExport> {
    let headless = (
        address(),
        node_name(),
        vec((protocol(), port()), 0..3),
        state(),
    )
        .prop_map(|(address, node, ports, state)| OwnHeadless {
            address,
            node,
            ports,
            state,
        });
    (
        address(),
        any::<bool>(),
        backend_ports(),
        vec(headless, 0..3),
        affinity(),
    )
        .prop_map(
            |(vip, headless, ports, headless_endpoints, affinity)| OwnExport {
                vip,
                headless,
                ports,
                headless_endpoints,
                affinity,
            },
        )
}

pub(in crate::wire::tests) fn peer_view() -> impl Strategy<Value = PeerView> {
    (
        (
            peer_number(),
            maybe(peer_number()),
            vec(mapping(), 0..3),
            vec(address(), 0..3),
            (vec(address(), 0..3), vec(address(), 0..3)),
            (btree_set(gateway_name(), 0..3), maybe(any::<u16>())),
        ),
        (
            btree_set(node_name(), 0..3),
            encryption(),
            liveness(),
            maybe(time()),
        ),
    )
        .prop_map(
            |(
                (
                    number,
                    our_number_there,
                    mappings,
                    gateways,
                    (silent_gateways, nodes),
                    (carried_by, mtu),
                ),
                (acknowledged_nodes, encryption, liveness, heard),
            )| {
                PeerView {
                    number,
                    our_number_there,
                    mappings,
                    gateways,
                    silent_gateways,
                    carried_by,
                    mtu,
                    nodes,
                    acknowledged_nodes,
                    encryption,
                    liveness,
                    heard,
                }
            },
        )
}

pub(in crate::wire::tests) fn view_with(n: usize) -> impl Strategy<Value = View> {
    let maps = (
        btree_map(service(), import(), n..3),
        btree_map(service(), own_export(), n..3),
        btree_map(service(), vec(conflict(), 0..3), n..3),
        btree_map(cluster(), peer_view(), n..3),
        btree_map(node_name(), node(), n..3),
        btree_map(gateway_name(), node_name(), n..3),
        btree_map(address(), (identity_number(), maybe(node_name())), n..3),
        btree_map(identity_number(), identity(), n..3),
        btree_map(node_name(), address(), n..3),
    );
    let lists = (
        btree_set(namespace(), 0..3),
        vec(mapping(), n..3),
        vec(prefix(), 0..3),
        vec(prefix(), 0..3),
        vec(problem(), 0..3),
        vec(condition(), 0..3),
        btree_set(cluster(), 0..3),
    );
    let rest = (
        view_revision(),
        cluster(),
        parsed("[a-z]{1,9}"),
        any::<[u8; 16]>(),
        port(),
        any::<bool>(),
        maybe(time()),
    );
    (maps, lists, rest).prop_map(|(m, l, r)| View {
        revision: r.0,
        cluster: r.1,
        cluster_set: r.2,
        imports: m.0,
        exports: m.1,
        conflicts: m.2,
        peers: m.3,
        nodes: m.4,
        node_addresses: m.8,
        gateways: m.5,
        namespaces: l.0,
        workloads: m.6,
        identities: m.7,
        self_map: l.1,
        vip_pool: l.2,
        mapping_pool: l.3,
        seed: r.3,
        tunnel_port: r.4,
        sync: SyncState {
            local: r.5,
            missing: l.6,
        },
        frozen_since: r.6,
        problems: l.4,
        conditions: l.5,
    })
}

pub(in crate::wire::tests) fn view() -> impl Strategy<Value = View> {
    view_with(0)
}

/// At least one of everything that has a key.
pub(in crate::wire::tests) fn full_view() -> impl Strategy<Value = View> {
    view_with(1)
}
