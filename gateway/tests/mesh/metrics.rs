//! The page that Prometheus reads, over a real socket.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::harness::Cluster;

/// The page of a cluster's gateway.
pub async fn page(cluster: &Cluster) -> String {
    let at = cluster.running().addresses.metrics.unwrap();
    said(at, "GET /metrics HTTP/1.1\r\nhost: east\r\n\r\n").await
}

async fn said(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_read_and_nothing_else_is() {
    let east = Cluster::start("east", "e1").await;
    let at = east.running().addresses.metrics.unwrap();
    let page = said(at, "GET /metrics HTTP/1.1\r\nhost: east\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    let kind = "content-type: application/openmetrics-text; version=1.0.0";
    assert!(page.contains(kind), "{page}");
    assert!(page.contains("\ncauseway_gateway_leads 1\n"), "{page}");
    assert!(page.contains("certificate=\"ca\"") && page.ends_with("# EOF\n"));
    // What was asked of the zone is counted.
    let answered = "causeway_gateway_dns_answers_total{code=\"SERVFAIL\",transport=\"udp\"} 0";
    assert!(page.contains(answered), "{page}");

    let post = said(at, "POST /metrics HTTP/1.1\r\nhost: east\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    let other = said(at, "GET /debug/pprof HTTP/1.1\r\nhost: east\r\n\r\n").await;
    assert!(other.starts_with("HTTP/1.1 404"), "{other}");
    let rubbish = said(at, "\u{16}\u{3}\u{1} is no request\r\n\r\n").await;
    assert!(rubbish.starts_with("HTTP/1.1 400"), "{rubbish}");
    east.stop().await;
}
