//! Pure: which device carries tunnel packets, and by which address. In: what was asked for, links, addresses,
//! default routes. Out: one device, or why there is none.

use causeway_proto::model::Address;

use super::link::Link;

/// What the configuration says; what it leaves out is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// The device's name.
    pub device: Option<String>,
    /// The node's address.
    pub address: Option<Address>,
}

/// The device that carries tunnel packets to other nodes and clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MTU.
    pub mtu: u32,
    /// The outer source of tunnel packets.
    pub address: Address,
}

/// Why no device can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoUplink {
    /// Not looked yet.
    #[error("not looked yet")]
    Unknown,
    /// The one asked for.
    #[error("there is no device {0} on this node: correct `uplink`")]
    NoDevice(String),
    /// No device has the one asked for.
    #[error(
        "no device of this node has the address {0}: correct `outer_address`, or name `uplink` too"
    )]
    NoHolder(Address),
    /// The device has none that others could reach.
    #[error("device {0} has no IPv4 address for tunnel packets: set `outer_address`")]
    NoAddress(String),
    /// Nothing to start from.
    #[error("this node has no default route: set `uplink` or `outer_address`")]
    NoDefault,
    /// The choice is not ours.
    #[error("several devices have a default route of the same metric ({}): set `uplink` or `outer_address`", .0.join(", "))]
    Several(Vec<String>),
}

/// A default route: device and metric.
pub type Default4 = (u32, u32);

/// Chooses.
///
/// # Errors
/// When nothing fits, or more than one.
pub fn choose(
    asked: &Asked,
    links: &[Link],
    addresses: &[(u32, Address)],
    defaults: &[Default4],
) -> Result<Uplink, NoUplink> {
    let link = match (&asked.device, asked.address) {
        (Some(name), _) => links
            .iter()
            .find(|l| l.name == *name)
            .ok_or_else(|| NoUplink::NoDevice(name.clone()))?,
        (None, Some(address)) => holder(links, addresses, address)
            // An address on `lo`, as routing daemons like it, leaves by the default route.
            .or_else(|| {
                by_default(links, defaults)
                    .ok()
                    .filter(|_| on_any(addresses, address))
            })
            .ok_or(NoUplink::NoHolder(address))?,
        (None, None) => by_default(links, defaults)?,
    };
    let own = addresses.iter().filter(|(index, _)| *index == link.index);
    let address = asked
        .address
        .or_else(|| own.map(|(_, a)| *a).find(|a| reachable(*a)))
        .ok_or_else(|| NoUplink::NoAddress(link.name.clone()))?;
    Ok(Uplink {
        index: link.index,
        name: link.name.clone(),
        mtu: link.mtu,
        address,
    })
}

fn holder<'l>(links: &'l [Link], addresses: &[(u32, Address)], of: Address) -> Option<&'l Link> {
    let index = addresses.iter().find(|(_, a)| *a == of)?.0;
    links.iter().find(|l| l.index == index && !l.loopback)
}

fn on_any(addresses: &[(u32, Address)], address: Address) -> bool {
    addresses.iter().any(|(_, a)| *a == address)
}

fn by_default<'l>(links: &'l [Link], defaults: &[Default4]) -> Result<&'l Link, NoUplink> {
    let metric = defaults.iter().map(|(_, metric)| *metric).min();
    let best = |l: &&Link| {
        let mut routes = defaults.iter();
        routes.any(|(index, m)| *index == l.index && Some(*m) == metric)
    };
    let best: Vec<&Link> = links.iter().filter(best).collect();
    match best.as_slice() {
        [] => Err(NoUplink::NoDefault),
        [one] => Ok(one),
        several => Err(NoUplink::Several(
            several.iter().map(|l| l.name.clone()).collect(),
        )),
    }
}

fn reachable(address: Address) -> bool {
    let v4 = address.v4();
    v4.is_some_and(|a| !a.is_loopback() && !a.is_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mtu: 1500,
            loopback: name == "lo",
            ..Link::default()
        }
    }

    /// `asked` is "device address", each `-` if absent.
    fn check(asked: &str, defaults: &[Default4], expect: &str) {
        let links = [
            link(1, "lo"),
            link(2, "eth0"),
            link(3, "eth1"),
            link(4, "x"),
        ];
        let addresses: Vec<(u32, Address)> = [
            (1, "127.0.0.1"),
            (1, "10.0.0.9"),
            (2, "192.0.2.11"),
            (2, "192.0.2.12"),
            (3, "198.51.100.1"),
            (4, "169.254.0.1"),
        ]
        .iter()
        .map(|(index, a)| (*index, a.parse().unwrap()))
        .collect();
        let (device, address) = asked.split_once(' ').unwrap();
        let asked = Asked {
            device: Some(device.to_owned()).filter(|d| d != "-"),
            address: address.parse().ok(),
        };
        let found = match choose(&asked, &links, &addresses, defaults) {
            Ok(uplink) => format!("{} {}", uplink.name, uplink.address),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expect), "{found} for {expect}");
    }

    #[test]
    fn what_is_left_out_is_found() {
        check("eth1 192.0.2.99", &[], "eth1 192.0.2.99");
        check("- 192.0.2.12", &[(3, 0)], "eth0 192.0.2.12");
        check("- 10.0.0.9", &[(3, 0)], "eth1 10.0.0.9");
        check("eth0 -", &[], "eth0 192.0.2.11");
        check("- -", &[(2, 100), (3, 50)], "eth1 198.51.100.1");
    }

    #[test]
    fn what_cannot_be_chosen_is_named() {
        check("eth9 -", &[], "no device eth9");
        check(
            "- 10.9.9.9",
            &[(2, 0)],
            "no device of this node has the address 10.9.9.9",
        );
        check("x -", &[], "x has no IPv4 address");
        check("- -", &[], "no default route");
        check("- -", &[(2, 100), (3, 100), (4, 200)], "eth0, eth1");
    }
}
