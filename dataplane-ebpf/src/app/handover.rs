//! Shell: the device to the gateway is given to it, whenever one comes that has none: the gateway itself may make no
//! devices. The connection stays open for as long as the gateway lives.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_abi::names::handover::WANTED;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;

use crate::ports::open_session;

/// Between looks whether a gateway is there.
const AGAIN: Duration = Duration::from_millis(100);

/// For ever.
pub(super) async fn run(socket: PathBuf) {
    let mut told = None;
    loop {
        match serve(&socket).await {
            Ok(()) => told = None,
            // No gateway here, or not yet.
            Err(error) if is_absent(&error) => {}
            Err(error) => {
                let why = error.to_string();
                if told.as_ref() != Some(&why) {
                    tracing::warn!(socket = %socket.display(), "the gateway has no device: {why}");
                }
                told = Some(why);
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn is_absent(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::NotFound || kind == io::ErrorKind::ConnectionRefused
}

/// Until the gateway is gone.
async fn serve(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut word = [0];
    stream.read_exact(&mut word).await?;
    if word == [WANTED] {
        give(&stream).await?;
        tracing::info!("the gateway has its device");
    }
    while stream.read(&mut word).await? > 0 {}
    Ok(())
}

async fn give(stream: &UnixStream) -> io::Result<()> {
    let device = open_session()?;
    let rights = [device.as_raw_fd()];
    loop {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            let message = [ControlMessage::ScmRights(&rights)];
            let (fd, bytes) = (stream.as_raw_fd(), [IoSlice::new(b"d")]);
            Ok(sendmsg::<()>(
                fd,
                &bytes,
                &message,
                MsgFlags::empty(),
                None,
            )?)
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent.map(drop),
        }
    }
}
