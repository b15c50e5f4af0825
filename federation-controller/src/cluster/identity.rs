//! Shell: this controller's own certificate, made by the CA that it has, and made anew in time.

use std::sync::Arc;
use std::time::Duration;

use causeway_certs::ca::CaError;
use causeway_certs::dial::causes;
use causeway_certs::grant::renew_in;
use causeway_certs::name::Role;
use causeway_certs::tls::{LeafCell, Tls};
use causeway_certs::trust::{Trust, TrustHandle};
use tokio::sync::watch;

use super::api::Trouble;
use super::lease::Activity;
use crate::clock::Clock;
use crate::enrolment::{Issuing, Standing};
use crate::lead::order::Identity;

/// After a failure.
const AGAIN: Duration = Duration::from_secs(60);

/// Keeps it in `identity` under that name, while this controller is active; for ever.
pub async fn keep(
    role: Role,
    mut standing: watch::Receiver<Standing>,
    mut activity: watch::Receiver<Activity>,
    identity: &watch::Sender<Option<Identity>>,
    trouble: Trouble,
    clock: Clock,
) {
    let mut held: Option<(Arc<Issuing>, LeafCell, TrustHandle)> = None;
    loop {
        let active = activity.borrow_and_update().term().is_some();
        let issuing = match &*standing.borrow_and_update() {
            Standing::Ready(issuing) if active => Some(issuing.clone()),
            _ => None,
        };
        let made = match issuing {
            None => {
                held = None;
                identity.send_if_modified(|identity| identity.take().is_some());
                Ok(Duration::MAX)
            }
            Some(issuing) => present(&role, issuing, &mut held, identity, clock),
        };
        let pause = match made {
            Ok(pause) => {
                trouble.over();
                pause
            }
            Err(error) => {
                trouble.is(causes(&error));
                AGAIN
            }
        };
        let woken = tokio::time::timeout(pause, async {
            tokio::select! {
                changed = standing.changed() => changed,
                changed = activity.changed() => changed,
            }
        });
        if let Ok(Err(_)) = woken.await {
            return;
        }
    }
}

/// Makes one where there is none, or where it is time. Says when to look again.
fn present(
    role: &Role,
    issuing: Arc<Issuing>,
    held: &mut Option<(Arc<Issuing>, LeafCell, TrustHandle)>,
    identity: &watch::Sender<Option<Identity>>,
    clock: Clock,
) -> Result<Duration, CaError> {
    let now = clock.wall();
    let left = |cell: &LeafCell| {
        let window = cell.validity();
        Duration::from_millis(window.map_or(0, |window| renew_in(window, 0, now)))
    };
    if let Some((by, cell, trust)) = held
        && Arc::ptr_eq(by, &issuing)
    {
        if left(cell).is_zero() {
            cell.replace(&issuing.authority.own_leaf(role.clone(), now)?)?;
            trust.own_is(&issuing.authority.certificates(now));
        }
        return Ok(left(cell).max(Duration::from_secs(1)));
    }
    let cell = LeafCell::new(&issuing.authority.own_leaf(role.clone(), now)?)?;
    let (home, certificate) = (&issuing.home, issuing.authority.certificate());
    let (cluster, set) = (home.cluster.clone(), home.cluster_set.clone());
    let certificates = issuing.authority.certificates(now);
    let trust = TrustHandle::new(Trust::own_only(cluster, set, &certificates));
    let tls = Tls::new(cell.clone(), trust.clone());
    let next = Identity::new(tls, certificate);
    let pause = left(&cell).max(Duration::from_secs(1));
    *held = Some((issuing, cell, trust));
    identity.send_replace(Some(next));
    Ok(pause)
}
