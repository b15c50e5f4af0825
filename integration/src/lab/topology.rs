//! Pure: which nodes and pods there are, and their addresses. Both clusters have the same pod
//! CIDR, and the client has the same address as one of the backends.

use std::net::Ipv4Addr;

/// The pod CIDR of every cluster.
pub const POD_CIDR: &str = "10.244.0.0/16";
/// The network that joins the nodes; nothing leaves the machine.
pub const WAN_CIDR: &str = "192.0.2.0/24";
/// Something outside of every cluster.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// One machine of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its cluster
    pub cluster: &'static str,
    /// Its name in Kubernetes
    pub name: &'static str,
    /// Address on the wan
    pub uplink: Ipv4Addr,
    /// Third byte of its pods' prefix
    pub subnet: u8,
    /// Whether it runs a gateway
    pub gateway: bool,
}

impl Node {
    /// The address of its bridge, the gateway of its pods.
    #[must_use]
    pub fn bridge(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.subnet, 1)
    }

    /// The prefix of its pods.
    #[must_use]
    pub fn pod_prefix(&self) -> String {
        format!("10.244.{}.0/24", self.subnet)
    }
}

/// One pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pod {
    /// Its name in Kubernetes, unique in the lab
    pub name: &'static str,
    /// Where it runs
    pub node: &'static str,
    /// Its address
    pub address: Ipv4Addr,
}

impl Pod {
    /// The part of its namespace's name that is its own.
    #[must_use]
    pub fn namespace(&self) -> String {
        format!("{}-{}", self.node, self.name)
    }

    /// The host's end of its link.
    #[must_use]
    pub fn port(&self) -> String {
        format!("v-{}", self.name)
    }
}

/// East's only node.
pub const E1: Node = Node {
    cluster: "east",
    name: "e1",
    uplink: Ipv4Addr::new(192, 0, 2, 11),
    subnet: 0,
    gateway: true,
};
/// West's first node; its gateway leads.
pub const W1: Node = Node {
    cluster: "west",
    name: "w1",
    uplink: Ipv4Addr::new(192, 0, 2, 21),
    subnet: 0,
    gateway: true,
};
/// West's second node; its gateway follows.
pub const W2: Node = Node {
    cluster: "west",
    name: "w2",
    uplink: Ipv4Addr::new(192, 0, 2, 22),
    subnet: 1,
    gateway: true,
};
/// East's second node, where it has one.
pub const E2: Node = Node {
    cluster: "east",
    name: "e2",
    uplink: Ipv4Addr::new(192, 0, 2, 12),
    subnet: 1,
    gateway: true,
};
/// West's third node, where it has one: without a gateway.
pub const W3: Node = Node {
    cluster: "west",
    name: "w3",
    uplink: Ipv4Addr::new(192, 0, 2, 23),
    subnet: 2,
    gateway: false,
};
/// A third cluster's first node.
pub const N1: Node = Node {
    cluster: "north",
    name: "n1",
    uplink: Ipv4Addr::new(192, 0, 2, 31),
    subnet: 0,
    gateway: true,
};
/// Its second node.
pub const N2: Node = Node {
    cluster: "north",
    name: "n2",
    uplink: Ipv4Addr::new(192, 0, 2, 32),
    subnet: 1,
    gateway: true,
};
/// The only node of a fourth cluster.
pub const S1: Node = Node {
    cluster: "south",
    name: "s1",
    uplink: Ipv4Addr::new(192, 0, 2, 41),
    subnet: 0,
    gateway: true,
};
/// The only node of a fifth cluster.
pub const O1: Node = Node {
    cluster: "ocean",
    name: "o1",
    uplink: Ipv4Addr::new(192, 0, 2, 51),
    subnet: 0,
    gateway: true,
};
/// The nodes of five clusters, one each.
pub const FIVE_NODES: [Node; 5] = [E1, W1, N1, S1, O1];
/// The nodes of two clusters.
pub const NODES: [Node; 3] = [E1, W1, W2];
/// The same, and one without a gateway.
pub const FOUR_NODES: [Node; 4] = [E1, W1, W2, W3];
/// The nodes of three, each with two gateways.
pub const SIX_NODES: [Node; 6] = [E1, E2, W1, W2, N1, N2];

/// Which nodes and pods a lab has. The first node of each cluster has its leader.
#[derive(Debug, Clone, Copy)]
pub struct Topology {
    /// All nodes
    pub nodes: &'static [Node],
    /// The pods that are there from the start
    pub pods: &'static [Pod],
}

/// Two clusters, of one node and of two.
pub const TWO: Topology = Topology {
    nodes: &NODES,
    pods: &PODS,
};
/// The same, with a node that has no gateway.
pub const TWO_AND_A_NODE: Topology = Topology {
    nodes: &FOUR_NODES,
    pods: &FOUR_PODS,
};
/// Five clusters of a node each, without pods.
pub const FIVE: Topology = Topology {
    nodes: &FIVE_NODES,
    pods: &[],
};
/// Three clusters of two nodes each.
pub const THREE: Topology = Topology {
    nodes: &SIX_NODES,
    pods: &SIX_PODS,
};

