//! Pure: the annotations of a ServiceExport that steer its traffic. A wrong value counts as none, and is
//! told in the export's condition and as a problem.

use std::collections::BTreeMap;

use causeway_proto::model::{Locality, LossPolicy};

use super::Problems;
use crate::crd::{DEFAULT_WEIGHT, LOCALITY, ON_LOSS, WEIGHT};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steering {
    pub(super) locality: Locality,
    pub(super) weight: u16,
    pub(super) on_loss: LossPolicy,
    /// For the condition, when a value was wrong.
    pub(super) remark: Option<String>,
}

pub(super) fn steering(
    subject: &str,
    annotations: Option<&BTreeMap<String, String>>,
    problems: &mut Problems,
) -> Steering {
    let mut wrong: Vec<String> = Vec::new();
    let value = |key: &str| annotations.and_then(|all| all.get(key)).map(String::as_str);
    let mut refuse = |key: &str, rule: &str, default: &str| {
        let got = value(key).unwrap_or_default();
        wrong.push(format!(
            "annotation {key} is {got:?}, not {rule}; {default} is used"
        ));
    };
    let locality = match value(LOCALITY) {
        None | Some("local-first") => Locality::LocalFirst,
        Some("spread") => Locality::Spread,
        Some(_) => {
            refuse(LOCALITY, "local-first or spread", "local-first");
            Locality::default()
        }
    };
    let weight = match value(WEIGHT).map(str::parse) {
        None => DEFAULT_WEIGHT,
        Some(Ok(weight)) => weight,
        Some(Err(_)) => {
            refuse(WEIGHT, "a number from 0 to 65535", "100");
            DEFAULT_WEIGHT
        }
    };
    let on_loss = match value(ON_LOSS) {
        None | Some("withdraw") => LossPolicy::Withdraw,
        Some("keep") => LossPolicy::Keep,
        Some("failover-only") => LossPolicy::FailoverOnly,
        Some(_) => {
            refuse(ON_LOSS, "withdraw, keep or failover-only", "withdraw");
            LossPolicy::default()
        }
    };
    for message in &wrong {
        problems.bad(subject, message.as_str());
    }
    let remark = (!wrong.is_empty())
        .then(|| format!("The Service can be exported, but {}.", wrong.join("; ")));
    Steering {
        locality,
        weight,
        on_loss,
        remark,
    }
}
