//! Shell: `causeway login`: a one-time file becomes an operator's certificate.

use std::path::PathBuf;

use causeway_certs::enrolment::Enrolment;
use causeway_certs::name::Role;

use crate::args::{Global, LoginArgs};
use crate::client::IDENTITY;
use crate::failure::{Failure, Kind};
use crate::identity::enrol;
use crate::print::note;

pub async fn run(args: &LoginArgs, global: &Global) -> Result<(), Failure> {
    let dir = identity(global)?;
    let enrolment = Enrolment::read(&args.file).map_err(Failure::refused)?;
    let role = Role::parse(&enrolment.home.role).map_err(Failure::refused)?;
    if !matches!(role, Role::Operator(_)) {
        let what = format!("{} is for {role}, not for an operator", args.file.display());
        return Err(Failure::new(Kind::Refused, what, "give it to that process"));
    }
    let server = global.server.as_ref();
    let member = enrol(&dir, &role, &args.file, server, global.timeout).await?;
    let gateways = member.home().gateways.join(" or ");
    note(&format!(
        "{role} of {}: use it with --server {gateways} --identity {}",
        member.home().cluster,
        dir.display()
    ));
    Ok(())
}

fn identity(global: &Global) -> Result<PathBuf, Failure> {
    let missing = || {
        let what = "where should the certificate go?";
        Failure::new(Kind::Usage, what, "give a directory with --identity")
    };
    let given = global.identity.clone();
    let named = || std::env::var_os(IDENTITY).map(PathBuf::from);
    given.or_else(named).ok_or_else(missing)
}
