//! Shell: datagrams at a steady rate, to see for how long a way is silent and what is lost on it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::netns::Netns;
use super::wait;

/// Answers that come so late still count.
const LATE: Duration = Duration::from_millis(500);

/// What one socket has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Datagrams that went.
    pub sent: u64,
    /// Answers that came.
    pub answered: u64,
    /// The longest time without an answer.
    pub silence: Duration,
}

/// Sockets that ask until they are stopped.
pub struct Rate {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<Seen>>>,
}

impl Rate {
    /// From so many sockets of a namespace, each with a datagram in every `every`; each was answered once before this returns.
    pub fn start(
        from: &Netns,
        to: SocketAddr,
        sockets: usize,
        every: Duration,
    ) -> anyhow::Result<Rate> {
        let open = || {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(Duration::from_secs(3)))?;
            socket.send(b"0")?;
            socket.recv(&mut [0; 64]).context("the first answer")?;
            Ok(socket)
        };
        let sockets: anyhow::Result<Vec<UdpSocket>> =
            from.enter(|| (0..sockets).map(|_| open()).collect())?;
        let stop = Arc::new(AtomicBool::new(false));
        let threads = sockets?.into_iter().map(|socket| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || ask(&socket, every, &stop))
        });
        Ok(Rate {
            threads: threads.collect(),
            stop,
        })
    }

    /// Stops, and tells what each has seen.
    pub fn stop(self) -> anyhow::Result<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(|thread| {
            let ended = thread.join();
            ended.map_err(|_| anyhow::anyhow!("a thread that asks has panicked"))?
        });
        ended.collect()
    }
}

fn ask(socket: &UdpSocket, every: Duration, stop: &AtomicBool) -> anyhow::Result<Seen> {
    let mut seen = Seen {
        sent: 0,
        answered: 0,
        silence: Duration::ZERO,
    };
    let mut last = wait::now();
    let mut next = last;
    while !stop.load(Ordering::Relaxed) {
        seen.sent = seen.sent.saturating_add(1);
        // Where there is no way at the moment the kernel may say so at once.
        let _ = socket.send(seen.sent.to_string().as_bytes());
        next += every;
        while answer(socket, next, &mut last, &mut seen)? {}
    }
    let stopped = wait::now();
    while seen.answered < seen.sent && answer(socket, stopped + LATE, &mut last, &mut seen)? {}
    if seen.answered < seen.sent {
        seen.silence = seen.silence.max(stopped.saturating_duration_since(last));
    }
    Ok(seen)
}

/// Waits for an answer until then; false: there is no more time.
fn answer(
    socket: &UdpSocket,
    until: Instant,
    last: &mut Instant,
    seen: &mut Seen,
) -> anyhow::Result<bool> {
    let left = until.saturating_duration_since(wait::now());
    if left.is_zero() {
        return Ok(false);
    }
    socket.set_read_timeout(Some(left))?;
    if socket.recv(&mut [0; 64]).is_ok() {
        let now = wait::now();
        seen.answered = seen.answered.saturating_add(1);
        seen.silence = seen.silence.max(now.saturating_duration_since(*last));
        *last = now;
    }
    Ok(true)
}
