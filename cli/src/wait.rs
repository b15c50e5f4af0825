//! Pure: what is told of a peer while it is waited for.

use causeway_proto::model::{Liveness, PeerStatus, Transport};

/// What has come so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waited {
    session: Option<String>,
    held: bool,
    error: Option<String>,
}

impl Waited {
    /// Takes the newest status; what is new in it, in words.
    pub fn take(&mut self, peer: &str, status: Option<&PeerStatus>) -> Vec<String> {
        let mut news = Vec::new();
        let Some(status) = status else {
            return news;
        };
        let session = status.sessions.first().map(|s| {
            let way = match s.transport {
                Transport::Quic => "QUIC",
                Transport::Tcp => "TCP",
            };
            format!("session with {} at {} over {way}", s.gateway, s.address)
        });
        if session.is_some() && self.session.is_none() {
            news.extend(session.clone());
            self.session = session;
        }
        let error = status.last_error.as_ref().map(|(_, message)| message);
        if self.session.is_none() && error.is_some() && error != self.error.as_ref() {
            self.error = error.cloned();
            news.extend(self.error.iter().map(|e| format!("{peer}: {e}")));
        }
        if !self.held && status.liveness == Liveness::Live && status.held.is_some() {
            self.held = true;
            news.push(format!(
                "{peer} is heard and its catalog is held, {} services",
                status.services
            ));
        }
        news
    }

    /// Whether the peer is there.
    pub fn is_over(&self) -> bool {
        self.held
    }

    /// What to check where it did not come.
    pub fn check(&self, peer: &str) -> String {
        match (&self.session, &self.error) {
            (Some(session), _) => {
                format!(
                    "{session}, but its catalog has not come: what do the logs of both leaders say?"
                )
            }
            (None, Some(error)) => error.clone(),
            (None, None) => format!(
                "can either side's gateways reach the other's address and port, over UDP? `causeway peers` on both sides says more; the trust in {peer} stays, and it connects once it can"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use causeway_proto::model::{Encryption, PeerNumber, Revision, SessionStatus, Timestamp};

    use super::*;

    fn status() -> PeerStatus {
        PeerStatus {
            number: PeerNumber::try_from(1).unwrap(),
            our_number_there: None,
            liveness: Liveness::Withdrawn,
            age_ms: None,
            held: None,
            acknowledged: None,
            sessions: Vec::new(),
            encryption: Encryption::Plain,
            mappings: Vec::new(),
            gateways: Vec::new(),
            services: 3,
            certificate_expires: None,
            last_error: None,
        }
    }

    fn session() -> SessionStatus {
        SessionStatus {
            gateway: "e1".parse().unwrap(),
            transport: Transport::Quic,
            address: "192.0.2.1:7443".into(),
            dialled: true,
            since: Timestamp(1),
            version: 1,
            clock_skew_ms: 0,
            certificate_expires: None,
            path: None,
        }
    }

    #[test]
    fn each_thing_is_told_once() {
        let mut waited = Waited::default();
        assert!(waited.take("east", None).is_empty());
        let mut status = status();
        status.last_error = Some((Timestamp(1), "no answer".into()));
        assert_eq!(waited.take("east", Some(&status)), ["east: no answer"]);
        assert!(waited.take("east", Some(&status)).is_empty());
        assert_eq!(waited.check("east"), "no answer");
        status.sessions.push(session());
        let news = waited.take("east", Some(&status));
        assert_eq!(news, ["session with e1 at 192.0.2.1:7443 over QUIC"]);
        assert!(!waited.is_over());
        status.liveness = Liveness::Live;
        status.held = Some(Revision {
            epoch: 1,
            number: 1,
        });
        let news = waited.take("east", Some(&status));
        assert_eq!(news, ["east is heard and its catalog is held, 3 services"]);
        assert!(waited.is_over());
        assert!(waited.take("east", Some(&status)).is_empty());
    }
}
