//! Shell: an operator's certificate: got, kept, renewed.

use std::path::Path;
use std::time::{Duration, SystemTime};

use causeway_certs::dial::{self, GatewayAt, NotIssued, Patience};
use causeway_certs::enrolment::{EnrolError, Member};
use causeway_certs::name::Role;
use causeway_proto::model::Timestamp;
use tonic::Code;

use crate::channel::{nobody, nonsense, refusal};
use crate::failure::{Failure, Kind};
use crate::print::note;

/// The gateway's own word where there is one.
fn failed(error: EnrolError) -> Failure {
    let EnrolError::Call { role, source } = error else {
        return Failure::refused(error);
    };
    match source.downcast::<NotIssued>().as_deref() {
        Ok(NotIssued::NoGateway) => {
            Failure::refused("the file names no gateway; give one with --server")
        }
        Ok(NotIssued::Unreached(unreached)) => nobody(unreached),
        // The secret alone decides here; no other way in would help.
        Ok(NotIssued::Refused { status, .. }) if status.code() == Code::PermissionDenied => {
            Failure::refused(status.message())
        }
        Ok(NotIssued::Refused { status, .. }) => refusal(status),
        Ok(NotIssued::Invalid { source, .. }) => nonsense(source),
        Ok(other) => Failure::refused(other),
        Err(source) => Failure::refused(format!("asking for a certificate as {role}: {source}")),
    }
}

/// The certificate in the directory, with its successor once most of its life is over.
///
/// # Errors
/// When there is none.
pub async fn member(dir: &Path, server: &GatewayAt, timeout: Duration) -> Result<Member, Failure> {
    let none = || {
        Failure::new(
            Kind::Refused,
            format!("{} holds no operator's certificate", dir.display()),
            "make a file with `causeway enroll operator/NAME` on the leader, then `causeway login FILE`",
        )
    };
    let member = Member::load(dir)
        .map_err(Failure::refused)?
        .ok_or_else(none)?;
    if member.renew_at(0).is_some_and(|at| at <= wall_clock()) {
        let server = std::slice::from_ref(server);
        if let Err(e) = dial::renew(&member, server, Patience::both(timeout)).await {
            note(&format!("the certificate was not renewed: {}", failed(e)));
        }
    }
    Ok(member)
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
fn wall_clock() -> Timestamp {
    SystemTime::now().into()
}

/// The first certificate: at that gateway, or at those that the file names.
///
/// # Errors
/// When none answers, or it refuses.
pub async fn enrol(
    dir: &Path,
    role: &Role,
    file: &Path,
    server: Option<&GatewayAt>,
    timeout: Duration,
) -> Result<Member, Failure> {
    let gateways = server.map_or(&[][..], std::slice::from_ref);
    let patience = Patience::both(timeout);
    let member = dial::member(dir, role, Some(file), wall_clock(), gateways, patience).await;
    member.map_err(failed)
}
