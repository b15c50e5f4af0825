//! Shell: the device to the programs, as the agent of this node hands it over: this process may make no devices.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::carry::Carried;
use super::packets::Idle;
use causeway_abi::names::handover::{ALIVE_MS, HELD, WANTED};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long an agent may take to hand over what it was asked for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between signs of life to the agent.
const ALIVE: Duration = Duration::from_millis(ALIVE_MS);
/// After a socket that failed.
const AGAIN: Duration = Duration::from_millis(100);

/// The device, in frames.
#[derive(Debug)]
pub struct Device(AsyncFd<OwnedFd>);

impl Device {
    /// The next frame that the programs send.
    ///
    /// # Errors
    /// When the device is gone.
    pub async fn read(&self, frame: &mut [u8]) -> io::Result<usize> {
        let read = |fd: &OwnedFd| Ok(nix::unistd::read(fd, frame)?);
        self.0.async_io(Interest::READABLE, read).await
    }

    /// Gives the programs a frame.
    ///
    /// # Errors
    /// When the device is gone, or is not up.
    pub async fn write(&self, frame: &[u8]) -> io::Result<()> {
        let write = |fd: &OwnedFd| Ok(nix::unistd::write(fd, frame)?);
        self.0.async_io(Interest::WRITABLE, write).await.map(drop)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// Takes the device from whichever agent comes, for ever. Nobody else's word is taken: the socket's directory is this
/// process's own, and who is at the other end must be root. `on`: what waits for it runs on these threads.
pub async fn take(
    listener: UnixListener,
    device: watch::Sender<Option<Arc<Device>>>,
    mut carried: watch::Receiver<Carried>,
    on: (Handle, Arc<Idle>),
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no agent is taken");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        if !stream.peer_cred().is_ok_and(|who| who.uid() == 0) {
            tracing::warn!("what hands over a device is not root: refused");
            continue;
        }
        let agent = with_agent(stream, &device, &mut carried, &on);
        if let Err(error) = agent.await {
            tracing::warn!(%error, "the agent hands over no device");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Until it is gone, or the device is.
async fn with_agent(
    mut stream: UnixStream,
    device: &watch::Sender<Option<Arc<Device>>>,
    carried: &mut watch::Receiver<Carried>,
    (threads, idle): &(Handle, Arc<Idle>),
) -> io::Result<()> {
    let held = device.borrow().is_some();
    stream
        .write_all(&[if held { HELD } else { WANTED }])
        .await?;
    if !held {
        let given = tokio::time::timeout(PATIENCE, given(&stream)).await;
        let given = given.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let given = {
            let _threads = threads.enter();
            // SAFETY: an owned descriptor stays open, and the same one, until it is dropped.
            unsafe { AsyncFd::register(given) }.map_err(io::Error::from)?
        };
        let given = Arc::new(Device(given));
        let source: Weak<Device> = Arc::downgrade(&given);
        idle.add(source);
        device.send_replace(Some(given));
        tracing::info!("the agent has handed over the device");
    }
    let (mut gone, mut to) = stream.into_split();
    let mut lost = device.subscribe();
    let mut word = [0];
    tokio::select! {
        _ = gone.read(&mut word) => Ok(()),
        _ = lost.wait_for(Option::is_none) => Ok(()),
        failed = tell(&mut to, carried) => failed,
    }
}

/// Which peers packets are carried to: whenever that changes, and as a sign of life.
async fn tell(to: &mut OwnedWriteHalf, carried: &mut watch::Receiver<Carried>) -> io::Result<()> {
    loop {
        let word: Vec<u8> = {
            let carried = carried.borrow_and_update();
            let peers = &carried.peers;
            let count = u16::try_from(peers.len()).unwrap_or(u16::MAX);
            let words = std::iter::once(count).chain(peers.keys().copied());
            words.flat_map(u16::to_be_bytes).collect()
        };
        to.write_all(&word).await?;
        let _ = tokio::time::timeout(ALIVE, carried.changed()).await;
    }
}

async fn given(stream: &UnixStream) -> io::Result<OwnedFd> {
    let take = || {
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut bytes, Some(&mut space), flags)?;
        let found = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmRights(rights) => rights.first().copied(),
            _ => None,
        });
        let fd = found.ok_or(io::ErrorKind::InvalidData)?;
        // SAFETY: the kernel has just made this descriptor for this process, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    stream.async_io(Interest::READABLE, take).await
}
