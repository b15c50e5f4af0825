//! Shell: two clusters, one service, real packets: brings the real programs up in a lab, walks
//! through every promise as a step that tells what was expected and what was seen, and takes it down.

pub mod breaks;
mod churn;
mod hostile;
pub mod manifests;
pub mod mesh;
pub mod operator;
mod outage;
pub mod report;
mod services;
mod wire;

use anyhow::Context;

use crate::lab::DEMO;
use mesh::Mesh;
use report::Report;

/// What the caller wants.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The piece to take out
    pub without: Option<String>,
    /// Leave the lab up at the end
    pub keep: bool,
}

/// Runs the demo; true when every step was as expected. The lab is removed unless it is to be kept.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let mut report = Report::default();
    let mut mesh = Mesh::new(DEMO, options.without.as_deref())?;
    if options.keep {
        mesh.lab.stay();
    }
    let outcome = steps(&mut mesh, &mut report);
    if let Err(error) = &outcome {
        report.problem(&format!("{error:#}"));
    }
    if !report.is_good() {
        report::logs(&mut mesh);
    }
    if options.keep {
        report.how_to_enter(&mesh);
    }
    report.summary();
    Ok(report.is_good())
}

/// Every step in its order; the first that cannot even be tried ends it, since the rest stands on it.
fn steps(mesh: &mut Mesh, report: &mut Report) -> anyhow::Result<()> {
    report.step("two clusters come up, with the same pod CIDR", |checks| {
        mesh.start(checks)
    })?;
    report.step("paired by a token", |checks| mesh.pair(checks))?;
    report.step("catalogs are exchanged and programmed", |checks| {
        mesh.settle(checks)
    })?;
    let cart = services::find_cart(mesh).context("the service was found once and is gone")?;
    report.step("cart: 300 new connections from east", |checks| {
        services::cart(mesh, cart, checks)
    })?;
    report.step("20 MiB each way at MTU 1500", |checks| {
        services::bulk(mesh, cart, checks)
    })?;
    report.step("what the wire saw", |checks| wire::encrypted(mesh, checks))?;
    report.step("rules of CNI and kube-proxy", |checks| {
        wire::firewall(mesh, cart, checks)
    })?;
    report.step("catalog: local first, fails over, comes back", |checks| {
        services::catalog(mesh, checks)
    })?;
    report.step("a backend calls its own service", |checks| {
        services::own_service(mesh, checks)
    })?;
    report.step("db: headless, each endpoint by its own name", |checks| {
        services::headless(mesh, checks)
    })?;
    report.step("UDP echo and ping", |checks| {
        services::datagrams(mesh, cart, checks)
    })?;
    report.step("a node's own processes", |checks| {
        services::node_processes(mesh, cart, checks)
    })?;
    report.step("packets that must not pass", |checks| {
        hostile::packets(mesh, cart, checks)
    })?;
    report.step("a service that is not exported", |checks| {
        hostile::unexported(mesh, checks)
    })?;
    report.step("200 connections while backends come and go", |checks| {
        churn::backends(mesh, cart, checks)
    })?;
    report.step("west's leader gateway is killed", |checks| {
        outage::leader(mesh, cart, checks)
    })?;
    report.step("west is cut off and comes back", |checks| {
        outage::cut_off(mesh, cart, checks)
    })?;
    report.step("what an operator reads", |checks| {
        mesh.show_status(&["encrypted", "not enforced"], checks)
    })?;
    report.step("both clusters let packets go plain", |checks| {
        wire::plain(mesh, cart, checks)?;
        mesh.show_status(&["plain", "not authenticated"], checks)
    })
}
