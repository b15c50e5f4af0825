//! Shell: connections that are held open with traffic on them, to see which break.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::netns::Netns;

/// Between two lines on one connection.
const PAUSE: Duration = Duration::from_millis(100);
/// An echo that takes longer is a broken connection.
const LIMIT: Duration = Duration::from_secs(3);
/// Hundreds of threads are alive at once.
const STACK: usize = 128 * 1024;

/// What became of one held connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The backend that it was opened to
    pub backend: String,
    /// Lines that came back
    pub echoed: u64,
    /// Why it broke, if it did
    pub broken: Option<String>,
}

/// Connections that are open.
pub struct Holding {
    stop: Arc<AtomicBool>,
    echoed: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Held>>,
}

impl Holding {
    /// Opens that many connections from a namespace; each is answered once before this returns.
    pub fn open(from: &Netns, to: SocketAddr, count: usize) -> anyhow::Result<Holding> {
        Self::open_with(from, to, count, LIMIT)
    }

    /// The same; a line may take `limit`, after which its connection counts as broken.
    pub fn open_with(
        from: &Netns,
        to: SocketAddr,
        count: usize,
        limit: Duration,
    ) -> anyhow::Result<Holding> {
        let stop = Arc::new(AtomicBool::new(false));
        let echoed = Arc::new(AtomicU64::new(0));
        let connections = from.enter(|| {
            (0..count)
                .map(|_| Connection::open(to, limit))
                .collect::<anyhow::Result<Vec<_>>>()
        })??;
        let mut threads = Vec::new();
        for connection in connections {
            let (stop, echoed) = (Arc::clone(&stop), Arc::clone(&echoed));
            let builder = std::thread::Builder::new().stack_size(STACK);
            threads.push(
                builder
                    .spawn(move || connection.keep(&stop, &echoed))
                    .context("starting a thread")?,
            );
        }
        Ok(Holding {
            stop,
            echoed,
            threads,
        })
    }

    /// Lines that came back so far, on all of them.
    #[must_use]
    pub fn echoed(&self) -> u64 {
        self.echoed.load(Ordering::Relaxed)
    }

    /// Hangs up and tells what became of each.
    #[must_use]
    pub fn close(self) -> Vec<Held> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    }
}

struct Connection {
    backend: String,
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn open(to: SocketAddr, limit: Duration) -> anyhow::Result<Connection> {
        let mut stream = TcpStream::connect_timeout(&to, LIMIT)
            .with_context(|| format!("connecting to {to}"))?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        stream.write_all(b"GET /hold HTTP/1.1\r\nHost: lab\r\n\r\n")?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "{to} hung up");
        }
        line.clear();
        reader.read_line(&mut line)?;
        Ok(Connection {
            backend: line.trim().to_owned(),
            stream,
            reader,
        })
    }

    fn keep(mut self, stop: &AtomicBool, total: &AtomicU64) -> Held {
        let mut echoed = 0u64;
        let mut broken = None;
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.echo(echoed) {
                broken = Some(format!("{error:#}"));
                break;
            }
            echoed = echoed.saturating_add(1);
            total.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
        Held {
            backend: self.backend,
            echoed,
            broken,
        }
    }

    fn echo(&mut self, number: u64) -> anyhow::Result<()> {
        let sent = format!("{number}\n");
        self.stream.write_all(sent.as_bytes())?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        ensure!(line == sent, "sent {sent:?}, got {line:?}");
        Ok(())
    }
}
