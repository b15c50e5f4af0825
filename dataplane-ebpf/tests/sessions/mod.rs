//! Packets that are encrypted, but for the encryption: agents hand their devices to what stands here for the gateways,
//! which gives each frame of one to the other as sessions would.

use std::collections::BTreeSet;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use causeway_abi::names::handover::{ALIVE_MS, HELD, WANTED};
use causeway_abi::{Mac, Vni};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::lab::{self, Lab};
use super::{EAST_VIP, ask, mirror, mirrored, there_and_back, views, walk_echo, walk_udp};

/// Bytes before the source's MAC.
const SOURCE: usize = 16;

/// The gateway of one node.
struct Gateway {
    listener: UnixListener,
    device: OwnedFd,
    alive: Alive,
}

/// Says what it carries until it is dropped.
struct Alive {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Alive {
    fn carrying(peer: u16, mut agent: UnixStream) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let word = [1u16.to_be_bytes(), peer.to_be_bytes()].concat();
            while !stopped.load(Ordering::Relaxed) && agent.write_all(&word).is_ok() {
                std::thread::sleep(Duration::from_millis(ALIVE_MS));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

fn accept(listener: &UnixListener, word: u8) -> UnixStream {
    assert!(readable(listener, 5_000), "no agent comes");
    let (mut agent, _) = listener.accept().unwrap();
    agent
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    agent.write_all(&[word]).unwrap();
    agent
}

/// Takes the device from the agent.
fn taken(agent: &UnixStream) -> OwnedFd {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let fd = agent.as_raw_fd();
    let message = recvmsg::<()>(fd, &mut bytes, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
    let message = message.unwrap();
    let rights = message.cmsgs().unwrap().find_map(|message| match message {
        ControlMessageOwned::ScmRights(rights) => rights.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(rights.expect("a descriptor")) }
}

impl Gateway {
    fn start(listener: UnixListener, peer: u16) -> Self {
        let agent = accept(&listener, WANTED);
        let device = taken(&agent);
        Self {
            listener,
            device,
            alive: Alive::carrying(peer, agent),
        }
    }

    /// Another one may listen there.
    fn leave(self) -> UnixListener {
        let Self {
            listener,
            device,
            alive,
        } = self;
        drop((alive, device));
        listener
    }
}

/// What went between the two.
#[derive(Default)]
struct Counts {
    frames: AtomicU64,
    bytes: AtomicU64,
}

fn readable(at: &impl AsRawFd, within_ms: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: at.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&raw mut poll, 1, within_ms) > 0 }
}

/// Every frame of `from`, which calls the other end `theirs`, to `to`, which calls this end `ours`.
fn pass(from: &OwnedFd, theirs: u16, to: &OwnedFd, ours: u16, stop: &AtomicBool, counts: &Counts) {
    let mut frame = vec![0; 70_000];
    while !stop.load(Ordering::Relaxed) {
        if !readable(from, 50) {
            continue;
        }
        let Ok(length) = nix::unistd::read(from, &mut frame) else {
            continue;
        };
        let mac: [u8; 6] = frame[SOURCE..SOURCE + 6].try_into().unwrap();
        // The host looks for IPv6 routers on any device.
        let Some((vni, identity)) = Mac::header(mac) else {
            continue;
        };
        assert_eq!((vni.number, vni.from), (theirs, false));
        let vni = Vni {
            number: ours,
            from: true,
            ..vni
        };
        frame[SOURCE..SOURCE + 6].copy_from_slice(&Mac::of_header(vni, identity));
        counts.frames.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(length as u64, Ordering::Relaxed);
        // Where it is full the frame is lost, as on any link.
        let _ = nix::unistd::write(to, &frame[..length]);
    }
}

/// Both directions, until it is dropped.
struct Sessions {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<Counts>,
}

impl Sessions {
    fn between(east: &Gateway, west: &Gateway) -> Self {
        let (stop, counts) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Counts::default()),
        );
        let direction = |from: &Gateway, theirs, to: &Gateway, ours| {
            let (from, to) = (
                from.device.try_clone().unwrap(),
                to.device.try_clone().unwrap(),
            );
            let (stop, counts) = (stop.clone(), counts.clone());
            std::thread::spawn(move || pass(&from, theirs, &to, ours, &stop, &counts))
        };
        let threads = vec![direction(east, 5, west, 9), direction(west, 9, east, 5)];
        Self {
            stop,
            threads,
            counts,
        }
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

#[test]
fn packets_go_by_gateways() {
    let Some(object) = lab::object() else { return };
    let mut lab = Lab::of_two_clusters("sessions");
    lab.serve("b1");
    lab.serve("b2");
    let listen = |lab: &Lab, node| UnixListener::bind(lab.gateway_socket(node)).unwrap();
    let (east, west) = (listen(&lab, "e1"), listen(&lab, "w1"));
    let encrypted = views::encrypted;
    for (node, view) in [
        ("e1", encrypted(views::east())),
        ("w1", encrypted(views::west("w1"))),
        ("w2", encrypted(views::west("w2"))),
    ] {
        lab.agent(node, &object, &view);
    }
    lab.programmed(&["e1", "w1", "w2"]);
    let (east, west) = (Gateway::start(east, 5), Gateway::start(west, 9));
    let sessions = Sessions::between(&east, &west);

    let mut names = BTreeSet::new();
    for _ in 0..40 {
        let answer = ask(&lab, "client", EAST_VIP, 80);
        let (name, seen) = answer.unwrap_or_else(|e| panic!("{e}\n{}", lab.explain()));
        assert_eq!(seen, "242.9.1.6", "the mapped address of the client");
        names.insert(name);
    }
    assert_eq!(names.len(), 2, "{names:?}: here and on another node");
    walk_udp(&lab);
    walk_echo(&lab);
    super_packets(&lab, &sessions);
    assert_eq!(lab.sent("e1", "cway0"), 0, "nothing goes plain");
    assert_ne!(lab.sent("w1", "cway0"), 0, "but to an own node");
    restarts(&mut lab, &object, east, west, sessions);
}

/// What a pod gives in one piece goes over in one.
fn super_packets(lab: &Lab, sessions: &Sessions) {
    let read = || {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&sessions.counts.frames), of(&sessions.counts.bytes))
    };
    let before = read();
    there_and_back(lab, EAST_VIP);
    let after = read();
    let mean = (after.1 - before.1) / (after.0 - before.0);
    // Half of the frames acknowledge.
    assert!(mean > 5_000, "{mean} bytes a frame");
}

/// Agents and gateways come and go, and a connection lives through it.
fn restarts(lab: &mut Lab, object: &str, east: Gateway, west: Gateway, sessions: Sessions) {
    let (next, turns) = std::sync::mpsc::channel::<()>();
    let (told, answers) = std::sync::mpsc::channel();
    let client = lab.inside_background("client", move || {
        let mut stream = mirror();
        for () in turns {
            told.send(mirrored(&mut stream).is_ok()).unwrap();
        }
    });
    let lives = |lab: &Lab, what: &str| {
        next.send(()).unwrap();
        let answered = answers.recv_timeout(Duration::from_secs(10));
        assert_eq!(answered, Ok(true), "{what}\n{}", lab.explain());
    };
    lives(lab, "before");
    lab.kill_agent("e1");
    lives(lab, "without an agent");
    lab.start_agent("e1", object);
    let mut again = accept(&east.listener, HELD);
    again
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let said = again.read(&mut [0]);
    assert!(said.is_err(), "it has nothing to say: {said:?}");
    let again = Alive::carrying(5, again);
    lives(lab, "with a new agent");

    drop(sessions);
    // What comes meanwhile waits for the next one.
    let west = Gateway::start(west.leave(), 9);
    let sessions = Sessions::between(&east, &west);
    lives(lab, "with a new gateway");

    drop((sessions, again));
    let listener = east.leave();
    lab.kill_agent("e1");
    let late = lab.file("e1", "late-object");
    nix::unistd::mkfifo(&late, nix::sys::stat::Mode::S_IRWXU).unwrap();
    lab.spawn("e1", "e1", late.to_str().unwrap());
    // Its programs cannot be there yet; those of the agent before it are, and the gateway needs no more.
    let east = Gateway::start(listener, 5);
    let sessions = Sessions::between(&east, &west);
    lives(lab, "before the new agent has its programs");
    std::fs::write(&late, std::fs::read(object).unwrap()).unwrap();
    lab.programmed(&["e1"]);
    lives(lab, "with both new");
    drop(next);
    client.join().unwrap();
    drop(sessions);
}
