//! Shell: a small DNS client, so that no resolver's cache or search list is between a test and
//! the server.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// What to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Addresses
    A,
    /// Host names and ports
    Srv,
    /// Texts
    Txt,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Txt => 16,
            Kind::Srv => 33,
        }
    }
}

/// An answer's code and what it holds of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// 0 none, 2 SERVFAIL, 3 NXDOMAIN
    pub code: u8,
    /// Sorted
    pub addresses: Vec<Ipv4Addr>,
    /// (target, port), sorted
    pub services: Vec<(String, u16)>,
    /// The longest time to live of all records, in seconds
    pub ttl: u32,
}

/// Asks a server over UDP.
pub fn ask(server: SocketAddr, name: &str, kind: Kind, limit: Duration) -> anyhow::Result<Answer> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(limit))?;
    socket.connect(server)?;
    let id = socket.local_addr()?.port();
    socket.send(&question(id, name, kind))?;
    let mut buffer = vec![0; 4096];
    let length = socket
        .recv(&mut buffer)
        .with_context(|| format!("{server} did not answer for {name}"))?;
    let reply = Reply {
        bytes: buffer.get(..length).unwrap_or_default(),
    };
    reply
        .parse(id, kind)
        .with_context(|| format!("the answer of {server} for {name}"))
}

fn question(id: u16, name: &str, kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Recursion desired, one question.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        bytes.extend(word.to_be_bytes());
    }
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.number().to_be_bytes());
    bytes.extend(1u16.to_be_bytes());
    bytes
}

struct Reply<'a> {
    bytes: &'a [u8],
}

impl Reply<'_> {
    fn parse(&self, id: u16, kind: Kind) -> anyhow::Result<Answer> {
        ensure!(self.word(0)? == id, "another question's answer");
        let mut answer = Answer {
            code: self.byte(3)? & 0x0f,
            ..Answer::default()
        };
        let mut at = 12;
        for _ in 0..self.word(4)? {
            at = self.name(at)?.1.saturating_add(4);
        }
        for _ in 0..self.word(6)? {
            let fixed = self.name(at)?.1;
            let data = fixed.saturating_add(10);
            answer.ttl = answer.ttl.max(
                u32::from(self.word(fixed.saturating_add(4))?) << 16
                    | u32::from(self.word(fixed.saturating_add(6))?),
            );
            if self.word(fixed)? == kind.number() {
                match kind {
                    Kind::A => {
                        let [a, b, c, d] =
                            [0, 1, 2, 3].map(|i| self.byte(data.saturating_add(i)).unwrap_or(0));
                        answer.addresses.push(Ipv4Addr::new(a, b, c, d));
                    }
                    Kind::Srv => {
                        let port = self.word(data.saturating_add(4))?;
                        answer
                            .services
                            .push((self.name(data.saturating_add(6))?.0, port));
                    }
                    Kind::Txt => {}
                }
            }
            at = data.saturating_add(usize::from(self.word(fixed.saturating_add(8))?));
        }
        answer.addresses.sort();
        answer.services.sort();
        Ok(answer)
    }

    fn byte(&self, at: usize) -> anyhow::Result<u8> {
        self.bytes.get(at).copied().context("truncated")
    }

    fn word(&self, at: usize) -> anyhow::Result<u16> {
        Ok(u16::from_be_bytes([
            self.byte(at)?,
            self.byte(at.saturating_add(1))?,
        ]))
    }

    /// A name and where it ends; pointers are followed, a bounded number of them.
    fn name(&self, start: usize) -> anyhow::Result<(String, usize)> {
        let mut labels = Vec::new();
        let mut end = None;
        let mut at = start;
        for _ in 0..128 {
            let length = usize::from(self.byte(at)?);
            let next = at.saturating_add(1);
            match length {
                0 => return Ok((labels.join("."), end.unwrap_or(next))),
                0xc0.. => {
                    end = end.or(Some(next.saturating_add(1)));
                    at = (length & 0x3f) << 8 | usize::from(self.byte(next)?);
                }
                _ => {
                    at = next.saturating_add(length);
                    let label = self.bytes.get(next..at).context("truncated")?;
                    labels.push(String::from_utf8_lossy(label).into_owned());
                }
            }
        }
        bail!("a name without an end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_with_a_pointer() {
        let mut bytes = question(7, "a.b", Kind::A);
        bytes[2] = 0x81;
        bytes[7] = 1;
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 241, 0, 0, 3]);
        let answer = Reply { bytes: &bytes }.parse(7, Kind::A).unwrap();
        assert_eq!(answer.addresses, [Ipv4Addr::new(241, 0, 0, 3)]);
        assert_eq!(answer.ttl, 5);
        assert!(
            Reply {
                bytes: &bytes[..20]
            }
            .parse(7, Kind::A)
            .is_err()
        );
    }
}
