//! Shell: what goes between the clusters all the while.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::fault::Trouble;
use crate::demo::mesh::Mesh;
use crate::lab::hold::Holding;
use crate::lab::rate::Rate;
use crate::lab::topology::{
    CART_1, CART_2, CART_3, CLIENT, CLIENT_E2, CLIENT_N, Node, Pod, STOCK_1, STOCK_2, node,
};
use crate::lab::{fetch, wait};

/// Connections that each flow holds.
const HELD: usize = 8;
/// An echo that takes longer is a broken connection: longer than any trouble, and TCP's pauses after it.
const PATIENCE: Duration = Duration::from_secs(15);
/// New connections that must all be answered.
const ASKED: u32 = 12;
/// Each within this.
const LIMIT: Duration = Duration::from_secs(1);

/// From where to where.
#[derive(Debug, Clone)]
pub struct Flow {
    from: Pod,
    service: &'static str,
    backends: &'static [Pod],
    /// As the client's cluster knows it
    pub to: SocketAddr,
}

impl Flow {
    /// Whether it is that one.
    pub fn is(&self, from: &Pod, service: &str) -> bool {
        self.from == *from && self.service == service
    }

    /// Whether it goes between these clusters.
    pub fn joins(&self, one: &str, other: &str) -> bool {
        let of = |pod: &Pod| node(pod.node).map(|node| node.cluster);
        let ends = [of(&self.from), self.backends.first().and_then(of)];
        ends == [Some(one), Some(other)] || ends == [Some(other), Some(one)]
    }
}

/// All flows, once their names resolve.
pub fn flows(mesh: &Mesh) -> anyhow::Result<Vec<Flow>> {
    let cart: &[Pod] = &[CART_1, CART_2, CART_3];
    let stock: &[Pod] = &[STOCK_1, STOCK_2];
    let wanted = [
        (CLIENT, "cart", cart),
        (CLIENT_E2, "cart", cart),
        (CLIENT_N, "cart", cart),
        (CLIENT, "stock", stock),
        (CART_3, "stock", stock),
    ];
    let resolve = |(from, service, backends)| {
        let address = wait::value(super::RECOVERY, &format!("{service} to resolve"), || {
            Ok(mesh.address(&from, service).ok())
        })?;
        Ok(Flow {
            from,
            service,
            backends,
            to: SocketAddr::from((address, 80)),
        })
    };
    wanted.into_iter().map(resolve).collect()
}

/// New connections of each flow are answered, by all backends.
pub fn is_well(mesh: &Mesh, flows: &[Flow]) -> anyhow::Result<bool> {
    for flow in flows {
        let client = mesh.lab.pod(&flow.from);
        let tally = client.enter(|| fetch::tally(flow.to, ASKED * 2, LIMIT))?;
        let all = flow
            .backends
            .iter()
            .all(|pod| tally.backends.contains_key(pod.name));
        if !tally.failures.is_empty() || !all {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Connections that are held and datagrams at a steady rate.
pub struct Load {
    held: Vec<(Flow, Holding)>,
    rate: Rate,
}

impl Load {
    /// Begins.
    pub fn start(mesh: &Mesh, flows: &[Flow]) -> anyhow::Result<Load> {
        let hold = |flow: &Flow| {
            let client = mesh.lab.pod(&flow.from);
            let holding = Holding::open_with(&client, flow.to, HELD, PATIENCE)?;
            Ok((flow.clone(), holding))
        };
        let held: anyhow::Result<Vec<_>> = flows.iter().map(hold).collect();
        let cart = flows.first().context("there are flows")?;
        let echo = SocketAddr::new(cart.to.ip(), 7);
        let client = mesh.lab.pod(&cart.from);
        Ok(Load {
            held: held?,
            rate: Rate::start(&client, echo, 4, Duration::from_millis(20))?,
        })
    }

    /// Ends, and tells what was seen; an error names what broke and should not have.
    pub fn stop(self, mesh: &Mesh, trouble: &Trouble) -> anyhow::Result<String> {
        let seen = self.rate.stop()?;
        let mut cut = 0usize;
        let mut total = 0usize;
        for (flow, holding) in self.held {
            let before = holding.echoed();
            let goes_on = wait::until(PATIENCE, "held connections to go on", || {
                Ok(holding.echoed() > before)
            });
            let from = node(flow.from.node).context("a pod has a node")?;
            for held in holding.close() {
                total = total.saturating_add(1);
                let Some(why) = held.broken else {
                    continue;
                };
                let to = mesh
                    .topology
                    .pods
                    .iter()
                    .find(|pod| pod.name == held.backend);
                let to: Node = to.and_then(|pod| node(pod.node)).context("a backend")?;
                ensure!(
                    trouble.may_break(&from, &to),
                    "a connection of {} to {} broke after {} lines: {why}",
                    flow.from.name,
                    held.backend,
                    held.echoed
                );
                cut = cut.saturating_add(1);
            }
            goes_on.or_else(|error| if cut > 0 { Ok(()) } else { Err(error) })?;
        }
        let lost: u64 = seen.iter().map(|seen| seen.sent - seen.answered).sum();
        let sent: u64 = seen.iter().map(|seen| seen.sent).sum();
        let silence = seen.iter().map(|seen| seen.silence).max();
        Ok(format!(
            "{cut} of {total} connections cut by it, {lost} of {sent} datagrams lost, longest silence {:.2} s",
            silence.unwrap_or_default().as_secs_f64()
        ))
    }
}
