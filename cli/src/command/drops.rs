//! Shell: `causeway drops`.

use std::collections::BTreeMap;

use causeway_proto::model::NodeName;
use causeway_proto::wire::pb::status::GetDropsRequest;

use crate::args::Format;
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::Failure;
use crate::print::print;
use crate::show::DropsForm;

pub async fn run(client: &Client, output: Format) -> Result<(), Failure> {
    let reply = client.status().get_drops(GetDropsRequest {}).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let drops: BTreeMap<(NodeName, String), u64> = reply.try_into().map_err(|e| nonsense(&e))?;
    print(&DropsForm::of(&drops), output)
}
