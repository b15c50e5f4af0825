//! Shell: the part of a controller that stands behind the gateways: which controller is active, the cluster's CA, who gets
//! a certificate, which gateway leads, and what it must not lose. Everything starts here, and ends with the returned task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::causes;
use causeway_certs::name::Role;
use causeway_certs::tls::PinnedServer;
use causeway_proto::model::{Digest, Namespace};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::cluster::api::{Trouble, Troubles};
use crate::cluster::appoint::{self, Appointing};
use crate::cluster::ca::Authorities;
use crate::cluster::configuration::{self, Configured, Telling};
use crate::cluster::keeper::{Keeper, Keeping, Stored};
use crate::cluster::lease::{self, Activity};
use crate::cluster::tokens::Tokens;
use crate::cluster::{gateways, identity, pin};
use crate::enrolment::{self, Service, Standing};
use crate::lead::board::Board;
use crate::lead::call::Calls;
use crate::lead::order::{Identity, LeaderLink, Order};
use crate::recovery::Recovery;

/// How often it is looked whether the enrolment certificate is still the one that is published.
const LOOK: Duration = Duration::from_secs(30);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// Where this controller is.
pub struct Here {
    /// Of the API server.
    pub client: Client,
    /// Ours.
    pub namespace: Namespace,
    /// `controller/POD`.
    pub role: Role,
    /// A name that no other process has: the pod's, and something random behind `_`.
    pub me: String,
    /// For the enrolment service.
    pub listener: TcpListener,
    /// The process's clock.
    pub clock: Clock,
    /// What does not work is told there.
    pub troubles: Troubles,
}

/// What the rest of the controller goes by.
#[derive(Clone)]
pub struct Known {
    /// Whether this controller may write.
    pub activity: watch::Receiver<Activity>,
    /// The leading gateway, while this controller is active; it stays the same while nothing about it changes.
    pub leader: watch::Receiver<Option<LeaderLink>>,
    /// Whether certificates can be asked for here.
    pub enrolling: watch::Receiver<bool>,
    /// Where the enrolment service is.
    pub address: Option<SocketAddr>,
}

/// Everything that runs; dropped, it ends at once.
pub struct Running {
    tasks: JoinSet<()>,
    lease: JoinSet<()>,
}

impl Running {
    /// Until `stop` of [`run`] was over and the Lease is released.
    pub async fn over(mut self) {
        self.lease.join_next().await;
        self.tasks.abort_all();
    }
}

/// What all tasks share.
#[derive(Clone)]
struct Shared {
    client: Client,
    place: String,
    me: String,
    activity: watch::Receiver<Activity>,
    troubles: Troubles,
    clock: Clock,
}

/// Starts everything. When `stop` is over, the Lease is released: see [`Running::over`].
#[must_use]
pub fn run(here: Here, stop: impl Future<Output = ()> + Send + 'static) -> (Known, Running) {
    let (active, activity) = watch::channel(Activity::Standby);
    let (client, place) = (here.client.clone(), here.namespace.to_string());
    let (me, clock, troubles) = (here.me.clone(), here.clock, here.troubles.clone());
    let (known, tasks) = serve_while(here, activity);
    let mut lease = JoinSet::new();
    lease.spawn(async move {
        lease::run(client, &place, me, &clock, active, &troubles, stop).await;
    });
    (known, Running { tasks, lease })
}

/// Everything but the Lease, by which `activity` goes.
fn serve_while(here: Here, activity: watch::Receiver<Activity>) -> (Known, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let shared = Shared {
        client: here.client,
        place: here.namespace.to_string(),
        me: here.me,
        activity: activity.clone(),
        troubles: here.troubles,
        clock: here.clock,
    };
    let (configured_told, configured) = watch::channel(None);
    let (recovery_told, recovery) = watch::channel(Recovery::default());
    let (identity_told, own) = watch::channel(None);
    let (enrolling_told, enrolling) = watch::channel(false);
    let (address, listener) = (here.listener.local_addr().ok(), here.listener);

    let board_told = watch::Sender::new(Board::default());
    let board = board_told.subscribe();
    let unwanted = unwanted(&mut tasks, board.clone());
    let (holds, keeper) = hold(&mut tasks, &shared, &configured, recovery, unwanted);
    let orders = appoint(&mut tasks, &shared, &configured, &holds, &board);
    let calls = Calls {
        board: board_told.clone(),
        orders: orders.clone(),
        identity: own.clone(),
        standing: holds.standing.clone(),
        stored: holds.stored,
        keeper,
        clock: shared.clock,
    };
    let troubles = shared.troubles.clone();
    tasks.spawn(gateways::call(calls, activity.clone(), troubles));
    let leader = links(&mut tasks, orders, board.clone(), own);
    let service = Service::new(
        Tokens::new(shared.client.clone(), &shared.place),
        here.namespace,
        holds.standing.clone(),
        recovery_told.clone(),
        addresses(&mut tasks, board),
        shared.clock,
    );
    tasks.spawn(forget(holds.standing.clone(), recovery_told));
    let (role, standing) = (here.role, holds.standing);
    tasks.spawn(own_identity(shared.clone(), role, standing, identity_told));
    tasks.spawn(watching(shared.clone(), configured_told, board_told));
    tasks.spawn(serve(shared, listener, Arc::new(service), enrolling_told));
    let known = Known {
        activity,
        leader,
        enrolling,
        address,
    };
    (known, tasks)
}

