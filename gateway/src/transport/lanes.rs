//! Shell: connections beside a session's, for its packets alone: what one connection sends and receives is the work of one core
//! at a time. Whoever dialled the session dials them; that they are of the same two ends shows by a secret of the session's
//! handshake, which comes first on their one stream.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use causeway_certs::tls::{ALPN_PACKETS, ALPN_SESSION, for_packets};

use super::CONNECT_TIMEOUT;
use super::quic::Quic;

/// What binds them to their session.
const EXPORTER: &[u8] = b"EXPORTER-causeway-lanes-1";
/// The most beside one session.
pub(super) const MOST: usize = 7;

type Secret = [u8; 32];

/// Those beside one session.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<Vec<quinn::Connection>>);

impl Lanes {
    /// Those that are not over.
    pub fn open(&self) -> Vec<quinn::Connection> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| lane.close_reason().is_none());
        lanes.clone()
    }

    pub fn close(&self, reason: &str) {
        for lane in self.open() {
            lane.close(0u32.into(), reason.as_bytes());
        }
    }

    pub fn count(&self) -> u16 {
        u16::try_from(self.open().len()).unwrap_or(u16::MAX)
    }

    /// One more; false: there are enough.
    fn add(&self, lane: quinn::Connection) -> bool {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| lane.close_reason().is_none());
        let room = lanes.len() < MOST;
        if room {
            lanes.push(lane);
        }
        room
    }
}

/// They end with what holds the session's connection.
impl Drop for Lanes {
    fn drop(&mut self) {
        self.close("the session is over");
    }
}

/// Sessions that connections may come beside.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<BTreeMap<Secret, Weak<Lanes>>>>);

impl Sessions {
    fn find(&self, secret: &Secret) -> Option<Arc<Lanes>> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(secret)?.upgrade()
    }

    fn add(&self, secret: Secret, lanes: &Arc<Lanes>) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, lanes| lanes.strong_count() > 0);
        sessions.insert(secret, Arc::downgrade(lanes));
    }

    /// What may come beside a connection that this end has accepted.
    pub fn accepted(&self, session: &quinn::Connection) -> Arc<Lanes> {
        let lanes = Arc::new(Lanes::default());
        if alpn(session).as_deref() == Some(ALPN_SESSION)
            && let Some(secret) = secret(session)
        {
            self.add(secret, &lanes);
        }
        lanes
    }

    /// Takes one that came by its protocol: its stream says beside which session it is.
    pub async fn take(&self, lane: quinn::Connection) {
        if lane.peer_identity().is_none() {
            return lane.close(0u32.into(), b"a certificate is needed");
        }
        let taken = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let (_, mut from) = lane.accept_bi().await?;
            let mut secret = Secret::default();
            from.read_exact(&mut secret)
                .await
                .map_err(io::Error::other)?;
            let lanes = self.find(&secret).ok_or(io::ErrorKind::NotFound)?;
            let added = lanes.add(lane.clone());
            added.then_some(()).ok_or(io::ErrorKind::QuotaExceeded)?;
            Ok::<_, io::Error>(())
        });
        let taken = taken
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = taken {
            tracing::debug!(from = %lane.remote_address(), %error, "no session to be beside");
            lane.close(0u32.into(), b"no session");
        }
    }
}

/// Whether it is one of those, and no session.
pub(super) fn is_lane(connection: &quinn::Connection) -> bool {
    alpn(connection).as_deref() == Some(ALPN_PACKETS)
}

fn alpn(connection: &quinn::Connection) -> Option<Vec<u8>> {
    let data = connection.handshake_data()?;
    let data = data.downcast::<quinn::crypto::rustls::HandshakeData>();
    data.ok()?.protocol
}

fn secret(connection: &quinn::Connection) -> Option<Secret> {
    let mut secret = Secret::default();
    let exported = connection.export_keying_material(&mut secret, EXPORTER, &[]);
    exported.ok().map(|()| secret)
}

/// Dials so many beside a session that this end has dialled, in tasks of their own.
pub(super) fn dial(
    quic: &Quic,
    session: &quinn::Connection,
    to: SocketAddr,
    tls: &Arc<rustls::ClientConfig>,
    count: usize,
) -> Arc<Lanes> {
    let lanes = Arc::new(Lanes::default());
    if count == 0 {
        return lanes;
    }
    let (Some(tls), Some(secret)) = (for_packets(tls), secret(session)) else {
        return lanes;
    };
    let tls = Arc::new(tls);
    for _ in 0..count {
        let (quic, tls) = (quic.clone(), Arc::clone(&tls));
        let lanes = Arc::downgrade(&lanes);
        tokio::spawn(async move {
            let lane = quic.dial("a session's packets", to, tls).await;
            let lane = lane.map_err(io::Error::other)?;
            let (mut stream, _) = lane.open_bi().await?;
            stream.write_all(&secret).await?;
            stream.finish().map_err(io::Error::other)?;
            // Over by now?
            if !lanes.upgrade().is_some_and(|lanes| lanes.add(lane.clone())) {
                lane.close(0u32.into(), b"the session is over");
            }
            Ok::<_, io::Error>(())
        });
    }
    lanes
}
