//! Shell: `causeway enroll`.

use causeway_certs::files::write_private;
use causeway_proto::model::Timestamp;
use causeway_proto::wire::pb::admin::{EnrollRequest, Role};

use crate::args::{EnrollArgs, Format};
use crate::channel::refusal;
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::print::{note, print};
use crate::show::EnrolmentForm;

pub async fn run(args: EnrollArgs, client: &Client, output: Format) -> Result<(), Failure> {
    let name = match (args.who.name, args.name) {
        (Some(name), None) | (None, Some(name)) => name,
        (Some(_), Some(_)) => return Err(Failure::new(Kind::Usage, "the name is given twice", "")),
        (None, None) => {
            let what = format!("which {0}? write {0}/NAME", args.who.word);
            return Err(Failure::new(Kind::Usage, what, ""));
        }
    };
    let request = EnrollRequest {
        role: Role::from(args.who.role).into(),
        name: name.clone(),
        ttl_secs: args.ttl.as_secs(),
    };
    let reply = client.admin().enroll(request).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    if let Some(path) = &args.out {
        write_private(path, reply.file.as_bytes()).map_err(Failure::refused)?;
    }
    let path = args.out.map(|p| p.display().to_string());
    let expires = Timestamp(reply.expires_ms);
    let form = EnrolmentForm::of(args.who.word, name, expires, path, reply.file);
    print(&form, output)?;
    if output == Format::Table {
        note(&form.hint());
    }
    Ok(())
}
