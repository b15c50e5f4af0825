//! Shell: `causeway revoke`.

use causeway_proto::model::ClusterId;
use causeway_proto::wire::pb::admin::RevokeRequest;

use crate::args::Format;
use crate::channel::refusal;
use crate::client::Client;
use crate::failure::Failure;
use crate::print::print;
use crate::show::RevokeForm;

pub async fn run(peer: &ClusterId, client: &Client, output: Format) -> Result<(), Failure> {
    let peer = peer.to_string();
    let request = RevokeRequest { peer: peer.clone() };
    client
        .admin()
        .revoke(request)
        .await
        .map_err(|e| refusal(&e))?;
    print(&RevokeForm::of(peer), output)
}
