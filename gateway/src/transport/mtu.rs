//! Shell: what the kernel knows of the way to an address.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc;

/// Bytes of IPv4's header and UDP's; of IPv6's.
const HEADERS_V4: u16 = 28;
const HEADERS_V6: u16 = 48;
/// Where the kernel does not know: Ethernet's.
pub(super) const USUAL: u16 = 1_500;
/// Every path takes a UDP payload of so much (RFC 9000, section 14).
const LEAST: u16 = 1_200;
/// quinn 0.11 gives the kernel up to ten packets at once, and loses all of them where together they are larger than a UDP
/// datagram may be (65,507 bytes).
const MOST: u16 = 6_500;

/// MTU of the route there: of its first link, or less where the kernel has learned it. Nothing is sent.
pub(super) fn of_route(to: SocketAddr) -> Option<u16> {
    let socket = match to {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = socket.ok()?;
    socket.connect(to).ok()?;
    let (level, option) = match to {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mut mtu: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the socket is open, and both pointers are to locals of the lengths that are told.
    let done = unsafe {
        let to = (&raw mut mtu).cast();
        libc::getsockopt(socket.as_raw_fd(), level, option, to, &raw mut length)
    };
    // Loopback's is above what an IP packet can be.
    (done == 0).then(|| u16::try_from(mtu).unwrap_or(u16::MAX))
}

/// The largest packet that is tried for on the way there.
pub(super) fn tried(to: SocketAddr) -> u16 {
    packet(payload(of_route(to).unwrap_or(USUAL), Some(to)), to)
}

/// Bytes of UDP payload to try for in packets of that size.
pub(super) fn payload(mtu: u16, to: Option<SocketAddr>) -> u16 {
    mtu.saturating_sub(headers(to)).clamp(LEAST, MOST)
}

/// Bytes of a packet with so much UDP payload.
pub(super) fn packet(payload: u16, to: SocketAddr) -> u16 {
    payload.saturating_add(headers(Some(to)))
}

fn headers(to: Option<SocketAddr>) -> u16 {
    match to {
        Some(SocketAddr::V6(_)) => HEADERS_V6,
        Some(SocketAddr::V4(_)) | None => HEADERS_V4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_loopback() {
        assert_eq!(of_route("127.0.0.1:9".parse().unwrap()), Some(u16::MAX));
        let v6 = Some("[::1]:9".parse().unwrap());
        assert_eq!((payload(1_500, None), payload(1_500, v6)), (1_472, 1_452));
        assert_eq!((payload(1_000, None), payload(9_000, None)), (LEAST, MOST));
    }
}
