//! Shell: steps that use services as their users do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

use super::manifests::{self, CATALOG};
use super::mesh::{DOMAIN, LIMIT, Mesh};
use super::report::Checks;
use crate::lab::question::Kind;
use crate::lab::topology::{CART_1, CATALOG_EAST, CLIENT, DB_0, DB_1};
use crate::lab::{fetch, ping, wait};

/// New connections to `cart`.
const FETCHES: u32 = 300;
/// Fewest and most that one of three backends may get: 20 and 47 %.
const SHARE: std::ops::RangeInclusive<u32> = 60..=141;
/// New connections of each node.
const NODE_FETCHES: u32 = 30;
const NODE_BULK: u64 = 5 * 1024 * 1024;
const BULK: u64 = 20 * 1024 * 1024;
/// What fits beside two headers and the tunnel's 50 bytes at MTU 1500.
const MSS_MAX: u32 = 1410;

/// What the client's resolver says for `cart`.
pub fn find_cart(mesh: &Mesh) -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::from((mesh.address(&CLIENT, "cart")?, 80)))
}

/// Whether an address is of 241.0.0.0/16.
fn is_vip(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets().starts_with(&[241, 0]))
}

/// Whether an address is of 242.0.0.0 to 251.255.255.255.
fn is_mapped(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (242..=251).contains(&first)
}

/// Name, spread, and the client's address as the other side sees it.
pub fn cart(mesh: &Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let answer = mesh.resolve(&CLIENT, "cart")?;
    checks.check(
        &format!("cart.{DOMAIN}"),
        "one address of 241.0.0.0/16",
        cart.ip(),
        is_vip(&cart.ip()),
    );
    checks.check("time to live", "at most 5 s", answer.ttl, answer.ttl <= 5);
    let service = mesh
        .ask(&CLIENT, &format!("_http._tcp.cart.{DOMAIN}"), Kind::Srv)?
        .services;
    let port = service.first().map(|(_, port)| *port).unwrap_or_default();
    checks.same("port by SRV", 80, port);
    let tally = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| fetch::tally(cart, FETCHES, LIMIT))?;
    let answered: u32 = tally.backends.values().sum();
    checks.same("answered", FETCHES, answered);
    if let Some(failure) = tally.failures.first() {
        checks.note(&format!("first failure: {failure}"));
    }
    for backend in ["cart-1", "cart-2", "cart-3"] {
        let share = tally.backends.get(backend).copied().unwrap_or_default();
        checks.check(
            &format!("share of {backend}"),
            "20 to 47 %",
            format!("{share} of {FETCHES}"),
            SHARE.contains(&share),
        );
    }
    checks.same("backends in all", 3, tally.backends.len());
    checks.same(
        "addresses under which backends saw the client",
        1,
        tally.clients.len(),
    );
    let Some((IpAddr::V4(seen), _)) = tally.clients.first_key_value() else {
        return Ok(());
    };
    checks.check(
        "that address",
        "mapped, 242.0.0.0 to 251.255.255.255",
        seen,
        is_mapped(*seen),
    );
    let whois = mesh.operator("w1").run(&["whois", &seen.to_string()])?;
    let named = ["east", "10.244.0.6"]
        .iter()
        .all(|word| whois.contains(word));
    checks.check(
        "whois of it, in west",
        "cluster east, 10.244.0.6",
        whois.split_whitespace().collect::<Vec<_>>().join(" "),
        named,
    );
    Ok(())
}

/// Many full packets.
pub fn bulk(mesh: &Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let limit = Duration::from_secs(10);
    let mss = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| fetch::segment_size(cart, LIMIT))??;
    checks.check(
        "segment size",
        format!("at most {MSS_MAX}"),
        mss,
        mss <= MSS_MAX,
    );
    let down = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| fetch::download(cart, BULK, limit))?;
    checks.check(
        "SHA-256 down",
        "equal",
        said(&down),
        matches!(down, Ok(true)),
    );
    let up = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| fetch::upload(cart, BULK, limit))?;
    checks.check("SHA-256 up", "equal", said(&up), matches!(up, Ok(true)));
    Ok(())
}

