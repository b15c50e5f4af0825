//! Shell: for how long packets between two clusters do not pass, and what breaks, when gateways go and come, a peer is not
//! heard, or is revoked.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Gate, Point};
use crate::demo::mesh::Mesh;
use crate::demo::report::Checks;
use crate::lab::fetch::Dial;
use crate::lab::hold::Holding;
use crate::lab::rate::Rate;
use crate::lab::topology::CLIENT;
use crate::lab::{fetch, firewall, wait};

/// Rounds of each.
const ROUNDS: usize = 5;
/// Connections that are held in each, and flows of a hundred datagrams a second.
const HELD: usize = 50;
const FLOWS: usize = 8;
/// A gateway is away for so long, and there again for so long before it is looked.
const AWAY: Duration = Duration::from_secs(1);
/// How long all may take to be well again.
const WELL: Duration = Duration::from_secs(20);
/// A connection attempt is silent after this.
const DIAL: Duration = Duration::from_millis(100);

/// What becomes of a gateway.
#[derive(Debug, Clone, Copy)]
enum End {
    Killed,
    InOrder,
}

/// The gateway, how it ends and for how long, and the longest silence in seconds that it may cause.
const CASES: [(&str, &str, End, Duration, f64); 3] = [
    ("one of two gateways killed", "w2", End::Killed, AWAY, 1.0),
    (
        "one of two gateways ended in order",
        "w2",
        End::InOrder,
        AWAY,
        0.1,
    ),
    (
        "a lone gateway killed and started again",
        "e1",
        End::Killed,
        Duration::ZERO,
        1.0,
    ),
];

/// Measures all of it.
pub(super) fn run(tell: &mut dyn FnMut(Point)) -> Result<()> {
    let mut mesh = Mesh::new("bench", None)?;
    let mut checks = Checks::default();
    mesh.start(&mut checks)?;
    mesh.pair(&mut checks)?;
    mesh.settle(&mut checks)?;
    ensure!(checks.is_good(), "the clusters did not come up");
    let cart = SocketAddr::from((mesh.address(&CLIENT, "cart")?, 80));
    let mut broken = Vec::new();
    for (what, node, end, away, most) in CASES {
        let mut silences = Vec::new();
        for _ in 0..ROUNDS {
            let (silence, lost) = gateway_ends(&mut mesh, cart, node, end, away)?;
            silences.push(silence);
            broken.push(lost);
        }
        let name = format!("longest silence, {what}");
        tell(Point::bounded(name, "s", silences, Gate::AtMost(most)));
    }
    let name = format!("connections broken by that, of {HELD}");
    tell(Point::bounded(name, "", broken, Gate::AtMost(0.0)));
    let withdrawals: Result<Vec<f64>> = (0..ROUNDS).map(|_| withdrawal(&mesh, cart)).collect();
    let name = "a peer of which nothing is heard is withdrawn after".to_owned();
    tell(Point::bounded(name, "s", withdrawals?, Gate::AtMost(3.0)));
    let since = wait::now();
    mesh.operator("e1").run(&["peer", "revoke", "west"])?;
    let asked = since.elapsed();
    until(&mesh, cart, WELL, |seen| seen != Dial::Answered)?;
    let cut = since.elapsed().saturating_sub(asked);
    let name = "a peer that is revoked is cut off after".to_owned();
    let cut = vec![cut.as_secs_f64()];
    tell(Point::bounded(name, "s", cut, Gate::AtMost(1.0)));
    Ok(())
}

/// The longest silence in seconds, and how many connections broke.
fn gateway_ends(
    mesh: &mut Mesh,
    cart: SocketAddr,
    node: &str,
    end: End,
    away: Duration,
) -> Result<(f64, f64)> {
    let client = mesh.lab.pod(&CLIENT);
    let holding = Holding::open(&client, cart, HELD)?;
    let echo = SocketAddr::new(cart.ip(), 7);
    let rate = Rate::start(&client, echo, FLOWS, Duration::from_millis(10))?;
    std::thread::sleep(AWAY);
    let name = format!("gateway-{node}");
    match end {
        End::Killed => mesh.lab.processes.kill(&name)?,
        End::InOrder => mesh.lab.processes.stop(&name)?,
    }
    std::thread::sleep(away);
    mesh.run_gateway(node)?;
    std::thread::sleep(AWAY * 2);
    let seen = rate.stop()?;
    let silence = seen.iter().map(|seen| seen.silence).max();
    let held = holding.close();
    let broken = held.iter().filter(|held| held.broken.is_some()).count();
    let silence = silence.context("no flow")?.as_secs_f64();
    Ok((silence, f64::from(u32::try_from(broken)?)))
}

/// Seconds from the last packet until new connections are rejected; all is well again after it.
fn withdrawal(mesh: &Mesh, cart: SocketAddr) -> Result<f64> {
    let wan = mesh.lab.netns("wan");
    let between = mesh.topology.pairs();
    let between = between.filter(|(from, to)| from.cluster != to.cluster);
    firewall::block_between(&wan, between, "drop")?;
    let since = wait::now();
    let rejected = until(mesh, cart, WELL, |seen| seen == Dial::Rejected);
    let took = since.elapsed();
    firewall::unblock(&wan)?;
    rejected?;
    until(mesh, cart, WELL, |seen| seen == Dial::Answered)?;
    // At another moment between two signs of life than the round before.
    std::thread::sleep(AWAY + took / 7);
    Ok(took.as_secs_f64())
}

fn until(
    mesh: &Mesh,
    cart: SocketAddr,
    limit: Duration,
    is: impl Fn(Dial) -> bool + Sync,
) -> Result<()> {
    let client = mesh.lab.pod(&CLIENT);
    wait::until(limit, "connections to end otherwise", || {
        Ok(is(client.enter(|| fetch::dial(cart, DIAL))??))
    })
}