/// This controller's own certificate, kept fresh.
async fn own_identity(
    shared: Shared,
    role: Role,
    standing: watch::Receiver<Standing>,
    told: watch::Sender<Option<Identity>>,
) {
    let trouble = shared.troubles.of("own certificate");
    identity::keep(
        role,
        standing,
        shared.activity,
        &told,
        trouble,
        shared.clock,
    )
    .await;
}

/// What the API server says of configuration and gateways.
async fn watching(
    shared: Shared,
    configured: watch::Sender<Option<Configured>>,
    board: watch::Sender<Board>,
) {
    let (client, troubles) = (shared.client, &shared.troubles);
    tokio::join!(
        configuration::follow(client.clone(), &configured, troubles),
        gateways::watch(client, &shared.place, &board, troubles, shared.clock),
    );
}

/// What this controller holds for the cluster.
struct Holds {
    standing: watch::Receiver<Standing>,
    stored: watch::Receiver<Option<Stored>>,
}

/// The CA, and what a leader must not lose.
fn hold(
    tasks: &mut JoinSet<()>,
    shared: &Shared,
    configured: &watch::Receiver<Option<Configured>>,
    recovery: watch::Receiver<Recovery>,
    unwanted: watch::Receiver<Option<Digest>>,
) -> (Holds, Keeper) {
    let (client, place) = (shared.client.clone(), &shared.place);
    let (activity, troubles, clock) = (shared.activity.clone(), &shared.troubles, shared.clock);
    let keeping = Keeping::new(
        client.clone(),
        place,
        &shared.me,
        activity.clone(),
        troubles,
        clock,
    );
    let (keeping, keeper, stored) = keeping;
    let home = part(tasks, configured.clone(), |now| now.home.clone());
    let (authorities, standing) = Authorities::new(
        client,
        place,
        home,
        activity,
        recovery,
        unwanted,
        keeper.clone(),
        troubles,
        clock,
    );
    tasks.spawn(keeping.run());
    tasks.spawn(authorities.run());
    (Holds { standing, stored }, keeper)
}

/// The CA that an operator wants another one for, by the leader's word.
fn unwanted(
    tasks: &mut JoinSet<()>,
    mut board: watch::Receiver<Board>,
) -> watch::Receiver<Option<Digest>> {
    let (told, known) = watch::channel(None);
    tasks.spawn(async move {
        loop {
            let now = board.borrow_and_update().unwanted_authority();
            replace(&told, now);
            if board.changed().await.is_err() {
                return;
            }
        }
    });
    known
}

/// Who leads, and the word about it in the configuration's status.
fn appoint(
    tasks: &mut JoinSet<()>,
    shared: &Shared,
    configured: &watch::Receiver<Option<Configured>>,
    holds: &Holds,
    board: &watch::Receiver<Board>,
) -> watch::Receiver<Option<Arc<Order>>> {
    let known = appoint::Known {
        activity: shared.activity.clone(),
        board: board.clone(),
        settings: part(tasks, configured.clone(), |now| now.settings.clone()),
        standing: holds.standing.clone(),
        stored: holds.stored.clone(),
    };
    let (client, place, troubles) = (shared.client.clone(), &shared.place, &shared.troubles);
    let (appointing, orders) = Appointing::new(client, place, known, troubles, shared.clock);
    tasks.spawn(appointing.run());
    let telling = Telling {
        configured: configured.clone(),
        activity: shared.activity.clone(),
        board: board.clone(),
        orders: orders.clone(),
        standing: holds.standing.clone(),
        clock: shared.clock,
    };
    let (client, troubles) = (shared.client.clone(), troubles.clone());
    tasks.spawn(async move { telling.run(client, &troubles).await });
    orders
}

/// A part of the configuration, which wakes only whom it concerns.
fn part<T: PartialEq + Send + Sync + 'static>(
    tasks: &mut JoinSet<()>,
    mut configured: watch::Receiver<Option<Configured>>,
    of: impl Fn(&Configured) -> T + Send + 'static,
) -> watch::Receiver<Option<T>> {
    let (told, known) = watch::channel(None);
    tasks.spawn(async move {
        loop {
            let now = configured.borrow_and_update().as_ref().map(&of);
            if now.is_some() {
                replace(&told, now);
            }
            if configured.changed().await.is_err() {
                return;
            }
        }
    });
    known
}

