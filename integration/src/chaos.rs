//! Shell: three clusters of two gateways each under load, while things go wrong in an order that a seed draws. After each
//! trouble nothing may be broken but what the trouble itself cut, and all gateways must agree.

mod fault;
mod inflict;
mod load;
mod views;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::demo::manifests::{self, Sliced};
use crate::demo::mesh::Mesh;
use crate::demo::report::{self, Checks};
use crate::lab::topology::{CLIENT, STOCK_1, STOCK_2, THREE};
use crate::lab::{fetch, wait};
use crate::sim::Rng;
use fault::Trouble;
use load::Load;
use views::Views;

/// The lab's tag.
pub const TAG: &str = "chaos";
/// North's service.
const STOCK: Sliced = Sliced {
    service: "stock",
    ports: &[("http", "TCP", 8080)],
};
/// From the end of a trouble until all is well. A session that was cut is dialled again after some seconds at most.
const RECOVERY: Duration = Duration::from_secs(20);
/// A revocation cuts packets off within this.
const REVOKED: Duration = Duration::from_secs(1);

/// What the caller wants.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// No trouble begins after so long
    pub time: Duration,
    /// Draws the troubles
    pub seed: u64,
}

/// Runs until the time is over; the first thing that is wrong ends it. How many troubles there were.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> anyhow::Result<u32> {
    let mut mesh = Mesh::of(TAG, THREE)?;
    let outcome = rounds(&mut mesh, options, say);
    if outcome.is_err() {
        report::logs(&mut mesh);
    }
    outcome
}

fn rounds(mesh: &mut Mesh, options: &Options, say: &mut dyn FnMut(&str)) -> anyhow::Result<u32> {
    mesh.clocks = true;
    inflict::small_disks(mesh)?;
    let mut checks = Checks::default();
    mesh.start(&mut checks)?;
    let north = mesh.manifests("north")?;
    manifests::export(&north, STOCK.service)?;
    manifests::set_endpoints(&north, &STOCK, &[STOCK_1, STOCK_2])?;
    for (maker, user) in [("west", "east"), ("west", "north"), ("north", "east")] {
        mesh.pair_by(maker, user, &mut checks)?;
    }
    mesh.settle(&mut checks)?;
    ensure!(
        checks.is_good(),
        "the clusters did not come up as they should"
    );
    let mut views = Views::default();
    let flows = load::flows(mesh)?;
    wait::until(RECOVERY, "all to be well before any trouble", || {
        Ok(load::is_well(mesh, &flows)? && views.agree(mesh)?)
    })?;
    let mut rng = Rng(options.seed);
    let start = wait::now();
    let mut count = 0u32;
    while start.elapsed() < options.time {
        let trouble = fault::draw(&mut rng, &mesh.topology).context("a lab without nodes")?;
        count = count.saturating_add(1);
        let at = start.elapsed().as_secs_f64();
        let outcome = round(mesh, &mut rng, &mut views, &flows, &trouble);
        let said = outcome.with_context(|| format!("trouble {count}, {trouble}"))?;
        say(&format!("{count:>4}  {at:>6.1} s  {trouble}: {said}"));
    }
    revoke(mesh, &flows)?;
    say("      at the end north was revoked in east: cut off within a second, and nothing else");
    Ok(count)
}

/// One trouble under load and with a change of what is exported; what was seen.
fn round(
    mesh: &mut Mesh,
    rng: &mut Rng,
    views: &mut Views,
    flows: &[load::Flow],
    trouble: &Trouble,
) -> anyhow::Result<String> {
    let load = Load::start(mesh, flows)?;
    views.change(mesh, rng)?;
    inflict::begin(mesh, trouble)?;
    std::thread::sleep(trouble.lasts);
    inflict::end(mesh, trouble)?;
    let over = wait::now();
    let well = wait::until(RECOVERY, "all to be well again", || {
        Ok(load::is_well(mesh, flows)? && views.agree(mesh)?)
    });
    if well.is_err() {
        let difference = views.difference(mesh)?;
        well.with_context(|| difference.unwrap_or_else(|| "all gateways agree".to_owned()))?;
    }
    let took = over.elapsed();
    let said = load.stop(mesh, trouble)?;
    let dead = mesh.lab.processes.dead();
    ensure!(dead.is_empty(), "ended by themselves: {}", dead.join(", "));
    Ok(format!("{said}; well after {:.1} s", took.as_secs_f64()))
}

/// Of two clusters that revoke one another nothing passes, and everything else does.
fn revoke(mesh: &mut Mesh, flows: &[load::Flow]) -> anyhow::Result<()> {
    mesh.operator("e1").run(&["peer", "revoke", "north"])?;
    let client = mesh.lab.pod(&CLIENT);
    let stock = flows.iter().find(|flow| flow.is(&CLIENT, STOCK.service));
    let to: SocketAddr = stock.context("a flow from east to north")?.to;
    wait::until(REVOKED, "north to be cut off", || {
        let seen = client.enter(|| fetch::dial(to, Duration::from_millis(100)))??;
        Ok(seen != fetch::Dial::Answered)
    })?;
    let (cut, others): (Vec<_>, Vec<_>) = flows
        .iter()
        .cloned()
        .partition(|flow| flow.joins("east", "north"));
    wait::until(RECOVERY, "what was not revoked to go on", || {
        load::is_well(mesh, &others)
    })?;
    for flow in cut {
        if load::is_well(mesh, &[flow])? {
            bail!("packets pass to a peer that was revoked");
        }
    }
    Ok(())
}
