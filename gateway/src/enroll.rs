//! Pure: certificates for our own processes: the one-time right to a first one, and each next one.

use causeway_certs::Secret;
use causeway_certs::grant::{Ground, NoGrant, grant};
use causeway_certs::name::{Caller, PeerName, Role};
use causeway_certs::token;
use causeway_proto::model::{
    ClusterId, ClusterSet, Enrolment, IssuedEnrolment, Timestamp, TrustState,
};

/// Enrolments that are open at one time: a few per node.
pub const ENROLMENTS: usize = 20_000;

/// Why a process gets no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEnrolled {
    /// Never issued here, used, or long gone.
    #[error(
        "this enrolment is not open: its file was used before, was altered, or is of another cluster; make a new one with `causeway enroll`"
    )]
    Unknown,
    /// The secret does not fit what it is called.
    #[error("the enrolment's secret was altered; make a new file with `causeway enroll`")]
    Secret,
    /// No ground for it.
    #[error(transparent)]
    NoGrant(#[from] NoGrant),
    /// By a way that names nobody.
    #[error("renewing needs TLS and the present certificate; {0} shows none")]
    NoCertificate(Caller),
}

/// Answers an Enroll: the name that is granted, and the state in which the secret is spent.
///
/// # Errors
/// When there is nothing to grant; the state then stays.
pub fn enroll(
    trust: &TrustState,
    own: &ClusterId,
    cluster_set: &ClusterSet,
    request: &Enrolment,
    now: Timestamp,
) -> Result<(PeerName, TrustState), NotEnrolled> {
    let secret: [u8; 32] = request
        .secret
        .as_slice()
        .try_into()
        .map_err(|_| NotEnrolled::Secret)?;
    if token::id(&Secret::new(secret)) != request.id {
        return Err(NotEnrolled::Secret);
    }
    let issued = trust
        .enrolments
        .get(&request.id)
        .ok_or(NotEnrolled::Unknown)?;
    let ground = Ground::Enrolment(issued);
    let name = grant(ground, own, cluster_set, &trust.withdrawn, now)?;
    let mut next = trust.clone();
    next.enrolments.remove(&request.id);
    next.version += 1;
    Ok((name, next))
}

/// Answers a Renew of whoever opened the connection, with its leaf's serial number.
///
/// # Errors
/// When the leaf gives no ground.
pub fn renew(
    trust: &TrustState,
    own: &ClusterId,
    cluster_set: &ClusterSet,
    caller: &Caller,
    serial: &[u8],
    now: Timestamp,
) -> Result<PeerName, NotEnrolled> {
    let Caller::Certified(name) = caller else {
        return Err(NotEnrolled::NoCertificate(caller.clone()));
    };
    let ground = Ground::Leaf(name, serial);
    Ok(grant(ground, own, cluster_set, &trust.withdrawn, now)?)
}

/// Opens an enrolment for `role`. The secret goes into the file and is not kept.
#[must_use]
pub fn open(trust: &TrustState, role: &Role, secret: &Secret, expires: Timestamp) -> TrustState {
    let mut next = trust.clone();
    next.version += 1;
    next.enrolments.insert(
        token::id(secret),
        IssuedEnrolment {
            role: role.to_string(),
            expires,
        },
    );
    next
}

#[cfg(test)]
mod tests;
