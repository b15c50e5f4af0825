//! Pure: a batch of a peer's datagrams becomes as few frames as can be: segments that follow each other make one
//! super-packet, which costs the kernel and the pod what a single one does. Nothing waits for a later batch but one half
//! of a split packet.

use std::collections::VecDeque;

use super::datagram::{Datagram, Label, Part};
use super::frame::{HEAD, Offload, head};
use super::packet::{Ip, Segment, flags, settle};

/// Flows that are merged at one time; what is beyond them passes as it is.
const RUNS: usize = 16;
/// Halves that wait for the other one.
const HALVES: usize = 64;
/// A half is given up when packets so much further on are split: their numbers come round, and one must not be taken for the
/// other half of another's packet, whose sum nobody checks.
const RECENT: u16 = 1024;
/// The largest IPv4 packet.
const LARGEST: usize = 65_535;

/// A datagram that no gateway would have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the datagram holds no IPv4 packet that its header fits")]
pub struct Malformed;

/// Segments of one flow, from one on.
#[derive(Debug)]
struct Run {
    label: Label,
    /// A frame: room for its head, and the packet.
    frame: Vec<u8>,
    first: Segment,
    /// Bytes of the first payload; only the last may have less.
    size: usize,
    /// The number of the byte that follows.
    next: u32,
    count: usize,
    /// Nothing may follow.
    closed: bool,
}

/// A half of a split packet.
#[derive(Debug)]
struct Half {
    label: Label,
    unsummed: bool,
    part: Part,
    bytes: Vec<u8>,
}

impl Half {
    fn is_near(&self, number: u16) -> bool {
        let (Part::Front(own) | Part::Back(own)) = self.part else {
            return false;
        };
        own.wrapping_sub(number).min(number.wrapping_sub(own)) < RECENT
    }
}

/// Of one session.
#[derive(Debug)]
pub struct Merger {
    peer: u16,
    runs: Vec<Run>,
    halves: VecDeque<Half>,
    ready: Vec<Vec<u8>>,
}

impl Merger {
    /// For the peer of that number.
    #[must_use]
    pub fn new(peer: u16) -> Self {
        Self {
            peer,
            runs: Vec::new(),
            halves: VecDeque::new(),
            ready: Vec::new(),
        }
    }

    /// Takes one datagram of the batch.
    ///
    /// # Errors
    /// When it is malformed: it is left out.
    pub fn take(&mut self, datagram: &Datagram<'_>) -> Result<(), Malformed> {
        let Datagram {
            label,
            unsummed,
            part,
            bytes,
        } = *datagram;
        let (number, other) = match part {
            Part::Whole => return self.packet(label, unsummed, bytes),
            Part::Front(number) => (number, Part::Back(number)),
            Part::Back(number) => (number, Part::Front(number)),
        };
        self.halves
            .retain(|half| half.part != part && half.is_near(number));
        let fits =
            |half: &Half| half.part == other && half.label == label && half.unsummed == unsummed;
        let Some(at) = self.halves.iter().position(fits) else {
            if self.halves.len() >= HALVES {
                self.halves.pop_front();
            }
            let bytes = bytes.to_vec();
            self.halves.push_back(Half {
                label,
                unsummed,
                part,
                bytes,
            });
            return Ok(());
        };
        let held = self.halves.remove(at).map(|half| half.bytes);
        let held = held.unwrap_or_default();
        let whole = match other {
            Part::Front(_) => [held.as_slice(), bytes].concat(),
            _ => [bytes, held.as_slice()].concat(),
        };
        self.packet(label, unsummed, &whole)
    }

    /// The batch is over: all frames that came of it, in an order that keeps that of each flow.
    pub fn finish(&mut self) -> Vec<Vec<u8>> {
        while !self.runs.is_empty() {
            self.release(0);
        }
        std::mem::take(&mut self.ready)
    }

    fn packet(&mut self, label: Label, unsummed: bool, bytes: &[u8]) -> Result<(), Malformed> {
        let ip = Ip::read(bytes).ok_or(Malformed)?;
        if ip.total != bytes.len() || (unsummed && ip.sum_at().is_none()) {
            return Err(Malformed);
        }
        let tcp = Segment::read(bytes, &ip);
        let flow = self.runs.iter().position(|run| run.is_flow_of(bytes, &ip));
        if let Some(at) = flow {
            let joins = tcp.is_some_and(|tcp| {
                let run = self.runs.get_mut(at);
                unsummed && run.is_some_and(|run| run.join(label, bytes, tcp))
            });
            if joins {
                return Ok(());
            }
            self.release(at);
        }
        let run = tcp.and_then(|tcp| Run::begin(label, bytes, tcp));
        match run.filter(|_| unsummed) {
            Some(run) => {
                if self.runs.len() >= RUNS {
                    self.release(0);
                }
                self.runs.push(run);
            }
            None => self.single(label, unsummed, &ip, bytes),
        }
        Ok(())
    }

