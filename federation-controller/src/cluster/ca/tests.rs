use causeway_proto::model::{Allocations, GatewayName};

use super::super::fake::{Fake, Fault};
use super::super::keeper::{Keeping, Stored};
use super::*;

const PATH: &str = "/api/v1/namespaces/causeway-system/secrets/causeway-ca";

struct Bed {
    _home: watch::Sender<Option<Home>>,
    activity: watch::Sender<Activity>,
    recovery: watch::Sender<Recovery>,
    standing: watch::Receiver<Standing>,
    stored: watch::Receiver<Option<Stored>>,
    clock: Clock,
}

fn home(cluster: &str) -> Home {
    Home {
        cluster: cluster.parse().unwrap(),
        cluster_set: "prod".parse().unwrap(),
    }
}

fn replica(fake: &Fake, me: &str, activity: Activity) -> Bed {
    let (activity, active) = watch::channel(activity);
    let (recovery, asked) = watch::channel(Recovery::default());
    let (home_told, home) = watch::channel(Some(home("east")));
    let (troubles, clock) = (Troubles::default(), Clock::start());
    let namespace = "causeway-system";
    let (keeping, keeper, stored) = Keeping::new(
        fake.client(),
        namespace,
        me,
        active.clone(),
        &troubles,
        clock,
    );
    tokio::spawn(keeping.run());
    let (authorities, standing) = Authorities::new(
        fake.client(),
        namespace,
        home,
        active,
        asked,
        keeper,
        &troubles,
        clock,
    );
    tokio::spawn(authorities.run());
    Bed {
        _home: home_told,
        activity,
        recovery,
        standing,
        stored,
        clock,
    }
}

fn w1() -> GatewayName {
    "w1".parse().unwrap()
}

impl Bed {
    fn asks(&self) {
        let now = self.clock.mono_ms();
        self.recovery.send_modify(|recovery| {
            recovery.asked(&w1(), false, now);
        });
    }

    async fn material(&mut self) -> Vec<u8> {
        let ready = self
            .standing
            .wait_for(|s| matches!(s, Standing::Ready(_)))
            .await;
        match &*ready.unwrap() {
            Standing::Ready(issuing) => issuing.authority.material().key.clone(),
            _ => Vec::new(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn made_once_a_gateway_has_asked_and_read_by_the_standby() {
    let fake = Fake::new();
    let mut one = replica(&fake, "a", Activity::Active(1));
    let mut two = replica(&fake, "b", Activity::Standby);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(fake.get(PATH).is_none());
    let told = match &*one.standing.borrow() {
        Standing::Absent(why, _) => why.clone(),
        _ => String::new(),
    };
    assert!(told.contains("no gateway has asked"), "{told}");
    let began = one.clock.mono_ms();
    one.asks();
    let made = one.material().await;
    assert!(one.clock.mono_ms() - began <= 3_500);
    assert_eq!(two.material().await, made);
    assert_eq!(fake.get(PATH).unwrap()["immutable"], true);
    // Deleted: put back by the active one, the same.
    assert!(fake.remove(PATH));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fake.get(PATH).is_some());
    let mut three = replica(&fake, "c", Activity::Standby);
    assert_eq!(three.material().await, made);
}

#[tokio::test(start_paused = true)]
async fn two_that_believe_to_be_active_make_one() {
    for nth in 0..12 {
        for fault in [Fault::Refused(500), Fault::Lost, Fault::Unanswered] {
            let fake = Fake::new();
            fake.faults(move |asked| {
                (asked.path.contains("causeway-ca")
                    && asked.number > 60 + nth
                    && asked.number % 3 == 0)
                    .then_some(fault)
            });
            let mut one = replica(&fake, "a", Activity::Active(1));
            let mut two = replica(&fake, "b", Activity::Active(2));
            one.asks();
            two.asks();
            tokio::time::sleep(Duration::from_secs(10)).await;
            fake.well();
            assert_eq!(one.material().await, two.material().await);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(one.material().await, two.material().await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_offers_is_taken_up_state_first() {
    let clock = Clock::start();
    let east = home("east");
    let lost = Authority::create(&east.cluster, &east.cluster_set, clock.wall()).unwrap();
    let state = LeaderState {
        authority: Some(lost.material().clone()),
        allocations: Some(Allocations {
            epoch: 7,
            ..Allocations::default()
        }),
        trust: None,
    };
    let fake = Fake::new();
    // The state cannot be stored at first: then there is no CA either.
    fake.faults(|asked| {
        asked
            .path
            .contains("causeway-state")
            .then_some(Fault::Refused(403))
    });
    let mut one = replica(&fake, "a", Activity::Active(1));
    let now = one.clock.mono_ms();
    one.recovery
        .send_modify(|recovery| recovery.offered(&w1(), 7, state, now));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(fake.get(PATH).is_none());
    fake.well();
    assert_eq!(one.material().await, lost.material().key);
    let stored = one.stored.borrow().clone().unwrap();
    assert_eq!(stored.position.epoch, 7);
}

#[tokio::test(start_paused = true)]
async fn another_clusters_ca_is_not_used_and_not_replaced() {
    let clock = Clock::start();
    let west = home("west");
    let other = Authority::create(&west.cluster, &west.cluster_set, clock.wall()).unwrap();
    let fake = Fake::new();
    let object = serde_json::to_value(secret(&other)).unwrap();
    fake.put(PATH, object);
    let one = replica(&fake, "a", Activity::Active(1));
    one.asks();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let told = match &*one.standing.borrow() {
        Standing::Absent(why, _) => why.clone(),
        _ => String::new(),
    };
    assert!(told.contains("put the right one back"), "{told}");
    assert!(
        !fake
            .asked()
            .iter()
            .any(|asked| asked.writes() && asked.path.contains("causeway-ca"))
    );
    one.activity.send_replace(Activity::Standby);
}
