//! Pure: the bytes that are signed and digested: the contracts' messages, maps in the order of their keys.

use aws_lc_rs::digest::{Context, SHA256};
use causeway_proto::model::{Digest, Header, Part};
use causeway_proto::wire::Encoded as _;

/// SHA-256 over the pieces, one after the other.
#[must_use]
pub fn sha256(pieces: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for piece in pieces {
        context.update(piece);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Digest(out)
}

/// What stands for a part in the tree.
pub(super) fn part_digest(salt: &[u8; 16], bytes: &[u8]) -> Digest {
    sha256(&[salt, bytes])
}

pub(super) fn header_bytes(header: &Header) -> Vec<u8> {
    header.to_bytes()
}

/// What a header's bytes say, if anything.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    Header::from_bytes(bytes).ok()
}

pub(super) fn part_bytes(part: &Part) -> Vec<u8> {
    part.to_bytes()
}

/// What a part's bytes say, or why they say nothing.
pub(super) fn part(bytes: &[u8]) -> Result<Part, String> {
    Part::from_bytes(bytes).map_err(|e| e.to_string())
}
