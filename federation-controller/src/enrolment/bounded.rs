//! Shell: how much of a request is read at all. A request for a certificate is small; an offer of a whole state may be
//! large, so it is read only while one is wanted, and one at a time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use causeway_proto::limits::{CERTIFICATE_BYTES, SERVICE_TOKEN_BYTES, STATE_BYTES};
use causeway_proto::wire::pb::enrolment::enrolment_server::{EnrolmentServer, SERVICE_NAME};
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;

use super::{Reviewer, Service, Standing};

/// Token, signing request and a role's name.
const REQUEST_BYTES: usize = SERVICE_TOKEN_BYTES + CERTIFICATE_BYTES + (8 << 10);
/// Offers that are read at one time.
const OFFERS: usize = 1;

/// The service behind its bounds.
pub struct Bounded<R> {
    service: Arc<Service<R>>,
    small: EnrolmentServer<Service<R>>,
    large: EnrolmentServer<Service<R>>,
    offers: Arc<Semaphore>,
}

impl<R> Clone for Bounded<R> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            small: self.small.clone(),
            large: self.large.clone(),
            offers: self.offers.clone(),
        }
    }
}

impl<R: Reviewer> Bounded<R> {
    /// Around the service.
    #[must_use]
    pub fn new(service: Arc<Service<R>>) -> Self {
        let sized =
            |bytes| EnrolmentServer::from_arc(service.clone()).max_decoding_message_size(bytes);
        Self {
            small: sized(REQUEST_BYTES),
            large: sized(STATE_BYTES),
            offers: Arc::new(Semaphore::new(OFFERS)),
            service,
        }
    }
}

impl<R> NamedService for Bounded<R> {
    const NAME: &'static str = SERVICE_NAME;
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl<R: Reviewer> tonic::codegen::Service<http::Request<Body>> for Bounded<R> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let offer = request.uri().path().ends_with("/Offer");
        let wanted = matches!(self.service.standing(), Standing::Absent(..));
        if !(offer && wanted) {
            return Box::pin(self.small.call(request));
        }
        match self.offers.clone().try_acquire_owned() {
            Ok(place) => {
                let answer = self.large.call(request);
                Box::pin(async move {
                    let answer = answer.await;
                    drop(place);
                    answer
                })
            }
            Err(_) => {
                let busy =
                    Status::unavailable("another gateway's offer is being read; offer again");
                Box::pin(std::future::ready(Ok(busy.into_http())))
            }
        }
    }
}
