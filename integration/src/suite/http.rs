//! Pure: the little of HTTP that an API server behind `kubectl proxy` needs: a request as bytes, a reply
//! from bytes. Version 1.0, so that a reply ends with its connection and is never in chunks.

use thiserror::Error;

/// The form of a body that says what an object must hold, whoever wrote the rest.
pub const APPLY: &str = "application/apply-patch+yaml";
/// The form of a body that is laid over an object.
pub const MERGE: &str = "application/merge-patch+json";
/// Plain JSON.
pub const JSON: &str = "application/json";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// With its query
    pub path: &'a str,
    /// Form of the body, where there is one
    pub form: &'a str,
    /// Empty for none
    pub body: &'a [u8],
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200, 404, ...
    pub status: u16,
    /// As long as it said
    pub body: Vec<u8>,
}

/// A reply that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidReply {
    /// Cut off before its body
    #[error("the reply ends before its body")]
    NoBody,
    /// The first line has no status
    #[error("the reply has no status")]
    NoStatus,
    /// Cut off within its body
    #[error("the reply was cut off: {0} bytes of {1}")]
    Short(usize, usize),
}

/// The request as it goes out.
#[must_use]
pub fn encode(request: &Request<'_>) -> Vec<u8> {
    let Request { method, path, .. } = request;
    let mut bytes = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {JSON}\r\n");
    if !request.body.is_empty() || *method != "GET" {
        let (form, length) = (request.form, request.body.len());
        bytes.push_str(&format!(
            "Content-Type: {form}\r\nContent-Length: {length}\r\n"
        ));
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(request.body);
    bytes
}

/// The reply, from all that came until the connection closed.
pub fn parse(bytes: &[u8]) -> Result<Reply, InvalidReply> {
    const END: &[u8] = b"\r\n\r\n";
    let at = bytes
        .windows(END.len())
        .position(|window| window == END)
        .ok_or(InvalidReply::NoBody)?;
    let (head, rest) = bytes.split_at_checked(at).ok_or(InvalidReply::NoBody)?;
    let body = rest.get(END.len()..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|word| word.parse().ok())
        .ok_or(InvalidReply::NoStatus)?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    match length {
        Some(length) if body.len() < length => Err(InvalidReply::Short(body.len(), length)),
        _ => Ok(Reply {
            status,
            body: body.to_vec(),
        }),
    }
}

/// `key=value&..`, each value made safe for a query.
#[must_use]
pub fn query(pairs: &[(&str, &str)]) -> String {
    let parts = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", escape(value)));
    parts.collect::<Vec<_>>().join("&")
}

fn escape(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_say_the_length_of_a_body() {
        let get = Request {
            method: "GET",
            path: "/api",
            form: JSON,
            body: b"",
        };
        let text = String::from_utf8(encode(&get)).unwrap();
        assert_eq!(
            text,
            "GET /api HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
        );
        let text = String::from_utf8(encode(&Request {
            method: "PATCH",
            form: APPLY,
            body: b"{}",
            ..get
        }))
        .unwrap();
        assert!(text.ends_with(
            "Content-Type: application/apply-patch+yaml\r\nContent-Length: 2\r\n\r\n{}"
        ));
    }

    #[test]
    fn replies_are_whole_or_refused() {
        let reply = parse(b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (404, &b"{}"[..]));
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n\r\nabc").unwrap().body, b"abc");
        assert_eq!(
            parse(b"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nabc"),
            Err(InvalidReply::Short(3, 9))
        );
        assert_eq!(parse(b"HTTP/1.0 200"), Err(InvalidReply::NoBody));
        assert_eq!(parse(b"no\r\n\r\n"), Err(InvalidReply::NoStatus));
    }

    #[test]
    fn a_query_is_safe() {
        assert_eq!(
            query(&[("labelSelector", "a/b=c,d"), ("limit", "5")]),
            "labelSelector=a%2Fb%3Dc%2Cd&limit=5"
        );
    }
}
