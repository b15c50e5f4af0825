//! Pure: allocations and trust, which the leader alone writes.

use super::Encoded;
use super::export::{dial_addresses, text_of};
use super::field::{
    Fault, InvalidWire, Read, address, array, at_most, der, digest, identity_number, list, map,
    maybe, name, need, one, other_number, set, text,
};
use super::pb::model as pb;
use crate::limits;
use crate::model::{
    Address, Allocations, Allotted, BackendPort, ClusterId, Digest, Identity, IdentityNumber,
    IssuedEnrolment, IssuedToken, NodeName, PartKey, PeerAllotment, Protocol, ServiceName,
    Succession, Timestamp, TrustBundle, TrustState,
};

impl From<&Allocations> for pb::Allocations {
    fn from(a: &Allocations) -> Self {
        Self {
            epoch: a.epoch,
            version: a.version,
            vips: a.vips.iter().map(Into::into).collect(),
            nodes: a.nodes.iter().map(Into::into).collect(),
            peers: a.peers.iter().map(Into::into).collect(),
            self_map: a.self_map.iter().map(Into::into).collect(),
            identities: a.identities.iter().map(Into::into).collect(),
            rings: a.rings.iter().map(Into::into).collect(),
            seed: a.seed.to_vec(),
            salts: a.salts.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Allocations> for Allocations {
    type Error = InvalidWire;
    fn try_from(a: pb::Allocations) -> Read<Self> {
        let each = TryFrom::try_from;
        Ok(Self {
            epoch: a.epoch,
            version: a.version,
            vips: map("vips", limits::IMPORTS, a.vips, TryFrom::try_from)?,
            nodes: map("nodes", limits::NODE_ADDRESSES, a.nodes, TryFrom::try_from)?,
            peers: map("peers", limits::PEERS, a.peers, TryFrom::try_from)?,
            self_map: list("self_map", limits::PREFIXES_PER_CLUSTER, a.self_map, each)?,
            identities: map(
                "identities",
                limits::IDENTITIES,
                a.identities,
                TryFrom::try_from,
            )?,
            rings: map("rings", limits::SERVICES, a.rings, TryFrom::try_from)?,
            seed: one("seed", a.seed, array)?,
            salts: map("salts", limits::PARTS, a.salts, TryFrom::try_from)?,
        })
    }
}

fn freed<T>(value: T, freed_ms: Option<u64>) -> Allotted<T> {
    Allotted {
        value,
        freed: freed_ms.map(Timestamp),
    }
}

impl From<(&ServiceName, &Allotted<Address>)> for pb::AllottedVip {
    fn from((service, a): (&ServiceName, &Allotted<Address>)) -> Self {
        Self {
            service: service.to_string(),
            vip: a.value.bytes().to_vec(),
            freed_ms: a.freed.map(|t| t.0),
        }
    }
}

impl TryFrom<pb::AllottedVip> for (ServiceName, Allotted<Address>) {
    type Error = InvalidWire;
    fn try_from(a: pb::AllottedVip) -> Read<Self> {
        let vip = one("vip", a.vip, address)?;
        Ok((one("service", a.service, name)?, freed(vip, a.freed_ms)))
    }
}

impl From<(&NodeName, &Allotted<Address>)> for pb::AllottedNode {
    fn from((node, a): (&NodeName, &Allotted<Address>)) -> Self {
        Self {
            node: node.to_string(),
            address: a.value.bytes().to_vec(),
            freed_ms: a.freed.map(|t| t.0),
        }
    }
}

impl TryFrom<pb::AllottedNode> for (NodeName, Allotted<Address>) {
    type Error = InvalidWire;
    fn try_from(a: pb::AllottedNode) -> Read<Self> {
        let own = one("address", a.address, address)?;
        Ok((one("node", a.node, name)?, freed(own, a.freed_ms)))
    }
}

impl From<(&ClusterId, &Allotted<PeerAllotment>)> for pb::AllottedPeer {
    fn from((cluster, a): (&ClusterId, &Allotted<PeerAllotment>)) -> Self {
        Self {
            cluster: cluster.to_string(),
            number: a.value.number.number().into(),
            mappings: a.value.mappings.iter().map(Into::into).collect(),
            freed_ms: a.freed.map(|t| t.0),
        }
    }
}

impl TryFrom<pb::AllottedPeer> for (ClusterId, Allotted<PeerAllotment>) {
    type Error = InvalidWire;
    fn try_from(a: pb::AllottedPeer) -> Read<Self> {
        let max = limits::PREFIXES_PER_CLUSTER;
        let peer = PeerAllotment {
            number: one("number", a.number, other_number)?,
            mappings: list("mappings", max, a.mappings, TryFrom::try_from)?,
        };
        Ok((one("cluster", a.cluster, name)?, freed(peer, a.freed_ms)))
    }
}

impl From<(&IdentityNumber, &Allotted<Identity>)> for pb::AllottedIdentity {
    fn from((number, a): (&IdentityNumber, &Allotted<Identity>)) -> Self {
        Self {
            number: number.0.into(),
            identity: Some((&a.value).into()),
            freed_ms: a.freed.map(|t| t.0),
        }
    }
}

impl TryFrom<pb::AllottedIdentity> for (IdentityNumber, Allotted<Identity>) {
    type Error = InvalidWire;
    fn try_from(a: pb::AllottedIdentity) -> Read<Self> {
        let identity = need("identity", a.identity, TryFrom::try_from)?;
        let number = one("number", a.number, identity_number)?;
        Ok((number, freed(identity, a.freed_ms)))
    }
}

type Rings = std::collections::BTreeMap<(Protocol, u16), BackendPort>;

impl From<(&ServiceName, &Rings)> for pb::ServiceRings {
    fn from((service, rings): (&ServiceName, &Rings)) -> Self {
        Self {
            service: service.to_string(),
            ports: rings.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ServiceRings> for (ServiceName, Rings) {
    type Error = InvalidWire;
    fn try_from(r: pb::ServiceRings) -> Read<Self> {
        let max = limits::PORTS_PER_SERVICE;
        Ok((
            one("service", r.service, name)?,
            map("ports", max, r.ports, TryFrom::try_from)?,
        ))
    }
}

impl From<(&PartKey, &[u8; 16])> for pb::PartSalt {
    fn from((key, salt): (&PartKey, &[u8; 16])) -> Self {
        Self {
            key: Some(key.into()),
            salt: salt.to_vec(),
        }
    }
}

impl TryFrom<pb::PartSalt> for (PartKey, [u8; 16]) {
    type Error = InvalidWire;
    fn try_from(s: pb::PartSalt) -> Read<Self> {
        Ok((
            need("key", s.key, TryFrom::try_from)?,
            one("salt", s.salt, array)?,
        ))
    }
}

impl From<&TrustBundle> for pb::TrustBundle {
    fn from(b: &TrustBundle) -> Self {
        Self {
            cluster: b.cluster.to_string(),
            authorities: b.authorities.clone(),
            catalog_key: b.catalog_key.clone(),
            gateways: b.gateways.clone(),
            succession: b.succession.as_ref().map(Into::into),
        }
    }
}

impl From<&Succession> for pb::Succession {
    fn from(s: &Succession) -> Self {
        Self {
            former: s.former.clone(),
            cross: s.cross.clone(),
        }
    }
}

impl TryFrom<pb::Succession> for Succession {
    type Error = InvalidWire;
    fn try_from(s: pb::Succession) -> Read<Self> {
        Ok(Self {
            former: one("former", s.former, der)?,
            cross: one("cross", s.cross, der)?,
        })
    }
}

/// CA certificates: at least one.
pub(super) fn authorities(items: Vec<Vec<u8>>) -> Read<Vec<Vec<u8>>> {
    if items.is_empty() {
        return Err(InvalidWire::from(Fault::Missing).within("authorities"));
    }
    list("authorities", limits::CERTIFICATES, items, der)
}

impl TryFrom<pb::TrustBundle> for TrustBundle {
    type Error = InvalidWire;
    fn try_from(b: pb::TrustBundle) -> Read<Self> {
        Ok(Self {
            cluster: one("cluster", b.cluster, name)?,
            authorities: authorities(b.authorities)?,
            catalog_key: one("catalog_key", b.catalog_key, der)?,
            gateways: dial_addresses("gateways", b.gateways)?,
            succession: maybe("succession", b.succession, TryFrom::try_from)?,
        })
    }
}

impl TryFrom<pb::TrustBundle> for (ClusterId, TrustBundle) {
    type Error = InvalidWire;
    fn try_from(b: pb::TrustBundle) -> Read<Self> {
        let bundle: TrustBundle = b.try_into()?;
        Ok((bundle.cluster.clone(), bundle))
    }
}

impl From<(&Digest, &Timestamp)> for pb::BurntToken {
    fn from((id, expires): (&Digest, &Timestamp)) -> Self {
        Self {
            id: id.0.to_vec(),
            expires_ms: expires.0,
        }
    }
}

impl TryFrom<pb::BurntToken> for (Digest, Timestamp) {
    type Error = InvalidWire;
    fn try_from(t: pb::BurntToken) -> Read<Self> {
        Ok((one("id", t.id, digest)?, Timestamp(t.expires_ms)))
    }
}

impl From<(&Digest, &IssuedToken)> for pb::IssuedToken {
    fn from((id, t): (&Digest, &IssuedToken)) -> Self {
        Self {
            id: id.0.to_vec(),
            key: t.key.to_vec(),
            expires_ms: t.expires.0,
            for_cluster: text_of(t.for_cluster.as_ref()),
        }
    }
}

impl TryFrom<pb::IssuedToken> for (Digest, IssuedToken) {
    type Error = InvalidWire;
    fn try_from(t: pb::IssuedToken) -> Read<Self> {
        let token = IssuedToken {
            key: one("key", t.key, array)?,
            expires: Timestamp(t.expires_ms),
            for_cluster: maybe("for_cluster", t.for_cluster, name)?,
        };
        Ok((one("id", t.id, digest)?, token))
    }
}

impl From<(&Digest, &IssuedEnrolment)> for pb::IssuedEnrolment {
    fn from((id, e): (&Digest, &IssuedEnrolment)) -> Self {
        Self {
            id: id.0.to_vec(),
            role: e.role.clone(),
            expires_ms: e.expires.0,
        }
    }
}

impl TryFrom<pb::IssuedEnrolment> for (Digest, IssuedEnrolment) {
    type Error = InvalidWire;
    fn try_from(e: pb::IssuedEnrolment) -> Read<Self> {
        let enrolment = IssuedEnrolment {
            role: one("role", e.role, text)?,
            expires: Timestamp(e.expires_ms),
        };
        Ok((one("id", e.id, digest)?, enrolment))
    }
}

impl From<&TrustState> for pb::TrustState {
    fn from(t: &TrustState) -> Self {
        Self {
            version: t.version,
            bundles: t.bundles.values().map(Into::into).collect(),
            revocations: t.revocations.iter().map(Into::into).collect(),
            burnt: t.burnt.iter().map(Into::into).collect(),
            tokens: t.tokens.iter().map(Into::into).collect(),
            enrolments: t.enrolments.iter().map(Into::into).collect(),
            withdrawn: t.withdrawn.iter().cloned().collect(),
            introduced: t.introduced.iter().map(Into::into).collect(),
            parted: t.parted.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<(&ClusterId, &ClusterId)> for pb::Introduced {
    fn from((cluster, by): (&ClusterId, &ClusterId)) -> Self {
        Self {
            cluster: cluster.to_string(),
            by: by.to_string(),
        }
    }
}

impl TryFrom<pb::Introduced> for (ClusterId, ClusterId) {
    type Error = InvalidWire;
    fn try_from(i: pb::Introduced) -> Read<Self> {
        Ok((one("cluster", i.cluster, name)?, one("by", i.by, name)?))
    }
}

fn serial(bytes: Vec<u8>) -> Read<Vec<u8>> {
    // RFC 5280, 4.1.2.2: at most 20 octets, and one for the sign.
    at_most("serial", bytes.len(), 21).map(|()| bytes)
}

impl TryFrom<pb::TrustState> for TrustState {
    type Error = InvalidWire;
    fn try_from(t: pb::TrustState) -> Read<Self> {
        let (peers, tokens) = (limits::PEERS, limits::TOKENS);
        Ok(Self {
            version: t.version,
            bundles: map("bundles", peers, t.bundles, TryFrom::try_from)?,
            revocations: map("revocations", peers, t.revocations, TryFrom::try_from)?,
            burnt: map("burnt", tokens, t.burnt, TryFrom::try_from)?,
            tokens: map("tokens", tokens, t.tokens, TryFrom::try_from)?,
            enrolments: map(
                "enrolments",
                limits::ENROLMENTS,
                t.enrolments,
                TryFrom::try_from,
            )?,
            introduced: map("introduced", peers, t.introduced, TryFrom::try_from)?,
            parted: set("parted", peers, t.parted, name)?,
            withdrawn: set("withdrawn", limits::NODES_PER_CLUSTER, t.withdrawn, serial)?,
        })
    }
}

impl Encoded for Allocations {
    type Message = pb::Allocations;
}

impl Encoded for TrustState {
    type Message = pb::TrustState;
}
