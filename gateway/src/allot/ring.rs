//! Pure: ring generations of own exports' ports. A change of the members makes a new generation; the last ones
//! stay, so that a flow finds the endpoint that it had.

use std::collections::{BTreeMap, BTreeSet};

use causeway_proto::limits::{ENDPOINTS_PER_SERVICE, GENERATIONS};
use causeway_proto::model::{
    Allocations, BackendPort, Endpoint, EndpointKey, EndpointState, Export, Exports, Generation,
    Member, Problem, ProblemKind, Protocol, ServiceName,
};

/// Slots of a ring: primes, each about four times the one before.
pub const SIZE_CLASSES: [u32; 5] = [251, 1021, 4093, 16381, 65537];
/// Slots per member that a new ring has at least: shares within about a hundredth.
const SLOTS_PER_MEMBER: u32 = 100;
/// Slots per member under which a ring grows; the distance to the above is the hysteresis.
const SLOTS_PER_MEMBER_LEAST: u32 = 80;

pub(super) fn allot(next: &mut Allocations, exports: &Exports, problems: &mut Vec<Problem>) {
    // Numbers are never reused while the service's VIP is remembered.
    let Allocations { vips, rings, .. } = next;
    rings.retain(|name, _| vips.contains_key(name));
    for (name, export) in &exports.services {
        if !vips.contains_key(name) {
            continue;
        }
        check(name, export, problems);
        let held = rings.entry(name.clone()).or_default();
        for port in &export.ports {
            let key = (port.protocol, port.port);
            advance(held.entry(key).or_default(), export, key);
        }
        let live: BTreeSet<_> = export.ports.iter().map(|p| (p.protocol, p.port)).collect();
        for (key, port) in held.iter_mut() {
            if !live.contains(key) {
                close(port);
            }
        }
    }
    for (name, ports) in rings.iter_mut() {
        if !exports.services.contains_key(name) {
            ports.values_mut().for_each(close);
        }
    }
}

fn check(name: &ServiceName, export: &Export, problems: &mut Vec<Problem>) {
    let subject = format!("ServiceExport {name}");
    let nowhere = export.endpoints.iter().filter(|e| e.node.is_none()).count();
    if nowhere > 0 {
        problems.push(Problem {
            kind: ProblemKind::BadObject,
            subject: subject.clone(),
            message: format!(
                "{nowhere} endpoints name no node and get nothing; set nodeName in the EndpointSlice"
            ),
        });
    }
    if export.endpoints.len() > ENDPOINTS_PER_SERVICE {
        problems.push(Problem {
            kind: ProblemKind::LimitReached,
            subject,
            message: format!("only the first {ENDPOINTS_PER_SERVICE} endpoints are used"),
        });
    }
}

/// The members that `export` gives a port, by state.
fn members(
    export: &Export,
    (protocol, port): (Protocol, u16),
    wanted: impl Fn(&Endpoint) -> bool,
) -> BTreeMap<EndpointKey, Member> {
    let mut found = BTreeMap::new();
    for endpoint in export.endpoints.iter().take(ENDPOINTS_PER_SERVICE) {
        let Some(node) = endpoint.node.as_ref().filter(|_| wanted(endpoint)) else {
            continue;
        };
        let served =
            |p: &&causeway_proto::model::EndpointPort| (p.protocol, p.port) == (protocol, port);
        for served in endpoint.ports.iter().filter(served) {
            let key = EndpointKey {
                address: endpoint.address,
                protocol,
                port: served.target,
            };
            found.entry(key).or_insert_with(|| Member {
                key,
                node: node.clone(),
                weight: 1,
            });
        }
    }
    found
}

fn advance(held: &mut BackendPort, export: &Export, key: (Protocol, u16)) {
    let ready = members(export, key, |e| e.state == EndpointState::Ready);
    let ready: Vec<Member> = ready.into_values().collect();
    push(held, ready);
    // Who once was in a kept ring keeps its flows for as long as it is there at all.
    let known: BTreeSet<EndpointKey> = held
        .generations
        .iter()
        .flat_map(|g| g.members.iter().map(|m| m.key))
        .collect();
    let mut rest = members(export, key, |e| e.state == EndpointState::Draining);
    let unready = members(export, key, |e| e.state == EndpointState::NotReady);
    rest.extend(unready.into_iter().filter(|(k, _)| known.contains(k)));
    let newest = held.generations.first();
    let in_ring = |k: &EndpointKey| newest.is_some_and(|g| g.members.iter().any(|m| m.key == *k));
    rest.retain(|k, _| !in_ring(k));
    held.draining = rest.into_values().collect();
}

/// A port that is offered no more.
fn close(held: &mut BackendPort) {
    push(held, Vec::new());
    held.draining.clear();
}

fn push(held: &mut BackendPort, members: Vec<Member>) {
    let newest = held.generations.first();
    if newest.is_some_and(|g| g.members == members) {
        return;
    }
    let number = newest.map_or(0, |g| g.number).saturating_add(1);
    let before = newest.map_or(0, |g| g.slots);
    let slots = size_class(before, members.len());
    let generation = Generation {
        number,
        slots,
        members,
    };
    held.generations.insert(0, generation);
    held.generations.truncate(GENERATIONS);
}

/// The smallest class that fits; one that was reached is kept.
#[must_use]
pub fn size_class(before: u32, members: usize) -> u32 {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    if before > 0 && before >= members.saturating_mul(SLOTS_PER_MEMBER_LEAST) {
        return before;
    }
    let want = members.saturating_mul(SLOTS_PER_MEMBER);
    let fits = SIZE_CLASSES.iter().find(|c| **c >= want);
    let [.., largest] = SIZE_CLASSES;
    fits.copied().unwrap_or(largest).max(before)
}
