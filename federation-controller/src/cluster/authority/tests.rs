//! The whole of it against an API server in memory and gateways on real sockets.

mod gateway;

use std::path::Path;

use causeway_proto::model::LeaderState;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::cluster::fake::{Fake, Fault};
use crate::cluster::state::Store;
use gateway::{Disk, Gateway, Process, World};

const PLACE: &str = "/api/v1/namespaces/causeway-system";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/causeway-system/leases";
const CONFIGURATION: &str = "/apis/causeway.dev/v1alpha1/clusterconfigurations/default";

/// One replica; dropped, it is killed.
struct Replica {
    known: Known,
    at: String,
    troubles: Troubles,
    running: Option<Running>,
    _tasks: Option<JoinSet<()>>,
}

async fn here(fake: &Fake, name: &str) -> Here {
    Here {
        client: fake.client(),
        namespace: "causeway-system".parse().unwrap(),
        role: Role::parse(&format!("controller/{name}")).unwrap(),
        me: format!("{name}_1"),
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        clock: Clock::start(),
        troubles: Troubles::default(),
    }
}

async fn replica(fake: &Fake, name: &str) -> Replica {
    let here = here(fake, name).await;
    let troubles = here.troubles.clone();
    let (known, running) = run(here, std::future::pending());
    Replica {
        at: known.address.unwrap().to_string(),
        known,
        troubles,
        running: Some(running),
        _tasks: None,
    }
}

/// One that believes to be active whatever the Lease says.
async fn believer(fake: &Fake, name: &str, activity: &watch::Sender<Activity>) -> Replica {
    let here = here(fake, name).await;
    let troubles = here.troubles.clone();
    let (known, tasks) = serve_while(here, activity.subscribe());
    Replica {
        at: known.address.unwrap().to_string(),
        known,
        troubles,
        running: None,
        _tasks: Some(tasks),
    }
}

struct Bed {
    fake: Fake,
    world: Arc<World>,
    dir: TempDir,
    gateways: Vec<Gateway>,
    processes: Vec<Option<Process>>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.world.wrong(), Vec::<String>::new());
        }
    }
}

fn review(token: &str) -> Value {
    let (account, node) = token.split_once(' ').unwrap_or_default();
    json!({
        "authenticated": true,
        "audiences": ["causeway"],
        "user": {
            "username": format!("system:serviceaccount:causeway-system:causeway-{account}"),
            "extra": {
                "authentication.kubernetes.io/node-name": [node],
                "authentication.kubernetes.io/pod-name": ["p"],
                "authentication.kubernetes.io/pod-uid": ["u"],
            },
        },
    })
}

fn configure(fake: &Fake, more: &Value) {
    let mut spec = json!({"cluster": "east", "clusterSet": "prod"});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let status = fake
        .get(CONFIGURATION)
        .map_or(Value::Null, |held| held["status"].clone());
    let object =
        json!({"metadata": {"name": "default", "generation": 1}, "spec": spec, "status": status});
    fake.put(CONFIGURATION, object);
}

impl Bed {
    fn new(names: &[&str]) -> Self {
        let fake = Fake::new();
        fake.tokens(review);
        configure(&fake, &json!({}));
        let world = Arc::new(World::default());
        Self {
            fake,
            world: world.clone(),
            dir: TempDir::new().unwrap(),
            gateways: names
                .iter()
                .map(|name| Gateway::new(name, &world))
                .collect(),
            processes: names.iter().map(|_| None).collect(),
        }
    }

    fn pin(&self) {
        let path = format!("{PLACE}/configmaps/causeway-enrolment");
        if let Some(map) = self.fake.get(&path) {
            let pin = map["data"]["ca.crt"].as_str().unwrap().to_owned();
            std::fs::write(self.dir.path().join("ca.crt"), pin).unwrap();
        }
    }

