//! Shell: the servers that pods run: HTTP that names the backend and the client it sees, takes and
//! gives bytes with their SHA-256, and holds connections open; UDP echo that names the backend.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use anyhow::Context;

use super::digest::{Bytes, Sum};

/// Largest head of a request; these are all our own clients.
const HEAD_MAX: u64 = 8 * 1024;
/// Stacks stay small since hundreds of connections are held open.
const STACK: usize = 128 * 1024;

/// Serves HTTP for ever.
pub fn http(name: &str, port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))
        .with_context(|| format!("listening on port {port}"))?;
    let name: Arc<str> = Arc::from(name);
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let name = Arc::clone(&name);
        // A client that goes away in the middle is the client's affair.
        let work = move || drop(answer(&name, stream));
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(work)
            .context("starting a thread")?;
    }
    Ok(())
}

/// Echoes datagrams, the backend's name before them, for ever.
pub fn udp_echo(name: &str, port: u16) -> anyhow::Result<()> {
    let socket =
        UdpSocket::bind(("0.0.0.0", port)).with_context(|| format!("binding port {port}"))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let mut reply = format!("{name} ").into_bytes();
        reply.extend(buffer.get(..length).unwrap_or_default());
        // An answer that cannot be sent is a lost datagram.
        let _ = socket.send_to(&reply, from);
    }
}

/// One connection, one request.
fn answer(name: &str, stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let client = stream.peer_addr()?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let request = Request::read(&mut reader)?;
    match (request.method.as_str(), request.path.split('/').nth(1)) {
        ("GET", Some("")) => reply(&stream, "200 OK", &who(name, client)),
        ("GET", Some("bytes")) => {
            let count = request
                .path
                .rsplit('/')
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            give(&stream, count)
        }
        ("PUT", _) => {
            let text = take(&mut reader, request.length)?;
            reply(&stream, "200 OK", &text)
        }
        ("GET", Some("hold")) => hold(name, stream, reader),
        _ => reply(&stream, "404 Not Found", "no such thing\n"),
    }
}

fn who(name: &str, client: SocketAddr) -> String {
    format!(
        "{{\"backend\":\"{name}\",\"client\":\"{}\",\"port\":{}}}\n",
        client.ip(),
        client.port()
    )
}

fn reply(mut stream: &TcpStream, status: &str, body: &str) -> anyhow::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    Ok(())
}

/// Sends bytes; their digest goes ahead of them.
fn give(mut stream: &TcpStream, count: u64) -> anyhow::Result<()> {
    let sum = Bytes::sha256(count);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {count}\r\nX-SHA256: {sum}\r\nConnection: close\r\n\r\n"
    )?;
    std::io::copy(&mut Bytes::new(count), &mut stream)?;
    Ok(())
}

/// Reads bytes and tells their digest.
fn take(reader: &mut impl Read, count: u64) -> anyhow::Result<String> {
    let mut sum = Sum::default();
    let mut left = count;
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let read = reader.read(&mut buffer)?;
        anyhow::ensure!(read > 0, "the client ended {left} bytes early");
        sum.add(buffer.get(..read).unwrap_or_default());
        left = left.saturating_sub(u64::try_from(read)?);
    }
    Ok(format!("{}\n", sum.hex()))
}

/// Says the backend's name, then each line again, until the client goes.
fn hold(name: &str, mut stream: TcpStream, mut reader: impl BufRead) -> anyhow::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{name}\n"
    )?;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        stream.write_all(line.as_bytes())?;
    }
}

/// The head of a request, as far as it matters here.
struct Request {
    method: String,
    path: String,
    length: u64,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> anyhow::Result<Request> {
        let mut head = reader.take(HEAD_MAX);
        let mut line = String::new();
        head.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            anyhow::bail!("no request line")
        };
        let mut length = 0;
        loop {
            line.clear();
            head.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("Content-Length")?;
            }
        }
        Ok(Request {
            method,
            path,
            length,
        })
    }
}
