//! Shell: an operator's certificate: got, kept, renewed.

use std::path::Path;
use std::time::{Duration, SystemTime};

use causeway_certs::enrolment::{CallError, EnrolError, Enrolment, Issued, Member};
use causeway_certs::tls::Tls;
use causeway_certs::token;
use causeway_proto::model::{self, IssuedCertificate, Timestamp};
use causeway_proto::wire::pb::local::local_client::LocalClient;
use causeway_proto::wire::pb::local::{EnrollRequest, RenewRequest};
use tonic::Code;

use crate::channel::{refusal, tls_channel};
use crate::failure::{Failure, Kind};
use crate::print::note;

/// The gateway's own word where there is one.
pub fn failed(error: EnrolError) -> Failure {
    match error {
        EnrolError::Call { role, source } => match source.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(source) => {
                Failure::refused(format!("asking for a certificate as {role}: {source}"))
            }
        },
        error => Failure::refused(error),
    }
}

/// The certificate in the directory, with its successor once most of its life is over.
///
/// # Errors
/// When there is none.
pub async fn member(dir: &Path, server: &str, timeout: Duration) -> Result<Member, Failure> {
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
        let call = |csr| renew(server, timeout, &member.tls, csr);
        if let Err(e) = member.renew(call).await {
            note(&format!("the certificate was not renewed: {}", failed(e)));
        }
    }
    Ok(member)
}

async fn renew(
    server: &str,
    timeout: Duration,
    tls: &Tls,
    csr: Vec<u8>,
) -> Result<Issued, CallError> {
    let channel = tls_channel(server, tls, timeout).await?;
    let reply = LocalClient::new(channel).renew(RenewRequest { csr }).await;
    let issued = IssuedCertificate::try_from(reply.map_err(|e| refusal(&e))?.into_inner())?;
    Ok(Issued {
        chain: issued.chain,
        authorities: issued.authorities,
    })
}

/// The time by this host's clock.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let ms = since.map_or(0, |d| d.as_millis());
    Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// The first certificate, from the first gateway that answers.
///
/// # Errors
/// When none answers, or it refuses.
pub async fn enroll(
    server: Option<String>,
    timeout: Duration,
    tls: Tls,
    enrolment: Enrolment,
    csr: Vec<u8>,
) -> Result<Issued, CallError> {
    let gateways = match server {
        Some(server) => vec![server],
        None => enrolment.home.gateways.clone(),
    };
    let request = model::Enrolment {
        id: token::id(&enrolment.secret),
        secret: enrolment.secret.expose().to_vec(),
        csr,
    };
    let mut last: CallError = "the file names no gateway; give one with --server".into();
    for gateway in gateways {
        let channel = match tls_channel(&gateway, &tls, timeout).await {
            Ok(channel) => channel,
            Err(failure) => {
                last = failure.into();
                continue;
            }
        };
        let reply = LocalClient::new(channel)
            .enroll(EnrollRequest::from(&request))
            .await;
        let reply = reply.map_err(|e| match e.code() {
            // The secret alone decides here; no other way in would help.
            Code::PermissionDenied => Failure::refused(e.message()),
            _ => refusal(&e),
        });
        let issued = IssuedCertificate::try_from(reply?.into_inner())?;
        return Ok(Issued {
            chain: issued.chain,
            authorities: issued.authorities,
        });
    }
    Err(last)
}
