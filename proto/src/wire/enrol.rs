//! Pure: certificates for service account tokens.

use super::Fault;
use super::export::dial_addresses;
use super::field::{InvalidWire, Read, at_most, der, name, need, one, text};
use super::pb::enrolment as pb;
use crate::limits;
use crate::model::{Enrolled, Offer, TokenEnrolReply, TokenEnrolment};

fn service_token(token: String) -> Read<String> {
    at_most("token", token.len(), limits::SERVICE_TOKEN_BYTES)?;
    if token.is_empty() {
        return Err(InvalidWire::from(Fault::Missing).within("token"));
    }
    Ok(token)
}

impl From<&TokenEnrolment> for pb::TokenEnrollRequest {
    fn from(e: &TokenEnrolment) -> Self {
        Self {
            token: e.token.clone(),
            csr: e.csr.clone(),
            role: e.role.clone(),
            held_epoch: e.held_epoch,
        }
    }
}

impl TryFrom<pb::TokenEnrollRequest> for TokenEnrolment {
    type Error = InvalidWire;
    fn try_from(r: pb::TokenEnrollRequest) -> Read<Self> {
        Ok(Self {
            token: service_token(r.token)?,
            csr: one("csr", r.csr, der)?,
            role: one("role", r.role, text)?,
            held_epoch: r.held_epoch,
        })
    }
}

impl From<&Enrolled> for pb::Enrolled {
    fn from(e: &Enrolled) -> Self {
        Self {
            certificate: Some((&e.certificate).into()),
            cluster: e.cluster.to_string(),
            cluster_set: e.cluster_set.to_string(),
            gateways: e.gateways.clone(),
        }
    }
}

impl TryFrom<pb::Enrolled> for Enrolled {
    type Error = InvalidWire;
    fn try_from(e: pb::Enrolled) -> Read<Self> {
        Ok(Self {
            certificate: need("certificate", e.certificate, TryFrom::try_from)?,
            cluster: one("cluster", e.cluster, name)?,
            cluster_set: one("cluster_set", e.cluster_set, name)?,
            gateways: dial_addresses("gateways", e.gateways)?,
        })
    }
}

impl From<&TokenEnrolReply> for pb::TokenEnrollReply {
    fn from(r: &TokenEnrolReply) -> Self {
        use pb::token_enroll_reply::Reply as R;
        let reply = match r {
            TokenEnrolReply::Enrolled(enrolled) => R::Enrolled(enrolled.into()),
            TokenEnrolReply::WantState => R::WantState(pb::WantState {}),
        };
        Self { reply: Some(reply) }
    }
}

impl TryFrom<pb::TokenEnrollReply> for TokenEnrolReply {
    type Error = InvalidWire;
    fn try_from(r: pb::TokenEnrollReply) -> Read<Self> {
        use pb::token_enroll_reply::Reply as R;
        Ok(match r.reply.ok_or(Fault::Missing)? {
            R::Enrolled(e) => Self::Enrolled(one("enrolled", e, TryFrom::try_from)?),
            R::WantState(pb::WantState {}) => Self::WantState,
        })
    }
}

impl From<&Offer> for pb::OfferRequest {
    fn from(o: &Offer) -> Self {
        Self {
            token: o.token.clone(),
            role: o.role.clone(),
            epoch: o.epoch,
            state: Some((&o.state).into()),
        }
    }
}

impl TryFrom<pb::OfferRequest> for Offer {
    type Error = InvalidWire;
    fn try_from(o: pb::OfferRequest) -> Read<Self> {
        Ok(Self {
            token: service_token(o.token)?,
            role: one("role", o.role, text)?,
            epoch: o.epoch,
            state: need("state", o.state, TryFrom::try_from)?,
        })
    }
}
