//! Shell: steps that look at the wire and at others' rules, not at our own counters; each with a
//! positive control.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::mesh::{LIMIT, Mesh};
use super::report::Checks;
use crate::lab::firewall::{INVALID, Kind, MASQUERADED, counter, on_sessions, on_wire, unsealed};
use crate::lab::topology::{CLIENT, OUTSIDE};
use crate::lab::{fetch, ping, wait};

/// Gateways restart, agree, and every node acknowledges.
const PLAIN: Duration = Duration::from_secs(15);

/// Packets on the wire between two nodes.
struct Seen<'a> {
    mesh: &'a Mesh,
    before: Vec<(Kind, &'static str, &'static str, u64)>,
}

/// What matters for the way back.
const PATHS: [(Kind, &str, &str); 8] = [
    (Kind::Request, "e1", "w1"),
    (Kind::Request, "e1", "w2"),
    (Kind::Request, "w1", "w2"),
    (Kind::Request, "w2", "w1"),
    (Kind::Reply, "w1", "w2"),
    (Kind::Reply, "w2", "w1"),
    (Kind::Reply, "w1", "e1"),
    (Kind::Reply, "w2", "e1"),
];

impl Seen<'_> {
    fn start(mesh: &Mesh) -> anyhow::Result<Seen<'_>> {
        let wan = mesh.lab.netns("wan");
        let read = |(kind, from, to)| Ok((kind, from, to, on_wire(&wan, kind, from, to)?));
        let before = PATHS.into_iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Seen { mesh, before })
    }

    fn since(&self, kind: Kind, from: &str, to: &str) -> anyhow::Result<u64> {
        let before = self
            .before
            .iter()
            .find(|(k, f, t, _)| (*k, *f, *t) == (kind, from, to));
        let before = before.map(|(_, _, _, count)| *count).unwrap_or_default();
        Ok(on_wire(&self.mesh.lab.netns("wan"), kind, from, to)?.saturating_sub(before))
    }
}

/// Between the clusters nothing goes but the gateways' sessions; within west, tunnel packets between its nodes.
pub fn encrypted(mesh: &Mesh, checks: &mut Checks) -> anyhow::Result<()> {
    let wan = mesh.lab.netns("wan");
    for west in ["w1", "w2"] {
        for (from, to) in [("e1", west), (west, "e1")] {
            let plain = unsealed(&wan, from, to)?;
            checks.same(
                &format!("packets {from} to {to} that are of no session"),
                0,
                plain,
            );
            let large = on_sessions(&wan, from, to)?;
            checks.check(
                &format!("large packets of sessions {from} to {to}"),
                "some",
                large,
                large > 0,
            );
        }
    }
    let within = on_wire(&wan, Kind::Request, "w1", "w2")?;
    checks.check(
        "control: tunnel packets w1 to w2",
        "some",
        within,
        within > 0,
    );
    Ok(())
}

/// Both clusters let packets go plain: then replies go straight from the backend's node to east, past the gateway that
/// balanced.
pub fn plain(mesh: &mut Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    mesh.go_plain()?;
    let straight = wait::until(PLAIN, "replies to go straight from both nodes", || {
        let seen = Seen::start(mesh)?;
        let ask = || fetch::tally(cart, 12, LIMIT);
        mesh.lab.pod(&CLIENT).enter(ask)?;
        Ok(seen.since(Kind::Reply, "w1", "e1")? > 0 && seen.since(Kind::Reply, "w2", "e1")? > 0)
    });
    checks.check(
        "replies straight to east",
        "from both nodes",
        match &straight {
            Ok(()) => "from both nodes".to_owned(),
            Err(_) => "not from both".to_owned(),
        },
        straight.is_ok(),
    );
    direct_return(mesh, cart, checks)?;
    ping_crosses(mesh, cart, checks)
}

/// An echo is answered at the other cluster's gateway.
fn ping_crosses(mesh: &Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let IpAddr::V4(vip) = cart.ip() else {
        anyhow::bail!("an IPv4 service")
    };
    let seen = Seen::start(mesh)?;
    mesh.lab.pod(&CLIENT).enter(|| ping::echo(vip, LIMIT))??;
    let crossed = seen.since(Kind::Reply, "w1", "e1")?;
    let crossed = crossed.saturating_add(seen.since(Kind::Reply, "w2", "e1")?);
    checks.check(
        "replies to a ping that crossed from west",
        "at least 1",
        crossed,
        crossed >= 1,
    );
    Ok(())
}

fn direct_return(mesh: &Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let seen = Seen::start(mesh)?;
    let tally = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| fetch::tally(cart, 60, LIMIT))?;
    checks.same("answered", 60, tally.backends.values().sum());
    for (from, to) in [("e1", "w1"), ("e1", "w2")] {
        let count = seen.since(Kind::Request, from, to)?;
        checks.check(
            &format!("requests {from} to {to}, so that this gateway balances"),
            "some",
            count,
            count > 0,
        );
    }
    for (from, to) in [("w1", "w2"), ("w2", "w1")] {
        let count = seen.since(Kind::Request, from, to)?;
        checks.check(
            &format!("requests {from} to {to}, where the backend is on the other node"),
            "some",
            count,
            count > 0,
        );
        let back = seen.since(Kind::Reply, to, from)?;
        checks.same(&format!("replies of those by way of {from}"), 0, back);
    }
    for (from, to) in [("w1", "e1"), ("w2", "e1")] {
        let count = seen.since(Kind::Reply, from, to)?;
        checks.check(
            &format!("replies {from} to {to}, straight"),
            "some",
            count,
            count > 0,
        );
    }
    Ok(())
}

/// None of our packets met a rule of the node's own.
pub fn firewall(mesh: &Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let read = |rule: &str| -> anyhow::Result<u64> {
        let nodes = ["e1", "w1", "w2"].into_iter();
        nodes.map(|node| counter(&mesh.lab.netns(node), rule)).sum()
    };
    let (masqueraded, invalid) = (read(MASQUERADED)?, read(INVALID)?);
    mesh.lab
        .pod(&CLIENT)
        .enter(|| fetch::tally(cart, 60, LIMIT))?;
    checks.same(
        "packets of 60 connections that were masqueraded",
        0,
        read(MASQUERADED)?.saturating_sub(masqueraded),
    );
    checks.same(
        "packets of them that kube-proxy's rule dropped",
        0,
        read(INVALID)?.saturating_sub(invalid),
    );
    mesh.lab
        .pod(&CLIENT)
        .enter(|| ping::echo(OUTSIDE, LIMIT))??;
    let control = read(MASQUERADED)?.saturating_sub(masqueraded);
    checks.check(
        "control: a ping to the world is masqueraded",
        "some",
        control,
        control > 0,
    );
    mesh.lab
        .pod(&CLIENT)
        .enter(|| ping::stray_reset(CLIENT.address, OUTSIDE))??;
    let counted = wait::until(LIMIT, "the rule to count", || Ok(read(INVALID)? > invalid));
    checks.check(
        "control: a stray packet is dropped",
        "some",
        if counted.is_ok() { "some" } else { "none" },
        counted.is_ok(),
    );
    Ok(())
}
