//! Shell: `causeway token`.

use causeway_certs::token::JoinToken;
use causeway_proto::model::Timestamp;
use causeway_proto::wire::pb::admin::CreateTokenRequest;

use crate::args::{Format, Global, TokenCommand};
use crate::channel::refusal;
use crate::client::Client;
use crate::failure::Failure;
use crate::manifest::Manifests;
use crate::print::{note, print};
use crate::show::TokenForm;
use crate::text::when;

pub async fn run(command: TokenCommand, client: &Client, global: &Global) -> Result<(), Failure> {
    let TokenCommand::Create {
        ttl,
        for_cluster,
        manifests,
    } = command;
    let request = CreateTokenRequest {
        ttl_secs: ttl.as_secs(),
        for_cluster: for_cluster.map(String::from),
    };
    let reply = client.admin().create_token(request).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    if manifests {
        return print_manifests(&reply.token, global);
    }
    let form = TokenForm::of(reply.token, Timestamp(reply.expires_ms));
    print(&form, global.output)?;
    if global.output == Format::Table {
        note(&form.hint());
    }
    Ok(())
}

/// The objects whose applying redeems the token.
pub fn print_manifests(token: &str, global: &Global) -> Result<(), Failure> {
    let decoded = JoinToken::decode(token).map_err(Failure::refused)?;
    let expires = when(decoded.expires);
    let form = Manifests::of(
        token.to_owned(),
        &decoded.issuer,
        expires,
        global.namespace(),
    );
    print(&form, global.output)?;
    note(&form.hint());
    Ok(())
}