    fn place(&self, at: usize) {
        let (Some(gateway), Some(Some(process))) = (self.gateways.get(at), self.processes.get(at))
        else {
            return;
        };
        let pod = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "causeway", "app.kubernetes.io/component": "gateway"}},
            "spec": {"nodeName": gateway.name.as_str(), "containers": [
                {"name": "gateway", "ports": [{"name": "local", "containerPort": process.port}]}
            ]},
            "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.fake
            .put(&format!("{PLACE}/pods/{}", gateway.name), pod);
    }

    /// All gateways enrol there and start.
    async fn start(&mut self, replica: &Replica) {
        let mut enrolling = replica.known.enrolling.clone();
        enrolling.wait_for(|enrolling| *enrolling).await.unwrap();
        self.pin();
        let dir: &Path = self.dir.path();
        let members = self
            .gateways
            .iter()
            .map(|gateway| gateway.enrol(dir, &replica.at));
        let members = futures::future::join_all(members).await;
        for (at, member) in members.iter().enumerate() {
            self.processes[at] = Some(self.gateways[at].serve(member));
            self.place(at);
        }
    }

    /// Until the gateway is like that.
    async fn becomes(&self, at: usize, like: impl Fn(&Disk) -> bool) -> Disk {
        let mut disk = self.gateways[at].disk.subscribe();
        let found = tokio::time::timeout(Duration::from_secs(40), disk.wait_for(|disk| like(disk)));
        match found.await {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("still {:?}", self.gateways[at].disk()),
        }
    }

    async fn stored(&self) -> LeaderState {
        let store = Store::open(&self.fake.client(), "causeway-system", "test").await;
        store.unwrap().state().clone()
    }

    fn ca(&self) -> Value {
        let secret = self.fake.get(&format!("{PLACE}/secrets/causeway-ca"));
        secret.map_or(Value::Null, |secret| secret["data"].clone())
    }

    fn lease(&self) -> (String, u64) {
        let lease = self
            .fake
            .get(&format!("{LEASES}/causeway-leader"))
            .unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        (
            holder.to_owned(),
            lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0),
        )
    }

    /// Writes but those of the Lease that says who is active.
    fn writes(&self) -> usize {
        let asked = self.fake.asked();
        let other =
            |path: &str| !path.starts_with(LEASES) || !path.ends_with("causeway-controller");
        asked
            .iter()
            .filter(|asked| asked.writes() && other(&asked.path))
            .count()
    }

    /// The Lease of a controller that was killed is over.
    fn expire(&self) {
        let path = format!("{LEASES}/causeway-controller");
        if let Some(mut lease) = self.fake.get(&path) {
            lease["spec"]["holderIdentity"] = json!("");
            self.fake.put(&path, lease);
        }
    }
}

