//! Real handshakes, in memory.

mod pinned;

use causeway_proto::model::{ClusterSet, Digest, Revocation, TrustState};
use rustls::{ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::Secret;
use crate::ca::{Authority, LeafRequest};
use crate::cert::{fingerprint, serial};
use crate::name::Role;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: u64 = 3_600_000;

#[derive(Debug)]
struct At(u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(
            std::time::Duration::from_millis(self.0),
        ))
    }
}

fn set() -> ClusterSet {
    "prod".parse().unwrap()
}

struct Cluster {
    id: ClusterId,
    authority: Authority,
    state: TrustState,
    _dir: TempDir,
}

fn cluster(id: &str) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let id: ClusterId = id.parse().unwrap();
    Cluster {
        authority: Authority::open(dir.path(), &id, &set(), NOW).unwrap(),
        id,
        state: TrustState::default(),
        _dir: dir,
    }
}

fn pair(a: &mut Cluster, b: &mut Cluster) {
    let gateways = Vec::new;
    a.state
        .bundles
        .insert(b.id.clone(), b.authority.bundle(gateways(), NOW));
    b.state
        .bundles
        .insert(a.id.clone(), a.authority.bundle(gateways(), NOW));
}

impl Cluster {
    fn trust(&self) -> Trust {
        let own = vec![self.authority.certificate().to_vec()];
        Trust::new(self.id.clone(), set(), &own, &self.state)
    }

    fn leaf(&self, role: &str) -> Leaf {
        let role = Role::parse(role).unwrap();
        self.authority.own_leaf(role, NOW).unwrap()
    }

    fn tls_with(&self, leaf: &Leaf) -> Tls {
        let cell = LeafCell::new(leaf).unwrap();
        Tls::with_time(cell, TrustHandle::new(self.trust()), Arc::new(At(NOW.0)))
    }

    fn tls(&self) -> Tls {
        self.tls_with(&self.leaf("gateway/g"))
    }

    fn anonymous(&self) -> Tls {
        Tls::with_time(
            LeafCell::default(),
            TrustHandle::new(self.trust()),
            Arc::new(At(NOW.0)),
        )
    }

    /// A leaf that our CA signed under the name of another cluster.
    fn forge(&self, uri: &str) -> Leaf {
        self.authority.forged_leaf(uri, NOW).unwrap()
    }

    fn token(&self) -> JoinToken {
        JoinToken {
            gateways: Vec::new(),
            cluster_set: set(),
            issuer: self.id.clone(),
            pin: fingerprint(self.authority.certificate()),
            secret: Secret::new([1; 32]),
            expires: NOW,
            for_cluster: None,
        }
    }
}

#[derive(Debug)]
struct Done {
    client: ClientConnection,
    server: ServerConnection,
}

/// Runs a handshake to its end; the error says which side refused and why.
fn shake(client: ClientConfig, server: ServerConfig) -> Result<Done, String> {
    let name = SERVER_NAME.try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server
                .process_new_packets()
                .map_err(|e| format!("server: {e}"))?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client
                .process_new_packets()
                .map_err(|e| format!("client: {e}"))?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Done { client, server })
}

fn session(client: &Tls, to: &Cluster, server: &Tls) -> Result<Admitted, String> {
    let done = shake(
        client.peer_client(&to.id).unwrap(),
        server.peer_server().unwrap(),
    )?;
    admit(
        done.server.alpn_protocol(),
        done.server.peer_certificates(),
        &server.trust.load(),
    )
    .map_err(|e| format!("admit: {e}"))
}

#[track_caller]
fn refused<T: fmt::Debug>(result: Result<T, String>, expect: &str) {
    let got = result.unwrap_err();
    assert!(got.contains(expect), "{got}\nis not: {expect}");
}

