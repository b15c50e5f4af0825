//! Pure: one DNS question and what its reply says at first sight (RFC 1035, section 4.1). Whether the zone is
//! answered is all that a test wants to know; names and records are the `dns` crate's affair.

/// `dns-version` of the multi-cluster DNS specification: it exists in every clusterset that is answered for.
pub const NAME: &str = "dns-version.clusterset.local";
const TXT: u16 = 16;
const INTERNET: u16 = 1;
const HEADER: usize = 12;

/// A reply that shows no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Too short, or to another question.
    #[error("what came back is no reply to the question")]
    Strange,
    /// The server's code.
    #[error("the reply is {}", name(*.0))]
    Code(u8),
    /// No record, and no error either.
    #[error("the reply holds no record")]
    Empty,
}

/// The usual names of the codes.
fn name(code: u8) -> &'static str {
    match code {
        1 => "FORMERR",
        2 => "SERVFAIL (no gateway is ready to answer)",
        3 => "NXDOMAIN (the question did not reach a gateway)",
        5 => "REFUSED (the server does not serve this zone)",
        _ => "an error",
    }
}

/// The question for [`NAME`], to be sent as it is over UDP.
#[must_use]
pub fn question(id: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(id.to_be_bytes());
    // Recursion desired; one question.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in NAME.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(TXT.to_be_bytes());
    bytes.extend(INTERNET.to_be_bytes());
    bytes
}

/// Whether `reply` answers the question of that id.
///
/// # Errors
/// When it does not; says why.
pub fn answered(id: u16, reply: &[u8]) -> Result<(), NoAnswer> {
    let header: &[u8; HEADER] = reply.first_chunk().ok_or(NoAnswer::Strange)?;
    let [
        id_high,
        id_low,
        flags,
        code,
        _,
        _,
        answers_high,
        answers_low,
        ..,
    ] = *header;
    if u16::from_be_bytes([id_high, id_low]) != id || flags & 0x80 == 0 {
        return Err(NoAnswer::Strange);
    }
    match (code & 0x0f, u16::from_be_bytes([answers_high, answers_low])) {
        (0, 0) => Err(NoAnswer::Empty),
        (0, _) => Ok(()),
        (code, _) => Err(NoAnswer::Code(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_the_name_in_labels() {
        let bytes = question(0x0102);
        assert_eq!(bytes.len(), 12 + 1 + 11 + 1 + 10 + 1 + 5 + 1 + 4);
        assert_eq!(bytes[..14], [1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, b'd']);
        assert_eq!(bytes[bytes.len() - 5..], [0, 0, 16, 0, 1]);
    }

    #[test]
    fn replies_at_first_sight() {
        let reply = |code: u8, answers: u8| [0, 7, 0x81, code, 0, 1, 0, answers, 0, 0, 0, 0];
        assert_eq!(answered(7, &reply(0x80, 1)), Ok(()));
        assert_eq!(answered(7, &reply(0, 0)), Err(NoAnswer::Empty));
        assert_eq!(answered(7, &reply(2, 0)), Err(NoAnswer::Code(2)));
        assert_eq!(answered(8, &reply(0, 1)), Err(NoAnswer::Strange));
        assert_eq!(answered(7, &question(7)), Err(NoAnswer::Strange));
        assert_eq!(answered(7, &[0, 7, 0x80]), Err(NoAnswer::Strange));
    }
}
