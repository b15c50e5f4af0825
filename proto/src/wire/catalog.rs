//! Pure: what peers may know of a cluster.

use super::Encoded;
use super::export::{Traits, addresses, service_ports, text_of, texts, traits_of};
use super::field::{
    Code, Fault, InvalidWire, Read, address, array, at_most, code, contradiction, digest,
    identity_number, list, map, maybe, name, need, one, other_number, set, small, text,
};
use super::pb::model as pb;
use crate::limits;
use crate::model::{
    Address, CatalogDelta, ClusterId, ClusterPart, GatewayAddress, GatewayName, Header,
    HeadlessEndpoint, NamespacePart, NodeName, Part, PartKey, PartProof, PeerNumber, Revocation,
    ServiceName, ServiceOffer, SignedHeader, SignedPart, Timestamp, Zone,
};

impl From<&Header> for pb::Header {
    fn from(h: &Header) -> Self {
        Self {
            cluster: h.cluster.to_string(),
            revision: Some(h.revision.into()),
            time_ms: h.time.0,
            previous: h.previous.0.to_vec(),
            root: h.root.0.to_vec(),
            parts: h.parts,
        }
    }
}

impl TryFrom<pb::Header> for Header {
    type Error = InvalidWire;
    fn try_from(h: pb::Header) -> Read<Self> {
        let parts = usize::try_from(h.parts).unwrap_or(usize::MAX);
        at_most("parts", parts, limits::PARTS)?;
        Ok(Self {
            cluster: one("cluster", h.cluster, name)?,
            revision: need("revision", h.revision, |r| Ok(r.into()))?,
            time: Timestamp(h.time_ms),
            previous: one("previous", h.previous, digest)?,
            root: one("root", h.root, digest)?,
            parts: h.parts,
        })
    }
}

impl From<&SignedHeader> for pb::SignedHeader {
    fn from(h: &SignedHeader) -> Self {
        Self {
            header: h.bytes.clone(),
            signature: h.signature.clone(),
        }
    }
}

impl TryFrom<pb::SignedHeader> for SignedHeader {
    type Error = InvalidWire;
    fn try_from(h: pb::SignedHeader) -> Read<Self> {
        at_most("header", h.header.len(), limits::HEADER_BYTES)?;
        at_most("signature", h.signature.len(), limits::HEADER_BYTES)?;
        Ok(Self {
            header: one("header", h.header.as_slice(), Header::from_bytes)?,
            bytes: h.header,
            signature: h.signature,
        })
    }
}

impl From<&PartKey> for pb::PartKey {
    fn from(key: &PartKey) -> Self {
        let namespace = match key {
            PartKey::Cluster => None,
            PartKey::Namespace(n) => Some(n.to_string()),
        };
        Self { namespace }
    }
}

impl TryFrom<pb::PartKey> for PartKey {
    type Error = InvalidWire;
    fn try_from(key: pb::PartKey) -> Read<Self> {
        let namespace = maybe("namespace", key.namespace, name)?;
        Ok(namespace.map_or(Self::Cluster, Self::Namespace))
    }
}

impl From<&PartProof> for pb::PartProof {
    fn from(p: &PartProof) -> Self {
        Self {
            index: p.index,
            path: p.path.iter().map(|d| d.0.to_vec()).collect(),
        }
    }
}

impl TryFrom<pb::PartProof> for PartProof {
    type Error = InvalidWire;
    fn try_from(p: pb::PartProof) -> Read<Self> {
        Ok(Self {
            index: p.index,
            path: list("path", limits::PROOF_STEPS, p.path, digest)?,
        })
    }
}

impl From<&SignedPart> for pb::SignedPart {
    fn from(p: &SignedPart) -> Self {
        Self {
            key: Some((&p.key).into()),
            salt: p.salt.to_vec(),
            part: p.bytes.clone(),
            proof: Some((&p.proof).into()),
        }
    }
}

impl TryFrom<pb::SignedPart> for SignedPart {
    type Error = InvalidWire;
    fn try_from(p: pb::SignedPart) -> Read<Self> {
        at_most("part", p.part.len(), limits::PART_BYTES)?;
        Ok(Self {
            key: need("key", p.key, TryFrom::try_from)?,
            salt: one("salt", p.salt, array)?,
            bytes: p.part,
            proof: need("proof", p.proof, TryFrom::try_from)?,
        })
    }
}

impl SignedPart {
    /// What its bytes say; refused if that is another part than the key names.
    ///
    /// # Errors
    /// When the bytes are no valid part, or another one.
    pub fn open(&self) -> Result<Part, InvalidWire> {
        let part = Part::from_bytes(&self.bytes)?;
        if part.key() == self.key {
            Ok(part)
        } else {
            Err(contradiction("is another part than its key says").within("part"))
        }
    }
}

