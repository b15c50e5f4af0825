//! Shell: what is known here, in the words of a report.

use std::collections::BTreeMap;

use causeway_abi::V6;
use causeway_proto::model::{Address, ClusterId, Report, ServiceCounters, Timestamp};

use super::Agent;
use crate::clock;
use crate::kernel::Counters;

impl Agent {
    pub(super) fn report(&self, counters: &Counters) -> Report {
        let drops = counters.drops.iter().filter(|(_, n)| **n > 0);
        let services = self.services.iter().filter_map(|(index, name)| {
            let c = counters.services.get(index)?;
            let counters = ServiceCounters {
                packets: c.sent_packets,
                bytes: c.sent_bytes,
                flows: c.sent_flows,
                rejected: c.rejected,
            };
            Some((name.clone(), counters))
        });
        Report {
            node: self.start.config.node.clone(),
            time: clock::now(),
            programmed: self.programmed,
            drops: drops.map(|(r, n)| (r.name().to_owned(), *n)).collect(),
            services: services.collect(),
            heard: self.heard(&counters.seen),
            pods: self.pods(),
            flows: self.flows.unwrap_or_default(),
            hooks: self
                .hooked
                .iter()
                .map(|((hook, _), device)| (device.clone(), hook.name().to_owned()))
                .collect(),
            problems: self.problems(),
            checks: self.ways.clone(),
        }
    }

    fn heard(&self, seen: &BTreeMap<u32, u64>) -> BTreeMap<ClusterId, Timestamp> {
        let Some(view) = &self.view else {
            return BTreeMap::new();
        };
        view.peers
            .iter()
            .filter_map(|(id, peer)| {
                let noted = seen.get(&u32::from(peer.number.number()))?;
                Some((id.clone(), clock::wall(*noted)))
            })
            .collect()
    }

    fn pods(&self) -> BTreeMap<Address, String> {
        let Some(seen) = &self.seen else {
            return BTreeMap::new();
        };
        let mut pods = BTreeMap::new();
        for (index, port) in &self.held.image.ports {
            let Some(facts) = seen.ports.get(index) else {
                continue;
            };
            for address in [port.address, port.address6] {
                if address != V6::default() {
                    let address = Address::from_bytes(address.octets());
                    pods.insert(address, facts.name.clone());
                }
            }
        }
        pods
    }
}
