//! Shell: the part of a controller that stands behind the gateways: which controller is active, the cluster's CA, who gets
//! a certificate, which gateway leads, and what it must not lose. Everything starts here, and ends with the returned task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway_certs::dial::causes;
use causeway_certs::name::Role;
use causeway_certs::tls::PinnedServer;
use causeway_proto::model::Namespace;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::cluster::api::{Trouble, Troubles};
use crate::cluster::appoint::{self, Appointing};
use crate::cluster::ca::Authorities;
use crate::cluster::configuration::{self, Configured, Telling};
use crate::cluster::keeper::Keeping;
use crate::cluster::lease::{self, Activity};
use crate::cluster::tokens::Tokens;
use crate::cluster::{gateways, identity, pin};
use crate::enrolment::{self, Home, Service, Standing};
use crate::lead::board::Board;
use crate::lead::call::Calls;
use crate::lead::order::{LeaderLink, Order};
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

/// Starts everything. When `stop` is over, the Lease is released: see [`Running::over`].
#[must_use]
pub fn run(here: Here, stop: impl Future<Output = ()> + Send + 'static) -> (Known, Running) {
    let Here {
        client,
        namespace,
        role,
        me,
        listener,
        clock,
        troubles,
    } = here;
    let place = namespace.to_string();
    let (active, activity) = watch::channel(Activity::Standby);
    let (configured_told, configured) = watch::channel(None);
    let (home_told, home) = watch::channel(None);
    let (settings_told, settings) = watch::channel(None);
    let board_told = watch::Sender::new(Board::default());
    let board = board_told.subscribe();
    let (recovery_told, recovery) = watch::channel(Recovery::default());
    let (identity_told, own) = watch::channel(None);
    let (link_told, leader) = watch::channel(None);
    let (addresses_told, addresses) = watch::channel(Vec::new());
    let (enrolling_told, enrolling) = watch::channel(false);
    let address = listener.local_addr().ok();

    let (keeping, keeper, stored) = Keeping::new(
        client.clone(),
        &place,
        &me,
        activity.clone(),
        &troubles,
        clock,
    );
    let (authorities, standing) = Authorities::new(
        client.clone(),
        &place,
        home,
        activity.clone(),
        recovery,
        keeper.clone(),
        &troubles,
        clock,
    );
    let known = appoint::Known {
        activity: activity.clone(),
        board: board.clone(),
        settings,
        standing: standing.clone(),
        stored: stored.clone(),
    };
    let (appointing, orders) = Appointing::new(client.clone(), &place, known, &troubles, clock);
    let calls = Calls {
        board: board_told.clone(),
        orders: orders.clone(),
        identity: own.clone(),
        standing: standing.clone(),
        stored,
        keeper,
        clock,
    };
    let telling = Telling {
        configured: configured.clone(),
        activity: activity.clone(),
        board: board.clone(),
        orders: orders.clone(),
        standing: standing.clone(),
        clock,
    };
    let service = Arc::new(Service::new(
        Tokens::new(client.clone(), &place),
        namespace,
        standing.clone(),
        recovery_told.clone(),
        addresses,
        clock,
    ));

    let mut tasks = JoinSet::new();
    tasks.spawn(keeping.run());
    tasks.spawn(authorities.run());
    tasks.spawn(appointing.run());
    tasks.spawn(gateways::call(calls, activity.clone(), troubles.clone()));
    tasks.spawn(split(configured, home_told, settings_told));
    tasks.spawn(links(orders, board.clone(), own, link_told));
    tasks.spawn(forget(standing.clone(), recovery_told));
    tasks.spawn(list(board, addresses_told));
    let trouble = troubles.of("own certificate");
    let active_now = activity.clone();
    tasks.spawn(async move {
        identity::keep(role, standing, active_now, &identity_told, trouble, clock).await;
    });
    let (to, told) = (client.clone(), troubles.clone());
    tasks.spawn(async move { configuration::follow(to, &configured_told, &told).await });
    let (to, told) = (client.clone(), troubles.clone());
    tasks.spawn(async move { telling.run(to, &told).await });
    let (to, told, in_place) = (client.clone(), troubles.clone(), place.clone());
    tasks.spawn(async move { gateways::watch(to, &in_place, &board_told, &told, clock).await });
    let (to, in_place) = (client.clone(), place.clone());
    let trouble = troubles.of("Secret causeway-enrolment");
    tasks.spawn(async move {
        serve(&to, &in_place, listener, service, enrolling_told, &trouble).await;
    });
    let mut holding = JoinSet::new();
    holding.spawn(async move {
        lease::run(client, &place, me, &clock, active, &troubles, stop).await;
    });
    let known = Known {
        activity,
        leader,
        enrolling,
        address,
    };
    let running = Running {
        tasks,
        lease: holding,
    };
    (known, running)
}

/// The configuration's parts, each of which wakes only whom it concerns.
async fn split(
    mut configured: watch::Receiver<Option<Configured>>,
    home: watch::Sender<Option<Home>>,
    settings: watch::Sender<Option<crate::lead::settings::Settings>>,
) {
    loop {
        let now = configured.borrow_and_update().clone();
        if let Some(now) = now {
            replace(&home, Some(now.home));
            replace(&settings, Some(now.settings));
        }
        if configured.changed().await.is_err() {
            return;
        }
    }
}

fn replace<T: PartialEq>(told: &watch::Sender<T>, next: T) {
    told.send_if_modified(|now| {
        let changed = *now != next;
        *now = next;
        changed
    });
}

/// Where the leader is, once it leads; it stays until another does.
async fn links(
    mut orders: watch::Receiver<Option<Arc<Order>>>,
    mut board: watch::Receiver<Board>,
    mut identity: watch::Receiver<Option<crate::lead::order::Identity>>,
    told: watch::Sender<Option<LeaderLink>>,
) {
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
}

fn link(
    order: Option<&Order>,
    identity: Option<crate::lead::order::Identity>,
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
async fn list(mut board: watch::Receiver<Board>, told: watch::Sender<Vec<String>>) {
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
}

/// Certificates for whoever asks, under the certificate that is published; for ever.
async fn serve(
    client: &Client,
    namespace: &str,
    listener: TcpListener,
    service: Arc<Service<Tokens>>,
    serving: watch::Sender<bool>,
    trouble: &Trouble,
) {
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
        match pin::ensure(client, namespace).await {
            Ok(now) if now.certificate_pem() != server.certificate_pem() => return,
            Ok(_) => trouble.over(),
            Err(error) => trouble.is(causes(&error)),
        }
    }
}
