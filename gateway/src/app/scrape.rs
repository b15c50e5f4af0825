//! Shell: the one page that Prometheus reads, over plain HTTP: whoever reaches the port may read it, and nobody can do
//! anything by it. It names peers and counts things; no service, client or secret is on it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::serve::pause;
use causeway_dns::{Answered, Counts};
use causeway_proto::model::GatewayName;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::clock::wall_clock;
use super::handle::Core;
use crate::{metrics, status};

/// Readers at one time: a few Prometheus replicas, and somebody with curl.
const READERS: usize = 8;
/// How long one may take, all together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of a request's head, the least that hyper takes.
const HEAD_BYTES: usize = 8192;

/// What the page is made from.
pub struct Page {
    /// The core's newest.
    pub core: Core,
    /// This gateway.
    pub gateway: GatewayName,
    /// Of each DNS address.
    pub dns: Vec<Arc<Counts>>,
    /// Of the sessions.
    pub carried: Arc<crate::tunnel::counts::Counts>,
}

impl Page {
    fn text(&self) -> Option<String> {
        let (view, facts) = (self.core.view(), self.core.facts());
        let status = status::gateway(&self.gateway, &view, &facts, wall_clock());
        let leading = self.core.leading();
        let dns: Vec<(Answered, u64)> = self.dns.iter().flat_map(|counts| counts.read()).collect();
        let beside = metrics::Beside {
            leads: leading.leads,
            controllers: leading.controllers,
            dns: &dns,
            carried: &self.carried.read(),
        };
        metrics::text(&status, &view, &beside).ok()
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let plain = |code, text: &'static str| {
            let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
            *response.status_mut() = code;
            response
        };
        if request.uri().path() != "/metrics" {
            return plain(StatusCode::NOT_FOUND, "only /metrics is here\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "it can only be read\n");
            let methods = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, methods);
            return response;
        }
        let Some(text) = self.text() else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "cannot be written\n");
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

/// Serves it for ever.
pub async fn run(listener: TcpListener, page: Page) {
    let page = Arc::new(page);
    let places = Arc::new(Semaphore::new(READERS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, from)) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, one(stream, from, page)).await;
                    drop(place);
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn one(stream: TcpStream, from: SocketAddr, page: Arc<Page>) {
    let service = service_fn(move |request| {
        let answer = page.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%from, %error, "metrics are not read to the end");
    }
}
