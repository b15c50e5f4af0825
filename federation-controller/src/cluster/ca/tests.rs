use causeway_proto::model::{Allocations, GatewayName};

use super::super::fake::{Fake, Fault};
use super::super::keeper::{Keeping, Stored};
use super::*;

const PATH: &str = "/api/v1/namespaces/causeway-system/secrets/causeway-ca";

struct Bed {
    _home: watch::Sender<Option<Home>>,
    activity: watch::Sender<Activity>,
    recovery: watch::Sender<Recovery>,
    unwanted: watch::Sender<Option<Digest>>,
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
    let (unwanted_told, unwanted) = watch::channel(None);
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
        unwanted,
        keeper,
        &troubles,
        clock,
    );
    tokio::spawn(authorities.run());
    Bed {
        _home: home_told,
        activity,
        recovery,
        unwanted: unwanted_told,
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

impl Bed {
    /// The CA that is used, and the one before it.
    fn used(&self) -> (Digest, Option<Digest>) {
        match &*self.standing.borrow() {
            Standing::Ready(issuing) => {
                let succession = issuing.authority.material().succession.as_ref();
                let former = succession.map(|s| fingerprint(&s.former));
                (fingerprint(issuing.authority.certificate()), former)
            }
            _ => Default::default(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_takes_over_once_for_each_time_that_it_is_asked_for() {
    let fake = Fake::new();
    let mut one = replica(&fake, "a", Activity::Active(1));
    let mut two = replica(&fake, "b", Activity::Standby);
    one.asks();
    one.material().await;
    two.material().await;
    let (first, none) = one.used();
    assert_eq!(none, None);
    for bed in [&one, &two] {
        bed.unwanted.send_replace(Some(first));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (second, former) = one.used();
    assert_eq!(former, Some(first));
    assert_eq!(two.used(), one.used());
    assert_eq!(fake.get(PATH).unwrap()["immutable"], true);
    // The leader is slow to take it up, or asks for another one at once.
    one.unwanted.send_replace(Some(second));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(one.used(), (second, Some(first)));
    let three = replica(&fake, "c", Activity::Active(2));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(three.used(), one.used());
}

/// Whatever becomes of any request, all use one CA in the end, and it is the first or took over from it.
#[tokio::test(start_paused = true)]
async fn a_takeover_that_breaks_off_loses_no_ca() {
    for nth in 0..12 {
        for fault in [Fault::Refused(500), Fault::Lost, Fault::Unanswered] {
            let fake = Fake::new();
            let mut one = replica(&fake, "a", Activity::Active(1));
            let mut two = replica(&fake, "b", Activity::Active(2));
            one.asks();
            two.asks();
            one.material().await;
            two.material().await;
            let (first, _) = one.used();
            let (begin, asked_of) = (fake.asked().len(), "causeway-ca");
            fake.faults(move |asked| {
                let late = asked.number > begin + nth && asked.number % 2 == 0;
                (asked.path.contains(asked_of) && late).then_some(fault)
            });
            for bed in [&one, &two] {
                bed.unwanted.send_replace(Some(first));
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
            fake.well();
            tokio::time::sleep(Duration::from_secs(90)).await;
            assert_eq!(one.used(), two.used());
            assert_eq!(one.used().1, Some(first));
        }
    }
}
