//! Shell: `causeway whois`.

use causeway_proto::model::{Address, Whois};
use causeway_proto::wire::pb::status::WhoisRequest;

use crate::args::Format;
use crate::channel::{nonsense, refusal};
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::print::print;
use crate::show::WhoisForm;

pub async fn run(address: Address, client: &Client, output: Format) -> Result<(), Failure> {
    let request = WhoisRequest {
        address: address.bytes().to_vec(),
    };
    let reply = client.status().whois(request).await;
    let reply = reply.map_err(|e| refusal(&e))?.into_inner();
    let meanings: Vec<Whois> = reply.try_into().map_err(|e| nonsense(&e))?;
    if meanings.is_empty() {
        let what = format!("{address} means nothing here");
        return Err(Failure::new(Kind::NotFound, what, ""));
    }
    print(&WhoisForm::of(address, &meanings), output)
}
