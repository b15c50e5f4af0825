//! A controller appoints the leader: certificates by token, the office with the CA, what is stored, and a leader that moves
//! while everybody goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use causeway_certs::ca::Authority;
use causeway_certs::health::{Probe, ask, beside};
use causeway_gateway::app::wall_clock;
use causeway_proto::model::{Address, LeaderState, ServiceName, View};

use super::controller::{Controller, Lead};
use super::harness::{Cluster, eventually, exports, pair, until};

async fn health(gateway: &Cluster, probe: Probe) -> Result<(), String> {
    let socket = beside(&gateway.running().addresses.socket);
    ask(&socket, probe).await.map_err(|e| e.to_string())
}

fn cart() -> ServiceName {
    "shop/cart".parse().unwrap()
}

/// Whether the CA is on a gateway's disk.
fn has_ca(gateway: &Cluster) -> bool {
    let (cluster, set) = ("east".parse().unwrap(), "test".parse().unwrap());
    let kept = Authority::load(&gateway.state_dir(), &cluster, &set, wall_clock());
    kept.unwrap().is_some()
}

/// Says until told to stop whether the import was ever gone, stale or elsewhere.
struct Steady {
    broken: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Steady {
    fn watch(gateway: &Cluster, vip: Option<Address>) -> Self {
        let broken = Arc::new(AtomicBool::new(false));
        let (mut views, seen) = (gateway.running().core.views(), Arc::clone(&broken));
        let well = move |view: &View| {
            let import = view.imports.get(&cart());
            import.is_some_and(|i| !i.stale && i.vip == vip && i.shares.len() == 1)
        };
        let task = tokio::spawn(async move {
            loop {
                if !well(&views.borrow_and_update()) {
                    seen.store(true, Ordering::SeqCst);
                }
                if views.changed().await.is_err() {
                    return;
                }
            }
        });
        Self { broken, task }
    }

    fn held(self) {
        self.task.abort();
        assert!(
            !self.broken.load(Ordering::SeqCst),
            "withdrawn for a moment"
        );
    }
}

struct Bed {
    controller: Controller,
    g1: Cluster,
    g2: Cluster,
    c1: Lead,
    c2: Lead,
}

/// g1 is appointed in term 1.
async fn bed() -> Bed {
    let controller = Controller::start().await;
    let g1 = Cluster::appointed("east", "g1", &controller.enrolment()).await;
    let g2 = Cluster::appointed("east", "g2", &controller.enrolment()).await;
    // There is nothing on their disks that a controller should wait for.
    let asked = controller.known.lock().unwrap().asked.clone();
    assert!(!asked.is_empty() && asked.iter().all(|(_, held)| held.is_none()));
    let (mut c1, mut c2) = (controller.leads(&g1).await, controller.leads(&g2).await);
    let hello = c2.until("a hello", |h| h.hello.is_some()).await;
    let hello = hello.hello();
    assert_eq!((hello.term, &hello.leader, hello.leads), (0, &None, false));
    assert_eq!(hello.local_address, g2.local());
    let why = health(&g1, Probe::Ready).await.unwrap_err();
    assert!(why.contains("appointed no leader"), "{why}");
    health(&g1, Probe::Live).await.unwrap();

    c1.appoint(1, &g1, 0, Some(controller.state())).await;
    c2.appoint(1, &g1, 0, None).await;
    c1.until("leads", |h| h.hello.as_ref().is_some_and(|h| h.leads))
        .await;
    c2.until("follows", |h| h.hello.as_ref().is_some_and(|h| h.term == 1))
        .await;
    Bed {
        controller,
        g1,
        g2,
        c1,
        c2,
    }
}

/// The west, which has nothing to offer, joined by a token of this gateway's.
async fn paired(gateway: &Cluster) -> Cluster {
    let west = Cluster::start("west", "w1").await;
    pair(gateway, &west).await;
    west.publish(exports("w1", &[])).await;
    west
}

/// Another controller becomes the active one and leaves the leader where it is.
async fn another_term(controller: &Controller, g1: &Cluster, c1: &mut Lead, c2: &mut Lead) {
    let before = g1.running().core.facts();
    c1.appoint(2, g1, before.epoch, Some(controller.state()))
        .await;
    c2.appoint(2, g1, before.epoch, None).await;
    c1.until("the new term", |h| h.hello().term == 2).await;
    c2.until("the new term", |h| h.hello().term == 2).await;
    let after = g1.running().core.facts();
    assert_eq!(
        (after.epoch, after.revision),
        (before.epoch, before.revision)
    );
}

/// Who was the active controller before is refused, and told why.
async fn refused(controller: &Controller, c1: &mut Lead, g1: &Cluster, g2: &Cluster) {
    c1.appoint(2, g1, 0, Some(controller.state())).await;
    let heard = c1.until("a refusal", |h| h.refused.is_some()).await;
    let refused = heard.refused.unwrap();
    assert_eq!((refused.term, refused.leader), (3, Some(g2.name())));
    assert_eq!(refused.why, "term 2 is over: term 3 has begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_moves_and_nothing_is_withdrawn() {
    let Bed {
        controller,
        g1,
        g2,
        mut c1,
        mut c2,
    } = bed().await;
    assert!(has_ca(&g1) && !has_ca(&g2));
    // Answered once the controller has stored what it needs.
    g1.publish(exports("g1", &["10.244.1.5"])).await;
    let stored = c1.heard.borrow().stored.clone();
    assert!(stored.allocations.unwrap().vips.contains_key(&cart()));
    let west = paired(&g1).await;
    let seen = |view: &View| view.imports.get(&cart()).is_some_and(|i| i.vip.is_some());
    let here = until(&g2, "followed", seen).await;
    let there = until(&west, "imported", seen).await;
    for gateway in [&g1, &g2] {
        health(gateway, Probe::Ready).await.unwrap();
    }

    let before = g1.running().core.facts();
    another_term(&controller, &g1, &mut c1, &mut c2).await;

    // It moves the leader; the new one hears it first.
    let vip = |view: &View| view.imports[&cart()].vip;
    let steady = [
        Steady::watch(&g1, vip(&here)),
        Steady::watch(&g2, vip(&here)),
        Steady::watch(&west, vip(&there)),
    ];
    let state = LeaderState {
        authority: controller.state().authority,
        ..c1.heard.borrow().stored.clone()
    };
    c2.appoint(3, &g2, before.epoch, Some(state)).await;
    c2.until("leads", |h| h.hello().leads).await;
    c1.appoint(3, &g2, before.epoch, None).await;
    c1.until("follows", |h| !h.hello().leads).await;
    eventually("a catalog of the new epoch, there too", || {
        let facts = west.running().core.facts();
        let east = facts.peers.get(&"east".parse().unwrap()).cloned();
        east.and_then(|p| p.held)
            .is_some_and(|r| r.epoch > before.epoch)
    })
    .await;
    until(&g1, "the new leader followed", |view| {
        view.frozen_since.is_none()
    })
    .await;
    assert!(has_ca(&g2) && !has_ca(&g1), "the CA goes with the office");

    refused(&controller, &mut c1, &g1, &g2).await;

    // The new one decides and signs.
    for steady in steady {
        steady.held();
    }
    let more = ["10.244.1.5", "10.244.1.6", "10.244.1.7", "10.244.1.8"];
    g2.publish(exports("g1", &more)).await;
    until(&west, "all endpoints", |view| {
        let share = view.imports[&cart()].shares.get(&"east".parse().unwrap());
        share.is_some_and(|share| share.ready == 4)
    })
    .await;
    let held = c2.heard.borrow().stored.clone();
    assert!(
        held.trust
            .unwrap()
            .bundles
            .contains_key(&"west".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_says_so_and_waits_for_the_next() {
    let Bed {
        controller,
        g1,
        g2,
        mut c1,
        mut c2,
    } = bed().await;
    g1.publish(exports("g1", &["10.244.1.5"])).await;
    let stopping = tokio::spawn(g1.drain());
    let heard = c1.until("draining", |h| h.hello().draining).await;
    assert!(heard.hello().leads && !stopping.is_finished());
    let state = LeaderState {
        authority: controller.state().authority,
        ..heard.stored.clone()
    };
    let epoch = heard.hello().epoch;
    c2.appoint(2, &g2, epoch, Some(state.clone())).await;
    c2.until("leads", |h| h.hello().leads).await;
    c1.appoint(2, &g2, epoch, None).await;
    stopping.await.unwrap();
    until(&g2, "decided on", |view| view.imports.contains_key(&cart())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_lost_its_store_is_offered_what_is_held() {
    let Bed {
        controller,
        mut g1,
        mut g2,
        c1,
        c2,
    } = bed().await;
    g1.publish(exports("g1", &["10.244.1.5"])).await;
    until(&g2, "followed", |view| view.imports.contains_key(&cart())).await;
    drop((c1, c2));
    let before = controller.known.lock().unwrap().authority.take().unwrap();
    controller.known.lock().unwrap().asked.clear();
    // With good certificates on their disks they ask all the same, and serve meanwhile.
    g1.restart().await;
    g2.restart().await;
    eventually("offers of both", || {
        let known = controller.known.lock().unwrap();
        let from = |role: &str| known.offers.iter().any(|o| o.role == role);
        from("gateway/g1") && from("gateway/g2")
    })
    .await;
    {
        let known = controller.known.lock().unwrap();
        assert!(known.asked.iter().all(|(_, held)| held.is_some()));
        let offer = |role: &str| known.offers.iter().find(|o| o.role == role).unwrap();
        let leader = offer("gateway/g1");
        assert_eq!(leader.state.authority.as_ref(), Some(before.material()));
        let held = leader.state.allocations.as_ref().unwrap();
        assert!(held.vips.contains_key(&cart()) && held.rings.is_empty());
        let follower = &offer("gateway/g2").state;
        assert!(follower.authority.is_none() && follower.allocations.is_some());
    }
    until(&g2, "from disk", |view| view.imports.contains_key(&cart())).await;
    // It takes what it was offered, and appoints in a term above all.
    controller.known.lock().unwrap().authority = Some(before);
    let mut c1 = controller.leads(&g1).await;
    let heard = c1.until("a hello", |h| h.hello.is_some()).await;
    assert!(heard.hello().leads, "by the word on its disk");
    c1.appoint(heard.hello().term + 1, &g1, heard.hello().epoch, None)
        .await;
    c1.until("stored anew", |h| h.stored.allocations.is_some())
        .await;
}

/// Its node is gone with its disk, and no other gateway ever followed: what the controller stored is all there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_lost_with_its_disk_is_followed_by_one_that_knew_nothing() {
    let controller = Controller::start().await;
    let mut g1 = Cluster::appointed("east", "g1", &controller.enrolment()).await;
    let mut c1 = controller.leads(&g1).await;
    c1.appoint(1, &g1, 0, Some(controller.state())).await;
    c1.until("leads", |h| h.hello.as_ref().is_some_and(|h| h.leads))
        .await;
    g1.publish(exports("g1", &["10.244.1.5"])).await;
    let west = paired(&g1).await;
    let seen = |view: &View| view.imports.get(&cart()).is_some_and(|i| i.vip.is_some());
    let there = until(&west, "imported", seen).await;
    let here = until(&g1, "offered", seen).await;
    c1.until("the peer stored", |h| {
        let trust = h.stored.trust.as_ref();
        trust.is_some_and(|t| t.bundles.contains_key(&"west".parse().unwrap()))
    })
    .await;
    let stored = c1.heard.borrow().clone();
    g1.kill();

    let steady = Steady::watch(&west, there.imports[&cart()].vip);
    let g3 = Cluster::appointed("east", "g3", &controller.enrolment()).await;
    let mut c3 = controller.leads(&g3).await;
    let epoch = stored.hello().epoch;
    let state = LeaderState {
        authority: controller.state().authority,
        ..stored.stored
    };
    c3.appoint(2, &g3, epoch, Some(state)).await;
    c3.until("leads", |h| h.hello.as_ref().is_some_and(|h| h.leads))
        .await;
    g3.publish(exports("g1", &["10.244.1.5"])).await;
    let now = until(&g3, "offered again", seen).await;
    let vip = |view: &View| view.imports[&cart()].vip;
    assert_eq!((vip(&now), now.seed), (vip(&here), here.seed));
    eventually("the new epoch, there too", || {
        let facts = west.running().core.facts();
        let east = facts.peers.get(&"east".parse().unwrap()).cloned();
        east.and_then(|p| p.held).is_some_and(|r| r.epoch > epoch)
    })
    .await;
    steady.held();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_ends_the_start() {
    let controller = Controller::start().await;
    controller.token_is("somebody else's");
    let started = Cluster::try_appointed("east", "g1", &controller.enrolment()).await;
    let why = started.err().unwrap();
    assert!(why.contains("no such token"), "{why}");
}
