//! Pure: own exports with their ring generations, in the View and in what the leader keeps.

use super::field::{
    Code, Fault, InvalidWire, Read, address, code, list, map, name, need, one, port, rising, small,
};
use super::pb::model as pb;
use crate::limits;
use crate::model::{
    BackendPort, EndpointKey, Generation, Member, OwnExport, OwnHeadless, Protocol, ServiceName,
};

impl From<(&ServiceName, &OwnExport)> for pb::OwnExport {
    fn from((service, e): (&ServiceName, &OwnExport)) -> Self {
        Self {
            service: service.to_string(),
            vip: e.vip.bytes().to_vec(),
            headless: e.headless,
            ports: e.ports.iter().map(Into::into).collect(),
            headless_endpoints: e.headless_endpoints.iter().map(Into::into).collect(),
            affinity: Some(e.affinity.into()),
        }
    }
}

impl TryFrom<pb::OwnExport> for (ServiceName, OwnExport) {
    type Error = InvalidWire;
    fn try_from(e: pb::OwnExport) -> Read<Self> {
        let export = OwnExport {
            vip: one("vip", e.vip, address)?,
            headless: e.headless,
            ports: map(
                "ports",
                limits::PORTS_PER_SERVICE,
                e.ports,
                TryFrom::try_from,
            )?,
            headless_endpoints: list(
                "headless_endpoints",
                limits::ENDPOINTS_PER_SERVICE,
                e.headless_endpoints,
                TryFrom::try_from,
            )?,
            affinity: need("affinity", e.affinity, TryFrom::try_from)?,
        };
        Ok((one("service", e.service, name)?, export))
    }
}

type PortKey = (Protocol, u16);

impl From<(&PortKey, &BackendPort)> for pb::BackendPort {
    fn from(((protocol, port), b): (&PortKey, &BackendPort)) -> Self {
        Self {
            protocol: protocol.code(),
            port: (*port).into(),
            generations: b.generations.iter().map(Into::into).collect(),
            draining: b.draining.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::BackendPort> for (PortKey, BackendPort) {
    type Error = InvalidWire;
    fn try_from(b: pb::BackendPort) -> Read<Self> {
        let key = (
            one("protocol", b.protocol, code)?,
            one("port", b.port, port)?,
        );
        let many = limits::ENDPOINTS_PER_SERVICE;
        let each = TryFrom::try_from;
        let generations: Vec<Generation> =
            list("generations", limits::GENERATIONS, b.generations, each)?;
        rising("generations", &generations, |g| std::cmp::Reverse(g.number))?;
        let draining = list("draining", many, b.draining, TryFrom::try_from)?;
        let port = BackendPort {
            generations,
            draining,
        };
        Ok((key, port))
    }
}

impl From<&Generation> for pb::Generation {
    fn from(g: &Generation) -> Self {
        Self {
            number: g.number,
            slots: g.slots,
            members: g.members.iter().map(Into::into).collect(),
        }
    }
}

fn slots(got: u32) -> Read<u32> {
    if limits::RING_SLOTS.contains(&got) {
        return Ok(got);
    }
    let (got, rule) = (got.into(), "a size class of rings");
    Err(Fault::Range { got, rule }.into())
}

impl TryFrom<pb::Generation> for Generation {
    type Error = InvalidWire;
    fn try_from(g: pb::Generation) -> Read<Self> {
        let many = limits::ENDPOINTS_PER_SERVICE;
        let members: Vec<Member> = list("members", many, g.members, TryFrom::try_from)?;
        rising("members", &members, |m| m.key)?;
        Ok(Self {
            number: g.number,
            slots: one("slots", g.slots, slots)?,
            members,
        })
    }
}

impl From<&Member> for pb::Member {
    fn from(m: &Member) -> Self {
        Self {
            address: m.key.address.bytes().to_vec(),
            protocol: m.key.protocol.code(),
            port: m.key.port.into(),
            node: m.node.to_string(),
            weight: m.weight.into(),
        }
    }
}

impl TryFrom<pb::Member> for Member {
    type Error = InvalidWire;
    fn try_from(m: pb::Member) -> Read<Self> {
        let key = EndpointKey {
            address: one("address", m.address, address)?,
            protocol: one("protocol", m.protocol, code)?,
            port: one("port", m.port, port)?,
        };
        let weight = one("weight", m.weight, |n| {
            super::field::positive(n).and_then(|n| small(n, "a weight of 1 to 65535"))
        })?;
        Ok(Self {
            key,
            node: one("node", m.node, name)?,
            weight,
        })
    }
}

impl From<&OwnHeadless> for pb::OwnHeadless {
    fn from(e: &OwnHeadless) -> Self {
        Self {
            address: e.address.bytes().to_vec(),
            node: e.node.to_string(),
            ports: e.ports.iter().map(Into::into).collect(),
            state: e.state.code(),
        }
    }
}

impl TryFrom<pb::OwnHeadless> for OwnHeadless {
    type Error = InvalidWire;
    fn try_from(e: pb::OwnHeadless) -> Read<Self> {
        let max = limits::PORTS_PER_SERVICE;
        Ok(Self {
            address: one("address", e.address, address)?,
            node: one("node", e.node, name)?,
            ports: list("ports", max, e.ports, TryFrom::try_from)?,
            state: one("state", e.state, code)?,
        })
    }
}

impl From<&PortKey> for pb::ProtocolPort {
    fn from((protocol, port): &PortKey) -> Self {
        Self {
            protocol: protocol.code(),
            port: (*port).into(),
        }
    }
}

impl TryFrom<pb::ProtocolPort> for PortKey {
    type Error = InvalidWire;
    fn try_from(p: pb::ProtocolPort) -> Read<Self> {
        Ok((
            one("protocol", p.protocol, code)?,
            one("port", p.port, port)?,
        ))
    }
}
