//! Shell: traffic between two namespaces, as much as goes: a TCP stream, datagrams, round trips.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::lab::netns::Netns;
use crate::lab::wait;

/// How long each run sends.
const TIME: Duration = Duration::from_millis(300);
/// How long bulk sends before it counts, and how long it counts.
const WARM: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_millis(1_500);
/// Where it goes to.
const PORT: u16 = 5201;
/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(5);
/// A datagram's payload: small, so that packets count and not bytes.
const DATAGRAM: [u8; 64] = [0; 64];

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// One TCP connection, as many bytes as go.
    Stream,
    /// So many TCP connections at once, as many bytes as go by all together, for longer.
    Bulk(usize),
    /// Small datagrams, as many as come to the socket.
    Datagrams,
    /// One byte there and one back, again and again, as a probe does.
    RoundTrips,
}

impl Load {
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Stream | Self::Bulk(_) => "Gbit/s",
            Self::Datagrams => "k packets/s",
            Self::RoundTrips => "k round trips/s",
        }
    }

    /// One run between two namespaces.
    pub(super) fn run(self, from: &Netns, to: &Netns, address: Ipv4Addr) -> Result<f64> {
        let address = SocketAddr::from((address, PORT));
        match self {
            // On one processor, so that it shows the whole way's cost; on two the figure swings by which of them
            // waits for the other.
            Self::Stream => pair(0, from, to, take_stream, |go| stream(go, address)),
            Self::Bulk(count) => bulk(count, from, to, address),
            Self::Datagrams => {
                let over = AtomicBool::new(false);
                let send = |go| datagrams(go, address, &over);
                pair(1, from, to, |ready| take_datagrams(ready, &over), send)
            }
            Self::RoundTrips => pair(0, from, to, mirror, |go| round_trips(go, address)),
        }
    }
}

/// Runs the server's side in `to`, on this processor, and then the client's in `from`, on the first; one of them gives the
/// figure.
fn pair(
    processor: usize,
    from: &Netns,
    to: &Netns,
    serve: impl FnOnce(mpsc::Sender<()>) -> Result<Option<f64>> + Send,
    send: impl FnOnce(mpsc::Receiver<()>) -> Result<Option<f64>> + Send,
) -> Result<f64> {
    let (ready, go) = mpsc::channel();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| to.enter(|| keep_to(processor).and_then(|()| serve(ready))));
        let sent = from.enter(|| keep_to(0).and_then(|()| send(go)));
        let served = server.join().map_err(|_| anyhow!("the server's side"))?;
        let (sent, served) = (sent??, served??);
        sent.or(served).context("no figure")
    })
}

/// Bytes that reach the server by all connections, from when all are there until the first has had its time.
fn bulk(count: usize, from: &Netns, to: &Netns, address: SocketAddr) -> Result<f64> {
    let listener = to.enter(|| TcpListener::bind(("0.0.0.0", PORT)))??;
    let open = || -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(stream)
    };
    let mut ends = Vec::new();
    for _ in 0..count {
        let sends = from.enter(open)??;
        let (takes, _) = listener.accept()?;
        takes.set_read_timeout(Some(LIMIT))?;
        ends.push((sends, takes));
    }
    let (over, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (mut sends, mut takes) in ends {
            let (over, bytes) = (&over, &bytes);
            threads.push(scope.spawn(move || -> Result<()> {
                let buffer = vec![0; 256 << 10];
                while !over.load(Ordering::Relaxed) {
                    sends.write_all(&buffer)?;
                }
                Ok(())
            }));
            threads.push(scope.spawn(move || -> Result<()> {
                let mut buffer = vec![0; 256 << 10];
                loop {
                    match takes.read(&mut buffer)? {
                        0 => return Ok(()),
                        read => bytes.fetch_add(read as u64, Ordering::Relaxed),
                    };
                }
            }));
        }
        // TCP has found its pace by then.
        std::thread::sleep(WARM);
        let (start, before) = (wait::now(), bytes.load(Ordering::Relaxed));
        std::thread::sleep(LONG);
        let (took, after) = (start.elapsed(), bytes.load(Ordering::Relaxed));
        over.store(true, Ordering::Relaxed);
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow!("a thread of the load"))??;
        }
        Ok(after.saturating_sub(before) as f64 * 8.0 / took.as_secs_f64() / 1e9)
    })
}

