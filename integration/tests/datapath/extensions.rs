//! IPv6 extension headers: up to four are stepped over, whatever else stands there is refused by name.

use causeway_abi::DropReason;
use causeway_integration::packet::{Frame, Transport, flags, six};

use crate::world::{C, IMPORTED, Outcome, THEIR_VIP, World, with_world};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const NONE: u8 = 59;
const DESTINATION: u8 = 60;
const TCP: u8 = 6;
/// Where the IPv6 header starts, and where it ends.
const IP: usize = 14;
const END: usize = IP + 40;

/// A header: its number, its length in units of eight bytes beyond the first, its fourth byte.
type Extension = (u8, u8, u8);

/// A SYN to an imported VIP behind these headers, the last of which names `last` as what follows.
fn syn(headers: &[Extension], last: u8) -> Vec<u8> {
    let mut bytes = Frame::new(C, IMPORTED, Transport::tcp(40_000, 80, flags::SYN)).build6();
    let segment = bytes.split_off(END);
    let mut extensions = Vec::new();
    for (at, (_, length, fourth)) in headers.iter().enumerate() {
        let next = headers.get(at + 1).map_or(last, |(number, ..)| *number);
        // Padding alone, as long as the header is.
        let mut header = vec![next, *length, 1, *fourth];
        header.resize((usize::from(*length) + 1) * 8, 0);
        extensions.extend(header);
    }
    bytes[IP + 6] = headers.first().map_or(last, |(number, ..)| *number);
    let payload = (extensions.len() + segment.len()) as u16;
    bytes[IP + 4..IP + 6].copy_from_slice(&payload.to_be_bytes());
    [bytes, extensions, segment].concat()
}

fn sent(world: &mut World, headers: &[Extension], last: u8) -> (Vec<u8>, Outcome) {
    let given = syn(headers, last);
    let outcome = world.pod_bytes(&given);
    (given, outcome)
}

/// In a world of IPv6 alone.
fn with_six(test: impl Fn(&mut World)) {
    with_world(|world| {
        if world.six {
            test(world);
        }
    });
}

#[test]
fn up_to_four_are_stepped_over_and_stay_as_they_are() {
    with_six(|world| {
        let four = [
            (HOP_BY_HOP, 0, 4),
            (DESTINATION, 2, 20),
            (ROUTING, 0, 0),
            (DESTINATION, 0, 4),
        ];
        for many in 0..=four.len() {
            let (given, outcome) = sent(world, &four[..many], TCP);
            assert_eq!((outcome.verdict, outcome.dropped), (7, None), "{many}");
            assert_eq!(outcome.bytes[IP + 24..END], six::wide(THEIR_VIP), "{many}");
            let l4 = given.len() - 20;
            assert_eq!(outcome.bytes[END..l4], given[END..l4], "{many}");
            // The sum of the segment and its pseudo header, without the headers between.
            let mut plain = outcome.bytes[..END].to_vec();
            plain.extend(&outcome.bytes[l4..]);
            plain[IP + 4..IP + 6].copy_from_slice(&20_u16.to_be_bytes());
            plain[IP + 6] = TCP;
            assert_eq!(Frame::verify6(&plain), Ok(()), "{many}");
        }
    });
}

#[test]
fn what_is_no_transport_or_names_other_hops_is_refused() {
    with_six(|world| {
        let five = [(DESTINATION, 0, 4); 5];
        for (headers, last, reason) in [
            (&five[..], TCP, DropReason::BadTransport),
            (&[(ROUTING, 0, 1)], TCP, DropReason::BadTransport),
            (&[], NONE, DropReason::UnsupportedProtocol),
            // It vouches for addresses that change here.
            (&[], AUTHENTICATION, DropReason::UnsupportedProtocol),
        ] {
            let (_, outcome) = sent(world, headers, last);
            assert_eq!(outcome.dropped, Some(reason), "{headers:?} {last}");
        }
        let given = syn(&[(DESTINATION, 0, 4)], TCP);
        let cut = world.pod_bytes(&given[..END + 4]);
        assert_eq!(cut.dropped, Some(DropReason::BadIpHeader));
    });
}
