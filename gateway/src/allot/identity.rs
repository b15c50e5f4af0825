//! Pure: numbers of workload identities; one per distinct (namespace, service account, labels).

use std::collections::BTreeSet;

use causeway_proto::model::{
    Allocations, Allotted, Exports, Identity, IdentityNumber, Problem, ProblemKind, Timestamp,
    Workload,
};

use super::{rested, start};

/// Who a workload is to policy.
#[must_use]
pub fn of(workload: &Workload) -> Identity {
    Identity {
        namespace: workload.namespace.clone(),
        service_account: workload.service_account.clone(),
        labels: workload.labels.clone(),
    }
}

pub(super) fn allot(
    next: &mut Allocations,
    exports: &Exports,
    now: Timestamp,
    problems: &mut Vec<Problem>,
) {
    let wanted: BTreeSet<Identity> = exports.workloads.values().map(of).collect();
    for held in next.identities.values_mut() {
        held.freed = match (wanted.contains(&held.value), held.freed) {
            (true, _) => None,
            (false, None) => Some(now),
            // By a clock that has gone back since: its rest begins now.
            (false, Some(since)) => Some(since.min(now)),
        };
    }
    next.identities.retain(|_, held| !rested(held.freed, now));
    let known: BTreeSet<Identity> = next.identities.values().map(|h| h.value.clone()).collect();
    let mut missing = 0u32;
    for identity in wanted.difference(&known) {
        match free(next, identity) {
            Some(number) => {
                let value = identity.clone();
                next.identities
                    .insert(number, Allotted { value, freed: None });
            }
            None => missing = missing.saturating_add(1),
        }
    }
    if missing > 0 {
        problems.push(Problem {
            kind: ProblemKind::LimitReached,
            subject: "identities".to_owned(),
            message: format!(
                "all 65534 numbers are taken or rest; {missing} identities count as unknown: list fewer labels"
            ),
        });
    }
}

fn free(next: &Allocations, identity: &Identity) -> Option<IdentityNumber> {
    let all = u64::from(IdentityNumber::MAX);
    if u64::try_from(next.identities.len()).is_ok_and(|n| n >= all) {
        return None;
    }
    let name = format!(
        "{} {} {:?}",
        identity.namespace, identity.service_account, identity.labels
    );
    let first = start(&name, all);
    (0..all).find_map(|step| {
        let n = first.checked_add(step)?.checked_rem(all)?;
        let number = IdentityNumber(u16::try_from(n.checked_add(1)?).ok()?);
        (!next.identities.contains_key(&number)).then_some(number)
    })
}