/// Keeps this thread to one of the processors that it may use. Where the two sides run beside each other or in turns, by
/// the scheduler's mood, that moves a figure more than what is measured here.
fn keep_to(place: usize) -> Result<()> {
    let this = Pid::from_raw(0);
    let may = sched_getaffinity(this)?;
    let mut usable = (0..CpuSet::count()).filter(|cpu| may.is_set(*cpu).unwrap_or(false));
    let Some(cpu) = usable.nth(place) else {
        return Ok(());
    };
    let mut one = CpuSet::new();
    one.set(cpu)?;
    Ok(sched_setaffinity(this, &one)?)
}

fn wait_for(go: &mpsc::Receiver<()>) -> Result<()> {
    go.recv_timeout(LIMIT)
        .context("the server's side is not there")
}

fn listen(ready: &mpsc::Sender<()>) -> Result<TcpStream> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    ready.send(())?;
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn connect(go: &mpsc::Receiver<()>, to: SocketAddr) -> Result<TcpStream> {
    wait_for(go)?;
    let stream = TcpStream::connect_timeout(&to, LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn take_stream(ready: mpsc::Sender<()>) -> Result<Option<f64>> {
    let mut stream = listen(&ready)?;
    let (start, mut bytes, mut buffer) = (wait::now(), 0_usize, vec![0; 256 << 10]);
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            read => bytes = bytes.saturating_add(read),
        }
    }
    Ok(Some(
        bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9,
    ))
}

fn stream(go: mpsc::Receiver<()>, to: SocketAddr) -> Result<Option<f64>> {
    let mut stream = connect(&go, to)?;
    let (start, buffer) = (wait::now(), vec![0; 256 << 10]);
    while start.elapsed() < TIME {
        stream.write_all(&buffer)?;
    }
    Ok(None)
}

/// Nobody reads them: what counts is what reaches the socket, whether there is room or not, so that the way there is
/// measured and not the reader.
fn take_datagrams(ready: mpsc::Sender<()>, over: &AtomicBool) -> Result<Option<f64>> {
    let _socket = UdpSocket::bind(("0.0.0.0", PORT))?;
    let before = arrived()?;
    ready.send(())?;
    let start = wait::now();
    wait::until(LIMIT, "the last datagram", || {
        Ok(over.load(Ordering::Relaxed))
    })?;
    let (took, count) = (start.elapsed(), arrived()?.saturating_sub(before));
    ensure!(count > 0, "no datagram arrived");
    Ok(Some(count as f64 / took.as_secs_f64() / 1e3))
}

/// Datagrams that came to a socket of this namespace, taken or not.
fn arrived() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next(), lines.next());
    let (names, values) = names.zip(values).context("no counters of UDP")?;
    let both = names.split(' ').zip(values.split(' '));
    let counts = both.filter(|(name, _)| ["InDatagrams", "InErrors"].contains(name));
    counts.map(|(_, value)| Ok(value.parse::<u64>()?)).sum()
}

fn datagrams(go: mpsc::Receiver<()>, to: SocketAddr, over: &AtomicBool) -> Result<Option<f64>> {
    let send = || -> Result<()> {
        wait_for(&go)?;
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(to)?;
        let start = wait::now();
        while start.elapsed() < TIME {
            for _ in 0..64 {
                socket.send(&DATAGRAM)?;
            }
        }
        Ok(())
    };
    let sent = send();
    over.store(true, Ordering::Relaxed);
    sent.map(|()| None)
}

fn mirror(ready: mpsc::Sender<()>) -> Result<Option<f64>> {
    let mut stream = listen(&ready)?;
    let mut byte = [0; 1];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(None)
}

fn round_trips(go: mpsc::Receiver<()>, to: SocketAddr) -> Result<Option<f64>> {
    let mut stream = connect(&go, to)?;
    let (start, mut count, mut byte) = (wait::now(), 0_u32, [0; 1]);
    while start.elapsed() < TIME {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        count = count.saturating_add(1);
    }
    Ok(Some(f64::from(count) / start.elapsed().as_secs_f64() / 1e3))
}
