//! Shell: `causeway join`.

use std::io::Read as _;

use causeway_proto::model::Preflight;
use causeway_proto::wire::pb::admin::JoinRequest;

use crate::args::{Format, JoinArgs};
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::print::print;
use crate::show::JoinForm;

/// Far more than a token has.
const TOKEN_BYTES: u64 = 64 << 10;

pub async fn run(args: JoinArgs, client: &Client, output: Format) -> Result<(), Failure> {
    let token = match args.token.as_str() {
        "-" => from_stdin()?,
        token => token.trim().to_owned(),
    };
    let request = JoinRequest {
        token,
        dry_run: args.dry_run,
    };
    let reply = client.admin().join(request).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let (joined, preflight): (bool, Preflight) = reply.try_into().map_err(|e| nonsense(&e))?;
    let form = JoinForm::of(joined, args.dry_run, &preflight);
    print(&form, output)?;
    if form.failed() {
        let what = format!("{} was not joined", preflight.peer.cluster);
        return Err(Failure::new(Kind::Refused, what, "the findings say why"));
    }
    Ok(())
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(TOKEN_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| Failure::refused(format!("reading the token from standard input: {e}")))?;
    Ok(text.trim().to_owned())
}
