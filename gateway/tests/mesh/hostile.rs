//! A peer that was paired, with its own keys, and does not keep to the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BufMut;
use causeway_certs::ca::Authority;
use causeway_certs::name::Role;
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::trust::{Trust, TrustHandle};
use causeway_gateway::app;
use causeway_gateway::session::{PACKETS, VERSIONS};
use causeway_gateway::transport::{Link, Transport};
use causeway_proto::limits::FRAME_BYTES;
use causeway_proto::model::{Beat, ByeReason, Frame, Hello, ProblemKind, TrustState};
use causeway_proto::wire::pb::federation as pb;
use futures::StreamExt;
use prost::Message as _;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status, Streaming};

use crate::harness::{Cluster, exports, pair, until};
use crate::metrics::page;

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
        state.bundles.insert(
            "west".parse().unwrap(),
            peer.bundle(Vec::new(), app::wall_clock()),
        );
        let roots = vec![own.certificate().to_vec()];
        let trust = Trust::new("east".parse().unwrap(), set.clone(), &roots, &state);
        Self {
            transport: Transport::bind(
                "127.0.0.1:0".parse().unwrap(),
                &[7; 32],
                Handle::current(),
                0,
            )
            .await
            .unwrap(),
            tls: Tls::new(leaf, TrustHandle::new(trust)),
            at: west.running().addresses.session.to_string(),
        }
    }

    async fn link(&self) -> Link {
        let config = self.tls.peer_client(&"west".parse().unwrap()).unwrap();
        let dialled = self.transport.dial(&self.at, Arc::new(config), false);
        dialled.await.unwrap()
    }

    /// Sends these messages on a session of their own, and reads on until west says goodbye.
    async fn says(&self, messages: Vec<Vec<u8>>) -> (ByeReason, String) {
        let messages = futures::stream::iter(messages);
        goodbye(session(&self.link().await, messages).await).await
    }
}

/// Reads on until it comes.
async fn goodbye(mut replies: Streaming<Vec<u8>>) -> (ByeReason, String) {
    while let Some(Ok(bytes)) = replies.next().await {
        let frame = pb::Frame::decode(bytes.as_slice()).unwrap();
        if let Ok(Frame::Bye(bye)) = Frame::try_from(frame) {
            return (bye.reason, bye.message);
        }
    }
    panic!("no goodbye");
}

/// A session with these messages; what west answers.
async fn session(
    link: &Link,
    messages: impl futures::Stream<Item = Vec<u8>> + Send + 'static,
) -> Streaming<Vec<u8>> {
    let mut grpc = tonic::client::Grpc::new(link.channel().await.unwrap());
    grpc.ready().await.unwrap();
    // Half of the session stays open: what ends it is the other side's.
    let messages = messages.chain(futures::stream::pending());
    let path = http::uri::PathAndQuery::from_static("/causeway.federation.v1.Federation/Session");
    let call = grpc.streaming(Request::new(messages), path, Raw);
    call.await.unwrap().into_inner()
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
        features: BTreeSet::from([PACKETS.to_owned()]),
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

/// A peer that floods waits for itself: its frames are taken at a pace, and others' changes pass meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_flood_are_taken_at_a_pace() {
    let east = Cluster::start("east", "e1").await;
    let west = Cluster::start("west", "w1").await;
    let north = Cluster::start("north", "n1").await;
    pair(&west, &east).await;
    pair(&west, &north).await;
    west.publish(exports("w1", &[])).await;
    let hostile = Hostile::new(&east, &west).await;
    east.stop().await;

    // Beats, with 4 KiB each that no version knows: 1,000 of them fill the connection's window.
    let beat = bytes(&Frame::Beat(Beat {
        newest: None,
        time: app::wall_clock(),
        leaving: false,
    }));
    let mut beat_and_more = beat;
    beat_and_more.extend([0xfa, 0x3e, 0x80, 0x20]);
    beat_and_more.extend([0; 4096]);
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let flood = futures::stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        beat_and_more.clone()
    });
    let link = hostile.link().await;
    let first = futures::stream::iter([bytes(&hello("east"))]);
    let replies = session(&link, first.chain(flood)).await;
    let ended = tokio::spawn(goodbye(replies));
    tokio::time::sleep(Duration::from_secs(2)).await;
    north.publish(exports("n1", &["10.244.1.5"])).await;
    until(&west, "north's cart, in the flood", |view| {
        view.imports.contains_key(&"shop/cart".parse().unwrap())
    })
    .await;
    assert!(!ended.is_finished(), "a fast peer is no faulty one");
    // A burst, some seconds of the pace, and a window.
    let sent = sent.load(Ordering::Relaxed);
    assert!((4096..20_000).contains(&sent), "{sent} in two seconds");
    ended.abort();
    north.stop().await;
    west.stop().await;
}