#[test]
fn paired_clusters_meet_both_ways() {
    let (mut east, mut west) = (cluster("east"), cluster("west"));
    pair(&mut east, &mut west);
    for (a, b) in [(&east, &west), (&west, &east)] {
        let Admitted::Session(name, until) = session(&a.tls(), b, &b.tls()).unwrap() else {
            panic!("not a session");
        };
        assert_eq!(
            name.to_string(),
            format!("spiffe://{}.prod/gateway/g", a.id)
        );
        assert_eq!(until.since(NOW), 24 * HOUR);
    }
}

#[test]
fn strangers_are_refused() {
    let (mut east, mut west, north) = (cluster("east"), cluster("west"), cluster("north"));
    pair(&mut east, &mut west);
    let not_a_peer = "cluster north is not a peer of this one; pair them with a join token";
    // North knows west's CA, west does not know north's.
    let mut north_knows = north.state.clone();
    north_knows
        .bundles
        .insert(west.id.clone(), west.authority.bundle(Vec::new(), NOW));
    let north = Cluster {
        state: north_knows,
        ..north
    };
    refused(session(&north.tls(), &west, &west.tls()), not_a_peer);
    refused(session(&east.tls(), &north, &north.tls()), not_a_peer);
    // A gateway of another peer than the one dialled.
    let mut east2 = Cluster { ..east };
    let mut third = cluster("third");
    pair(&mut east2, &mut third);
    refused(
        session(&east2.tls(), &west, &third.tls()),
        "spiffe://third.prod/gateway/g may not be at the other end; a gateway of west is expected",
    );
    // Our own name on the peers' port.
    refused(
        session(&west.tls(), &west, &west.tls()),
        "a gateway of another cluster is expected",
    );
}

#[test]
fn a_ca_of_the_same_name_is_not_the_one_paired_with() {
    let (mut east, mut west) = (cluster("east"), cluster("west"));
    pair(&mut east, &mut west);
    let impostor = Cluster {
        state: east.state.clone(),
        ..cluster("east")
    };
    refused(
        session(&impostor.tls(), &west, &west.tls()),
        "server: invalid peer certificate",
    );
    refused(
        session(&west.tls(), &east, &impostor.tls()),
        "client: invalid peer certificate",
    );
}

#[test]
fn a_ca_does_not_speak_for_a_third_cluster() {
    let (mut east, mut west, mut north) = (cluster("east"), cluster("west"), cluster("north"));
    pair(&mut east, &mut west);
    pair(&mut west, &mut north);
    let claim = "spiffe://north.prod/gateway/g";
    let says = format!("claims to be {claim}, but the CA of east issued it");
    let forger = east.tls_with(&east.forge(claim));
    refused(session(&forger, &west, &west.tls()), &says);
    refused(session(&west.tls(), &north, &forger), &says);
    // Nor for a cluster that nobody knows, nor for us.
    let forger = east.tls_with(&east.forge("spiffe://south.prod/gateway/g"));
    refused(session(&forger, &west, &west.tls()), "south is not a peer");
    let forger = east.tls_with(&east.forge("spiffe://west.prod/operator/root"));
    let local = || west.tls().local_server().unwrap();
    refused(
        shake(forger.local_client().unwrap(), local()).map(|_| ()),
        "",
    );
    // Not even with a bundle that somebody put under the wrong name.
    west.state
        .bundles
        .insert(north.id.clone(), east.authority.bundle(Vec::new(), NOW));
    let forger = east.tls_with(&east.forge(claim));
    refused(session(&forger, &west, &west.tls()), "north is not a peer");
    let mut disguised = east.authority.bundle(Vec::new(), NOW);
    disguised.cluster = north.id.clone();
    west.state.bundles.insert(north.id.clone(), disguised);
    refused(session(&forger, &west, &west.tls()), "north is not a peer");
}

