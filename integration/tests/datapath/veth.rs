//! What test runs cannot show: checksums that a device is still to fill in, and super-packets. One pod on a real veth
//! pair, in namespaces of threads of this test; nothing outlives it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::mpsc,
    time::Duration,
};

use causeway_abi::{LocalBackend, LocalBackendKey, Pod, Port, names};
use nix::{sched::CloneFlags, unistd::gettid};

use crate::family::six;
use crate::world::{C, EMPTY, HAIRPIN, IDENTITY, NAME_C, SELF_MAPPED, World, wide, with_world};

/// The node as its pods see it.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn mac(device: &str) -> [u8; 6] {
    let shown = ip(&format!("-br link show {device}"));
    let text = shown.split_whitespace().nth(2).unwrap();
    let mut bytes = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    std::array::from_fn(|_| bytes.next().unwrap())
}

/// Runs `inside` in a namespace whose only way out is a veth pair, our program at its host end.
fn on_a_veth(world: &mut World, inside: impl FnOnce() + Send) {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
    ip("link set lo up");
    let (own, host_side) = (world.address(C), world.address(HOST));
    let (bits, nodad) = match own {
        IpAddr::V4(_) => (24, ""),
        IpAddr::V6(_) => (120, " nodad"),
    };
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (go, gone) = mpsc::channel::<[u8; 6]>();
        let pod = scope.spawn(move || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            tell.send(gettid()).unwrap();
            let host = gone.recv().unwrap();
            let host = host.map(|byte| format!("{byte:02x}")).join(":");
            ip("link set lo up");
            ip(&format!("addr add {own}/{bits} dev p0{nodad}"));
            ip("link set p0 up");
            ip(&format!("neigh add {host_side} lladdr {host} dev p0"));
            ip(&format!("route add default via {host_side}"));
            inside();
        });
        let thread = told.recv().unwrap();
        ip("link add h0 type veth peer name p0");
        let (host_mac, pod_mac) = (mac("h0"), mac("p0"));
        ip(&format!("link set p0 netns {thread}"));
        ip("link set h0 up");
        let ifindex = world.attach("h0");
        world.put(
            names::PORTS,
            ifindex,
            Port {
                address: wide(C),
                address6: six(C.octets()),
                identity: IDENTITY,
                pod_mac,
                host_mac,
                flags: 0,
            },
        );
        world.put_of(
            names::PODS,
            C.octets(),
            Pod {
                ifindex,
                pod_mac,
                host_mac,
            },
        );
        world.local(NAME_C, HAIRPIN, (80, 8080), (C, ifindex), 1);
        let key = LocalBackendKey {
            name: NAME_C,
            port: [0, 80],
            address: HAIRPIN.octets(),
        };
        let backend: LocalBackend = world.read_of(names::LOCAL_BACKENDS, key).unwrap();
        world.put_of(
            names::LOCAL_BACKENDS,
            key,
            LocalBackend {
                pod_mac,
                host_mac,
                ..backend
            },
        );
        go.send(host_mac).unwrap();
        pod.join().unwrap();
    });
}

#[test]
fn a_pod_is_rejected_at_once() {
    with_world(|world| {
        let (own, nobody) = (world.address(C), world.address(EMPTY));
        on_a_veth(world, || {
            let refused = TcpStream::connect_timeout(&(nobody, 80).into(), Duration::from_secs(2))
                .unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let socket = UdpSocket::bind((own, 0)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(2)))
                .unwrap();
            socket.connect((nobody, 53)).unwrap();
            socket.send(b"anybody?").unwrap();
            assert_eq!(
                socket.recv(&mut [0; 16]).unwrap_err().kind(),
                ErrorKind::ConnectionRefused
            );
        });
    });
}

#[test]
fn super_packets_go_round_the_own_vip() {
    const BYTES: usize = 64 << 20;
    with_world(|world| {
        let (own, vip) = (world.address(C), world.address(HAIRPIN));
        let mapped = world.address(SELF_MAPPED);
        on_a_veth(world, || {
            let listener = TcpListener::bind((own, 8080)).unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, from) = listener.accept().unwrap();
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                stream.write_all(&bytes.len().to_be_bytes()).unwrap();
                (
                    bytes
                        .iter()
                        .enumerate()
                        .all(|(at, byte)| *byte == (at % 251) as u8),
                    from.ip(),
                )
            });
            let mut stream =
                TcpStream::connect_timeout(&(vip, 80).into(), Duration::from_secs(2)).unwrap();
            let bytes: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
            stream.write_all(&bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut count = [0; 8];
            stream.read_exact(&mut count).unwrap();
            assert_eq!(usize::from_be_bytes(count), BYTES);
            let (same, from) = server.join().unwrap();
            assert!(same);
            assert_eq!(from, mapped, "the client under the self-map");
        });
        let counters = world.service_counters(2);
        let mean = counters.served_bytes / counters.served_packets.max(1);
        assert!(mean > 10_000, "{mean} bytes a packet: cut up on the way");
    });
}
