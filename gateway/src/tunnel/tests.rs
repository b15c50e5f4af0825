use bytes::Bytes;
use causeway_abi::{Mac, Vni};
use proptest::prelude::*;

use super::cut::{TooLarge, cut};
use super::datagram::{Datagram, HEADER, Label, Part};
use super::frame::{Bad, HEAD, Offload, Outgoing, head};
use super::merge::{Malformed, Merger};
use super::packet::{Ip, Segment, complete, flags, put, settle, verify};

const PEER: u16 = 5;

fn label(hash: u32) -> Label {
    Label {
        identity: 300,
        hash,
        ..Label::default()
    }
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// From the IP header on; sums left to the device.
fn packet(protocol: u8, port: u16, transport: &[u8], data: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20];
    put(&mut packet, 0, [0x45, 0x02]);
    put(&mut packet, 4, [0x12, 0x34, 0x40, 0, 64, protocol]);
    put(&mut packet, 12, [10, 244, 0, 6, 241, 0, 0, 9]);
    packet.extend_from_slice(&port.to_be_bytes());
    packet.extend_from_slice(transport);
    packet.extend_from_slice(data);
    settle(&mut packet);
    packet
}

fn tcp(port: u16, sequence: u32, set: u8, data: &[u8]) -> Vec<u8> {
    let mut rest = vec![0, 80];
    rest.extend_from_slice(&sequence.to_be_bytes());
    rest.extend_from_slice(&[0, 0, 9, 9, 0x80, set, 1, 0, 0, 0, 0, 0]);
    // Two times no operation, and a timestamp.
    rest.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    packet(6, port, &rest, data)
}

fn udp(port: u16, data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len()) as u16;
    let [high, low] = length.to_be_bytes();
    packet(17, port, &[0, 53, high, low, 0, 0], data)
}

fn outgoing(packet: &[u8], segment: Option<u16>) -> Outgoing<'_> {
    Outgoing {
        peer: PEER,
        label: label(7),
        unsummed: true,
        segment,
        packet,
    }
}

fn cut_up(packet: &Outgoing<'_>, room: usize) -> Result<Vec<Bytes>, TooLarge> {
    let mut out = Vec::new();
    cut(packet, room, &mut 1, &mut out).map(|()| out)
}

fn merged(datagrams: &[Bytes]) -> Vec<Vec<u8>> {
    let mut merger = Merger::new(PEER);
    for bytes in datagrams {
        merger.take(&Datagram::decode(bytes).unwrap()).unwrap();
    }
    merger.finish()
}

fn segment_of(packet: &[u8]) -> (Segment, &[u8]) {
    let ip = Ip::read(packet).unwrap();
    assert_eq!(ip.total, packet.len());
    let segment = Segment::read(packet, &ip).unwrap();
    (segment, packet.get(segment.headers..).unwrap())
}

