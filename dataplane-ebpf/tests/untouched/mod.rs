//! What is not ours stays as it is: probes of pods, pods among themselves, a node's own processes; on both styles of
//! ports, while agents end, start again with programs anew, and clean their nodes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lab::Lab;

const W1: Ipv4Addr = Ipv4Addr::new(172, 31, 77, 21);
const B1: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 6);
const B2: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 7);
/// Longer than anything here takes that is not lost.
const LIMIT: Duration = Duration::from_secs(1);
/// Between two rounds of a path.
const PAUSE: Duration = Duration::from_millis(5);
/// For each of the events to be seen by each path.
const SETTLE: Duration = Duration::from_millis(300);

/// From where, to where, and the source that the other end must see.
const PATHS: [(&str, &str, Ipv4Addr, &str); 9] = [
    ("probe of a bridge's pod", "w1", B1, "10.244.1.1"),
    ("probe of a routed pod", "w2", B2, "10.244.2.1"),
    ("pods of a bridge", "n1", B1, "10.244.1.9"),
    ("pods that are routed", "c2", B2, "10.244.2.8"),
    ("pod to another node's pod", "n1", B2, "10.244.1.9"),
    ("and the other way", "c2", B1, "10.244.2.8"),
    (
        "host network to another node's pod",
        "w1",
        B2,
        "172.31.77.21",
    ),
    ("pod to a process of a node", "c2", W1, "10.244.2.8"),
    ("node to node", "w2", W1, "172.31.77.22"),
];

/// What one path has seen.
#[derive(Debug, Default)]
struct Seen {
    rounds: u32,
    failures: Vec<String>,
}

pub fn walk(lab: &mut Lab, object: &str) {
    lab.pod("w1", "n1", "10.244.1.9", "10.244.1.1");
    lab.ip("w1", "route add 10.244.2.0/24 via 172.31.77.22");
    lab.ip("w2", "route add 10.244.1.0/24 via 172.31.77.21");
    let over = Arc::new(AtomicBool::new(false));
    let paths: Vec<JoinHandle<Seen>> = PATHS
        .iter()
        .map(|(_, from, to, source)| {
            let over = over.clone();
            lab.inside_background(from, move || follow(*to, source, &over))
        })
        .collect();
    std::thread::sleep(SETTLE);
    for node in ["w1", "w2"] {
        lab.kill_agent(node);
        std::thread::sleep(SETTLE);
        lab.start_agent(node, object);
        std::thread::sleep(SETTLE);
        lab.kill_agent(node);
        let (cleaned, said) = lab.command(node, &["clean"]);
        assert!(cleaned, "{said}");
        std::thread::sleep(SETTLE);
        lab.start_agent(node, object);
        std::thread::sleep(SETTLE);
    }
    over.store(true, Ordering::Relaxed);
    for ((name, ..), path) in PATHS.iter().zip(paths) {
        let seen = path.join().unwrap();
        println!("{name}: {} rounds", seen.rounds);
        assert_eq!(seen.failures, Vec::<String>::new(), "{name}");
        assert!(seen.rounds > 50, "{name}: {seen:?}");
    }
}

/// Goes on with a connection that it opened first, and opens a new one each time.
fn follow(to: Ipv4Addr, source: &str, over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut held = match hold(to) {
        Ok(held) => held,
        Err(error) => {
            seen.failures.push(format!("first connection: {error}"));
            return seen;
        }
    };
    while !over.load(Ordering::Relaxed) && seen.failures.len() < 5 {
        seen.rounds += 1;
        for (what, done) in [
            ("held connection", mirrored(&mut held)),
            ("new connection", ask(to, source)),
            ("datagram", datagram(to)),
        ] {
            if let Err(error) = done {
                seen.failures
                    .push(format!("{what}, round {}: {error}", seen.rounds));
            }
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

fn dial(to: Ipv4Addr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddrV4::new(to, 8080).into(), LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn hold(to: Ipv4Addr) -> std::io::Result<TcpStream> {
    let mut stream = dial(to)?;
    stream.write_all(b"mirror\n")?;
    mirrored(&mut stream)?;
    Ok(stream)
}

fn mirrored(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

fn ask(to: Ipv4Addr, source: &str) -> std::io::Result<()> {
    let mut stream = dial(to)?;
    stream.write_all(b"who\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once(' ') {
        Some((_, seen)) if seen == source => Ok(()),
        _ => Err(std::io::Error::other(format!("seen as {answer:?}"))),
    }
}

fn datagram(to: Ipv4Addr) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.connect((to, 7007))?;
    socket.send(b"x")?;
    socket.recv(&mut [0; 8])?;
    Ok(())
}