async fn settled(bed: &Bed) {
    let led = |status: &Value| {
        let conditions = status["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Led" && c["status"] == "True")
    };
    let deadline = async {
        loop {
            let object = bed.fake.get(CONFIGURATION).unwrap();
            let ready = object["status"]["gateways"].as_array();
            let ready = ready.is_some_and(|all| {
                all.len() == bed.gateways.len() && all.iter().all(|g| g["ready"] == true)
            });
            // A status that one now gone has written is not enough.
            let (leader, term) = bed.lease();
            let mut disks = bed.gateways.iter().map(|g| (&g.name, g.disk()));
            let told = disks.any(|(name, d)| name.as_str() == leader && d.leads && d.term == term);
            if led(&object["status"]) && ready && told {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let status = || bed.fake.get(CONFIGURATION).unwrap()["status"].to_string();
    let settled = tokio::time::timeout(Duration::from_secs(40), deadline).await;
    assert!(settled.is_ok(), "{}", status());
}

#[tokio::test]
async fn from_nothing_to_a_leader_and_then_no_write() {
    let mut bed = Bed::new(&["w1", "w2"]);
    let one = replica(&bed.fake, "a").await;
    bed.start(&one).await;
    let disk = bed.becomes(0, |disk| disk.leads && disk.stored > 0).await;
    bed.becomes(1, |disk| disk.term == 1 && !disk.leads).await;
    assert_eq!(bed.lease(), ("w1".to_owned(), 1));
    assert_eq!(bed.stored().await.allocations, disk.state.allocations);
    let mut leader = one.known.leader.clone();
    let link = leader
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert_eq!(link.gateway.as_str(), "w1");
    settled(&bed).await;
    assert!(one.troubles.subscribe().borrow().is_empty());
    // New settings reach all gateways in the same term, and bad ones none.
    configure(&bed.fake, &json!({"encryption": "off"}));
    for at in 0..2 {
        bed.becomes(at, |disk| disk.plain).await;
    }
    configure(
        &bed.fake,
        &json!({"encryption": "required", "pools": {"vips": ["242.1.0.0/16"]}}),
    );
    let mut told = String::new();
    while !told.contains("242.1.0.0/16 overlaps") {
        tokio::time::sleep(Duration::from_millis(50)).await;
        told = bed.fake.get(CONFIGURATION).unwrap()["status"]["conditions"].to_string();
    }
    assert!(bed.gateways.iter().all(|gateway| gateway.disk().plain));
    configure(&bed.fake, &json!({"encryption": "off"}));
    settled(&bed).await;
    // A burst of changes is few writes, and afterwards there is none.
    let before = bed.writes();
    for _ in 0..50 {
        bed.gateways[0].allot();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let version = bed.gateways[0].disk().state.allocations.unwrap().version;
    bed.becomes(0, |disk| disk.stored == version).await;
    let wrote = bed.writes() - before;
    assert!(wrote <= 10, "{wrote} writes");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let quiet = bed.writes();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(
        bed.writes(),
        quiet,
        "{:?}",
        &bed.fake.asked().split_off(quiet)
    );
    assert_eq!(bed.lease(), ("w1".to_owned(), 1));
}

#[tokio::test]
async fn a_leader_that_goes_is_replaced_and_takes_everything_along() {
    let mut bed = Bed::new(&["w1", "w2"]);
    let one = replica(&bed.fake, "a").await;
    bed.start(&one).await;
    let first = bed.becomes(0, |disk| disk.leads && disk.stored > 0).await;
    settled(&bed).await;
    // Killed, its disk lost.
    bed.processes[0] = None;
    let second = bed.becomes(1, |disk| disk.leads && disk.stored > 0).await;
    assert!(second.epoch > first.epoch, "{second:?}");
    assert_eq!(second.state.authority, first.state.authority);
    assert_eq!(bed.lease(), ("w2".to_owned(), 2));
    let mut leader = one.known.leader.clone();
    let moved =
        |link: &Option<LeaderLink>| link.as_ref().is_some_and(|l| l.gateway.as_str() == "w2");
    leader.wait_for(moved).await.unwrap();
    // It comes back with nothing, and follows.
    bed.gateways[0].disk.send_replace(Disk::default());
    let member = bed.gateways[0].enrol(bed.dir.path(), &one.at).await;
    bed.processes[0] = Some(bed.gateways[0].serve(&member));
    bed.place(0);
    bed.becomes(0, |disk| disk.term == 2 && !disk.leads).await;
    // The one that leads is about to stop: at once.
    let began = Clock::start();
    bed.gateways[1]
        .disk
        .send_modify(|disk| disk.draining = true);
    let third = bed.becomes(0, |disk| disk.leads && disk.stored > 0).await;
    assert!(began.mono_ms() < 5_000);
    assert!(third.epoch > second.epoch);
}

#[tokio::test]
async fn lost_etcd_is_put_back_by_the_controller_or_by_gateways() {
    let mut bed = Bed::new(&["w1", "w2"]);
    let one = replica(&bed.fake, "a").await;
    bed.start(&one).await;
    let first = bed.becomes(0, |disk| disk.leads && disk.stored > 0).await;
    let ca = bed.ca();
    drop(one);
    bed.fake.forget();
    configure(&bed.fake, &json!({}));
    let two = replica(&bed.fake, "b").await;
    // They hold state, so it is theirs that counts.
    bed.start(&two).await;
    let again = bed
        .becomes(0, |disk| disk.leads && disk.term > first.term)
        .await;
    assert_eq!(bed.ca(), ca);
    assert_eq!(again.epoch, first.epoch, "the same leader goes on");
    bed.gateways[0].allot();
    bed.becomes(0, |disk| disk.stored > first.stored).await;
    let stored = bed.stored().await.allocations.unwrap();
    assert_eq!(stored.epoch, first.epoch);
}

#[tokio::test]
async fn killed_at_every_write_another_ends_up_with_the_same() {
    let runs = (1..=14).flat_map(|nth| [(nth, Fault::Lost), (nth, Fault::Unanswered)]);
    let runs = runs.map(|(nth, fault)| async move {
        let mut bed = Bed::new(&["w1", "w2"]);
        let one = replica(&bed.fake, "a").await;
        let (killed, mut dead) = watch::channel(false);
        let mut count = 0;
        bed.fake.faults(move |asked| {
            count += usize::from(asked.writes());
            let dies = count >= nth;
            if dies {
                killed.send_replace(true);
            }
            match (dies, asked.writes() && count == nth) {
                (true, true) => Some(fault),
                (true, false) => Some(Fault::Lost),
                _ => None,
            }
        });
        let start = async {
            bed.start(&one).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = start => {}
            died = dead.wait_for(|dead| *dead) => { died.unwrap(); }
            () = tokio::time::sleep(Duration::from_secs(12)) => {}
        }
        drop(one);
        bed.fake.well();
        bed.expire();
        let ca = bed.ca();
        let two = replica(&bed.fake, "b").await;
        bed.start(&two).await;
        settled(&bed).await;
        assert!(ca.is_null() || bed.ca() == ca, "{nth} {fault:?}");
        let (leader, term) = bed.lease();
        let led = bed
            .gateways
            .iter()
            .find(|gateway| gateway.disk().leads)
            .unwrap();
        assert_eq!(
            (led.name.as_str(), led.disk().term),
            (leader.as_str(), term)
        );
        let position = led.disk().state.allocations.unwrap().version;
        led.disk
            .subscribe()
            .wait_for(|disk| disk.stored == position)
            .await
            .unwrap();
        assert_eq!(bed.stored().await.allocations, led.disk().state.allocations);
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn two_that_believe_to_be_active_do_no_harm() {
    let mut bed = Bed::new(&["w1", "w2"]);
    let (old_active, new_active) = (
        watch::Sender::new(Activity::Active(1)),
        watch::Sender::new(Activity::Standby),
    );
    let old = believer(&bed.fake, "a", &old_active).await;
    let new = believer(&bed.fake, "b", &new_active).await;
    bed.start(&old).await;
    let first = bed.becomes(0, |disk| disk.leads && disk.stored > 0).await;
    new_active.send_replace(Activity::Active(2));
    for step in 0..60 {
        if step % 5 == 0 {
            bed.gateways[0].allot();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // One leader all the time, in one epoch; what it writes is stored, by either.
    let now = bed.gateways[0].disk();
    assert!(now.leads && now.term > first.term, "{now:?}");
    assert_eq!((now.epoch, now.given), (first.epoch, 1));
    assert!(!bed.gateways[1].disk().leads);
    old_active.send_replace(Activity::Standby);
    bed.gateways[0].allot();
    let last = bed.gateways[0].disk().state.allocations.unwrap();
    bed.becomes(0, |disk| disk.stored == last.version).await;
    assert_eq!(bed.stored().await.allocations, Some(last));
    drop((old, new));
}

#[tokio::test]
async fn whoever_stops_lets_another_act_at_once() {
    let bed = Bed::new(&[]);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (known, running) = run(here(&bed.fake, "a").await, async move {
        let _ = stopped.await;
    });
    let mut activity = known.activity.clone();
    activity.wait_for(|a| a.term().is_some()).await.unwrap();
    let two = replica(&bed.fake, "b").await;
    stop.send(()).unwrap();
    running.over().await;
    let began = Clock::start();
    let mut activity = two.known.activity.clone();
    activity.wait_for(|a| a.term().is_some()).await.unwrap();
    assert!(began.mono_ms() < 3_000);
    assert!(two.running.is_some());
}
