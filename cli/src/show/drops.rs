//! Pure: dropped packets.

use std::collections::BTreeMap;

use causeway_proto::model::NodeName;
use serde::Serialize;

use super::Show;
use crate::text::table;

/// What `causeway drops` prints.
#[derive(Debug, Serialize)]
pub struct DropsForm {
    drops: Vec<DropForm>,
}

/// One reason on one node.
#[derive(Debug, Serialize)]
pub struct DropForm {
    node: String,
    reason: String,
    packets: u64,
}

impl DropForm {
    /// Of one count.
    pub fn of(((node, reason), packets): (&(NodeName, String), &u64)) -> Self {
        Self {
            node: node.to_string(),
            reason: reason.clone(),
            packets: *packets,
        }
    }
}

/// A table of what was dropped at all.
pub fn drops_text(drops: &[DropForm]) -> String {
    let dropped = drops.iter().filter(|d| d.packets > 0);
    let rows = dropped.map(|d| vec![d.node.clone(), d.reason.clone(), d.packets.to_string()]);
    match table(&["NODE", "DROPPED BECAUSE", "PACKETS"], rows.collect()) {
        rows if rows.is_empty() => "no packet dropped\n".to_owned(),
        rows => rows,
    }
}

impl DropsForm {
    /// Of all counts.
    pub fn of(drops: &BTreeMap<(NodeName, String), u64>) -> Self {
        Self {
            drops: drops.iter().map(DropForm::of).collect(),
        }
    }
}

impl Show for DropsForm {
    fn text(&self) -> String {
        drops_text(&self.drops)
    }
}
