//! Shell: `causeway resolve`.

use causeway_proto::model::Resolution;
use causeway_proto::wire::pb::status::ResolveRequest;

use crate::args::{Format, ResolveArgs};
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::print::print;
use crate::show::ResolutionForm;

pub async fn run(args: ResolveArgs, client: &Client, output: Format) -> Result<(), Failure> {
    let request = ResolveRequest {
        name: args.name,
        kind: args.kind.to_uppercase(),
    };
    let reply = client.status().resolve(request).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let found: Resolution = reply.try_into().map_err(|e| nonsense(&e))?;
    print(&ResolutionForm::of(&found), output)?;
    match found.code.as_str() {
        "NOERROR" if !found.records.is_empty() => Ok(()),
        "NOERROR" => {
            let what = format!("{} has no {} record", found.name, found.kind);
            Err(Failure::new(Kind::NotFound, what, ""))
        }
        "NXDOMAIN" => {
            let what = format!("{} does not exist", found.name);
            let check = "`causeway services` lists what is exported anywhere";
            Err(Failure::new(Kind::NotFound, what, check))
        }
        code => {
            let what = format!("{}: {code}", found.name);
            let check = "the controller has not published yet, or a peer that never synced could change the answer: `causeway status`";
            Err(Failure::new(Kind::Refused, what, check))
        }
    }
}
