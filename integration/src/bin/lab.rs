//! Shell: `causeway-lab`: the servers that pods run, and the lab by hand.
#![expect(
    clippy::print_stdout,
    reason = "the output of a program for a person at a terminal"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use causeway_integration::lab::topology::{NODES, PODS, node};
use causeway_integration::lab::{self, Lab, fetch, ping, serve};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Network namespaces that look like Kubernetes nodes, and what pods run in them")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring up nodes and pods alone, without our programs
    Up {
        /// Names the lab
        #[arg(long, default_value = "hand")]
        tag: String,
    },
    /// Remove labs: all of them, or one
    Down {
        /// Only the one of that name
        #[arg(long)]
        tag: Option<String>,
    },
    /// Serve HTTP that names this backend and the client that it sees
    ServeHttp {
        /// This backend's name
        #[arg(long)]
        name: String,
        /// TCP port
        #[arg(long)]
        port: u16,
    },
    /// Echo datagrams with this backend's name
    ServeUdp {
        /// This backend's name
        #[arg(long)]
        name: String,
        /// UDP port
        #[arg(long)]
        port: u16,
    },
    /// Ask who answers there
    Who {
        /// Address and port
        to: SocketAddr,
    },
    /// Send one ICMP echo
    Ping {
        /// Address
        to: Ipv4Addr,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("causeway-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let limit = Duration::from_secs(3);
    match command {
        Command::Up { tag } => up(&tag),
        Command::Down { tag: Some(tag) } => {
            lab::remove(&tag).map(|count| println!("removed {count} things"))
        }
        Command::Down { tag: None } => {
            let (count, in_use) = lab::remove_all()?;
            println!("removed {count} things; in use: {in_use:?}");
            Ok(())
        }
        Command::ServeHttp { name, port } => serve::http(&name, port),
        Command::ServeUdp { name, port } => serve::udp_echo(&name, port),
        Command::Who { to } => {
            let who = fetch::who(to, limit)?;
            println!("{} saw {}:{}", who.backend, who.client, who.port);
            Ok(())
        }
        Command::Ping { to } => {
            anyhow::ensure!(ping::echo(to, limit)?, "{to} did not answer");
            println!("{to} answered");
            Ok(())
        }
    }
}

fn up(tag: &str) -> anyhow::Result<()> {
    let mut lab = Lab::new(tag)?;
    for node in &NODES {
        lab.add_node(node, &NODES)?;
    }
    for pod in &PODS {
        if let Some(node) = node(pod.node) {
            lab.add_pod(&node, pod)?;
        }
    }
    lab.stay();
    println!(
        "enter a node with `nsenter --net={} bash`",
        lab.netns("e1").path().display()
    );
    println!("remove it with `causeway-lab down --tag {tag}`");
    Ok(())
}
