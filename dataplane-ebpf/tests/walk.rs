//! Packets walk between two tiny clusters, by hand-made Views: real agents, real programs, namespaces
//! `cwdp-*`. Both clusters use 10.244.0.0/16, and the client has the address of one of the backends.
//!
//! Needs root and an eBPF object in `CAUSEWAY_EBPF_OBJECT`; without them it says so, and fails where
//! `REQUIRE_ROOT=1`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test"
)]

mod dual;
mod echo;
mod lab;
mod sessions;
mod untouched;
mod views;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use causeway_proto::model::View;
use lab::Lab;

const EAST_VIP: Ipv4Addr = Ipv4Addr::new(241, 0, 0, 10);
const WEST_VIP: Ipv4Addr = Ipv4Addr::new(241, 0, 0, 77);

#[test]
fn packets_walk() {
    let Some(object) = lab::object() else { return };
    let mut lab = Lab::of_two_clusters("walk");
    for pod in ["b1", "b2", "c2", "w1"] {
        lab.serve(pod);
    }
    let east = views::east();
    for (node, view) in [
        ("e1", east.clone()),
        ("w1", views::west("w1")),
        ("w2", views::west("w2")),
    ] {
        lab.agent(node, &object, &view);
    }
    lab.programmed(&["e1", "w1", "w2"]);

    walk_tcp(&lab);
    walk_udp(&lab);
    walk_echo(&lab);
    walk_bulk(&lab);
    walk_own_cluster(&lab);
    walk_headless(&lab);
    walk_node_processes(&lab);
    walk_devices(&lab);
    walk_host_network(&lab);
    walk_stray(&mut lab);
    walk_hostile(&lab);
    walk_probes(&lab);
    walk_changes(&lab);
    walk_with_a_stranger(&mut lab, &object);
    walk_restart(&mut lab, &object);
    untouched::walk(&mut lab, &object);
    walk_rejection(&mut lab, &east);
    walk_clean(&mut lab);
}

/// What a server says: its name, and the address that it saw.
fn ask(
    lab: &Lab,
    pod: &str,
    to: impl Into<IpAddr>,
    port: u16,
) -> std::io::Result<(String, String)> {
    let to = SocketAddr::new(to.into(), port);
    lab.inside(pod, move || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"who\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (name, seen) = answer.trim().split_once(' ').unwrap_or(("", ""));
        Ok((name.to_owned(), seen.to_owned()))
    })
}

fn walk_tcp(lab: &Lab) {
    let mut by_name = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..60 {
        let answer = ask(lab, "client", EAST_VIP, 80);
        let (name, seen) = answer.unwrap_or_else(|e| panic!("{e}\n{}", lab.explain()));
        assert_eq!(seen, "242.9.1.6", "the mapped address of the client");
        *by_name.entry(name).or_default() += 1;
    }
    assert_eq!(by_name.len(), 2, "{by_name:?}");
    assert!(by_name.values().all(|n| *n >= 15), "{by_name:?}");
}

fn walk_udp(lab: &Lab) {
    let answers = lab.inside("client", || {
        let mut answers = 0;
        for n in 0..20u8 {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            socket.connect((EAST_VIP, 7007)).unwrap();
            socket.send(&[n]).unwrap();
            let mut buffer = [0; 16];
            answers += u32::from(socket.recv(&mut buffer).is_ok_and(|l| buffer[..l] == [n]));
        }
        answers
    });
    assert_eq!(answers, 20, "{}", lab.explain());
}

fn walk_echo(lab: &Lab) {
    assert!(lab.ping("client", EAST_VIP), "{}", lab.explain());
    // A headless endpoint answers for itself.
    assert!(
        lab.ping("client", Ipv4Addr::new(242, 5, 2, 7)),
        "{}",
        lab.explain()
    );
}

fn walk_bulk(lab: &Lab) {
    there_and_back(lab, EAST_VIP);
    // Super-packets cross both devices whole: no frame of the wire has so many bytes.
    let mean = lab
        .mean_received("w1", "cway0")
        .max(lab.mean_received("w2", "cway0"));
    assert!(mean > 3000, "{mean} bytes a packet");
}