proptest! {
    #[test]
    fn segments_are_what_a_sender_would_have_made(
        length in 1_usize..64_000, size in 1_u16..9_000, room in 200_usize..1_500, sequence: u32,
    ) {
        let set = flags::ACK | flags::PSH | flags::FIN | flags::CWR;
        let data = payload(length);
        let whole = tcp(40_000, sequence, set, &data);
        let datagrams = cut_up(&outgoing(&whole, Some(size)), room).unwrap();
        let (mut next, mut seen) = (sequence, Vec::new());
        let last = datagrams.len() - 1;
        for (n, bytes) in datagrams.iter().enumerate() {
            prop_assert!(bytes.len() <= room);
            let datagram = Datagram::decode(bytes).unwrap();
            prop_assert_eq!((datagram.label, datagram.unsummed, datagram.part), (label(7), true, Part::Whole));
            let mut one = datagram.bytes.to_vec();
            let (tcp, chunk) = segment_of(&one);
            prop_assert!(chunk.len() <= usize::from(size));
            prop_assert_eq!(tcp.sequence, next);
            let ends = if n == last { flags::PSH | flags::FIN } else { 0 };
            let begins = if n == 0 { flags::CWR } else { 0 };
            prop_assert_eq!(tcp.flags, flags::ACK | ends | begins);
            next = next.wrapping_add(chunk.len() as u32);
            seen.extend_from_slice(chunk);
            complete(&mut one);
            prop_assert_eq!(verify(&one), 0);
        }
        prop_assert_eq!(seen, data);
    }

    #[test]
    fn what_was_cut_is_merged_again(
        length in 1_usize..60_000, size in 100_u16..1_400, room in 1_200_usize..1_500, sequence: u32,
    ) {
        let whole = tcp(40_000, sequence, flags::ACK | flags::PSH, &payload(length));
        let datagrams = cut_up(&outgoing(&whole, Some(size)), room).unwrap();
        let frames = merged(&datagrams);
        prop_assert_eq!(frames.len(), 1);
        prop_assert_eq!(frames[0].get(HEAD..), Some(whole.as_slice()));
        let gso = u16::from_ne_bytes([frames[0][4], frames[0][5]]);
        let expected = if datagrams.len() > 1 { usize::from(size).min(room - HEADER - 52) } else { 0 };
        prop_assert_eq!(usize::from(gso), expected);
    }

    #[test]
    fn whatever_is_lost_or_swapped_the_rest_arrives(
        length in 5_000_usize..30_000, lost in proptest::collection::vec(any::<bool>(), 40), swap in 0_usize..20,
    ) {
        let whole = tcp(40_000, 1, flags::ACK, &payload(length));
        let mut datagrams = cut_up(&outgoing(&whole, Some(1_000)), 1_400).unwrap();
        if swap + 1 < datagrams.len() {
            datagrams.swap(swap, swap + 1);
        }
        let mut lost = lost.into_iter();
        datagrams.retain(|_| !lost.next().unwrap_or(false));
        let mut sent = Vec::new();
        for bytes in &datagrams {
            let (tcp, chunk) = segment_of(Datagram::decode(bytes).unwrap().bytes);
            sent.push((tcp.sequence, chunk.to_vec()));
        }
        let mut arrived = Vec::new();
        for frame in merged(&datagrams) {
            let packet = frame.get(HEAD..).unwrap();
            let (tcp, data) = segment_of(packet);
            for (n, chunk) in data.chunks(1_000).enumerate() {
                arrived.push((tcp.sequence + n as u32 * 1_000, chunk.to_vec()));
            }
        }
        prop_assert_eq!(arrived, sent, "in the order in which they came");
    }

    #[test]
    fn any_datagram_is_taken_or_refused(datagrams: Vec<Vec<u8>>) {
        let mut merger = Merger::new(PEER);
        for bytes in &datagrams {
            if let Some(datagram) = Datagram::decode(bytes) {
                let _ = merger.take(&datagram);
            }
        }
        merger.finish();
    }

    #[test]
    fn any_frame_is_read_or_refused(mut frame: Vec<u8>, kind in 0..2) {
        if kind == 1 && frame.len() > HEAD {
            let vni = Vni { number: PEER, ..Vni::default() };
            put(&mut frame, 16, Mac::of_header(vni, 1));
            put(&mut frame, 22, [8, 0, 0x45]);
        }
        if let Ok(outgoing) = Outgoing::read(&frame) {
            let _ = cut_up(&outgoing, 1_200);
        }
    }
}

#[test]
fn flows_in_one_batch_are_merged_each_by_itself() {
    let one = |port, n: u32| tcp(port, 100 + n * 500, flags::ACK, &payload(500));
    let mut merger = Merger::new(PEER);
    for n in 0..10 {
        for port in [40_000, 40_001, 40_002] {
            let bytes = one(port, n);
            let datagram = Datagram {
                label: label(u32::from(port)),
                unsummed: true,
                part: Part::Whole,
                bytes: &bytes,
            };
            merger.take(&datagram).unwrap();
        }
    }
    let frames = merger.finish();
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|f| f.len() == HEAD + 52 + 5_000));
}

#[test]
fn what_differs_in_more_than_its_place_begins_anew() {
    let first = tcp(40_000, 0, flags::ACK, &payload(100));
    let change = |at: usize, to: u8| {
        let mut next = tcp(40_000, 100, flags::ACK, &payload(100));
        put(&mut next, at, [to]);
        next
    };
    let longer = tcp(40_000, 100, flags::ACK, &payload(101));
    let others = [
        (change(1, 0x03), "a congestion mark"),
        (change(8, 63), "another hop limit"),
        (change(20 + 11, 8), "another acknowledgement"),
        (change(20 + 14, 2), "another window"),
        (change(20 + 31, 3), "another timestamp"),
        (tcp(40_000, 99, flags::ACK, &payload(100)), "not the next"),
        (tcp(40_000, 100, flags::ACK, &[]), "no payload"),
        (
            tcp(40_000, 100, flags::ACK | flags::FIN, &payload(9)),
            "an end",
        ),
        (longer, "more than the first"),
    ];
    for (next, what) in others {
        let mut merger = Merger::new(PEER);
        for bytes in [&first, &next] {
            let datagram = Datagram {
                label: label(7),
                unsummed: true,
                part: Part::Whole,
                bytes,
            };
            merger.take(&datagram).unwrap();
        }
        let frames = merger.finish();
        let got: Vec<_> = frames.iter().map(|f| f.get(HEAD..).unwrap()).collect();
        assert_eq!(got, [&first, &next], "{what}");
    }
}

