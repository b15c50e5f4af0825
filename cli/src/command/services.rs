//! Shell: `causeway services`.

use std::collections::BTreeMap;

use causeway_proto::model::{ServiceName, ServiceStatus};
use causeway_proto::wire::pb::status::ListServicesRequest;

use crate::args::Format;
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::Failure;
use crate::print::print;
use crate::show::ServicesForm;

pub async fn run(
    only: Option<ServiceName>,
    client: &Client,
    output: Format,
) -> Result<(), Failure> {
    let request = ListServicesRequest {
        service: only.map(String::from),
    };
    let reply = client.status().list_services(request).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let services: BTreeMap<ServiceName, ServiceStatus> =
        reply.try_into().map_err(|e| nonsense(&e))?;
    print(&ServicesForm::of(&services), output)
}
