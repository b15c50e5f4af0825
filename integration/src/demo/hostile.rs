//! Shell: steps with packets that must not pass, and a service that must not be seen.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use super::mesh::{DOMAIN, LIMIT, Mesh, TUNNEL_PORT};
use super::report::Checks;
use crate::lab::fetch::{self, Dial};
use crate::lab::netns::Netns;
use crate::lab::question::Kind;
use crate::lab::topology::{CLIENT, DB_0, E1, OUTSIDE, ROGUE, SECRET};
use crate::lab::{ping, wait};

/// Forged packets of each kind.
const FORGED: u64 = 5;
const NXDOMAIN: u8 = 3;

/// Sends forged packets and waits until the node's counter of that reason has them all.
fn refused(
    mesh: &Mesh,
    checks: &mut Checks,
    what: &str,
    reason: &str,
    from: &Netns,
    forge: impl Fn() -> anyhow::Result<()> + Send + Sync,
) -> anyhow::Result<()> {
    let operator = mesh.operator("e1");
    let before = operator.drops(reason)?;
    from.enter(|| (0..FORGED).try_for_each(|_| forge()))??;
    let counted = || operator.drops(reason).map(|now| now.saturating_sub(before));
    let _ = wait::until(LIMIT, reason, || Ok(counted()? >= FORGED));
    let seen = counted()?;
    checks.check(
        what,
        format!("{FORGED} counted as {reason}"),
        seen,
        seen >= FORGED,
    );
    Ok(())
}

/// Forged tunnel packets and a forged source.
pub fn packets(mesh: &mut Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let SocketAddr::V4(cart) = cart else {
        anyhow::bail!("an IPv4 service")
    };
    let tunnel = SocketAddrV4::new(E1.uplink, TUNNEL_PORT);
    let outer = tunnel_packet(cart);
    let (outside, rogue) = (mesh.lab.netns("wan"), mesh.lab.pod(&ROGUE));
    let forge = || ping::forge_udp(SocketAddrV4::new(OUTSIDE, 50000), tunnel, &outer);
    refused(
        mesh,
        checks,
        "tunnel packets from an unlisted source",
        "unlisted-source",
        &outside,
        forge,
    )?;
    let forge = || ping::forge_udp(SocketAddrV4::new(ROGUE.address, 50000), tunnel, &outer);
    refused(
        mesh,
        checks,
        "a pod's own packets to the tunnel port",
        "pod-to-tunnel-port",
        &rogue,
        forge,
    )?;
    let forge = || {
        ping::forge_udp(
            SocketAddrV4::new(CLIENT.address, 50000),
            SocketAddrV4::new(*cart.ip(), 7),
            b"x",
        )
    };
    refused(
        mesh,
        checks,
        "a pod that forges its neighbour's address",
        "spoofed-source",
        &rogue,
        forge,
    )?;
    // What is no pod has no program in its way; routes keep it in.
    let stray = mesh.lab.add_stray(&E1)?;
    let dialled = stray.enter(|| fetch::dial(cart.into(), Duration::from_secs(1)))??;
    checks.check(
        "what is no pod dials the service",
        "rejected at once",
        format!("{dialled:?}"),
        dialled == Dial::Rejected,
    );
    Ok(())
}

/// A well formed tunnel packet with a ping inside.
fn tunnel_packet(cart: SocketAddrV4) -> Vec<u8> {
    let mut bytes = vec![0x88, 0, 0, 1, 0, 0x10, 0, 0];
    bytes.extend([2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8, 0]);
    bytes.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0]);
    bytes.extend([10, 244, 0, 6]);
    bytes.extend(cart.ip().octets());
    bytes.extend([8, 0, 0xf7, 0xfe, 0, 1, 0, 0]);
    bytes
}

/// `secret` is there, but nobody exported it.
pub fn unexported(mesh: &Mesh, checks: &mut Checks) -> anyhow::Result<()> {
    let answer = mesh.resolve(&CLIENT, "secret")?;
    checks.same("secret in DNS", NXDOMAIN, answer.code);
    let qualified = mesh.ask(&CLIENT, &format!("west.cart.{DOMAIN}"), Kind::A)?;
    checks.same(
        "cart by its cluster's name in DNS",
        NXDOMAIN,
        qualified.code,
    );
    let services = mesh.operator("e1").run(&["services"])?;
    checks.check(
        "secret among east's services",
        "absent",
        if services.contains("secret") {
            "listed"
        } else {
            "absent"
        },
        !services.contains("secret"),
    );
    // One to one: the mapped prefix of db-0 is that of its neighbour too.
    let db = mesh
        .ask(&CLIENT, &format!("db-0.west.db.{DOMAIN}"), Kind::A)?
        .addresses;
    let Some(neighbour) = db.first() else {
        anyhow::bail!("db-0 has no address")
    };
    let [a, b, c, _] = neighbour.octets();
    let [.., last] = SECRET.address.octets();
    let pod = mesh.lab.pod(&CLIENT);
    let dial = |address: Ipv4Addr, port: u16| {
        pod.enter(|| fetch::dial(SocketAddr::from((address, port)), Duration::from_secs(1)))?
    };
    let control = dial(*neighbour, 5432)?;
    checks.check(
        &format!("control: {} through its mapped address", DB_0.name),
        "answered",
        format!("{control:?}"),
        control == Dial::Answered,
    );
    let secret = dial(Ipv4Addr::new(a, b, c, last), 8080)?;
    checks.check(
        "its pod through the mapped address",
        "no answer",
        format!("{secret:?}"),
        secret != Dial::Answered,
    );
    let other = dial(*neighbour, 8080)?;
    checks.check(
        "a port of db-0 that is not exported",
        "no answer",
        format!("{other:?}"),
        other != Dial::Answered,
    );
    Ok(())
}
