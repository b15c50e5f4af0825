//! The server on loopback, asked with raw messages over UDP and TCP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway_proto::model::{Import, ImportEndpoint, SyncState, View};
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;

fn import(vip: Option<&str>, endpoints: u8) -> Import {
    Import {
        headless: vip.is_none(),
        vip: vip.map(|vip| vip.parse().unwrap()),
        endpoints: (0..endpoints)
            .map(|i| ImportEndpoint {
                cluster: "west".parse().unwrap(),
                hostname: format!("host-{i}"),
                address: format!("242.1.0.{i}").parse().unwrap(),
                ports: Vec::new(),
            })
            .collect(),
        ..Import::default()
    }
}

fn view(imports: &[(&str, Import)]) -> Arc<View> {
    let imports = imports.iter().map(|(n, i)| (n.parse().unwrap(), i.clone()));
    Arc::new(View {
        imports: imports.collect(),
        sync: SyncState {
            local: true,
            missing: BTreeSet::new(),
        },
        ..View::empty("east".parse().unwrap(), "demo".parse().unwrap())
    })
}

fn question(name: &str, kind: RecordType, edns: Option<u16>) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

async fn udp_raw(to: SocketAddr, bytes: &[u8]) -> (SocketAddr, Vec<u8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, to).await.unwrap();
    let mut buffer = vec![0; 65535];
    let received = tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut buffer));
    let (length, from) = received.await.expect("no answer").unwrap();
    buffer.truncate(length);
    (from, buffer)
}

async fn udp(to: SocketAddr, message: &Message) -> Message {
    let (_, bytes) = udp_raw(to, &message.to_vec().unwrap()).await;
    let answer = Message::from_vec(&bytes).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    answer
}

async fn tcp(stream: &mut TcpStream, message: &Message) -> Message {
    let bytes = message.to_vec().unwrap();
    stream.write_u16(bytes.len() as u16).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

async fn start(
    address: &str,
    first: Arc<View>,
) -> (watch::Sender<Arc<View>>, causeway_dns::Serving) {
    let (sender, receiver) = watch::channel(first);
    let address = address.parse().unwrap();
    let serving = causeway_dns::serve(receiver, address, address)
        .await
        .unwrap();
    (sender, serving)
}

const CART: &str = "cArt.shop.svc.ClusterSet.local.";
const DB: &str = "db.shop.svc.clusterset.local.";

#[tokio::test]
async fn udp_and_tcp_give_the_same_in_the_asked_case() {
    let (_view, serving) = start(
        "127.0.0.1:0",
        view(&[("shop/cart", import(Some("241.0.0.5"), 0))]),
    )
    .await;
    let mut stream = TcpStream::connect(serving.tcp).await.unwrap();
    let asked = question(CART, RecordType::A, None);
    for answer in [
        udp(serving.udp, &asked).await,
        tcp(&mut stream, &asked).await,
        tcp(&mut stream, &asked).await,
    ] {
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authoritative);
        assert_eq!(answer.queries, asked.queries);
        let record = &answer.answers[0];
        assert_eq!(record.name.to_ascii(), CART);
        assert_eq!(
            (record.ttl, record.data.to_string()),
            (5, "241.0.0.5".into())
        );
        assert!(answer.edns.is_none());
    }
    let absent = udp(
        serving.udp,
        &question("x.shop.svc.clusterset.local.", RecordType::A, Some(4096)),
    )
    .await;
    assert_eq!(absent.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(absent.authorities[0].record_type(), RecordType::SOA);
    assert!(absent.edns.is_some());
}

#[tokio::test]
async fn what_is_too_large_for_udp_comes_over_tcp() {
    let (_view, serving) = start("127.0.0.1:0", view(&[("shop/db", import(None, 200))])).await;
    for edns in [None, Some(512), Some(65535)] {
        let small = udp(serving.udp, &question(DB, RecordType::A, edns)).await;
        assert!(small.metadata.truncation, "{edns:?}");
        assert!(small.answers.is_empty());
        assert_eq!(small.edns.is_some(), edns.is_some());
    }
    let mut stream = TcpStream::connect(serving.tcp).await.unwrap();
    let whole = tcp(&mut stream, &question(DB, RecordType::A, None)).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 200);
}

#[tokio::test]
async fn a_new_view_is_answered_from() {
    let (sender, serving) = start("127.0.0.1:0", view(&[])).await;
    let asked = question(CART, RecordType::A, None);
    let before = udp(serving.udp, &asked).await;
    assert_eq!(before.metadata.response_code, ResponseCode::NXDomain);
    sender.send_replace(view(&[("shop/cart", import(Some("241.0.0.9"), 0))]));
    let found = async {
        while udp(serving.udp, &asked).await.answers.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), found)
        .await
        .expect("the new View is never served");
    drop(sender);
    assert_eq!(udp(serving.udp, &asked).await.answers.len(), 1);
}

/// On a node with several addresses an answer from another one would be thrown away by the client.
#[tokio::test]
async fn the_answer_comes_from_the_address_that_was_asked() {
    for (bound, asked) in [("0.0.0.0:0", "127.0.0.2"), ("127.0.0.3:0", "127.0.0.3")] {
        let (_view, serving) =
            start(bound, view(&[("shop/cart", import(Some("241.0.0.5"), 0))])).await;
        let to = SocketAddr::new(asked.parse().unwrap(), serving.udp.port());
        let bytes = question(CART, RecordType::A, None).to_vec().unwrap();
        assert_eq!(udp_raw(to, &bytes).await.0, to);
    }
}

#[tokio::test]
async fn odd_questions() {
    let (_view, serving) = start("127.0.0.1:0", view(&[])).await;
    let code = async |message: &Message| udp(serving.udp, message).await.metadata.response_code;

    let mut chaos = question("version.bind.", RecordType::TXT, None);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos).await, ResponseCode::Refused);

    let other = question("example.org.", RecordType::A, None);
    assert_eq!(code(&other).await, ResponseCode::Refused);

    let transfer = question("clusterset.local.", RecordType::AXFR, None);
    assert_eq!(code(&transfer).await, ResponseCode::Refused);

    let mut two = question(CART, RecordType::A, None);
    two.add_query(two.queries[0].clone());
    assert_eq!(code(&two).await, ResponseCode::FormErr);

    let mut update = question(CART, RecordType::A, None);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&update).await, ResponseCode::NotImp);

    let mut version = question(CART, RecordType::A, Some(1232));
    version.edns.as_mut().unwrap().set_version(1);
    // 16 is also BADSIG, which is what it reads as.
    assert_eq!(u16::from(code(&version).await), 16);

    let mut broken = question(CART, RecordType::A, None).to_vec().unwrap();
    broken.truncate(14);
    let (_, answer) = udp_raw(serving.udp, &broken).await;
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    assert_eq!(answer.metadata.id.to_be_bytes(), broken[..2]);
}

/// Neither answers nor rubbish are answered, and what follows them is.
#[tokio::test]
async fn what_is_no_question_is_dropped() {
    let (_view, serving) = start("127.0.0.1:0", view(&[])).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let answer = question(CART, RecordType::A, None).into_response();
    let real = question(CART, RecordType::A, None);
    for bytes in [
        answer.to_vec().unwrap(),
        vec![1, 2, 3],
        Vec::new(),
        vec![0xff; 5000],
        real.to_vec().unwrap(),
    ] {
        socket.send_to(&bytes, serving.udp).await.unwrap();
    }
    let mut buffer = vec![0; 512];
    let received = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer));
    let length = received.await.expect("no answer").unwrap();
    let first = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(first.metadata.id, real.metadata.id);
}
