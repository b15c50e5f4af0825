//! Pure: bytes of a question to bytes of its answer: DNS messages, EDNS, truncation.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use causeway_proto::model::Address;

use crate::answer::{Answer, Code, Data, Kind, Question, TTL, answer};
use crate::zone::{DnsZone, ORIGIN};

/// What fits every path unsplit (DNS flag day 2020); larger answers go over TCP.
pub const UDP_BYTES: u16 = 1232;
/// Without EDNS (RFC 1035).
const PLAIN_UDP_BYTES: u16 = 512;

/// Who asks, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The same for one client at all times.
    pub client: u64,
    /// Counts questions.
    pub turn: u64,
    /// Over TCP: nothing is truncated.
    pub tcp: bool,
}

/// The bytes to send back; `None` for what deserves no answer: no DNS at all, or an answer itself.
#[must_use]
pub fn reply(zone: &DnsZone, request: &[u8], asker: Asker) -> Option<Vec<u8>> {
    let Ok(request) = Message::from_vec(request) else {
        return malformed(request);
    };
    if request.metadata.message_type == MessageType::Response {
        return None;
    }
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata = Metadata::response_from_request(&request.metadata);
    response.add_queries(request.queries.iter().cloned());
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES);
        response.set_edns(edns);
    }
    response.metadata.response_code = match (request.metadata.op_code, request.queries.as_slice()) {
        _ if request.version() > 0 => ResponseCode::BADVERS,
        (OpCode::Query, [query]) => fill(&mut response, zone, query, asker),
        (OpCode::Query, _) => ResponseCode::FormErr,
        _ => ResponseCode::NotImp,
    };
    let limit = match &request.edns {
        _ if asker.tcp => u16::MAX,
        Some(edns) => edns.max_payload().clamp(PLAIN_UDP_BYTES, UDP_BYTES),
        None => PLAIN_UDP_BYTES,
    };
    encode(response, limit)
}

/// A header alone says FORMERR, so that the client need not wait.
fn malformed(request: &[u8]) -> Option<Vec<u8>> {
    let (Some([high, low]), Some(flags)) = (request.first_chunk::<2>(), request.get(2)) else {
        return None;
    };
    let is_response = flags & 0x80 != 0;
    if request.len() < 12 || is_response {
        return None;
    }
    let id = u16::from_be_bytes([*high, *low]);
    Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)
        .to_vec()
        .ok()
}

fn fill(response: &mut Message, zone: &DnsZone, query: &Query, asker: Asker) -> ResponseCode {
    if query.query_class() != DNSClass::IN {
        return ResponseCode::Refused;
    }
    let kind = match query.query_type() {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::SRV => Kind::Srv,
        RecordType::TXT => Kind::Txt,
        RecordType::SOA => Kind::Soa,
        RecordType::ANY => Kind::Any,
        RecordType::AXFR | RecordType::IXFR => return ResponseCode::Refused,
        _ => Kind::Other,
    };
    let question = Question::new(query.name().iter(), kind, asker.client, asker.turn);
    let found = answer(zone, &question);
    response.metadata.authoritative = found.code != Code::Refused && found.code != Code::ServFail;
    let ttl = found.ttl;
    // The name goes back in the case that it came in (draft-vixie-dnsext-dns0x20).
    let records = found.records.iter().filter_map(|data| rdata(data, zone));
    response.add_answers(records.map(|data| Record::from_rdata(query.name().clone(), ttl, data)));
    response.add_additionals(found.additional.iter().filter_map(|(name, address)| {
        Some(Record::from_rdata(
            absolute(name)?,
            ttl,
            of_address(*address),
        ))
    }));
    if found.soa {
        let origin = absolute(ORIGIN).zip(rdata(&Data::Soa, zone));
        response.add_authorities(origin.map(|(name, data)| Record::from_rdata(name, ttl, data)));
    }
    code(&found)
}

fn code(answer: &Answer) -> ResponseCode {
    match answer.code {
        Code::NoError => ResponseCode::NoError,
        Code::NxDomain => ResponseCode::NXDomain,
        Code::ServFail => ResponseCode::ServFail,
        Code::Refused => ResponseCode::Refused,
    }
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_labels(name.trim_end_matches('.').split('.').map(str::as_bytes)).ok()
}

fn of_address(address: Address) -> RData {
    match address.ip() {
        std::net::IpAddr::V4(v4) => RData::A(A(v4)),
        std::net::IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

fn rdata(data: &Data, zone: &DnsZone) -> Option<RData> {
    Some(match data {
        Data::Address(address) => of_address(*address),
        Data::Srv { port, target } => RData::SRV(SRV::new(0, 1, *port, absolute(target)?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
        Data::Soa => RData::SOA(SOA::new(
            absolute(&format!("ns.dns.{ORIGIN}"))?,
            absolute(&format!("hostmaster.{ORIGIN}"))?,
            zone.serial,
            7200,
            1800,
            86400,
            TTL,
        )),
    })
}

/// Within `limit` bytes: first the additional records go, then all, with the truncation bit.
fn encode(mut response: Message, limit: u16) -> Option<Vec<u8>> {
    for step in 0..3 {
        match step {
            0 => {}
            1 => response.additionals.clear(),
            _ => response = response.truncate(),
        }
        let mut bytes = Vec::with_capacity(usize::from(PLAIN_UDP_BYTES));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        let encoded = response.emit(&mut encoder);
        let truncated = bytes.get(2).is_some_and(|flags| flags & 0x02 != 0);
        if encoded.is_ok() && (!truncated || step == 2) {
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question() -> Vec<u8> {
        let mut message = Message::query();
        let name = Name::from_ascii("cart.shop.svc.clusterset.local.").unwrap();
        message.add_query(Query::query(name, RecordType::A));
        message.set_edns(Edns::new());
        message.to_vec().unwrap()
    }

    fn check(request: &[u8]) {
        for tcp in [false, true] {
            let asker = Asker {
                client: 1,
                turn: 1,
                tcp,
            };
            let Some(bytes) = reply(&DnsZone::default(), request, asker) else {
                continue;
            };
            let answer = Message::from_vec(&bytes).unwrap();
            assert_eq!(answer.metadata.message_type, MessageType::Response);
            assert_eq!(
                bytes.get(..2),
                request.get(..2),
                "the client knows it by its id"
            );
            assert!(tcp || bytes.len() <= usize::from(UDP_BYTES));
        }
    }

    proptest! {
        #[test]
        fn rubbish_is_answered_well_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            check(&bytes);
        }

        #[test]
        fn damaged_questions_are_answered_well_or_not_at_all(
            damage in prop::collection::vec((0usize..100, any::<u8>()), 0..8), cut in 0usize..100,
        ) {
            let mut bytes = question();
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(70)));
            check(&bytes);
        }
    }
}
