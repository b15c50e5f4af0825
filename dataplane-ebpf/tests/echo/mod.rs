//! One ICMP echo, by a raw socket.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

/// Whether an echo request is answered by the address that it was sent to.
pub fn answered(to: Ipv4Addr) -> bool {
    use std::os::fd::AsRawFd;
    let protocol = nix::sys::socket::SockProtocol::Icmp;
    let socket = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::empty(),
        protocol,
    )
    .unwrap();
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(1, 0)).unwrap();
    let id = 0x4357_u16;
    let mut packet = vec![8, 0, 0, 0, 0x43, 0x57, 0, 1];
    packet.extend(*b"causeway");
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    let [a, b, c, d] = to.octets();
    let destination = SockaddrIn::new(a, b, c, d, 0);
    sendto(socket.as_raw_fd(), &packet, &destination, MsgFlags::empty()).unwrap();
    let until = Instant::now() + Duration::from_secs(1);
    let mut buffer = [0; 256];
    while Instant::now() < until {
        let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
            return false;
        };
        let header = usize::from(buffer[0] & 0xf) * 4;
        let answer = &buffer[header..length];
        let same = answer.len() >= 8 && answer[4..6] == id.to_be_bytes();
        if same && answer[0] == 0 && buffer[12..16] == to.octets() {
            return true;
        }
    }
    false
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}
