//! Status.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option::of as maybe;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

pub(in crate::wire::tests) fn session_status() -> impl Strategy<Value = SessionStatus> {
    (
        (
            gateway_name(),
            select(vec![Transport::Quic, Transport::Tcp]),
            "[0-9.]{1,9}:7443",
            any::<bool>(),
        ),
        (
            time(),
            any::<u16>(),
            any::<i64>(),
            maybe(time()),
            maybe(path()),
        ),
    )
        .prop_map(
            |(
                (gateway, transport, address, dialled),
                (since, version, clock_skew_ms, certificate_expires, path),
            )| {
                SessionStatus {
                    gateway,
                    transport,
                    address,
                    dialled,
                    since,
                    version,
                    clock_skew_ms,
                    certificate_expires,
                    path,
                }
            },
        )
}

fn path() -> impl Strategy<Value = PathStatus> {
    any::<(u64, u64, u64, (u16, u16), u16)>().prop_map(
        |(rtt_us, sent, lost, (mtu, link_mtu), connections)| PathStatus {
            rtt_us,
            sent,
            lost,
            mtu,
            link_mtu,
            connections,
        },
    )
}

pub(in crate::wire::tests) fn peer_status() -> impl Strategy<Value = PeerStatus> {
    (
        (
            peer_number(),
            maybe(peer_number()),
            liveness(),
            maybe(any::<u64>()),
            maybe(revision()),
            maybe(revision()),
        ),
        (
            vec(session_status(), 0..3),
            encryption(),
            vec(mapping(), 0..3),
            vec(address(), 0..3),
            any::<u32>(),
        ),
        (maybe(time()), maybe((time(), ".{0,9}"))),
    )
        .prop_map(|(a, b, c)| PeerStatus {
            number: a.0,
            our_number_there: a.1,
            liveness: a.2,
            age_ms: a.3,
            held: a.4,
            acknowledged: a.5,
            sessions: b.0,
            encryption: b.1,
            mappings: b.2,
            gateways: b.3,
            services: b.4,
            certificate_expires: c.0,
            last_error: c.1,
        })
}

fn node_status() -> impl Strategy<Value = NodeStatus> {
    (
        maybe(gateway_name()),
        maybe(any::<u64>()),
        any::<(bool, u64, u64, u32)>(),
        vec(problem(), 0..2),
    )
        .prop_map(
            |(gateway, age_ms, (current, flows, half_open, pods), problems)| NodeStatus {
                gateway,
                age_ms,
                current,
                flows,
                half_open,
                pods,
                hooks: BTreeMap::new(),
                problems,
            },
        )
}

pub(in crate::wire::tests) fn gateway_status() -> impl Strategy<Value = GatewayStatus> {
    (
        (
            cluster(),
            parsed("[a-z]{1,9}"),
            gateway_name(),
            "[0-9.]{1,5}",
            time(),
            time(),
            maybe(gateway_name()),
        ),
        (
            any::<u64>(),
            maybe(revision()),
            view_revision(),
            maybe(time()),
            maybe(time()),
            maybe(time()),
        ),
        (
            btree_map(cluster(), peer_status(), 0..3),
            btree_map(node_name(), node_status(), 0..3),
            any::<(u32, u32, u32)>(),
        ),
        (
            btree_map(service(), vec(conflict(), 0..3), 0..3),
            vec(condition(), 0..3),
            vec(problem(), 0..3),
        ),
        (
            btree_map((node_name(), "[A-Z][a-z]{1,9}"), any::<u64>(), 0..3),
            any::<bool>(),
        ),
    )
        .prop_map(|(a, b, c, d, e)| GatewayStatus {
            cluster: a.0,
            cluster_set: a.1,
            gateway: a.2,
            version: a.3,
            time: a.4,
            started: a.5,
            leader: a.6,
            epoch: b.0,
            revision: b.1,
            view: b.2,
            frozen_since: b.3,
            certificate_expires: b.4,
            ca_expires: b.5,
            peers: c.0,
            nodes: c.1,
            services: ServiceCounts {
                exported: c.2.0,
                imported: c.2.1,
                stale: c.2.2,
            },
            conflicts: d.0,
            conditions: d.1,
            problems: d.2,
            drops: e.0,
            policy_enforced: e.1,
        })
}

pub(in crate::wire::tests) fn service_statuses()
-> impl Strategy<Value = BTreeMap<ServiceName, ServiceStatus>> {
    let port = (
        maybe(parsed("[a-z]{1,4}")),
        protocol(),
        port(),
        btree_map(cluster(), any::<u32>(), 0..3),
    )
        .prop_map(|(name, protocol, port, targets)| PortStatus {
            name,
            protocol,
            port,
            targets,
        });
    let share = (address(), time(), any::<u32>(), liveness()).prop_map(
        |(vip, created, ready, liveness)| ShareStatus {
            vip,
            created,
            ready,
            liveness,
        },
    );
    let status = (
        (
            any::<(bool, bool, bool)>(),
            maybe(address()),
            vec(port, 0..3),
            btree_map(cluster(), share, 0..3),
        ),
        (
            vec(import_endpoint(), 0..3),
            vec(conflict(), 0..3),
            counters(),
        ),
    )
        .prop_map(
            |(
                ((headless, exported, stale), vip, ports, shares),
                (endpoints, conflicts, counters),
            )| {
                ServiceStatus {
                    headless,
                    vip,
                    ports,
                    shares,
                    endpoints,
                    exported,
                    stale,
                    conflicts,
                    counters,
                }
            },
        );
    btree_map(service(), status, 0..3)
}
