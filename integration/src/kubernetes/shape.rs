//! Pure: what a pair of clusters looks like: how many nodes, which CNI, which addresses, which kube-proxy.

use std::fmt;
use std::net::Ipv4Addr;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::lab::topology::OUTSIDE;

/// The most nodes that the addresses of a cluster have room for.
const MOST_NODES: u8 = 8;
/// Names of the clusters, and of the contexts of the kubeconfig.
pub const CLUSTERS: [&str; 2] = ["east", "west"];

/// How pods are joined to their node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// All on one bridge
    Bridge,
    /// A link and a route for each, as Calico has it
    Ptp,
}

/// Whether both clusters use the same addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cidr {
    /// Both are stamped out of one template
    Equal,
    /// No address is in both
    Distinct,
}

/// How kube-proxy does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proxy {
    /// Its newer mode
    Nftables,
    /// Its older mode
    Iptables,
}

/// What is to be brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Shape {
    /// Nodes of each cluster
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_NODES)))]
    pub nodes: u8,
    /// How pods are joined to their node
    #[arg(long, value_enum, default_value_t = Cni::Bridge)]
    pub cni: Cni,
    /// Whether both clusters use the same addresses
    #[arg(long, value_enum, default_value_t = Cidr::Equal)]
    pub cidr: Cidr,
    /// Mode of kube-proxy
    #[arg(long, value_enum, default_value_t = Proxy::Nftables)]
    pub proxy: Proxy,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            nodes: 2,
            cni: Cni::Bridge,
            cidr: Cidr::Equal,
            proxy: Proxy::Nftables,
        }
    }
}

impl Shape {
    /// Each part once in its other form than the default's.
    pub const ALL: [Shape; 2] = [
        Shape {
            nodes: 2,
            cni: Cni::Bridge,
            cidr: Cidr::Equal,
            proxy: Proxy::Nftables,
        },
        Shape {
            nodes: 2,
            cni: Cni::Ptp,
            cidr: Cidr::Distinct,
            proxy: Proxy::Iptables,
        },
    ];

    /// The clusters of this shape.
    #[must_use]
    pub fn clusters(&self) -> [Cluster; 2] {
        let second = match self.cidr {
            Cidr::Equal => 0,
            Cidr::Distinct => 1,
        };
        let [east, west] = CLUSTERS;
        [
            Cluster {
                name: east,
                first_host: 10,
                number: 0,
            },
            Cluster {
                name: west,
                first_host: 20,
                number: second,
            },
        ]
    }

    /// The cluster of that name.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<Cluster> {
        self.clusters()
            .into_iter()
            .find(|cluster| cluster.name == name)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: Option<clap::builder::PossibleValue>| {
            value
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default()
        };
        write!(
            f,
            "--nodes {} --cni {} --cidr {} --proxy {}",
            self.nodes,
            word(self.cni.to_possible_value()),
            word(self.cidr.to_possible_value()),
            word(self.proxy.to_possible_value())
        )
    }
}

/// One cluster's names and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// East or west
    pub name: &'static str,
    /// Last byte of its control plane's address; nodes follow
    first_host: u8,
    /// Added to the second byte of its pod and Service addresses
    number: u8,
}

/// A worker of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// `east-1`
    pub name: String,
    /// Its cluster
    pub cluster: String,
    /// Counted from one
    pub number: u8,
    /// Its address on the wan
    pub address: Ipv4Addr,
    /// The first address of its pods' /24
    pub pods: Ipv4Addr,
}

impl Worker {
    /// Addresses of its pods.
    #[must_use]
    pub fn pod_cidr(&self) -> String {
        format!("{}/24", self.pods)
    }
}

impl Cluster {
    /// Name of the host that the control plane runs on; it is no node, as with managed clusters.
    #[must_use]
    pub fn control(&self) -> String {
        format!("{}-control", self.name)
    }

    /// Address of the control plane.
    #[must_use]
    pub fn api(&self) -> Ipv4Addr {
        on_wan(self.first_host)
    }

    /// Its worker of that number, counted from one.
    #[must_use]
    pub fn worker(&self, number: u8) -> Option<Worker> {
        if number == 0 || number > MOST_NODES {
            return None;
        }
        Some(Worker {
            name: format!("{}-{number}", self.name),
            cluster: self.name.to_owned(),
            number,
            address: on_wan(self.first_host.checked_add(number)?),
            pods: Ipv4Addr::new(10, self.pod_byte(), number.checked_sub(1)?, 0),
        })
    }

    /// Addresses of all pods.
    #[must_use]
    pub fn pod_cidr(&self) -> String {
        format!("10.{}.0.0/16", self.pod_byte())
    }

    /// Addresses of Services.
    #[must_use]
    pub fn service_cidr(&self) -> String {
        format!("10.{}.0.0/16", self.service_byte())
    }

    /// Address of the API server's own Service.
    #[must_use]
    pub fn api_service(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.service_byte(), 0, 1)
    }

    /// Address of the cluster's DNS.
    #[must_use]
    pub fn dns(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.service_byte(), 0, 10)
    }

    fn pod_byte(&self) -> u8 {
        244u8.saturating_add(self.number)
    }

    fn service_byte(&self) -> u8 {
        96u8.saturating_add(self.number)
    }
}

fn on_wan(host: u8) -> Ipv4Addr {
    let [a, b, c, _] = OUTSIDE.octets();
    Ipv4Addr::new(a, b, c, host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_hosts_share_an_address() {
        let mut seen = BTreeSet::new();
        for cluster in Shape::default().clusters() {
            assert!(seen.insert(cluster.api()));
            for number in 1..=MOST_NODES {
                assert!(seen.insert(cluster.worker(number).unwrap().address));
            }
        }
        assert!(!seen.contains(&OUTSIDE));
    }

    #[test]
    fn addresses_are_equal_or_distinct() {
        let [first, second] = Shape::ALL;
        let [east, west] = first.clusters();
        assert_eq!(east.pod_cidr(), west.pod_cidr());
        assert_eq!(east.dns(), Ipv4Addr::new(10, 96, 0, 10));
        let [east, west] = second.clusters();
        assert_ne!(east.pod_cidr(), west.pod_cidr());
        assert_ne!(east.service_cidr(), west.service_cidr());
        assert_eq!(west.worker(2).unwrap().pod_cidr(), "10.245.1.0/24");
        assert_eq!(west.worker(0), None);
    }

    #[test]
    fn a_shape_is_shown_as_it_is_typed() {
        let [_, second] = Shape::ALL;
        let expected = "--nodes 2 --cni ptp --cidr distinct --proxy iptables";
        assert_eq!(second.to_string(), expected);
    }
}
