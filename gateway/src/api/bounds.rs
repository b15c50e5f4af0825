//! Shell: what a caller may send at all, decided before a byte of a message is read: who has no certificate may
//! only enrol, and only a publication and what followers say may be large.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use causeway_certs::name::Caller;
use futures::future::Either;
use http::{Request, Response};
use http_body_util::Limited;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::Calling;

/// A message of any call but those that are `LARGE`: a report of a node with all its pods stays far under it.
const MESSAGE_BYTES: usize = 4 << 20;
/// Calls whose messages hold all of a cluster.
const LARGE: [&str; 3] = [
    "/causeway.local.v1.Local/Publish",
    "/causeway.local.v1.Local/Follow",
    "/causeway.local.v1.Local/Lead",
];
/// The one call without a certificate.
const ENROLL: &str = "/causeway.local.v1.Local/Enroll";

/// In front of all services of the local API.
#[derive(Debug, Clone, Copy)]
pub struct Bounds;

/// A service behind it.
#[derive(Debug, Clone)]
pub struct Bounded<S>(S);

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;
    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded(inner)
    }
}

impl<S: Service<Request<Body>, Response = Response<Body>>> Service<Request<Body>> for Bounded<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let calling = request.extensions().get::<Calling>();
        let known = calling.is_some_and(|c| c.caller != Caller::Anonymous);
        if !known && path != ENROLL {
            let denied = Status::permission_denied("a caller without a certificate may only enrol");
            return Either::Right(ready(Ok(denied.into_http())));
        }
        let large = LARGE.contains(&path);
        Either::Left(self.0.call(if large {
            request
        } else {
            request.map(|body| Body::new(Limited::new(body, MESSAGE_BYTES)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tower::ServiceExt;

    use super::*;

    /// How a call of so many bytes ends: read whole, cut off, or refused unread.
    async fn call(caller: Option<Caller>, path: &str, bytes: usize) -> &'static str {
        let body = Full::new(bytes::Bytes::from(vec![0; bytes]));
        let mut request = Request::new(Body::new(body));
        *request.uri_mut() = path.parse().unwrap();
        let calling = caller.map(|caller| Calling { caller, leaf: None });
        if let Some(calling) = calling {
            request.extensions_mut().insert(calling);
        }
        let read = tower::service_fn(|request: Request<Body>| async {
            let whole = request.into_body().collect().await.is_ok();
            let status = if whole { 200 } else { 413 };
            Ok::<_, std::convert::Infallible>(
                Response::builder()
                    .status(status)
                    .body(Body::empty())
                    .unwrap(),
            )
        });
        let reply = Bounds.layer(read).oneshot(request).await.unwrap();
        match (reply.status().as_u16(), reply.headers().get("grpc-status")) {
            (200, None) => "read",
            (200, Some(_)) => "refused",
            _ => "cut off",
        }
    }

    #[tokio::test]
    async fn who_may_send_how_much() {
        let report = "/causeway.local.v1.Local/Report";
        let over = MESSAGE_BYTES + 1;
        let nobody = || Some(Caller::Anonymous);
        assert_eq!(call(nobody(), report, 1).await, "refused");
        assert_eq!(call(None, report, 1).await, "refused");
        assert_eq!(call(nobody(), LARGE[0], 1).await, "refused");
        assert_eq!(call(nobody(), ENROLL, 400).await, "read");
        assert_eq!(call(nobody(), ENROLL, over).await, "cut off");
        let us = || Some(Caller::Socket);
        assert_eq!(call(us(), report, MESSAGE_BYTES).await, "read");
        assert_eq!(call(us(), report, over).await, "cut off");
        for large in LARGE {
            assert_eq!(call(us(), large, over).await, "read");
        }
    }

    /// A call that is renamed must be renamed here.
    #[test]
    fn paths_are_those_of_the_contract() {
        let contract = include_str!("../../../proto/local.proto");
        for path in LARGE.into_iter().chain([ENROLL]) {
            let mut parts = path.trim_start_matches('/').split('/');
            let (service, method) = (parts.next().unwrap(), parts.next().unwrap());
            let package = service.strip_suffix(".Local").unwrap();
            assert!(contract.contains(&format!("package {package};")), "{path}");
            assert!(contract.contains(&format!("rpc {method}(")), "{path}");
        }
    }
}
