//! Pure: one question to another DNS server, and whether its reply shows that it knows this zone.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

/// `dns-version` of the multi-cluster DNS specification: it exists in every clusterset that is answered for.
pub const NAME: &str = "dns-version.clusterset.local.";

/// A reply that shows no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No DNS, or to another question.
    #[error("what came back is no reply to the question")]
    Strange,
    /// The server's code.
    #[error("the reply is {0}")]
    Code(ResponseCode),
    /// No record, and no error either.
    #[error("the reply holds no record")]
    Empty,
}

/// The question for [`NAME`], to be sent as it is over UDP.
#[must_use]
pub fn question(id: u16) -> Option<Vec<u8>> {
    let name = Name::from_ascii(NAME).ok()?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, RecordType::TXT));
    message.to_vec().ok()
}

/// Whether `reply` answers the question of that id.
///
/// # Errors
/// When it does not; says why.
pub fn answered(id: u16, reply: &[u8]) -> Result<(), NoAnswer> {
    let message = Message::from_vec(reply).map_err(|_| NoAnswer::Strange)?;
    let metadata = &message.metadata;
    if metadata.id != id || metadata.message_type != MessageType::Response {
        return Err(NoAnswer::Strange);
    }
    match metadata.response_code {
        ResponseCode::NoError if message.answers.is_empty() => Err(NoAnswer::Empty),
        ResponseCode::NoError => Ok(()),
        code => Err(NoAnswer::Code(code)),
    }
}

#[cfg(test)]
mod tests {
    use causeway_proto::model::View;

    use super::*;
    use crate::wire::{Asker, reply};
    use crate::zone::DnsZone;

    #[test]
    fn our_own_server_knows_the_name() {
        let mut view = View::empty("east".parse().unwrap(), "demo".parse().unwrap());
        view.sync.local = true;
        let zone = DnsZone::of(&view);
        let asker = Asker {
            client: 1,
            turn: 1,
            tcp: false,
        };
        let said = reply(&zone, &question(7).unwrap(), asker).unwrap();
        assert_eq!(answered(7, &said), Ok(()));
        assert_eq!(answered(8, &said), Err(NoAnswer::Strange));
        assert_eq!(answered(7, &question(7).unwrap()), Err(NoAnswer::Strange));
        assert_eq!(answered(7, &[0, 7, 0x80]), Err(NoAnswer::Strange));
        let mut refused = Message::from_vec(&said).unwrap();
        refused.answers.clear();
        assert_eq!(
            answered(7, &refused.to_vec().unwrap()),
            Err(NoAnswer::Empty)
        );
        refused.metadata.response_code = ResponseCode::NXDomain;
        let why = answered(7, &refused.to_vec().unwrap()).unwrap_err();
        assert_eq!(why.to_string(), "the reply is Non-Existent Domain");
    }
}
