//! Shell: a byte stream to a port of a pod, through the API server.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Error};
use tokio::io::DuplexStream;

/// How long the kubelet's word may come after the stream's end.
const WORD: Duration = Duration::from_millis(300);

/// One stream, and why it does not work, should the kubelet say so.
pub struct Forward {
    /// Who is at the other end.
    pub pod: String,
    /// Where.
    pub port: u16,
    stream: Option<DuplexStream>,
    word: BoxFuture<'static, Option<String>>,
}

impl Forward {
    /// Opens it. Whether anybody listens there shows only later.
    ///
    /// # Errors
    /// When the API server refuses or is away.
    pub async fn open(pods: &Api<Pod>, pod: &str, port: u16) -> Result<Self, Error> {
        let mut forwarder = pods.portforward(pod, &[port]).await?;
        let word = match forwarder.take_error(port) {
            Some(word) => word.boxed(),
            None => std::future::ready(None).boxed(),
        };
        Ok(Self {
            pod: pod.to_owned(),
            port,
            stream: forwarder.take_stream(port),
            word,
        })
    }

    /// The stream, once.
    pub fn stream(&mut self) -> DuplexStream {
        self.stream.take().unwrap_or_else(|| tokio::io::duplex(1).0)
    }

    /// What the kubelet says of it, if anything; asked after it has failed.
    pub async fn word(self) -> Option<String> {
        tokio::time::timeout(WORD, self.word).await.ok().flatten()
    }

    /// For messages.
    pub fn at(&self) -> String {
        format!("{}:{}", self.pod, self.port)
    }
}