/// Twenty MiB, and every byte is the one that was sent.
fn there_and_back(lab: &Lab, vip: impl Into<IpAddr>) {
    const SIZE: usize = 20 << 20;
    let started = Instant::now();
    let vip = vip.into();
    let same = lab.inside("client", move || {
        let mut stream = TcpStream::connect((vip, 80)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(b"mirror\n").unwrap();
        let sent: Vec<u8> = (0..SIZE).map(|n| (n * 31 % 251) as u8).collect();
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writing = std::thread::spawn(move || {
            writer
                .write_all(&copy)
                .and_then(|()| writer.shutdown(std::net::Shutdown::Write))
        });
        let mut received = Vec::with_capacity(SIZE);
        let read = stream.read_to_end(&mut received);
        writing.join().unwrap().unwrap();
        read.is_ok() && received == sent
    });
    assert!(same, "{}", lab.explain());
    println!("20 MiB there and back in {:?}", started.elapsed());
}

/// Who must not pass does not, and is counted.
fn walk_hostile(lab: &Lab) {
    let send = |socket: std::io::Result<UdpSocket>, to: SocketAddrV4| {
        let _ = socket.unwrap().send_to(&[0x08; 60], to);
    };
    let e1 = SocketAddrV4::new(Ipv4Addr::new(172, 31, 77, 11), 7472);
    // A pod sends tunnel packets itself, by its node's address and by a bridge's.
    lab.inside("client", move || send(UdpSocket::bind("0.0.0.0:0"), e1));
    lab.dropped("e1", "pod-to-tunnel-port");
    // A neighbour on the underlay whom nobody listed.
    lab.ip("wan", "addr add 172.31.77.99/24 dev wan");
    lab.inside("wan", move || send(UdpSocket::bind("0.0.0.0:0"), e1));
    lab.dropped("e1", "unlisted-source");
    // A pod takes an address that is not its own.
    lab.ip("client", "addr add 10.244.1.99/24 dev eth0");
    let vip = SocketAddrV4::new(EAST_VIP, 7007);
    lab.inside("client", move || {
        send(UdpSocket::bind("10.244.1.99:0"), vip)
    });
    lab.dropped("e1", "spoofed-source");
    lab.ip("client", "addr del 10.244.1.99/24 dev eth0");
}

/// Each side has heard the other's probes.
fn walk_probes(lab: &Lab) {
    for (node, peer) in [("e1", "west"), ("w1", "east"), ("w2", "east")] {
        lab.wait_report(node, |report| {
            report.heard.keys().any(|id| id.as_str() == peer)
        });
    }
}

/// A ring grows, and later an endpoint drains, under open connections: each goes on where it is.
///
/// Each change has connections of its own. One that lives through both may lose its endpoint: a change of
/// size gives most slots another owner, and a packet names two endpoints only.
fn walk_changes(lab: &Lab) {
    let (mut w1, mut w2) = (views::west("w1"), views::west("w2"));
    for drained in [false, true] {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (opened, ready) = std::sync::mpsc::channel::<()>();
        let client = lab.inside_background("client", move || {
            let mut streams: Vec<TcpStream> = (0..100).map(|_| mirror()).collect();
            let before = streams.iter_mut().filter_map(|s| mirrored(s).err()).count();
            opened.send(()).unwrap();
            wait.recv().unwrap();
            let after = streams.iter_mut().filter_map(|s| mirrored(s).err()).count();
            (before, after)
        });
        ready.recv().unwrap();
        (w1, w2) = (views::changed(w1, drained), views::changed(w2, drained));
        lab.show("w1", &w1);
        lab.show("w2", &w2);
        lab.programmed(&["w1", "w2"]);
        go.send(()).unwrap();
        let broken = client.join().unwrap();
        assert_eq!(broken, (0, 0), "drained: {drained}\n{}", lab.explain());
        let names: std::collections::BTreeSet<String> = (0..40)
            .map(|_| ask(lab, "client", EAST_VIP, 80).unwrap().0)
            .collect();
        let wanted: &[&str] = if drained {
            &["b1", "c2"]
        } else {
            &["b1", "b2", "c2"]
        };
        assert!(
            names.iter().map(String::as_str).eq(wanted.iter().copied()),
            "{names:?}"
        );
    }
}

fn mirror() -> TcpStream {
    let mut stream = TcpStream::connect((EAST_VIP, 80)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    stream.write_all(b"mirror\n").unwrap();
    stream
}

fn mirrored(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

fn walk_own_cluster(lab: &Lab) {
    let mut names = std::collections::BTreeSet::new();
    for pod in ["c2", "b2"] {
        for _ in 0..20 {
            let answer = ask(lab, pod, WEST_VIP, 80);
            let (name, seen) = answer.unwrap_or_else(|e| panic!("{pod}: {e}\n{}", lab.explain()));
            let own = if pod == "c2" {
                "242.0.2.8"
            } else {
                "242.0.2.7"
            };
            assert_eq!(seen, own, "the self-mapped address of {pod}");
            names.insert(name);
        }
    }
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(lab.ping("c2", WEST_VIP), "{}", lab.explain());
}

fn walk_headless(lab: &Lab) {
    let answer = ask(lab, "client", Ipv4Addr::new(242, 5, 2, 7), 8080);
    let (name, _) = answer.unwrap_or_else(|e| panic!("{e}\n{}", lab.explain()));
    assert_eq!(name, "b2");
    // c2 is no endpoint of anything.
    let refused = ask(lab, "client", Ipv4Addr::new(242, 5, 2, 8), 8080).unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::ConnectionRefused,
        "{}",
        lab.explain()
    );
}

/// A node's own processes are clients by an address of their own, of the own cluster's services too.
fn walk_node_processes(lab: &Lab) {
    for (node, vip, seen_as) in [
        ("e1", EAST_VIP, "250.9.0.1"),
        ("w1", WEST_VIP, "250.0.0.21"),
        ("w2", WEST_VIP, "250.0.0.22"),
    ] {
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let answer = ask(lab, node, vip, 80);
            let (name, seen) = answer.unwrap_or_else(|e| panic!("{node}: {e}\n{}", lab.explain()));
            assert_eq!(seen, seen_as, "the mapped address of {node}");
            names.insert(name);
        }
        assert_eq!(names.len(), 2, "{node}: {names:?}");
        assert!(lab.ping(node, vip), "{}", lab.explain());
    }
    // A headless endpoint by its own address.
    let answer = ask(lab, "e1", Ipv4Addr::new(242, 5, 2, 7), 8080);
    let (name, _) = answer.unwrap_or_else(|e| panic!("{e}\n{}", lab.explain()));
    assert_eq!(name, "b2");
}

/// Devices of ours that somebody set down or deleted come back.
fn walk_devices(lab: &Lab) {
    for harm in [
        "link set cway0 down",
        "link delete cway0",
        "link set cway-host down",
        "link delete cway-host",
    ] {
        lab.ip("e1", harm);
        let until = Instant::now() + Duration::from_secs(20);
        while let Err(error) = ask(lab, "e1", EAST_VIP, 80) {
            assert!(Instant::now() < until, "{harm}: {error}\n{}", lab.explain());
        }
    }
}

/// What is behind no port of ours has no way to the clusterset, not even under the node's own address.
fn walk_stray(lab: &mut Lab) {
    lab.stray("e1", "stray", "10.99.0.5", "10.99.0.1");
    let refused = ask(lab, "stray", EAST_VIP, 80).unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::ConnectionRefused,
        "{}",
        lab.explain()
    );
    lab.dropped("e1", "forwarded");
}

