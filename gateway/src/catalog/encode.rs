//! Pure: the bytes that are signed and digested: the contracts' messages, maps in the order of their keys.

use aws_lc_rs::digest::{Context, SHA256};
use causeway_proto::model::{Digest, Header, Part};
use causeway_proto::wire::pb;
use prost::Message as _;

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
    pb::model::Header::from(header).encode_to_vec()
}

/// What a header's bytes say, if anything.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let message = pb::model::Header::decode(bytes).ok()?;
    Header::try_from(message).ok()
}

pub(super) fn part_bytes(part: &Part) -> Vec<u8> {
    pb::model::Part::from(part).encode_to_vec()
}

/// What a part's bytes say, or why they say nothing.
pub(super) fn part(bytes: &[u8]) -> Result<Part, String> {
    let message = pb::model::Part::decode(bytes).map_err(|e| e.to_string())?;
    Part::try_from(message).map_err(|e| e.to_string())
}
