//! Shell: `causeway status`.

use causeway_proto::model::GatewayStatus;
use causeway_proto::wire::pb::status::GetStatusRequest;

use crate::args::Format;
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::Failure;
use crate::print::print;
use crate::show::StatusForm;

pub async fn run(client: &Client, output: Format) -> Result<(), Failure> {
    let reply = client.status().get_status(GetStatusRequest {}).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let status: GatewayStatus = reply.try_into().map_err(|e| nonsense(&e))?;
    print(&StatusForm::of(&status), output)
}
