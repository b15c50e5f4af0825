//! Shell: the gateway that the command line names.

use std::path::PathBuf;

use causeway_certs::dial::GatewayAt;
use causeway_proto::limits;
use causeway_proto::wire::pb::admin::admin_client::AdminClient;
use causeway_proto::wire::pb::status::status_client::StatusClient;
use tonic::transport::Channel;

use crate::args::{Global, SOCKET};
use crate::channel::channel;
use crate::failure::{Failure, Kind};
use crate::kubernetes::Need;
use crate::progress::Progress;
use crate::{identity, kubernetes};

/// The directory with an operator's certificate, where no option gives it.
pub const IDENTITY: &str = "CAUSEWAY_IDENTITY";
/// The socket, where no option gives it.
const SOCKET_VARIABLE: &str = "CAUSEWAY_SOCKET";

/// A connected gateway.
#[derive(Debug, Clone)]
pub struct Client(Channel);

impl Client {
    /// By the options of the command line.
    ///
    /// # Errors
    /// When nobody answers there, or the certificate cannot be used.
    pub async fn connect(global: &Global, need: Need, progress: Progress) -> Result<Self, Failure> {
        let channel = match Way::of(global)? {
            Way::Kubernetes => {
                let wanted = kubernetes::Wanted {
                    file: global.kubeconfig.as_deref(),
                    context: global.context.as_deref(),
                    namespace: global.namespace(),
                };
                let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
                let user = user.ok();
                kubernetes::channel(wanted, need, user.as_deref(), global.timeout, progress).await?
            }
            Way::Server(server, identity) => {
                let member = identity::member(&identity, server, global.timeout).await?;
                channel(server, Some(&member.tls), global.timeout).await?
            }
            Way::Socket(path) => channel(&GatewayAt::Unix(path), None, global.timeout).await?,
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

/// How the gateway is reached.
enum Way<'a> {
    /// Through the API server that a kubeconfig names.
    Kubernetes,
    /// By an operator's certificate.
    Server(&'a GatewayAt, PathBuf),
    /// On this machine.
    Socket(PathBuf),
}

impl<'a> Way<'a> {
    /// The command line comes before the environment, and that before what happens to be there.
    fn of(global: &'a Global) -> Result<Self, Failure> {
        if global.on_kubernetes() {
            return Ok(Self::Kubernetes);
        }
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        if let Some(server) = &global.server {
            let identity = global.identity.clone().or_else(|| path(IDENTITY));
            let missing = || {
                let what = "--server needs an operator's certificate";
                let check = "give its directory with --identity; `causeway login` makes one";
                Failure::new(Kind::Usage, what, check)
            };
            return Ok(Self::Server(server, identity.ok_or_else(missing)?));
        }
        if let Some(socket) = global.socket.clone().or_else(|| path(SOCKET_VARIABLE)) {
            return Ok(Self::Socket(socket));
        }
        let socket = PathBuf::from(SOCKET);
        if !socket.exists() && kubernetes::is_there() {
            return Ok(Self::Kubernetes);
        }
        Ok(Self::Socket(socket))
    }
}
