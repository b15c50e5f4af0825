//! Shell: packets between the device to the programs and the sessions with peers. Frames are read by one task; each
//! session has one that sends and one that receives, so that a slow peer holds up nobody else.

mod way;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::device::Device;
use crate::transport::Link;
use crate::tunnel::choice::choose;
use crate::tunnel::counts::{Counts, Lost};
use crate::tunnel::cut::cut;
use crate::tunnel::datagram::HEADER;
use crate::tunnel::frame::{Bad, Outgoing};

use way::Way;

/// Bytes of the largest frame: virtio's header, MAC bytes, an IPv4 packet.
const FRAME: usize = 66_000;
/// After a device that failed.
const AGAIN: Duration = Duration::from_millis(10);
/// Between looks at what is heard.
const LOOK: Duration = Duration::from_millis(100);
/// Fewer such looks: it was heard just now, at most so many milliseconds ago.
const JUST: u32 = 4;
pub const HEARD_MS: u64 = 400;
/// Such looks after which its gateway is dialled once more: UDP may be blocked from now on.
const REDIAL: u32 = 12;
/// Such looks after which nothing is carried by it: nodes send by another gateway then, if that hears more of the peer.
const LOST: u32 = 30;
/// Looks that a frame waits for a session with its peer: a gateway restarts within that.
const HELD_LOOKS: u32 = 10;
/// Frames that wait so, and their bytes, of all peers together: what a fast link brings in some milliseconds.
const HELD: usize = 4096;
const HELD_BYTES: usize = 16 << 20;

/// A session that packets go by.
#[derive(Debug, Clone)]
pub struct WayTo {
    /// Its connection.
    pub link: Link,
    /// The other end has said that it stops soon.
    pub leaving: bool,
}

/// The sessions that packets go by.
#[derive(Debug, Clone)]
pub struct Ways {
    /// By their peer's number here; all peers whose packets go so.
    pub peers: BTreeMap<u16, Vec<WayTo>>,
    /// This gateway stops soon: others should be given the packets.
    pub leaving: bool,
    /// What the programs send waits in the device: for the first sessions to be known, or for the next process.
    pub waiting: bool,
}

impl Default for Ways {
    /// Nothing is known yet.
    fn default() -> Self {
        Self {
            peers: BTreeMap::new(),
            leaving: false,
            waiting: true,
        }
    }
}

impl PartialEq for Ways {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |ways: &Self| -> Vec<(u16, Vec<(usize, bool)>)> {
            let each = ways.peers.iter();
            each.map(|(peer, ways)| {
                let ways = ways.iter().map(|way| (way.link.number(), way.leaving));
                (*peer, ways.collect())
            })
            .collect()
        };
        (self.leaving, self.waiting) == (other.leaving, other.waiting)
            && numbers(self) == numbers(other)
    }
}

/// What carries tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// Peers that packets are carried to, by their number: bytes of the largest inner packet that goes in one piece by all
    /// sessions with it.
    pub peers: BTreeMap<u16, u16>,
    /// Peers of which something has just been heard: by packets' own way, whatever their sessions' frames do.
    pub heard: BTreeSet<u16>,
    /// Connections, by their number, that nothing is heard of: it is time to look for another way.
    pub quiet: BTreeSet<usize>,
}

type Devices = watch::Receiver<Option<Arc<Device>>>;

/// What carries needs from outside and gives there.
pub struct Carry {
    /// The device, once an agent has handed it over.
    pub device: Devices,
    /// A device that fails is told to be none.
    pub lost: watch::Sender<Option<Arc<Device>>>,
    /// Sessions.
    pub ways: watch::Receiver<Arc<Ways>>,
    /// What is carried now.
    pub carried: watch::Sender<Carried>,
    /// What goes and what is lost.
    pub counts: Arc<Counts>,
}