#[test]
fn a_push_or_a_short_segment_ends_a_super_packet() {
    let parts = [
        tcp(40_000, 0, flags::ACK, &payload(100)),
        tcp(40_000, 100, flags::ACK | flags::PSH, &payload(100)),
        tcp(40_000, 200, flags::ACK, &payload(100)),
        tcp(40_000, 300, flags::ACK, &payload(10)),
        tcp(40_000, 310, flags::ACK, &payload(10)),
    ];
    let datagrams = parts.map(|part| {
        let outgoing = outgoing(&part, None);
        cut_up(&outgoing, 1_400).unwrap().remove(0)
    });
    let frames = merged(&datagrams);
    let sizes: Vec<_> = frames.iter().map(|f| f.len() - HEAD - 52).collect();
    assert_eq!(sizes, [200, 110, 10]);
}

#[test]
fn what_has_to_pass_is_split_and_joined() {
    for length in [701, 1_000, 1_280 - 28] {
        let whole = udp(5_000, &payload(length));
        let mut datagrams = cut_up(&outgoing(&whole, None), 700).unwrap();
        assert_eq!(datagrams.len(), 2);
        assert!(datagrams.iter().all(|d| d.len() <= 700));
        for _ in 0..2 {
            let frames = merged(&datagrams);
            assert_eq!(frames.len(), 1);
            assert_eq!(frames[0].get(HEAD..), Some(whole.as_slice()));
            datagrams.reverse();
        }
        assert!(merged(&datagrams[..1]).is_empty(), "a half is nothing");
    }
}

#[test]
fn halves_wait_for_a_bounded_number_of_others() {
    let whole = udp(5_000, &payload(1_000));
    let mut split = u16::MAX;
    let mut halves = || {
        let mut out = Vec::new();
        cut(&outgoing(&whole, None), 700, &mut split, &mut out).unwrap();
        out
    };
    let mut merger = Merger::new(PEER);
    let mut take = |bytes: &Bytes| merger.take(&Datagram::decode(bytes).unwrap()).unwrap();
    let all: Vec<_> = (0..65).map(|_| halves()).collect();
    all.iter().for_each(|halves| take(&halves[0]));
    take(&all[0][1]);
    take(&all[64][1]);
    assert_eq!(merger.finish().len(), 1, "the first had to make room");
}

/// Whose halves are lost on the way gets none of another packet's, however often numbers come round.
#[test]
fn halves_of_two_packets_are_never_joined() {
    let (mut split, mut merger) = (0, Merger::new(PEER));
    for n in 0..200_000_u32 {
        let whole = udp(5_000, &n.to_be_bytes().repeat(200));
        let mut out = Vec::new();
        cut(&outgoing(&whole, None), 700, &mut split, &mut out).unwrap();
        let mut take = |bytes: &Bytes| merger.take(&Datagram::decode(bytes).unwrap()).unwrap();
        // One in a thousand loses its back, and whoever has its number next time its front.
        match n % 1_000 {
            0 if (n / 65_536) % 2 == 0 => take(&out[0]),
            _ if (n.wrapping_sub(65_536)) % 1_000 == 0 => take(&out[1]),
            _ => out.iter().for_each(take),
        }
        for frame in merger.finish() {
            assert_eq!(frame.get(HEAD..), Some(whole.as_slice()), "{n}");
        }
    }
}

