//! Shell: `causeway doctor`.

use causeway_proto::model::{ClusterId, Diagnosis};
use causeway_proto::wire::pb::status::DiagnoseRequest;

use crate::args::Format;
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::Failure;
use crate::print::print;
use crate::show::DoctorForm;

/// What is found is printed in any case.
///
/// # Errors
/// Also when a check failed.
pub async fn run(peer: Option<ClusterId>, client: &Client, output: Format) -> Result<(), Failure> {
    let peer = peer.map(Into::into);
    let reply = client.status().diagnose(DiagnoseRequest { peer }).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let found: Vec<Diagnosis> = reply.try_into().map_err(|e| nonsense(&e))?;
    let form = DoctorForm::of(&found);
    print(&form, output)?;
    match form.failed() {
        0 => Ok(()),
        1 => Err(Failure::refused("1 check failed")),
        failed => Err(Failure::refused(format_args!("{failed} checks failed"))),
    }
}
