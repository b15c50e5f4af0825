//! Shell: faults, in a lab.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::fault::{Fault, LOST_PERCENT, Program, Trouble};
use crate::demo::mesh::Mesh;
use crate::lab::firewall;

/// Of a gateway's disk: several times what it has on it.
const DISK_MIB: u32 = 24;
/// Of a slow uplink: it holds packets up for up to this while there is more than it takes.
const SLOW: &str = "rate 8mbit burst 20k latency 200ms";

/// Gateways' states are on disks of their own, so that one can be full.
pub fn small_disks(mesh: &mut Mesh) -> anyhow::Result<()> {
    for node in mesh.topology.nodes {
        mesh.lab
            .small_disk(&format!("{}/gateway-state", node.name), DISK_MIB)?;
    }
    Ok(())
}

/// Begins a trouble.
pub fn begin(mesh: &mut Mesh, trouble: &Trouble) -> anyhow::Result<()> {
    let wan = mesh.lab.netns("wan");
    let pairs = mesh.topology.pairs();
    let processes = &mut mesh.lab.processes;
    match trouble.fault {
        Fault::Kill(program) => processes.kill(&program.to_string()),
        Fault::Restart(program) => processes.stop(&program.to_string()),
        Fault::Freeze(program) => processes.signal(&program.to_string(), Signal::SIGSTOP),
        Fault::Part(one, other) => {
            let cut = pairs.filter(|(from, to)| {
                let pair = (from.cluster, to.cluster);
                pair == (one, other) || pair == (other, one)
            });
            firewall::block_between(&wan, cut, "drop")
        }
        Fault::CutOff(node) => {
            let cut = pairs.filter(|(from, to)| *from == node || *to == node);
            firewall::block_between(&wan, cut, "drop")
        }
        Fault::NoUdp => firewall::block_udp(&wan, mesh.topology),
        Fault::Lossy => {
            let action = format!("numgen random mod 100 < {LOST_PERCENT} drop");
            firewall::block_between(&wan, pairs, &action)
        }
        Fault::Slow(node) => {
            let uplink = mesh.lab.netns(node.name);
            uplink.tc(&format!("qdisc add dev eth0 root tbf {SLOW}\n"))
        }
        Fault::FullDisk(node) => fill(&filler(mesh, node)),
        Fault::Clock(cluster, ahead) => mesh.set_clock(cluster, ahead),
    }
}

/// Ends it.
pub fn end(mesh: &mut Mesh, trouble: &Trouble) -> anyhow::Result<()> {
    let wan = mesh.lab.netns("wan");
    match trouble.fault {
        Fault::Kill(program) | Fault::Restart(program) => match program {
            Program::Gateway(node) => mesh.run_gateway(node),
            Program::Agent(node) => mesh.start_agent(node),
            Program::Controller(cluster) => mesh.start_controller(cluster),
        },
        Fault::Freeze(program) => {
            let processes = &mut mesh.lab.processes;
            processes.signal(&program.to_string(), Signal::SIGCONT)
        }
        Fault::Part(..) | Fault::CutOff(_) | Fault::NoUdp | Fault::Lossy => firewall::unblock(&wan),
        Fault::Slow(node) => mesh.lab.netns(node.name).tc("qdisc del dev eth0 root\n"),
        Fault::FullDisk(node) => Ok(std::fs::remove_file(filler(mesh, node))?),
        Fault::Clock(cluster, _) => mesh.set_clock(cluster, 0),
    }
}

fn filler(mesh: &Mesh, node: &str) -> PathBuf {
    mesh.lab.path(node).join("gateway-state").join("filler")
}

/// Writes until there is no room.
fn fill(path: &PathBuf) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let block = vec![0; 4096];
    for _ in 0..u64::from(DISK_MIB) * 1024 {
        match file.write(&block) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(Errno::ENOSPC as i32) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("{} is on no small disk", path.display())
}