fn said(outcome: &anyhow::Result<bool>) -> String {
    match outcome {
        Ok(true) => "equal".to_owned(),
        Ok(false) => "different".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// Local first with failover.
pub fn catalog(mesh: &Mesh, checks: &mut Checks) -> anyhow::Result<()> {
    let to = SocketAddr::from((mesh.address(&CLIENT, "catalog")?, 80));
    let ask = |count| {
        mesh.lab
            .pod(&CLIENT)
            .enter(|| fetch::tally(to, count, LIMIT))
    };
    let only = |name: &str, tally: &fetch::Tally| {
        tally.failures.is_empty() && tally.backends.keys().all(|b| b == name)
    };
    let tally = ask(40)?;
    checks.check(
        "served by",
        "catalog-e, 40 times",
        said_backends(&tally),
        only("catalog-e", &tally),
    );
    let east = mesh.manifests("east")?;
    for (what, pods, wanted) in [
        ("after the local endpoint went", &[][..], "catalog-w"),
        ("after it came back", &[CATALOG_EAST][..], "catalog-e"),
    ] {
        manifests::set_endpoints(&east, &CATALOG, pods)?;
        let start = wait::now();
        let moved = wait::until(LIMIT, wanted, || Ok(only(wanted, &ask(4)?)));
        let took = start.elapsed().as_secs_f64();
        let tally = ask(20)?;
        let seen = format!("{} after {took:.2} s", said_backends(&tally));
        checks.check(what, wanted, seen, moved.is_ok() && only(wanted, &tally));
    }
    Ok(())
}

/// `cart-1 96, cart-2 104`, and failures.
#[must_use]
pub fn said_backends(tally: &fetch::Tally) -> String {
    let mut parts: Vec<_> = tally
        .backends
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if let Some(first) = tally.failures.first() {
        parts.push(format!("{} failures ({first})", tally.failures.len()));
    }
    if parts.is_empty() {
        "nobody".to_owned()
    } else {
        parts.join(", ")
    }
}

/// A backend dials the service that it is behind, and meets itself too.
pub fn own_service(mesh: &Mesh, checks: &mut Checks) -> anyhow::Result<()> {
    let to = SocketAddr::from((mesh.address(&CART_1, "cart")?, 80));
    let tally = mesh
        .lab
        .pod(&CART_1)
        .enter(|| fetch::tally(to, 60, LIMIT))?;
    let all = tally.failures.is_empty() && tally.backends.len() == 3;
    checks.check(
        "cart-1 calls cart",
        "60 answers, by all three, itself included",
        said_backends(&tally),
        all,
    );
    let clients: Vec<_> = tally.clients.keys().map(IpAddr::to_string).collect();
    let mapped = tally
        .clients
        .keys()
        .all(|address| matches!(address, IpAddr::V4(v4) if is_mapped(*v4)));
    checks.check(
        "it appears as",
        "one self-mapped address",
        clients.join(", "),
        mapped && clients.len() == 1,
    );
    Ok(())
}

/// One address per endpoint, each by its own name.
pub fn headless(mesh: &Mesh, checks: &mut Checks) -> anyhow::Result<()> {
    let all = mesh.resolve(&CLIENT, "db")?.addresses;
    checks.check(
        "db resolves to",
        "2 mapped addresses",
        format!("{all:?}"),
        all.len() == 2 && all.iter().all(|a| is_mapped(*a)),
    );
    for pod in [DB_0, DB_1] {
        let name = format!("{}.west.db.{DOMAIN}", pod.name);
        let answer = mesh.ask(&CLIENT, &name, Kind::A)?;
        let Some(address) = answer.addresses.first() else {
            checks.check(&name, "an address", format!("code {}", answer.code), false);
            continue;
        };
        let who = mesh
            .lab
            .pod(&CLIENT)
            .enter(|| fetch::who(SocketAddr::from((*address, 5432)), LIMIT))?;
        let seen = who
            .map(|who| who.backend)
            .unwrap_or_else(|error| format!("{error:#}"));
        checks.same(&name, pod.name.to_owned(), seen);
    }
    Ok(())
}

/// UDP and ICMP.
pub fn datagrams(mesh: &Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let echo = SocketAddr::new(cart.ip(), 7);
    let (answered, last) = mesh.lab.pod(&CLIENT).enter(|| {
        let results: Vec<_> = (0..30)
            .map(|n| fetch::udp_echo(echo, &format!("hello {n}"), LIMIT))
            .collect();
        let failure = results
            .iter()
            .find_map(|r| r.as_ref().err())
            .map(|error| format!(" ({error:#})"));
        (
            results.iter().filter(|r| r.is_ok()).count(),
            failure.unwrap_or_default(),
        )
    })?;
    checks.check(
        "UDP echoes",
        "30 of 30",
        format!("{answered} of 30{last}"),
        answered == 30,
    );
    let IpAddr::V4(vip) = cart.ip() else {
        anyhow::bail!("an IPv4 service")
    };
    let answered = mesh
        .lab
        .pod(&CLIENT)
        .enter(|| ping::echo(vip, LIMIT))?
        .context("pinging the service")?;
    checks.check(
        "ping of the service's address",
        "answered",
        if answered { "answered" } else { "silence" },
        answered,
    );
    Ok(())
}

/// A process of a node, no pod, fetches from the other cluster and from its own.
pub fn node_processes(mesh: &Mesh, cart: SocketAddr, checks: &mut Checks) -> anyhow::Result<()> {
    let near = SocketAddr::from((mesh.address(&CART_1, "cart")?, 80));
    for (node, to) in [("e1", cart), ("w1", near), ("w2", near)] {
        let netns = mesh.lab.netns(node);
        let tally = netns.enter(|| fetch::tally(to, NODE_FETCHES, LIMIT))?;
        let answered: u32 = tally.backends.values().sum();
        checks.same(&format!("answers for {node}"), NODE_FETCHES, answered);
        if let Some(failure) = tally.failures.first() {
            checks.note(&format!("first failure: {failure}"));
        }
        let seen = tally.clients.keys().all(|seen| match seen {
            IpAddr::V4(seen) => is_mapped(*seen),
            IpAddr::V6(_) => false,
        });
        checks.check(
            &format!("{node} as backends see it"),
            "one mapped address",
            format!("{:?}", tally.clients.keys().collect::<Vec<_>>()),
            seen && tally.clients.len() == 1,
        );
        let same = netns.enter(|| fetch::download(to, NODE_BULK, LIMIT))??;
        checks.same(&format!("{node} downloads 5 MiB whole"), true, same);
    }
    Ok(())
}