/// For ever.
pub async fn run(mut carry: Carry) {
    let mut carrier = Carrier {
        open: BTreeMap::new(),
        replaced: Vec::new(),
        peers: BTreeSet::new(),
        held: VecDeque::new(),
        held_bytes: 0,
        split: 0,
        counts: Arc::clone(&carry.counts),
    };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut frame = vec![0; FRAME];
    loop {
        let wanted = carry.ways.borrow_and_update().clone();
        let device = carry.device.borrow_and_update().clone();
        let device = device.filter(|_| !wanted.waiting);
        carrier.adjust(&wanted, &carry.device);
        carrier.give_held();
        let mut carried = carrier.carried();
        if device.is_none() || wanted.leaving {
            carried.peers.clear();
        }
        carry.carried.send_if_modified(|told| {
            let news = *told != carried;
            *told = carried;
            news
        });
        // Frames are read until something else is to be done.
        loop {
            tokio::select! {
                read = next(device.as_deref(), &mut frame) => match read {
                    Ok(length) => carrier.take(frame.get(..length).unwrap_or_default()),
                    Err(error) => {
                        tracing::warn!(%error, "the device is gone");
                        carry.lost.send_replace(None);
                        tokio::time::sleep(AGAIN).await;
                        break;
                    }
                },
                changed = carry.ways.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                changed = carry.device.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                _ = look.tick() => {
                    carrier.look();
                    break;
                }
            }
        }
    }
}

/// The next frame; never, without a device.
async fn next(device: Option<&Device>, frame: &mut [u8]) -> std::io::Result<usize> {
    match device {
        Some(device) => device.read(frame).await,
        None => std::future::pending().await,
    }
}

/// A frame that waits for a session with its peer.
struct Waiting {
    peer: u16,
    frame: Vec<u8>,
    looks: u32,
}

struct Carrier {
    open: BTreeMap<(u16, usize), Way>,
    /// Those of sessions that another one has taken the place of, and looks since.
    replaced: Vec<(Way, u32)>,
    /// Whose packets go by sessions.
    peers: BTreeSet<u16>,
    held: VecDeque<Waiting>,
    held_bytes: usize,
    /// Packets that were split: their halves are told by it.
    split: u16,
    counts: Arc<Counts>,
}

impl Carrier {
    fn adjust(&mut self, wanted: &Ways, device: &Devices) {
        self.peers = wanted.peers.keys().copied().collect();
        let each = wanted.peers.iter();
        let wanted: BTreeMap<(u16, usize), &WayTo> = each
            .flat_map(|(peer, ways)| ways.iter().map(|to| ((*peer, to.link.number()), to)))
            .collect();
        let gone: Vec<_> = self
            .open
            .extract_if(.., |key, _| !wanted.contains_key(key))
            .collect();
        // What is on its way when one session takes the place of another still goes and comes.
        let replaced = gone
            .into_iter()
            .filter(|(key, _)| self.peers.contains(&key.0));
        self.replaced.extend(replaced.map(|(_, way)| (way, 0)));
        for (key, to) in wanted {
            let new = || Way::open(key.0, to, device, &self.counts);
            self.open.entry(key).or_insert_with(new).leaving = to.leaving;
        }
    }

    fn carried(&self) -> Carried {
        let mut carried = Carried::default();
        for ((peer, number), way) in &self.open {
            if way.quiet >= REDIAL {
                carried.quiet.insert(*number);
            }
            if way.quiet < JUST {
                carried.heard.insert(*peer);
            }
            let room = way.link.room().and_then(|room| room.checked_sub(HEADER));
            if let Some(mtu) = room.filter(|_| way.quiet < LOST) {
                let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                let least = carried.peers.entry(*peer).or_insert(mtu);
                *least = mtu.min(*least);
            }
        }
        carried
    }