    fn single(&mut self, label: Label, unsummed: bool, ip: &Ip, bytes: &[u8]) {
        let sum = ip.sum_at().filter(|_| unsummed);
        let sum = sum.map(|at| (ip.length as u16, at as u16));
        let mut frame = Vec::with_capacity(HEAD + bytes.len());
        let segments = None;
        head(self.peer, label, Offload { sum, segments }, &mut frame);
        frame.extend_from_slice(bytes);
        self.ready.push(frame);
    }

    fn release(&mut self, at: usize) {
        if at < self.runs.len() {
            let run = self.runs.remove(at);
            self.ready.push(run.frame(self.peer));
        }
    }
}

impl Run {
    /// `None`: nothing may follow this segment in one packet.
    fn begin(label: Label, bytes: &[u8], tcp: Segment) -> Option<Self> {
        let size = bytes.len().checked_sub(tcp.headers)?;
        let plain = tcp.flags & !flags::PSH == flags::ACK;
        if size == 0 || !plain || tcp.ip != 20 {
            return None;
        }
        let mut frame = Vec::with_capacity(HEAD + LARGEST);
        frame.resize(HEAD, 0);
        frame.extend_from_slice(bytes);
        Some(Self {
            label,
            frame,
            first: tcp,
            size,
            next: tcp.sequence.wrapping_add(size as u32),
            count: 1,
            closed: tcp.flags & flags::PSH != 0,
        })
    }

    fn packet(&self) -> &[u8] {
        self.frame.get(HEAD..).unwrap_or_default()
    }

    /// Whether that packet is of the same flow: protocol, addresses, ports.
    fn is_flow_of(&self, bytes: &[u8], ip: &Ip) -> bool {
        let own = self.packet();
        let ports = |packet: &[u8], at: usize| packet.get(at..at + 4).map(<[u8]>::to_owned);
        own.get(12..20) == bytes.get(12..20)
            && own.get(9) == bytes.get(9)
            && ports(own, self.first.ip) == ports(bytes, ip.length)
    }

    /// Takes a segment of the same flow, if it goes on where this ends and differs in nothing else. True: it is taken.
    fn join(&mut self, label: Label, bytes: &[u8], tcp: Segment) -> bool {
        let Some((headers, payload)) = bytes.split_at_checked(tcp.headers) else {
            return false;
        };
        let own = self.packet();
        let same = |from: usize, to: usize| own.get(from..to) == headers.get(from..to);
        let at = tcp.ip;
        let follows = !self.closed
            && label == self.label
            && tcp.headers == self.first.headers
            && tcp.sequence == self.next
            && tcp.flags & !flags::PSH == flags::ACK
            // Class and congestion marks; the bit that forbids fragments; hop limit.
            && same(0, 2)
            && same(6, 9)
            // Acknowledgement and header length; window; urgent pointer and options.
            && same(at + 8, at + 13)
            && same(at + 14, at + 16)
            && same(at + 18, tcp.headers);
        let fits = !payload.is_empty()
            && payload.len() <= self.size
            && own.len() + payload.len() <= LARGEST;
        if !follows || !fits {
            return false;
        }
        self.closed = payload.len() < self.size || tcp.flags & flags::PSH != 0;
        self.next = self.next.wrapping_add(payload.len() as u32);
        self.count += 1;
        self.frame.extend_from_slice(payload);
        if tcp.flags & flags::PSH != 0
            && let Some(set) = self.frame.get_mut(HEAD + at + 13)
        {
            *set |= flags::PSH;
        }
        true
    }

    fn frame(self, peer: u16) -> Vec<u8> {
        let Self {
            label,
            mut frame,
            first,
            size,
            count,
            ..
        } = self;
        let offload = Offload {
            sum: Some((first.ip as u16, 16)),
            segments: (count > 1).then_some((first.headers as u16, size as u16)),
        };
        if let Some((mut place, packet)) = frame.split_at_mut_checked(HEAD) {
            head(peer, label, offload, &mut place);
            if count > 1 {
                settle(packet);
            }
        }
        frame
    }
}