fn replace<T: PartialEq>(told: &watch::Sender<T>, next: T) {
    told.send_if_modified(|now| {
        let changed = *now != next;
        *now = next;
        changed
    });
}

/// Where the leader is, once it leads; it stays until another does.
fn links(
    tasks: &mut JoinSet<()>,
    mut orders: watch::Receiver<Option<Arc<Order>>>,
    mut board: watch::Receiver<Board>,
    mut identity: watch::Receiver<Option<Identity>>,
) -> watch::Receiver<Option<LeaderLink>> {
    let (told, leader) = watch::channel::<Option<LeaderLink>>(None);
    tasks.spawn(async move {
        loop {
            let order = orders.borrow_and_update().clone();
            let own = identity.borrow_and_update().clone();
            let next = {
                let board = board.borrow_and_update();
                link(order.as_deref(), own, &board, told.borrow().as_ref())
            };
            told.send_if_modified(|now| {
                let same = match (&*now, &next) {
                    (Some(now), Some(next)) => now.is_same(next),
                    (None, None) => true,
                    _ => false,
                };
                *now = next;
                !same
            });
            let changed = tokio::select! {
                changed = orders.changed() => changed,
                changed = board.changed() => changed,
                changed = identity.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    });
    leader
}

fn link(
    order: Option<&Order>,
    identity: Option<Identity>,
    board: &Board,
    held: Option<&LeaderLink>,
) -> Option<LeaderLink> {
    let (order, identity) = (order?, identity?);
    let held = held.filter(|held| held.gateway == order.leader);
    let leads = board
        .hello(&order.leader)
        .is_some_and(|hello| order.is_led_by(hello));
    let place = board.place(&order.leader);
    let address = place.map(|place| place.address.clone());
    let address = address.filter(|_| leads || held.is_some());
    Some(LeaderLink {
        gateway: order.leader.clone(),
        address: address.or(held.map(|held| held.address.clone()))?,
        identity,
    })
}

/// Once there is a CA, what gateways said before is of no use any more.
async fn forget(mut standing: watch::Receiver<Standing>, recovery: watch::Sender<Recovery>) {
    loop {
        if matches!(&*standing.borrow_and_update(), Standing::Ready(_)) {
            replace(&recovery, Recovery::default());
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}

/// Where gateways are, for those who enrol.
fn addresses(
    tasks: &mut JoinSet<()>,
    mut board: watch::Receiver<Board>,
) -> watch::Receiver<Vec<String>> {
    let (told, known) = watch::channel(Vec::new());
    tasks.spawn(async move {
        loop {
            let addresses: Vec<_> = {
                let board = board.borrow_and_update();
                let places = board.places();
                places.map(|(_, place)| place.address.clone()).collect()
            };
            replace(&told, addresses);
            if board.changed().await.is_err() {
                return;
            }
        }
    });
    known
}

/// Certificates for whoever asks, under the certificate that is published; for ever.
async fn serve(
    shared: Shared,
    listener: TcpListener,
    service: Arc<Service<Tokens>>,
    serving: watch::Sender<bool>,
) {
    let (client, namespace) = (&shared.client, &shared.place);
    let trouble = &shared.troubles.of("Secret causeway-enrolment");
    let mut listener = Some(listener);
    let address = listener.as_ref().and_then(|l| l.local_addr().ok());
    loop {
        let Ok(server) = pin::ensure(client, namespace)
            .await
            .inspect_err(|error| trouble.is(causes(error)))
        else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let bound = match (listener.take(), address) {
            (Some(bound), _) => Ok(bound),
            (None, Some(address)) => TcpListener::bind(address).await,
            (None, None) => return,
        };
        let bound = match bound {
            Ok(bound) => bound,
            Err(error) => {
                trouble.is(causes(&error));
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        trouble.over();
        serving.send_replace(true);
        tokio::select! {
            ended = enrolment::run(bound, &server, service.clone()) => {
                if let Err(error) = ended {
                    trouble.is(causes(&error));
                }
            }
            () = replaced(client, namespace, &server, trouble) => {
                tracing::warn!("the enrolment certificate is another one by now");
            }
        }
        serving.send_replace(false);
    }
}

/// Until another certificate is published; it is put back when it is gone.
async fn replaced(client: &Client, namespace: &str, server: &PinnedServer, trouble: &Trouble) {
    loop {
        tokio::time::sleep(LOOK).await;
        match pin::put_back(client, namespace, server).await {
            Ok(now) if now.certificate_pem() != server.certificate_pem() => return,
            Ok(_) => trouble.over(),
            Err(error) => trouble.is(causes(&error)),
        }
    }
}

#[cfg(test)]
mod tests;
