//! Shell: packets that no ordinary socket sends: ICMP echo, and IP packets with any source.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Context;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
    setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;

use super::wait;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Sends one echo request; true when the answer comes in time.
pub fn echo(to: Ipv4Addr, limit: Duration) -> anyhow::Result<bool> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::empty(),
        SockProtocol::Icmp,
    )
    .context("a raw socket for ICMP")?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::new(0, 100_000))?;
    let id = u16::try_from(std::process::id() & 0xffff)?;
    let mut packet = vec![8, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(b"causeway");
    let sum = checksum(&packet).to_be_bytes();
    packet.splice(2..4, sum);
    let address = SockaddrIn::from(SocketAddrV4::new(to, 0));
    sendto(socket.as_raw_fd(), &packet, &address, MsgFlags::empty())
        .with_context(|| format!("pinging {to}"))?;
    let start = wait::now();
    let mut buffer = [0; 512];
    while start.elapsed() < limit {
        let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
            continue;
        };
        let reply = buffer.get(..length).unwrap_or_default();
        let from = reply.get(12..16) == Some(to.octets().as_slice());
        let answers =
            reply.get(20) == Some(&0) && reply.get(24..26) == Some(id.to_be_bytes().as_slice());
        if from && answers {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sends a UDP datagram whose IP header names any source.
pub fn forge_udp(source: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> anyhow::Result<()> {
    let length = u16::try_from(payload.len())?.saturating_add(8);
    let mut udp = Vec::new();
    udp.extend(source.port().to_be_bytes());
    udp.extend(to.port().to_be_bytes());
    udp.extend(length.to_be_bytes());
    // No UDP checksum, as IPv4 allows.
    udp.extend([0, 0]);
    udp.extend(payload);
    send_ip(UDP, *source.ip(), *to.ip(), &udp)
}

/// Sends the end of a TCP connection that never was: what conntrack calls invalid.
pub fn stray_reset(source: Ipv4Addr, to: Ipv4Addr) -> anyhow::Result<()> {
    // Ports, sequence, acknowledgement, 5 words of header, ACK and RST, no window.
    let mut tcp = vec![
        0x9c, 0x40, 0x1f, 0x90, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x14, 0, 0, 0, 0, 0, 0,
    ];
    let mut summed = Vec::new();
    summed.extend(source.octets());
    summed.extend(to.octets());
    summed.extend([0, TCP, 0, 20]);
    summed.extend(&tcp);
    let sum = checksum(&summed).to_be_bytes();
    tcp.splice(16..18, sum);
    send_ip(TCP, source, to, &tcp)
}

fn send_ip(protocol: u8, source: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> anyhow::Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::empty(),
        SockProtocol::Raw,
    )
    .context("a raw socket")?;
    let mut packet = vec![0x45, 0];
    packet.extend(
        u16::try_from(payload.len())?
            .saturating_add(20)
            .to_be_bytes(),
    );
    // The kernel fills in id and checksum; 64 hops.
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
    sendto(socket.as_raw_fd(), &packet, &to, MsgFlags::empty()).context("sending")?;
    Ok(())
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let high = pair.first().copied().unwrap_or(0);
        u32::from(high) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff).saturating_add(sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
