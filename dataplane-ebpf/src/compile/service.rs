//! Pure: frontends with their two stages: ring over clusters, ring over own endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_abi::{
    Frontend, NO_ORDINAL, OrdinalKey, Reverse, RingRef, Slot, V6, frontend_flags, protocol,
};
use causeway_proto::model::{
    Address, Affinity, BackendPort, Import, OwnExport, PeerNumber, ProblemKind, Protocol,
    ServiceName,
};

use super::ids::{Ids, Rings};
use super::{Compiler, wide};
use crate::diff::ordinals;
use crate::image::{FrontendKey, ReverseKey, RingSlots, Table};
use crate::maglev::{self, Ring};

/// What a frontend shall be.
#[derive(Default)]
struct Wanted<'a> {
    service: Option<&'a ServiceName>,
    /// Weight of each cluster.
    targets: BTreeMap<PeerNumber, u32>,
    /// Each cluster's own VIP.
    vips: BTreeMap<PeerNumber, Address>,
    backends: Option<&'a BackendPort>,
    exported: bool,
    affinity_secs: u32,
}

/// Numbers given out in this step.
struct Numbers {
    ports: Ids,
    services: Ids,
    held_services: BTreeMap<V6, u32>,
    /// By an endpoint that is dialled by its own address.
    held_headless: BTreeMap<V6, u32>,
    rings: Rings,
    /// Stage-one rings made in this step: many services have the same clusters.
    clusters: BTreeMap<BTreeMap<PeerNumber, u32>, RingSlots>,
}

/// Whether the programs carry it.
pub(super) fn carried(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp)
}

/// The protocol under which echo to an address is found.
pub(super) fn echo(address: Address) -> u8 {
    if address.is_v4() {
        protocol::ICMP
    } else {
        protocol::ICMP6
    }
}

pub(super) fn key(address: Address, protocol: u8, port: u16) -> FrontendKey {
    FrontendKey {
        address: wide(address),
        port: port.to_be_bytes(),
        protocol,
        reserved: 0,
    }
}

