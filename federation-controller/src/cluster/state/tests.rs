use causeway_proto::model::{Allocations, TrustState};

use super::super::fake::{Fake, Fault};
use super::*;

const NAMESPACE: &str = "causeway-system";
const SECRETS: &str = "/api/v1/namespaces/causeway-system/secrets";

fn state(epoch: u64, version: u64, trust: u64) -> LeaderState {
    LeaderState {
        authority: None,
        allocations: Some(Allocations {
            epoch,
            version,
            ..Allocations::default()
        }),
        trust: Some(TrustState {
            version: trust,
            ..TrustState::default()
        }),
    }
}

async fn open(fake: &Fake, me: &str) -> Store {
    Store::open(&fake.client(), NAMESPACE, me).await.unwrap()
}

#[tokio::test]
async fn what_was_stored_is_read_back_and_not_written_twice() {
    let fake = Fake::new();
    let mut one = open(&fake, "a").await;
    assert_eq!(one.position(), Position::default());
    assert!(one.write(state(5, 1, 1)).await.unwrap() > 0);
    let writes = fake.writes();
    assert_eq!(one.write(state(5, 1, 1)).await.unwrap(), 0);
    // A Keep that says only what changed.
    let only_trust = LeaderState {
        allocations: None,
        ..state(5, 1, 2)
    };
    assert_eq!(fake.writes(), writes);
    assert!(one.write(only_trust).await.unwrap() > 0);
    assert_eq!(fake.writes(), writes + 2);
    let two = open(&fake, "b").await;
    assert_eq!(*two.state(), state(5, 1, 2));
    // Taking over is one write.
    assert_eq!(fake.writes(), writes + 3);
}

#[tokio::test]
async fn an_older_state_is_refused_and_older_trust_passed_over() {
    let fake = Fake::new();
    let mut one = open(&fake, "a").await;
    one.write(state(5, 3, 4)).await.unwrap();
    for (epoch, version) in [(4, 9), (5, 2)] {
        let refused = one.write(state(epoch, version, 4)).await.unwrap_err();
        assert!(matches!(
            refused,
            StateError::NotStored(NotStored::Older { .. })
        ));
    }
    one.write(state(6, 1, 3)).await.unwrap();
    assert_eq!(*open(&fake, "a").await.state(), state(6, 1, 4));
}

#[tokio::test]
async fn a_writer_that_was_overtaken_writes_nothing() {
    let fake = Fake::new();
    let mut one = open(&fake, "a").await;
    one.write(state(5, 1, 1)).await.unwrap();
    let mut two = open(&fake, "b").await;
    let refused = one.write(state(5, 2, 1)).await.unwrap_err();
    assert!(matches!(refused, StateError::Overtaken));
    // What it left behind is found, and nothing is built on it.
    assert!(two.write(state(6, 1, 1)).await.is_err());
    let mut two = open(&fake, "b").await;
    two.write(state(6, 1, 1)).await.unwrap();
    // It may even believe that it is active, and take the head back: nothing is torn.
    let mut one = open(&fake, "a").await;
    let refused = one.write(state(5, 3, 1)).await.unwrap_err();
    assert!(matches!(refused, StateError::NotStored(_)));
    assert!(matches!(
        two.write(state(6, 2, 1)).await,
        Err(StateError::Overtaken)
    ));
    let mut two = open(&fake, "b").await;
    two.write(state(6, 2, 1)).await.unwrap();
    assert_eq!(*open(&fake, "c").await.state(), state(6, 2, 1));
}

#[tokio::test]
async fn killed_at_every_request() {
    for fault in [Fault::Refused(500), Fault::Unanswered, Fault::Lost] {
        for nth in 1.. {
            let fake = Fake::new();
            open(&fake, "a").await.write(state(5, 1, 1)).await.unwrap();
            let before = fake.asked().len();
            fake.faults(move |asked| (asked.number >= before + nth).then_some(fault));
            let attempt = async {
                let mut store = Store::open(&fake.client(), NAMESPACE, "b").await?;
                store.write(state(5, 2, 2)).await
            };
            let done = attempt.await.is_ok();
            fake.well();
            let mut next = open(&fake, "c").await;
            assert_eq!(next.damage(), None);
            let read = next.state().clone();
            assert!(
                read == state(5, 2, 2) || (!done && read == state(5, 1, 1)),
                "{nth} {read:?}"
            );
            next.write(state(6, 1, 2)).await.unwrap();
            assert_eq!(*open(&fake, "d").await.state(), state(6, 1, 2));
            if done {
                break;
            }
        }
    }
}

#[tokio::test]
async fn two_at_once_tear_nothing() {
    // Requests of both in every order that a turn of the tasks gives.
    for pause in 0..40usize {
        let fake = Fake::new();
        let yields = async |times: usize| {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
        };
        // One is more patient: two of one pace would go on for ever, which in life their Lease ends.
        let writer = async |me: &str, epoch: u64, delay: usize, patience: usize| {
            yields(delay).await;
            let mut version = 1;
            while version < 6 {
                let written = match Store::open(&fake.client(), NAMESPACE, me).await {
                    Ok(mut store) => store.write(state(epoch, version, version)).await,
                    Err(error) => Err(error),
                };
                match written {
                    Err(StateError::Overtaken) => yields(patience).await,
                    _ => version += 1,
                }
            }
        };
        tokio::join!(writer("a", 5, 0, 1), writer("b", 6, pause, 1_500));
        let last = open(&fake, "c").await;
        assert_eq!(last.damage(), None, "{pause}");
        assert_eq!(last.position().epoch, 6, "{pause}");
    }
}

#[tokio::test]
async fn damage_is_named_and_healed_by_the_next_state() {
    let fake = Fake::new();
    open(&fake, "a").await.write(state(5, 3, 1)).await.unwrap();
    assert!(fake.remove(&format!("{SECRETS}/causeway-state-0")));
    let mut hurt = open(&fake, "b").await;
    assert_eq!(hurt.damage(), Some(&Damage::Missing(0)));
    assert_eq!(*hurt.state(), LeaderState::default());
    // Still nothing falls back.
    assert!(hurt.write(state(5, 2, 1)).await.is_err());
    let mut hurt = open(&fake, "b").await;
    hurt.write(state(5, 3, 1)).await.unwrap();
    assert_eq!(*open(&fake, "c").await.state(), state(5, 3, 1));
    // A head that somebody edited.
    fake.put(
        &format!("{SECRETS}/causeway-state"),
        serde_json::json!({"data": {"head": "eA=="}}),
    );
    let mut hurt = open(&fake, "d").await;
    assert!(matches!(hurt.damage(), Some(Damage::Head(_))));
    hurt.write(state(5, 4, 1)).await.unwrap();
    assert_eq!(*open(&fake, "e").await.state(), state(5, 4, 1));
    // One of a later version is left alone.
    fake.put(
        &format!("{SECRETS}/causeway-state"),
        serde_json::json!({"data": {"head": "eyJmb3JtYXQiOjJ9"}}),
    );
    let writes = fake.writes();
    let later = Store::open(&fake.client(), NAMESPACE, "f")
        .await
        .unwrap_err();
    assert!(
        later.to_string().contains("upgrade the controller"),
        "{later}"
    );
    assert_eq!(fake.writes(), writes);
}
