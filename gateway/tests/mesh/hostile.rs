//! A peer that was paired, with its own keys, and does not keep to the protocol.

use std::sync::Arc;

use bytes::BufMut;
use causeway_certs::ca::Authority;
use causeway_certs::name::Role;
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::trust::{Trust, TrustHandle};
use causeway_gateway::app;
use causeway_gateway::session::VERSIONS;
use causeway_gateway::transport::{Link, Transport};
use causeway_proto::limits::FRAME_BYTES;
use causeway_proto::model::{ByeReason, Frame, Hello, ProblemKind, TrustState};
use causeway_proto::wire::pb::federation as pb;
use futures::StreamExt;
use prost::Message as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status, Streaming};

use crate::harness::{Cluster, exports, pair, until};

/// Bytes as they are, in place of protobuf.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use bytes::Buf;
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// East's keys in other hands.
struct Hostile {
    transport: Transport,
    tls: Tls,
    at: String,
}

impl Hostile {
    async fn new(east: &Cluster, west: &Cluster) -> Self {
        let (set, now) = ("test".parse().unwrap(), app::wall_clock());
        let open = |cluster: &Cluster, id: &str| {
            Authority::open(&cluster.state_dir(), &id.parse().unwrap(), &set, now).unwrap()
        };
        let (own, peer) = (open(east, "east"), open(west, "west"));
        let role = Role::parse("gateway/e1").unwrap();
        let leaf = LeafCell::new(&own.own_leaf(role, now).unwrap()).unwrap();
        let mut state = TrustState::default();
        state
            .bundles
            .insert("west".parse().unwrap(), peer.bundle(Vec::new()));
        let roots = vec![own.certificate().to_vec()];
        let trust = Trust::new("east".parse().unwrap(), set.clone(), &roots, &state);
        Self {
            transport: Transport::bind("127.0.0.1:0".parse().unwrap(), &[7; 32])
                .await
                .unwrap(),
            tls: Tls::new(leaf, TrustHandle::new(trust)),
            at: west.running().addresses.session.to_string(),
        }
    }

    /// Sends these messages on a session of their own, and reads on until west says goodbye.
    async fn says(&self, messages: Vec<Vec<u8>>) -> (ByeReason, String) {
        let config = self.tls.peer_client(&"west".parse().unwrap()).unwrap();
        let link: Link = self
            .transport
            .dial(&self.at, Arc::new(config), false)
            .await
            .unwrap();
        let mut grpc = tonic::client::Grpc::new(link.channel().await.unwrap());
        grpc.ready().await.unwrap();
        // Half of the session stays open: what ends it is the other side's.
        let messages = futures::stream::iter(messages).chain(futures::stream::pending());
        let path =
            http::uri::PathAndQuery::from_static("/causeway.federation.v1.Federation/Session");
        let call = grpc.streaming(Request::new(messages), path, Raw);
        let mut replies: Streaming<Vec<u8>> = call.await.unwrap().into_inner();
        while let Some(Ok(bytes)) = replies.next().await {
            let frame = pb::Frame::decode(bytes.as_slice()).unwrap();
            if let Ok(Frame::Bye(bye)) = Frame::try_from(frame) {
                return (bye.reason, bye.message);
            }
        }
        panic!("no goodbye");
    }
}

fn bytes(frame: &Frame) -> Vec<u8> {
    pb::Frame::from(frame).encode_to_vec()
}

fn hello(cluster: &str) -> Frame {
    Frame::Hello(Hello {
        cluster: cluster.parse().unwrap(),
        cluster_set: "test".parse().unwrap(),
        gateway: "e1".parse().unwrap(),
        versions: VERSIONS,
        features: Default::default(),
        time: app::wall_clock(),
        number_for_you: None,
        plain_allowed: true,
        held: None,
        instance: 77,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_none_are_the_peers_fault() {
    let east = Cluster::start("east", "e1").await;
    let west = Cluster::start("west", "w1").await;
    pair(&west, &east).await;
    west.publish(exports("w1", &["10.244.1.5"])).await;
    let hostile = Hostile::new(&east, &west).await;
    east.stop().await;

    let first = bytes(&hello("east"));
    let oversized = vec![0; FRAME_BYTES + 4096];
    let (reason, why) = hostile.says(vec![first.clone(), oversized]).await;
    assert_eq!(reason, ByeReason::PeerFault, "{why}");
    assert!(why.contains("too large"), "{why}");
    let view = until(&west, "east is at fault", |view| {
        let fault = |p: &&causeway_proto::model::Problem| p.kind == ProblemKind::PeerFault;
        view.problems.iter().any(|p| fault(&p))
    })
    .await;
    let told = view.problems.iter().map(ToString::to_string);
    let told = told.collect::<Vec<_>>().join("\n");
    assert!(
        told.contains("peer east") && told.contains("too large"),
        "{told}"
    );

    let truncated = first[..first.len() - 3].to_vec();
    let (reason, why) = hostile.says(vec![first.clone(), truncated.clone()]).await;
    assert_eq!(reason, ByeReason::PeerFault, "{why}");
    let (reason, why) = hostile.says(vec![truncated]).await;
    assert_eq!(reason, ByeReason::PeerFault, "{why}");
    let (reason, why) = hostile.says(vec![first, b"\x0a\x02\x08".to_vec()]).await;
    assert_eq!(reason, ByeReason::PeerFault, "{why}");

    let (reason, why) = hostile.says(vec![bytes(&hello("south"))]).await;
    assert_eq!(reason, ByeReason::PeerFault, "{why}");
    assert!(why.contains("says it is south/e1"), "{why}");
    west.stop().await;
}