impl Compiler<'_> {
    pub(super) fn services(&mut self) {
        let view = self.view;
        let mut wanted: BTreeMap<FrontendKey, Wanted<'_>> = BTreeMap::new();
        for (name, import) in &view.imports {
            self.import(&mut wanted, name, import);
        }
        for (name, export) in &view.exports {
            export_ports(&mut wanted, name, export);
        }
        let held = &self.held.image;
        let port_ids = held.members.keys().chain(held.backends.keys());
        let taken = held.frontends.values().map(|f| f.port_id);
        let in_use = held.frontends.values().map(|f| f.service);
        let in_use = in_use.chain(held.local_backends.values().map(|b| b.service));
        let mut numbers = Numbers {
            ports: Ids::new(
                taken.chain(port_ids.map(|k| k.port_id)).collect(),
                1,
                u32::MAX,
            ),
            // Index 0 counts what has no index of its own.
            services: Ids::new(in_use.collect(), 1, causeway_abi::limits::SERVICES),
            held_services: held
                .frontends
                .iter()
                .map(|(k, f)| (k.address, f.service))
                .collect(),
            held_headless: held
                .local_backends
                .iter()
                .filter(|(key, backend)| key.address == backend.address)
                .map(|(key, backend)| (key.address, backend.service))
                .collect(),
            rings: Rings::new(held),
            clusters: BTreeMap::new(),
        };
        let mut indices: BTreeMap<&ServiceName, u32> = BTreeMap::new();
        for (key, wanted) in &wanted {
            let Some(service) = wanted.service else {
                continue;
            };
            let index = *indices
                .entry(service)
                .or_insert_with(|| numbers.service(key.address));
            self.frontend(*key, wanted, index, &mut numbers);
        }
        for (name, export) in &view.exports {
            if !export.headless {
                continue;
            }
            let index = match indices.get(name) {
                Some(index) => *index,
                None => numbers.headless(export, &indices),
            };
            indices.insert(name, index);
            self.headless(name, export, index);
        }
        self.services = indices.into_iter().map(|(n, i)| (i, n.clone())).collect();
        self.services.remove(&0);
    }

    fn import<'v>(
        &mut self,
        wanted: &mut BTreeMap<FrontendKey, Wanted<'v>>,
        name: &'v ServiceName,
        import: &'v Import,
    ) {
        self.not_carried(name, import);
        let Some(vip) = import.vip else { return };
        let vips: BTreeMap<PeerNumber, Address> = import
            .shares
            .values()
            .filter(|share| share.vip.is_v4() == vip.is_v4())
            .map(|share| (share.number, share.vip))
            .collect();
        for (number, theirs) in &vips {
            self.reverse(name, *number, *theirs, vip);
        }
        let affinity_secs = match import.affinity {
            Affinity::None => 0,
            Affinity::ClientIp { timeout_secs } => timeout_secs,
        };
        let mut echo = BTreeMap::new();
        let ports = import.ports.iter().filter(|p| carried(p.protocol));
        for port in ports {
            let mut targets = port.targets.clone();
            if self.facts.spread {
                let ready = import.shares.values().filter(|share| share.ready > 0);
                targets = ready.map(|share| (share.number, 1)).collect();
            }
            targets.retain(|number, weight| *weight > 0 && self.reachable(*number, &vips));
            for (number, weight) in &targets {
                let most = echo.entry(*number).or_insert(0);
                *most = (*weight).max(*most);
            }
            let entry = wanted.entry(key(vip, port.protocol.number(), port.port));
            entry.or_insert_with(|| Wanted {
                service: Some(name),
                targets,
                vips: vips.clone(),
                affinity_secs,
                ..Wanted::default()
            });
        }
        let echoes = key(vip, self::echo(vip), 0);
        wanted.entry(echoes).or_insert_with(|| Wanted {
            service: Some(name),
            targets: echo,
            vips,
            ..Wanted::default()
        });
    }

    /// Names what the programs do not know yet.
    fn not_carried(&mut self, name: &ServiceName, import: &Import) {
        let ports = import.ports.iter().filter(|p| !carried(p.protocol));
        let missing: Vec<String> = ports
            .map(|p| format!("{}/{}", p.port, p.protocol))
            .collect();
        if !missing.is_empty() {
            self.problem(
                ProblemKind::BadObject,
                format!("service {name}"),
                format!(
                    "the programs carry TCP and UDP only, not {}",
                    missing.join(", ")
                ),
            );
        }
    }

    /// Whether packets for that cluster have somewhere to go.
    fn reachable(&self, number: PeerNumber, vips: &BTreeMap<PeerNumber, Address>) -> bool {
        let route = u32::from(number.number());
        vips.contains_key(&number)
            && (number == PeerNumber::OWN || self.image.routes.contains_key(&route))
    }

    fn reverse(&mut self, name: &ServiceName, number: PeerNumber, theirs: Address, own: Address) {
        if number != PeerNumber::OWN {
            let key = ReverseKey {
                peer: u32::from(number.number()).to_be_bytes(),
                vip: wide(theirs),
            };
            let entry = (key, Reverse { vip: wide(own) });
            let reverse = &mut self.image.reverse;
            self.overflow.put(Table::Reverse, reverse, entry, name);
        }
    }

    fn frontend(&mut self, key: FrontendKey, wanted: &Wanted<'_>, service: u32, n: &mut Numbers) {
        let Some(name) = wanted.service else { return };
        let held = self.held.image.frontends.get(&key);
        let Some(port_id) = held.map(|f| f.port_id).or_else(|| n.ports.take()) else {
            return;
        };
        let mut frontend = Frontend {
            service,
            port_id,
            stage_one: RingRef::NONE,
            stage_two: RingRef::NONE,
            stage_two_older: RingRef::NONE,
            flags: if wanted.exported {
                frontend_flags::EXPORTED
            } else {
                0
            },
            affinity_secs: wanted.affinity_secs,
        };
        let targets = self.members(name, port_id, wanted);
        if !targets.is_empty() {
            let slots = n
                .clusters
                .entry(targets)
                .or_insert_with_key(cluster_slots)
                .clone();
            let old = held.map(|f| f.stage_one);
            frontend.stage_one = self.ring(
                name,
                slots,
                old,
                n,
                |image, key| image.members.contains_key(key),
                port_id,
            );
        }
        if let Some(ring) = wanted.backends.and_then(|b| self.ring_of(key, b)) {
            let numbers = self.backends(name, key, port_id, service, &ring);
            let known =
                |image: &crate::image::MapImage, key: &OrdinalKey| image.backends.contains_key(key);
            let slots = endpoint_slots(&ring.slots, &numbers);
            frontend.stage_two =
                self.ring(name, slots, held.map(|f| f.stage_two), n, known, port_id);
            if !ring.older.is_empty() {
                let slots = endpoint_slots(&ring.older, &numbers);
                let old = held.map(|f| f.stage_two_older);
                frontend.stage_two_older = self.ring(name, slots, old, n, known, port_id);
            }
        }
        let frontends = &mut self.image.frontends;
        self.overflow
            .put(Table::Frontends, frontends, (key, frontend), name);
    }

    /// Members of stage one; the ordinal is the peer's number. Gives the targets that fitted.
    fn members(
        &mut self,
        name: &ServiceName,
        port_id: u32,
        wanted: &Wanted<'_>,
    ) -> BTreeMap<PeerNumber, u32> {
        let mut targets = wanted.targets.clone();
        targets.retain(|number, _| {
            let Some(vip) = wanted.vips.get(number) else {
                return false;
            };
            let key = OrdinalKey {
                port_id,
                ordinal: number.number(),
                reserved: 0,
            };
            let member = causeway_abi::Member {
                vip: wide(*vip),
                peer: number.number(),
                reserved: 0,
            };
            let members = &mut self.image.members;
            self.overflow
                .put(Table::Members, members, (key, member), name)
        });
        targets
    }

    /// The ring over own endpoints, from memory where its generations are the same.
    fn ring_of(&mut self, key: FrontendKey, backends: &BackendPort) -> Option<Arc<Ring>> {
        let held = self
            .held
            .rings
            .get(&key)
            .filter(|(made_of, _)| made_of == backends);
        let ring = match held {
            Some((_, ring)) => ring.clone(),
            None => maglev::ring(&backends.generations, &backends.draining).map(Arc::new),
        };
        self.rings.insert(key, (backends.clone(), ring.clone()));
        ring.ok()
    }

    /// A place for a ring. When its class is full, the ring that the frontend has stays as long as it
    /// names nobody who is gone.
    fn ring(
        &mut self,
        name: &ServiceName,
        slots: RingSlots,
        old: Option<RingRef>,
        numbers: &mut Numbers,
        known: impl Fn(&crate::image::MapImage, &OrdinalKey) -> bool,
        port_id: u32,
    ) -> RingRef {
        if let Some(at) = numbers.rings.place(&slots) {
            self.image.rings.insert(at, slots);
            return at;
        }
        let class = causeway_abi::limits::RING_SLOTS
            .iter()
            .position(|n| usize::try_from(*n) == Ok(slots.len()))
            .unwrap_or(0);
        let map = causeway_abi::names::RINGS
            .get(class)
            .copied()
            .unwrap_or("rings");
        let limit = causeway_abi::limits::RINGS.get(class).copied().unwrap_or(0);
        self.overflow
            .note(map, usize::try_from(limit).unwrap_or(0), name);
        let held = old.and_then(|at| Some((at, self.held.image.rings.get(&at)?)));
        let whole = held.filter(|(_, slots)| {
            ordinals(slots).into_iter().all(|ordinal| {
                known(
                    &self.image,
                    &OrdinalKey {
                        port_id,
                        ordinal,
                        reserved: 0,
                    },
                )
            })
        });
        match whole {
            Some((at, slots)) => {
                self.image.rings.insert(at, slots.clone());
                at
            }
            None => RingRef::NONE,
        }
    }
}

