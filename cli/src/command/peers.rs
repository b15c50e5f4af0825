//! Shell: `causeway peers`.

use std::collections::BTreeMap;

use causeway_proto::model::{ClusterId, PeerStatus};
use causeway_proto::wire::pb::status::ListPeersRequest;

use crate::args::Format;
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::Failure;
use crate::print::print;
use crate::show::PeersForm;

pub async fn run(client: &Client, output: Format) -> Result<(), Failure> {
    let reply = client.status().list_peers(ListPeersRequest {}).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let peers: BTreeMap<ClusterId, PeerStatus> = reply.try_into().map_err(|e| nonsense(&e))?;
    print(&PeersForm::of(&peers), output)
}
