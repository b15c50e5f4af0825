//! Shell: `causeway token`.

use causeway_proto::model::Timestamp;
use causeway_proto::wire::pb::admin::CreateTokenRequest;

use crate::args::{Format, TokenCommand};
use crate::channel::refusal;
use crate::client::Client;
use crate::failure::Failure;
use crate::print::{note, print};
use crate::show::TokenForm;

pub async fn run(command: TokenCommand, client: &Client, output: Format) -> Result<(), Failure> {
    let TokenCommand::Create { ttl, for_cluster } = command;
    let request = CreateTokenRequest {
        ttl_secs: ttl.as_secs(),
        for_cluster: for_cluster.map(String::from),
    };
    let reply = client.admin().create_token(request).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let form = TokenForm::of(reply.token, Timestamp(reply.expires_ms));
    print(&form, output)?;
    if output == Format::Table {
        note(&form.hint());
    }
    Ok(())
}
