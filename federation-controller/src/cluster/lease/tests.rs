use super::super::fake::{Fake, Fault};
use super::*;

const PATH: &str =
    "/apis/coordination.k8s.io/v1/namespaces/causeway-system/leases/causeway-controller";

struct Replica {
    activity: watch::Receiver<Activity>,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn replica(fake: &Fake, me: &str) -> Replica {
    let (sender, activity) = watch::channel(Activity::Standby);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (client, me) = (fake.client(), me.to_owned());
    let task = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        let troubles = Troubles::default();
        let clock = Clock::start();
        run(
            client,
            "causeway-system",
            me,
            &clock,
            sender,
            &troubles,
            stopped,
        )
        .await;
    });
    Replica {
        activity,
        stop,
        task,
    }
}

async fn active(replica: &mut Replica) -> u64 {
    let is = replica
        .activity
        .wait_for(|activity| activity.term().is_some())
        .await;
    is.unwrap().term().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_of_two_is_active_and_hands_over_at_once() {
    let fake = Fake::new();
    let (mut one, mut two) = (replica(&fake, "a_1"), replica(&fake, "b_2"));
    let clock = Clock::start();
    tokio::select! {
        term = active(&mut one) => assert_eq!(term, 1),
        term = active(&mut two) => {
            assert_eq!(term, 1);
            std::mem::swap(&mut one, &mut two);
        }
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*two.activity.borrow(), Activity::Standby);
    assert_eq!(*one.activity.borrow(), Activity::Active(1));
    // A minute of renewals, and no other write.
    assert!(fake.writes() <= 22, "{}", fake.writes());
    one.stop.send(()).unwrap();
    one.task.await.unwrap();
    let released = clock.mono_ms();
    assert_eq!(active(&mut two).await, 2);
    assert!(clock.mono_ms() - released <= 1_000);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_ends_it_in_time() {
    let fake = Fake::new();
    let mut one = replica(&fake, "a_1");
    active(&mut one).await;
    let clock = Clock::start();
    for fault in [Fault::Refused(503), Fault::Lost, Fault::Unanswered] {
        let began = clock.mono_ms();
        fake.faults(move |_| Some(fault));
        one.activity
            .wait_for(|activity| activity.term().is_none())
            .await
            .unwrap();
        assert!(clock.mono_ms() - began <= crate::election::ACT_MS);
        fake.well();
        active(&mut one).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_died_is_replaced_and_stays_out_when_it_wakes() {
    let fake = Fake::new();
    let mut one = replica(&fake, "a_1");
    active(&mut one).await;
    one.task.abort();
    let mut two = replica(&fake, "b_2");
    let clock = Clock::start();
    assert_eq!(active(&mut two).await, 2);
    let took = clock.mono_ms();
    assert!((14_000..=17_000).contains(&took), "{took}");
    // Somebody deletes the Lease: it is made anew, and its count starts over.
    fake.remove(PATH);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(fake.get(PATH).is_some());
    assert!(two.activity.borrow().term().is_some());
}

#[tokio::test(start_paused = true)]
async fn missing_rights_are_said() {
    let fake = Fake::new();
    fake.faults(|_| Some(Fault::Refused(403)));
    let troubles = Troubles::default();
    let mut told = troubles.subscribe();
    let (sender, _activity) = watch::channel(Activity::Standby);
    let clock = Clock::start();
    let stop = async {
        told.wait_for(|all| !all.is_empty()).await.unwrap();
    };
    run(
        fake.client(),
        "causeway-system",
        "a_1".to_owned(),
        &clock,
        sender,
        &troubles,
        stop,
    )
    .await;
    let all = troubles.subscribe().borrow().clone();
    assert!(
        all["Lease causeway-controller"].contains("so the test wants it"),
        "{all:?}"
    );
}