/// A pod of the host's network is a backend by its node's address: of far clients, of near ones, of its node.
fn walk_host_network(lab: &Lab) {
    for (client, vip, seen_as) in [
        ("client", [241, 0, 0, 11], "242.9.1.6"),
        ("e1", [241, 0, 0, 11], "250.9.0.1"),
        ("c2", [241, 0, 0, 90], "242.0.2.8"),
        ("b1", [241, 0, 0, 90], "242.0.1.6"),
        ("w2", [241, 0, 0, 90], "250.0.0.22"),
        ("w1", [241, 0, 0, 90], "250.0.0.21"),
    ] {
        let answer = ask(lab, client, vip, 80);
        let answer = answer.unwrap_or_else(|e| panic!("{client}: {e}\n{}", lab.explain()));
        assert_eq!(answer, ("w1".to_owned(), seen_as.to_owned()), "{client}");
    }
}

/// Somebody else's programs come to the same hooks and go: ours stay, and each leaves to the other what is
/// not its own.
fn walk_with_a_stranger(lab: &mut Lab, object: &str) {
    lab.stranger("e1", object);
    assert!(
        ask(lab, "client", EAST_VIP, 80).is_ok(),
        "{}",
        lab.explain()
    );
    lab.stranger_leaves();
    assert!(
        ask(lab, "client", EAST_VIP, 80).is_ok(),
        "{}",
        lab.explain()
    );
}