#[test]
fn what_does_not_fit_is_told_and_nothing_is_sent() {
    let large = udp(5_000, &payload(2_600));
    let refused = cut_up(&outgoing(&large, None), 1_300);
    let expected = TooLarge {
        length: 2_628,
        fits: 1_300 - HEADER,
    };
    assert_eq!(refused, Err(expected));
    let summed = Outgoing {
        unsummed: false,
        ..outgoing(&large, None)
    };
    assert!(cut_up(&summed, 1_300).is_err());
    assert_eq!(cut_up(&summed, 2_636).unwrap().len(), 1);
    // Nobody has said into what; it is cut to what fits all the same.
    let segment = tcp(40_000, 1, flags::ACK, &payload(2_000));
    assert_eq!(cut_up(&outgoing(&segment, None), 1_300).unwrap().len(), 2);
}

#[test]
fn a_datagram_that_is_no_whole_packet_is_refused() {
    let whole = udp(5_000, b"data");
    let take = |bytes: &[u8], unsummed| {
        Merger::new(PEER).take(&Datagram {
            label: label(7),
            unsummed,
            part: Part::Whole,
            bytes,
        })
    };
    assert_eq!(take(&whole, true), Ok(()));
    assert_eq!(take(&whole[..whole.len() - 1], true), Err(Malformed));
    assert_eq!(
        take(&[whole.as_slice(), b"x"].concat(), true),
        Err(Malformed)
    );
    let icmp = packet(1, 0x0800, &[0, 0, 0, 5, 0, 1], b"ping");
    assert_eq!(take(&icmp, false), Ok(()));
    assert_eq!(take(&icmp, true), Err(Malformed), "it has no such sum");
    assert_eq!(take(&[], false), Err(Malformed));
}

#[test]
fn frames_have_the_devices_form() {
    let mut frame = Vec::new();
    let offload = Offload {
        sum: Some((20, 16)),
        segments: Some((52, 1_348)),
    };
    head(PEER, label(0xdead_beef), offload, &mut frame);
    let [s0, s1] = 1_348_u16.to_ne_bytes();
    let [h0, h1] = 66_u16.to_ne_bytes();
    let [c0, c1] = 34_u16.to_ne_bytes();
    let [o0, o1] = 16_u16.to_ne_bytes();
    assert_eq!(&frame[..10], [1, 1, h0, h1, s0, s1, c0, c1, o0, o1]);
    assert_eq!(&frame[10..16], Mac::of_hash(0xdead_beef));
    let from = Vni {
        number: PEER,
        from: true,
        ..Vni::default()
    };
    assert_eq!(&frame[16..22], Mac::of_header(from, 300));
    assert_eq!(&frame[22..], [8, 0]);
    assert_eq!(frame.len(), HEAD);
}

#[test]
fn frames_of_the_programs_are_read() {
    let bytes = tcp(40_000, 1, flags::ACK, b"data");
    let frame = |vni: Vni, virtio: [u8; 2]| {
        let mut frame = vec![virtio[0], virtio[1], 0, 0];
        frame.extend_from_slice(&1_000_u16.to_ne_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&Mac::of_hash(7));
        frame.extend_from_slice(&Mac::of_header(vni, 300));
        frame.extend_from_slice(&[8, 0]);
        frame.extend_from_slice(&bytes);
        // A device may pad.
        frame.extend_from_slice(&[0; 6]);
        frame
    };
    let towards = Vni {
        number: PEER,
        ..Vni::default()
    };
    let plain = Outgoing {
        unsummed: false,
        ..outgoing(&bytes, None)
    };
    assert_eq!(Outgoing::read(&frame(towards, [0, 0])), Ok(plain));
    let large = frame(towards, [1, 0x81]);
    assert_eq!(Outgoing::read(&large), Ok(outgoing(&bytes, Some(1_000))));
    for (vni, virtio, bad) in [
        (
            Vni {
                from: true,
                ..towards
            },
            [0, 0],
            Bad::Header,
        ),
        (
            Vni {
                probe: true,
                ..towards
            },
            [0, 0],
            Bad::Header,
        ),
        (
            Vni {
                number: 0,
                ..towards
            },
            [0, 0],
            Bad::Header,
        ),
        (towards, [1, 3], Bad::Offload(1, 3)),
        (towards, [0, 1], Bad::Offload(0, 1)),
    ] {
        assert_eq!(Outgoing::read(&frame(vni, virtio)), Err(bad));
    }
    assert_eq!(Outgoing::read(&large[..HEAD - 1]), Err(Bad::Short));
    assert_eq!(Outgoing::read(&large[..HEAD + 30]), Err(Bad::Packet));
}
