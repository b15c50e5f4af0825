//! Pure: an answer of the gateway's DNS.

use causeway_proto::model::Resolution;
use serde::Serialize;

use super::Show;
use crate::text::columns;

/// What `causeway resolve` prints.
#[derive(Debug, Serialize)]
pub struct ResolutionForm {
    name: String,
    kind: String,
    code: String,
    records: Vec<RecordForm>,
}

#[derive(Debug, Serialize)]
struct RecordForm {
    name: String,
    ttl_secs: u32,
    kind: String,
    data: String,
}

impl ResolutionForm {
    /// Of an answer.
    pub fn of(r: &Resolution) -> Self {
        let records = r.records.iter().map(|r| RecordForm {
            name: r.name.clone(),
            ttl_secs: r.ttl_secs,
            kind: r.kind.clone(),
            data: r.data.clone(),
        });
        Self {
            name: r.name.clone(),
            kind: r.kind.clone(),
            code: r.code.clone(),
            records: records.collect(),
        }
    }
}

impl Show for ResolutionForm {
    fn text(&self) -> String {
        if self.records.is_empty() {
            return format!("{} {}: {}, no records\n", self.name, self.kind, self.code);
        }
        let row = |r: &RecordForm| {
            vec![
                r.name.clone(),
                r.ttl_secs.to_string(),
                r.kind.clone(),
                r.data.clone(),
            ]
        };
        columns(&self.records.iter().map(row).collect::<Vec<_>>())
    }
}