#[test]
fn names_that_are_not_exactly_one_of_ours() {
    let (mut east, mut west) = (cluster("east"), cluster("west"));
    pair(&mut east, &mut west);
    for (uri, says) in [
        ("spiffe://east.test/gateway/g", "not of clusterset prod"),
        ("https://east.prod/gateway/g", "is not a name of the form"),
        ("spiffe://east.prod/gateway/g/h", "is not valid"),
        ("spiffe://east.prod/agent/w1", "may not be at the other end"),
        ("spiffe://east.prod/catalog", "may not be at the other end"),
    ] {
        let forger = east.tls_with(&east.forge(uri));
        refused(session(&forger, &west, &west.tls()), says);
    }
}

#[test]
fn life_of_a_leaf() {
    let (mut east, mut west) = (cluster("east"), cluster("west"));
    pair(&mut east, &mut west);
    let at = |now: u64| {
        let mut tls = west.tls();
        tls.time = Arc::new(At(now));
        tls
    };
    let dial = |server: &Tls| session(&east.tls(), &west, server);
    dial(&at(NOW.0 + 24 * HOUR - 1)).unwrap();
    dial(&at(NOW.0 - HOUR / 60)).unwrap();
    refused(dial(&at(NOW.0 + 24 * HOUR + 1000)), "certificate expired");
    refused(dial(&at(NOW.0 - HOUR)), "certificate not valid yet");

    // Renewal: the same configuration presents the next leaf, and who met before is not disturbed.
    let tls = east.tls();
    let config = tls.peer_client(&west.id).unwrap();
    let open = shake(config.clone(), west.tls().peer_server().unwrap()).unwrap();
    let next = Timestamp(NOW.0 + 16 * HOUR);
    let role = Role::parse("gateway/g").unwrap();
    tls.leaf
        .replace(&east.authority.own_leaf(role, next).unwrap())
        .unwrap();
    let again = shake(config, at(next.0 + 20 * HOUR).peer_server().unwrap()).unwrap();
    let leaf = |done: &Done| done.server.peer_certificates().unwrap()[0].clone();
    assert_ne!(leaf(&open), leaf(&again));
    assert!(!open.client.is_handshaking());
}

#[test]
fn cut_off_at_the_next_handshake() {
    let (mut east, mut west) = (cluster("east"), cluster("west"));
    pair(&mut east, &mut west);
    let server = west.tls();
    session(&east.tls(), &west, &server).unwrap();
    let ca = fingerprint(east.authority.certificate());
    west.state
        .revocations
        .insert(east.id.clone(), Revocation { ca, time: NOW });
    server.trust.replace(west.trust());
    refused(
        session(&east.tls(), &west, &server),
        "cluster east was revoked",
    );
    refused(
        session(&west.tls(), &east, &east.tls()),
        "cluster east was revoked",
    );
    // A CA that was never revoked, after a new pairing, is another matter.
    let mut anew = cluster("east");
    pair(&mut anew, &mut west);
    server.trust.replace(west.trust());
    session(&anew.tls(), &west, &server).unwrap();
}

#[test]
fn a_session_needs_a_certificate_and_a_join_none() {
    let (mut east, mut west) = (cluster("east"), cluster("west"));
    pair(&mut east, &mut west);
    assert_eq!(
        session(&east.anonymous(), &west, &west.tls()),
        Err("admit: a session needs a certificate, and none was presented".to_owned())
    );
    let joiner = |token: &JoinToken| join_client_with_time(token, Arc::new(At(NOW.0))).unwrap();
    let done = shake(joiner(&west.token()), west.tls().peer_server().unwrap()).unwrap();
    assert_eq!(done.client.alpn_protocol(), Some(ALPN_JOIN));
    let alpn = done.server.alpn_protocol();
    assert_eq!(
        admit(alpn, done.server.peer_certificates(), &west.trust()),
        Ok(Admitted::Join)
    );
    let client = done
        .client
        .export_keying_material([0; 32], JOIN_EXPORTER, None);
    let server = done
        .server
        .export_keying_material([0; 32], JOIN_EXPORTER, None);
    assert_eq!(client.unwrap(), server.unwrap());
}

