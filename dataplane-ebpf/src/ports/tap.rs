//! Shell: the device between the programs and this node's gateway: a TAP that stays while nobody has it open, so that a
//! gateway which restarts finds it with its programs on it.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Its name.
pub const SESSION: &str = "cway-session";
/// Frames with virtio's header, which carries super-packets and sums that are still to be made.
const KIND: i32 = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
/// What whoever reads it can do. Super-packets of UDP are not among it: the kernel cuts those before.
const OFFLOADS: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO_ECN;

mod call {
    nix::ioctl_write_ptr_bad!(set_device, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(set_offload, libc::TUNSETOFFLOAD);
    nix::ioctl_write_int_bad!(set_persist, libc::TUNSETPERSIST);
}

/// Opens it, and makes it if it is not there. Only one can have it open at a time.
///
/// # Errors
/// When the kernel refuses; `EBUSY`: another process has it open.
pub fn open() -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    // SAFETY: plain bytes and integers, all zero is valid.
    let mut device: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in device.ifr_name.iter_mut().zip(SESSION.bytes()) {
        *to = from as libc::c_char;
    }
    device.ifr_ifru.ifru_flags = KIND as libc::c_short;
    // SAFETY: the descriptor is open, and the structure lives through the call.
    unsafe {
        call::set_device(file.as_raw_fd(), &raw const device)?;
        call::set_offload(file.as_raw_fd(), OFFLOADS as i32)?;
        call::set_persist(file.as_raw_fd(), 1)?;
    }
    Ok(file.into())
}
