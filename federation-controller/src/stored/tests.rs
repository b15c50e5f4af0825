use expect_test::expect;
use proptest::prelude::*;

use causeway_proto::model::{Allotted, ClusterId, Revocation, Timestamp};

use super::*;

fn state(epoch: u64, version: u64, vips: &[u8], trust: u64, revoked: &[u8]) -> LeaderState {
    let vip = |n: &u8| {
        let value = format!("241.0.0.{n}").parse().unwrap();
        let name = format!("shop/service-{n}").parse().unwrap();
        (name, Allotted { value, freed: None })
    };
    let allocations = Allocations {
        epoch,
        version,
        vips: vips.iter().map(vip).collect(),
        ..Allocations::default()
    };
    let revocation = |n: &u8| {
        let cluster: ClusterId = format!("peer-{n}").parse().unwrap();
        let revocation = Revocation {
            ca: Digest([*n; 32]),
            time: Timestamp(1),
        };
        (cluster, revocation)
    };
    LeaderState {
        authority: None,
        allocations: Some(allocations),
        trust: Some(TrustState {
            version: trust,
            revocations: revoked.iter().map(revocation).collect(),
            ..TrustState::default()
        }),
    }
}

/// What lies in the Secrets.
#[derive(Debug, Clone, Default)]
struct Lying {
    head: Head,
    pieces: BTreeMap<u16, Vec<u8>>,
}

impl Lying {
    fn read(&self) -> Result<LeaderState, Damage> {
        Head::parse(&self.head.render())?.join(&self.pieces)
    }

    fn write(&mut self, writes: &Writes, only: usize) {
        for (slot, content) in writes.pieces.iter().take(only) {
            self.pieces.insert(*slot, content.clone());
        }
        if only > writes.pieces.len() {
            self.head = writes.head.clone();
        }
    }
}

#[test]
fn only_what_changed_is_written() {
    let mut lying = Lying::default();
    assert_eq!(lying.head.replace(&LeaderState::default()), Ok(None));
    let first = state(5, 1, &[1, 2, 3], 1, &[]);
    let writes = lying.head.replace(&first).unwrap().unwrap();
    assert_eq!(writes.pieces.len(), 2);
    lying.write(&writes, 3);
    assert_eq!(lying.read().unwrap(), first);
    assert_eq!(lying.head.replace(&first), Ok(None));
    // Only trust: the allocations stay where they are.
    let second = state(5, 1, &[1, 2, 3], 2, &[7]);
    let writes = lying.head.replace(&second).unwrap().unwrap();
    assert_eq!(writes.pieces.len(), 1);
    assert_eq!(writes.pieces[0].0, 2);
    assert_eq!(writes.head.slots(), BTreeSet::from([0, 2]));
    lying.write(&writes, 2);
    assert_eq!(lying.read().unwrap(), second);
}

#[test]
fn rings_are_not_stored() {
    let mut with = state(5, 1, &[1], 1, &[]);
    let without = with.clone();
    let rings = &mut with.allocations.as_mut().unwrap().rings;
    rings.insert("shop/service-1".parse().unwrap(), BTreeMap::new());
    let head = Head::default();
    assert_eq!(head.replace(&with), head.replace(&without));
}

#[test]
fn nothing_falls_back() {
    let mut lying = Lying::default();
    let writes = lying.head.replace(&state(5, 3, &[1], 2, &[])).unwrap();
    lying.write(&writes.unwrap(), 9);
    let older = |state: LeaderState| lying.head.replace(&state).unwrap_err().to_string();
    expect!["what is stored, 5.3, trust 2, is newer than 4.9, trust 2"].assert_eq(&older(state(
        4,
        9,
        &[1],
        2,
        &[],
    )));
    expect!["what is stored, 5.3, trust 2, is newer than 5.2, trust 2"].assert_eq(&older(state(
        5,
        2,
        &[1],
        2,
        &[],
    )));
    expect!["what is stored, 5.3, trust 2, is newer than 6.1, trust 1"].assert_eq(&older(state(
        6,
        1,
        &[1],
        1,
        &[],
    )));
    expect!["what is stored, 5.3, trust 2, is newer than 0.0, trust 0"]
        .assert_eq(&older(LeaderState::default()));
    assert!(lying.head.replace(&state(6, 1, &[1], 2, &[])).is_ok());
    // Of two sides each part's newer is taken.
    let both = newest(state(6, 1, &[1], 1, &[]), state(5, 3, &[2], 2, &[7]));
    assert_eq!(Position::of(&both).to_string(), "6.1, trust 2");
}

#[test]
fn damage_is_named() {
    let mut good = Lying::default();
    let writes = good.head.replace(&state(5, 3, &[1], 2, &[])).unwrap();
    good.write(&writes.unwrap(), 9);
    let told = |change: &dyn Fn(&mut Lying)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.read().unwrap_err().to_string()
    };
    expect!["piece 1 is missing"].assert_eq(&told(&|l| {
        l.pieces.remove(&1);
    }));
    expect!["piece 0 is not what the head says: it was altered"]
        .assert_eq(&told(&|l| l.pieces.get_mut(&0).unwrap()[0] ^= 1));
    expect!["the pieces make the state 5.3, trust 2, and the head says 6.0, trust 0"].assert_eq(
        &told(&|l| {
            l.head.position = Position {
                epoch: 6,
                ..Position::default()
            }
        }),
    );
    let parsed = |text: &str| Head::parse(text.as_bytes()).unwrap_err().to_string();
    expect!["the head has format 2, and this version knows 1; upgrade the controller"]
        .assert_eq(&parsed(r#"{"format":2,"elsewhere":true}"#));
    expect!["the head cannot be read: missing field `format` at line 1 column 2"]
        .assert_eq(&parsed("{}"));
    expect!["the head cannot be read: EOF while parsing a value at line 1 column 0"]
        .assert_eq(&parsed(""));
}

#[test]
fn what_is_too_large_is_said() {
    let large = state(1, 1, &(0..=255).collect::<Vec<u8>>(), 1, &[]);
    let refused = Head::default().replace_by(&large, 16).unwrap_err();
    assert!(refused.to_string().contains("do not fit"), "{refused}");
}

proptest! {
    /// A writer that ends after any of its writes leaves the old state or the new one, and its successor goes on.
    #[test]
    fn whatever_ends_a_writer(
        changes in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..12), proptest::collection::vec(any::<u8>(), 0..4), 0usize..40),
            1..12,
        ),
    ) {
        let mut lying = Lying::default();
        let mut held = LeaderState::default();
        for (version, (vips, revoked, only)) in (1..).zip(changes) {
            let next = state(3, version, &vips, version, &revoked);
            let writes = lying.head.replace_by(&next, 40).unwrap().unwrap();
            lying.write(&writes, only);
            if only > writes.pieces.len() {
                held = next;
            }
            prop_assert_eq!(lying.read().unwrap(), held.clone());
            prop_assert_eq!(lying.head.replace_by(&held, 40), Ok(None));
        }
    }

    #[test]
    fn no_head_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Head::parse(&bytes);
    }
}
