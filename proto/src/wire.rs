//! Pure: generated messages and the conversions between them and the model.
//!
//! `pb::model::X::from(&x)` cannot fail; `X::try_from(message)` refuses what cannot be right, with the path to
//! the field. A map of the model is a list of entries on the wire, converted as pairs of key and value.

mod catalog;
mod enrol;
mod export;
mod federation;
mod field;
mod join;
mod lead;
mod leader;
mod local;
mod lookup;
mod report;
mod ring;
mod status;
mod view;

pub use field::{Fault, InvalidWire};
use prost::Message as _;

/// The generated messages, clients and servers. They end at the border: convert at once.
pub mod pb {
    #[allow(
        clippy::all,
        clippy::too_many_lines,
        clippy::allow_attributes_without_reason,
        rust_2018_idioms,
        reason = "generated"
    )]
    mod generated {
        include!(concat!(env!("OUT_DIR"), "/pb.rs"));
    }
    pub use generated::causeway::admin::v1 as admin;
    pub use generated::causeway::enrolment::v1 as enrolment;
    pub use generated::causeway::federation::v1 as federation;
    pub use generated::causeway::join::v1 as join;
    pub use generated::causeway::local::v1 as local;
    pub use generated::causeway::model::v1 as model;
    pub use generated::causeway::status::v1 as status;
}

/// All contracts as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// A value that is kept on disk or signed as the bytes of its message. The same value gives the same bytes.
pub trait Encoded: Sized + TryFrom<Self::Message, Error = InvalidWire>
where
    for<'a> Self::Message: From<&'a Self>,
{
    /// Its message.
    type Message: prost::Message + Default;

    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8> {
        Self::Message::from(self).encode_to_vec()
    }

    /// How many bytes it has, without making them.
    fn bytes_len(&self) -> usize {
        Self::Message::from(self).encoded_len()
    }

    /// From its bytes.
    ///
    /// # Errors
    /// When they are not that message, or one that cannot be right.
    fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidWire> {
        let message = Self::Message::decode(bytes)
            .map_err(|e| InvalidWire::from(Fault::Undecodable(e.to_string())))?;
        Self::try_from(message)
    }
}

#[cfg(test)]
mod tests;