impl From<&CatalogDelta> for pb::CatalogDelta {
    fn from(d: &CatalogDelta) -> Self {
        Self {
            from: d.from.map(Into::into),
            header: Some((&d.header).into()),
            parts: d.parts.iter().map(Into::into).collect(),
            removed: d.removed.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::CatalogDelta> for CatalogDelta {
    type Error = InvalidWire;
    fn try_from(d: pb::CatalogDelta) -> Read<Self> {
        let delta = Self {
            from: d.from.map(Into::into),
            header: need("header", d.header, TryFrom::try_from)?,
            parts: list("parts", limits::PARTS, d.parts, TryFrom::try_from)?,
            removed: list("removed", limits::PARTS, d.removed, TryFrom::try_from)?,
        };
        let mut keys = std::collections::BTreeSet::new();
        let named = delta.parts.iter().map(|p| &p.key);
        if named.chain(&delta.removed).all(|key| keys.insert(key)) {
            Ok(delta)
        } else {
            Err(contradiction("names a part twice").within("parts"))
        }
    }
}

impl From<&Part> for pb::Part {
    fn from(p: &Part) -> Self {
        let part = match p {
            Part::Cluster(c) => pb::part::Part::Cluster(c.into()),
            Part::Namespace(n) => pb::part::Part::Namespace(n.into()),
        };
        Self { part: Some(part) }
    }
}

impl TryFrom<pb::Part> for Part {
    type Error = InvalidWire;
    fn try_from(p: pb::Part) -> Read<Self> {
        match p.part.ok_or(Fault::Missing)? {
            pb::part::Part::Cluster(c) => one("cluster", c, TryFrom::try_from).map(Self::Cluster),
            pb::part::Part::Namespace(n) => {
                one("namespace", n, TryFrom::try_from).map(Self::Namespace)
            }
        }
    }
}

impl From<(&GatewayName, &GatewayAddress)> for pb::GatewayAddress {
    fn from((gateway, a): (&GatewayName, &GatewayAddress)) -> Self {
        Self {
            gateway: gateway.to_string(),
            session: a.session.clone(),
            tunnel: a.tunnel.bytes().to_vec(),
        }
    }
}

impl TryFrom<pb::GatewayAddress> for (GatewayName, GatewayAddress) {
    type Error = InvalidWire;
    fn try_from(a: pb::GatewayAddress) -> Read<Self> {
        let gateway = one("gateway", a.gateway, name)?;
        let session = one("session", a.session, text)?;
        let tunnel = one("tunnel", a.tunnel, address)?;
        Ok((gateway, GatewayAddress { session, tunnel }))
    }
}

impl From<(&NodeName, &Vec<Address>)> for pb::NodeAddresses {
    fn from((node, a): (&NodeName, &Vec<Address>)) -> Self {
        Self {
            node: node.to_string(),
            addresses: addresses(a),
        }
    }
}

impl TryFrom<pb::NodeAddresses> for (NodeName, Vec<Address>) {
    type Error = InvalidWire;
    fn try_from(n: pb::NodeAddresses) -> Read<Self> {
        let max = limits::PREFIXES_PER_CLUSTER;
        Ok((
            one("node", n.node, name)?,
            list("addresses", max, n.addresses, address)?,
        ))
    }
}

impl From<(&ClusterId, &PeerNumber)> for pb::ClusterNumber {
    fn from((cluster, number): (&ClusterId, &PeerNumber)) -> Self {
        Self {
            cluster: cluster.to_string(),
            number: number.number().into(),
        }
    }
}

impl TryFrom<pb::ClusterNumber> for (ClusterId, PeerNumber) {
    type Error = InvalidWire;
    fn try_from(n: pb::ClusterNumber) -> Read<Self> {
        Ok((
            one("cluster", n.cluster, name)?,
            one("number", n.number, other_number)?,
        ))
    }
}

impl From<(&ClusterId, &Revocation)> for pb::Revocation {
    fn from((cluster, r): (&ClusterId, &Revocation)) -> Self {
        Self {
            cluster: cluster.to_string(),
            ca: r.ca.0.to_vec(),
            time_ms: r.time.0,
        }
    }
}

impl TryFrom<pb::Revocation> for (ClusterId, Revocation) {
    type Error = InvalidWire;
    fn try_from(r: pb::Revocation) -> Read<Self> {
        let revocation = Revocation {
            ca: one("ca", r.ca, digest)?,
            time: Timestamp(r.time_ms),
        };
        Ok((one("cluster", r.cluster, name)?, revocation))
    }
}

impl From<&ClusterPart> for pb::ClusterPart {
    fn from(p: &ClusterPart) -> Self {
        Self {
            gateways: p.gateways.iter().map(Into::into).collect(),
            nodes: p.nodes.iter().map(Into::into).collect(),
            prefixes: p.prefixes.iter().map(Into::into).collect(),
            plain_with: texts(&p.plain_with),
            numbers: p.numbers.iter().map(Into::into).collect(),
            revocations: p.revocations.iter().map(Into::into).collect(),
            introductions: p.introductions.values().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ClusterPart> for ClusterPart {
    type Error = InvalidWire;
    fn try_from(p: pb::ClusterPart) -> Read<Self> {
        let peers = limits::PEERS;
        Ok(Self {
            gateways: map(
                "gateways",
                limits::GATEWAYS_PER_CLUSTER,
                p.gateways,
                TryFrom::try_from,
            )?,
            nodes: map(
                "nodes",
                limits::NODES_PER_CLUSTER,
                p.nodes,
                TryFrom::try_from,
            )?,
            prefixes: list(
                "prefixes",
                limits::PREFIXES_PER_CLUSTER,
                p.prefixes,
                TryFrom::try_from,
            )?,
            plain_with: set("plain_with", peers, p.plain_with, name)?,
            numbers: map("numbers", peers, p.numbers, TryFrom::try_from)?,
            revocations: map("revocations", peers, p.revocations, TryFrom::try_from)?,
            introductions: map("introductions", peers, p.introductions, TryFrom::try_from)?,
        })
    }
}

impl From<&NamespacePart> for pb::NamespacePart {
    fn from(p: &NamespacePart) -> Self {
        Self {
            namespace: p.namespace.to_string(),
            services: p.services.iter().map(Into::into).collect(),
            identities: p.identities.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::NamespacePart> for NamespacePart {
    type Error = InvalidWire;
    fn try_from(p: pb::NamespacePart) -> Read<Self> {
        let part = Self {
            namespace: one("namespace", p.namespace, name)?,
            services: map("services", limits::SERVICES, p.services, TryFrom::try_from)?,
            identities: map(
                "identities",
                limits::IDENTITIES,
                p.identities,
                TryFrom::try_from,
            )?,
        };
        let here = &part.namespace;
        let services = part.services.keys().all(|s| s.namespace == *here);
        if services && part.identities.values().all(|i| i.namespace == *here) {
            Ok(part)
        } else {
            Err(contradiction("holds what is of another namespace"))
        }
    }
}

impl From<(&ServiceName, &ServiceOffer)> for pb::ServiceOffer {
    fn from((service, o): (&ServiceName, &ServiceOffer)) -> Self {
        Self {
            service: service.to_string(),
            created_ms: o.created.0,
            vip: o.vip.bytes().to_vec(),
            headless: o.headless,
            ports: o.ports.iter().map(Into::into).collect(),
            ready: o.ready.iter().map(Into::into).collect(),
            backend_identities: o.backend_identities.iter().map(|i| i.0.into()).collect(),
            endpoints: o.endpoints.iter().map(Into::into).collect(),
            traits: Some(traits_of!(o)),
            on_loss: o.on_loss.code(),
            weight: o.weight.into(),
        }
    }
}

impl TryFrom<pb::ServiceOffer> for (ServiceName, ServiceOffer) {
    type Error = InvalidWire;
    fn try_from(o: pb::ServiceOffer) -> Read<Self> {
        let traits: Traits = need("traits", o.traits, TryFrom::try_from)?;
        let many = limits::ENDPOINTS_PER_SERVICE;
        let offer = ServiceOffer {
            created: Timestamp(o.created_ms),
            vip: one("vip", o.vip, address)?,
            headless: o.headless,
            ports: service_ports(o.ports)?,
            ready: map("ready", many, o.ready, TryFrom::try_from)?,
            backend_identities: set(
                "backend_identities",
                many,
                o.backend_identities,
                identity_number,
            )?,
            endpoints: list("endpoints", many, o.endpoints, TryFrom::try_from)?,
            affinity: traits.affinity,
            internal_traffic_policy: traits.internal_traffic_policy,
            traffic_distribution: traits.traffic_distribution,
            ip_families: traits.ip_families,
            labels: traits.labels,
            annotations: traits.annotations,
            locality: traits.locality,
            on_loss: one("on_loss", o.on_loss, code)?,
            weight: one("weight", o.weight, |n| small(n, "a weight of 0 to 65535"))?,
        };
        Ok((one("service", o.service, name)?, offer))
    }
}

impl From<(&Option<Zone>, &u32)> for pb::ZoneReady {
    fn from((zone, ready): (&Option<Zone>, &u32)) -> Self {
        Self {
            zone: text_of(zone.as_ref()),
            ready: *ready,
        }
    }
}

impl TryFrom<pb::ZoneReady> for (Option<Zone>, u32) {
    type Error = InvalidWire;
    fn try_from(z: pb::ZoneReady) -> Read<Self> {
        Ok((maybe("zone", z.zone, name)?, z.ready))
    }
}

impl From<&HeadlessEndpoint> for pb::HeadlessEndpoint {
    fn from(e: &HeadlessEndpoint) -> Self {
        Self {
            address: e.address.bytes().to_vec(),
            hostname: e.hostname.clone(),
            ports: e.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::HeadlessEndpoint> for HeadlessEndpoint {
    type Error = InvalidWire;
    fn try_from(e: pb::HeadlessEndpoint) -> Read<Self> {
        let max = limits::PORTS_PER_SERVICE;
        Ok(Self {
            address: one("address", e.address, address)?,
            hostname: maybe("hostname", e.hostname, text)?,
            ports: list("ports", max, e.ports, TryFrom::try_from)?,
        })
    }
}

impl Encoded for Header {
    type Message = pb::Header;
}

impl Encoded for Part {
    type Message = pb::Part;
}
