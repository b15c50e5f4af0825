use proptest::prelude::*;

use super::*;

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            "svc", "shop", "cart", "db", "_tcp", "_http", "_", "", "db-0", "west", "east", "x."
        ])
        .prop_map(|s| s.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..70),
    ]
}

proptest! {
    #[test]
    fn never_panics_and_knows_its_zone(
        labels in prop::collection::vec(label(), 0..8), inside: bool, kind in 0usize..7, turn: u64,
    ) {
        let kinds = [Kind::A, Kind::Aaaa, Kind::Srv, Kind::Txt, Kind::Soa, Kind::Any, Kind::Other];
        let mut labels = labels;
        if inside {
            labels.extend([b"ClusterSet".to_vec(), b"local".to_vec()]);
        }
        let zone = DnsZone::of(&view(&[]));
        let question = Question::new(labels.iter().map(Vec::as_slice), kinds[kind], turn, turn);
        let answer = answer(&zone, &question);
        prop_assert!(answer.records.is_empty() || answer.code == Code::NoError);
        if inside {
            prop_assert_ne!(answer.code, Code::Refused);
        }
    }
}
