//! Pure: what the program in the test pods says it was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

/// Who answered, and whom it saw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Of the server
    pub cluster: String,
    /// Of the server
    pub pod: String,
    /// Of the server
    pub node: String,
    /// The client's address, as the server saw it
    pub client: String,
    /// The server's address, as the server saw it
    pub address: String,
}

/// One question: an identity, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// None when it failed
    pub identity: Option<Identity>,
    /// In full
    pub error: String,
    /// In one word: `refused`, `timeout`, `no-such-name`, ...
    pub kind: String,
}

/// What a number of questions came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Questions
    pub asked: u32,
    /// Answers by `cluster/pod`
    pub by: BTreeMap<String, u32>,
    /// Nodes of those who answered
    pub nodes: BTreeSet<String>,
    /// Addresses under which they saw the client
    pub clients: BTreeSet<String>,
    /// Own addresses of those who answered
    pub addresses: BTreeSet<String>,
    /// Failures by kind
    pub failures: BTreeMap<String, u32>,
    /// The first one in full
    pub first: Option<String>,
}

impl Tally {
    /// Sums up.
    #[must_use]
    pub fn of(answers: &[Answer]) -> Tally {
        let mut tally = Tally::default();
        for answer in answers {
            tally.add(answer);
        }
        tally
    }

    fn add(&mut self, answer: &Answer) {
        self.asked = self.asked.saturating_add(1);
        let Some(who) = &answer.identity else {
            let count = self.failures.entry(answer.kind.clone()).or_default();
            *count = count.saturating_add(1);
            self.first.get_or_insert_with(|| answer.error.clone());
            return;
        };
        let name = format!("{}/{}", who.cluster, who.pod);
        let count = self.by.entry(name).or_default();
        *count = count.saturating_add(1);
        self.nodes.insert(format!("{}/{}", who.cluster, who.node));
        self.clients.insert(who.client.clone());
        self.addresses.insert(who.address.clone());
    }

    /// How many answered.
    #[must_use]
    pub fn answered(&self) -> u32 {
        self.by.values().sum()
    }

    /// Whether each question was answered.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.asked > 0 && self.failures.is_empty()
    }

    /// Whether each was answered, by that cluster.
    #[must_use]
    pub fn is_all_of(&self, cluster: &str) -> bool {
        let start = format!("{cluster}/");
        self.is_whole() && self.by.keys().all(|name| name.starts_with(&start))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} answered", self.answered(), self.asked)?;
        for (name, count) in &self.by {
            write!(f, ", {name} {count}")?;
        }
        for (kind, count) in &self.failures {
            write!(f, ", {kind} {count}")?;
        }
        match &self.first {
            Some(first) => write!(f, " ({first})"),
            None => Ok(()),
        }
    }
}

/// What a name server said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL`; empty when nothing came
    pub code: String,
    /// The answer
    pub records: Vec<Record>,
    /// Why nothing came
    pub error: String,
}

/// One record, its data as in a zone file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Full, with the last dot
    pub name: String,
    /// `A`, `SRV`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Seconds
    pub ttl: u32,
    /// The columns after the type
    pub data: String,
}

impl Reply {
    /// Addresses in one order.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let all = self.records.iter().filter(|r| r.kind == "A");
        let mut all: Vec<_> = all.map(|r| r.data.clone()).collect();
        all.sort();
        all
    }

    /// Port and target of each service record, in one order, the last dot taken off.
    #[must_use]
    pub fn services(&self) -> Vec<(u16, String)> {
        let all = self.records.iter().filter(|r| r.kind == "SRV");
        let mut all: Vec<_> = all.filter_map(|r| service(&r.data)).collect();
        all.sort();
        all
    }
}

/// `priority weight port target`.
fn service(data: &str) -> Option<(u16, String)> {
    let mut words = data.split_whitespace().skip(2);
    let port = words.next()?.parse().ok()?;
    Some((port, words.next()?.trim_end_matches('.').to_owned()))
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            return write!(f, "nothing ({})", self.error);
        }
        write!(f, "{}", self.code)?;
        for record in &self.records {
            write!(f, ", {} {} {}", record.kind, record.ttl, record.data)?;
        }
        Ok(())
    }
}

/// What a client that asks again and again has seen so far.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Loss {
    /// Requests
    pub sent: u64,
    /// With an answer
    pub answered: u64,
    /// Without
    pub failed: u64,
    /// Between two answers
    pub longest_millis: f64,
    /// Answers by `cluster/pod`
    pub pods: BTreeMap<String, u64>,
    /// The first few
    pub errors: Vec<String>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loss {
            sent,
            answered,
            failed,
            longest_millis,
            ..
        } = self;
        write!(
            f,
            "{sent} sent, {answered} answered, {failed} failed, longest gap {longest_millis:.0} ms"
        )?;
        for (pod, count) in &self.pods {
            write!(f, ", {pod} {count}")?;
        }
        match self.errors.first() {
            Some(first) => write!(f, " ({first})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_summed_up() {
        let answers: Vec<Answer> = serde_json::from_str(
            r#"[{"identity":{"cluster":"west","pod":"a","node":"west-1","client":"242.0.0.6","address":"10.244.0.5"},"millis":1.5},
                {"error":"dial tcp: refused","kind":"refused","millis":0.1}]"#,
        )
        .unwrap();
        let tally = Tally::of(&answers);
        assert_eq!(
            tally.to_string(),
            "1 of 2 answered, west/a 1, refused 1 (dial tcp: refused)"
        );
        assert!(!tally.is_whole());
        assert!(Tally::of(&answers[..1]).is_all_of("west"));
        assert!(!Tally::of(&answers[..1]).is_all_of("wes"));
        assert!(!Tally::of(&[]).is_whole());
    }

    #[test]
    fn records_are_read() {
        let reply: Reply = serde_json::from_str(
            r#"{"code":"NOERROR","records":[{"name":"a.","type":"SRV","ttl":5,"data":"0 50 42 x.clusterset.local."},
                {"name":"a.","type":"A","ttl":5,"data":"241.0.0.3"}],"additional":[]}"#,
        )
        .unwrap();
        assert_eq!(reply.services(), [(42, "x.clusterset.local".to_owned())]);
        assert_eq!(reply.addresses(), ["241.0.0.3"]);
        assert_eq!(
            reply.to_string(),
            "NOERROR, SRV 5 0 50 42 x.clusterset.local., A 5 241.0.0.3"
        );
    }

    #[test]
    fn losses_are_told() {
        let loss: Loss =
            serde_json::from_str(r#"{"sent":3,"answered":2,"failed":1,"longestMillis":12.5,"pods":{"w/a":2},"errors":["x"]}"#)
                .unwrap();
        assert_eq!(
            loss.to_string(),
            "3 sent, 2 answered, 1 failed, longest gap 12 ms, w/a 2 (x)"
        );
    }
}
