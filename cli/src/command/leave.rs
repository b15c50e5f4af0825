//! Shell: `causeway leave`.

use causeway_proto::wire::pb::admin::LeaveRequest;

use crate::args::Format;
use crate::channel::refusal;
use crate::client::Client;
use crate::failure::Failure;
use crate::print::print;
use crate::show::LeaveForm;

pub async fn run(client: &Client, output: Format) -> Result<(), Failure> {
    let reply = client.admin().leave(LeaveRequest {}).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    print(&LeaveForm::of(reply.told, reply.not_told), output)
}
