//! Pure: what an operator may change about trust: tokens, enrolments, peers. The service is [`service`].

mod service;

use causeway_certs::Secret;
use causeway_certs::bundle::authority_digest;
use causeway_certs::name::Role;
use causeway_certs::token::{self, JoinToken};
use causeway_proto::model::{ClusterId, EnrolRole, InvalidName, Revocation, Timestamp, TrustState};

use crate::enroll::{self, ENROLMENTS};
use crate::join::{TOKENS, prune};

pub use service::{AdminService, CertificateService};

/// Life of an enrolment file unless told otherwise.
pub const ENROLMENT_MS: u64 = 15 * 60 * 1000;
/// Longest life of either: whoever holds it may use it.
pub const LONGEST_MS: u64 = token::MAX_TTL_MS;

/// A change that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// Too long.
    #[error("{0} s is too long: at most a day, since whoever holds it may use it")]
    Ttl(u64),
    /// Ourselves.
    #[error("{0} is this cluster itself")]
    Own(ClusterId),
    /// Nobody.
    #[error("{peer} is not a peer of {own}; `causeway peers` lists them")]
    NoPeer {
        /// Asked for.
        peer: ClusterId,
        /// Asked at.
        own: ClusterId,
    },
    /// Too many.
    #[error("{0} are open, which is the most; wait for some to expire")]
    Full(&'static str),
    /// A name.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// A life that was asked for in seconds, or the default, as an end.
///
/// # Errors
/// When it is too long.
pub fn expiry(
    ttl_secs: Option<u64>,
    default_ms: u64,
    now: Timestamp,
) -> Result<Timestamp, NotDone> {
    let ms = ttl_secs.map_or(default_ms, |secs| secs.saturating_mul(1000));
    if ms > LONGEST_MS {
        return Err(NotDone::Ttl(ttl_secs.unwrap_or_default()));
    }
    Ok(Timestamp(now.0.saturating_add(ms)))
}

/// Opens a token: from now on it can be redeemed once.
///
/// # Errors
/// When it is for ourselves, or too many are open.
pub fn open_token(
    trust: &TrustState,
    token: &JoinToken,
    now: Timestamp,
) -> Result<TrustState, NotDone> {
    if token.for_cluster.as_ref() == Some(&token.issuer) {
        return Err(NotDone::Own(token.issuer.clone()));
    }
    let mut next = trust.clone();
    prune(&mut next, now);
    if next.tokens.len() >= TOKENS {
        return Err(NotDone::Full("1000 join tokens"));
    }
    next.tokens.insert(token::id(&token.secret), token.issued());
    next.version += 1;
    Ok(next)
}

/// Opens an enrolment.
///
/// # Errors
/// When too many are open.
pub fn open_enrolment(
    trust: &TrustState,
    role: &Role,
    secret: &Secret,
    expires: Timestamp,
    now: Timestamp,
) -> Result<TrustState, NotDone> {
    let mut next = enroll::open(trust, role, secret, expires);
    prune(&mut next, now);
    if next.enrolments.len() > ENROLMENTS {
        return Err(NotDone::Full("20000 enrolments"));
    }
    Ok(next)
}

/// The role that an operator named.
///
/// # Errors
/// When the name is not valid.
pub fn role(kind: EnrolRole, name: &str) -> Result<Role, NotDone> {
    Ok(match kind {
        EnrolRole::Agent => Role::Agent(name.parse()?),
        EnrolRole::Gateway => Role::Gateway(name.parse()?),
        EnrolRole::Controller => Role::Controller(name.parse()?),
        EnrolRole::Operator => Role::Operator(name.parse()?),
    })
}

/// Cuts a peer off for good: its CA is refused from now on, whoever introduces it.
///
/// # Errors
/// When it is not a peer.
pub fn revoke(
    trust: &TrustState,
    own: &ClusterId,
    peer: &ClusterId,
    now: Timestamp,
) -> Result<TrustState, NotDone> {
    if peer == own {
        return Err(NotDone::Own(own.clone()));
    }
    let ca = trust.bundles.get(peer).and_then(authority_digest);
    let Some(ca) = ca else {
        return Err(NotDone::NoPeer {
            peer: peer.clone(),
            own: own.clone(),
        });
    };
    let mut next = trust.clone();
    next.bundles.remove(peer);
    next.introduced.remove(peer);
    next.revocations
        .insert(peer.clone(), Revocation { ca, time: now });
    next.version += 1;
    Ok(next)
}

#[cfg(test)]
mod tests;
