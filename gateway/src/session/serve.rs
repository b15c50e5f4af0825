//! Pure: what the other side gets of the own catalog: what it asked for, then every change, one at a time. The
//! next one is made when the one before was answered, from what is true then.

use std::collections::{BTreeSet, VecDeque};

use causeway_proto::limits::PARTS;
use causeway_proto::model::{Frame, Held, PartKey, SnapshotBegin, SnapshotEnd, Want};

use crate::catalog::{Answer, Own};

#[derive(Debug, Clone, Default)]
pub(super) struct Serving {
    /// Asked for, and what it held then; `None`: it has not asked.
    subscribed: bool,
    has: Option<Held>,
    /// A question that is answered in any case.
    question: bool,
    parts: BTreeSet<PartKey>,
    /// Sent and not yet answered.
    open: Option<Held>,
    frames: VecDeque<Frame>,
}

impl Serving {
    pub fn next(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    pub fn wanted(&mut self, want: Want) {
        match want {
            Want::Snapshot => self.has = None,
            Want::Since(held) => self.has = Some(held),
            Want::Parts(keys) => {
                self.parts.extend(keys);
                self.open = None;
                if self.parts.len() <= PARTS {
                    return;
                }
                // More than there can be: whoever asks for that without reading gets all of it once.
                self.parts.clear();
                self.has = None;
            }
        }
        self.subscribed = true;
        self.question = true;
        self.open = None;
    }

    #[cfg(test)]
    pub fn asked(&self) -> usize {
        self.parts.len()
    }

    pub fn acknowledged(&mut self, held: Held) {
        self.has = Some(held);
        if self.open == Some(held) {
            self.open = None;
        }
    }

    /// It will not take this one; there is no use in sending it again.
    pub fn refused(&mut self) {
        if let Some(open) = self.open.take() {
            self.has = Some(open);
        }
    }

    pub fn serve(&mut self, own: &Own) {
        if self.open.is_some() || !self.frames.is_empty() {
            return;
        }
        if !self.parts.is_empty() {
            let keys = std::mem::take(&mut self.parts);
            if let Some(again) = own.again(&keys) {
                self.open = own.held();
                self.frames.push_back(Frame::Delta(again));
                return;
            }
            self.question = true;
        }
        if !self.subscribed || (!self.question && own.held() == self.has) {
            return;
        }
        match own.since(self.has.as_ref()) {
            Answer::Nothing => return,
            Answer::Current => {
                if self.question {
                    self.frames.extend(own.header().cloned().map(Frame::Header));
                }
            }
            Answer::Delta(delta) => {
                self.open = own.held();
                self.frames.push_back(Frame::Delta(delta));
            }
            Answer::Snapshot(whole) => {
                self.open = own.held();
                let revision = whole.header.header.revision;
                let begin = SnapshotBegin {
                    header: whole.header,
                };
                self.frames.push_back(Frame::SnapshotBegin(begin));
                let parts = whole.parts.into_iter();
                self.frames.extend(parts.map(Frame::SnapshotPart));
                let end = SnapshotEnd { revision };
                self.frames.push_back(Frame::SnapshotEnd(end));
            }
        }
        self.question = false;
    }
}