impl Topology {
    /// Names of the clusters, each once.
    #[must_use]
    pub fn clusters(&self) -> Vec<&'static str> {
        let mut clusters: Vec<_> = self.nodes.iter().map(|node| node.cluster).collect();
        clusters.dedup();
        clusters
    }

    /// The nodes of one cluster.
    pub fn of<'a>(&self, cluster: &'a str) -> impl Iterator<Item = &'static Node> + use<'a> {
        self.nodes
            .iter()
            .filter(move |node| node.cluster == cluster)
    }

    /// The node of a cluster whose gateway leads at the start.
    #[must_use]
    pub fn leader(&self, cluster: &str) -> Option<&'static Node> {
        self.nodes.iter().find(|node| node.cluster == cluster)
    }

    /// Each node with each other.
    pub fn pairs(self) -> impl Iterator<Item = (Node, Node)> {
        self.nodes.iter().flat_map(move |from| {
            let others = self.nodes.iter().filter(move |to| *to != from);
            others.map(move |to| (*from, *to))
        })
    }
}

const fn pod(name: &'static str, node: &'static str, subnet: u8, host: u8) -> Pod {
    Pod {
        name,
        node,
        address: Ipv4Addr::new(10, 244, subnet, host),
    }
}

/// Dials from east; has the address of [`CART_1`].
pub const CLIENT: Pod = pod("client", "e1", 0, 6);
/// East's own backend of `catalog`, on the client's bridge.
pub const CATALOG_EAST: Pod = pod("catalog-e", "e1", 0, 7);
/// A pod of east that behaves badly.
pub const ROGUE: Pod = pod("rogue", "e1", 0, 8);
/// Backends of `cart`.
pub const CART_1: Pod = pod("cart-1", "w1", 0, 6);
/// Backends of `cart`.
pub const CART_2: Pod = pod("cart-2", "w1", 0, 7);
/// Backends of `cart`.
pub const CART_3: Pod = pod("cart-3", "w2", 1, 6);
/// Joins `cart` later.
pub const CART_4: Pod = pod("cart-4", "w2", 1, 7);
/// West's backend of `catalog`.
pub const CATALOG_WEST: Pod = pod("catalog-w", "w2", 1, 8);
/// Headless.
pub const DB_0: Pod = pod("db-0", "w1", 0, 10);
/// Headless.
pub const DB_1: Pod = pod("db-1", "w2", 1, 10);
/// Behind a service that nobody exported.
pub const SECRET: Pod = pod("secret", "w1", 0, 11);
/// Something on a node that is no pod, and its node's address towards it.
pub const STRAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 5);
/// See [`STRAY`].
pub const STRAY_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The pods that are there from the start.
pub const PODS: [Pod; 10] = [
    CLIENT,
    CATALOG_EAST,
    ROGUE,
    CART_1,
    CART_2,
    CART_3,
    CATALOG_WEST,
    DB_0,
    DB_1,
    SECRET,
];

/// Joins `cart` on a node without a gateway.
pub const CART_5: Pod = pod("cart-5", "w3", 2, 6);
/// The pods of two clusters, one of whose nodes has no gateway.
pub const FOUR_PODS: [Pod; 5] = [CLIENT, CART_1, CART_2, CART_3, CART_5];
/// Dials from east's second node.
pub const CLIENT_E2: Pod = pod("client-e2", "e2", 1, 6);
/// Dials from north.
pub const CLIENT_N: Pod = pod("client-n", "n1", 0, 6);
/// Backends of north's `stock`.
pub const STOCK_1: Pod = pod("stock-1", "n1", 0, 7);
/// Backends of north's `stock`.
pub const STOCK_2: Pod = pod("stock-2", "n2", 1, 7);
/// The pods of three clusters.
pub const SIX_PODS: [Pod; 8] = [
    CLIENT, CLIENT_E2, CART_1, CART_2, CART_3, CLIENT_N, STOCK_1, STOCK_2,
];

/// The node of that name.
#[must_use]
pub fn node(name: &str) -> Option<Node> {
    let mut all = SIX_NODES.into_iter().chain([W3, S1, O1]);
    all.find(|node| node.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_overlap_and_nodes_do_not() {
        assert_eq!(CLIENT.address, CART_1.address);
        for pod in PODS.iter().chain(&SIX_PODS).chain([&CART_4, &CART_5]) {
            let node = node(pod.node).unwrap();
            assert_eq!(pod.address.octets()[2], node.subnet, "{}", pod.name);
            let own: &[Pod] = if PODS.contains(pod) { &PODS } else { &SIX_PODS };
            let twins = own
                .iter()
                .filter(|p| p.node == pod.node && p.address == pod.address);
            assert!(twins.count() <= 1, "{}", pod.name);
            assert!(pod.port().len() <= 15);
        }
    }
}
