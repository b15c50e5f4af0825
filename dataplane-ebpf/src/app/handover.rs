//! Shell: the device to the gateway is given to it, whenever one comes that has none: the gateway itself may make no
//! devices. The connection stays open for as long as the gateway lives, and tells what it carries.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_abi::limits::PEERS;
use causeway_abi::names::handover::{SILENT_MS, WANTED};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::compile::Gateway;
use crate::ports::{Host, open_session};

/// Between looks whether a gateway is there.
const AGAIN: Duration = Duration::from_millis(50);
/// Looks for a gateway, 2 s in all, after which nothing waits for it any more: a restart, and not an outage.
const LOOKS: u32 = 40;
/// A gateway that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_millis(SILENT_MS);

/// Who gives the device to whichever gateway comes, and what that gateway does.
pub(super) struct Handover {
    /// Until there is a device to give.
    waiting: Option<(PathBuf, watch::Sender<Gateway>)>,
    pub gateway: watch::Receiver<Gateway>,
}

impl Handover {
    /// Begins at once where there is a device of an agent before: a gateway that came while no agent was here waits for it,
    /// and not for programs, since those before ours still run.
    pub async fn start(host: &Host, socket: PathBuf) -> Self {
        // An agent that restarts takes nothing back before it knows more.
        let (tell, gateway) = watch::channel(Gateway::Away);
        let mut handover = Self {
            waiting: Some((socket, tell)),
            gateway,
        };
        if host.has_session().await {
            handover.begin();
        }
        handover
    }

    /// The device is there.
    pub fn begin(&mut self) {
        if let Some((socket, tell)) = self.waiting.take() {
            tokio::spawn(run(socket, tell));
        }
    }

    /// From now on nobody here hears what the gateway does, and it may end, too.
    pub fn end(&mut self) {
        (_, self.gateway) = watch::channel(Gateway::Away);
    }
}

/// For ever. Tells what the gateway does.
async fn run(socket: PathBuf, tell: watch::Sender<Gateway>) {
    // While this end has the device open, what is sent into it waits there for the next gateway.
    let mut kept: Option<OwnedFd> = None;
    let mut told = None;
    let mut looks = 0;
    loop {
        match serve(&socket, &mut kept, &tell).await {
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
        let carried = matches!(*tell.borrow(), Gateway::Carries(_));
        if carried {
            tracing::info!("the gateway is gone");
            looks = 0;
            // The one that an agent before this had given it.
            kept = kept.or_else(|| open_session().ok());
            tell.send_replace(Gateway::Away);
        } else if looks >= LOOKS && *tell.borrow() == Gateway::Away {
            // What has waited so long nobody waits for.
            kept = None;
            tell.send_replace(Gateway::Absent);
        }
        looks = looks.saturating_add(1);
        tokio::time::sleep(AGAIN).await;
    }
}

fn is_absent(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::NotFound || kind == io::ErrorKind::ConnectionRefused
}

/// Until the gateway is gone.
async fn serve(
    socket: &Path,
    kept: &mut Option<OwnedFd>,
    tell: &watch::Sender<Gateway>,
) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut word = [0];
    stream.read_exact(&mut word).await?;
    if word == [WANTED] {
        give(&stream, kept).await?;
        tracing::info!("the gateway has its device");
    }
    while let Ok(Ok(peers)) = timeout(SILENCE, carried(&mut stream)).await {
        tell.send_if_modified(|gateway| {
            let next = Gateway::Carries(peers);
            let changed = *gateway != next;
            *gateway = next;
            changed
        });
    }
    Ok(())
}

/// The gateway's next word.
async fn carried(stream: &mut UnixStream) -> io::Result<BTreeSet<u16>> {
    let count = stream.read_u16().await?;
    if u32::from(count) > PEERS {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut peers = BTreeSet::new();
    for _ in 0..count {
        peers.insert(stream.read_u16().await?);
    }
    Ok(peers)
}

async fn give(stream: &UnixStream, kept: &mut Option<OwnedFd>) -> io::Result<()> {
    let device = match kept {
        Some(device) => device,
        None => kept.insert(open_session()?),
    };
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
