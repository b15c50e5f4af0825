//! Shell: a channel to a gateway, and what its refusals mean.

use std::error::Error as _;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use causeway_certs::dial::{self, GatewayAt, Patience, Unreached};
use causeway_certs::tls::Tls;
use causeway_proto::wire::InvalidWire;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::failure::{Failure, Kind};

fn unreachable(what: impl Into<String>, check: impl Into<String>) -> Failure {
    Failure::new(Kind::Unreachable, what, check)
}

/// A channel to that gateway, as whoever `tls` presents.
///
/// # Errors
/// When nobody answers there, or it is not a gateway of this cluster.
pub async fn channel(
    at: &GatewayAt,
    tls: Option<&Tls>,
    timeout: Duration,
) -> Result<Channel, Failure> {
    let channel = dial::channel(at, tls, Patience::both(timeout)).await;
    channel.map_err(|unreached| nobody(&unreached))
}

/// Why nobody was reached, and what to check.
pub fn nobody(unreached: &Unreached) -> Failure {
    match unreached {
        Unreached::Io {
            at: GatewayAt::Unix(path),
            source,
        } => no_socket(path, source),
        Unreached::Io { .. } => unreachable(
            unreached.to_string(),
            "is the gateway running, is this its local service (port 7444 unless configured), does a firewall block it, is the certificate of this cluster?",
        ),
        Unreached::Late { .. } => unreachable(
            unreached.to_string(),
            "is the address right, does a firewall block it?",
        ),
        Unreached::NotGrpc { .. } => {
            unreachable(unreached.to_string(), "is it a gateway's address?")
        }
        Unreached::NoCertificate(_) | Unreached::Tls(_) => Failure::refused(unreached),
    }
}

fn no_socket(path: &Path, error: &std::io::Error) -> Failure {
    let (what, check) = match error.kind() {
        ErrorKind::NotFound => (
            "there is no socket",
            "is causeway-gateway running on this node? `listen.socket` in its configuration says where it listens; give that with --socket",
        ),
        ErrorKind::ConnectionRefused => (
            "nobody listens on the socket",
            "causeway-gateway has stopped: look at its log, start it again",
        ),
        ErrorKind::PermissionDenied => (
            "you may not open the socket",
            "only its owner may: run this as the gateway's user or as root",
        ),
        _ => ("the socket cannot be opened", "is it a gateway's socket?"),
    };
    unreachable(format!("{}: {what} ({error})", path.display()), check)
}

/// What a refusal means for the person who called.
pub fn refusal(status: &Status) -> Failure {
    // A status that did not come from the gateway has the connection's error as its source.
    let lost = status.source().is_some();
    let (kind, check) = match status.code() {
        Code::NotFound => (Kind::NotFound, ""),
        Code::Unavailable | Code::Unknown if lost => (
            Kind::Unreachable,
            "the connection was lost: did the gateway stop? look at its log",
        ),
        Code::Unavailable => (Kind::Unreachable, ""),
        Code::DeadlineExceeded | Code::Cancelled => {
            let what = "the gateway did not answer in time";
            return unreachable(what, "look at its log, or wait longer with --timeout");
        }
        Code::PermissionDenied | Code::Unauthenticated => (
            Kind::Refused,
            "this needs a kubeconfig with --context, the gateway's Unix socket, or an operator's certificate with --server and --identity",
        ),
        Code::Unimplemented => (
            Kind::Refused,
            "the gateway's version is older than this command: `causeway status` says which it is",
        ),
        _ => (Kind::Refused, ""),
    };
    let what = match status.message() {
        "" => format!("the gateway says {:?}", status.code()),
        message => message.to_owned(),
    };
    Failure::new(kind, what, check)
}

/// An answer that cannot be right.
pub fn nonsense(error: &InvalidWire) -> Failure {
    let check = "is the gateway's version newer than this command?";
    Failure::new(
        Kind::Refused,
        format!("the gateway's answer makes no sense: {error}"),
        check,
    )
}
