//! Shell: packets between the device to the programs and the sessions with peers. Frames are read by one task; each
//! session has one that sends and one that receives, so that a slow peer holds up nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::device::Device;
use crate::transport::Link;
use crate::tunnel::cut::cut;
use crate::tunnel::datagram::Datagram;
use crate::tunnel::frame::Outgoing;
use crate::tunnel::merge::Merger;

/// Bytes of the largest frame: virtio's header, MAC bytes, an IPv4 packet.
const FRAME: usize = 66_000;
/// Frames that wait for one session, each up to 64 KiB; one more is lost.
const WAITING: usize = 64;
/// Datagrams that are merged at once.
const BATCH: usize = 256;
/// After a device that failed.
const AGAIN: Duration = Duration::from_millis(10);

/// The sessions that packets go by, by their peer's number here.
#[derive(Debug, Clone, Default)]
pub struct Ways(pub BTreeMap<u16, Vec<Link>>);

impl PartialEq for Ways {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |ways: &Self| -> Vec<(u16, Vec<usize>)> {
            let each = ways.0.iter();
            each.map(|(peer, links)| (*peer, links.iter().map(Link::number).collect()))
                .collect()
        };
        numbers(self) == numbers(other)
    }
}

type Devices = watch::Receiver<Option<Arc<Device>>>;

/// One session's tasks, which end with this.
struct Way {
    link: Link,
    queue: mpsc::Sender<Vec<Bytes>>,
    _tasks: JoinSet<()>,
}

impl Way {
    fn open(peer: u16, link: &Link, device: &Devices) -> Self {
        let (queue, queued) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        tasks.spawn(send(link.clone(), queued));
        tasks.spawn(receive(peer, link.clone(), device.clone()));
        Self {
            link: link.clone(),
            queue,
            _tasks: tasks,
        }
    }
}

/// For ever. A device that fails is told to be none.
pub async fn run(
    mut device: Devices,
    told: watch::Sender<Option<Arc<Device>>>,
    mut ways: watch::Receiver<Arc<Ways>>,
) {
    let mut open: BTreeMap<(u16, usize), Way> = BTreeMap::new();
    let (mut frame, mut split) = (vec![0; FRAME], 0);
    loop {
        let wanted = ways.borrow_and_update().clone();
        adjust(&mut open, &wanted, &device);
        let Some(now) = device.borrow_and_update().clone() else {
            let changed = tokio::select! {
                changed = device.changed() => changed,
                changed = ways.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            continue;
        };
        loop {
            tokio::select! {
                read = now.read(&mut frame) => match read {
                    Ok(length) => {
                        let frame = frame.get(..length).unwrap_or_default();
                        give(&open, &wanted, frame, &mut split);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the device is gone");
                        told.send_replace(None);
                        tokio::time::sleep(AGAIN).await;
                        break;
                    }
                },
                changed = ways.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

fn adjust(open: &mut BTreeMap<(u16, usize), Way>, wanted: &Ways, device: &Devices) {
    let each = wanted.0.iter();
    let wanted: BTreeMap<(u16, usize), &Link> = each
        .flat_map(|(peer, links)| links.iter().map(|link| ((*peer, link.number()), link)))
        .collect();
    open.retain(|key, _| wanted.contains_key(key));
    for (key, link) in wanted {
        open.entry(key)
            .or_insert_with(|| Way::open(key.0, link, device));
    }
}

/// A frame of the programs to one of the peer's sessions, the same for all of a flow.
fn give(open: &BTreeMap<(u16, usize), Way>, ways: &Ways, frame: &[u8], split: &mut u16) {
    let packet = match Outgoing::read(frame) {
        Ok(packet) => packet,
        Err(error) => {
            tracing::debug!(%error, "a frame is lost");
            return;
        }
    };
    let links = ways.0.get(&packet.peer).map_or(&[][..], Vec::as_slice);
    let hash = packet.label.hash as usize;
    let link = hash.checked_rem(links.len()).and_then(|at| links.get(at));
    let way = link.and_then(|link| open.get(&(packet.peer, link.number())));
    let Some((way, room)) = way.and_then(|way| Some((way, way.link.room()?))) else {
        tracing::debug!(peer = packet.peer, "no session takes packets");
        return;
    };
    let mut datagrams = Vec::new();
    match cut(&packet, room, split, &mut datagrams) {
        Ok(()) => drop(way.queue.try_send(datagrams)),
        Err(error) => tracing::debug!(%error, "a packet is lost"),
    }
}

async fn send(link: Link, mut queued: mpsc::Receiver<Vec<Bytes>>) {
    while let Some(datagrams) = queued.recv().await {
        for datagram in datagrams {
            if !link.send(datagram).await {
                return;
            }
        }
    }
}

/// What the peer sends, in batches of what has come at one time.
async fn receive(peer: u16, link: Link, device: Devices) {
    let mut merger = Merger::new(peer);
    while let Some(first) = link.receive().await {
        let mut next = Some(first);
        let mut count = 0;
        while let Some(bytes) = next {
            let taken = Datagram::decode(&bytes).map(|datagram| merger.take(&datagram));
            if taken.is_none_or(|taken| taken.is_err()) {
                tracing::debug!(peer, "a malformed datagram");
            }
            count += 1;
            next = (count < BATCH).then(|| link.received()).flatten();
        }
        let now = device.borrow().clone();
        for frame in merger.finish() {
            let Some(device) = &now else { break };
            if let Err(error) = device.write(&frame).await {
                tracing::debug!(%error, "a frame is lost");
            }
        }
    }
}
