//! Shell: the gRPC services of one gateway, on the Unix socket and over TCP with mutual TLS. Each call is checked
//! against its caller's role, converted once, and handed to the core or answered from the newest View.

mod bounds;
mod listen;
mod local;
mod scope;
mod status;

use causeway_certs::name::{Call, Caller, authorize};
use causeway_proto::model::ClusterId;
use tonic::{Request, Status};

pub use bounds::Bounds;
pub use listen::{Calling, Connections, tcp, unix};
pub use local::{LocalService, Signer};
pub use scope::{carriers, scope};
pub use status::StatusService;

/// Who calls; nobody where a connection told nothing.
pub fn calling<T>(request: &Request<T>) -> Calling {
    let known = request.extensions().get::<Calling>().cloned();
    known.unwrap_or(Calling {
        caller: Caller::Anonymous,
        leaf: None,
    })
}

/// Refuses what the caller's role does not allow.
pub fn check<T>(request: &Request<T>, own: &ClusterId, call: &Call) -> Result<Calling, Status> {
    let calling = calling(request);
    authorize(&calling.caller, own, call).map_err(|e| Status::permission_denied(e.to_string()))?;
    Ok(calling)
}

/// What was sent cannot be right.
pub fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}
