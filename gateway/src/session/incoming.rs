//! Pure: a Snapshot that arrives part by part; it counts only when it is whole.

use std::collections::BTreeMap;

use causeway_proto::limits::{PARTS, VIEW_BYTES};
use causeway_proto::model::{
    CatalogDelta, PartKey, SignedHeader, SignedPart, SnapshotBegin, SnapshotEnd,
};

#[derive(Debug, Clone)]
pub(super) struct Incoming {
    header: SignedHeader,
    parts: BTreeMap<PartKey, SignedPart>,
    bytes: usize,
}

impl Incoming {
    pub fn begin(begin: SnapshotBegin) -> Result<Self, String> {
        let count = begin.header.header.parts;
        if usize::try_from(count).is_ok_and(|n| n <= PARTS) {
            Ok(Self {
                header: begin.header,
                parts: BTreeMap::new(),
                bytes: 0,
            })
        } else {
            Err(format!("a Snapshot of {count} parts; at most {PARTS}"))
        }
    }

    pub fn part(&mut self, part: SignedPart) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(part.bytes.len());
        if self.bytes > VIEW_BYTES {
            return Err(format!("a Snapshot of more than {VIEW_BYTES} bytes"));
        }
        let key = part.key.clone();
        if self.parts.insert(key.clone(), part).is_some() {
            return Err(format!("a Snapshot with {key} twice"));
        }
        if u32::try_from(self.parts.len()).is_ok_and(|n| n <= self.header.header.parts) {
            Ok(())
        } else {
            Err("a Snapshot with more parts than its header says".to_owned())
        }
    }

    pub fn end(self, end: SnapshotEnd) -> Result<CatalogDelta, String> {
        let said = self.header.header.parts;
        if u32::try_from(self.parts.len()) != Ok(said) {
            let came = self.parts.len();
            return Err(format!("a truncated Snapshot: {came} of {said} parts"));
        }
        if end.revision != self.header.header.revision {
            return Err("the end of another Snapshot".to_owned());
        }
        Ok(CatalogDelta {
            from: None,
            header: self.header,
            parts: self.parts.into_values().collect(),
            removed: Vec::new(),
        })
    }
}
