//! Shell: what clients in pods do: fetch, send and receive bytes, echo datagrams. Each call is a new
//! connection and has a limit of time.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::socket::{getsockopt, sockopt::TcpMaxSeg};
use serde::Deserialize;

use super::digest::{Bytes, Sum};

/// What an HTTP server of the lab says of itself and of its client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Who {
    /// The backend's name
    pub backend: String,
    /// The client's address as the backend saw it
    pub client: IpAddr,
    /// The client's port as the backend saw it
    pub port: u16,
}

/// How an attempt to connect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dial {
    /// Somebody accepted
    Answered,
    /// Rejected at once
    Rejected,
    /// Nobody said anything
    Silent,
}

/// Asks who answers there.
pub fn who(to: SocketAddr, limit: Duration) -> anyhow::Result<Who> {
    let mut stream = connect(to, limit)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    let (_, body) = read_reply(stream, None)?;
    serde_json::from_slice(&body).context("an answer of another form")
}

/// Connects and hangs up.
pub fn dial(to: SocketAddr, limit: Duration) -> anyhow::Result<Dial> {
    match TcpStream::connect_timeout(&to, limit) {
        Ok(_) => Ok(Dial::Answered),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::ConnectionReset => Ok(Dial::Rejected),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Ok(Dial::Silent),
            _ => Err(error).with_context(|| format!("connecting to {to}")),
        },
    }
}

/// The largest segment that a new connection may send, after what both ends said.
pub fn segment_size(to: SocketAddr, limit: Duration) -> anyhow::Result<u32> {
    let stream = connect(to, limit)?;
    getsockopt(&stream, TcpMaxSeg).context("the connection's segment size")
}

/// Fetches bytes; true when their digest is the one that the server said.
pub fn download(to: SocketAddr, count: u64, limit: Duration) -> anyhow::Result<bool> {
    let mut stream = connect(to, limit)?;
    write!(stream, "GET /bytes/{count} HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    let mut sum = Sum::default();
    let (head, _) = read_reply(stream, Some(&mut sum))?;
    let said = head
        .lines()
        .find_map(|line| line.strip_prefix("X-SHA256: "))
        .unwrap_or_default();
    Ok(sum.hex() == said && said == Bytes::sha256(count))
}

/// Sends bytes; true when the server got the same digest.
pub fn upload(to: SocketAddr, count: u64, limit: Duration) -> anyhow::Result<bool> {
    let mut stream = connect(to, limit)?;
    write!(
        stream,
        "PUT / HTTP/1.1\r\nHost: lab\r\nContent-Length: {count}\r\n\r\n"
    )?;
    // Large writes, so that TCP has enough at hand for packets as large as it makes them.
    let mut large = std::io::BufWriter::with_capacity(1 << 20, &mut stream);
    std::io::copy(&mut Bytes::new(count), &mut large)?;
    large.flush()?;
    drop(large);
    let (_, body) = read_reply(stream, None)?;
    Ok(String::from_utf8_lossy(&body).trim() == Bytes::sha256(count))
}

/// Sends a datagram and gives the name of the backend that echoed it.
pub fn udp_echo(to: SocketAddr, text: &str, limit: Duration) -> anyhow::Result<String> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(limit))?;
    socket.connect(to)?;
    socket.send(text.as_bytes())?;
    let mut buffer = vec![0; 64 * 1024];
    let length = socket
        .recv(&mut buffer)
        .with_context(|| format!("no echo from {to}"))?;
    let reply = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
    match reply.split_once(' ') {
        Some((name, echoed)) if echoed == text => Ok(name.to_owned()),
        _ => bail!("{to} echoed {reply:?} for {text:?}"),
    }
}

/// How often each backend answered, and which clients it saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers by backend
    pub backends: BTreeMap<String, u32>,
    /// Addresses under which backends saw the client
    pub clients: BTreeMap<IpAddr, u32>,
    /// Complaints of those that were not answered
    pub failures: Vec<String>,
}

/// Asks that often, over new connections.
#[must_use]
pub fn tally(to: SocketAddr, times: u32, limit: Duration) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..times {
        match who(to, limit) {
            Ok(who) => {
                let backends = tally.backends.entry(who.backend).or_default();
                *backends = backends.saturating_add(1);
                let clients = tally.clients.entry(who.client).or_default();
                *clients = clients.saturating_add(1);
            }
            Err(error) => tally.failures.push(format!("{error:#}")),
        }
    }
    tally
}

fn connect(to: SocketAddr, limit: Duration) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&to, limit).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The head as text and the body, or the body's digest in `sum` when it is long.
fn read_reply(
    mut stream: TcpStream,
    mut sum: Option<&mut Sum>,
) -> anyhow::Result<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut head = None;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer).context("reading the answer")?;
        let chunk = buffer.get(..read).unwrap_or_default();
        match (&head, &mut sum) {
            (Some(_), Some(sum)) => sum.add(chunk),
            _ => seen.extend(chunk),
        }
        if head.is_none()
            && let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let body = seen.split_off(at.saturating_add(4));
            head = Some(String::from_utf8_lossy(&seen).into_owned());
            seen = body;
            if let Some(sum) = &mut sum {
                sum.add(&seen);
                seen.clear();
            }
        }
        if read == 0 {
            break;
        }
    }
    let head = head.context("the server hung up without an answer")?;
    ensure!(
        head.starts_with("HTTP/1.1 200"),
        "the server said {}",
        head.lines().next().unwrap_or_default()
    );
    Ok((head, seen))
}
