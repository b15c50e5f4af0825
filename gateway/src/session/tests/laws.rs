use causeway_proto::model::{PartKey, SignedPart};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Any frame, sensible or not.
fn any_frame() -> impl Strategy<Value = Frame> {
    (0..14u8, any::<u8>()).prop_map(|(kind, n)| {
        let (begin, parts, end) = snapshot(&[("shop/cart", &[1]), ("pay/card", &[])]);
        let header = begin.header.clone();
        let part = |at: usize| match parts[at % parts.len()].clone() {
            Frame::SnapshotPart(part) => part,
            _ => unreachable!(),
        };
        let held = Held {
            revision: header.header.revision,
            digest: Digest([n; 32]),
        };
        let delta = |parts: Vec<SignedPart>, removed| CatalogDelta {
            from: Some(header.header.revision),
            header: header.clone(),
            parts,
            removed,
        };
        match kind {
            0 => Frame::Hello(hello("west", None)),
            1 => Frame::Header(header),
            2 | 3 => Frame::Beat(Beat {
                newest: (n > 9).then_some(held.digest),
                time: Timestamp(0),
                leaving: false,
            }),
            4 => Frame::SnapshotBegin(begin),
            5 | 6 => Frame::SnapshotPart(part(usize::from(n))),
            7 => Frame::SnapshotEnd(end),
            8 => Frame::Delta(delta(vec![part(usize::from(n))], Vec::new())),
            9 => Frame::Delta(delta(Vec::new(), vec![PartKey::Cluster])),
            10 => Frame::Want(Want::Since(held)),
            11 => Frame::Want(Want::Parts(BTreeSet::from([PartKey::Cluster]))),
            12 => Frame::Ack(Ack { held }),
            _ => Frame::Want(Want::Snapshot),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes: it ends at most once, its queue is bounded, and no deadline is left behind.
    #[test]
    fn nothing_that_comes_breaks_it(frames in vec((any_frame(), 0..4_000u64), 0..40), up in any::<bool>()) {
        let mut east = Side::new("east", "west");
        east.offer(&[("shop/x", &[1]), ("pay/y", &[])]);
        let mut now = 0;
        if up {
            east.session.handle(Frame::Hello(hello("west", None)), at(0));
        }
        let mut closed = false;
        for (frame, pause) in frames {
            now += pause;
            while east.session.poll_timeout().is_some_and(|due| due <= now) {
                east.session.handle_timeout(east.catalog.own.held(), at(now));
            }
            east.session.handle(frame, at(now));
            east.act();
            prop_assert!(!closed || east.session.is_closed());
            closed = east.end.is_some();
            prop_assert_eq!(closed, east.session.is_closed());
            prop_assert!(east.session.poll_timeout().is_none_or(|due| due > now));
            prop_assert!(east.session.frames.len() <= SESSION_QUEUE + 1);
        }
        let sent = east.sends();
        prop_assert!(sent.iter().filter(|name| **name == "Bye").count() <= 1);
        if let Some(bye) = sent.iter().position(|name| *name == "Bye") {
            prop_assert_eq!(bye, sent.len() - 1, "{:?}", sent);
        }
    }
}
