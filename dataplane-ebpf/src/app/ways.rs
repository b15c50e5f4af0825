//! Shell: this node's ways to gateways, as checks for whoever diagnoses.

use std::net::{IpAddr, Ipv6Addr};

use causeway_proto::model::{Address, Check, CheckKind, Outcome, View};

use super::Agent;
use crate::ports::ways::is_strict;

/// Ticks between looks.
const EACH: u64 = 10;
/// Addresses that are looked up, and checks that are told one by one: it is for people.
const ADDRESSES: usize = 256;
const TOLD: usize = 32;

/// Gateways that this node sends to, by what they are called in checks.
fn gateways(view: &View, node: &str) -> Vec<(String, Address)> {
    let peers = view.peers.iter().flat_map(|(id, peer)| {
        let each = peer.gateways.iter();
        each.map(move |address| (format!("{id}/{address}"), *address))
    });
    let own = view.gateways.iter().filter(|(_, at)| at.as_str() != node);
    let own = own.filter_map(|(name, at)| {
        let address = view.nodes.get(at)?.addresses.first()?;
        Some((format!("own gateway {name} at {address}"), *address))
    });
    own.chain(peers).take(ADDRESSES).collect()
}

impl Agent {
    /// Looks them up, from time to time.
    pub(super) async fn look_at_ways(&mut self) {
        if !self.ways.is_empty() && !self.ticks.is_multiple_of(EACH) {
            return;
        }
        let (Some(view), Some(uplink)) = (self.view.clone(), self.uplink().cloned()) else {
            return;
        };
        let strict = is_strict(&uplink.name);
        let gateways = gateways(&view, self.start.config.node.as_str());
        let (mut checks, mut unreached) = (Vec::new(), 0);
        for (subject, address) in &gateways {
            let to = Ipv6Addr::from(address.bytes()).to_canonical();
            let found = match self.host.device_to(to).await {
                Ok(found) => found,
                Err(error) => return self.fail("ways", &error),
            };
            let wrong = match found {
                Some(index) if index == uplink.index || !strict => continue,
                Some(_) => turned_back(subject, &uplink.name),
                None => {
                    unreached += 1;
                    no_route(subject, to)
                }
            };
            checks.push(wrong);
        }
        self.failures.remove("ways");
        checks.truncate(TOLD);
        let count = gateways.len() - unreached;
        let fine = format!("{count} of {} gateways", gateways.len());
        if count > 0 {
            let check = Check::passed(CheckKind::Route, fine, "this node has a route");
            checks.insert(0, check);
        }
        if !checks
            .iter()
            .any(|check| check.kind == CheckKind::ReversePath)
        {
            let how = match strict {
                true => "rp_filter is strict, and it leads to all gateways",
                false => "rp_filter is not strict",
            };
            let check = Check::passed(CheckKind::ReversePath, uplink.name, how);
            checks.insert(0, check);
        }
        self.ways = checks;
    }
}

fn no_route(subject: &str, to: IpAddr) -> Check {
    let check = Check::passed(CheckKind::Route, subject, "this node has no route there");
    check.but(
        Outcome::Failed,
        format!(
            "`ip route get {to}` on the node says so too: give it a route to the peer's gateways"
        ),
    )
}

fn turned_back(subject: &str, uplink: &str) -> Check {
    let seen = format!("what comes from it by {uplink} is dropped: another device leads back");
    let check = Check::passed(CheckKind::ReversePath, subject, seen);
    check.but(
        Outcome::Failed,
        format!(
            "set net.ipv4.conf.{uplink}.rp_filter=2 on the node (and .all to 0 or 2), or send by {uplink} too"
        ),
    )
}
