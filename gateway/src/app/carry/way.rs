//! Shell: the way to one gateway of a peer: its session's connection, and more beside it where there are cores for them. Each
//! has a task that sends and one that receives; a flow keeps to one of them, so its packets keep their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Devices, HELD_LOOKS, LOOK, WayTo};
use crate::transport::Link;
use crate::tunnel::choice::Rank;
use crate::tunnel::counts::{Counts, Lost};
use crate::tunnel::datagram::Datagram;
use crate::tunnel::merge::Merger;

/// Frames that wait for one connection, and bytes of their datagrams: what a fast link takes in some milliseconds, and a burst of
/// small packets. One more is lost.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 4 << 20;
/// Datagrams that are merged at once.
const BATCH: usize = 256;
/// Looks in a row at which nothing new was heard of a session, after which its packets go by another: two of its signs
/// of life.
const QUIET: u32 = 7;

/// One connection's tasks, which end with this.
struct Lane {
    link: Link,
    /// The path takes as much by it as by the session's connection: one that has just come has not found out yet.
    ready: bool,
    queue: mpsc::Sender<Vec<Bytes>>,
    /// Bytes in the queue, and of the datagrams that are taken off it and not sent yet.
    waiting: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Lane {
    fn open(peer: u16, link: Link, device: &Devices, counts: &Arc<Counts>) -> Self {
        let (queue, queued) = mpsc::channel(WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(send(link.clone(), queued, Arc::clone(&waiting)));
        let (from, device) = (link.clone(), device.clone());
        tasks.spawn(receive(peer, from, device, Arc::clone(counts)));
        Self {
            link,
            ready: false,
            queue,
            waiting,
            _tasks: tasks,
        }
    }

    /// Sends a frame's datagrams, or queues them behind others; false: there is no room.
    fn give(&self, datagrams: Vec<Bytes>) -> bool {
        // Without another task's turn, where none is before them.
        if self.waiting.load(Ordering::Acquire) == 0 && self.link.send_now(&datagrams) {
            return true;
        }
        let bytes: usize = datagrams.iter().map(Bytes::len).sum();
        if self.waiting.load(Ordering::Relaxed).saturating_add(bytes) > WAITING_BYTES {
            return false;
        }
        // First, so that the other end never takes off what is not there yet.
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let given = self.queue.try_send(datagrams).is_ok();
        if !given {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        given
    }
}

/// To one gateway. Its tasks end with this.
pub(super) struct Way {
    pub link: Link,
    pub leaving: bool,
    /// What its connection had received at the last look, and looks in a row without more.
    heard: u64,
    pub quiet: u32,
    peer: u16,
    device: Devices,
    counts: Arc<Counts>,
    /// By the session's own connection.
    first: Lane,
    more: Vec<Lane>,
}

impl Way {
    pub fn open(peer: u16, to: &WayTo, device: &Devices, counts: &Arc<Counts>) -> Self {
        Self {
            link: to.link.clone(),
            leaving: to.leaving,
            heard: 0,
            quiet: 0,
            peer,
            device: device.clone(),
            counts: Arc::clone(counts),
            first: Lane::open(peer, to.link.clone(), device, counts),
            more: Vec::new(),
        }
    }

    /// Sends a frame's datagrams, or queues them behind others; false: there is no room. `hash`: of their flow.
    pub fn give(&self, hash: u32, datagrams: Vec<Bytes>) -> bool {
        // Another part of the hash than what has chosen the gateway.
        let hash = usize::from((hash >> 16) as u16);
        let lane = self.more.get(hash % (self.more.len() + 1));
        let lane = lane.filter(|lane| lane.ready);
        lane.unwrap_or(&self.first).give(datagrams)
    }

    pub fn look(&mut self) {
        let heard = self.link.heard();
        self.quiet = if heard == self.heard {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        self.heard = heard;
        let links = self.link.lanes();
        let is = |lane: &Lane, link: &Link| lane.link.number() == link.number();
        self.more
            .retain(|lane| links.iter().any(|link| is(lane, link)));
        for link in links {
            if !self.more.iter().any(|lane| is(lane, &link)) {
                let lane = Lane::open(self.peer, link, &self.device, &self.counts);
                self.more.push(lane);
            }
        }
        let room = self.link.room();
        for lane in &mut self.more {
            lane.ready = lane.link.room() >= room;
        }
    }

    pub fn rank(&self) -> Rank {
        match (self.quiet >= QUIET, self.leaving) {
            (true, _) => Rank::Silent,
            (false, true) => Rank::Leaving,
            (false, false) => Rank::Heard,
        }
    }
}

async fn send(link: Link, mut queued: mpsc::Receiver<Vec<Bytes>>, waiting: Arc<AtomicUsize>) {
    while let Some(datagrams) = queued.recv().await {
        let bytes: usize = datagrams.iter().map(Bytes::len).sum();
        if !link.send(datagrams).await {
            return;
        }
        waiting.fetch_sub(bytes, Ordering::Release);
    }
}

/// What the peer sends, in batches of what has come at one time.
async fn receive(peer: u16, link: Link, mut device: Devices, counts: Arc<Counts>) {
    let mut merger = Merger::new(peer);
    loop {
        if device.borrow().is_none() {
            // The agent brings it in a moment; until then the connection's buffer holds what comes.
            let _ = tokio::time::timeout(LOOK * HELD_LOOKS, device.wait_for(Option::is_some)).await;
        }
        let Some(first) = link.receive().await else {
            return;
        };
        let mut next = Some(first);
        let mut count = 0;
        while let Some(bytes) = next {
            let taken = Datagram::decode(&bytes).map(|datagram| merger.take(&datagram));
            if taken.is_none_or(|taken| taken.is_err()) {
                tracing::debug!(peer, "a malformed datagram");
                counts.lost(Lost::BadDatagram);
            }
            count += 1;
            next = (count < BATCH).then(|| link.received()).flatten();
        }
        counts.received(count);
        let now = device.borrow().clone();
        for frame in merger.finish() {
            let written = match &now {
                Some(device) => device.write(&frame).await.is_ok(),
                None => false,
            };
            if !written {
                counts.lost(Lost::NoDevice);
            }
        }
    }
}
