//! Shell: `causeway ca rotate`.

use causeway_proto::wire::pb::admin::RotateAuthorityRequest;

use crate::args::Format;
use crate::channel::refusal;
use crate::client::Client;
use crate::failure::Failure;
use crate::print::print;
use crate::show::RotateForm;

pub async fn rotate(client: &Client, output: Format) -> Result<(), Failure> {
    let reply = client
        .admin()
        .rotate_authority(RotateAuthorityRequest {})
        .await
        .map_err(|e| refusal(&e))?;
    print(&RotateForm::of(reply.into_inner()), output)
}