/// Four seconds of datagrams one by one beside open flows: how many were sent and answered, how many flows broke.
fn steady() -> (u32, u32, usize) {
    let mut streams: Vec<TcpStream> = (0..20).map(|_| mirror()).collect();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((EAST_VIP, 7007)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let (mut sent, mut answered) = (0u32, 0u32);
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        socket.send(&sent.to_be_bytes()).unwrap();
        sent += 1;
        answered += u32::from(socket.recv(&mut [0; 16]).is_ok());
    }
    let broken = streams
        .iter_mut()
        .filter_map(|stream| mirrored(stream).err())
        .count();
    (sent, answered, broken)
}

/// Agents restart under traffic: no packet is lost, no flow either.
fn walk_restart(lab: &mut Lab, object: &str) {
    // A pod's, and a process's of a node whose agent goes.
    let clients = ["client", "e1"].map(|at| (at, lab.inside_background(at, steady)));
    for node in ["e1", "w1", "w2"] {
        lab.kill_agent(node);
        lab.start_agent(node, object);
    }
    for (at, client) in clients {
        let (sent, answered, broken) = client.join().unwrap();
        println!(
            "{at}: {sent} packets sent over three restarts, {answered} answered, {broken} flows broken"
        );
        assert!(sent > 100, "{at}: {sent}");
        assert_eq!((answered, broken), (sent, 0), "{at}: {}", lab.explain());
    }
}

fn walk_rejection(lab: &mut Lab, east: &View) {
    lab.show("e1", &views::nobody(east.clone()));
    lab.programmed(&["e1"]);
    let started = Instant::now();
    let refused = ask(lab, "client", EAST_VIP, 80).unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::ConnectionRefused,
        "{}",
        lab.explain()
    );
    assert!(started.elapsed() < Duration::from_millis(500));
}

/// An agent says whether it is well; what it leaves behind is taken away, all of it, and nothing else.
fn walk_clean(lab: &mut Lab) {
    let well = |lab: &Lab, what: &str| lab.command("w2", &["health", what]);
    assert_eq!(well(lab, "--ready"), (true, String::new()));
    assert_eq!(well(lab, "--live"), (true, String::new()));
    let (cleaned, said) = lab.command("w2", &["clean"]);
    assert!(!cleaned && said.contains("an agent is running"), "{said}");
    lab.kill_agent("w2");
    assert!(!well(lab, "--live").0);
    let (clean, said) = lab.command("w2", &["clean", "--check"]);
    for left in [
        "cway0",
        "cway-host",
        "links",
        "unreachable route to 241.0.0.0/16",
        "unreachable route to fdca:242::/32",
        "unicast route to 241.0.0.0/16",
    ] {
        assert!(!clean && said.contains(left), "{left} of {said}");
    }
    // What is programmed serves on until then.
    assert!(ask(lab, "c2", WEST_VIP, 80).is_ok(), "{}", lab.explain());
    let (cleaned, said) = lab.command("w2", &["clean"]);
    assert!(cleaned, "{said}");
    let (clean, said) = lab.command("w2", &["clean", "--check"]);
    assert!(clean, "{said}");
    let all = lab.all_of("w2");
    for ours in ["cway", "241.", "242.", "proto 241", "fdca:"] {
        assert!(!all.contains(ours), "{ours} in {all}");
    }
    assert!(all.contains("v-c2"), "{all}");
    assert!(std::fs::read_dir(lab.pins("w2")).is_err());
    assert!(lab.ping("c2", Ipv4Addr::new(10, 244, 2, 7)), "pods go on");
}