/// What comes in datagrams and is no packet is counted, and changes nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_datagrams_are_counted() {
    let east = Cluster::start_with("east", "e1", "").await;
    let west = Cluster::start_with("west", "w1", "").await;
    pair(&west, &east).await;
    let hostile = Hostile::new(&east, &west).await;
    east.stop().await;
    let link = hostile.link().await;
    let first = futures::stream::iter([bytes(&hello("east"))]);
    let mut ended = tokio::spawn(goodbye(session(&link, first).await));
    let bad: Vec<bytes::Bytes> = vec![
        bytes::Bytes::new(),
        vec![0; 3].into(),
        vec![0xff; 8].into(),
        vec![0xff; 1_000].into(),
    ];
    let line = "causeway_gateway_session_lost_total{reason=\"BadDatagram\"} ";
    let counted = async {
        let mut count = 0;
        while count < 40 {
            link.send(bad.clone()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            let page = page(&west).await;
            let told = page.lines().find_map(|l| l.strip_prefix(line)).unwrap();
            count = told.parse().unwrap();
        }
    };
    tokio::select! {
        counted = tokio::time::timeout(Duration::from_secs(20), counted) => counted.unwrap(),
        ended = &mut ended => panic!("the session is over: {ended:?}"),
    }
    ended.abort();
    west.stop().await;
}

/// First packets of as many connections, from a client that never goes on with any.
async fn first_packets(tls: &Tls, count: usize) -> Vec<Vec<u8>> {
    let nowhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = tls.peer_client(&"west".parse().unwrap()).unwrap();
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let to = nowhere.local_addr().unwrap();
    let dials = (0..count).map(|_| endpoint.connect_with(config.clone(), to, "causeway"));
    let _dials: Vec<_> = dials.map(Result::unwrap).collect();
    // By the id that the client gave each (RFC 9000, section 17.2).
    let mut packets = BTreeMap::new();
    let mut packet = [0; 2048];
    while packets.len() < count {
        let length = nowhere.recv(&mut packet).await.unwrap();
        let packet = packet.get(..length).unwrap();
        let (length, rest) = packet.get(5..).unwrap().split_first().unwrap();
        let id = rest.get(..usize::from(*length)).unwrap();
        packets.entry(id.to_vec()).or_insert(packet.to_vec());
    }
    packets.into_values().collect()
}

/// Who does not show that packets reach it gets a few places and little said; others get in.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_handshakes_is_bounded() {
    let east = Cluster::start("east", "e1").await;
    let west = Cluster::start("west", "w1").await;
    pair(&west, &east).await;
    let hostile = Hostile::new(&east, &west).await;
    east.stop().await;
    let mut strangers = Vec::new();
    for packet in first_packets(&hostile.tls, 100).await {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&packet, &hostile.at).await.unwrap();
        strangers.push((socket, packet.len()));
    }
    let link = hostile.link().await;
    assert!(!link.certificates().is_empty(), "who is somebody gets in");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (mut retried, mut taken) = (0, 0);
    for (socket, sent) in strangers {
        let (mut packet, mut said) = ([0; 2048], Vec::new());
        while let Ok(length) = socket.try_recv(&mut packet) {
            said.push((packet[0], length));
        }
        let bytes: usize = said.iter().map(|(_, length)| length).sum();
        // quinn sends a whole packet while there is any of the threefold left (RFC 9000, section 8.1).
        assert!(bytes < 3 * sent + 1200, "amplified: {bytes} of {sent}");
        // Of a long header's four kinds (RFC 9000, section 17.2) the last is Retry.
        match said.first() {
            Some((first, _)) if first & 0xf0 == 0xf0 => retried += 1,
            Some(_) => taken += 1,
            None => {}
        }
    }
    assert!(taken <= 33, "{taken} of 64 places");
    assert!(retried >= 60, "{retried} were asked to show themselves");
    west.stop().await;
}