impl Numbers {
    /// The service's index; the VIP is as sticky as the service.
    fn service(&mut self, vip: V6) -> u32 {
        let held = self.held_services.get(&vip).copied().filter(|i| *i != 0);
        held.or_else(|| self.services.take()).unwrap_or(0)
    }

    /// The same for a headless service, which has no VIP in any map: by an endpoint that it has kept. Two
    /// services may share an endpoint, not an index.
    fn headless(&mut self, export: &OwnExport, given: &BTreeMap<&ServiceName, u32>) -> u32 {
        let endpoints = export.headless_endpoints.iter();
        let held = endpoints
            .filter_map(|e| self.held_headless.get(&wide(e.address)).copied())
            .find(|index| *index != 0 && !given.values().any(|other| other == index));
        held.or_else(|| self.services.take()).unwrap_or(0)
    }
}

fn export_ports<'v>(
    wanted: &mut BTreeMap<FrontendKey, Wanted<'v>>,
    name: &'v ServiceName,
    export: &'v OwnExport,
) {
    let vip = export.vip;
    let ports = export.ports.iter().filter(|((p, _), _)| carried(*p));
    for ((protocol, port), backends) in ports {
        let entry = wanted
            .entry(key(vip, protocol.number(), *port))
            .or_default();
        entry.service = Some(name);
        entry.backends = Some(backends);
        entry.exported = true;
    }
    if !export.ports.is_empty() {
        let echo = wanted.entry(key(vip, echo(vip), 0)).or_default();
        echo.service = Some(name);
        echo.exported = true;
    }
}

fn cluster_slots(targets: &BTreeMap<PeerNumber, u32>) -> RingSlots {
    maglev::clusters(targets)
        .into_iter()
        .map(|number| Slot {
            current: number.number(),
            previous: NO_ORDINAL,
        })
        .map(Slot::encode)
        .collect()
}

fn endpoint_slots(slots: &[maglev::Slot], numbers: &[u16]) -> RingSlots {
    let ordinal = |member: u16| {
        numbers
            .get(usize::from(member))
            .copied()
            .unwrap_or(NO_ORDINAL)
    };
    slots
        .iter()
        .map(|slot| Slot {
            current: ordinal(slot.current),
            previous: ordinal(slot.previous),
        })
        .map(Slot::encode)
        .collect()
}
