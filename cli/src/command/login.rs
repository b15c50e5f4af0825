//! Shell: `causeway login`: a one-time file becomes an operator's certificate.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use causeway_certs::enrolment::{CallError, Enrolment, Issued, load_or_enrol};
use causeway_certs::name::Role;
use causeway_certs::tls::Tls;
use causeway_certs::token;
use causeway_proto::model::{self, IssuedCertificate, Timestamp};
use causeway_proto::wire::pb::local::EnrollRequest;
use causeway_proto::wire::pb::local::local_client::LocalClient;

use crate::args::{Global, LoginArgs};
use crate::client::{refusal, tls_channel};
use crate::failure::{Failure, Kind};
use crate::print::note;

pub async fn run(args: &LoginArgs, global: &Global) -> Result<(), Failure> {
    let dir = identity(global)?;
    let enrolment = Enrolment::read(&args.file).map_err(Failure::refused)?;
    let role = Role::parse(&enrolment.home.role).map_err(Failure::refused)?;
    if !matches!(role, Role::Operator(_)) {
        let what = format!("{} is for {role}, not for an operator", args.file.display());
        return Err(Failure::new(Kind::Refused, what, "give it to that process"));
    }
    let server = global.server.clone();
    let timeout = global.timeout;
    let call = |tls, enrolment, csr| enroll(server, timeout, tls, enrolment, csr);
    let member = load_or_enrol(&dir, &role, Some(&args.file), wall_clock(), call).await;
    let member = member.map_err(Failure::refused)?;
    let gateways = member.home.gateways.join(" or ");
    note(&format!(
        "{role} of {}: use it with --server {gateways} --identity {}",
        member.home.cluster,
        dir.display()
    ));
    Ok(())
}

fn identity(global: &Global) -> Result<PathBuf, Failure> {
    let missing = || {
        let what = "where should the certificate go?";
        Failure::new(Kind::Usage, what, "give a directory with --identity")
    };
    global.identity.clone().ok_or_else(missing)
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let ms = since.map_or(0, |d| d.as_millis());
    Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// At the first gateway that answers.
async fn enroll(
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
        let reply = reply.map_err(|e| refusal(&e))?.into_inner();
        let issued = IssuedCertificate::try_from(reply)?;
        return Ok(Issued {
            chain: issued.chain,
            authorities: issued.authorities,
        });
    }
    Err(last)
}
