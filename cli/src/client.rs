//! Shell: the gateway that the command line names.

use causeway_certs::dial::GatewayAt;
use causeway_proto::limits;
use causeway_proto::wire::pb::admin::admin_client::AdminClient;
use causeway_proto::wire::pb::status::status_client::StatusClient;
use tonic::transport::Channel;

use crate::args::Global;
use crate::channel::channel;
use crate::failure::{Failure, Kind};
use crate::identity;

/// A connected gateway.
#[derive(Debug, Clone)]
pub struct Client(Channel);

impl Client {
    /// By the options of the command line.
    ///
    /// # Errors
    /// When nobody answers there, or the certificate cannot be used.
    pub async fn connect(global: &Global) -> Result<Self, Failure> {
        let channel = match (&global.server, &global.identity) {
            (Some(server), Some(identity)) => {
                let member = identity::member(identity, server, global.timeout).await?;
                channel(server, Some(&member.tls), global.timeout).await?
            }
            (Some(_), None) => {
                let what = "--server needs an operator's certificate";
                let check = "give its directory with --identity; `causeway login` makes one";
                return Err(Failure::new(Kind::Usage, what, check));
            }
            (None, _) => {
                let socket = GatewayAt::Unix(global.socket.clone());
                channel(&socket, None, global.timeout).await?
            }
        };
        Ok(Self(channel))
    }

    /// Calls that change nothing.
    pub fn status(&self) -> StatusClient<Channel> {
        StatusClient::new(self.0.clone()).max_decoding_message_size(limits::VIEW_BYTES)
    }

    /// Calls that change something.
    pub fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.0.clone()).max_decoding_message_size(limits::VIEW_BYTES)
    }
}