#[test]
fn a_join_takes_only_the_pinned_ca() {
    let (east, west) = (cluster("east"), cluster("west"));
    let join = |token: &JoinToken, server: &Tls| {
        let client = join_client_with_time(token, Arc::new(At(NOW.0))).unwrap();
        shake(client, server.peer_server().unwrap()).map(|_| ())
    };
    join(&west.token(), &west.tls()).unwrap();
    let unpinned = "does not show the CA that the token pins";
    refused(join(&west.token(), &east.tls()), unpinned);
    refused(join(&west.token(), &cluster("west").tls()), unpinned);
    let flipped = JoinToken {
        pin: Digest([0; 32]),
        ..west.token()
    };
    refused(join(&flipped, &west.tls()), unpinned);
    // The right CA shown beside a leaf of another.
    let mut mixed = cluster("west").leaf("gateway/g");
    mixed.chain[1] = west.authority.certificate().clone();
    let server = west.tls_with(&mixed);
    refused(join(&west.token(), &server), "invalid peer certificate");
    // A process of the issuer that is no gateway.
    let server = west.tls_with(&west.leaf("agent/w1"));
    refused(join(&west.token(), &server), "a gateway of this cluster");
    // The issuer's name is that of the token.
    let other = JoinToken {
        issuer: east.id.clone(),
        ..west.token()
    };
    refused(join(&other, &west.tls()), "west is not a peer");
}

#[test]
fn local_callers() {
    let (mut east, mut west) = (cluster("east"), cluster("west"));
    pair(&mut east, &mut west);
    let call = |client: &Tls| -> Result<String, String> {
        let server = west.tls();
        let done = shake(
            client.local_client().unwrap(),
            server.local_server().unwrap(),
        )?;
        let caller = caller(done.server.peer_certificates(), &server.trust.load());
        Ok(caller.unwrap().to_string())
    };
    let as_role = |role: &str| call(&west.tls_with(&west.leaf(role)));
    assert_eq!(as_role("agent/w1").unwrap(), "spiffe://west.prod/agent/w1");
    assert_eq!(
        as_role("operator/ann").unwrap(),
        "spiffe://west.prod/operator/ann"
    );
    assert_eq!(
        call(&west.anonymous()).unwrap(),
        "a caller without a certificate"
    );
    refused(
        call(&west.tls_with(&west.forge("spiffe://west.prod/catalog"))),
        "a process of this cluster is expected",
    );
    // A peer is no process of ours, in either direction.
    let mut tls = east.tls();
    tls.trust = TrustHandle::new(west.trust());
    refused(call(&tls), "a process of this cluster is expected");
    refused(call(&east.tls()), "a gateway of this cluster is expected");

    let lost = west.leaf("agent/w2");
    west.state.withdrawn.insert(serial(&lost.chain[0]).unwrap());
    let server = west.tls();
    let client = west.tls_with(&lost);
    refused(
        shake(
            client.local_client().unwrap(),
            server.local_server().unwrap(),
        )
        .map(|_| ()),
        "that of spiffe://west.prod/agent/w2 was withdrawn",
    );
}

#[test]
fn nothing_is_resumed() {
    let (mut east, mut west) = (cluster("east"), cluster("west"));
    pair(&mut east, &mut west);
    let client = east.tls().peer_client(&west.id).unwrap();
    let server = west.tls();
    for _ in 0..2 {
        let done = shake(client.clone(), server.peer_server().unwrap()).unwrap();
        assert_eq!(
            done.server.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
        assert_eq!(
            done.server.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_3)
        );
        assert_eq!(done.server.server_name(), None);
    }
}

#[test]
fn a_leaf_of_another_key_is_not_presented() {
    let west = cluster("west");
    let mut leaf = west.leaf("gateway/g");
    leaf.chain = west.leaf("gateway/g").chain;
    assert!(LeafCell::new(&leaf).is_err());
    let _ = LeafRequest::new().unwrap();
}
