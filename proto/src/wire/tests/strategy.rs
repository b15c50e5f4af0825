//! Values of the model that are right, as wide as their types allow.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option::of as maybe;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::model::*;

pub(super) use catalog::*;
pub(super) use lead::*;
pub(super) use leader::*;
pub(super) use status::*;
pub(super) use view::*;

/// The same value in every run.
pub(super) fn sample<T>(strategy: &impl Strategy<Value = T>) -> T {
    strategy
        .new_tree(&mut TestRunner::deterministic())
        .unwrap()
        .current()
}

fn parsed<T>(regex: &'static str) -> impl Strategy<Value = T>
where
    T: std::str::FromStr<Err = InvalidName> + std::fmt::Debug,
{
    regex.prop_map(|s| s.parse().unwrap())
}

pub(super) fn cluster() -> impl Strategy<Value = ClusterId> {
    parsed("[a-z][a-z0-9]{0,9}(\\.[a-z]{1,5})?")
}

fn namespace() -> impl Strategy<Value = Namespace> {
    parsed("[a-z]{1,8}")
}

fn node_name() -> impl Strategy<Value = NodeName> {
    parsed("[a-z]{1,4}(\\.[a-z]{1,4})?")
}

fn gateway_name() -> impl Strategy<Value = GatewayName> {
    parsed("[a-z]{1,4}")
}

fn service() -> impl Strategy<Value = ServiceName> {
    parsed("[a-z]{1,5}/[a-z]{1,5}")
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 16]>().prop_map(Address::from_bytes)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn prefix_of(bits: u8) -> impl Strategy<Value = Prefix> {
    any::<[u8; 4]>().prop_map(move |[_, b, c, d]| {
        let all = u32::from_be_bytes([10, b, c, d]);
        let base = all & u32::MAX.checked_shl(u32::from(128 - bits)).unwrap_or(0);
        Prefix::new(std::net::Ipv4Addr::from(base).into(), bits).unwrap()
    })
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (104u8..=128).prop_flat_map(prefix_of)
}

fn mapping() -> impl Strategy<Value = Mapping> {
    (104u8..=128)
        .prop_flat_map(|bits| (prefix_of(bits), prefix_of(bits)))
        .prop_map(|(theirs, ours)| Mapping { theirs, ours })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

fn port() -> impl Strategy<Value = u16> {
    1u16..
}

fn peer_number() -> impl Strategy<Value = PeerNumber> {
    (1u16..=PeerNumber::MAX).prop_map(|n| n.try_into().unwrap())
}

fn target() -> impl Strategy<Value = PeerNumber> {
    (0u16..=PeerNumber::MAX).prop_map(|n| n.try_into().unwrap())
}

fn revision() -> impl Strategy<Value = Revision> {
    any::<(u64, u64)>().prop_map(|(epoch, number)| Revision { epoch, number })
}

fn view_revision() -> impl Strategy<Value = ViewRevision> {
    any::<(u64, u64)>().prop_map(|(instance, number)| ViewRevision { instance, number })
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[a-z]{1,5}", ".{0,5}", 0..3)
}

fn liveness() -> impl Strategy<Value = Liveness> {
    select(vec![Liveness::Live, Liveness::Suspect, Liveness::Withdrawn])
}

fn encryption() -> impl Strategy<Value = Encryption> {
    select(vec![
        Encryption::Plain,
        Encryption::Encrypted,
        Encryption::Unavailable,
    ])
}

fn state() -> impl Strategy<Value = EndpointState> {
    select(vec![
        EndpointState::Ready,
        EndpointState::Draining,
        EndpointState::NotReady,
    ])
}

fn affinity() -> impl Strategy<Value = Affinity> {
    prop_oneof![
        Just(Affinity::None),
        (1u32..=86_400).prop_map(|timeout_secs| Affinity::ClientIp { timeout_secs }),
    ]
}

fn loss() -> impl Strategy<Value = LossPolicy> {
    select(vec![
        LossPolicy::Withdraw,
        LossPolicy::Keep,
        LossPolicy::FailoverOnly,
    ])
}

/// One each, by number.
fn export_ports() -> impl Strategy<Value = Vec<ExportPort>> {
    btree_map((protocol(), port()), maybe("[a-z]{1,4}"), 0..4).prop_map(|ports| {
        let each = ports.into_iter().enumerate();
        each.map(|(i, ((protocol, port), app_protocol))| ExportPort {
            name: app_protocol
                .as_ref()
                .map(|_| format!("p{i}").parse().unwrap()),
            protocol,
            port,
            app_protocol,
        })
        .collect()
    })
}

type Traits = (
    Affinity,
    InternalTrafficPolicy,
    Option<String>,
    Vec<IpFamily>,
    BTreeMap<String, String>,
    BTreeMap<String, String>,
    Locality,
);

fn traits() -> impl Strategy<Value = Traits> {
    (
        affinity(),
        select(vec![
            InternalTrafficPolicy::Cluster,
            InternalTrafficPolicy::Local,
        ]),
        maybe("[A-Za-z]{0,12}"),
        vec(select(vec![IpFamily::IPv4, IpFamily::IPv6]), 0..=2),
        labels(),
        labels(),
        select(vec![Locality::LocalFirst, Locality::Spread]),
    )
}

macro_rules! with_traits {
    ($t:expr, $type:ident { $($rest:tt)* }) => {{
        let t: Traits = $t;
        $type {
            affinity: t.0,
            internal_traffic_policy: t.1,
            traffic_distribution: t.2,
            ip_families: t.3,
            labels: t.4,
            annotations: t.5,
            locality: t.6,
            $($rest)*
        }
    }};
}

mod catalog;
mod lead;
mod leader;
mod status;
mod view;

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let ports = vec((protocol(), port(), port()), 0..3);
    (
        address(),
        maybe("[a-z]{1,4}"),
        maybe(node_name()),
        maybe(parsed("[a-z]{1,4}")),
        state(),
        ports,
    )
        .prop_map(|(address, hostname, node, zone, state, ports)| Endpoint {
            address,
            hostname,
            node,
            zone,
            state,
            ports: ports
                .into_iter()
                .map(|(protocol, port, target)| EndpointPort {
                    protocol,
                    port,
                    target,
                })
                .collect(),
        })
}

fn export() -> impl Strategy<Value = Export> {
    let rest = (
        time(),
        any::<bool>(),
        export_ports(),
        loss(),
        any::<u16>(),
        vec(endpoint(), 0..3),
    );
    (traits(), rest).prop_map(
        |(t, (created, headless, ports, on_loss, weight, endpoints))| {
            with_traits!(
                t,
                Export {
                    created,
                    headless,
                    ports,
                    on_loss,
                    weight,
                    endpoints
                }
            )
        },
    )
}

fn workload() -> impl Strategy<Value = Workload> {
    (
        namespace(),
        "[a-z]{1,8}",
        "[a-z]{0,8}",
        labels(),
        maybe(node_name()),
    )
        .prop_map(
            |(namespace, name, service_account, labels, node)| Workload {
                namespace,
                name,
                service_account,
                labels,
                node,
            },
        )
}

fn node() -> impl Strategy<Value = Node> {
    (
        vec(address(), 0..3),
        vec(prefix(), 0..3),
        maybe(parsed("[a-z]{1,4}")),
    )
        .prop_map(|(addresses, pod_prefixes, zone)| Node {
            addresses,
            pod_prefixes,
            zone,
        })
}

pub(super) fn exports() -> impl Strategy<Value = Exports> {
    (
        btree_map(service(), export(), 0..3),
        btree_map(address(), workload(), 0..3),
        btree_map(namespace(), labels(), 0..3),
        btree_map(node_name(), node(), 0..3),
    )
        .prop_map(|(services, workloads, namespaces, nodes)| Exports {
            services,
            workloads,
            namespaces,
            nodes,
        })
}

fn identity_in(namespace: Namespace) -> impl Strategy<Value = Identity> {
    ("[a-z]{0,8}", labels()).prop_map(move |(service_account, labels)| Identity {
        namespace: namespace.clone(),
        service_account,
        labels,
    })
}

fn identity() -> impl Strategy<Value = Identity> {
    namespace().prop_flat_map(identity_in)
}

fn identity_number() -> impl Strategy<Value = IdentityNumber> {
    any::<u16>().prop_map(IdentityNumber)
}