    fn look(&mut self) {
        self.open.values_mut().for_each(Way::look);
        for (_, looks) in &mut self.replaced {
            *looks += 1;
        }
        self.replaced.retain(|(_, looks)| *looks <= HELD_LOOKS);
        for waiting in &mut self.held {
            waiting.looks = waiting.looks.saturating_add(1);
        }
        while let Some(old) = self.held.pop_front_if(|w| w.looks > HELD_LOOKS) {
            self.held_bytes = self.held_bytes.saturating_sub(old.frame.len());
            // A session of which nothing is heard may still reach the other end.
            if self.way(old.peer, 0).is_some() {
                self.send_held(&old.frame);
            } else {
                self.counts.lost(Lost::NoSession);
            }
        }
    }

    /// What has waited for a session that is heard now.
    fn give_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        for waiting in std::mem::take(&mut self.held) {
            if self.is_heard(waiting.peer) && self.way(waiting.peer, 0).is_some() {
                self.held_bytes = self.held_bytes.saturating_sub(waiting.frame.len());
                self.send_held(&waiting.frame);
            } else {
                self.held.push_back(waiting);
            }
        }
    }

    /// Of those with this peer, the one for a flow of this hash, and the bytes of datagrams that it takes.
    fn way(&self, peer: u16, hash: u32) -> Option<(&Way, usize)> {
        let all = self.open.range((peer, 0)..=(peer, usize::MAX));
        let taking =
            all.filter_map(|((_, n), way)| Some((*n, way.rank(), (way, way.link.room()?))));
        choose(hash, taking)
    }

    /// Whether something was heard of a session with it lately, so that none is dialled in its place.
    fn is_heard(&self, peer: u16) -> bool {
        let mut all = self.open.range((peer, 0)..=(peer, usize::MAX));
        all.any(|(_, way)| way.quiet < REDIAL)
    }

    /// A frame of the programs. Where no session with the peer is heard it waits: another one comes in a moment.
    fn take(&mut self, frame: &[u8]) {
        match Outgoing::read(frame) {
            Ok(packet) if self.is_heard(packet.peer) => self.send(&packet, frame),
            Ok(packet) => self.hold(packet.peer, frame),
            // The host itself looks for IPv6 routers on any device.
            Err(Bad::Foreign) => {}
            Err(error) => {
                tracing::debug!(%error, "a frame is lost");
                self.counts.lost(Lost::BadFrame);
            }
        }
    }

    /// One that has waited goes, whatever is heard.
    fn send_held(&mut self, frame: &[u8]) {
        match Outgoing::read(frame) {
            Ok(packet) => self.send(&packet, frame),
            Err(_) => self.counts.lost(Lost::BadFrame),
        }
    }

    /// A packet and its frame go to one of the peer's sessions, the same for all of a flow.
    fn send(&mut self, packet: &Outgoing<'_>, frame: &[u8]) {
        let mut split = self.split;
        let hash = packet.label.hash;
        let Some((way, room)) = self.way(packet.peer, hash) else {
            return self.hold(packet.peer, frame);
        };
        let mut datagrams = Vec::new();
        match cut(packet, room, &mut split, &mut datagrams) {
            Ok(()) => {
                let count = datagrams.len();
                if way.give(hash, datagrams) {
                    self.counts.sent(count);
                } else {
                    self.counts.lost(Lost::QueueFull);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a packet is lost");
                self.counts.lost(Lost::TooLarge);
            }
        }
        self.split = split;
    }

    /// One of its gateways may be back in a moment.
    fn hold(&mut self, peer: u16, frame: &[u8]) {
        let bytes = self.held_bytes.saturating_add(frame.len());
        let full = self.held.len() >= HELD || bytes > HELD_BYTES;
        if full || !self.peers.contains(&peer) {
            tracing::debug!(peer, "no session takes packets");
            return self.counts.lost(Lost::NoSession);
        }
        self.held_bytes = bytes;
        self.held.push_back(Waiting {
            peer,
            frame: frame.to_vec(),
            looks: 0,
        });
    }
}
